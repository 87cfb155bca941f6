//! `rebaser`: puts an app image on another run image.

use std::path::PathBuf;

use hoist_events::{Event, Reporter};
use hoist_image::Reference;
use hoist_spec::{ApiVersion, LIFECYCLE_METADATA_LABEL, LifecycleMetadata, Report, RunImage};

use crate::in_place::images::{Passage, REBASE, by_registry, failed, fetch};
use crate::in_place::{PhaseError, write_document};
use crate::place::{ImagePlace, Seen};
use crate::rebase::{RebaseError, RebaseRequest, rebase};

/// What `rebaser` is told, as platform.md names it.
#[derive(Debug, Clone)]
pub struct RebaserInputs {
    /// `<image>`: where the rebased image goes.
    pub images: Vec<Reference>,
    /// `<previous-image>`: the app image, if it is not the first of `images`.
    pub previous_image: Option<Reference>,
    /// `<run-image>`.
    pub run_image: Option<Reference>,
    /// `<report>`.
    pub report_path: PathBuf,
    /// `<force>`.
    pub force: bool,
    /// `CNB_PLATFORM_API`.
    pub platform_api: ApiVersion,
}

/// The phase `rebaser`: writes the rebased image to its names, and `<report>`.
pub fn run_rebaser(inputs: &RebaserInputs, place: &ImagePlace, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    let Some(name) = inputs.previous_image.as_ref().or(inputs.images.first()) else { return Ok(()) };
    let app = look(place, name)?;
    let failure = |error| PhaseError::Rebase(Box::new(error));
    let metadata = app.labels.get(LIFECYCLE_METADATA_LABEL).map(|label| LifecycleMetadata::parse(label)).transpose();
    let metadata = metadata.map_err(|source| failure(RebaseError::Document(source)))?;
    let metadata = metadata.ok_or_else(|| failure(RebaseError::NotAnApp { name: name.to_string() }))?;
    let (run_name, run_image) = choose(inputs, place, &metadata)?;
    let passage = Passage::open()?;
    reporter.step(&format!("putting {name} on {run_name}"));
    let request = RebaseRequest {
        app: &fetch(place, &passage.store, &app.reference, REBASE)?,
        run_image: &fetch(place, &passage.store, &run_image.reference, REBASE)?,
        run_name: &run_name,
        run_reference: &run_image.reference,
        force: inputs.force,
        platform_api: inputs.platform_api,
    };
    let image = rebase(&passage.store, &request, reporter).map_err(failure)?;
    let written = place.write(&image, &inputs.images).map_err(failed(REBASE))?;
    for tag in &written.tags {
        reporter.report(&Event::ImageWritten {
            reference: tag.clone(),
            image_id: written.image_id.clone().unwrap_or_else(|| image.id().to_string()),
            layers: image.diff_ids().len(),
            reused: image.diff_ids().len(),
        });
    }
    let mut report = Report::default();
    report.image.tags = written.tags;
    report.image.image_id = written.image_id;
    write_document(&inputs.report_path, report.write())
}

fn look(place: &ImagePlace, name: &Reference) -> Result<Seen, PhaseError> {
    let name_text = name.to_string();
    let missing =
        || PhaseError::MissingImage { place: place.absence(&name_text), name: name_text.clone(), code: REBASE };
    place.look(name).map_err(failed(REBASE))?.ok_or_else(missing)
}

/// The run image that was asked for, else the one that the label names.
fn choose(
    inputs: &RebaserInputs,
    place: &ImagePlace,
    metadata: &LifecycleMetadata,
) -> Result<(Reference, Seen), PhaseError> {
    if let Some(name) = &inputs.run_image {
        return Ok((name.clone(), look(place, name)?));
    }
    let of_label = metadata.run_image.run_image();
    let of_stack = || metadata.stack.as_ref().map(|stack| stack.run_image.clone()).unwrap_or_default();
    // Platforms below API 0.12 keep the names in `stack`.
    let known: RunImage =
        if inputs.platform_api.at_least(12) && !of_label.image.is_empty() { of_label } else { of_stack() };
    let names = by_registry(&known, inputs.images.first());
    for name in &names {
        if let Some(seen) = place.look(name).map_err(failed(REBASE))? {
            return Ok((name.clone(), seen));
        }
    }
    Err(match names.first() {
        Some(name) => {
            PhaseError::MissingImage { place: place.absence(&name.to_string()), name: name.to_string(), code: REBASE }
        }
        None => PhaseError::Rebase(Box::new(RebaseError::NoRunImage)),
    })
}
