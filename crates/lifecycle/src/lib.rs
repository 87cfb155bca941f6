//! The CNB lifecycle: analyze, detect, restore, build, export, one file for each phase.
//!
//! ```text
//! Analyzed ─detect→ Detected ─restore→ Restored ─build→ Built ─export→ Exported
//! ```
//!
//! Each phase takes what the one before made, so that a wrong order does not compile. Only detect and build run other people's code, and
//! only through [`Runner`]; this crate knows no sandbox, no Debian and no network.
#![forbid(unsafe_code)]

mod analyze;
mod apart;
mod app;
mod at_once;
mod build;
mod buildpack_layers;
mod buildpacks;
mod cache;
mod cache_error;
mod cache_folder;
mod cache_image;
mod content;
mod counters;
mod detect;
mod detection;
mod direct;
mod environment;
mod exchange;
mod export;
mod extract;
mod generated;
mod glob;
mod image_config;
mod in_place;
mod layer_events;
mod layout;
mod lines;
mod place;
mod portable_cache;
mod portable_write;
mod rebase;
mod restore;
mod runner;
mod sbom;
mod setup;
mod split;
mod timing;
mod together;
mod tree;

pub use analyze::{AnalyzeError, AnalyzeRequest, Analyzed, analyze, image_target};
pub use apart::{document_for_builds, is_untouched, strayed, take_over};
pub use build::{BuildError, Built, build};
pub use buildpacks::{Buildpack, Buildpacks, BuildpacksError};
pub use cache::{CACHE_RECORD_KIND, SHARED_RECORD_KIND, SharedLayers};
pub use cache_error::CacheError;
pub use cache_folder::{CacheFolder, CacheWritten, FolderWriter};
pub use cache_image::CacheImage;
pub use content::ContentError;
pub use counters::{Counters, Counts};
pub use detect::{Answer, DetectError, Detected, GroupFailure, detect};
pub use detection::{Applying, Detection, detect_only};
pub use export::{ExportError, ExportRequest, Exported, Launcher, export};
pub use extract::ExtractError;
pub use in_place::{
    ImagePhaseInputs, PhaseError, PhaseInputs, RebaserInputs, run_analyzer, run_builder, run_creator, run_detector,
    run_exporter, run_rebaser, run_restorer,
};
pub use layout::{LayoutDir, LayoutError};
pub use place::{ImagePlace, PlaceError};
pub use portable_cache::PortableCache;
pub use rebase::{Foundation, RebaseError, RebaseRequest, rebase, rebased_config};
pub use restore::{RestoreError, Restored, restore};
pub use runner::{BuildpackCall, BuildpackExit, BuildpackPhase, Runner, RunnerError, Upper};
pub use sbom::SbomError;
pub use setup::{BuildRoot, BuildUser, Directories, Setup, Site};
pub use tree::TreeError;
