//! Reads package files.
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What an entry of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file and its length.
    File {
        /// In bytes.
        size_bytes: u64,
    },
    /// A symbolic link and where it points, as written.
    Symlink {
        /// As written.
        target: String,
    },
    /// Another name of a file that came before.
    HardLink {
        /// Path of that file, as [`Entry::path`].
        target: String,
    },
}

/// An entry of a package's file tree.
pub struct Entry<'a> {
    /// Relative path without `./`, `..` or a slash at either end; empty for the root itself.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content, of a file.
    pub content: &'a mut dyn Read,
}

/// A package file.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
}

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// A file cannot be read.
    #[error("the package {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Deb {
    /// Opens a package file and reads what it is made of.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        Ok(Self { path: path.to_owned() })
    }

    /// The files of its control archive by name: `control`, `conffiles`, `md5sums`, `postinst`, …
    pub fn control_files(&self) -> Result<BTreeMap<String, Vec<u8>>, DebError> {
        let _ = &self.path;
        unimplemented!()
    }

    /// Calls `visit` for each entry of the file tree, in the package's order. Stops at the first error, whoever's it is.
    pub fn visit<E: From<DebError>>(&self, visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>) -> Result<(), E> {
        let _ = visit;
        unimplemented!()
    }
}
