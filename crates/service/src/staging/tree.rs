//! The staged tree while it is written: every name and every number is checked here, whether it comes from a folder or an archive.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use super::StageError;
use crate::limits::Limits;

/// Writes into the app directory.
pub(super) struct Tree<'a> {
    root: &'a Path,
    limits: &'a Limits,
    entries: usize,
    pub(super) files: usize,
    pub(super) total_bytes: u64,
    dirs: HashSet<PathBuf>,
    /// Made last, so that nothing is ever written through one.
    links: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a Path, limits: &'a Limits) -> Self {
        Self { root, limits, entries: 0, files: 0, total_bytes: 0, dirs: HashSet::new(), links: Vec::new() }
    }

    fn count(&mut self, path: &Path) -> Result<(), StageError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(StageError::TooMany { limit: self.limits.entries });
        }
        if path.components().count() > self.limits.depth {
            return Err(StageError::TooDeep { path: path.to_owned(), limit: self.limits.depth });
        }
        Ok(())
    }

    pub(super) fn dir(&mut self, path: &Path) -> Result<(), StageError> {
        if path.as_os_str().is_empty() || self.dirs.contains(path) {
            return Ok(());
        }
        self.count(path)?;
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        let target = self.root.join(path);
        let make = || {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755))
        };
        make().map_err(|source| StageError::write(path, source))?;
        self.dirs.insert(path.to_owned());
        Ok(())
    }

    /// Writes a file of at most `size` bytes (what the source declares) from `from`.
    pub(super) fn file(
        &mut self,
        path: &Path,
        size: u64,
        executable: bool,
        from: &mut dyn Read,
    ) -> Result<(), StageError> {
        let mut target = self.open(path, size, executable)?;
        let written =
            std::io::copy(&mut from.take(size + 1), &mut target).map_err(|source| StageError::write(path, source))?;
        self.account(path, written, size)
    }

    /// Copies a file of the host, in the kernel where it can.
    pub(super) fn copy(&mut self, path: &Path, size: u64, executable: bool, from: fs::File) -> Result<(), StageError> {
        let target = self.open(path, size, executable)?;
        let (mut from, mut target) = (from.into_parts().0.take(size + 1), target);
        let written = std::io::copy(&mut from, &mut target).map_err(|source| StageError::write(path, source))?;
        self.account(path, written, size)
    }

    fn open(&mut self, path: &Path, size: u64, executable: bool) -> Result<std::fs::File, StageError> {
        self.count(path)?;
        if size > self.limits.file_bytes {
            return Err(StageError::TooLarge { what: path.display().to_string(), limit_bytes: self.limits.file_bytes });
        }
        if self.total_bytes + size > self.limits.total_bytes {
            return Err(StageError::TooLarge { what: "the source".to_owned(), limit_bytes: self.limits.total_bytes });
        }
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        let mode = if executable { 0o755 } else { 0o644 };
        let open = || {
            let file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(self.root.join(path))?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?; // whatever the umask is
            Ok(file)
        };
        open().map_err(|source| StageError::write(path, source))
    }

    fn account(&mut self, path: &Path, written: u64, size: u64) -> Result<(), StageError> {
        if written > size {
            return Err(StageError::Lies { path: path.to_owned(), size });
        }
        self.files += 1;
        self.total_bytes += written;
        Ok(())
    }

    /// Notes a symbolic link.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> Result<(), StageError> {
        self.count(path)?;
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        if !stays_inside(path.parent().unwrap_or(Path::new("")), target) {
            return Err(StageError::LinkOut { path: path.to_owned(), target: target.to_owned() });
        }
        self.links.push((path.to_owned(), target.to_owned()));
        Ok(())
    }

    /// Makes the links, and looks where they really lead: `..` behind another link is not what it seems.
    pub(super) fn finish(&mut self) -> Result<(), StageError> {
        for (path, target) in &self.links {
            symlink(target, self.root.join(path)).map_err(|source| StageError::write(path, source))?;
        }
        if self.links.is_empty() {
            return Ok(());
        }
        let root = fs::canonicalize(self.root).map_err(|source| StageError::write(self.root, source))?;
        for (path, target) in &self.links {
            let out = match std::fs::canonicalize(self.root.join(path)) {
                Ok(real) => !real.starts_with(&root),
                Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            };
            if out {
                return Err(StageError::LinkOut { path: path.clone(), target: target.clone() });
            }
        }
        Ok(())
    }
}

/// Whether `target`, seen from the folder `dir`, stays below the root by its text alone.
fn stays_inside(dir: &Path, target: &Path) -> bool {
    let mut depth = dir.components().count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}
