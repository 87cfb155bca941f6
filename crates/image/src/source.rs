//! Where an archive's members are: a folder with an OCI layout, or a tar whose members were listed once.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::entry::normalize;
use crate::load::{LoadError, LoadLimits, read_bounded, unpack_whole};
use crate::tar_read::{Skip, TarReader, bad};

/// Members of an archive. A docker-archive has three for each layer.
const MAX_MEMBERS: usize = 20_000;
/// Links from member to member (`docker save` links equal layers).
const MAX_LINKS: usize = 8;

/// The longest target of a link that the system takes; all of them are kept in memory.
const MAX_LINK_BYTES: usize = 4095;

/// An archive that is open for reading.
pub(crate) enum Source {
    Folder(PathBuf),
    Tar { path: PathBuf, file: PathBuf, members: HashMap<String, Member> },
}

pub(crate) enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

fn read_error(path: &Path, action: &str) -> impl FnOnce(io::Error) -> LoadError {
    let (path, action) = (path.to_owned(), action.to_owned());
    move |source| LoadError::Read { path, action, source }
}

impl Source {
    /// Opens a folder, a tar or a compressed tar; `scratch` is for unpacking.
    pub(crate) fn open(path: &Path, scratch: &Path, limits: LoadLimits) -> Result<Self, LoadError> {
        let metadata = fs::metadata(path).map_err(read_error(path, "looking for it"))?;
        if metadata.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if !metadata.is_file() {
            let mut pipe = fs::File::open(path).map_err(read_error(path, "opening it"))?;
            return Self::spool(&mut pipe, path, scratch, limits);
        }
        let file = unpack_whole(path, scratch, limits)?.unwrap_or_else(|| path.to_owned());
        Self::list(path, file)
    }

    /// Copies a pipe into a file first: members are needed in another order than they come.
    pub(crate) fn spool(
        reader: &mut dyn Read,
        path: &Path,
        scratch: &Path,
        limits: LoadLimits,
    ) -> Result<Self, LoadError> {
        let to = scratch.join("archive");
        let mut out = fs::File::create_new(&to).map_err(read_error(path, "copying it"))?;
        let copied =
            io::copy(&mut reader.take(limits.archive_bytes + 1), &mut out).map_err(read_error(path, "copying it"))?;
        if copied > limits.archive_bytes {
            return Err(LoadError::TooLarge { what: "the archive".to_owned(), limit_bytes: limits.archive_bytes });
        }
        let file = unpack_whole(&to, scratch, limits)?.unwrap_or(to);
        Self::list(path, file)
    }

    fn list(path: &Path, file: PathBuf) -> Result<Self, LoadError> {
        let members = list_members(&file).map_err(read_error(path, "listing the tar's members"))?;
        Ok(Self::Tar { path: path.to_owned(), file, members })
    }

    /// What the user called it.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Tar { path, .. } => path,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(path) => clean(name).is_some_and(|name| open_inside(path, &name).is_ok()),
            Self::Tar { .. } => self.find(name).is_some(),
        }
    }

    /// A member and its length.
    pub(crate) fn member(&self, name: &str, wanted_by: &str) -> Result<(Box<dyn Read>, u64), LoadError> {
        let missing = || LoadError::Missing { name: name.to_owned(), wanted_by: wanted_by.to_owned() };
        let read =
            |source| LoadError::Read { path: self.path().to_owned(), action: format!("reading `{name}`"), source };
        match self {
            Self::Folder(path) => {
                let file = match open_inside(path, &clean(name).ok_or_else(missing)?) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(read(error)),
                    Err(_) => return Err(missing()),
                };
                let size = file.metadata().map_err(read)?.len();
                Ok((Box::new(file), size))
            }
            Self::Tar { file, .. } => {
                let (offset, size) = self.find(name).ok_or_else(missing)?;
                let mut file = fs::File::open(file).map_err(read)?;
                file.seek(SeekFrom::Start(offset)).map_err(read)?;
                Ok((Box::new(file.take(size)), size))
            }
        }
    }

    /// A document.
    pub(crate) fn read_small(&self, name: &str, wanted_by: &str) -> Result<Vec<u8>, LoadError> {
        let (mut reader, _) = self.member(name, wanted_by)?;
        read_bounded(name, &mut reader)
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let Self::Tar { members, .. } = self else { return None };
        let mut name = clean(name)?;
        for _ in 0..MAX_LINKS {
            match members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// Opens a regular file below `root` through real folders alone: a stranger's layout may have links anywhere.
fn open_inside(root: &Path, name: &str) -> io::Result<fs::File> {
    let dir = fs::File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(&dir, name, flags, Mode::empty(), inside)?;
    let file = fs::File::from_parts(file.into(), root.join(name));
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// A member's name without `./`; nothing for names that leave the archive.
fn clean(name: &str) -> Option<String> {
    let path = normalize(name.as_bytes()).ok()?;
    path.to_str().map(|path| path.trim_start_matches('/').to_owned())
}

fn list_members(file: &Path) -> io::Result<HashMap<String, Member>> {
    let file = fs::File::open(file)?;
    let length = file.metadata()?.len();
    let mut tar = TarReader::new(Skipping { file, left: length });
    let mut members = HashMap::new();
    while let Some(entry) = tar.next_entry()? {
        if members.len() >= MAX_MEMBERS {
            return Err(bad(format!("it has more than {MAX_MEMBERS} members")));
        }
        let name = std::str::from_utf8(&entry.name).ok().and_then(clean);
        let member = match entry.flag {
            b'0' | b'7' | 0 => {
                let offset = tar.position();
                if offset.checked_add(entry.size).is_none_or(|end| end > length) {
                    return Err(bad("a member is longer than the archive"));
                }
                Some(Member::File { offset, size: entry.size })
            }
            b'1' => std::str::from_utf8(&entry.link).ok().and_then(clean).map(Member::Link),
            b'2' => name.as_deref().and_then(|name| link_target(name, &entry.link)).map(Member::Link),
            _ => None,
        };
        if let (Some(name), Some(member)) = (name, member) {
            members.insert(name, member);
        }
    }
    Ok(members)
}

/// Where a symbolic link inside the archive leads, as a member's name: by its text alone, and never out of it.
fn link_target(name: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok().filter(|target| target.len() <= MAX_LINK_BYTES)?;
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A file that skips by seeking: large members are not read to be listed.
struct Skipping {
    file: fs::File,
    /// Bytes from here to the end.
    left: u64,
}

impl Read for Skipping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl Skip for Skipping {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let there = bytes.min(self.left);
        self.file.seek_relative(i64::try_from(there).map_err(io::Error::other)?)?;
        self.left -= there;
        Ok(there)
    }
}
