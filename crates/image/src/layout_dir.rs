//! An OCI layout as a folder: made new, or in place of an older one.
//!
//! The folder is written beside its place and comes there in one step; a reader sees the old layout or the new one.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::archive_write::{Layout, SaveError, doing};
use crate::compress::Compression;
use crate::durable;
use crate::image::Image;
use crate::outfile::beside;
use crate::reference::Reference;
use crate::remove::remove_tree;
use crate::store::Store;

/// What an OCI layout has at its top; a folder with anything else in it is somebody's own.
const ENTRIES: [&str; 3] = ["blobs", "index.json", "oci-layout"];

impl Image {
    /// Writes the image as a folder with an OCI layout. The folder appears when it is whole; it must not exist or be empty.
    pub fn save_to_dir(&self, path: &Path, names: &[Reference], compression: Compression) -> Result<(), SaveError> {
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) || path.is_file() {
            return Err(SaveError::Taken { path: path.to_owned() });
        }
        self.store().session()?.hold_image(self)?;
        let layout = self.layout(names, compression)?;
        put(self.store(), &layout, path)
    }

    /// As [`save_to_dir`](Self::save_to_dir), but in place of an OCI layout that is there. False where it is this very image already, and
    /// nothing was written.
    pub fn replace_dir(&self, path: &Path, names: &[Reference], compression: Compression) -> Result<bool, SaveError> {
        let there = match fs::read_dir(path) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(doing("looking at what is there"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(SaveError::Taken { path: path.to_owned() });
            }
            Err(error) => return Err(doing("looking at what is there")(error)),
        };
        let known = |name: &std::ffi::OsStr| ENTRIES.iter().any(|entry| name == *entry);
        let is_layout = path.join("oci-layout").is_file() && there.iter().all(|entry| known(&entry.file_name()));
        if !there.is_empty() && !is_layout {
            return Err(SaveError::Taken { path: path.to_owned() });
        }
        self.store().session()?.hold_image(self)?;
        let layout = self.layout(names, compression)?;
        if is_layout && layout.is_at(path) {
            return Ok(false);
        }
        put(self.store(), &layout, path).map(|()| true)
    }
}

fn put(store: &Store, layout: &Layout, path: &Path) -> Result<(), SaveError> {
    let temporary = beside(path);
    let written = layout.write_dir(store, &temporary).and_then(|()| {
        let placed = durable::sync_file_system(&temporary).and_then(|()| place(&temporary, path));
        placed.map_err(doing("putting the OCI layout into its place"))
    });
    // What lies there now is half a layout, or the old one.
    if fs::symlink_metadata(&temporary).is_ok() {
        let _ = remove_tree(&temporary);
    }
    written
}

/// Renames over nothing or an empty folder, and changes places with a full one.
fn place(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(temporary, path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
        other => return other,
    }
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::EXCHANGE) {
        // File systems that cannot exchange: for a moment nothing is there.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let old = beside(path);
            fs::rename(path, &old)?;
            let renamed = fs::rename(temporary, path);
            if renamed.is_err() {
                return fs::rename(&old, path).and(renamed);
            }
            remove_tree(&old)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_folder_changes_places_and_an_empty_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (new, to) = (dir.path().join("new"), dir.path().join("to"));
        for round in ["1", "2"] {
            fs::create_dir(&new).unwrap();
            fs::write(new.join(round), "").unwrap();
            place(&new, &to).unwrap();
            assert!(to.join(round).is_file());
        }
        assert!(new.join("1").is_file(), "what was there is at the other place");
    }
}
