//! The layers of the buildpacks: which go into the image, which into the cache, and which of them must be made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hoist_events::{Destination, LayerAction};
use hoist_image::{Attributes, DiffId, Digest, Kind, Layer, LayerBuilder};
use hoist_spec::{BuildpackLayers, LayerRecord, LifecycleMetadata, SplitLayer, SplitPart, StoreRecord};

use crate::at_once::at_once;
use crate::build::{Built, BuiltBuildpack, BuiltLayer};
use crate::cache::{CacheRecord, diff_ids, find_layers};
use crate::cache_error::CacheError;
use crate::content::{Change, Content, ContentError, Maker, Source, changes};
use crate::export::ExportError;
use crate::layer_events::Told;
use crate::portable_cache;
use crate::restore::RestoredLayer;
use crate::setup::Setup;
use crate::split;

/// A layer of the image to come.
#[derive(Debug, Clone)]
pub(crate) struct ImageLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) created_by: String,
    pub(crate) reused: bool,
}

/// An export under way.
pub(crate) struct Exporting<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) built: &'a Built,
    pub(crate) layers: Vec<ImageLayer>,
    pub(crate) metadata: LifecycleMetadata,
}

impl<'a> Exporting<'a> {
    pub(crate) fn new(setup: &'a Setup<'a>, built: &'a Built) -> Self {
        Self { setup, built, layers: Vec::new(), metadata: LifecycleMetadata::default() }
    }

    pub(crate) fn push(&mut self, diff_id: DiffId, created_by: &str, reused: bool) {
        self.layers.push(ImageLayer { diff_id, created_by: created_by.to_owned(), reused });
    }
}

/// Container engines stop here.
const MAX_LAYERS: usize = 127;
/// Where a layer may be divided some room is left for whoever builds upon the image.
const MAX_IMAGE_LAYERS: usize = 110;

/// An image that no engine would take is not made: a buildpack can leave any number of layers.
pub(crate) fn check_count(exporting: &Exporting<'_>) -> Result<(), ExportError> {
    let layers = whole_layers(exporting) + split_layers(exporting);
    if layers > MAX_LAYERS {
        return Err(ExportError::TooManyLayers { layers, limit: MAX_LAYERS });
    }
    Ok(())
}

fn launch_layers<'a>(exporting: &Exporting<'a>) -> impl Iterator<Item = &'a BuiltLayer> {
    exporting.built.buildpacks.iter().flat_map(|buildpack| &buildpack.layers).filter(|layer| layer.toml.types().launch)
}

fn split_layers(exporting: &Exporting<'_>) -> usize {
    launch_layers(exporting).filter(|layer| layer.toml.hoist_split().is_some()).count()
}

/// The layers of the run image, of buildpacks as far as they stay whole, of the app, and the five of the lifecycle's own.
fn whole_layers(exporting: &Exporting<'_>) -> usize {
    let built = exporting.built;
    let run = built.restored.detected.analyzed.run_image.diff_ids().len();
    let whole = launch_layers(exporting).count() - split_layers(exporting);
    run + whole + built.metadata.slices.len() + 5
}

