//! One package of a lock: exactly which file, so that it can be fetched again without any index.

use serde::{Deserialize, Serialize};

use crate::packages::Package;
use crate::sources::Source;
use crate::store::PackageFile;

/// Names a package file by what it is (name, version, architecture), where it came from (suite, path below the mirror's address) and
/// by its content (hash, size). Holds no mirror's address: any mirror that has the file will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    pub name: String,
    /// Its version, as written.
    pub version: String,
    /// `all` or the architecture.
    pub architecture: String,
    /// The suite in whose index it was found.
    pub suite: String,
    /// Path below the mirror's address, `pool/…`.
    pub filename: String,
    /// Hash of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Length of the file.
    pub size_bytes: u64,
}

impl LockedPackage {
    /// What to write down of a package.
    pub fn of(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.to_string(),
            architecture: package.architecture.clone(),
            suite: package.suite.clone(),
            filename: package.filename.clone(),
            sha256: package.sha256.clone(),
            size_bytes: package.size_bytes,
        }
    }

    /// The file to fetch: the addresses of the sources of its suite come first, then those of all others, because a file may have
    /// moved from a suite into another since.
    pub fn file(&self, sources: &[Source]) -> PackageFile {
        let (same, other): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(|source| source.suite == self.suite);
        let mut urls: Vec<String> = Vec::new();
        for source in same.into_iter().chain(other) {
            let url = source.url(&self.filename);
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        PackageFile {
            name: self.name.clone(),
            version: self.version.clone(),
            urls,
            sha256: self.sha256.clone(),
            size_bytes: self.size_bytes,
        }
    }
}
