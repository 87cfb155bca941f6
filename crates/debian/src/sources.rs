//! Where packages come from.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Whose signatures a source's index must bear.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedBy {
    /// Those of the machine's Debian keyring.
    #[default]
    Default,
    /// Those of files.
    Files(Vec<PathBuf>),
    /// Keys written into the source, armored.
    Inline(String),
}

/// One suite of one mirror. Serializable, so that a process elsewhere can use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Address of the mirror, without a slash at its end.
    pub uri: String,
    /// `trixie`, `trixie-updates`, or a path that ends in a slash.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// Whose signatures its index must bear.
    #[serde(default)]
    pub signed_by: SignedBy,
    /// Architectures that the entry is limited to; all where empty.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// False where an index past its date is good enough, as for a frozen mirror.
    pub check_valid_until: bool,
    /// True where the suite may be missing (updates, security).
    #[serde(default)]
    pub optional: bool,
}

/// A mirror, in place of the machine's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mirror {
    /// Address of the archive (`…/debian`).
    pub archive: String,
    /// Address of the security archive, if there is one.
    pub security: Option<String>,
}

/// Why the sources cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file cannot be read.
    #[error("the apt sources {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Source {
    /// The address of a file below the mirror.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.uri.trim_end_matches('/'), path)
    }
}

/// Reads `etc/apt/sources.list` and `etc/apt/sources.list.d/*.{list,sources}` below a root: all enabled binary sources, third-party ones too.
pub fn read_apt_sources(root: &Path) -> Result<Vec<Source>, SourcesError> {
    let _ = root;
    unimplemented!()
}

/// The sources of a suite (`trixie` and its updates and security), from the Debian mirror among the machine's sources or from the one named.
pub fn sources_for(suite: &str, machine: &[Source], mirror: Option<&Mirror>) -> Result<Vec<Source>, SourcesError> {
    let _ = (suite, machine, mirror);
    unimplemented!()
}
