//! Export: layers become an image.
//!
//! platform.md, "exporter". Order of layers: run image, launch layers of the buildpacks, SBOM, app slices, launcher, config, process
//! types. A layer that the build did not touch is taken over by its diffID, unread; of a split layer only the touched groups are made.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hoist_events::{Destination, Event, LayerAction, Phase};
use hoist_image::{Image, LayerError, Reference, StoreError};
use hoist_spec::{BuilderStack, DocumentError, LifecycleMetadata, ProjectMetadata, Report, RunImageRecord};

use crate::analyze::Analyzed;
use crate::build::Built;
use crate::buildpack_layers::{self, Exporting, ImageLayer};
use crate::cache::{CacheRecord, SharedRecord};
use crate::cache_error::CacheError;
use crate::cache_folder::{CacheFolder, CacheWritten};
use crate::content::ContentError;
use crate::generated;
use crate::image_config;
use crate::layer_events::{Told, report};
use crate::portable_cache::warn;
use crate::setup::Setup;
use crate::timing::timed;

/// What the image is to be.
pub struct ExportRequest<'a> {
    /// Its names.
    pub names: Vec<Reference>,
    /// The launcher that goes into it.
    pub launcher: Launcher<'a>,
    /// The process to be started unless told otherwise; none for what the buildpacks chose.
    pub default_process: Option<String>,
    /// Where the source came from.
    pub project: ProjectMetadata,
    /// A digest of the staged app, where the platform knows one: an app that the build did not touch is then not read again.
    pub app_fingerprint: Option<String>,
    /// Whether the layers of [`crate::SharedLayers`] may go to the builds of other images: only when no code that the platform does not trust
    /// ran in this build, because all buildpacks of a build can write to all its layers.
    pub share_layers: bool,
    /// The image's time of creation (RFC 3339); none for 1980-01-01T00:00:01Z.
    pub created: Option<String>,
}

/// The program that starts the processes of an image.
#[derive(Debug, Clone, Copy)]
pub struct Launcher<'a> {
    /// Its bytes.
    pub program: &'a [u8],
    /// The digest of its bytes, which whoever built it knows: an export need not read them to see that they are those of the last one.
    pub digest: &'a str,
    /// Its version, for the label.
    pub version: &'a str,
}

/// The image stands in the store.
#[derive(Debug, Clone)]
pub struct Exported {
    /// The image.
    pub image: Image,
    /// `report.toml`.
    pub report: Report,
    /// Its layers above the run image, as the label has them.
    pub metadata: LifecycleMetadata,
    /// How many of its layers were there before.
    pub reused: usize,
}

