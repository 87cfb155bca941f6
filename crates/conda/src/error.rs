//! Why an environment could not be made. Texts of rattler come without credentials.

use std::path::PathBuf;

use crate::settings::{UnknownChannel, mask};
use crate::virtual_packages::BadOverride;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CondaError {
    /// The connection could not be prepared.
    #[error("preparing to reach channels: {why}")]
    Client {
        /// What was said.
        why: String,
    },
    /// A name of a channel means nothing.
    #[error(transparent)]
    Channel(#[from] UnknownChannel),
    /// A setting is no version.
    #[error(transparent)]
    Override(#[from] BadOverride),
    /// An entry is no specification of a package.
    #[error("line {line}: `{spec}` names no package")]
    Spec {
        /// As it was written.
        spec: String,
        /// Counted from 1; 0 when it stands in no file.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// Channels that do not answer.
    #[error("{} did not answer", unreachable.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "))]
    Unreachable {
        /// Which, where, and why.
        unreachable: Vec<Unreachable>,
    },
    /// No packages fit together.
    #[error("no packages fit together")]
    Unsolvable {
        /// rattler's tree of reasons.
        tree: String,
    },
    /// An archive could not be had, or is not what the channel says.
    #[error("fetching {package}: {why}")]
    Fetch {
        /// The file's name.
        package: String,
        /// All that was said.
        why: String,
    },
    /// An archive does what no package does; nothing of it is installed.
    #[error("{package} is refused: {why}")]
    Hostile {
        /// The file's name.
        package: String,
        /// What it does.
        why: String,
    },
    /// An archive could not be put into the environment.
    #[error("installing {package}: {why}")]
    Install {
        /// The package, as far as it is known.
        package: String,
        /// All that was said.
        why: String,
    },
    /// The environment's folder.
    #[error("working on {}", path.display())]
    Prefix {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A channel that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// As it was written.
    pub name: String,
    /// All places that were tried.
    pub places: Vec<String>,
    /// What the last one said.
    pub why: String,
}

/// An error and its sources on one line, without repetitions and credentials.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    mask(&text)
}
