//! `exporter`: makes the app image of what the builder left, writes it to its names, and leaves the cache and `<report>`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_events::{Event, Reporter};
use hoist_image::{DiffId, Digest};
use hoist_spec::{
    Analyzed as AnalyzedToml, BuildMetadata, BuildpackDescriptor, BuildpackInfo, DocumentError, Group, GroupBuildpack,
    LayerToml, Plan, ProjectMetadata, RunImage, StoreToml,
};

use crate::analyze::{AnalyzeRequest, Analyzed, look};
use crate::build::{Built, BuiltBuildpack, BuiltLayer};
use crate::buildpacks::Buildpack;
use crate::cache::diff_ids;
use crate::cache_folder::CacheFolder;
use crate::detect::Detected;
use crate::export::{ExportRequest, Launcher, export};
use crate::in_place::images::{
    EXPORT, ImagePhaseInputs, Passage, document_error, failed, fetch, names_of, read_group, run_images,
};
use crate::in_place::{PhaseError, io, read_document, read_optional, write_document};
use crate::place::{ImagePlace, same_name};
use crate::portable_cache::PortableCache;
use crate::restore::{Restored, is_layer_name};
use crate::sbom::{SbomContent, SbomFile, SbomKind};
use crate::setup::Setup;
use crate::tree::{Node, Tree};

/// Larger than any real document of a buildpack.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// The phase `exporter`: makes the app image, writes it to its names, leaves the cache and `<report>`.
pub fn run_exporter(inputs: &ImagePhaseInputs, place: &ImagePlace, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    export_image(inputs, place, &Passage::open()?, reporter)
}

pub(super) fn export_image(
    inputs: &ImagePhaseInputs,
    place: &ImagePlace,
    passage: &Passage,
    reporter: &dyn Reporter,
) -> Result<(), PhaseError> {
    let group = read_group(inputs)?;
    let analyzed = read_document(&inputs.analyzed_path, AnalyzedToml::parse)?;
    let project = read_optional(&inputs.project_metadata_path, ProjectMetadata::parse)?.unwrap_or_default();
    let metadata = read_document(&inputs.layers_dir.join("config/metadata.toml"), BuildMetadata::parse)?;
    let program = fs::read(&inputs.launcher_path).map_err(|source| io("reading", &inputs.launcher_path, source))?;
    let digest = Digest::of(&program).to_string();
    let setup = passage.setup(inputs, reporter);
    let buildpacks = read_buildpacks(&setup, &group)?;
    let restored = restored(&setup, inputs, place, &group, &analyzed)?;
    bring_previous_layers(&setup, place, &buildpacks, &restored, &analyzed)?;
    let sboms = read_sboms(&setup, &inputs.launcher_sbom_dir)?;
    let built = Built { restored, buildpacks, metadata, sboms };
    let request = ExportRequest {
        names: Vec::new(),
        launcher: Launcher { program: &program, digest: &digest, version: &inputs.version },
        default_process: inputs.process_type.clone(),
        project,
        app_fingerprint: None,
        share_layers: false,
        created: inputs.created.clone(),
    };
    let exported = export(&setup, &built, &request)?;
    let written = place.write(&exported.image, &inputs.images).map_err(failed(EXPORT))?;
    for tag in &written.tags {
        reporter.report(&Event::ImageWritten {
            reference: tag.clone(),
            image_id: written.image_id.clone().unwrap_or_else(|| exported.image.id().to_string()),
            layers: exported.image.diff_ids().len(),
            reused: exported.reused,
        });
    }
    let mut report = exported.report;
    report.image.image_id = written.image_id;
    report.image.tags = written.tags;
    write_document(&inputs.report_path, report.write())
}

/// The phases before, as far as the exporter needs to know of them: the images and what is cached. Nothing is restored, because everything
/// is on the file system.
fn restored(
    setup: &Setup<'_>,
    inputs: &ImagePhaseInputs,
    place: &ImagePlace,
    group: &Group,
    document: &AnalyzedToml,
) -> Result<Restored, PhaseError> {
    let found = document.run_image.clone().unwrap_or_default();
    if found.reference.is_empty() {
        return Err(PhaseError::NoRunImage { path: inputs.analyzed_path.clone(), code: EXPORT });
    }
    let run_image = fetch(place, setup.store, &found.reference, EXPORT)?;
    let request = AnalyzeRequest {
        previous: None,
        run_image,
        run_image_names: names_for_label(&run_images(inputs)?, place, found.image.as_deref()),
        cache_key: None,
        portable_cache: inputs.cache_dir.as_ref().map(|dir| PortableCache::Folder(CacheFolder::new(dir))),
        launch_cache: inputs.launch_cache_dir.as_ref().map(CacheFolder::new),
        shared: None,
    };
    let mut analyzed: Analyzed = look(setup, request)?;
    analyzed.run_image_reference = found.reference;
    let previous = document.image.as_ref().map(|image| image.reference.as_str()).unwrap_or_default();
    if !previous.is_empty() {
        let metadata = document.lifecycle_metadata().map_err(document_error(&inputs.analyzed_path))?;
        analyzed.before.previous = Some(metadata);
    }
    let group = group.group.iter().map(buildpack_of).collect();
    let lease = setup.store.lease().map_err(PhaseError::Store)?;
    let detected = Detected { analyzed, group, plan: Plan::default() };
    Ok(Restored { detected, layers: BTreeMap::new(), dirs: Vec::new(), _lease: lease })
}