/// Export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A layer cannot be made.
    #[error("making layer `{layer}` of {owner}")]
    Layer {
        /// The buildpack's id, or `the app`.
        owner: String,
        /// The layer's name.
        layer: String,
        /// Why.
        #[source]
        source: Box<ContentError>,
    },
    /// A layer of hoist's own cannot be made.
    #[error("making the {layer} layer")]
    Generated {
        /// Which.
        layer: &'static str,
        /// Why.
        #[source]
        source: Box<LayerError>,
    },
    /// A launch layer has neither content nor a forerunner.
    #[error(
        "layer `{layer}` of {buildpack} is for launch, but it has no content and the previous image does not have it"
    )]
    NoContent {
        /// The buildpack's id.
        buildpack: String,
        /// The layer's name.
        layer: String,
    },
    /// A cached layer has no content.
    #[error("layer `{layer}` of {buildpack} has cache = true, but no content")]
    CachedWithoutContent {
        /// The buildpack's id.
        buildpack: String,
        /// The layer's name.
        layer: String,
    },
    /// A slice's pattern is malformed or leads out of the app.
    #[error("the slice pattern `{pattern}` is not a path in the app")]
    Slice {
        /// The pattern.
        pattern: String,
    },
    /// The chosen default process does not exist.
    #[error("there is no process `{wanted}` to start by default")]
    NoProcess {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The image would have more layers than any engine takes.
    #[error("the image would have {layers} layers, and container engines take no more than {limit}")]
    TooManyLayers {
        /// How many.
        layers: usize,
        /// The bound.
        limit: usize,
    },
    /// A document cannot be written.
    #[error("writing a document of the image")]
    Document(#[source] DocumentError),
    /// The run image has an unusable configuration.
    #[error("reading the run image's configuration: {problem}")]
    RunImage {
        /// What is wrong.
        problem: String,
    },
    /// The store failed.
    #[error("storing the image")]
    Store(#[source] StoreError),
}

impl ExportError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer { source, .. } => source.hint(),
            Self::Store(error) => Some(error.hint()),
            Self::Generated { source, .. } => Some(source.hint()),
            Self::NoContent { .. } | Self::CachedWithoutContent { .. } => {
                Some("the buildpack must make the layer's directory; build once with --clear-cache".to_owned())
            }
            Self::Slice { .. } => Some("correct [[slices]] of launch.toml in the buildpack".to_owned()),
            Self::NoProcess { known, .. } if known.is_empty() => {
                Some("no buildpack declared a process; add a Procfile".to_owned())
            }
            Self::NoProcess { known, .. } => Some(format!("choose one of: {}", known.join(", "))),
            Self::TooManyLayers { .. } => {
                Some("put more into one layer of the buildpack, or use fewer [[slices]] in its launch.toml".to_owned())
            }
            Self::Document(error) => error.hint(),
            Self::RunImage { .. } => Some("make the run image again".to_owned()),
        }
    }

    /// Whether a buildpack left what makes no image, or the wanted process is not among those that it declared.
    pub fn is_of_the_buildpack(&self) -> bool {
        match self {
            Self::Layer { source, .. } => match source.as_ref() {
                ContentError::Tree(error) => !error.is_of_the_machine(),
                ContentError::Layer(error) => {
                    !matches!(error, LayerError::Io { .. } | LayerError::Size { .. } | LayerError::Store(_))
                }
                ContentError::Store(_) => false,
            },
            Self::NoContent { .. }
            | Self::CachedWithoutContent { .. }
            | Self::Slice { .. }
            | Self::NoProcess { .. }
            | Self::TooManyLayers { .. } => true,
            Self::Generated { .. } | Self::Document(_) | Self::RunImage { .. } | Self::Store(_) => false,
        }
    }

    /// The specification's exit code for a failed export.
    pub fn exit_code(&self) -> i32 {
        62
    }
}

/// Makes the image.
pub fn export(setup: &Setup<'_>, built: &Built, request: &ExportRequest<'_>) -> Result<Exported, ExportError> {
    timed(setup.reporter, Phase::Export, || export_image(setup, built, request))
}

fn export_image(setup: &Setup<'_>, built: &Built, request: &ExportRequest<'_>) -> Result<Exported, ExportError> {
    let analyzed = &built.restored.detected.analyzed;
    let mut exporting = Exporting::new(setup, built);
    tell_run_image(setup, analyzed);
    let mut cache = CacheRecord { owner: Some((setup.user.uid, setup.user.gid)), ..CacheRecord::default() };
    buildpack_layers::check_count(&exporting)?;
    buildpack_layers::export(&mut exporting, &mut cache)?;
    generated::sboms(&mut exporting, &mut cache)?;
    generated::app(&mut exporting, &mut cache, request)?;
    generated::launcher(&mut exporting, &mut cache, request)?;
    generated::config(&mut exporting, &mut cache)?;
    generated::process_types(&mut exporting, &mut cache)?;

    let run_image = &analyzed.run_image;
    exporting.metadata.run_image = RunImageRecord {
        top_layer: run_image.diff_ids().last().map(ToString::to_string).unwrap_or_default(),
        reference: analyzed.run_image_reference.clone(),
        image: analyzed.run_image_names.image.clone(),
        mirrors: analyzed.run_image_names.mirrors.clone(),
    };
    exporting.metadata.stack = Some(BuilderStack { run_image: analyzed.run_image_names.clone() });
    if setup.platform_api.at_least(15) {
        exporting.metadata.exec_env.clone_from(&setup.exec_env);
    }
    let config = image_config::make(setup, built, request, &exporting)?;
    let image = setup.store.put_image(&config, &request.names).map_err(ExportError::Store)?;
    write_caches(setup, analyzed, &cache, &exporting)?;
    if let Some(shared) = analyzed.shared_layers.as_ref().filter(|_| request.share_layers) {
        SharedRecord::write(setup.store, shared, &cache).map_err(ExportError::Store)?;
    }
    report_dropped(setup, built, &exporting.metadata);
    let reused = exporting.layers.iter().filter(|layer| layer.reused).count() + run_image.diff_ids().len();
    if let Some(name) = request.names.first() {
        setup.reporter.report(&Event::ImageWritten {
            reference: name.to_string(),
            image_id: image.id().to_string(),
            layers: image.diff_ids().len(),
            reused,
        });
    }
    let mut report = Report::default();
    report.image.tags = request.names.iter().map(ToString::to_string).collect();
    report.image.image_id = Some(image.id().to_string());
    Ok(Exported { image, report, metadata: exporting.metadata, reused })
}