/// Takes the buildpacks' layers into the image and the cache.
pub(crate) fn export(exporting: &mut Exporting<'_>, cache: &mut CacheRecord) -> Result<(), ExportError> {
    let built = exporting.built;
    let split_budget = split_budget(exporting);
    for buildpack in &built.buildpacks {
        let version = buildpack.version.clone();
        let mut in_image = BuildpackLayers { key: buildpack.id.clone(), version, ..BuildpackLayers::default() };
        in_image.store = buildpack.store.as_ref().map(StoreRecord::new);
        let mut in_cache = BuildpackLayers { store: None, ..in_image.clone() };
        for layer in &buildpack.layers {
            let types = layer.toml.types();
            if !types.launch && !types.cache {
                continue;
            }
            let Some(exported) = export_layer(exporting, buildpack, layer, split_budget)? else { continue };
            if types.cache {
                in_cache.layers.insert(layer.name.clone(), exported.record.clone());
            }
            if types.launch {
                let groups = exported.record.hoist.as_ref().map(|split| split.layers.as_slice()).unwrap_or_default();
                for (at, (part, reused)) in exported.parts.iter().enumerate() {
                    // As the Go lifecycle writes it; of a split layer also which part this is.
                    let group = groups.get(at).map(|part| format!(" ({})", part.group)).unwrap_or_default();
                    let created_by = format!(
                        "Layer: '{}'{group}, Created by buildpack: {}@{}",
                        layer.name, buildpack.id, buildpack.version
                    );
                    exporting.push(*part, &created_by, *reused);
                }
                in_image.layers.insert(layer.name.clone(), exported.record);
            }
        }
        exporting.metadata.buildpacks.push(in_image);
        cache.buildpacks.push(in_cache);
    }
    Ok(())
}

/// How many OCI layers one split layer may become.
fn split_budget(exporting: &Exporting<'_>) -> usize {
    MAX_IMAGE_LAYERS.saturating_sub(whole_layers(exporting)) / split_layers(exporting).max(1)
}

/// A layer as it stands in the store.
struct ExportedLayer {
    record: LayerRecord,
    /// Its OCI layers, lowest first, and whether they were there before.
    parts: Vec<(DiffId, bool)>,
}

fn export_layer(
    exporting: &Exporting<'_>,
    buildpack: &BuiltBuildpack,
    layer: &BuiltLayer,
    split_budget: usize,
) -> Result<Option<ExportedLayer>, ExportError> {
    let setup = exporting.setup;
    let dir = setup.buildpack_layers_dir(&buildpack.id).join(&layer.name);
    let failed = |source: ContentError| ExportError::Layer {
        owner: buildpack.id.clone(),
        layer: layer.name.clone(),
        source: Box::new(source),
    };
    let key = (buildpack.id.clone(), layer.name.clone());
    let restored = exporting.built.restored.layers.get(&key);
    let stored: &[Layer] = restored.map_or(&[], |restored| &restored.layers);
    match changes(&setup.root.upper_dir, &dir, stored).map_err(failed)? {
        Change::None => {
            let Some(restored) = restored.filter(|restored| same_split(restored, layer)) else {
                let content = whole(stored, &dir).map_err(failed)?;
                return make(exporting, buildpack, layer, &dir, &content, restored, split_budget)
                    .map(Some)
                    .map_err(failed);
            };
            Ok(Some(reuse(setup, buildpack, layer, &restored.record, &restored.layers, "the build did not touch it")))
        }
        Change::Content(content) => {
            make(exporting, buildpack, layer, &dir, &content, restored, split_budget).map(Some).map_err(failed)
        }
        Change::Gone if layer.toml.types().launch => without_content(exporting, buildpack, layer).map(Some),
        Change::Gone => {
            let text = format!("layer `{}` of {} has cache = true, but no content", layer.name, buildpack.id);
            setup.reporter.warn(&text, Some("it is not cached"));
            Ok(None)
        }
    }
}

/// A layer is only taken over as it is if it was divided as it is to be divided now.
fn same_split(restored: &RestoredLayer, layer: &BuiltLayer) -> bool {
    restored.record.hoist.is_some() == (layer.toml.hoist_split() == Some("distributions"))
}

fn whole(stored: &[Layer], dir: &Path) -> Result<Content, ContentError> {
    let mut content = Content { touched: 1, ..Content::default() };
    for (index, layer) in stored.iter().enumerate() {
        for entry in layer.entries()? {
            let entry = entry?;
            if entry.path.starts_with(dir) {
                content.entries.insert(entry.path.clone(), Source::Stored { layer: index, entry });
            }
        }
    }
    Ok(content)
}

