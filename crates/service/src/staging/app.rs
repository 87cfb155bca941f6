//! The app directory as staging writes it: modes and owners the same whoever stages, and no write that follows a link.
//!
//! [`Target`] makes files, folders and links. [`StagedApp`] is the way to change the app once it is staged (dependency files are lifted, inputs
//! taken out); it notes what changed, so that the fingerprint stays true.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Whose the staged files are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Makes what the app directory holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) root: &'a Path,
    owner: Option<Owner>,
    /// Whether the umask leaves 0644 and 0755 as they are, and no mode has to be set once more.
    modes_hold: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn new(root: &'a Path, owner: Option<Owner>) -> Self {
        Self { root, owner, modes_hold: umask_leaves_modes() }
    }

    /// Gives the app directory itself to its owner, and lets anyone put files beside the app's: the image's user is another than the one
    /// who built it, and apps write into the folder that they start in. `pack` hands the folder to its builds with this mode too, so
    /// that the layer of the same app is the same.
    pub(crate) fn claim_root(&self) -> io::Result<()> {
        fs::set_permissions(self.root, PermissionsExt::from_mode(0o777))?;
        self.owner.map_or(Ok(()), |owner| lchown(self.root, Some(owner.uid), Some(owner.gid)))
    }

    /// A new, empty file. Whatever stands there already, be it a link, is an error.
    pub(crate) fn file(&self, path: &Path, executable: bool) -> io::Result<File> {
        let mode = if executable { 0o755 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.root.join(path))?;
        if !self.modes_hold {
            file.set_permissions(PermissionsExt::from_mode(mode))?;
        }
        if let Some(owner) = self.owner {
            fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(file)
    }

    /// A new folder.
    pub(crate) fn dir(&self, path: &Path) -> io::Result<()> {
        let target = self.root.join(path);
        fs::create_dir(&target)?;
        if !self.modes_hold {
            fs::set_permissions(&target, PermissionsExt::from_mode(0o755))?;
        }
        self.owner.map_or(Ok(()), |owner| lchown(&target, Some(owner.uid), Some(owner.gid)))
    }

    /// A new symbolic link.
    pub(crate) fn link(&self, path: &Path, to: &Path) -> io::Result<()> {
        let target = self.root.join(path);
        symlink(to, &target)?;
        self.owner.map_or(Ok(()), |owner| lchown(&target, Some(owner.uid), Some(owner.gid)))
    }
}

/// Reads the umask without changing it, which would concern other threads.
fn umask_leaves_modes() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).map(str::trim);
    umask.and_then(|umask| u32::from_str_radix(umask, 8).ok()).is_some_and(|umask| umask & 0o755 == 0)
}

/// A staged app that is put into order.
#[derive(Debug)]
pub(crate) struct StagedApp<'a> {
    target: Target<'a>,
    changed: BTreeSet<PathBuf>,
}

impl<'a> StagedApp<'a> {
    pub(crate) fn new(target: Target<'a>) -> Self {
        Self { target, changed: BTreeSet::new() }
    }

    /// The app directory, to look at.
    pub(crate) fn root(&self) -> &'a Path {
        self.target.root
    }

    /// Every path that was written or removed.
    pub(crate) fn changed(self) -> BTreeSet<PathBuf> {
        self.changed
    }

    /// Writes a file in place of whatever stands there. A link is replaced, never followed.
    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.remove(path)?;
        self.target.file(path, false)?.write_all(bytes)
    }

    /// Removes a file or a link; nothing there is no error.
    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.changed.insert(path.to_owned());
        match fs::remove_file(self.target.root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a folder that is empty; one that is not stays.
    pub(crate) fn remove_empty_dir(&mut self, path: &Path) {
        if std::fs::remove_dir(self.target.root.join(path)).is_ok() {
            self.changed.insert(path.to_owned());
        }
    }
}
