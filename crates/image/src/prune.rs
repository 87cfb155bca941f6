//! Removing what nothing needs, and saying what there is.
//!
//! What is needed: images that have a name or that a record keeps; the layers of those images and the layers that records keep; what living leases
//! protect. The decision and the moving away happen under the store's lock and take milliseconds; the deleting happens after it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::Serialize;

use crate::digest::{DiffId, Digest, ImageId};
use crate::error::{Doing, StoreError};
use crate::layer::Layer;
use crate::lease::{self, Held};
use crate::record::Keeps;
use crate::store::{Store, dispose};

/// What to prune.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneOptions {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// Also remove compressed layers that can be made again from their trees.
    pub blobs: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Images without a name that no record keeps.
    pub images: Vec<ImageId>,
    /// Layers that nothing needs.
    pub layers: Vec<DiffId>,
    /// How many compressed layers.
    pub blobs: usize,
    /// How many folders and files of work that a crash or a kill left.
    pub scratch: usize,
    /// How many leases of processes that are gone.
    pub leases: usize,
    /// Bytes on the disk that all this held.
    pub bytes: u64,
}

/// How much of what the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DiskUsage {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Length of the layers' files.
    pub layer_bytes: u64,
    /// Of these, what a prune would free.
    pub unused_layer_bytes: u64,
    /// Compressed layers.
    pub blobs: usize,
    /// Their length.
    pub blob_bytes: u64,
    /// Folders and files of work in progress or left behind.
    pub scratch: usize,
    /// Their length.
    pub scratch_bytes: u64,
    /// Records.
    pub records: usize,
    /// Free bytes of the file system.
    pub free_bytes: u64,
}

/// What stands where it is to be removed.
#[derive(Default)]
struct Doomed {
    pruned: Pruned,
    paths: Vec<PathBuf>,
    keep_blobs: BTreeSet<Digest>,
}

impl Store {
    /// Removes what nothing needs.
    pub fn prune(&self, options: PruneOptions) -> Result<Pruned, StoreError> {
        let locked = self.exclusive()?;
        let mut doomed = self.doomed(options)?;
        if options.dry_run {
            drop(locked);
            doomed.pruned.bytes = doomed.paths.iter().map(|path| disk_bytes(path)).sum();
            return Ok(doomed.pruned);
        }
        let scratch = self.path("scratch");
        let mut trash = Vec::new();
        for path in doomed.paths.drain(..) {
            // what lies in scratch is nobody's any more and need not be moved
            let moved = if path.starts_with(&scratch) { path } else { self.discard(&path)? };
            trash.push(moved);
        }
        drop(locked);
        // all are measured before any goes: files are shared between layers
        doomed.pruned.bytes = trash.iter().map(|path| disk_bytes(path)).sum();
        for path in trash {
            dispose(&path);
        }
        Ok(doomed.pruned)
    }

    /// What the store holds.
    pub fn df(&self) -> Result<DiskUsage, StoreError> {
        let doomed = self.doomed(PruneOptions::default())?;
        let unused: BTreeSet<DiffId> = doomed.pruned.layers.into_iter().collect();
        let mut usage = DiskUsage { images: self.image_ids()?.len(), ..DiskUsage::default() };
        for layer in self.all_layers()? {
            usage.layers += 1;
            usage.layer_bytes += layer.content_bytes();
            if unused.contains(&layer.diff_id()) {
                usage.unused_layer_bytes += layer.content_bytes();
            }
        }
        for (_, path) in digests_in(&self.path("blobs/sha256"))? {
            usage.blobs += 1;
            usage.blob_bytes += disk_bytes(&path);
        }
        for entry in fs::read_dir(self.path("scratch")).doing("listing scratch folders")? {
            let path = entry.doing("listing scratch folders")?.path();
            if path.extension().is_none() {
                usage.scratch += 1;
                usage.scratch_bytes += disk_bytes(&path);
            }
        }
        for kind in self.record_kinds()? {
            usage.records += self.records(&kind)?.len();
        }
        let space = rustix::fs::statvfs(self.root_dir()).doing("asking for the free space")?;
        usage.free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
        Ok(usage)
    }

    fn doomed(&self, options: PruneOptions) -> Result<Doomed, StoreError> {
        let held = lease::held(&self.path("leases"))?;
        let mut doomed = Doomed::default();
        let mut kept = held.layers.clone();
        self.doom_images(&mut doomed, &mut kept, &held)?;
        self.doom_layers(&mut doomed, &kept, &held)?;
        self.doom_blobs(&mut doomed, options, &held)?;
        self.doom_scratch(&mut doomed)?;
        let gone: BTreeSet<DiffId> = doomed.pruned.layers.iter().copied().collect();
        let lives = |layer: &DiffId| !gone.contains(layer) && self.layer_dir(layer).exists();
        let of_registries = self.doomed_of_registries(&lives);
        doomed.pruned.scratch +=
            of_registries.iter().filter(|path| !path.starts_with(self.path("registries/known"))).count();
        doomed.paths.extend(of_registries);
        doomed.pruned.leases = held.dead.len();
        doomed.paths.extend(held.dead);
        Ok(doomed)
    }

