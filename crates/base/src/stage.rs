//! Unpacks package files into a scratch folder, two at a time, and hands them on in their order.
//!
//! Contents become files named by number; everything else about an entry stays in memory until the tree is put together.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use hoist_debian::{Deb, DebError, Elf, EntryKind, LockedPackage, read_elf};

use crate::error::BaseError;
use crate::paths::{is_kept, merged};

/// How many packages are unpacked at once.
const PARALLEL: usize = 2;
/// How far unpacking may run ahead of putting together.
const AHEAD: usize = 8;

/// What stands at a path.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// A directory.
    Directory,
    /// A file, its content on the disk.
    File { host: PathBuf },
    /// A file, its content in memory.
    Text(Vec<u8>),
    /// A symbolic link.
    Symlink(String),
    /// Another name of the file at that path.
    HardLink(String),
}

/// One path of an image.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A package, unpacked.
pub(crate) struct Staged {
    /// Files of its control archive.
    pub(crate) control: BTreeMap<String, Vec<u8>>,
    /// Paths in the package's order.
    pub(crate) nodes: Vec<(String, Node)>,
    /// What its shared libraries say of themselves, by path.
    pub(crate) libraries: Vec<(String, Elf)>,
}

/// Unpacks `debs` below `scratch` and calls `take` for each, in their order.
pub(crate) fn stage(
    debs: &[(LockedPackage, PathBuf)],
    scratch: &Path,
    take: &mut dyn FnMut(&LockedPackage, Staged) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        for _ in 0..PARALLEL {
            let sender = sender.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || work(debs, scratch, next, stop, &sender));
        }
        drop(sender);
        let result = collect(debs, &receiver, take);
        stop.store(true, Ordering::Relaxed);
        // A worker may be waiting for room: let it go.
        drop(receiver);
        result
    })
}

type Message = (usize, Result<Staged, BaseError>);

fn work(
    debs: &[(LockedPackage, PathBuf)],
    scratch: &Path,
    next: &AtomicUsize,
    stop: &AtomicBool,
    sender: &SyncSender<Message>,
) {
    while !stop.load(Ordering::Relaxed) {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some((package, path)) = debs.get(place) else { break };
        let result = stage_one(path, &scratch.join(place.to_string()));
        let result = result.map_err(|source| BaseError::Unpack { package: package.name.clone(), source });
        if sender.send((place, result)).is_err() {
            break;
        }
    }
}

fn collect(
    debs: &[(LockedPackage, PathBuf)],
    receiver: &Receiver<Message>,
    take: &mut dyn FnMut(&LockedPackage, Staged) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let mut waiting = BTreeMap::new();
    for (place, (package, _)) in debs.iter().enumerate() {
        let staged = loop {
            if let Some(staged) = waiting.remove(&place) {
                break staged;
            }
            let Ok((number, staged)) = receiver.recv() else { return Ok(()) };
            waiting.insert(number, staged?);
        };
        take(package, staged)?;
    }
    Ok(())
}

/// Why a package cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The package cannot be read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// Its content cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn stage_one(path: &Path, dir: &Path) -> Result<Staged, StageError> {
    let deb = Deb::open(path)?;
    let mut staged = Staged { control: deb.control_files()?, nodes: Vec::new(), libraries: Vec::new() };
    fs_err::create_dir_all(dir).map_err(|source| StageError::Write { path: dir.to_owned(), source })?;
    deb.visit(&mut |entry: hoist_debian::Entry<'_>| {
        let path = merged(&entry.path);
        let is_symlink = matches!(entry.kind, EntryKind::Symlink { .. });
        // The links of merged /usr itself are made by the skeleton.
        if path.is_empty() || (path != entry.path && !entry.path.contains('/')) || !is_kept(&path, is_symlink) {
            return Ok::<(), StageError>(());
        }
        let content = match entry.kind {
            EntryKind::Directory => Content::Directory,
            EntryKind::Symlink { target } => Content::Symlink(target),
            EntryKind::HardLink { target } => Content::HardLink(merged(&target)),
            EntryKind::File { .. } => {
                let host = dir.join(staged.nodes.len().to_string());
                let mut write = || -> std::io::Result<fs_err::File> {
                    let mut file = fs_err::OpenOptions::new().read(true).write(true).create_new(true).open(&host)?;
                    std::io::copy(entry.content, &mut file)?;
                    file.flush()?;
                    Ok(file)
                };
                let mut file = write().map_err(|source| StageError::Write { path: host.clone(), source })?;
                if is_library(&path) {
                    staged.libraries.extend(read_elf(&mut file).map(|elf| (path.clone(), elf)));
                }
                Content::File { host }
            }
        };
        // Nothing in an image needs to become another user; sticky and set-group directories keep their meaning.
        let mode = if matches!(content, Content::Directory) { entry.mode } else { entry.mode & 0o777 };
        staged.nodes.push((path, Node { content, mode, uid: entry.uid, gid: entry.gid }));
        Ok(())
    })?;
    Ok(staged)
}

/// True for what may be a shared library in a folder that the loader searches.
fn is_library(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let searched =
        matches!(folder, "usr/lib" | "usr/lib64") || (folder.starts_with("usr/lib/") && folder.ends_with("-linux-gnu"));
    searched && (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so")
}
