//! Restore: what buildpacks get back from the build before, namely `store.toml`, `<layer>.toml` without types, SBOM documents, and the
//! content of cached layers.
//!
//! buildpack.md, "Layer Types"; platform.md, "restorer". Content is not copied: the layers of the store become lower directories of the
//! build's overlay, so that afterwards the upper directory holds exactly what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hoist_events::{LayerAction, Phase};
use hoist_image::{DiffId, Layer, Lease, StoreError};
use hoist_spec::{ApiVersion, BuildpackLayers, DocumentError, LayerRecord, escape_id};

use crate::analyze::Before;
use crate::cache::{diff_ids, find_layers};
use crate::detect::Detected;
use crate::layer_events::report;
use crate::portable_cache::OpenCache;
use crate::setup::Setup;
use crate::timing::timed;
use crate::tree::{Node, Tree, TreeError, UpperWriter};

/// A cached layer that the build sees again.
#[derive(Debug, Clone)]
pub(crate) struct RestoredLayer {
    pub(crate) record: LayerRecord,
    /// Its OCI layers, lowest first.
    pub(crate) layers: Vec<Layer>,
    /// It comes from the build of another image.
    pub(crate) shared: bool,
}

/// Names a layer: the buildpack's id and the layer's name.
pub(crate) type LayerKey = (String, String);

/// Everything is back that the cache and the previous image have.
pub struct Restored {
    pub(crate) detected: Detected,
    pub(crate) layers: BTreeMap<LayerKey, RestoredLayer>,
    pub(crate) dirs: Vec<PathBuf>,
    /// Keeps the layers from being pruned while the build uses them.
    pub(crate) _lease: Lease,
}

impl Restored {
    /// Host paths of the restored layers' trees: lower directories that [`crate::BuildpackCall::restored_dirs`] names.
    pub fn restored_dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The phase before.
    pub fn detected(&self) -> &Detected {
        &self.detected
    }
}

