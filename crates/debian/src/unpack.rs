//! Unpacks packages into a plain folder.
use std::path::{Path, PathBuf};

use crate::deb::DebError;

/// What to unpack and where to.
#[derive(Default)]
pub struct UnpackOptions<'a> {
    /// True for paths (relative, no `./`) that are wanted; everything where there is none. Asked after `rewrite`.
    pub filter: Option<&'a dyn Fn(&str) -> bool>,
    /// Where a path goes: `lib/x` to `usr/lib/x`. Asked for hard link targets too.
    pub rewrite: Option<&'a dyn Fn(&str) -> String>,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Paths of files and links, in the package's order.
    pub paths: Vec<String>,
    /// Bytes of content.
    pub bytes: u64,
}

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The package cannot be read.
    #[error("the package cannot be unpacked")]
    Deb {
        /// Why.
        #[from]
        source: DebError,
    },
    /// A path cannot be made.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Unpacks a package file below `dir`, never through a link that leads out of it. Owners are not kept; set-id bits neither.
pub fn unpack_into(deb: &Path, dir: &Path, options: &UnpackOptions<'_>) -> Result<Unpacked, UnpackError> {
    let _ = (deb, dir, options);
    unimplemented!()
}