/// "a launch layer without content is taken from the previous image".
fn without_content(
    exporting: &Exporting<'_>,
    buildpack: &BuiltBuildpack,
    layer: &BuiltLayer,
) -> Result<ExportedLayer, ExportError> {
    let (id, name) = (buildpack.id.clone(), layer.name.clone());
    if layer.toml.types().cache {
        return Err(ExportError::CachedWithoutContent { buildpack: id, layer: name });
    }
    let previous = exporting.built.restored.detected.analyzed.previous();
    let record = previous.and_then(|previous| previous.buildpack(&id)?.layers.get(&name));
    let Some(record) = record else { return Err(ExportError::NoContent { buildpack: id, layer: name }) };
    let ids: Vec<String> = diff_ids(record).iter().map(ToString::to_string).collect();
    let found = find_layers(exporting.setup.store, &ids).map_err(ExportError::Store)?;
    let found = match found {
        None if from_launch_cache(exporting, record)? => {
            find_layers(exporting.setup.store, &ids).map_err(ExportError::Store)?
        }
        found => found,
    };
    let Some(found) = found.filter(|found| !found.is_empty()) else {
        return Err(ExportError::NoContent { buildpack: id, layer: name });
    };
    Ok(reuse(exporting.setup, buildpack, layer, record, &found, "it is taken from the previous image"))
}