/// Restore failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A layer of the store cannot be opened.
    #[error("restoring layer `{layer}` of {buildpack}")]
    Store {
        /// The buildpack's id.
        buildpack: String,
        /// The layer's name.
        layer: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The layers of the build cannot be held.
    #[error("keeping the cached layers while they are used")]
    Lease(#[source] StoreError),
    /// A file cannot be written.
    #[error("restoring the metadata of {buildpack}")]
    Tree {
        /// The buildpack's id.
        buildpack: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A document cannot be written.
    #[error("restoring the metadata of {buildpack}")]
    Document {
        /// The buildpack's id.
        buildpack: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

impl RestoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { .. } | Self::Lease(_) => Some("build once with --clear-cache".to_owned()),
            Self::Tree { .. } | Self::Document { .. } => None,
        }
    }

    /// The specification's exit code for a failed restore.
    pub fn exit_code(&self) -> i32 {
        42
    }
}

/// More than any real SBOM document.
pub(crate) const MAX_SBOM_BYTES: u64 = 256 << 20;

/// Brings back what the build before left.
pub fn restore(setup: &Setup<'_>, detected: Detected) -> Result<Restored, RestoreError> {
    timed(setup.reporter, Phase::Restore, || {
        let ids: Vec<&str> = detected.group.iter().map(|one| one.descriptor.buildpack.id.as_str()).collect();
        let Back { layers, lease, .. } = bring_back(setup, &detected.analyzed.before, &ids)?;
        let dirs = layers.values().flat_map(|restored| restored.layers.iter().rev().map(Layer::tree_dir)).collect();
        Ok(Restored { detected, layers, dirs, _lease: lease })
    })
}

/// What is back: the documents in the layers directory, the content in the store.
pub(crate) struct Back {
    pub(crate) layers: BTreeMap<LayerKey, RestoredLayer>,
    /// The layers whose metadata is back.
    pub(crate) known: BTreeSet<LayerKey>,
    /// Keeps the content from being pruned.
    pub(crate) lease: Lease,
}

/// Brings back what there is of the buildpacks with these ids.
pub(crate) fn bring_back(setup: &Setup<'_>, before: &Before, ids: &[&str]) -> Result<Back, RestoreError> {
    let lease = setup.store.lease().map_err(RestoreError::Lease)?;
    let owner = setup.user.chown.then_some((setup.user.uid, setup.user.gid));
    let writer = UpperWriter::new(setup.root.upper_dir.clone(), owner);
    let mut layers = BTreeMap::new();
    let mut known = BTreeSet::new();
    for id in ids {
        let names = restore_buildpack(setup, before, id, &writer, &mut layers)?;
        known.extend(names.into_iter().map(|name| ((*id).to_owned(), name)));
    }
    let held: Vec<DiffId> =
        layers.values().flat_map(|restored: &RestoredLayer| restored.layers.iter().map(Layer::diff_id)).collect();
    lease.hold(&held).map_err(RestoreError::Lease)?;
    restore_sboms(setup, before, ids, &writer, &layers, &known)?;
    Ok(Back { layers, known, lease })
}

/// Answers the names of the layers whose metadata is back.
fn restore_buildpack(
    setup: &Setup<'_>,
    before: &Before,
    id: &str,
    writer: &UpperWriter,
    restored: &mut BTreeMap<LayerKey, RestoredLayer>,
) -> Result<Vec<String>, RestoreError> {
    let tree_failed = |source| RestoreError::Tree { buildpack: id.to_owned(), source };
    let document_failed = |source| RestoreError::Document { buildpack: id.to_owned(), source };
    let dir = setup.buildpack_layers_dir(id);
    writer.create_dir(&dir).map_err(tree_failed)?;
    let previous = before.previous.as_ref().and_then(|previous| previous.buildpack(id));
    if let Some(store) = previous.and_then(|layers| layers.store.as_ref()) {
        let text = store.to_toml().write().map_err(document_failed)?;
        writer.write(&dir.join("store.toml"), text.as_bytes()).map_err(tree_failed)?;
    }
    let of_buildpack = |layers: &&BuildpackLayers| layers.key == id;
    let own = before.cache.buildpacks.iter().find(of_buildpack);
    // The layers of other images' builds are taken only by a buildpack whose own cache has nothing.
    let shared = before.shared.buildpacks.iter().find(of_buildpack).filter(|_| own.is_none());
    let (action, reason) = match shared {
        Some(_) => (LayerAction::Shared, "another build of this machine made it"),
        None => (LayerAction::Restored, "it is cached"),
    };
    let mut known = Vec::new();
    for (name, decision) in decide(previous, own.or(shared), setup.platform_api) {
        let record = match decision {
            Decision::Metadata(record) => record,
            Decision::Content(record) => {
                let portable = before.portable.as_ref().filter(|_| shared.is_none());
                let key = (id.to_owned(), name.clone());
                let found = find(setup, portable, &key, &record).map_err(|source| {
                    let (buildpack, layer) = key.clone();
                    RestoreError::Store { buildpack, layer, source }
                })?;
                let Some((record, layers)) = found else {
                    let place = if portable.is_some() { "cache" } else { "store" };
                    let reason = format!("it is no longer in the {place}");
                    report(setup, id, &name, LayerAction::Dropped, reason, None);
                    continue;
                };
                let size = layers.iter().map(Layer::size_bytes).sum();
                report(setup, id, &name, action, reason.to_owned(), Some(size));
                let layer = RestoredLayer { record: record.clone(), layers, shared: shared.is_some() };
                restored.insert(key, layer);
                record
            }
            Decision::Dropped(reason) => {
                report(setup, id, &name, LayerAction::Dropped, reason.to_owned(), None);
                continue;
            }
        };
        let text = record.to_restored_toml().write().map_err(document_failed)?;
        writer.write(&dir.join(format!("{name}.toml")), text.as_bytes()).map_err(tree_failed)?;
        known.push(name);
    }
    Ok(known)
}

/// What becomes of one layer of the build before.
enum Decision {
    /// `<layer>.toml` alone: the layer is for launch only and stays in the image if the buildpack wants.
    Metadata(LayerRecord),
    /// `<layer>.toml` and the content.
    Content(LayerRecord),
    /// Nothing, and why.
    Dropped(&'static str),
}

/// The matrix of buildpack.md: content is restored only where `cache`; metadata where `cache`, or for `launch` alone. Below Platform API 0.14
/// a cached launch layer that the previous image does not have is not restored.
fn decide(
    previous: Option<&BuildpackLayers>,
    cache: Option<&BuildpackLayers>,
    platform_api: ApiVersion,
) -> Vec<(String, Decision)> {
    let in_image = |name: &str| previous.and_then(|layers| layers.layers.get(name)).filter(|record| record.launch);
    let in_cache = |name: &str| cache.and_then(|layers| layers.layers.get(name)).filter(|record| record.cache);
    let names = [previous, cache].into_iter().flatten().flat_map(|layers| layers.layers.keys());
    let names: BTreeSet<&String> = names.filter(|name| is_layer_name(name)).collect();
    let mut decisions = Vec::new();
    for name in names {
        let decision = match (in_image(name), in_cache(name)) {
            // A layer that was not for launch is the cache's alone, whatever an older image has under its name.
            (_, Some(cached)) if !cached.launch => Decision::Content(cached.clone()),
            (Some(image), _) if image.build && !image.cache => Decision::Dropped("it is for build and not cached"),
            (Some(image), Some(cached)) if image.sha == cached.sha => {
                Decision::Content(LayerRecord { hoist: cached.hoist.clone(), ..image.clone() })
            }
            (Some(_), Some(_)) => Decision::Dropped("the cache and the previous image have different versions of it"),
            (Some(image), None) if image.cache => Decision::Dropped("it is not in the cache"),
            (Some(image), None) => Decision::Metadata(image.clone()),
            (None, Some(_)) if !platform_api.at_least(14) => {
                Decision::Dropped("there is no previous image that has it, which Platform API 0.14 does not ask for")
            }
            (None, Some(cached)) => Decision::Content(cached.clone()),
            (None, None) => continue,
        };
        decisions.push((name.clone(), decision));
    }
    decisions
}

/// Names come from a label that anyone may have written: one component, and none of the documents beside the layers.
pub(crate) fn is_layer_name(name: &str) -> bool {
    let reserved = matches!(name, "" | "." | ".." | "store" | "launch" | "build");
    !reserved && name.len() <= 200 && !name.contains(['/', '\0'])
}

/// The layers and the record that fits them, in the store or from where the cache is.
fn find(
    setup: &Setup<'_>,
    portable: Option<&OpenCache>,
    key: &LayerKey,
    record: &LayerRecord,
) -> Result<Option<(LayerRecord, Vec<Layer>)>, StoreError> {
    if let Some(portable) = portable {
        return portable.find(setup, key, record);
    }
    let ids: Vec<String> = diff_ids(record).iter().map(ToString::to_string).collect();
    let layers = find_layers(setup.store, &ids)?.filter(|layers| !layers.is_empty());
    Ok(layers.map(|layers| (record.clone(), layers)))
}

/// SBOM documents of layers whose metadata is back go beside the layers again: `<layer>.sbom.cdx.json`. Those of other layers, for
/// example of one for build that is not cached, MUST NOT be restored.
fn restore_sboms(
    setup: &Setup<'_>,
    before: &Before,
    ids: &[&str],
    writer: &UpperWriter,
    restored: &BTreeMap<LayerKey, RestoredLayer>,
    known: &BTreeSet<LayerKey>,
) -> Result<(), RestoreError> {
    let launch = before.previous.as_ref().and_then(|previous| previous.sbom.as_ref()).map(|layer| &layer.sha);
    let cache = before.cache.sbom.as_ref();
    let shared = before.shared.sbom.as_ref();
    for (sha, kind, is_shared) in [(shared, "cache", true), (cache, "cache", false), (launch, "launch", false)] {
        // A missing SBOM layer only means that buildpacks must write their documents again.
        let portable = before.portable.as_ref().filter(|_| kind == "cache" && !is_shared);
        let found = match (portable, sha.and_then(|sha| sha.parse::<DiffId>().ok())) {
            (Some(portable), _) => portable.sbom_layer(setup),
            (None, Some(diff_id)) => setup.store.layer(&diff_id),
            (None, None) => Ok(None),
        };
        let Ok(Some(layer)) = found else { continue };
        let tree = Tree::new(vec![layer.tree_dir()]);
        let root = setup.directories.layers_dir.join("sbom").join(kind);
        for id in ids {
            let key = |name: &str| ((*id).to_owned(), name.to_owned());
            let wanted = |name: &str| match kind {
                "cache" => restored.get(&key(name)).is_some_and(|layer| layer.shared == is_shared),
                _ => known.contains(&key(name)),
            };
            copy_sboms(&tree, &root.join(escape_id(id)), &setup.buildpack_layers_dir(id), writer, &wanted)
                .map_err(|source| RestoreError::Tree { buildpack: (*id).to_owned(), source })?;
        }
    }
    Ok(())
}

pub(crate) fn copy_sboms(
    tree: &Tree,
    from: &Path,
    to: &Path,
    writer: &UpperWriter,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), TreeError> {
    for (layer, node) in tree.list(from)? {
        let (Some(layer), Node::Directory(dirs)) = (layer.to_str(), node) else { continue };
        if !wanted(layer) || !is_layer_name(layer) {
            continue;
        }
        for (file, node) in crate::tree::list(&dirs)? {
            let (Some(file), Node::Other(path)) = (file.to_str(), node) else { continue };
            if file.starts_with("sbom.") {
                let content = crate::tree::read_regular(&path, &from.join(layer).join(file), MAX_SBOM_BYTES)?;
                writer.write(&to.join(format!("{layer}.{file}")), &content)?;
            }
        }
    }
    Ok(())
}
