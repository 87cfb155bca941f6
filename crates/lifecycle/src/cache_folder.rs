//! A cache folder as the Go lifecycle has it (`-cache-dir`, `-launch-cache`), readable and writable by both.
//!
//! ```text
//! committed/sha256:<hex>.tar                        layers, uncompressed
//!           io.buildpacks.lifecycle.cache.metadata  what they are; not in a launch cache
//! staging/                                          what is being written
//! committed-backup/                                 for an instant, where two folders cannot be exchanged
//! ```
//!
//! What is written stands in `staging` and takes the place of `committed` at once, so that a build that is killed leaves the cache of the
//! build before. A layer that stays is linked, not written again. Anyone may have written such a folder: links in it are not followed, and a
//! layer is used only if it has the diffID that it is called by.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use hoist_image::{DiffId, Layer, LoadLimits, Store};
use hoist_spec::{CACHE_METADATA_LABEL, CacheMetadata};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::cache_error::{CacheError, io};
use crate::tree::read_regular;

const COMMITTED: &str = "committed";
const STAGING: &str = "staging";
const BACKUP: &str = "committed-backup";
/// Larger than any real one.
const MAX_METADATA_BYTES: u64 = 32 << 20;
/// How long another writer is waited for, in tenths of a second.
const PATIENCE_TENTHS: u64 = 600;

/// A folder with cached layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFolder {
    dir: PathBuf,
}

impl CacheFolder {
    /// The cache in this folder, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        format!("the cache `{}`", self.dir.display())
    }

    /// The folder that holds what was committed: none where there is no cache yet.
    fn committed(&self) -> Result<Option<&'static str>, CacheError> {
        for name in [COMMITTED, BACKUP] {
            // The backup is the cache if a lifecycle was stopped between its two renames.
            let path = self.dir.join(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => return Ok(Some(name)),
                Ok(_) => return Err(CacheError::NotACache { path, problem: "it is not a folder" }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(io("looking at", path)(source)),
            }
        }
        Ok(None)
    }

    /// What is in it; none where there is no cache yet, or one of layers alone.
    pub fn metadata(&self) -> Result<Option<CacheMetadata>, CacheError> {
        let Some(committed) = self.committed()? else { return Ok(None) };
        let path = self.dir.join(committed).join(CACHE_METADATA_LABEL);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let unreadable = |error: crate::tree::TreeError| io("reading", &path)(io::Error::other(error));
        let bytes = read_regular(&path, &path, MAX_METADATA_BYTES).map_err(unreadable)?;
        let wrong = |source| CacheError::Metadata { cache: self.name(), source: Box::new(source) };
        CacheMetadata::parse(&String::from_utf8_lossy(&bytes)).map(Some).map_err(wrong)
    }

    /// Brings a layer into the store, and checks that it is the layer. None where the folder does not have it.
    pub fn load(&self, store: &Store, diff_id: &DiffId) -> Result<Option<Layer>, CacheError> {
        let Some(committed) = self.committed()? else { return Ok(None) };
        let name = format!("{committed}/{}", tar_name(diff_id));
        store.load_layer_tar(&self.dir, &name, diff_id, LoadLimits::default()).map_err(|source| CacheError::Layer {
            cache: self.name(),
            diff_id: *diff_id,
            source: Box::new(source),
        })
    }

    /// Removes what is cached; other files of the folder stay.
    pub fn clear(&self) -> Result<(), CacheError> {
        for name in [COMMITTED, STAGING, BACKUP] {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// Begins to write the folder anew. `distrusted` are layers whose file was found to be wrong.
    pub fn begin(&self, distrusted: &BTreeSet<DiffId>) -> Result<FolderWriter, CacheError> {
        fs::create_dir_all(&self.dir).map_err(io("making", &self.dir))?;
        let lock = self.lock()?;
        if self.committed()? == Some(BACKUP) {
            let (from, to) = (self.dir.join(BACKUP), self.dir.join(COMMITTED));
            fs::rename(&from, &to).map_err(io("bringing back", from))?;
        }
        remove(&self.dir.join(BACKUP))?;
        remove(&self.dir.join(STAGING))?;
        let staging = self.dir.join(STAGING);
        fs::create_dir(&staging).map_err(io("making", &staging))?;
        Ok(FolderWriter {
            dir: self.dir.clone(),
            distrusted: distrusted.clone(),
            written: 0,
            kept: 0,
            done: false,
            _lock: lock,
        })
    }

    /// Writers wait for one another. (The Go lifecycle knows no lock.)
    fn lock(&self) -> Result<fs::File, CacheError> {
        let file = fs::File::open(&self.dir).map_err(io("opening", &self.dir))?;
        for _ in 0..PATIENCE_TENTHS {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(Duration::from_millis(100)),
                Err(error) => return Err(io("locking", &self.dir)(error.into())),
            }
        }
        Err(CacheError::InUse { dir: self.dir.clone(), waited_secs: PATIENCE_TENTHS / 10 })
    }
}