/// Leaves this build's layers for the next one.
fn write_caches(
    setup: &Setup<'_>,
    analyzed: &Analyzed,
    cache: &CacheRecord,
    exporting: &Exporting<'_>,
) -> Result<(), ExportError> {
    if let Some(portable) = &analyzed.before.portable {
        portable.write(setup, cache);
    }
    if let Some(key) = &analyzed.cache_key {
        let own = if analyzed.before.portable.is_none() {
            cache.clone()
        } else {
            // The layers that are cached under this key stay as they are.
            let before = CacheRecord::read(setup.store, key).map_err(ExportError::Store)?.unwrap_or_default();
            CacheRecord { made_from: cache.made_from.clone(), owner: cache.owner, ..before }
        };
        own.write(setup.store, key).map_err(ExportError::Store)?;
    }
    if let Some(folder) = &analyzed.before.launch_cache
        && let Err(error) = write_launch_cache(setup, folder, exporting)
    {
        warn(setup, &error, "the next build does not find the layers of this one there");
    }
    Ok(())
}

/// All layers above the run image, as the Go lifecycle keeps them.
fn write_launch_cache(
    setup: &Setup<'_>,
    folder: &CacheFolder,
    exporting: &Exporting<'_>,
) -> Result<CacheWritten, CacheError> {
    let in_store = |source| CacheError::Store { cache: folder.name(), source };
    let mut writer = folder.begin(&BTreeSet::new())?;
    for ImageLayer { diff_id, .. } in &exporting.layers {
        let missing = || in_store(StoreError::MissingLayer { what: folder.name(), diff_id: *diff_id });
        let layer = setup.store.layer(diff_id).map_err(in_store)?.ok_or_else(missing)?;
        if !writer.keep(diff_id, Some(layer.size_bytes())) {
            writer.add(&layer)?;
        }
    }
    writer.commit(None)
}

fn tell_run_image(setup: &Setup<'_>, analyzed: &Analyzed) {
    let count = analyzed.run_image.diff_ids().len();
    let layers = if count == 1 {
        "its layer is taken as it is".to_owned()
    } else {
        format!("its {count} layers are taken as they are")
    };
    let told = Told {
        buildpack: "",
        layer: "run image",
        action: LayerAction::Reused,
        reason: format!("{}: {layers}", analyzed.run_image_names.image),
        size_bytes: None,
        destination: Destination { image: true, cache: false },
        started: None,
    };
    told.report(setup);
}

/// Says which layers of the previous image are no longer part of it.
fn report_dropped(setup: &Setup<'_>, built: &Built, metadata: &LifecycleMetadata) {
    let Some(previous) = built.restored.detected.analyzed.previous() else { return };
    for before in &previous.buildpacks {
        let now = metadata.buildpack(&before.key);
        for name in before.layers.keys() {
            if now.is_none_or(|now| !now.layers.contains_key(name)) {
                let reason = "no buildpack made it for launch in this build".to_owned();
                report(setup, &before.key, name, LayerAction::Dropped, reason, None);
            }
        }
    }
}

/// The layers directory's `config` folder.
pub(crate) fn config_dir(setup: &Setup<'_>) -> PathBuf {
    setup.directories.layers_dir.join("config")
}
