//! Packages of suites.
use std::path::Path;

use hoist_events::Reporter;

use crate::fetch::{FetchError, Fetcher};
use crate::keyring::Keyring;
use crate::packages::Package;
use crate::sources::Source;

/// What to load.
#[derive(Debug, Clone, Copy)]
pub struct IndexRequest<'a> {
    /// From where.
    pub sources: &'a [Source],
    /// For which architecture: `amd64`.
    pub architecture: &'a str,
    /// Whose signatures are believed.
    pub keyring: &'a Keyring,
    /// Where parsed indexes are kept.
    pub cache_dir: &'a Path,
}

/// What a signed Release file said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// The suite as asked for.
    pub suite: String,
    /// `Codename`, empty where there is none.
    pub codename: String,
    /// `Version`, empty where there is none: `13.2`.
    pub version: String,
    /// `Date`, as written.
    pub date: String,
    /// SHA-256 of the signed text.
    pub sha256: String,
}

/// The packages of some suites.
#[derive(Debug)]
pub struct Index {}

/// Why an index cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Fetching failed.
    #[error("the index of {suite} cannot be fetched")]
    Fetch {
        /// Which suite.
        suite: String,
        /// Why.
        source: FetchError,
    },
}

impl Index {
    /// Fetches the signed indexes, verifies them, and reads the packages (from the cache where the same index was read before).
    pub fn load(fetcher: &Fetcher, request: &IndexRequest<'_>, reporter: &dyn Reporter) -> Result<Self, IndexError> {
        let _ = (fetcher, request, reporter);
        unimplemented!()
    }

    /// The releases, in the order of the sources; optional ones that are not there are left out.
    pub fn releases(&self) -> &[ReleaseInfo] {
        unimplemented!()
    }

    /// The highest version of a package among the suites.
    pub fn candidate(&self, name: &str) -> Option<Package> {
        let _ = name;
        unimplemented!()
    }

    /// True where a package of the name exists.
    pub fn contains(&self, name: &str) -> bool {
        let _ = name;
        unimplemented!()
    }

    /// All names that begin so, sorted: `python3.` gives what Pythons there are.
    pub fn names_with_prefix(&self, prefix: &str) -> Vec<String> {
        let _ = prefix;
        unimplemented!()
    }
}
