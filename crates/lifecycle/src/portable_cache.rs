//! A build cache outside of hoist's records, which other lifecycles read and write too: a folder or an image.
//!
//! A layer that hoist keeps in several parts (one for each installed distribution) is one layer there, and beside its digest stand the parts:
//! hoist takes those where its store has them, anybody else the whole. Layers of such a cache come from anywhere. They are used only if
//! they have their digest, and nothing outside of the folder of their own layer: what a cache says cannot change the builder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hoist_image::{DiffId, Image, Kind, Layer, Store, StoreError};
use hoist_spec::{BuildpackLayers, CacheMetadata, LayerRecord};

use crate::buildpack_layers::split_sha;
use crate::cache::{CacheRecord, diff_ids, find_layers};
use crate::cache_error::CacheError;
use crate::cache_folder::CacheFolder;
use crate::cache_image::CacheImage;
use crate::portable_write;
use crate::restore::{LayerKey, Restored};
use crate::setup::Setup;

/// Where a build cache is that does not live in hoist's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortableCache {
    /// A folder.
    Folder(CacheFolder),
    /// An image.
    Image(CacheImage),
}

impl PortableCache {
    /// Forgets what is cached.
    pub fn clear(&self, store: &Store) -> Result<(), CacheError> {
        match self {
            Self::Folder(folder) => folder.clear(),
            Self::Image(image) => image.clear(store),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.name(),
            Self::Image(image) => image.name(),
        }
    }
}

/// A portable cache that was looked at.
pub(crate) struct OpenCache {
    pub(crate) place: PortableCache,
    /// The cache image, where it is one.
    pub(crate) image: Option<Image>,
    /// What is cached. The digest of a layer in parts is the one that images have for it.
    pub(crate) buildpacks: Vec<BuildpackLayers>,
    /// The layer with SBOM documents.
    pub(crate) sbom: Option<String>,
    /// The whole layers of those that are known by their parts.
    pub(crate) whole: BTreeMap<LayerKey, DiffId>,
    /// Layers that were not what they are called.
    distrusted: Mutex<BTreeSet<DiffId>>,
}

impl OpenCache {
    /// Reads what is cached. A cache that cannot be read is reported, and is an empty one.
    pub(crate) fn open(setup: &Setup<'_>, place: PortableCache) -> Result<Self, CacheError> {
        let mut open = Self {
            place,
            image: None,
            buildpacks: Vec::new(),
            sbom: None,
            whole: BTreeMap::new(),
            distrusted: Mutex::default(),
        };
        match open.read(setup.store) {
            Ok(Some(metadata)) => open.take(metadata),
            Ok(None) => {}
            Err(error) if error.ends_the_build() => return Err(error),
            Err(error) => warn(setup, &error, "it is built without it"),
        }
        Ok(open)
    }

    fn read(&mut self, store: &Store) -> Result<Option<CacheMetadata>, CacheError> {
        match &self.place {
            PortableCache::Folder(folder) => folder.metadata(),
            PortableCache::Image(image) => {
                self.image = image.open(store)?;
                self.image.as_ref().map_or(Ok(None), |found| image.metadata(found))
            }
        }
    }

    fn take(&mut self, metadata: CacheMetadata) {
        self.sbom = Some(metadata.sbom.sha).filter(|sha| !sha.is_empty());
        self.buildpacks = metadata.buildpacks;
        for buildpack in &mut self.buildpacks {
            for (name, record) in &mut buildpack.layers {
                let (Some(split), Ok(whole)) = (&record.hoist, record.sha.parse()) else { continue };
                record.sha = split_sha(split);
                self.whole.insert((buildpack.key.clone(), name.clone()), whole);
            }
        }
    }

    /// The layers of a cached layer, and the record that fits them: from the store where it has them, else from the cache. What cannot be
    /// used is reported.
    pub(crate) fn find(
        &self,
        setup: &Setup<'_>,
        key: &LayerKey,
        record: &LayerRecord,
    ) -> Result<Option<(LayerRecord, Vec<Layer>)>, StoreError> {
        let dir = setup.buildpack_layers_dir(&key.0).join(&key.1);
        let ids: Vec<String> = diff_ids(record).iter().map(ToString::to_string).collect();
        if !ids.is_empty()
            && let Some(layers) = find_layers(setup.store, &ids)?
        {
            let misplaced = layers.iter().find_map(|layer| self.check(layer, &dir).transpose());
            return usable(setup, misplaced.map_or(Ok(()), |found| found.and_then(Err)), || (record.clone(), layers));
        }
        let whole = self.whole.get(key).copied().or_else(|| record.sha.parse().ok());
        let Some(whole) = whole else { return Ok(None) };
        let found = self.load(setup.store, &whole).and_then(|layer| {
            let Some(layer) = layer else { return Ok(None) };
            self.check(&layer, &dir)?.map_or(Ok(Some(layer)), Err)
        });
        let plain = LayerRecord { sha: whole.to_string(), hoist: None, ..record.clone() };
        match found {
            Ok(Some(layer)) => Ok(Some((plain, vec![layer]))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.distrust(whole);
                usable(setup, Err(error), || (plain, Vec::new()))
            }
        }
    }

