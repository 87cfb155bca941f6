//! A zip archive as a source, from anyone: nothing in it is believed.
//!
//! Refused: absolute paths and `..`, links that lead out, entries that come twice or stand in each other's way, encrypted ones, special
//! files, more or larger entries than allowed, sizes that lie, and archives that unpack to hundreds of times their size. Names that are not
//! UTF-8 are read in the old DOS code page, as zip tools do; backslashes count as slashes.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;
use zip::ZipArchive;
use zip::result::ZipError;

use super::StageError;
use super::content::Pourer;
use super::ignore::{Ignore, Verdict, is_never_staged};
use super::tree::Tree;
use crate::limits::Limits;

/// Below this size no ratio is suspicious.
const RATIO_FROM_BYTES: u64 = 64 << 20;
/// What an archive may list, with what is not staged (some tools pack virtual environments and histories too); more have another format.
const MAX_DECLARED: usize = 65_534;
const NAME_BYTES: usize = 4096;
const LINK_BYTES: u64 = 4096;
const TEXT_BYTES: u64 = 1 << 20;

/// An archive whose directory was read and judged.
pub(super) struct Archive {
    zip: ZipArchive<fs::File>,
    path: PathBuf,
    /// Where each entry goes, below the single top folder where there is one.
    entries: Vec<Entry>,
}

struct Entry {
    index: usize,
    path: PathBuf,
    kind: Kind,
    size: u64,
    executable: bool,
    /// When it was written, in seconds since 1970 by a clock that archives do not name; 0 where it is not said.
    written: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Link,
}

impl Archive {
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self, StageError> {
        let mut file = fs::File::open(path).map_err(|source| StageError::read(path, source))?;
        let archive_bytes = file.metadata().map_err(|source| StageError::read(path, source))?.len();
        let declared = entries_declared(&mut file, archive_bytes).map_err(|source| StageError::read(path, source))?;
        let Some(declared) = declared else { return Err(StageError::NotAnArchive { path: path.to_owned() }) };
        if declared > MAX_DECLARED {
            return Err(StageError::TooMany { limit: limits.entries });
        }
        let zip = ZipArchive::new(file).map_err(|error| broken(path, &error))?;
        let mut archive = Self { zip, path: path.to_owned(), entries: Vec::new() };
        if archive.zip.len() != declared {
            return Err(archive.refuse("", "it holds entries that come twice"));
        }
        archive.read_directory()?;
        archive.drop_useless();
        archive.check_size(limits, archive_bytes)?;
        archive.strip_top_folder();
        archive.check_conflicts()?;
        Ok(archive)
    }

    fn refuse(&self, entry: &str, why: &str) -> StageError {
        let entry: String = entry.chars().take(200).collect();
        StageError::Hostile { path: self.path.clone(), entry, why: why.to_owned() }
    }

    fn read_directory(&mut self) -> Result<(), StageError> {
        for index in 0..self.zip.len() {
            let entry = self.zip.by_index_raw(index).map_err(|error| broken(&self.path, &error))?;
            let name = match std::str::from_utf8(entry.name_raw()) {
                Ok(name) => name.to_owned(),
                Err(_) => entry.name().to_owned(),
            };
            let (size, mode, encrypted) = (entry.size(), entry.unix_mode().unwrap_or(0), entry.encrypted());
            let written = entry.last_modified().and_then(seconds_of).unwrap_or_default();
            let is_dir = entry.is_dir() || name.ends_with(['/', '\\']);
            drop(entry);
            if encrypted {
                return Err(self.refuse(&name, "it is encrypted"));
            }
            let path = checked_path(&name).map_err(|why| self.refuse(&name, why))?;
            let kind = match mode & 0o170_000 {
                _ if is_dir => Kind::Dir,
                0 | 0o100_000 => Kind::File,
                0o040_000 => Kind::Dir,
                0o120_000 if size <= LINK_BYTES => Kind::Link,
                _ => return Err(self.refuse(&name, "it is neither a file, a folder nor a link")),
            };
            if path.as_os_str().is_empty() {
                continue;
            }
            self.entries.push(Entry { index, path, kind, size, executable: mode & 0o111 != 0, written });
        }
        Ok(())
    }

