//! Writing a portable cache: what a build leaves for the next one, as a folder or an image.

use std::collections::BTreeSet;

use hoist_image::{DiffId, Image, Layer, StoreError};
use hoist_spec::{CacheMetadata, LayerRecord, LayerSha};

use crate::buildpack_layers::join;
use crate::cache::{CacheRecord, diff_ids};
use crate::cache_error::CacheError;
use crate::cache_folder::{CacheWritten, FolderWriter};
use crate::portable_cache::{OpenCache, PortableCache};
use crate::restore::LayerKey;
use crate::setup::Setup;

/// A cache that is being written.
struct Writing<'a> {
    setup: &'a Setup<'a>,
    cache: &'a OpenCache,
    folder: Option<FolderWriter>,
    distrusted: BTreeSet<DiffId>,
    /// Its layers so far.
    layers: Vec<DiffId>,
}

/// Writes the cached layers of a build.
pub(crate) fn write(cache: &OpenCache, setup: &Setup<'_>, left: &CacheRecord) -> Result<CacheWritten, CacheError> {
    let distrusted = cache.distrusted();
    let folder = match &cache.place {
        PortableCache::Folder(folder) => Some(folder.begin(&distrusted)?),
        PortableCache::Image(_) => None,
    };
    let mut writing = Writing { setup, cache, folder, distrusted, layers: Vec::new() };
    let mut metadata = CacheMetadata { sbom: LayerSha::default(), buildpacks: left.buildpacks.clone() };
    for buildpack in &mut metadata.buildpacks {
        for (name, record) in &mut buildpack.layers {
            let key = (buildpack.key.clone(), name.clone());
            if record.hoist.is_some() {
                record.sha = writing.put_whole(&key, record)?.to_string();
            } else if let Ok(diff_id) = record.sha.parse() {
                writing.put_stored(diff_id)?;
            }
        }
    }
    if let Some(diff_id) = left.sbom.as_ref().and_then(|sha| sha.parse().ok()) {
        writing.put_stored(diff_id)?;
        metadata.sbom.sha = diff_id.to_string();
    }
    writing.finish(&metadata)
}

impl Writing<'_> {
    /// A layer that the store has as it is.
    fn put_stored(&mut self, diff_id: DiffId) -> Result<(), CacheError> {
        let layer = self.stored(diff_id)?;
        if self.is_new(diff_id) && !self.keep(diff_id, Some(layer.size_bytes())) {
            self.add(&layer)?;
        }
        Ok(())
    }

    /// A layer that the store has in parts: put together, unless the cache has it already.
    fn put_whole(&mut self, key: &LayerKey, record: &LayerRecord) -> Result<DiffId, CacheError> {
        if let Some(diff_id) = self.known_whole(key, record)
            && (!self.is_new(diff_id) || self.keep(diff_id, None))
        {
            return Ok(diff_id);
        }
        let parts: Result<Vec<Layer>, _> = diff_ids(record).into_iter().map(|diff_id| self.stored(diff_id)).collect();
        let joined = join(self.setup, &key.0, &key.1, &parts?);
        let layer = joined.map_err(|source| CacheError::Join { layer: key.1.clone(), source })?;
        let (diff_id, size_bytes) = (layer.diff_id(), layer.size_bytes());
        if (self.is_new(diff_id) || self.folder.is_some()) && !self.keep(diff_id, Some(size_bytes)) {
            self.add(&layer)?;
        }
        Ok(diff_id)
    }

    /// The whole of a layer in parts, where it is the one of the build before.
    fn known_whole(&self, key: &LayerKey, record: &LayerRecord) -> Option<DiffId> {
        let before = self.cache.buildpacks.iter().find(|buildpack| buildpack.key == key.0)?;
        let same = before.layers.get(&key.1)?.sha == record.sha;
        self.cache.whole.get(key).copied().filter(|whole| same && !self.distrusted.contains(whole))
    }

    /// Notes a layer of the cache; false where it was noted before.
    fn is_new(&mut self, diff_id: DiffId) -> bool {
        let new = !self.layers.contains(&diff_id);
        if new {
            self.layers.push(diff_id);
        }
        new
    }

    /// Whether the place has the layer already.
    fn keep(&mut self, diff_id: DiffId, size_bytes: Option<u64>) -> bool {
        match &mut self.folder {
            Some(folder) => folder.keep(&diff_id, size_bytes),
            None => self.setup.store.layer(&diff_id).is_ok_and(|layer| layer.is_some()),
        }
    }

    fn add(&mut self, layer: &Layer) -> Result<(), CacheError> {
        self.folder.as_mut().map_or(Ok(()), |folder| folder.add(layer))
    }

    fn stored(&self, diff_id: DiffId) -> Result<Layer, CacheError> {
        let what = self.cache.place.name();
        let in_store = |source| CacheError::Store { cache: what.clone(), source };
        let missing = || in_store(StoreError::MissingLayer { what: what.clone(), diff_id });
        self.setup.store.layer(&diff_id).map_err(in_store)?.ok_or_else(missing)
    }

    fn finish(self, metadata: &CacheMetadata) -> Result<CacheWritten, CacheError> {
        if let Some(folder) = self.folder {
            return folder.commit(Some(metadata));
        }
        let PortableCache::Image(image) = &self.cache.place else { return Ok(CacheWritten::default()) };
        let before = self.cache.image.as_ref().map(Image::diff_ids).unwrap_or_default();
        let kept = self.layers.iter().filter(|diff_id| before.contains(diff_id)).count();
        image.write(self.setup.store, metadata, &self.layers)?;
        Ok(CacheWritten { written: self.layers.len() - kept, kept })
    }
}
