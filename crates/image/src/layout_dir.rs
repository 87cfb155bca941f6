//! An OCI layout as a folder: made new, or in place of an older one.
//!
//! The folder is written beside its place and comes there in one step; a reader sees the old layout or the new one. What a kill leaves is a
//! hidden folder beside the place that nobody has locked: the next layout for that place removes it.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

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
/// How long others are waited for who begin or end a layout in the same folder: they need an instant.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let is_layout = path.join("oci-layout").is_file() && there.iter().all(|entry| is_known(&entry.file_name()));
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

fn is_known(name: &OsStr) -> bool {
    ENTRIES.iter().any(|entry| name == *entry)
}

fn put(store: &Store, layout: &Layout, path: &Path) -> Result<(), SaveError> {
    let temporary = beside(path);
    let held = begin(&temporary, path).map_err(doing("making a folder for the OCI layout"))?;
    let written = layout.write_dir(store, &temporary).and_then(|()| {
        let placed = durable::sync_file_system(&temporary).and_then(|()| {
            let _turn = turn(path);
            place(&temporary, path)
        });
        placed.map_err(doing("putting the OCI layout into its place"))
    });
    // What lies there now is half a layout, or the old one.
    if fs::symlink_metadata(&temporary).is_ok() {
        let _ = remove_tree(&temporary);
    }
    drop(held);
    written
}

/// Makes the hidden folder, held for as long as the answer lives, and removes those that kills left.
fn begin(temporary: &Path, path: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(parent_of(path))?;
    let turn = turn(path);
    if turn.is_some() {
        remove_leftovers(path);
    }
    fs::create_dir(temporary)?;
    let held = fs::File::open(temporary)?;
    // Where locks do not exist nobody gets a turn to remove anything.
    let _ = held.file().try_lock();
    Ok(held)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Nobody else begins, places or tidies layouts in this folder meanwhile. Nothing where that cannot be had.
fn turn(path: &Path) -> Option<fs::File> {
    let folder = fs::File::open(parent_of(path)).ok()?;
    durable::lock_within(folder.file(), false, PATIENCE).ok()?.then_some(folder)
}

/// Removes hidden folders for this place that nobody holds. One that cannot be removed stays, as it did before.
fn remove_leftovers(path: &Path) {
    let prefix = format!(".{}-", path.file_name().unwrap_or_default().to_string_lossy());
    let Ok(entries) = fs::read_dir(parent_of(path)) else { return };
    let named: Vec<_> = entries.flatten().filter(|entry| is_unique_name(&entry.file_name(), &prefix)).collect();
    for entry in named {
        let (Ok(folder), Ok(mut inside)) = (fs::File::open(entry.path()), fs::read_dir(entry.path())) else { continue };
        let is_ours = inside.all(|entry| entry.is_ok_and(|entry| is_known(&entry.file_name())));
        if is_ours && folder.file().try_lock().is_ok() {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Whether a name is one of [`durable::unique`] with this beginning.
fn is_unique_name(name: &OsStr, prefix: &str) -> bool {
    let name = name.to_string_lossy();
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    let parts: Vec<&str> = rest.split('-').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // The middle one is a time in nanoseconds.
    parts.len() == 3 && parts.iter().all(is_number) && parts[1].len() >= 14
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
    fn what_a_kill_left_goes_and_what_somebody_holds_or_owns_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("out");
        let left = beside(&place);
        fs::create_dir_all(left.join("blobs")).unwrap();
        let held = beside(&place);
        fs::create_dir(&held).unwrap();
        let holder = fs::File::open(&held).unwrap();
        holder.file().try_lock().unwrap();
        let own = beside(&place);
        fs::create_dir(&own).unwrap();
        fs::write(own.join("thesis.txt"), "").unwrap();
        let other = beside(&dir.path().join("another"));
        let similar = dir.path().join(".out-1-2-3");
        for path in [&other, &similar] {
            fs::create_dir(path).unwrap();
        }
        remove_leftovers(&place);
        assert!(fs::symlink_metadata(&left).is_err());
        for path in [&held, &own, &other, &similar] {
            assert!(path.is_dir(), "{}", path.display());
        }
        drop(holder);
        remove_leftovers(&place);
        assert!(fs::symlink_metadata(&held).is_err());
    }

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
