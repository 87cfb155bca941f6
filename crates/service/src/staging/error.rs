//! Why a source cannot be staged, and what to do about it.

use std::path::{Path, PathBuf};

use crate::PlanqkJsonError;
use crate::dependencies::DependencyError;

/// A source that cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The dependency files cannot be used.
    #[error(transparent)]
    Dependencies(#[from] DependencyError),
    /// `planqk.json` cannot be used.
    #[error(transparent)]
    Manifest(#[from] PlanqkJsonError),
    /// There is nothing there.
    #[error("there is no {}", path.display())]
    NotFound {
        /// As given.
        path: PathBuf,
    },
    /// The source is empty.
    #[error("{} holds no file to build from", path.display())]
    Empty {
        /// As given.
        path: PathBuf,
    },
    /// The source is a file of another kind.
    #[error("{} is neither a folder nor a zip archive", path.display())]
    NotAnArchive {
        /// As given.
        path: PathBuf,
    },
    /// The archive is damaged.
    #[error("the archive {} cannot be read: {why}", path.display())]
    Broken {
        /// The archive.
        path: PathBuf,
        /// What the reader says.
        why: String,
    },
    /// The archive holds what no honest archive does.
    #[error("the archive {} is refused: {}{why}", path.display(), if entry.is_empty() { String::new() } else { format!("entry {entry:?}: ") })]
    Hostile {
        /// The archive.
        path: PathBuf,
        /// Which entry; empty for the whole.
        entry: String,
        /// Why.
        why: String,
    },
    /// A symbolic link leads out of the source.
    #[error("the link {} leads out of the source, to {}", path.display(), target.display())]
    LinkOut {
        /// The link.
        path: PathBuf,
        /// Where to.
        target: PathBuf,
    },
    /// Too many entries.
    #[error("the source has more than {limit} files and folders")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// Too deep.
    #[error("{} lies deeper than {limit} folders", path.display())]
    TooDeep {
        /// Where.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// Too large.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The bound.
        limit_bytes: u64,
    },
    /// More bytes came than the source declared.
    #[error("{} holds more than the {size} bytes that it declares", path.display())]
    Lies {
        /// Which file.
        path: PathBuf,
        /// What it declares.
        size: u64,
    },
    /// The app directory is not empty, or lies in the source.
    #[error("{} cannot hold the staged app: {why}", path.display())]
    AppDir {
        /// The app directory.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("staging {}", path.display())]
    Write {
        /// Which, in the app.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl StageError {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// The next step.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Dependencies(error) => return error.hint(),
            Self::Manifest(error) => return error.hint(),
            Self::NotFound { .. } => "give the folder or the zip archive of the service",
            Self::Empty { .. } => "begin with a new service: hoist init DIR",
            Self::NotAnArchive { .. } => "unpack it, and give the folder; or pack it as a zip: zip -r service.zip .",
            Self::Broken { .. } => "make the archive again: zip -r service.zip .",
            Self::Hostile { .. } => "make the archive again from the service's own folder: zip -r service.zip .",
            Self::LinkOut { .. } => "copy what it leads to into the source, or remove the link",
            Self::TooMany { .. } | Self::TooLarge { .. } | Self::TooDeep { .. } => {
                "leave out what the service does not need with a .planqkignore (data, models, notebooks)"
            }
            Self::Lies { .. } => "do not change the source while it is staged; make an archive again",
            Self::AppDir { .. } => "give an empty directory outside of the source",
            Self::Read { .. } => "look at the permissions",
            Self::Write { .. } => "look for a full disk: hoist system df",
        };
        text.to_owned()
    }
}
