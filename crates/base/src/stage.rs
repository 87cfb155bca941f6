//! Fetches packages and unpacks them into a scratch folder: each as soon as it is there, on all processors, while others are on their
//! way; and hands them on in their own order.
//!
//! ```text
//! fetch ─(arrived)→ unpack, one thread for each processor ─(staged)→ put into order → take
//! ```
//!
//! Contents become files named by number; everything else about an entry stays in memory until the tree is put together.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use hoist_debian::{Deb, DebError, Elf, EntryKind, LockedPackage, read_elf};

use crate::error::BaseError;
use crate::paths::{is_kept, merged};

/// How many packages are unpacked at once, whatever the machine: a decoder takes up to 70 MB.
const MOST_WORKERS: usize = 4;
/// How much is unpacked between two writes.
const COPY_BYTES: usize = 256 << 10;

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

/// Hears of a package that is there: its place among all, and its file.
pub(crate) type Arrived<'a> = &'a (dyn Fn(usize, PathBuf) -> ControlFlow<()> + Sync);
/// Brings all packages in any order, and tells of each. Ends early where it is answered so.
pub(crate) type Fetch<'a> = &'a (dyn Fn(Arrived<'_>) -> Result<(), BaseError> + Sync);

/// Says that the base is not wanted any more.
pub(crate) type IsStopped<'a> = &'a (dyn Fn() -> bool + Sync);

/// Fetches and unpacks `packages` below `scratch` and calls `take` for each, in their order.
pub(crate) fn stage(
    packages: &[&LockedPackage],
    fetch: Fetch<'_>,
    is_stopped: IsStopped<'_>,
    scratch: &Path,
    take: &mut dyn FnMut(&LockedPackage, Staged) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let (here, arrived) = channel();
    let (done, staged) = channel();
    let (arrived, stop) = (&Mutex::new(arrived), &AtomicBool::new(false));
    let workers = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, MOST_WORKERS));
    let is_over: IsStopped<'_> = &|| stop.load(Ordering::Relaxed) || is_stopped();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(move || {
            fetch(&|place, path| {
                let is_over = stop.load(Ordering::Relaxed) || here.send((place, path)).is_err();
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        for _ in 0..workers {
            let done = done.clone();
            scope.spawn(move || work(packages, scratch, arrived, is_over, &done));
        }
        drop(done);
        let taken = take_in_order(packages, &staged, take);
        stop.store(true, Ordering::Relaxed);
        let fetched = fetching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where not all arrived, fetching says why; a thread that panicked is heard when the scope ends.
        taken.and(fetched)
    })
}

type Message = (usize, Result<Staged, BaseError>);

/// Unpacks what arrives until nothing more does.
fn work(
    packages: &[&LockedPackage],
    scratch: &Path,
    arrived: &Mutex<Receiver<(usize, PathBuf)>>,
    is_stopped: IsStopped<'_>,
    done: &Sender<Message>,
) {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let next = arrived.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((place, path)) = next else { return };
        if is_stopped() {
            let _ = done.send((place, Err(BaseError::Stopped))); // or nobody listens any more
            return;
        }
        let result = stage_one(&path, &scratch.join(place.to_string()), &mut buffer);
        let package = &packages[place].name;
        let result = result.map_err(|source| BaseError::Unpack { package: package.clone(), source });
        if done.send((place, result)).is_err() {
            return;
        }
    }
}

/// Calls `take` for each package in its turn. Ends well, though early, where no more come.
fn take_in_order(
    packages: &[&LockedPackage],
    staged: &Receiver<Message>,
    take: &mut dyn FnMut(&LockedPackage, Staged) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let mut waiting = BTreeMap::new();
    for (place, package) in packages.iter().enumerate() {
        let next = loop {
            if let Some(next) = waiting.remove(&place) {
                break next;
            }
            let Ok((number, result)) = staged.recv() else { return Ok(()) };
            waiting.insert(number, result?);
        };
        take(package, next)?;
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

fn stage_one(deb_path: &Path, dir: &Path, buffer: &mut [u8]) -> Result<Staged, StageError> {
    let deb = Deb::open(deb_path)?;
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
                let read = |source| DebError::Read { path: deb_path.to_owned(), source };
                let mut file = write_content(entry.content, &host, buffer, &read)?;
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

fn write_content(
    content: &mut dyn Read,
    host: &Path,
    buffer: &mut [u8],
    read: &dyn Fn(std::io::Error) -> DebError,
) -> Result<fs_err::File, StageError> {
    let write = |source| StageError::Write { path: host.to_owned(), source };
    let mut file = fs_err::OpenOptions::new().read(true).write(true).create_new(true).open(host).map_err(write)?;
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => file.write_all(&buffer[..count]).map_err(write)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read(error).into()),
        }
    }
}

/// True for what may be a shared library in a folder that the loader searches.
fn is_library(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let searched =
        matches!(folder, "usr/lib" | "usr/lib64") || (folder.starts_with("usr/lib/") && folder.ends_with("-linux-gnu"));
    searched && (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so")
}
