//! What was unpacked of a file, found again by the file's digest: a file that did not change is unpacked once.
//!
//! A record says which modules a file holds and in which layers they are; it keeps none of them, so that prune takes them when nothing else needs
//! them. Each module is read from its layer again.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err as fs;
use hoist_image::{DiffId, Digest, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::{Module, ModuleError, ModuleKind, Modules, package};

/// Kind of the records; the key is the file's digest.
pub(crate) const UNPACKED_RECORD: &str = "unpacked-file";

/// A module of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Unpacked {
    extension: bool,
    id: String,
    version: String,
    layer: DiffId,
}

/// A file as it was before it was read: what is noted under its digest must have been unpacked of these bytes.
pub(super) struct FileState {
    digest: Digest,
    looks: (u64, u64, i64, i64),
}

impl FileState {
    pub(super) fn of(location: &str, path: &Path) -> Result<Self, ModuleError> {
        let io = |source| ModuleError::Io { location: location.to_owned(), action: "reading the file", source };
        let looks = looks(path).map_err(io)?;
        let (digest, _) = Digest::of_reader(&mut fs::File::open(path).map_err(io)?).map_err(io)?;
        Ok(Self { digest, looks })
    }

    fn is_unchanged(&self, path: &Path) -> bool {
        looks(path).is_ok_and(|now| now == self.looks)
    }
}

/// Which file it is, its size, and when it was changed last; nobody sets the latter.
fn looks(path: &Path) -> std::io::Result<(u64, u64, i64, i64)> {
    let about = fs::metadata(path)?;
    Ok((about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}

impl Modules<'_> {
    /// The modules of a file that was unpacked before; none where it was not, or where they are gone.
    pub(super) fn unpacked(&self, location: &str, file: &FileState) -> Result<Option<Vec<Module>>, ModuleError> {
        let noted: Option<Vec<Unpacked>> = self.store.record(UNPACKED_RECORD, &file.digest.to_string())?;
        let mut modules = Vec::new();
        for one in noted.unwrap_or_default() {
            let Some(layer) = self.store.layer(&one.layer)? else { return Ok(None) };
            self.lease.hold(&[one.layer])?;
            let kind = if one.extension { ModuleKind::Extension } else { ModuleKind::Buildpack };
            let Ok(module) = package::module(location, &layer, kind, &one.id, &one.version) else { return Ok(None) };
            modules.push(module);
        }
        Ok(Some(modules).filter(|modules| !modules.is_empty()))
    }

    /// Notes what was unpacked of a file, unless it was changed meanwhile.
    pub(super) fn note_unpacked(&self, file: &FileState, path: &Path, modules: &[Module]) -> Result<(), ModuleError> {
        if !file.is_unchanged(path) {
            return Ok(());
        }
        let note = |module: &Module| Unpacked {
            extension: module.descriptor.kind == ModuleKind::Extension,
            id: module.descriptor.id.clone(),
            version: module.descriptor.version.clone(),
            layer: module.layer.diff_id(),
        };
        let notes: Vec<Unpacked> = modules.iter().map(note).collect();
        self.store.put_record(UNPACKED_RECORD, &file.digest.to_string(), &notes, &[])?;
        Ok(())
    }
}

/// Forgets the files whose layers are gone.
pub(crate) fn forget_gone_files(store: &Store) -> Result<(), StoreError> {
    for record in store.records(UNPACKED_RECORD)? {
        let noted: Vec<Unpacked> = serde_json::from_value(record.value).unwrap_or_default();
        let mut there = !noted.is_empty();
        for one in &noted {
            there = there && store.layer(&one.layer)?.is_some();
        }
        if !there {
            store.remove_record(UNPACKED_RECORD, &record.key)?;
        }
    }
    Ok(())
}
