//! Scratch folders: work in progress, on the store's file system so that finished work is renamed into place.
//!
//! A locked file beside each folder says that its process lives. What a crash left is found by prune.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::durable;
use crate::error::{Doing, StoreError};

/// A private folder that goes away with this value.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock: PathBuf,
    _locked: fs::File,
}

impl Scratch {
    pub(crate) fn make(dir: &Path, label: &str) -> Result<Self, StoreError> {
        let clean: String = label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        loop {
            let path = dir.join(durable::unique(&clean));
            let lock = path.with_extension("lock");
            let locked = fs::File::create_new(&lock).doing("making a scratch folder")?;
            locked.file().lock().doing("locking a scratch folder")?;
            if fs::symlink_metadata(&lock).is_err() {
                continue; // prune took the file for a dead one between making and locking
            }
            if let Err(source) = fs::create_dir(&path) {
                let _ = fs::remove_file(&lock);
                return Err(StoreError::io("making a scratch folder", source));
            }
            return Ok(Self { path, lock, _locked: locked });
        }
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

/// Removes `path` and everything below it, also folders that forbid it to their owner (overlay's work folder has mode 0). Symbolic links are
/// removed, not followed. Nothing there is no error.
pub(crate) fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        let metadata = fs::symlink_metadata(&dir)?;
        if !metadata.is_dir() {
            continue;
        }
        if metadata.permissions().mode() & 0o700 != 0o700 {
            fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
        }
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}
