//! What is known of one package of an index.

use crate::relation::Dependency;
use crate::version::Version;

/// A binary package as an index describes it, with what is needed to choose and to fetch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// `all` or the architecture.
    pub architecture: String,
    /// `Multi-Arch`: `no`, `same`, `foreign`, `allowed`.
    pub multi_arch: String,
    /// True where the package must be there on every full Debian system.
    pub essential: bool,
    /// `Pre-Depends` and then `Depends`.
    pub depends: Vec<Dependency>,
    /// `Conflicts` and `Breaks`: what may not be there with it.
    pub conflicts: Vec<Dependency>,
    /// Virtual names it stands for, with their versions where given.
    pub provides: Vec<(String, Option<Version>)>,
    /// The suite in whose index it stands.
    pub suite: String,
    /// Address below which `filename` lies.
    pub uri: String,
    /// Path below `uri`.
    pub filename: String,
    /// Hash of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Length of the file.
    pub size_bytes: u64,
}
