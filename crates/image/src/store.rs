//! The local store: layers as trees, images, names, records, all below one folder.
//!
//! ```text
//! version                         what this layout is
//! lock                            shared while something is published, exclusive while prune decides
//! layers/sha256/<hex>/tree/       the files, mounted as they are as an overlay lower directory
//!                     index       every entry in tar order, with owners, modes and devices
//!                     meta.json   size of the tar, number of entries, the original blob where the tar cannot be made again
//!                     unsynced    the boot in which the tree was written, until it is known to be on the disk
//! images/sha256/<hex>             image configurations
//! refs/<hex of the name>          a name and the image it stands for
//! records/<kind>/<hex of the key> small documents of other crates, and what they keep alive
//! blobs/sha256/<hex>              compressed layers, made once and kept
//! made/<diffID hex>.<encoding>    which blob a layer was compressed to
//! registries/                     where layers are in registries, and transfers that broke off
//! scratch/, leases/               work in progress and who is at it, each locked by its process
//! ```
//!
//! Everything is written beside its place and renamed into it. Trees are made durable together, when an image or a record first refers to them
//! (`syncfs`); a tree that a power failure caught before that is recomputed before it is used again, or dropped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;

use crate::builder::LayerBuilder;
use crate::digest::DiffId;
use crate::durable;
use crate::error::{Doing, StoreError};
use crate::layer::{self, Layer};
use crate::lease::Lease;
use crate::remove::remove_tree;
use crate::scratch::Scratch;

const VERSION: &str = "hoist-store 1";
/// The folders of a store.
const FOLDERS: [&str; 9] = ["layers", "images", "refs", "records", "blobs", "made", "registries", "scratch", "leases"];
/// What else may lie there before it is one: the caches of other crates, and what a file system of its own begins with.
const KNOWN: [&str; 4] = ["lock", "version", "cache", "lost+found"];
/// How long another hoist is waited for. Prune holds the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Up to so many files are synced one by one; more, and one `syncfs` is faster (measured: 1000 files 110 ms against 12 ms).
const SYNC_ONE_BY_ONE: u64 = 24;

/// A handle to a store; cheap to clone. The first layer it makes or hands out takes a lease that lives as long as the handle and its clones.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    session: Mutex<Option<Arc<Lease>>>,
    lock_patience: Duration,
    /// Whether what is written has to outlive the machine's next crash.
    durable: bool,
}

/// A file that is being written, and goes away with this value if it was not renamed into its place.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) path: PathBuf,
    _locked: fs::File,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // gone to its place, or found by prune
    }
}

/// A held lock of the store.
#[derive(Debug)]
pub(crate) struct Locked {
    _file: fs::File,
}

