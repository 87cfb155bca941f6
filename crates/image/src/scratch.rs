//! Scratch folders: work in progress, on the store's file system so that finished work is renamed into place.
//!
//! A locked file beside each folder says that its process lives. What a crash left is found by prune.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::durable;
use crate::error::{Doing, StoreError};
use crate::remove::remove_tree;

/// A private folder that goes away with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock: PathBuf,
    _locked: fs::File,
}

impl Scratch {
    /// Call it with the store's lock shared: between making the lock file and locking it prune would take the folder for a dead one.
    pub(crate) fn make(dir: &Path, label: &str) -> Result<Self, StoreError> {
        let clean: String = label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let path = dir.join(durable::unique(&clean));
        let lock = path.with_extension("lock");
        let locked = fs::File::create_new(&lock).doing("making a scratch folder")?;
        locked.file().lock().doing("locking a scratch folder")?;
        if let Err(source) = fs::create_dir(&path) {
            let _ = fs::remove_file(&lock);
            return Err(StoreError::io("making a scratch folder", source));
        }
        Ok(Self { path, lock, _locked: locked })
    }

    /// The folder. It is empty at first, mode 0700 less what the umask takes.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if remove_tree(&self.path).is_ok() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}
