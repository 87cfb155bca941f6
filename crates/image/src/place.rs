//! Putting entries into a tree on the disk: what the file system can hold of owners, modes, devices and whiteouts.
//!
//! As root everything is real. An ordinary user owns all files; modes keep the owner able to read, devices are left out (the index has them), and
//! whiteouts work for everyone (a 0:0 character device needs no privilege since Linux 5.8). Root without the capabilities is treated as
//! an ordinary user: what counts is what the kernel allows.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::entry::{Attributes, Kind, relative};
use crate::remove::remove_tree;

/// Overlay's opaque marker where the mount has the option `userxattr`.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// Makes anything but a regular file.
pub(crate) fn put(tree: &Path, host: &Path, attributes: Attributes, kind: &Kind, mtime_secs: i64) -> io::Result<()> {
    match kind {
        Kind::Directory if host == tree => return Ok(()),
        Kind::Directory => return fs::create_dir(host), // dressed last, by `finish`
        Kind::Symlink { target } => fs_err::os::unix::fs::symlink(target, host)?,
        Kind::HardLink { target } => return fs::hard_link(tree.join(relative(target)), host),
        Kind::Whiteout => rustix::fs::mknodat(CWD, host, FileType::CharacterDevice, Mode::empty(), 0)?,
        Kind::Opaque => return Ok(rustix::fs::setxattr(host, OPAQUE, b"y", XattrFlags::empty())?),
        Kind::CharacterDevice { major, minor } => {
            if !make_device(host, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))? {
                return Ok(());
            }
        }
        Kind::BlockDevice { major, minor } => {
            if !make_device(host, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))? {
                return Ok(());
            }
        }
        Kind::Fifo => rustix::fs::mknodat(CWD, host, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
        Kind::File { .. } => return Err(io::ErrorKind::InvalidInput.into()),
    }
    dress(host, attributes, kind, mtime_secs)
}

/// False where this user may not make devices. A device with the number 0:0 would be a whiteout: the index alone has it.
fn make_device(host: &Path, kind: FileType, number: u64) -> io::Result<bool> {
    if number == 0 {
        return Ok(false);
    }
    match rustix::fs::mknodat(CWD, host, kind, Mode::RUSR | Mode::WUSR, number) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives what lies at `host` its owner, mode and time, as far as this user may.
pub(crate) fn dress(host: &Path, attributes: Attributes, kind: &Kind, mtime_secs: i64) -> io::Result<()> {
    if matches!(kind, Kind::Whiteout | Kind::HardLink { .. } | Kind::Opaque) {
        return Ok(());
    }
    let root = rustix::process::geteuid().is_root();
    let mut owned = false;
    if root {
        // owner first: it clears setuid
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        owned = match rustix::fs::chownat(CWD, host, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => true,
            Err(Errno::PERM | Errno::INVAL) => false,
            Err(error) => return Err(error.into()),
        };
    }
    if !matches!(kind, Kind::Symlink { .. }) {
        let keep = match kind {
            _ if owned => 0,
            Kind::Directory => 0o700,
            _ => 0o400,
        };
        let mode = Mode::from_raw_mode((attributes.mode & 0o7777) | keep);
        rustix::fs::chmodat(CWD, host, mode, AtFlags::empty())?;
    }
    set_mtime(host, mtime_secs)
}

fn set_mtime(host: &Path, mtime_secs: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: mtime_secs, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, host, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Removes a file or a whole folder; nothing there is no error.
pub(crate) fn remove(host: &Path) -> io::Result<()> {
    match fs::symlink_metadata(host) {
        Ok(metadata) if metadata.is_dir() => remove_tree(host),
        Ok(_) => fs::remove_file(host),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
