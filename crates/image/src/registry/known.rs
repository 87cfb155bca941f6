//! What the store remembers of registries, below its folder `registries`:
//!
//! ```text
//! known/<diffID hex>      where a layer is, and as which blob: it need not be compressed nor sent again, and can be mounted from there
//! partial/<digest hex>    what has come of a blob; locked by whoever fetches it
//! uploads/<hex>           where an upload that broke off goes on
//! ```
//!
//! All of it may go at any time: then more is sent than has to be. Addresses of uploads may hold secrets: the folder is its owner's alone.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::digest::{DiffId, Digest, Hasher};
use crate::error::{Doing, StoreError};
use crate::store::Store;

/// So many places of a layer are remembered.
const MOST_PLACES: usize = 8;

/// A blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) blob: Blob,
}

/// An upload that broke off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) location: String,
    pub(super) offset: u64,
}

impl Store {
    fn registries(&self, below: &str) -> Result<PathBuf, StoreError> {
        use std::os::unix::fs::PermissionsExt;
        let root = self.path("registries");
        let dir = root.join(below);
        if fs::symlink_metadata(&dir).is_err() {
            let action = "making the folder of what is known of registries";
            fs::create_dir_all(&dir).doing(action)?;
            fs::set_permissions(&root, PermissionsExt::from_mode(0o700)).doing(action)?;
        }
        Ok(dir)
    }

    /// Where a layer is, the last seen first. What cannot be read is not known.
    pub(super) fn known_places(&self, layer: &DiffId) -> Vec<Place> {
        let path = self.path("registries/known").join(layer.hex());
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) fn note_place(&self, layer: &DiffId, place: &Place) -> Result<(), StoreError> {
        let before = self.known_places(layer);
        if before.first() == Some(place) {
            return Ok(());
        }
        let others = before.into_iter().filter(|other| {
            other.registry != place.registry
                || other.repository != place.repository
                || other.blob.compression != place.blob.compression
        });
        let places: Vec<Place> = std::iter::once(place.clone()).chain(others).take(MOST_PLACES).collect();
        self.note("known", &layer.hex(), &places)
    }

    /// Where the upload of that blob to that repository goes on.
    pub(super) fn begun_upload(&self, repository: &str, blob: &Digest) -> Option<Upload> {
        let path = self.path("registries/uploads").join(upload_key(repository, blob));
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(super) fn note_upload(&self, repository: &str, blob: &Digest, upload: &Upload) -> Result<(), StoreError> {
        self.note("uploads", &upload_key(repository, blob), upload)
    }

    pub(super) fn forget_upload(&self, repository: &str, blob: &Digest) {
        let _ = fs::remove_file(self.path("registries/uploads").join(upload_key(repository, blob))); // there was none
    }

    /// Notes need not outlive the machine's next crash, but are whole or not there.
    fn note(&self, folder: &str, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let action = "noting what a registry has";
        let bytes = serde_json::to_vec(value).map_err(|error| StoreError::corrupt("a note of a registry", error))?;
        let path = self.registries(folder)?.join(name);
        let _locked = self.shared()?;
        let temporary = self.temporary();
        fs::write(&temporary, bytes).doing(action)?;
        fs::rename(&temporary, &path).doing(action)
    }
}

fn upload_key(repository: &str, blob: &Digest) -> String {
    Digest::of(format!("{repository}@{blob}").as_bytes()).hex()
}

/// A blob that is fetched, and what has come of it.
pub(super) struct Partial {
    path: PathBuf,
    file: fs::File,
    hasher: Hasher,
    pub(super) length: u64,
}

impl Partial {
    /// Goes on with what has come already; a blob that somebody else fetches at the same time is fetched apart.
    pub(super) fn open(store: &Store, blob: &Digest) -> Result<Self, StoreError> {
        let action = "opening what has come of a layer";
        let path = store.registries("partial")?.join(blob.hex());
        let _locked = store.shared()?;
        let open =
            |path: &PathBuf| fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut partial = Self { file: open(&path).doing(action)?, path, hasher: Hasher::default(), length: 0 };
        if partial.file.file().try_lock().is_err() {
            partial.path = store.temporary();
            partial.file = open(&partial.path).doing(action)?;
            partial.file.file().try_lock().map_err(io::Error::from).doing(action)?;
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = partial.file.read(&mut buffer).doing(action)?;
            if read == 0 {
                return Ok(partial);
            }
            partial.hasher.update(&buffer[..read]);
            partial.length += read as u64;
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).doing("writing what comes of a layer")?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What has come is of no use.
    pub(super) fn restart(&mut self) -> Result<(), StoreError> {
        use std::io::Seek;
        let action = "writing what comes of a layer";
        self.file.set_len(0).doing(action)?;
        self.file.rewind().doing(action)?;
        self.hasher = Hasher::default();
        self.length = 0;
        Ok(())
    }

    /// The digest of what has come.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish().0
    }

