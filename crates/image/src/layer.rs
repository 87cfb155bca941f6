//! A stored layer: its tree, its index, and its tar made again from the two.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::blob::{self, Blob};
use crate::digest::{DiffId, Hasher};
use crate::durable;
use crate::entry::{Entry, Kind, relative};
use crate::error::{Doing, StoreError};
use crate::index::Entries;
use crate::store::{Store, dispose};
use crate::{tar_write, verify};

/// A layer in the store. It never changes.
#[derive(Debug, Clone)]
pub struct Layer {
    store: Store,
    diff_id: DiffId,
    meta: Arc<Meta>,
    by_path: Arc<OnceLock<BTreeMap<PathBuf, Entry>>>,
}

/// `meta.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Length of the tar.
    pub(crate) size_bytes: u64,
    /// Lines of the index.
    pub(crate) entries: u64,
    /// Length of all files.
    pub(crate) content_bytes: u64,
    /// The blob that the layer came as, where its tar cannot be made again from tree and index.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) original: Option<Blob>,
}

impl Layer {
    /// The layer where it is there; a layer without its documents is not there.
    pub(crate) fn open(store: &Store, diff_id: DiffId) -> Result<Option<Self>, StoreError> {
        let path = store.layer_dir(&diff_id).join("meta.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("opening a layer", source)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(meta) => Ok(Some(Self::with_meta(store, diff_id, meta))),
            Err(_) if is_doubtful(&store.layer_dir(&diff_id)) => Ok(None),
            Err(error) => Err(StoreError::corrupt(path, error)),
        }
    }

    pub(crate) fn with_meta(store: &Store, diff_id: DiffId, meta: Meta) -> Self {
        Self { store: store.clone(), diff_id, meta: Arc::new(meta), by_path: Arc::default() }
    }

    /// The digest of the uncompressed tar.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// The files, to be mounted as an overlay lower directory or read. Never write to it.
    pub fn tree_dir(&self) -> PathBuf {
        self.dir().join("tree")
    }

    /// Length of the uncompressed tar.
    pub fn size_bytes(&self) -> u64 {
        self.meta.size_bytes
    }

    /// How many entries the tar has.
    pub fn entry_count(&self) -> u64 {
        self.meta.entries
    }

    /// Length of all files together.
    pub fn content_bytes(&self) -> u64 {
        self.meta.content_bytes
    }

    /// The index, read from the disk entry by entry, in tar order.
    pub fn entries(&self) -> Result<Entries, StoreError> {
        Entries::open(&self.dir().join("index"))
    }

    /// One entry by its absolute path. The first call reads the whole index.
    pub fn entry(&self, path: &Path) -> Result<Option<&Entry>, StoreError> {
        if let Some(map) = self.by_path.get() {
            return Ok(map.get(path));
        }
        let mut map = BTreeMap::new();
        for entry in self.entries()? {
            let entry = entry?;
            if entry.kind != Kind::Opaque {
                map.insert(entry.path.clone(), entry);
            }
        }
        Ok(self.by_path.get_or_init(|| map).get(path))
    }

    /// Where the file of an entry lies.
    pub fn file_path(&self, entry: &Entry) -> PathBuf {
        self.tree_dir().join(relative(&entry.path))
    }

    /// Writes the uncompressed tar: exactly the bytes that the diffID names, or an error.
    pub fn write_tar(&self, out: &mut dyn Write) -> Result<(), StoreError> {
        let mut tee = Tee { out, hasher: Hasher::default() };
        match &self.meta.original {
            Some(blob) => blob::copy_decompressed(&self.store, blob, &mut tee)?,
            None => self.write_tar_from_tree(&mut tee)?,
        }
        let (seen, _) = tee.hasher.finish();
        if seen == self.diff_id.0 {
            Ok(())
        } else {
            Err(StoreError::CorruptLayer { expected: self.diff_id, seen: DiffId(seen) })
        }
    }

    fn write_tar_from_tree(&self, out: &mut dyn Write) -> Result<(), StoreError> {
        let tree = self.tree_dir();
        for entry in self.entries()? {
            let entry = entry?;
            let action = "writing a layer";
            out.write_all(&tar_write::header(&entry).doing(action)?).doing(action)?;
            if let Kind::File { size_bytes, .. } = entry.kind {
                copy_content(&tree.join(relative(&entry.path)), size_bytes, out).doing(action)?;
            }
        }
        tar_write::write_end(out).doing("writing a layer")
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.store.layer_dir(&self.diff_id)
    }

    pub(crate) fn meta_path(&self) -> PathBuf {
        self.dir().join("meta.json")
    }

    pub(crate) fn is_unsynced(&self) -> bool {
        fs::symlink_metadata(self.dir().join("unsynced")).is_ok()
    }

    pub(crate) fn mark_synced(&self) {
        let _ = fs::remove_file(self.dir().join("unsynced")); // where it stays the layer is checked once more, no harm
    }

    /// A tree that may not have reached the disk before the machine went down is recomputed: it is whole, or it goes.
    pub(crate) fn settle(self) -> Result<Option<Self>, StoreError> {
        if !is_doubtful(&self.dir()) {
            return Ok(Some(self));
        }
        if verify::problem_of(&self).is_none() {
            fs::write(self.dir().join("unsynced"), durable::boot_id()).doing("marking a layer as whole")?;
            self.store.sync_layers(std::slice::from_ref(&self))?;
            return Ok(Some(self));
        }
        let _locked = self.store.exclusive()?;
        if let Ok(trash) = self.store.discard(&self.dir()) {
            dispose(&trash); // else another hoist was faster
        }
        Ok(None)
    }

    /// Syncs every file and folder, for layers of a few files.
    pub(crate) fn sync_each(&self) -> io::Result<()> {
        let mut waiting = vec![self.dir()];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    match fs::File::open(entry.path()) {
                        Ok(file) => file.sync_all()?,
                        // `unsynced`: another hoist was faster with the same layer
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            fs::File::open(&dir)?.sync_all()?;
        }
        Ok(())
    }
}

/// Notes that a layer was found damaged: whoever wants it next recomputes it, and makes it again.
pub(crate) fn mark_doubtful(layer_dir: &Path) {
    let _ = fs::write(layer_dir.join("unsynced"), "damaged"); // a read-only store stays as it is
}

/// Whether a layer's folder is from before the machine went down, or was found damaged: what is in it may be anything.
pub(crate) fn is_doubtful(layer_dir: &Path) -> bool {
    match fs::read(layer_dir.join("unsynced")) {
        Ok(boot) => boot != durable::boot_id().as_bytes(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Hashes what passes through.
pub(crate) struct Tee<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) hasher: Hasher,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Copies exactly `size` bytes of a file and the padding behind them; returns the CRC-32 of the content.
pub(crate) fn copy_content(path: &Path, size: u64, out: &mut dyn Write) -> io::Result<u32> {
    let mut crc = flate2::Crc::new();
    let mut file = open_nofollow(path)?;
    let mut left = size;
    let wanted = usize::try_from(size.min(256 * 1024)).unwrap_or(256 * 1024);
    let mut buffer = vec![0; wanted + 1]; // one more, so that a file that grew is seen
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read as u64 > left {
            return Err(changed(path));
        }
        left -= read as u64;
        crc.update(&buffer[..read]);
        out.write_all(&buffer[..read])?;
    }
    if left > 0 {
        return Err(changed(path));
    }
    tar_write::write_padding(out, size)?;
    Ok(crc.sum())
}

pub(crate) fn open_nofollow(path: &Path) -> io::Result<fs::File> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn changed(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("`{}` has another length than the layer's index says", path.display()),
    )
}
