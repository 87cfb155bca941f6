//! Why a phase failed, and the code that it ends with.

use std::path::PathBuf;

use hoist_image::StoreError;
use hoist_spec::{ApiError, DocumentError};

use crate::analyze::AnalyzeError;
use crate::build::BuildError;
use crate::buildpacks::BuildpacksError;
use crate::cache_error::CacheError;
use crate::detect::DetectError;
use crate::export::ExportError;
use crate::extract::ExtractError;
use crate::in_place::images::{ANALYZE, REBASE, RESTORE};
use crate::place::PlaceError;
use crate::rebase::RebaseError;
use crate::restore::RestoreError;
use crate::tree::TreeError;

/// A phase failed.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A file or directory cannot be read or written.
    #[error("{action} {path}")]
    Io {
        /// What was being done: `reading`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A document cannot be used.
    #[error("reading {path}")]
    Document {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<DocumentError>,
    },
    /// The builder's buildpacks cannot be read.
    #[error("reading the buildpacks of the builder")]
    Buildpacks(#[source] BuildpacksError),
    /// A buildpack of the group is not there, or cannot be used.
    #[error("{buildpack} is in {group} but not in {dir}")]
    NoBuildpack {
        /// `id@version`.
        buildpack: String,
        /// Path of `group.toml`.
        group: PathBuf,
        /// The buildpacks directory.
        dir: PathBuf,
    },
    /// A buildpack of the group speaks an API that is not spoken here.
    #[error("reading the API of {buildpack}")]
    BuildpackApi {
        /// `id@version`.
        buildpack: String,
        /// Which.
        #[source]
        source: ApiError,
    },
    /// Detection failed.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An image cannot be read or written.
    #[error("reading or writing an image")]
    Image {
        /// The specification's code for the phase.
        code: i32,
        /// Why not.
        #[source]
        source: Box<PlaceError>,
    },
    /// An image that is needed is not there.
    #[error("looking for the image {name}: {place}")]
    MissingImage {
        /// Its name.
        name: String,
        /// Where it should be.
        place: String,
        /// The specification's code for the phase.
        code: i32,
    },
    /// No run image was named.
    #[error("looking for the run image: none is given, and {path} names none")]
    NoRunImage {
        /// `<run>`.
        path: PathBuf,
        /// The specification's code for the phase.
        code: i32,
    },
    /// The cache cannot be used.
    #[error("reading the build cache")]
    Cache(#[source] CacheError),
    /// The images and the cache cannot be looked at.
    #[error(transparent)]
    Analyze(#[from] AnalyzeError),
    /// Restoring failed.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A layer cannot be written to the file system.
    #[error("restoring {what}")]
    Extract {
        /// Which.
        what: String,
        /// The specification's code for the phase.
        code: i32,
        /// Why not.
        #[source]
        source: ExtractError,
    },
    /// Exporting failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// An image cannot be put on another run image.
    #[error(transparent)]
    Rebase(Box<RebaseError>),
    /// What the buildpacks left cannot be read.
    #[error("reading the layers directory")]
    Layers(#[source] TreeError),
    /// The temporary store failed.
    #[error("keeping layers while they are used")]
    Store(#[source] StoreError),
    /// An SBOM document cannot be copied.
    #[error("copying the SBOM documents")]
    Sbom(#[source] TreeError),
}

impl PhaseError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Sbom(_) | Self::Extract { .. } | Self::Layers(_) => None,
            Self::Image { source, .. } => source.hint(),
            Self::MissingImage { .. } => {
                Some("bring the image there before this phase, or name another one".to_owned())
            }
            Self::Rebase(error) => error.hint(),
            Self::NoRunImage { .. } => Some("name one with -run-image".to_owned()),
            Self::Cache(error) => error.hint(),
            Self::Analyze(error) => error.hint(),
            Self::Restore(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Store(error) => Some(error.hint()),
            Self::Document { source, .. } => source.hint(),
            Self::Buildpacks(error) => error.hint(),
            Self::NoBuildpack { .. } => Some("run detector and builder in the same build image".to_owned()),
            Self::BuildpackApi { source, .. } => Some(source.hint()),
            Self::Detect(error) => error.hint(),
            Self::Build(error) => error.hint(),
        }
    }

    /// The specification's exit code.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Detect(error) => error.exit_code(),
            Self::Build(error) => error.exit_code(),
            Self::BuildpackApi { .. } => 12,
            Self::Image { code, .. }
            | Self::MissingImage { code, .. }
            | Self::NoRunImage { code, .. }
            | Self::Extract { code, .. } => *code,
            Self::Rebase(_) => REBASE,
            Self::Cache(_) => RESTORE,
            Self::Analyze(_) => ANALYZE,
            Self::Restore(error) => error.exit_code(),
            Self::Export(error) => error.exit_code(),
            Self::Buildpacks(error) if error.is_unsupported_api() => 12,
            _ => 1,
        }
    }
}
