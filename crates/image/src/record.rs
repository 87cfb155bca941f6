//! Records: small durable JSON documents that other crates keep in the store (build caches, builders, locks of bases).
//!
//! A record names the layers and images it needs, and keeps them from being pruned.

use std::io;
use std::path::PathBuf;

use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, Digest, ImageId};
use crate::durable::sync_parent;
use crate::error::{Doing, StoreError};
use crate::layer::Layer;
use crate::store::Store;

/// What a record keeps alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// A layer.
    Layer(DiffId),
    /// An image with its layers.
    Image(ImageId),
}

impl From<DiffId> for Keeps {
    fn from(diff_id: DiffId) -> Self {
        Self::Layer(diff_id)
    }
}

impl From<ImageId> for Keeps {
    fn from(id: ImageId) -> Self {
        Self::Image(id)
    }
}

/// A stored record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The key it is stored under.
    pub key: String,
    /// What it keeps alive.
    pub keeps: Vec<Keeps>,
    /// The document.
    pub value: serde_json::Value,
}

impl Store {
    /// Stores or replaces the record `key` of a kind (lower-case letters, digits and `-`). Layers it keeps must be in the store.
    pub fn put_record(&self, kind: &str, key: &str, value: &impl Serialize, keeps: &[Keeps]) -> Result<(), StoreError> {
        let path = self.record_path(kind, key)?;
        let refuse =
            |error: serde_json::Error| StoreError::Record { kind: kind.to_owned(), problem: error.to_string() };
        let record =
            Record { key: key.to_owned(), keeps: keeps.to_vec(), value: serde_json::to_value(value).map_err(refuse)? };
        let bytes = serde_json::to_vec(&record).map_err(refuse)?;
        let _locked = self.shared()?;
        self.sync_layers(&self.kept_layers(&record)?)?;
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).doing("making the folder of a record")?;
        }
        self.write_document(&path, &bytes)
    }

    /// The document of a record. A document that cannot be read as `T` (an older hoist wrote it) is as if it were not there.
    pub fn record<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Result<Option<T>, StoreError> {
        let path = self.record_path(kind, key)?;
        let Some(record) = read_record(&path)? else {
            return Ok(None);
        };
        Ok(serde_json::from_value(record.value).ok())
    }

    /// Removes a record; false where there was none.
    pub fn remove_record(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        let path = self.record_path(kind, key)?;
        match fs::remove_file(&path) {
            // a record that comes back after a power failure would keep what prune took
            Ok(()) => sync_parent(&path).doing("removing a record").map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::io("removing a record", source)),
        }
    }

    /// All records of a kind, sorted by key.
    pub fn records(&self, kind: &str) -> Result<Vec<Record>, StoreError> {
        let dir = self.kind_dir(kind)?;
        let mut records = Vec::new();
        let listed = match fs::read_dir(dir) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
            Err(source) => return Err(StoreError::io("listing records", source)),
        };
        for entry in listed {
            let path = entry.doing("listing records")?.path();
            records.extend(read_record(&path)?);
        }
        records.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(records)
    }

    /// The kinds that have records.
    pub fn record_kinds(&self) -> Result<Vec<String>, StoreError> {
        let mut kinds = Vec::new();
        for entry in fs::read_dir(self.path("records")).doing("listing records")? {
            kinds.extend(entry.doing("listing records")?.file_name().into_string());
        }
        kinds.sort();
        Ok(kinds)
    }

    fn kept_layers(&self, record: &Record) -> Result<Vec<Layer>, StoreError> {
        let mut layers = Vec::new();
        for keeps in &record.keeps {
            match keeps {
                Keeps::Image(id) => layers.extend(self.image_by_id(id)?.layers()?),
                Keeps::Layer(diff_id) => layers.push(Layer::open(self, *diff_id)?.ok_or_else(|| {
                    StoreError::MissingLayer { what: format!("record `{}`", record.key), diff_id: *diff_id }
                })?),
            }
        }
        Ok(layers)
    }

    fn kind_dir(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let fine = !kind.is_empty()
            && kind.len() <= 64
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fine {
            return Ok(self.path("records").join(kind));
        }
        Err(StoreError::Record {
            kind: kind.to_owned(),
            problem: "a kind has lower-case letters, digits and `-`".to_owned(),
        })
    }

    fn record_path(&self, kind: &str, key: &str) -> Result<PathBuf, StoreError> {
        Ok(self.kind_dir(kind)?.join(Digest::of(key.as_bytes()).hex()))
    }
}

fn read_record(path: &std::path::Path) -> Result<Option<Record>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| StoreError::corrupt(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::io("reading a record", source)),
    }
}
