//! Fetches package files into a cache named by content.
use std::path::{Path, PathBuf};

use hoist_events::Reporter;

use crate::fetch::{FetchError, Fetcher};
use crate::packages::Package;

/// A package file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// The package's name, for messages.
    pub name: String,
    /// Its version, for messages.
    pub version: String,
    /// Where it may be, best first.
    pub urls: Vec<String>,
    /// Hash of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Length of the file.
    pub size_bytes: u64,
}

impl From<&Package> for PackageFile {
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.to_string(),
            urls: vec![format!("{}/{}", package.uri.trim_end_matches('/'), package.filename)],
            sha256: package.sha256.clone(),
            size_bytes: package.size_bytes,
        }
    }
}

/// A folder of package files, each named by its SHA-256. May be shared by any number of processes.
#[derive(Debug, Clone)]
pub struct DebCache {
    dir: PathBuf,
}

impl DebCache {
    /// Uses a folder, which is made when something is first kept in it.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where the file of this hash is or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}.deb"))
    }
}

/// Fetches what is not in the cache, several at a time, and checks every length and hash, of cached files too. Answers with the paths, in the order of `files`.
pub fn fetch_packages(
    fetcher: &Fetcher,
    files: &[PackageFile],
    cache: &DebCache,
    reporter: &dyn Reporter,
) -> Result<Vec<PathBuf>, FetchError> {
    let _ = (fetcher, files, cache, reporter);
    unimplemented!()
}
