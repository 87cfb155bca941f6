//! The build cache: a record in the store that names the layers that the next build gets back, and what was made of unchanged input.
//!
//! The layers themselves are ordinary layers of the store; the record keeps them from being pruned.

use std::collections::BTreeMap;

use hoist_image::{DiffId, Layer, Store, StoreError};
use hoist_spec::{BuildpackLayers, LayerRecord};
use serde::{Deserialize, Serialize};

/// Kind of the record in the store.
pub const CACHE_RECORD_KIND: &str = "build-cache";

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
}

impl CacheRecord {
    /// The record, where there is one.
    pub(crate) fn read(store: &Store, key: &str) -> Result<Option<Self>, StoreError> {
        store.record(CACHE_RECORD_KIND, key)
    }

    /// Keeps the record and the layers that it names.
    pub(crate) fn write(&self, store: &Store, key: &str) -> Result<(), StoreError> {
        let mut refs: Vec<DiffId> = Vec::new();
        for record in self.buildpacks.iter().flat_map(|buildpack| buildpack.layers.values()) {
            refs.extend(diff_ids(record));
        }
        let others = self.made_from.values().flat_map(|made| &made.diff_ids).chain(&self.sbom);
        refs.extend(others.filter_map(|text| text.parse::<DiffId>().ok()));
        refs.sort();
        refs.dedup();
        let refs: Vec<hoist_image::Keeps> = refs.into_iter().map(Into::into).collect();
        store.put_record(CACHE_RECORD_KIND, key, self, &refs)
    }

    /// The layers made from this input, if all are still there.
    pub(crate) fn made_from(&self, store: &Store, what: &str, input: &str) -> Result<Option<Vec<Layer>>, StoreError> {
        match self.made_from.get(what) {
            Some(made) if made.input == input => find_layers(store, &made.diff_ids),
            _ => Ok(None),
        }
    }
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
