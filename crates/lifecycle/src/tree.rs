//! The build's root file system as seen from the host, without mounting it: upper and lower directories merged as the overlay would.
//!
//! A build leaves links, whiteouts and files where directories were. Nothing here follows a symbolic link: each component of a path is
//! looked at by itself, so that no path leads out of the directories given.

use fs_err::os::unix::fs::OpenOptionsExt;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// As deep as a layer of the store may be. Checked while folders are read, so that nobody makes hoist follow them further.
pub(crate) const MAX_DEPTH: usize = 512;

/// Something in the build's root file system cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The host's file system refused.
    #[error("{action} {path}")]
    Io {
        /// What was being done: `reading`.
        action: &'static str,
        /// The host path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A link, device or directory stands where a file was expected, or the other way round.
    #[error("{path} is not {expected}")]
    Kind {
        /// The path inside.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A file is larger than any real one of its kind.
    #[error("{path} has more than {limit_bytes} bytes")]
    TooLarge {
        /// The path inside.
        path: PathBuf,
        /// The bound.
        limit_bytes: u64,
    },
    /// Folders lie in one another further than any layer may have them.
    #[error("{path} and what is in it lie deeper than {MAX_DEPTH} folders")]
    TooDeep {
        /// The path inside of the outermost folder that is too deep.
        path: PathBuf,
    },
    /// A document is not text.
    #[error("{path} is not UTF-8")]
    NotText {
        /// The path inside.
        path: PathBuf,
    },
}

impl TreeError {
    /// Whether the host's file system refused; everything else a buildpack made so.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

pub(crate) fn io<T>(action: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, TreeError> {
    result.map_err(|source| TreeError::Io { action, path: path.to_owned(), source })
}

/// Refuses a folder that lies too deep.
pub(crate) fn check_depth(inside: &Path) -> Result<(), TreeError> {
    if inside.components().count() > MAX_DEPTH + 1 {
        return Err(TreeError::TooDeep { path: inside.to_owned() });
    }
    Ok(())
}

/// What stands at a path.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A directory: its host paths, topmost first, that together make it.
    Directory(Vec<PathBuf>),
    /// A file, link or device: its host path.
    Other(PathBuf),
}

impl Node {
    /// The host path whose attributes count.
    pub(crate) fn host_path(&self) -> &Path {
        match self {
            Self::Directory(dirs) => dirs.first().map_or(Path::new("/"), PathBuf::as_path),
            Self::Other(path) => path,
        }
    }
}

/// Directories that lie over one another, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    dirs: Vec<PathBuf>,
}

impl Tree {
    pub(crate) fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// What stands at an absolute path inside, or nothing. A link in the middle of it is an error.
    pub(crate) fn find(&self, inside: &Path) -> Result<Option<Node>, TreeError> {
        let mut dirs = self.dirs.clone();
        let mut parts = inside.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let mut part = parts.next();
        while let Some(name) = part {
            part = parts.next();
            match step(&dirs, name)? {
                None => return Ok(None),
                Some(Node::Directory(next)) => dirs = next,
                Some(node) if part.is_none() => return Ok(Some(node)),
                Some(_) => return Err(TreeError::Kind { path: inside.to_owned(), expected: "below a directory" }),
            }
        }
        Ok(Some(Node::Directory(dirs)))
    }

    /// Where an absolute path inside leads once all its links are followed, or nothing. A link never leads out of the root, as in the
    /// container itself.
    pub(crate) fn resolve(&self, inside: &Path) -> Result<Option<PathBuf>, TreeError> {
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        let mut rest: Vec<OsString> = reversed(inside);
        while let Some(part) = rest.pop() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(part);
            let host = match self.find(&next)? {
                None => return Ok(None),
                Some(Node::Other(host)) if host.is_symlink() => host,
                Some(_) => {
                    resolved = next;
                    continue;
                }
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(TreeError::Kind { path: inside.to_owned(), expected: "free of loops" });
            }
            let target = io("reading", &host, host.read_link())?;
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            rest.extend(reversed(&target));
        }
        Ok(Some(resolved))
    }

    /// Whether a directory stands there.
    pub(crate) fn is_dir(&self, inside: &Path) -> Result<bool, TreeError> {
        Ok(matches!(self.find(inside)?, Some(Node::Directory(_))))
    }

    /// Names and nodes in a directory; none where there is no such directory.
    pub(crate) fn list(&self, inside: &Path) -> Result<BTreeMap<OsString, Node>, TreeError> {
        match self.find(inside)? {
            Some(Node::Directory(dirs)) => list(&dirs),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// A small file's bytes; none where there is none.
    pub(crate) fn read(&self, inside: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, TreeError> {
        match self.find(inside)? {
            None => Ok(None),
            Some(Node::Other(path)) => read_regular(&path, inside, limit_bytes).map(Some),
            Some(Node::Directory(_)) => Err(TreeError::Kind { path: inside.to_owned(), expected: "a file" }),
        }
    }

    /// A small text file; none where there is none.
    pub(crate) fn read_text(&self, inside: &Path, limit_bytes: u64) -> Result<Option<String>, TreeError> {
        let bytes = self.read(inside, limit_bytes)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| TreeError::NotText { path: inside.to_owned() })
    }
}

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// The parts of a path that say something, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Reads a regular file of bounded size and nothing else: no link, no pipe that would block.
pub(crate) fn read_regular(host: &Path, inside: &Path, limit_bytes: u64) -> Result<Vec<u8>, TreeError> {
    if !io("looking at", host, host.symlink_metadata())?.is_file() {
        return Err(TreeError::Kind { path: inside.to_owned(), expected: "a regular file" });
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = fs_err::OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = io("reading", host, options.open(host))?;
    let metadata = io("reading", host, file.metadata())?;
    if !metadata.is_file() {
        return Err(TreeError::Kind { path: inside.to_owned(), expected: "a regular file" });
    }
    let mut bytes = Vec::new();
    io("reading", host, file.take(limit_bytes + 1).read_to_end(&mut bytes))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(TreeError::TooLarge { path: inside.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

/// What stands at `name` in a directory made of several.
fn step(dirs: &[PathBuf], name: &OsStr) -> Result<Option<Node>, TreeError> {
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let path = dir.join(name);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return io("looking at", &path, Err(error)),
        };
        if !metadata.is_dir() {
            if found.is_empty() && !is_whiteout(&metadata) {
                return Ok(Some(Node::Other(path)));
            }
            break;
        }
        // Asked only where there is something to hide.
        if found.last().is_some_and(|above| is_opaque(above)) {
            break;
        }
        found.push(path);
    }
    Ok((!found.is_empty()).then_some(Node::Directory(found)))
}

/// Everything in a directory made of several; each host directory is read once.
pub(crate) fn list(dirs: &[PathBuf]) -> Result<BTreeMap<OsString, Node>, TreeError> {
    // The flag says whether lower directories may still add to the node; no node is a whiteout.
    let mut nodes: BTreeMap<OsString, (Option<Node>, bool)> = BTreeMap::new();
    for dir in dirs {
        for entry in io("listing", dir, dir.read_dir())? {
            let entry = io("listing", dir, entry)?;
            let kind = io("looking at", dir, entry.file_type())?;
            let path = entry.path();
            match nodes.get_mut(&entry.file_name()) {
                None if kind.is_dir() => {
                    nodes.insert(entry.file_name(), (Some(Node::Directory(vec![path])), true));
                }
                None => {
                    let gone = kind.is_char_device() && is_whiteout(&io("looking at", &path, path.symlink_metadata())?);
                    nodes.insert(entry.file_name(), ((!gone).then_some(Node::Other(path)), false));
                }
                Some((Some(Node::Directory(paths)), open)) if *open => {
                    *open = kind.is_dir() && !paths.last().is_some_and(|above| is_opaque(above));
                    if *open {
                        paths.push(path);
                    }
                }
                Some(_) => {}
            }
        }
    }
    Ok(nodes.into_iter().filter_map(|(name, (node, _))| Some((name, node?))).collect())
}

/// Whether a file of an upper directory says that the lower file is gone: a character device 0:0.
pub(crate) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether a directory of an upper directory hides the lower one. Overlays are mounted with `userxattr`, by root as well.
pub(crate) fn is_opaque(dir: &Path) -> bool {
    let mut value = [0_u8; 2];
    matches!(rustix::fs::lgetxattr(dir, "user.overlay.opaque", &mut value), Ok(1)) && value[0] == b'y'
}

/// Writes in the upper directory, one component at a time, never through a link.
#[derive(Debug, Clone)]
pub(crate) struct UpperWriter {
    upper_dir: PathBuf,
    owner: Option<(u32, u32)>,
}

impl UpperWriter {
    /// `owner` is given to everything that is made, where hoist may do so.
    pub(crate) fn new(upper_dir: PathBuf, owner: Option<(u32, u32)>) -> Self {
        Self { upper_dir, owner }
    }

    /// The host path of a directory, made with mode 0755 where it is missing.
    pub(crate) fn create_dir(&self, inside: &Path) -> Result<PathBuf, TreeError> {
        let mut dir = self.upper_dir.clone();
        for part in inside.components() {
            let Component::Normal(name) = part else { continue };
            dir.push(name);
            match dir.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(TreeError::Kind { path: inside.to_owned(), expected: "a directory" }),
                Err(_) => {
                    io("making", &dir, fs_err::create_dir(&dir))?;
                    let mode = Mode::from_raw_mode(0o755);
                    io("making", &dir, rustix::fs::chmod(&dir, mode).map_err(Into::into))?;
                    self.give(&dir)?;
                }
            }
        }
        Ok(dir)
    }

    /// Writes a file, in place of what is there.
    pub(crate) fn write(&self, inside: &Path, content: &[u8]) -> Result<(), TreeError> {
        let path = self.free(inside)?;
        io("writing", &path, fs_err::write(&path, content))?;
        self.give(&path)
    }

    /// Says that what lower directories have at this path is gone.
    pub(crate) fn whiteout(&self, inside: &Path) -> Result<(), TreeError> {
        let path = self.free(inside)?;
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            rustix::fs::makedev(0, 0),
        );
        io("hiding", &path, made.map_err(Into::into))
    }

    /// The host path of something to be made: what is there is removed, and its parents are directories.
    pub(crate) fn clear(&self, inside: &Path) -> Result<PathBuf, TreeError> {
        self.free(inside)
    }

    /// Renames within one directory.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), TreeError> {
        let source = self.host_path(from)?;
        let target = self.free(to)?;
        io("renaming", &source, fs_err::rename(&source, &target))
    }

    /// The host path of something in the upper directory, whose parents are directories.
    pub(crate) fn host_path(&self, inside: &Path) -> Result<PathBuf, TreeError> {
        let parent = self.create_dir(inside.parent().unwrap_or(Path::new("/")))?;
        Ok(parent.join(inside.file_name().unwrap_or_default()))
    }

    fn free(&self, inside: &Path) -> Result<PathBuf, TreeError> {
        let path = self.host_path(inside)?;
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => io("removing", &path, fs_err::remove_dir_all(&path))?,
            Ok(_) => io("removing", &path, fs_err::remove_file(&path))?,
            Err(_) => {}
        }
        Ok(path)
    }

    fn give(&self, path: &Path) -> Result<(), TreeError> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        io("changing the owner of", path, std::os::unix::fs::lchown(path, Some(uid), Some(gid)))
    }
}