    /// Adds the layers of every image that stays to `kept`.
    fn doom_images(&self, doomed: &mut Doomed, kept: &mut BTreeSet<DiffId>, held: &Held) -> Result<(), StoreError> {
        let mut needed: BTreeSet<ImageId> = self.names()?.into_iter().map(|(_, id)| id).collect();
        for kind in self.record_kinds()? {
            for keeps in self.records(&kind)?.into_iter().flat_map(|record| record.keeps) {
                match keeps {
                    Keeps::Layer(diff_id) => _ = kept.insert(diff_id),
                    Keeps::Image(id) => _ = needed.insert(id),
                }
            }
        }
        for id in self.image_ids()? {
            let path = self.image_path(id);
            if needed.contains(&id) || in_use_since(&path, held.since) {
                // an image that cannot be read keeps nothing, but is not removed in silence
                if let Ok(image) = self.image_by_id(&id) {
                    kept.extend(image.diff_ids());
                }
                continue;
            }
            doomed.pruned.images.push(id);
            doomed.paths.push(path);
        }
        Ok(())
    }

    fn doom_layers(&self, doomed: &mut Doomed, kept: &BTreeSet<DiffId>, held: &Held) -> Result<(), StoreError> {
        for (digest, path) in digests_in(&self.path("layers/sha256"))? {
            let diff_id = DiffId(digest);
            if kept.contains(&diff_id) || in_use_since(&path.join("meta.json"), held.since) {
                if let Ok(Some(layer)) = Layer::open(self, diff_id) {
                    doomed.keep_blobs.extend(layer.meta().original.map(|blob| blob.digest));
                }
                continue;
            }
            doomed.pruned.layers.push(diff_id);
            doomed.paths.push(path);
        }
        Ok(())
    }

    fn doom_blobs(&self, doomed: &mut Doomed, options: PruneOptions, held: &Held) -> Result<(), StoreError> {
        let gone: BTreeSet<DiffId> = doomed.pruned.layers.iter().copied().collect();
        let mut noted = BTreeSet::new();
        for entry in fs::read_dir(self.path("made")).doing("listing compressed layers")? {
            let path = entry.doing("listing compressed layers")?.path();
            let hex = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let layer = Digest::from_hex(hex).map(DiffId).ok();
            let lives = layer.is_some_and(|layer| !gone.contains(&layer) && self.layer_dir(&layer).exists());
            let blob = fs::read(&path).ok().and_then(|note| serde_json::from_slice::<crate::Blob>(&note).ok());
            match blob {
                Some(blob) if lives && !options.blobs => _ = noted.insert(blob.digest),
                _ => doomed.paths.push(path),
            }
        }
        for (digest, path) in digests_in(&self.path("blobs/sha256"))? {
            if noted.contains(&digest) || doomed.keep_blobs.contains(&digest) || in_use_since(&path, held.since) {
                continue;
            }
            doomed.pruned.blobs += 1;
            doomed.paths.push(path);
        }
        Ok(())
    }

    /// Scratch folders and single files whose lock nobody holds.
    fn doom_scratch(&self, doomed: &mut Doomed) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.path("scratch")).doing("listing scratch folders")? {
            let path = entry.doing("listing scratch folders")?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let dead = if name.starts_with("trash-") {
                true // whoever moved it there is removing it, or is gone
            } else if name.starts_with("file-") || path.extension().is_some() {
                unlocked(&path)
            } else {
                unlocked(&path.with_extension("lock"))
            };
            if dead {
                if path.extension().is_none() {
                    doomed.pruned.scratch += 1;
                }
                doomed.paths.push(path);
            }
        }
        // folders before their locks: a lock that stays alone is found again, a folder without its lock too
        doomed.paths.sort_by_key(|path| path.extension().is_some());
        Ok(())
    }

    /// Every layer that has its documents.
    pub fn all_layers(&self) -> Result<Vec<Layer>, StoreError> {
        let mut layers = Vec::new();
        for (digest, _) in digests_in(&self.path("layers/sha256"))? {
            layers.extend(Layer::open(self, DiffId(digest))?);
        }
        Ok(layers)
    }
}

/// Whether a lease began before `path` was last touched. Clocks of file systems tick coarsely: half a second is given.
fn in_use_since(path: &Path, since: Option<Duration>) -> bool {
    let Some(since) = since else { return false };
    let touched = fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    let touched = touched.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    touched + Duration::from_millis(500) >= since
}

fn unlocked(lock: &Path) -> bool {
    match fs::File::open(lock) {
        Ok(file) => file.file().try_lock().is_ok(),
        Err(_) => true,
    }
}

fn digests_in(dir: &Path) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).doing("listing the store")? {
        let entry = entry.doing("listing the store")?;
        let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
        found.extend(digest.map(|digest| (digest, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// What a file or a folder takes on the disk; a file with several names counts for its share.
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512 / metadata.nlink().max(1);
    }
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + inside.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}
