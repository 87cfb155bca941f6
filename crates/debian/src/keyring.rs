//! Keys.
use std::path::{Path, PathBuf};

use crate::sources::Source;

/// Public keys whose signatures are believed.
#[derive(Debug, Clone)]
pub struct Keyring {
    bytes: Vec<u8>,
}

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read.
    #[error("the keyring {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Keyring {
    /// The keys of a file, binary or armored.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let _ = path;
        unimplemented!()
    }

    /// The keys shipped with hoist: those of Debian's package `debian-archive-keyring`.
    pub fn shipped() -> Result<Self, KeyringError> {
        unimplemented!()
    }

    /// The keys that the machine trusts for these sources: their Signed-By, else the machine's Debian keyring, and those shipped with hoist.
    pub fn for_sources(root: &Path, sources: &[Source]) -> Result<Self, KeyringError> {
        let _ = (root, sources);
        unimplemented!()
    }

    /// The keys as one binary file, to hand to a process elsewhere (then [`Keyring::read`]).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}