    /// The layer with SBOM documents.
    pub(crate) fn sbom_layer(&self, setup: &Setup<'_>) -> Result<Option<Layer>, StoreError> {
        let Some(diff_id) = self.sbom.as_ref().and_then(|sha| sha.parse::<DiffId>().ok()) else { return Ok(None) };
        let dir = setup.directories.layers_dir.join("sbom");
        let found = self.load(setup.store, &diff_id).and_then(|layer| {
            let Some(layer) = layer else { return Ok(None) };
            self.check(&layer, &dir)?.map_or(Ok(Some(layer)), Err)
        });
        match found {
            Ok(layer) => Ok(layer),
            Err(error) => {
                self.distrust(diff_id);
                usable(setup, Err(error), || None).map(Option::flatten)
            }
        }
    }

    fn load(&self, store: &Store, diff_id: &DiffId) -> Result<Option<Layer>, CacheError> {
        match (&self.place, &self.image) {
            (PortableCache::Folder(folder), _) => folder.load(store, diff_id),
            (PortableCache::Image(_), Some(image)) if image.diff_ids().contains(diff_id) => {
                store.layer(diff_id).map_err(|source| CacheError::Store { cache: self.place.name(), source })
            }
            (PortableCache::Image(_), _) => Ok(None),
        }
    }

    fn distrust(&self, diff_id: DiffId) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id);
    }

    /// Layers that were not what they are called.
    pub(crate) fn distrusted(&self) -> BTreeSet<DiffId> {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What makes a layer unusable: files outside of `dir`, and what no buildpack's layer has.
    fn check(&self, layer: &Layer, dir: &Path) -> Result<Option<CacheError>, CacheError> {
        let in_store = |source| CacheError::Store { cache: self.place.name(), source };
        for entry in layer.entries().map_err(in_store)? {
            let entry = entry.map_err(in_store)?;
            let on_the_way = dir.starts_with(&entry.path) && entry.kind == Kind::Directory;
            let problem = match entry.kind {
                Kind::Directory | Kind::File { .. } | Kind::Symlink { .. } | Kind::HardLink { .. }
                    if on_the_way || entry.path.starts_with(dir) =>
                {
                    continue;
                }
                Kind::Directory | Kind::File { .. } | Kind::Symlink { .. } | Kind::HardLink { .. } => {
                    "that is outside of its own folder"
                }
                _ => "that is neither a file nor a folder nor a link",
            };
            let (cache, diff_id, path) = (self.place.name(), layer.diff_id(), entry.path);
            return Ok(Some(CacheError::Misplaced { cache, diff_id, path, problem }));
        }
        Ok(None)
    }

    /// Writes what this build leaves. A failure is reported: the image stands all the same.
    pub(crate) fn write(&self, setup: &Setup<'_>, cache: &CacheRecord) {
        match portable_write::write(self, setup, cache) {
            Ok(written) => {
                let text = format!("{}: {} layers written, {} kept", self.place.name(), written.written, written.kept);
                setup.reporter.report(&hoist_events::Event::Step { text });
            }
            Err(error) => warn(setup, &error, "the next build does not find the layers of this one there"),
        }
    }
}

impl Restored {
    /// Whether layers were restored from a cache outside of hoist's records: anyone may have written what is in them.
    pub fn has_layers_of_strangers(&self) -> bool {
        self.detected.analyzed.before.portable.is_some() && self.layers.values().any(|layer| !layer.shared)
    }
}

/// A value if there is no error; an error of the machine ends the build, any other is reported.
fn usable<T>(
    setup: &Setup<'_>,
    result: Result<(), CacheError>,
    value: impl FnOnce() -> T,
) -> Result<Option<T>, StoreError> {
    match result {
        Ok(()) => Ok(Some(value())),
        Err(CacheError::Store { source, .. }) => Err(source),
        Err(error) => {
            warn(setup, &error, "the layer is not used");
            Ok(None)
        }
    }
}

/// Reports an error that does not end the build.
pub(crate) fn warn(setup: &Setup<'_>, error: &CacheError, consequence: &str) {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let hint = error.hint().map_or_else(|| consequence.to_owned(), |hint| format!("{consequence}; {hint}"));
    setup.reporter.report(&hoist_events::Event::Warning { text, hint: Some(hint) });
}
