//! The build cache: a record in the store that names the layers that the next build gets back, and what was made of unchanged input.
//!
//! The layers themselves are ordinary layers of the store; the record keeps them from being pruned.
//!
//! Beside the record of each image stand *shared* ones: layers of buildpacks that the platform trusts, from the last build of any image, so
//! that the first build of a new app does not make the same interpreter once more.

use std::collections::BTreeMap;

use hoist_image::{DiffId, Keeps, Layer, Store, StoreError};
use hoist_spec::{BuildpackLayers, LayerRecord};
use serde::{Deserialize, Serialize};

/// Kind of the record in the store.
pub const CACHE_RECORD_KIND: &str = "build-cache";
/// Kind of the records of shared layers.
pub const SHARED_RECORD_KIND: &str = "shared-layers";

/// Layers that the builds of different images take from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLayers {
    /// Names the record.
    pub key: String,
    /// Whatever decides that layers of one build are good for another, such as the builder's id. What was shared for something else is not
    /// taken, and the next build replaces it.
    pub made_for: String,
    /// The buildpacks whose cached layers are shared. Nothing of an app may be in these layers.
    pub buildpacks: Vec<String>,
    /// Whether this build takes them; what it leaves is another question ([`crate::ExportRequest::share_layers`]).
    pub take: bool,
}

/// What one build leaves for the builds of other images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedRecord {
    /// [`SharedLayers::made_for`].
    pub(crate) made_for: String,
    /// The shared layers.
    pub(crate) buildpacks: Vec<BuildpackLayers>,
    /// The layer with the SBOM documents of cached layers.
    pub(crate) sbom: Option<String>,
}

impl SharedRecord {
    /// The record with the buildpacks that are asked for.
    pub(crate) fn read(store: &Store, shared: &SharedLayers) -> Result<Self, StoreError> {
        let found: Option<Self> = store.record(SHARED_RECORD_KIND, &shared.key)?;
        let mut record = found.filter(|record| record.made_for == shared.made_for).unwrap_or_default();
        record.buildpacks.retain(|layers| shared.buildpacks.contains(&layers.key));
        Ok(record)
    }

    /// Shares the layers of a finished build, unless they are what is shared already.
    pub(crate) fn write(store: &Store, shared: &SharedLayers, cache: &CacheRecord) -> Result<(), StoreError> {
        let is_shared =
            |layers: &&BuildpackLayers| shared.buildpacks.contains(&layers.key) && !layers.layers.is_empty();
        let buildpacks: Vec<BuildpackLayers> = cache.buildpacks.iter().filter(is_shared).cloned().collect();
        if buildpacks.is_empty() || Self::read(store, shared)?.buildpacks == buildpacks {
            return Ok(());
        }
        let record = Self { made_for: shared.made_for.clone(), buildpacks, sbom: cache.sbom.clone() };
        store.put_record(SHARED_RECORD_KIND, &shared.key, &record, &keeps(&record.buildpacks, record.sbom.iter()))
    }
}

/// A layer that hoist made from input whose digest is known: it is not made again from the same input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MadeFrom {
    /// Digest of the input.
    pub(crate) input: String,
    /// The layers, lowest first.
    pub(crate) diff_ids: Vec<String>,
}

/// What one build leaves for the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheRecord {
    /// The layers with `cache = true`.
    #[serde(default)]
    pub(crate) buildpacks: Vec<BuildpackLayers>,
    /// The layer with the SBOM documents of cached layers.
    #[serde(default)]
    pub(crate) sbom: Option<String>,
    /// The app, the launcher and so on, by what they are.
    #[serde(default)]
    pub(crate) made_from: BTreeMap<String, MadeFrom>,
    /// The user and group id that the files of all these layers belong to; none in records of before this was noted.
    #[serde(default)]
    pub(crate) owner: Option<(u32, u32)>,
}

impl CacheRecord {
    /// The record, where there is one.
    pub(crate) fn read(store: &Store, key: &str) -> Result<Option<Self>, StoreError> {
        store.record(CACHE_RECORD_KIND, key)
    }

    /// Keeps the record and the layers that it names.
    pub(crate) fn write(&self, store: &Store, key: &str) -> Result<(), StoreError> {
        let others = self.made_from.values().flat_map(|made| &made.diff_ids).chain(&self.sbom);
        store.put_record(CACHE_RECORD_KIND, key, self, &keeps(&self.buildpacks, others))
    }

    /// The layers made from this input, if all are still there.
    pub(crate) fn made_from(&self, store: &Store, what: &str, input: &str) -> Result<Option<Vec<Layer>>, StoreError> {
        match self.made_from.get(what) {
            Some(made) if made.input == input => find_layers(store, &made.diff_ids),
            _ => Ok(None),
        }
    }
}

/// The layers that a record keeps from being pruned.
fn keeps<'a>(buildpacks: &[BuildpackLayers], others: impl Iterator<Item = &'a String>) -> Vec<Keeps> {
    let records = buildpacks.iter().flat_map(|buildpack| buildpack.layers.values());
    let mut refs: Vec<DiffId> = records.flat_map(diff_ids).collect();
    refs.extend(others.filter_map(|text| text.parse::<DiffId>().ok()));
    refs.sort();
    refs.dedup();
    refs.into_iter().map(Into::into).collect()
}

/// The OCI layers that a buildpack's layer stands for, lowest first.
pub(crate) fn diff_ids(record: &LayerRecord) -> Vec<DiffId> {
    match &record.hoist {
        Some(split) => split.layers.iter().filter_map(|part| part.sha.parse().ok()).collect(),
        None => record.sha.parse().ok().into_iter().collect(),
    }
}

/// All of these layers, or nothing if one of them is missing.
pub(crate) fn find_layers(store: &Store, diff_ids: &[String]) -> Result<Option<Vec<Layer>>, StoreError> {
    let mut layers = Vec::with_capacity(diff_ids.len());
    for text in diff_ids {
        let Ok(diff_id) = text.parse::<DiffId>() else { return Ok(None) };
        let Some(layer) = store.layer(&diff_id)? else { return Ok(None) };
        layers.push(layer);
    }
    Ok(Some(layers))
}
