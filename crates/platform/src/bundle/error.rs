//! Why a bundle cannot be made or used, and what to do next.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hoist_image::{LoadError, SaveError};
use thiserror::Error;

use crate::error::PlatformError;

/// Why a bundle cannot be made or used.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Bundles are made where there is a network.
    #[error("making a bundle: everything that the app needs is fetched once more, and --offline forbids that")]
    Offline,
    /// The file cannot be written.
    #[error("writing the bundle {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was fetched cannot be read.
    #[error("making a bundle: {action}")]
    Collect {
        /// What was being done.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// The images cannot be written.
    #[error("making a bundle: its images cannot be written")]
    Save(#[source] Box<SaveError>),
    /// The build needs the network itself.
    #[error(
        "making a bundle: the app was built, and could not be built again without the network from what was fetched"
    )]
    NotRepeatable {
        /// Why.
        source: Box<PlatformError>,
    },
    /// It cannot be read.
    #[error("reading the bundle {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no bundle of hoist's", path.display())]
    NotABundle {
        /// Which.
        path: PathBuf,
    },
    /// Another hoist wrote it.
    #[error("the bundle {} has format {found:?}, this hoist reads format {}", path.display(), super::document::FORMAT)]
    Format {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// It is not what it was.
    #[error("the bundle {} is damaged: {problem}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It says what no bundle of hoist's says.
    #[error("the bundle {} is refused: {problem}", path.display())]
    Hostile {
        /// Which.
        path: PathBuf,
        /// What.
        problem: String,
    },
    /// It is for machines of another kind.
    #[error("the bundle {} is for {found}, and this machine is {wanted}", path.display())]
    Architecture {
        /// Which.
        path: PathBuf,
        /// Of the bundle.
        found: String,
        /// Of the machine.
        wanted: String,
    },
    /// Its images cannot be loaded.
    #[error("loading the images of the bundle {}", path.display())]
    Images {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<LoadError>,
    },
    /// What it holds cannot be unpacked here.
    #[error("unpacking the bundle {}", path.display())]
    Unpack {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn is_of_the_disk(source: &io::Error) -> bool {
    matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl BundleError {
    pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn hostile(path: &Path, problem: impl Into<String>) -> Self {
        Self::Hostile { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn collect(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Collect { action, source }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Offline => "make the bundle where there is a network, without --offline".to_owned(),
            Self::Write { source, .. } | Self::Collect { source, .. } | Self::Unpack { source, .. }
                if is_of_the_disk(source) =>
            {
                "the disk is full: free some space (hoist system prune), then run the command again".to_owned()
            }
            Self::Write { .. } => "name a file in a folder that you may write to: --output FILE".to_owned(),
            Self::Collect { .. } | Self::Unpack { .. } => {
                "look at who owns the store, or take another one: --store DIR".to_owned()
            }
            Self::Save(error) => error.hint(),
            Self::NotRepeatable { source } => format!(
                "a bundle has what hoist's own buildpacks fetch, and not what others fetch; what was missing is said above. {}",
                source.hint()
            ),
            Self::Read { .. } => "look at the path and at who may read it".to_owned(),
            Self::NotABundle { .. } => "name the file that was made by: hoist bundle --path DIR --output FILE".to_owned(),
            Self::Format { .. } => "make the bundle anew with this hoist, or use the hoist that made it".to_owned(),
            Self::Damaged { .. } => {
                "carry the file over once more; if that does not help, make it anew: hoist bundle --path DIR --output FILE".to_owned()
            }
            Self::Hostile { .. } => "hoist makes no such bundle: ask where it comes from".to_owned(),
            Self::Architecture { .. } => "make the bundle on a machine of the same kind as this one".to_owned(),
            Self::Images { source, .. } if source.is_of_the_machine() => {
                "see whether the disk is full (hoist system df), then run the command again".to_owned()
            }
            Self::Images { .. } => "make the bundle anew: hoist bundle --path DIR --output FILE".to_owned(),
        }
    }

    /// Whether the machine failed, and not what was given.
    pub fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Write { source, .. } => is_of_the_disk(source),
            Self::Collect { .. } | Self::Save(_) | Self::Unpack { .. } => true,
            Self::Images { source, .. } => source.is_of_the_machine(),
            Self::NotRepeatable { source } => source.fault() == crate::error::Fault::Machine,
            _ => false,
        }
    }
}