    /// What the entries declare; what really comes is counted while it is unpacked.
    fn check_size(&self, limits: &Limits, archive_bytes: u64) -> Result<(), StageError> {
        let total = self.entries.iter().fold(0_u64, |total, entry| total.saturating_add(entry.size));
        if total > limits.total_bytes {
            return Err(StageError::TooLarge {
                what: self.path.display().to_string(),
                limit_bytes: limits.total_bytes,
            });
        }
        if total > RATIO_FROM_BYTES && total / archive_bytes.max(1) > limits.ratio {
            return Err(self.refuse("", &format!("it would unpack to {} times its size", total / archive_bytes.max(1))));
        }
        Ok(())
    }

    /// Leaves out what no source is staged with, before it can hide the single top folder: caches, and virtual environments of any name.
    fn drop_useless(&mut self) {
        let venvs: HashSet<PathBuf> = self
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::File && entry.path.ends_with("pyvenv.cfg"))
            .filter_map(|entry| entry.path.parent().map(Path::to_owned))
            .filter(|dir| !dir.as_os_str().is_empty())
            .collect();
        self.entries.retain(|entry| {
            let useless = entry.path.iter().any(|part| is_never_staged(&part.to_string_lossy()));
            !useless && !entry.path.ancestors().any(|dir| venvs.contains(dir))
        });
    }

    /// Takes a single folder at the top away, unless the service itself begins there.
    fn strip_top_folder(&mut self) {
        let is_service = |path: &Path| {
            path.ends_with("src/program.py") && path.components().count() == 2 || path == Path::new("planqk.json")
        };
        if self.entries.iter().any(|entry| {
            is_service(&entry.path)
                || entry.path.starts_with("app/user_code")
                || entry.path.starts_with("app/user-code")
        }) {
            return;
        }
        let Some(top) = self
            .entries
            .first()
            .and_then(|entry| entry.path.components().next())
            .map(|top| PathBuf::from(top.as_os_str()))
        else {
            return;
        };
        let single = self
            .entries
            .iter()
            .all(|entry| entry.path.starts_with(&top) && (entry.path != top || entry.kind == Kind::Dir));
        if single {
            self.entries.retain(|entry| entry.path != top);
            for entry in &mut self.entries {
                if let Ok(rest) = entry.path.strip_prefix(&top) {
                    entry.path = rest.to_owned();
                }
            }
        }
    }

    fn check_conflicts(&self) -> Result<(), StageError> {
        let mut files = HashSet::new();
        for entry in self.entries.iter().filter(|entry| entry.kind != Kind::Dir) {
            if !files.insert(entry.path.as_path()) {
                return Err(self.refuse(&entry.path.to_string_lossy(), "it comes twice"));
            }
        }
        for entry in &self.entries {
            let mut above = entry.path.ancestors();
            if entry.kind != Kind::Dir {
                above.next();
            }
            if let Some(file) = above.find(|path| files.contains(path)) {
                return Err(self.refuse(&file.to_string_lossy(), "it is a file and a folder at once"));
            }
        }
        Ok(())
    }

    /// Whether the archive has this file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.kind == Kind::File && entry.path == Path::new(path))
    }

    /// A text of the archive; none where it has no such file.
    pub(super) fn text(&mut self, path: &Path) -> Result<Option<String>, StageError> {
        let is_it = |entry: &&Entry| entry.kind == Kind::File && entry.path == path;
        let Some(index) = self.entries.iter().find(is_it).map(|entry| entry.index) else { return Ok(None) };
        let mut bytes = Vec::new();
        let entry = self.zip.by_index(index).map_err(|error| broken(&self.path, &error))?;
        entry.take(TEXT_BYTES).read_to_end(&mut bytes).map_err(|source| StageError::read(&self.path, source))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The files of this name, those of upper folders first.
    pub(super) fn named(&self, name: &str) -> Vec<PathBuf> {
        let is_it = |entry: &&Entry| entry.kind == Kind::File && entry.path.file_name().is_some_and(|own| own == name);
        let mut paths: Vec<PathBuf> = self.entries.iter().filter(is_it).map(|entry| entry.path.clone()).collect();
        paths.sort_by_key(|path| path.components().count());
        paths
    }

    /// Unpacks into the tree.
    pub(super) fn unpack(&mut self, ignore: &Ignore, tree: &mut Tree<'_>) -> Result<(), StageError> {
        let mut pourer = Pourer::new();
        for entry in std::mem::take(&mut self.entries) {
            if !is_taken(ignore, &entry) {
                continue;
            }
            match entry.kind {
                Kind::Dir => tree.dir(&entry.path)?,
                Kind::File => {
                    tree.newest = tree.newest.max(entry.written);
                    let mut content = self.zip.by_index(entry.index).map_err(|error| broken(&self.path, &error))?;
                    let filed = tree.file(&entry.path, entry.size, entry.executable, &mut content, &mut pourer);
                    filed.map_err(|error| damaged(&self.path, error))?;
                }
                Kind::Link => {
                    let mut to = String::new();
                    let content = self.zip.by_index(entry.index).map_err(|error| broken(&self.path, &error))?;
                    let read = content.take(LINK_BYTES).read_to_string(&mut to);
                    read.map_err(|source| damaged(&self.path, StageError::read(&entry.path, source)))?;
                    tree.link(&entry.path, PathBuf::from(to))?;
                }
            }
        }
        Ok(())
    }
}

