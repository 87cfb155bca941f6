//! The lock of a base.
use std::path::{Path, PathBuf};

use hoist_debian::LockedPackage;
use serde::{Deserialize, Serialize};

/// Exactly which packages a base is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseLock {
    /// Version of this document: 1.
    pub format: u32,
    /// `trixie`
    pub suite: String,
    /// `amd64`
    pub architecture: String,
    /// The indexes that the choice was made from.
    #[serde(default)]
    pub releases: Vec<LockedSuite>,
    /// Packages of the run image, sorted by name.
    #[serde(default)]
    pub run: Vec<LockedPackage>,
    /// Packages that the build image has besides, sorted by name.
    #[serde(default)]
    pub build: Vec<LockedPackage>,
}

/// One index that a choice was made from; kept for people, not needed to make the base again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// `trixie-security`
    pub suite: String,
    /// `Date` of its Release file.
    pub date: String,
    /// SHA-256 of its signed text.
    pub sha256: String,
}

/// Why a lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read.
    #[error("the base lock {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads a lock.
pub fn read_lock(path: &Path) -> Result<BaseLock, LockError> {
    let _ = path;
    unimplemented!()
}

/// Writes a lock, all or nothing.
pub fn write_lock(path: &Path, lock: &BaseLock) -> Result<(), LockError> {
    let _ = (path, lock);
    unimplemented!()
}
