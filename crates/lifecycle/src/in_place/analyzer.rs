//! `analyzer`: looks at the previous image and the run image, and writes `<analyzed>`. It fetches nothing but SBOM documents.

use hoist_events::{Phase, Reporter};
use hoist_image::{DiffId, Layer};
use hoist_spec::{
    Analyzed as AnalyzedToml, AnalyzedRunImage, ImageIdentifier, LIFECYCLE_METADATA_LABEL, LifecycleMetadata,
};

use crate::cache_folder::CacheFolder;
use crate::extract::extract;
use crate::in_place::images::{
    ANALYZE, ImagePhaseInputs, Passage, by_registry, document_error, failed, fetch, run_images,
};
use crate::in_place::{PhaseError, write_document};
use crate::place::{ImagePlace, Seen};
use crate::timing::timed;
use crate::tree::UpperWriter;

/// The phase `analyzer`: writes `<analyzed>` and the SBOM documents of the previous image.
pub fn run_analyzer(inputs: &ImagePhaseInputs, place: &ImagePlace, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    analyze(inputs, place, &Passage::open()?, reporter)
}

pub(super) fn analyze(
    inputs: &ImagePhaseInputs,
    place: &ImagePlace,
    passage: &Passage,
    reporter: &dyn Reporter,
) -> Result<(), PhaseError> {
    timed(reporter, Phase::Analyze, || {
        let name = inputs.previous_image.as_ref().or(inputs.images.first());
        let previous = name.map(|name| place.look(name)).transpose().map_err(failed(ANALYZE))?.flatten();
        let mut analyzed = AnalyzedToml::default();
        let mut reference = String::new();
        if let Some(previous) = previous {
            reference.clone_from(&previous.reference);
            match previous_metadata(&previous, inputs) {
                Ok(Some(metadata)) => {
                    restore_launch_sboms(inputs, place, passage, &reference, &metadata)?;
                    let document = analyzed.set_lifecycle_metadata(&metadata);
                    document.map_err(document_error(&inputs.analyzed_path))?;
                }
                Ok(None) => {}
                // "a previous image with an unreadable label" is none.
                Err(error) => {
                    reporter.warn(&format!("the previous image's label cannot be used: {error}"), None);
                    reference.clear();
                }
            }
        } else if let Some(name) = name {
            reporter.step(&format!("there is no previous image {name}"));
        }
        analyzed.image = Some(ImageIdentifier { reference });
        analyzed.run_image = Some(look_at_run_image(inputs, place)?);
        write_document(&inputs.analyzed_path, analyzed.write())
    })
}

/// What is known of the previous image's layers; those of one for another execution environment are not restored.
fn previous_metadata(
    previous: &Seen,
    inputs: &ImagePhaseInputs,
) -> Result<Option<LifecycleMetadata>, hoist_spec::DocumentError> {
    let label = previous.labels.get(LIFECYCLE_METADATA_LABEL);
    let metadata = label.map(|label| LifecycleMetadata::parse(label)).transpose()?;
    Ok(metadata.filter(|metadata| metadata.exec_env.is_empty() || metadata.exec_env == inputs.exec_env))
}

fn look_at_run_image(inputs: &ImagePhaseInputs, place: &ImagePlace) -> Result<AnalyzedRunImage, PhaseError> {
    let names = if let Some(name) = &inputs.run_image {
        vec![name.clone()]
    } else {
        let images = run_images(inputs)?;
        images.first().map(|image| by_registry(image, inputs.images.first())).unwrap_or_default()
    };
    for name in &names {
        if let Some(seen) = place.look(name).map_err(failed(ANALYZE))? {
            let new = inputs.platform_api.at_least(12);
            return Ok(AnalyzedRunImage {
                image: new.then(|| place.name(name)),
                extend: false,
                target: new.then(|| seen.target()),
                reference: seen.reference,
            });
        }
    }
    Err(match names.first() {
        Some(name) => {
            let name = name.to_string();
            PhaseError::MissingImage { place: place.absence(&name), name, code: ANALYZE }
        }
        None => PhaseError::NoRunImage { path: inputs.run_path.clone(), code: ANALYZE },
    })
}

/// `<layers>/sbom/launch` as the previous image has it, for the restorer.
fn restore_launch_sboms(
    inputs: &ImagePhaseInputs,
    place: &ImagePlace,
    passage: &Passage,
    reference: &str,
    metadata: &LifecycleMetadata,
) -> Result<(), PhaseError> {
    let diff_id = metadata.sbom.as_ref().and_then(|layer| layer.sha.parse().ok());
    let Some(diff_id) = diff_id.filter(|_| !inputs.skip_layers && inputs.platform_api.at_least(8)) else {
        return Ok(());
    };
    let Some(layer) = sbom_layer(inputs, place, passage, reference, &diff_id)? else { return Ok(()) };
    let writer = UpperWriter::new("/".into(), None);
    extract(&layer, &inputs.layers_dir.join("sbom/launch"), &writer).map_err(|source| PhaseError::Extract {
        what: "the SBOM documents".to_owned(),
        code: ANALYZE,
        source,
    })
}

/// From the launch cache, so that the whole image need not be fetched.
fn sbom_layer(
    inputs: &ImagePhaseInputs,
    place: &ImagePlace,
    passage: &Passage,
    reference: &str,
    diff_id: &DiffId,
) -> Result<Option<Layer>, PhaseError> {
    let folder = inputs.launch_cache_dir.as_ref().map(CacheFolder::new);
    if let Some(Ok(Some(layer))) = folder.map(|folder| folder.load(&passage.store, diff_id)) {
        return Ok(Some(layer));
    }
    fetch(place, &passage.store, reference, ANALYZE)?;
    passage.store.layer(diff_id).map_err(PhaseError::Store)
}