/// A time of an archive, taken for one of UTC.
fn seconds_of(time: zip::DateTime) -> Option<i64> {
    let small = |number: u8| i8::try_from(number).ok();
    let day =
        jiff::civil::Date::new(i16::try_from(time.year()).ok()?, small(time.month())?, small(time.day())?).ok()?;
    let at = day.at(small(time.hour())?.clamp(0, 23), small(time.minute())?.clamp(0, 59), 0, 0);
    Some(jiff::tz::Offset::UTC.to_timestamp(at).ok()?.as_second())
}

/// What cannot be unpacked is a damaged archive, not a disk that cannot be read.
fn damaged(archive: &Path, error: StageError) -> StageError {
    match error {
        StageError::Read { path, source } => {
            StageError::Broken { path: archive.to_owned(), why: format!("{}: {source}", path.display()) }
        }
        other => other,
    }
}

/// Whether the ignore file leaves an entry and every folder above it in.
fn is_taken(ignore: &Ignore, entry: &Entry) -> bool {
    let text = entry.path.to_string_lossy();
    let folders = text.match_indices('/').map(|(at, _)| &text[..at]);
    let own = ignore.judge(&text, entry.kind == Kind::Dir);
    own == Verdict::Take && folders.into_iter().all(|folder| ignore.judge(folder, true) != Verdict::Leave)
}

fn broken(path: &Path, error: &ZipError) -> StageError {
    StageError::Broken { path: path.to_owned(), why: error.to_string() }
}

/// How many entries the end of the archive declares; none where there is no such end. The reader keeps one entry for each name, so a
/// difference shows names that come twice. (65535 stands for more than the format can say.)
fn entries_declared(file: &mut fs::File, archive_bytes: u64) -> std::io::Result<Option<usize>> {
    const END_BYTES: u64 = 22;
    let tail = archive_bytes.min(END_BYTES + 65_535);
    file.seek(SeekFrom::Start(archive_bytes - tail))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    file.seek(SeekFrom::Start(0))?;
    let at = bytes.windows(4).rposition(|window| window == b"PK\x05\x06");
    Ok(at.and_then(|at| bytes.get(at + 10..at + 12)).map(|count| usize::from(u16::from_le_bytes([count[0], count[1]]))))
}

/// The path of an entry, made of plain names alone; empty for `./`.
fn checked_path(name: &str) -> Result<PathBuf, &'static str> {
    if name.len() > NAME_BYTES {
        return Err("its name is too long");
    }
    if name.contains('\0') {
        return Err("its name holds a NUL");
    }
    let name = name.replace('\\', "/");
    if name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') {
        return Err("its path is absolute");
    }
    let mut path = PathBuf::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("its path leads out of the archive"),
            part if part.len() > 255 => return Err("its name is too long"),
            part => path.push(part),
        }
    }
    Ok(path)
}
