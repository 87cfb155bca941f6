//! A tar of ordinary files that a stranger wrote (a buildpack as `.tgz`, say), plain or compressed: one file of it read, or all of it put into a
//! layer below a folder. Nothing is unpacked by its path; the layer's builder knows every folder that it made.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::builder::{LayerBuilder, io as failed};
use crate::compress::decoder;
use crate::entry::{Attributes, Kind, LAYER_MTIME, normalize, relative};
use crate::error::LayerError;
use crate::tar_read::{RawEntry, Skip, TarReader, bad};

/// A tar on the disk.
#[derive(Debug, Clone)]
pub struct TarFile {
    path: PathBuf,
    limit_bytes: u64,
}

/// Reads at most as many bytes as are allowed; more is an error, not an end.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| bad(format!("unpacked it is larger than the {} MB that are allowed", self.limit >> 20)))?;
        Ok(count)
    }
}

impl<R: Read> Skip for Bounded<R> {}

impl TarFile {
    /// The tar at `path`, which may unpack to `limit_bytes`.
    pub fn new(path: impl Into<PathBuf>, limit_bytes: u64) -> Self {
        Self { path: path.into(), limit_bytes }
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&mut TarReader<Bounded<Box<dyn Read + '_>>>) -> Result<T, LayerError>,
    ) -> Result<T, LayerError> {
        let opened = fs::File::open(&self.path).map_err(failed(&self.path, "opening the archive"))?;
        let (inner, _) = decoder(opened).map_err(failed(&self.path, "opening the archive"))?;
        work(&mut TarReader::new(Bounded { inner, left: self.limit_bytes, limit: self.limit_bytes }))
    }

    /// The content of the first of these files that the tar has, by paths from its root, and which one it is. Files above `max_bytes` are
    /// refused.
    pub fn find(&self, paths: &[&str], max_bytes: u64) -> Result<Option<(String, Vec<u8>)>, LayerError> {
        self.read(|tar| {
            while let Some(raw) = tar.next_entry().map_err(failed(&self.path, "reading the archive"))? {
                let path = entry_path(&raw)?;
                let wanted = paths.iter().find(|wanted| relative(&path) == Path::new(wanted));
                let Some(wanted) = wanted.filter(|_| is_file(&raw)) else { continue };
                if raw.size > max_bytes {
                    let problem = format!("it has {} bytes, {max_bytes} are allowed", raw.size);
                    return Err(failed(&path, "reading it")(bad(problem)));
                }
                let mut content = Vec::new();
                tar.take(raw.size).read_to_end(&mut content).map_err(failed(&path, "reading it"))?;
                return Ok(Some(((*wanted).to_owned(), content)));
            }
            Ok(None)
        })
    }

    /// Adds to `builder` what `place` answers with a path of the image for (asked with the path from the tar's root), with the attributes that
    /// `dress` answers for the same path, a kind and the tar's mode. Links stay inside the tar, by name; devices, pipes and whiteouts are refused.
    pub fn add_to(
        &self,
        builder: &mut LayerBuilder,
        place: &dyn Fn(&Path) -> Option<PathBuf>,
        dress: &dyn Fn(&Path, &Kind, u32) -> Attributes,
    ) -> Result<(), LayerError> {
        self.read(|tar| {
            while let Some(raw) = tar.next_entry().map_err(failed(&self.path, "reading the archive"))? {
                let path = entry_path(&raw)?;
                if path != Path::new("/")
                    && let Some(to) = place(relative(&path))
                {
                    add(tar, builder, &raw, &path, &to, place, dress)?;
                }
            }
            Ok(())
        })
    }
}

fn add(
    tar: &mut impl Read,
    builder: &mut LayerBuilder,
    raw: &RawEntry,
    path: &Path,
    to: &Path,
    place: &dyn Fn(&Path) -> Option<PathBuf>,
    dress: &dyn Fn(&Path, &Kind, u32) -> Attributes,
) -> Result<(), LayerError> {
    let refuse = |reason| Err(LayerError::Path { path: path.to_owned(), reason });
    let dressed = |kind: &Kind| dress(relative(path), kind, raw.mode & 0o7777);
    if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".wh.")) {
        return refuse("a name that begins with `.wh.` would delete files of the image below");
    }
    if is_file(raw) {
        let attributes = dressed(&Kind::File { size_bytes: raw.size, crc32: 0 });
        builder.file_with_mtime(to, attributes, &mut &mut *tar, raw.size, LAYER_MTIME)?;
        return Ok(());
    }
    match raw.flag {
        b'0' | b'7' | 0 | b'5' => {
            let attributes = dressed(&Kind::Directory);
            builder.directory(to, attributes)?;
        }
        b'1' => {
            let target =
                normalize(&raw.link).map_err(|bad| LayerError::Path { path: path.to_owned(), reason: bad.0 })?;
            match place(relative(&target)) {
                Some(target) => builder.hard_link(to, target)?,
                None => return Err(LayerError::NoTarget { path: path.to_owned(), target }),
            };
        }
        b'2' => {
            let target = PathBuf::from(OsStr::from_bytes(&raw.link));
            if leads_out(path, &target) {
                return refuse("it is a symbolic link that leads out of the archive");
            }
            let kind = Kind::Symlink { target: target.clone() };
            builder.symlink(to, target, dressed(&kind))?;
        }
        b'3' | b'4' => return refuse("it is a device"),
        b'6' => return refuse("it is a named pipe"),
        other => return Err(failed(path, "reading its header")(bad(format!("an entry of the unknown type {other}")))),
    }
    Ok(())
}

/// Whether a relative target climbs above the root of the archive. An absolute one names a file of the image, wherever the link lies.
pub fn leads_out(link: &Path, target: &Path) -> bool {
    use std::path::Component;
    if target.is_absolute() {
        return false;
    }
    let mut depth = relative(link).components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    false
}

fn entry_path(raw: &RawEntry) -> Result<PathBuf, LayerError> {
    normalize(&raw.name)
        .map_err(|bad| LayerError::Path { path: PathBuf::from(OsStr::from_bytes(&raw.name)), reason: bad.0 })
}

fn is_file(raw: &RawEntry) -> bool {
    matches!(raw.flag, b'0' | b'7' | 0) && !raw.name.ends_with(b"/")
}
