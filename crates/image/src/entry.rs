//! One entry of a layer: what it is, where it is, who owns it; and the check that a path stays inside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Seconds since 1970 of 1980-01-01T00:00:01Z, the modification time of everything hoist and the Go lifecycle put into a layer.
pub const LAYER_MTIME: i64 = 315_532_801;

/// Owner and mode of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
}

impl Attributes {
    /// Owner, group and mode.
    pub const fn new(uid: u32, gid: u32, mode: u32) -> Self {
        Self { uid, gid, mode }
    }

    /// Owned by root.
    pub const fn root(mode: u32) -> Self {
        Self::new(0, 0, mode)
    }
}

/// Who owns what is adopted from the host's file system; the modes are those of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length.
        size_bytes: u64,
        /// CRC-32 of its content: lets `verify` name the file that differs. The diffID remains what is trusted.
        crc32: u32,
    },
    /// A symbolic link and its target, as written.
    Symlink {
        /// The target's bytes.
        target: PathBuf,
    },
    /// Another name of a file of this layer.
    HardLink {
        /// The absolute path of that file.
        target: PathBuf,
    },
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// The path of lower layers is gone (`.wh.<name>` in the tar, a 0:0 character device in the tree).
    Whiteout,
    /// The directory hides what lower layers have in it (`.wh..wh..opq` in the tar, an extended attribute in the tree). The path is the
    /// directory's.
    Opaque,
}

/// One entry of a layer, in the order in which it stands in the tar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Absolute path, without a slash at its end.
    pub path: PathBuf,
    /// Owner and mode as in the tar (the tree of an ordinary user's store cannot hold them).
    pub attributes: Attributes,
    /// What it is.
    pub kind: Kind,
    /// Modification time, seconds since 1970; [`LAYER_MTIME`] in every layer that hoist made.
    pub mtime_secs: i64,
}

/// Why a path cannot be in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// The longest path (`PATH_MAX` of Linux) and the longest name in it.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;
const MAX_DEPTH: usize = 512;

/// Makes `path` absolute inside the image and checks that it stays there: no `..`, no NUL, no name too long for a file system.
pub(crate) fn normalize(path: &[u8]) -> Result<PathBuf, BadPath> {
    if path.contains(&0) {
        return Err(BadPath("it has a NUL character"));
    }
    let mut normal = Vec::with_capacity(path.len() + 1);
    let mut depth = 0;
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(BadPath("it leaves its root through `..`")),
            _ if part.len() > MAX_NAME => return Err(BadPath("a name in it is longer than 255 bytes")),
            _ => {
                depth += 1;
                normal.push(b'/');
                normal.extend_from_slice(part);
            }
        }
    }
    if normal.len() > MAX_PATH || depth > MAX_DEPTH {
        return Err(BadPath("it is longer than 4095 bytes or deeper than 512 directories"));
    }
    if normal.is_empty() {
        normal.push(b'/');
    }
    Ok(PathBuf::from(OsStr::from_bytes(&normal)))
}

/// The path below a tree: `/usr/lib` becomes `usr/lib`, the root becomes an empty path.
pub(crate) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_clean() {
        for (given, clean) in
            [("a", "/a"), ("./a//b/", "/a/b"), ("/", "/"), ("", "/"), ("/a/./b", "/a/b"), ("/...", "/...")]
        {
            assert_eq!(normalize(given.as_bytes()).unwrap(), Path::new(clean));
        }
    }

    #[test]
    fn a_path_that_leaves_is_refused() {
        for given in ["..", "/../a", "a/../b", "a/..", "a\0b"] {
            assert!(normalize(given.as_bytes()).is_err(), "{given}");
        }
        assert!(normalize("a".repeat(256).as_bytes()).is_err());
        assert!(normalize("a/".repeat(3000).as_bytes()).is_err());
    }
}