impl Store {
    /// Opens the store below `root`, making it where there is none.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with_patience(&root.into(), LOCK_PATIENCE)
    }

    /// A store for a single process, whose folder goes with it: nothing waits for the disk.
    pub fn open_temporary(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_as(&root.into(), LOCK_PATIENCE, false)
    }

    pub(crate) fn open_with_patience(root: &Path, lock_patience: Duration) -> Result<Self, StoreError> {
        Self::open_as(root, lock_patience, true)
    }

    fn open_as(root: &Path, lock_patience: Duration, durable: bool) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).doing("finding the store")?;
        let version = root.join("version");
        match fs::read_to_string(&version) {
            Ok(found) if found.trim_end() == VERSION => {}
            Ok(found) => {
                return Err(StoreError::Version {
                    root,
                    found: found.trim().chars().take(60).collect(),
                    understood: VERSION,
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&root, &version)?,
            Err(source) => return Err(StoreError::io("opening the store", source)),
        }
        let inner = Inner { root, session: Mutex::new(None), lock_patience, durable };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the store is.
    pub fn root_dir(&self) -> &Path {
        &self.inner.root
    }

    /// A private folder on the store's file system, for work in progress; removed when dropped.
    pub fn scratch(&self, label: &str) -> Result<Scratch, StoreError> {
        let _locked = self.shared()?;
        Scratch::make(&self.path("scratch"), label)
    }

    /// Begins a layer.
    pub fn layer_builder(&self) -> Result<LayerBuilder, StoreError> {
        self.session()?;
        LayerBuilder::begin(self)
    }

    /// The layer of that diffID, where the store has it; it stays while this handle lives.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, StoreError> {
        self.session()?;
        let locked = self.shared()?;
        let Some(layer) = Layer::open(self, *diff_id)? else {
            return Ok(None);
        };
        durable::touch(&layer.meta_path()).doing("marking a layer as in use")?;
        drop(locked);
        layer.settle()
    }

    /// A lease of its own, for example for a running container: see [`Lease::hold_image`].
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let _locked = self.shared()?;
        Lease::take(&self.path("leases"))
    }

    pub(crate) fn session(&self) -> Result<Arc<Lease>, StoreError> {
        let mut session = self.inner.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = session.as_ref() {
            return Ok(Arc::clone(lease));
        }
        let lease = Arc::new(self.lease()?);
        *session = Some(Arc::clone(&lease));
        Ok(lease)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.inner.root.join(below)
    }

    pub(crate) fn layer_dir(&self, diff_id: &DiffId) -> PathBuf {
        self.inner.root.join("layers/sha256").join(diff_id.hex())
    }

    /// A path for a file that is about to be renamed into place. Call it, and make and lock the file, with the lock shared.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path("scratch").join(durable::unique("file"))
    }

    /// A file that is written for longer than the lock is held; its own lock says that somebody writes it.
    pub(crate) fn temporary_file(&self) -> Result<(Temporary, fs::File), StoreError> {
        let action = "making a file of the store";
        let _locked = self.shared()?;
        let path = self.temporary();
        let file = fs::File::create_new(&path).doing(action)?;
        file.file().lock().doing(action)?;
        let locked = file.try_clone().doing(action)?; // the lock lasts as long as one of them is open
        Ok((Temporary { path, _locked: locked }, file))
    }

    /// Held while something is published or looked up for use: prune waits.
    pub(crate) fn shared(&self) -> Result<Locked, StoreError> {
        self.lock(true)
    }

    /// Held while prune decides and moves away.
    pub(crate) fn exclusive(&self) -> Result<Locked, StoreError> {
        self.lock(false)
    }

    fn lock(&self, shared: bool) -> Result<Locked, StoreError> {
        let file = fs::File::open(self.path("lock")).doing("opening the store's lock")?;
        if durable::lock_within(file.file(), shared, self.inner.lock_patience).doing("locking the store")? {
            return Ok(Locked { _file: file });
        }
        Err(StoreError::InUse { root: self.inner.root.clone(), waited_secs: self.inner.lock_patience.as_secs() })
    }

    /// Puts a finished tree folder into its place; false where the layer was there already. Call it with the lock shared.
    pub(crate) fn publish_layer(&self, from: &Path, diff_id: &DiffId) -> Result<bool, StoreError> {
        let place = self.layer_dir(diff_id);
        let action = || format!("publishing layer {diff_id}");
        let Err(source) = fs::rename(from, &place) else { return Ok(true) };
        if fs::symlink_metadata(&place).is_err() {
            return Err(StoreError::io(action(), source));
        }
        if matches!(Layer::open(self, *diff_id), Ok(Some(_))) && !layer::is_doubtful(&place) {
            durable::touch(&place.join("meta.json")).doing("marking a layer as in use")?;
            return Ok(false);
        }
        // what a power failure or a damaged disk left there is no layer; this one is
        let trash = self.discard(&place)?;
        fs::rename(from, &place).doing(action())?;
        dispose(&trash);
        Ok(true)
    }

    /// Moves something out of its place at once, so that nobody sees it half removed; the caller removes what is returned.
    pub(crate) fn discard(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let trash = self.path("scratch").join(durable::unique("trash"));
        fs::rename(path, &trash).doing("moving away what is to be removed")?;
        Ok(trash)
    }

    /// Replaces or makes a document of the store.
    pub(crate) fn write_document(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        if self.inner.durable {
            return durable::write_durably(path, &self.temporary(), bytes);
        }
        fs::write(path, bytes).doing("writing to a temporary store")
    }

    /// Makes sure that the trees of `layers` are on the disk. Those in doubt stay so: only [`Layer::settle`] can tell.
    pub(crate) fn sync_layers(&self, layers: &[Layer]) -> Result<(), StoreError> {
        let unsynced: Vec<&Layer> =
            layers.iter().filter(|layer| layer.is_unsynced() && !layer::is_doubtful(&layer.dir())).collect();
        if unsynced.is_empty() || !self.inner.durable {
            return Ok(());
        }
        let files: u64 = unsynced.iter().map(|layer| layer.entry_count()).sum();
        if files <= SYNC_ONE_BY_ONE {
            for layer in &unsynced {
                layer.sync_each().doing("writing a layer to the disk")?;
            }
            durable::sync_parent(&self.path("layers/sha256/any")).doing("writing layers to the disk")?;
        } else {
            durable::sync_file_system(&self.inner.root).doing("writing layers to the disk")?;
        }
        for layer in unsynced {
            layer.mark_synced();
        }
        Ok(())
    }
}

