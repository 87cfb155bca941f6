//! Removing folders that strangers filled.
//!
//! A service can nest folders a hundred thousand deep, below a path longer than the system takes, and forbid them to their owner. So this goes by
//! descriptors, a bounded number of them and of stack frames: what lies deeper than that is lifted to the top first and removed from there.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::durable;

/// Levels that are gone down; each has two descriptors open.
const DEPTH: usize = 60;

/// Removes `path` and everything below it, also folders that forbid it to their owner (overlay's work folder has mode 0). Symbolic links are
/// removed, not followed. Nothing there is no error, and neither is another process that removes the same.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    loop {
        let top = match open_dir(CWD, path) {
            Ok(top) => top,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(named(path, error)),
        };
        let lifted = empty(top.as_fd(), top.as_fd(), DEPTH).map_err(|error| named(path, error))?;
        if lifted {
            continue;
        }
        return match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
    }
}

fn named(path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("cannot remove `{}`: {error}", path.display()))
}

/// Removes what is in `dir`; true where something was lifted into `top`, which then has to be emptied once more.
fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: usize) -> rustix::io::Result<bool> {
    let mut lifted = false;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if !is_dir(dir, name, entry.file_type())? {
            unlink(dir, name, AtFlags::empty())?;
        } else if depth == 0 {
            lift(dir, name, top)?;
            lifted = true;
        } else {
            match open_dir(dir, name) {
                Ok(child) => lifted |= empty(child.as_fd(), top, depth - 1)?,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            }
            unlink(dir, name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(lifted)
}

fn is_dir(dir: BorrowedFd<'_>, name: &CStr, known: FileType) -> rustix::io::Result<bool> {
    if known != FileType::Unknown {
        return Ok(known == FileType::Directory);
    }
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a folder to list it; one that forbids that to its owner is opened up first.
fn open_dir<P: rustix::path::Arg + Copy>(dir: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(&dir, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(&dir, name, flags, Mode::empty())
        }
        other => other,
    }
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(dir, Mode::RWXU)?;
            rustix::fs::unlinkat(dir, name, flags)
        }
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Moves the folder `name` up to `top`. To move a folder is to write to it (its `..`), so it is opened up.
fn lift(dir: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
    let place = durable::unique("lifted");
    match rustix::fs::renameat(dir, name, top, place.as_str()) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(dir, Mode::RWXU)?;
            rustix::fs::renameat(dir, name, top, place.as_str())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_paths_and_descriptors_go_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = open_dir(CWD, &top).unwrap();
        for level in 0..2500 {
            rustix::fs::mkdirat(&at, "a-folder-of-a-stranger", Mode::RWXU).unwrap();
            let next = open_dir(&at, "a-folder-of-a-stranger").unwrap();
            if level % 400 == 0 {
                rustix::fs::symlinkat("/etc", &next, "out").unwrap();
                rustix::fs::mkdirat(&next, "empty", Mode::empty()).unwrap();
                rustix::fs::fchmod(&at, Mode::empty()).unwrap(); // forbidden, and found again by its descriptor alone
            }
            at = next;
        }
        drop(at);
        remove_tree(&top).unwrap();
        assert!(fs::symlink_metadata(&top).is_err());
        assert!(Path::new("/etc").is_dir());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs::create_dir(dir.path().join("there")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("there"), &link).unwrap();
        let error = remove_tree(&link).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot remove `{}`: ", link.display())), "{error}");
        assert!(dir.path().join("there").is_dir());
    }
}