/// Whether the layers are in the store after the launch cache was asked for them.
fn from_launch_cache(exporting: &Exporting<'_>, record: &LayerRecord) -> Result<bool, ExportError> {
    let Some(folder) = &exporting.built.restored.detected.analyzed.before.launch_cache else { return Ok(false) };
    for diff_id in diff_ids(record) {
        match folder.load(exporting.setup.store, &diff_id) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(CacheError::Store { source, .. }) => return Err(ExportError::Store(source)),
            Err(error) => {
                portable_cache::warn(exporting.setup, &error, "the layer is not used");
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn reuse(
    setup: &Setup<'_>,
    buildpack: &BuiltBuildpack,
    layer: &BuiltLayer,
    record: &LayerRecord,
    stored: &[Layer],
    reason: &str,
) -> ExportedLayer {
    let parts: Vec<(DiffId, bool)> = diff_ids(record).into_iter().map(|diff_id| (diff_id, true)).collect();
    setup.counters.layers_reused(parts.len());
    let size_bytes = Some(stored.iter().map(Layer::size_bytes).sum());
    let (action, reason) = (LayerAction::Reused, reason.to_owned());
    told(buildpack, layer, action, reason, size_bytes, None).report(setup);
    let mut new = LayerRecord::new(record.sha.clone(), &layer.toml);
    new.hoist.clone_from(&record.hoist);
    ExportedLayer { record: new, parts }
}

/// Makes a layer of what the build left, as one OCI layer or several.
fn make(
    exporting: &Exporting<'_>,
    buildpack: &BuiltBuildpack,
    layer: &BuiltLayer,
    dir: &Path,
    content: &Content,
    restored: Option<&RestoredLayer>,
    split_budget: usize,
) -> Result<ExportedLayer, ContentError> {
    let (setup, started) = (exporting.setup, Some(Instant::now()));
    let stored: &[Layer] = restored.map_or(&[], |restored| &restored.layers);
    let maker = Maker { user: setup.user, counters: &setup.counters, restored: stored, adopt: !setup.is_in_place() };
    let reason = why_made(exporting, buildpack, layer, (!stored.is_empty()).then_some(content.touched));
    if layer.toml.hoist_split() != Some("distributions") {
        let paths = content.entries.keys().collect();
        let made = maker.make(begin(setup, &buildpack.id)?, content, &paths)?;
        told(buildpack, layer, LayerAction::Made, reason, Some(made.size_bytes()), started).report(setup);
        let record = LayerRecord::new(made.diff_id().to_string(), &layer.toml);
        return Ok(ExportedLayer { record, parts: vec![(made.diff_id(), false)] });
    }
    let groups = split::by_distribution(content, stored, dir, split_budget)?.into_iter().collect::<Vec<_>>();
    let old = old_groups(restored)?;
    let made = make_groups(content, &groups, &old, |paths| maker.make(begin(setup, &buildpack.id)?, content, paths))?;
    let mut split = SplitLayer::default();
    let mut parts = Vec::new();
    let mut size_bytes = 0;
    for ((group, _), part) in groups.into_iter().zip(made) {
        let (diff_id, reused) = match part {
            Part::Kept(diff_id) => (diff_id, true),
            Part::Made(layer) => {
                size_bytes += layer.size_bytes();
                (layer.diff_id(), false)
            }
        };
        setup.counters.layers_reused(usize::from(reused));
        split.layers.push(SplitPart { group, sha: diff_id.to_string() });
        parts.push((diff_id, reused));
    }
    let kept = parts.iter().filter(|(_, reused)| *reused).count();
    let reason = format!("{reason}; {kept} of its {} OCI layers are kept", parts.len());
    told(buildpack, layer, LayerAction::Made, reason, Some(size_bytes), started).report(setup);
    let mut record = LayerRecord::new(split_sha(&split), &layer.toml);
    record.hoist = Some(split);
    Ok(ExportedLayer { record, parts })
}

fn told<'a>(
    buildpack: &'a BuiltBuildpack,
    layer: &'a BuiltLayer,
    action: LayerAction,
    reason: String,
    size_bytes: Option<u64>,
    started: Option<Instant>,
) -> Told<'a> {
    let types = layer.toml.types();
    let destination = Destination { image: types.launch, cache: types.cache };
    Told { buildpack: &buildpack.id, layer: &layer.name, action, reason, size_bytes, destination, started }
}

/// Why a layer was made: in its buildpack's own words where it has any. `touched` counts the files of a restored layer that the build wrote.
fn why_made(
    exporting: &Exporting<'_>,
    buildpack: &BuiltBuildpack,
    layer: &BuiltLayer,
    touched: Option<usize>,
) -> String {
    let seen = match touched {
        Some(1) => "the build touched 1 of its files".to_owned(),
        Some(count) => format!("the build touched {count} of its files"),
        None => {
            let previous = exporting.built.restored.detected.analyzed.previous();
            let before = previous.and_then(|previous| previous.buildpack(&buildpack.id)?.layers.get(&layer.name));
            match before {
                None => "it was not there before".to_owned(),
                Some(record) if !record.cache => "it is not cached, and its buildpack made it again".to_owned(),
                Some(_) => "its content was not there for the buildpack".to_owned(),
            }
        }
    };
    match &layer.why {
        Some(why) => format!("{why}; {seen}"),
        None => seen,
    }
}

/// One layer of the parts of a layer: the layer that it would be if hoist did not divide it.
pub(crate) fn join(setup: &Setup<'_>, buildpack: &str, layer: &str, parts: &[Layer]) -> Result<Layer, ContentError> {
    let content = whole(parts, &setup.buildpack_layers_dir(buildpack).join(layer))?;
    let maker = Maker { user: setup.user, counters: &setup.counters, restored: parts, adopt: false };
    maker.make(begin(setup, buildpack)?, &content, &content.entries.keys().collect())
}

fn begin(setup: &Setup<'_>, buildpack: &str) -> Result<LayerBuilder, ContentError> {
    let mut builder = setup.store.layer_builder()?;
    let user = Attributes::new(setup.user.uid, setup.user.gid, 0o755);
    builder.parent(&setup.directories.layers_dir, user)?;
    builder.parent(setup.buildpack_layers_dir(buildpack), user)?;
    Ok(builder)
}

/// What stands in the label for a layer that is several: a digest over the list.
pub(crate) fn split_sha(split: &SplitLayer) -> String {
    let lines: Vec<String> = split.layers.iter().map(|part| format!("{} {}", part.group, part.sha)).collect();
    Digest::of(lines.join("\n").as_bytes()).to_string()
}

/// An OCI layer of a divided one.
enum Part {
    Kept(DiffId),
    Made(Layer),
}

/// The layer of each group in their order: the old one where nothing of it changed, the others made at once, the largest first, so that no processor is
/// left with it at the end.
fn make_groups(
    content: &Content,
    groups: &[(String, BTreeSet<&PathBuf>)],
    old: &BTreeMap<String, OldGroup>,
    make: impl Fn(&BTreeSet<&PathBuf>) -> Result<Layer, ContentError> + Sync,
) -> Result<Vec<Part>, ContentError> {
    let mut parts = BTreeMap::new();
    let mut new = Vec::new();
    for (at, (group, paths)) in groups.iter().enumerate() {
        match old.get(group).filter(|old| old.unchanged(content, paths)) {
            Some(old) => drop(parts.insert(at, Part::Kept(old.diff_id))),
            None => new.push((at, paths)),
        }
    }
    let size_bytes = |paths: &BTreeSet<&PathBuf>| -> u64 {
        paths.iter().filter_map(|path| content.entries.get(*path)).map(Source::size_bytes).sum()
    };
    new.sort_by_cached_key(|(at, paths)| (std::cmp::Reverse(size_bytes(paths)), *at));
    for ((at, _), made) in new.iter().zip(at_once(&new, |(_, paths)| make(paths))) {
        parts.insert(*at, Part::Made(made?));
    }
    Ok(parts.into_values().collect())
}

/// A group of the restored layer: which of the restored layers it is, and how many files and empty directories it has.
struct OldGroup {
    diff_id: DiffId,
    index: usize,
    members: usize,
}

impl OldGroup {
    /// Whether the group consists of the same, unchanged files.
    fn unchanged(&self, content: &Content, paths: &BTreeSet<&PathBuf>) -> bool {
        let from_here = |path: &PathBuf| match content.entries.get(path) {
            // A directory stands in several groups and is found in the last of them.
            Some(Source::Stored { entry, .. }) if entry.kind == Kind::Directory => true,
            Some(Source::Stored { layer, .. }) => *layer == self.index,
            _ => false,
        };
        let on_the_way = |path: &PathBuf| {
            path.ancestors().skip(1).all(|dir| !matches!(content.entries.get(dir), Some(Source::Host { .. })))
        };
        // Neighbours share their folders.
        let mut looked_at = None;
        paths.len() == self.members
            && paths.iter().all(|path| {
                let is_new_folder = std::mem::replace(&mut looked_at, path.parent()) != path.parent();
                from_here(path) && (!is_new_folder || on_the_way(path))
            })
    }
}

fn old_groups(restored: Option<&RestoredLayer>) -> Result<BTreeMap<String, OldGroup>, ContentError> {
    let mut groups = BTreeMap::new();
    let Some((restored, split)) = restored.and_then(|restored| Some((restored, restored.record.hoist.as_ref()?)))
    else {
        return Ok(groups);
    };
    for (index, (part, layer)) in split.layers.iter().zip(&restored.layers).enumerate() {
        let mut entries: Vec<(PathBuf, bool)> = Vec::new();
        for entry in layer.entries()? {
            let entry = entry?;
            entries.push((entry.path.clone(), entry.kind == Kind::Directory));
        }
        groups.insert(part.group.clone(), OldGroup { diff_id: layer.diff_id(), index, members: members(&entries) });
    }
    Ok(groups)
}

/// Entries that are members of a group: all but the directories that are only on the way to others.
fn members(entries: &[(PathBuf, bool)]) -> usize {
    let on_the_way = |at: usize| {
        let (path, _) = &entries[at];
        entries.get(at + 1).is_some_and(|(next, _)| next.starts_with(path))
    };
    (0..entries.len()).filter(|at| !entries[*at].1 || !on_the_way(*at)).count()
}