/// A cache folder that is being written. Dropping it leaves the old content.
#[derive(Debug)]
pub struct FolderWriter {
    dir: PathBuf,
    distrusted: BTreeSet<DiffId>,
    written: usize,
    kept: usize,
    done: bool,
    _lock: fs::File,
}

/// What became of the layers of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheWritten {
    /// Layers that were written.
    pub written: usize,
    /// Layers that were there before.
    pub kept: usize,
}

impl FolderWriter {
    /// Keeps a layer that the folder has; false where it has none that can be kept. A file of another length than `size_bytes`, where that is
    /// known, is not that layer.
    pub fn keep(&mut self, diff_id: &DiffId, size_bytes: Option<u64>) -> bool {
        let (from, to) = (self.path(COMMITTED, diff_id), self.path(STAGING, diff_id));
        let fits = |metadata: &std::fs::Metadata| {
            metadata.is_file() && metadata.len() > 0 && size_bytes.is_none_or(|size| size == metadata.len())
        };
        if fs::symlink_metadata(&to).is_ok() {
            return true; // two layers with the same content
        }
        let there = fs::symlink_metadata(&from).is_ok_and(|metadata| fits(&metadata));
        // A file system without hard links has its layers written again.
        let kept = there && !self.distrusted.contains(diff_id) && fs::hard_link(&from, &to).is_ok();
        self.kept += usize::from(kept);
        kept
    }

    /// Writes a layer.
    pub fn add(&mut self, layer: &Layer) -> Result<(), CacheError> {
        let path = self.path(STAGING, &layer.diff_id());
        let file = fs::File::create_new(&path).map_err(io("making", &path))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        layer
            .write_tar(&mut out)
            .map_err(|source| CacheError::Store { cache: format!("the cache `{}`", self.dir.display()), source })?;
        let file = out.into_inner().map_err(|error| io("writing", &path)(error.into_error()))?;
        file.sync_data().map_err(io("writing", &path))?;
        self.written += 1;
        Ok(())
    }

    /// Puts everything that was kept and written into the place of what was there.
    pub fn commit(mut self, metadata: Option<&CacheMetadata>) -> Result<CacheWritten, CacheError> {
        let staging = self.dir.join(STAGING);
        if let Some(metadata) = metadata {
            let path = staging.join(CACHE_METADATA_LABEL);
            let text = metadata.write().map_err(|source| CacheError::Metadata {
                cache: format!("the cache `{}`", self.dir.display()),
                source: Box::new(source),
            })?;
            let written = fs::File::create_new(&path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()
            });
            written.map_err(io("writing", path))?;
        }
        let synced = fs::File::open(&staging).and_then(|dir| dir.sync_all());
        synced.map_err(io("writing", &staging))?;
        self.exchange(&staging)?;
        self.done = true;
        // What is removed now, or by the next build if this one is stopped here, is the old content.
        remove(&staging)?;
        remove(&self.dir.join(BACKUP))?;
        Ok(CacheWritten { written: self.written, kept: self.kept })
    }

    fn exchange(&self, staging: &Path) -> Result<(), CacheError> {
        let committed = self.dir.join(COMMITTED);
        match rustix::fs::renameat_with(CWD, staging, CWD, &committed, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {} // the first time
            // A file system that cannot exchange: then as the Go lifecycle does it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let backup = self.dir.join(BACKUP);
                fs::rename(&committed, &backup).map_err(io("moving away", &committed))?;
            }
            Err(error) => return Err(io("replacing", &committed)(error.into())),
        }
        fs::rename(staging, &committed).map_err(io("putting the new content into", committed))
    }

    fn path(&self, folder: &str, diff_id: &DiffId) -> PathBuf {
        self.dir.join(folder).join(tar_name(diff_id))
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        if !self.done {
            let _ = remove(&self.dir.join(STAGING)); // else the next writer does it
        }
    }
}

fn tar_name(diff_id: &DiffId) -> String {
    format!("{diff_id}.tar")
}

/// Removes a folder, or a link in its place.
fn remove(path: &Path) -> Result<(), CacheError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("removing", path)(error)),
        _ => Ok(()),
    }
}