    /// Puts a whole blob into its place.
    pub(super) fn publish(self, store: &Store, blob: &Digest) -> Result<(), StoreError> {
        let action = "keeping a layer's blob";
        self.file.sync_all().doing(action)?;
        let _locked = store.shared()?;
        fs::rename(&self.path, store.blob_path(blob)).doing(action)
    }

    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path); // found by prune
    }
}

impl Store {
    /// What prune removes of all this: what nobody fetches, uploads that nobody goes on with, places of layers that are gone.
    pub(crate) fn doomed_of_registries(&self, lives: &dyn Fn(&DiffId) -> bool) -> Vec<PathBuf> {
        let listed = |below: &str| {
            let dir = self.path("registries").join(below);
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let unlocked = |path: &PathBuf| fs::File::open(path).is_ok_and(|file| file.file().try_lock().is_ok());
        let gone = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            Digest::from_hex(name).map_or(true, |digest| !lives(&DiffId(digest)))
        };
        let partial = listed("partial").into_iter().filter(unlocked);
        partial.chain(listed("uploads")).chain(listed("known").into_iter().filter(gone)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Compression;

    #[test]
    fn what_is_known_is_bounded_and_the_last_seen_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let layer = DiffId(Digest::of(b"layer"));
        assert!(store.known_places(&layer).is_empty());
        let blob = Blob { digest: Digest::of(b"blob"), size_bytes: 4, compression: Compression::Gzip };
        let place = |n: usize| Place { registry: "r.example".into(), repository: format!("a{n}"), blob };
        for n in [1, 2, 3, 4, 5, 6, 7, 8, 9, 1] {
            store.note_place(&layer, &place(n)).unwrap();
        }
        let known = store.known_places(&layer);
        assert_eq!((known.len(), &known[0], &known[1]), (8, &place(1), &place(9)));
        let upload = Upload { location: "https://r.example/x?secret".into(), offset: 7 };
        store.note_upload("r.example/a", &blob.digest, &upload).unwrap();
        assert_eq!(store.begun_upload("r.example/a", &blob.digest), Some(upload));
        assert_eq!(store.begun_upload("r.example/b", &blob.digest), None);
        let mode = fs::metadata(dir.path().join("store/registries")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mut partial = Partial::open(&store, &blob.digest).unwrap();
        partial.write(b"bl").unwrap();
        assert_eq!(store.doomed_of_registries(&|_| true).len(), 1, "the upload, but not what is being fetched");
        let other = Partial::open(&store, &blob.digest).unwrap();
        assert_eq!(other.length, 0, "somebody else fetches it apart");
        other.discard();
        drop(partial);
        let mut partial = Partial::open(&store, &blob.digest).unwrap();
        assert_eq!(partial.length, 2);
        partial.write(b"ob").unwrap();
        assert_eq!(partial.digest(), blob.digest);
        partial.publish(&store, &blob.digest).unwrap();
        assert_eq!(fs::read(store.blob_path(&blob.digest)).unwrap(), b"blob");
        assert_eq!(store.doomed_of_registries(&|_| false).len(), 2);
    }
}