/// Platform.md, "Run Image Resolution": the names of the entry that has the run image, else those of the first.
fn names_for_label(images: &[RunImage], place: &ImagePlace, run_image: Option<&str>) -> RunImage {
    let is_it = |image: &&RunImage| {
        let wanted = run_image.unwrap_or_default();
        let parsed = wanted.parse().ok();
        names_of(image)
            .any(|name| place.name(&name) == wanted || parsed.as_ref().is_some_and(|other| same_name(&name, other)))
    };
    images.iter().find(is_it).or(images.first()).cloned().unwrap_or_default()
}

/// A buildpack of the group as far as an export needs it.
fn buildpack_of(member: &GroupBuildpack) -> Buildpack {
    let info = BuildpackInfo {
        id: member.id.clone(),
        version: member.version.clone(),
        homepage: member.homepage.clone(),
        ..BuildpackInfo::default()
    };
    let descriptor = BuildpackDescriptor {
        api: member.api,
        buildpack: info,
        targets: Vec::new(),
        stacks: Vec::new(),
        order: Vec::new(),
        metadata: toml::Table::new(),
    };
    Buildpack { descriptor, dir: PathBuf::new() }
}

/// Brings the layers into the store that buildpacks left to the previous image: from the launch cache, or else with the whole of that image,
/// which is fetched for nothing else.
fn bring_previous_layers(
    setup: &Setup<'_>,
    place: &ImagePlace,
    buildpacks: &[BuiltBuildpack],
    restored: &Restored,
    document: &AnalyzedToml,
) -> Result<(), PhaseError> {
    let before = &restored.detected.analyzed.before;
    let Some(previous) = &before.previous else { return Ok(()) };
    let tree = Tree::new(vec!["/".into()]);
    let mut wanted: Vec<DiffId> = Vec::new();
    for buildpack in buildpacks {
        let Some(known) = previous.buildpack(&buildpack.id) else { continue };
        for layer in buildpack.layers.iter().filter(|layer| layer.toml.types().launch) {
            let dir = setup.buildpack_layers_dir(&buildpack.id).join(&layer.name);
            if !tree.is_dir(&dir).map_err(PhaseError::Layers)?
                && let Some(record) = known.layers.get(&layer.name)
            {
                wanted.extend(diff_ids(record));
            }
        }
    }
    let cached = |diff_id: &DiffId| {
        let folder = before.launch_cache.as_ref();
        matches!(folder.map(|folder| folder.load(setup.store, diff_id)), Some(Ok(Some(_))))
    };
    if wanted.iter().all(cached) {
        return Ok(());
    }
    let reference = document.image.as_ref().map(|image| image.reference.as_str()).unwrap_or_default();
    fetch(place, setup.store, reference, EXPORT).map(|_| ())
}

/// What the buildpacks left in `<layers>`.
fn read_buildpacks(setup: &Setup<'_>, group: &Group) -> Result<Vec<BuiltBuildpack>, PhaseError> {
    let tree = Tree::new(vec!["/".into()]);
    let mut buildpacks = Vec::with_capacity(group.group.len());
    for member in &group.group {
        let dir = setup.buildpack_layers_dir(&member.id);
        let mut layers = Vec::new();
        for (file, node) in tree.list(&dir).map_err(PhaseError::Layers)? {
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".toml")) else { continue };
            if matches!(node, Node::Directory(_)) || !is_layer_name(name) {
                continue;
            }
            if let Some(toml) = read_left(&tree, &dir.join(&file), LayerToml::parse)? {
                layers.push(BuiltLayer { name: name.to_owned(), toml, why: None });
            }
        }
        let store = read_left(&tree, &dir.join("store.toml"), StoreToml::parse)?;
        buildpacks.push(BuiltBuildpack { id: member.id.clone(), version: member.version.clone(), layers, store });
    }
    Ok(buildpacks)
}

fn read_left<T>(
    tree: &Tree,
    path: &Path,
    parse: fn(&str) -> Result<T, DocumentError>,
) -> Result<Option<T>, PhaseError> {
    let text = tree.read_text(path, MAX_DOCUMENT_BYTES).map_err(PhaseError::Layers)?;
    text.map(|text| parse(&text).map_err(document_error(path))).transpose()
}

/// The SBOM documents that the builder collected, and those of the launcher.
fn read_sboms(setup: &Setup<'_>, launcher_sbom_dir: &Path) -> Result<Vec<SbomFile>, PhaseError> {
    let tree = Tree::new(vec!["/".into()]);
    let mut sboms = Vec::new();
    for kind in [SbomKind::Launch, SbomKind::Cache] {
        let dir = setup.directories.layers_dir.join("sbom").join(kind.dir_name());
        let mut waiting = vec![PathBuf::new()];
        while let Some(below) = waiting.pop() {
            for (name, node) in tree.list(&dir.join(&below)).map_err(PhaseError::Sbom)? {
                match node {
                    Node::Directory(_) => waiting.push(below.join(name)),
                    Node::Other(path) => {
                        sboms.push(SbomFile { kind, path: below.join(name), content: SbomContent::Host(path) });
                    }
                }
            }
        }
    }
    for format in ["cdx", "spdx", "syft"] {
        let path = launcher_sbom_dir.join(format!("launcher.sbom.{format}.json"));
        if path.is_file() {
            let place = Path::new("buildpacksio_lifecycle/launcher").join(format!("sbom.{format}.json"));
            sboms.push(SbomFile { kind: SbomKind::Launch, path: place, content: SbomContent::Host(path) });
        }
    }
    sboms.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    Ok(sboms)
}