fn make(root: &Path, version: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let action = "making the store";
    if let Some(found) = foreign_entry(root)?
        && fs::symlink_metadata(version).is_err()
    {
        // nobody else made a store of it meanwhile
        return Err(StoreError::NotAStore { root: root.to_owned(), found });
    }
    fs::create_dir_all(root).doing(action)?;
    for dir in FOLDERS {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).doing(action)?;
        // layers of strangers hold setuid programs and files of root: nobody else gets at them
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).doing(action)?;
    }
    for dir in ["layers/sha256", "images/sha256", "blobs/sha256"] {
        fs::create_dir_all(root.join(dir)).doing(action)?;
    }
    let lock = fs::OpenOptions::new().create(true).append(true).open(root.join("lock")).doing(action)?;
    lock.file().lock_shared().doing(action)?;
    let temporary = root.join("scratch").join(durable::unique("file"));
    durable::write_durably(version, &temporary, format!("{VERSION}\n").as_bytes())
}

/// Something in `root` that no store has. Prune empties folders of a store, so somebody's own folder must not become one.
fn foreign_entry(root: &Path) -> Result<Option<String>, StoreError> {
    let action = "looking at the folder of the store";
    let listed = match fs::read_dir(root) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::io(action, source)),
    };
    for entry in listed {
        let entry = entry.doing(action)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if FOLDERS.contains(&name.as_str()) {
            // what a kill left in the middle of `make` has nothing in it but `version` under another name
            let inside = fs::read_dir(entry.path()).doing(action)?.flatten().map(|entry| entry.file_name());
            let known =
                |inside: &std::ffi::OsString| inside == "sha256" || inside.as_encoded_bytes().starts_with(b"file-");
            if let Some(foreign) = inside.into_iter().find(|inside| !known(inside)) {
                return Ok(Some(format!("{name}/{}", foreign.display())));
            }
        } else if !KNOWN.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes what [`Store::discard`] moved away. What cannot be removed now is found by the next prune.
pub(crate) fn dispose(trash: &Path) {
    if remove_tree(trash).is_err() {
        let _ = fs::remove_file(trash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_another_hoist_keeps_locked_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let patience = Duration::from_secs(1);
        let store = Store::open_with_patience(&root, patience).unwrap();
        let other = Store::open(&root).unwrap();
        let held = other.exclusive().unwrap();
        let error = store.shared().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("using the store `{}`: another hoist has held its lock for 1 seconds", root.display())
        );
        assert_eq!(
            error.hint(),
            "wait for the other hoist, or look for one that hangs: `fuser -v` on the store's `lock`"
        );
        drop(held);
        assert!(store.shared().is_ok());
    }
}
