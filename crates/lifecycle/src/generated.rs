//! Layers that are not a buildpack's: SBOM documents, the app, the launcher, its configuration, the process types.
//!
//! Each is made from input whose digest is small work; the cache record says what was made of it, so that an unchanged one is not made
//! again.

use std::path::Path;
use std::time::Instant;

use hoist_events::{Destination, LayerAction};
use hoist_image::{Attributes, DiffId, Hasher, Layer, LayerBuilder, LayerError};
use hoist_spec::LayerSha;

use crate::app;
use crate::buildpack_layers::Exporting;
use crate::cache::{CacheRecord, MadeFrom};
use crate::content::{ContentError, upper_metadata};
use crate::export::{ExportError, ExportRequest, config_dir};
use crate::layer_events::Told;
use crate::sbom::SbomKind;
use crate::tree::Tree;

/// Where the launcher is.
pub(crate) const LAUNCHER_PATH: &str = "/cnb/lifecycle/launcher";
/// Where the links to the launcher are.
pub(crate) const PROCESS_DIR: &str = "/cnb/process";

/// Takes a layer from the cache or makes it; answers its diffID and whether it was there.
fn made_or_reused(
    exporting: &Exporting<'_>,
    cache: &mut CacheRecord,
    what: &'static str,
    input: String,
    fill: impl FnOnce(&mut LayerBuilder) -> Result<(), LayerError>,
) -> Result<(DiffId, bool), ExportError> {
    let setup = exporting.setup;
    let started = Instant::now();
    let before = &exporting.built.restored.detected.analyzed.before.cache;
    let known = before.made_from(setup.store, what, &input).map_err(ExportError::Store)?;
    let failed = |source: LayerError| ExportError::Generated { layer: what, source: Box::new(source) };
    let (layer, reused) = if let Some([layer]) = known.as_deref() {
        setup.counters.layers_reused(1);
        (layer.clone(), true)
    } else {
        let mut builder = setup.store.layer_builder().map_err(ExportError::Store)?;
        fill(&mut builder).map_err(failed)?;
        let layer = builder.finish().map_err(failed)?;
        setup.counters.layer_hashed();
        setup.counters.read(layer.content_bytes());
        (layer, false)
    };
    let reason = if reused { "its input is the same" } else { "its input is new" };
    say(exporting, what, &layer, reused, reason, started);
    cache.made_from.insert(what.to_owned(), MadeFrom { input, diff_ids: vec![layer.diff_id().to_string()] });
    Ok((layer.diff_id(), reused))
}

fn say(exporting: &Exporting<'_>, what: &str, layer: &Layer, reused: bool, reason: &str, started: Instant) {
    let action = if reused { LayerAction::Reused } else { LayerAction::Made };
    let in_cache = what == SbomKind::Cache.layer_name();
    let told = Told {
        buildpack: "",
        layer: what,
        action,
        reason: reason.to_owned(),
        size_bytes: Some(layer.size_bytes()),
        destination: Destination { image: !in_cache, cache: in_cache },
        started: (!reused).then_some(started),
    };
    told.report(exporting.setup);
}

/// A digest over several parts; the length of each is part of it.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Hasher::default();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish().0.to_string()
}

fn user(exporting: &Exporting<'_>, mode: u32) -> Attributes {
    Attributes::new(exporting.setup.user.uid, exporting.setup.user.gid, mode)
}

/// `<layers>/sbom/launch` for the image and `<layers>/sbom/cache` for the cache.
pub(crate) fn sboms(exporting: &mut Exporting<'_>, cache: &mut CacheRecord) -> Result<(), ExportError> {
    for kind in [SbomKind::Launch, SbomKind::Cache] {
        let what = kind.layer_name();
        let sbom_dir = exporting.setup.directories.layers_dir.join("sbom");
        let dir = sbom_dir.join(kind.dir_name());
        let mut files = Vec::new();
        for file in exporting.built.sboms.iter().filter(|file| file.kind == kind) {
            let path = dir.join(&file.path);
            let content = file.read(&path).map_err(|source| ExportError::Layer {
                owner: "the SBOM documents".to_owned(),
                layer: what.to_owned(),
                source: Box::new(ContentError::Tree(source)),
            })?;
            files.push((path, content));
        }
        if files.is_empty() {
            continue;
        }
        let owner = format!("{}:{}", exporting.setup.user.uid, exporting.setup.user.gid);
        let parts = files
            .iter()
            .flat_map(|(path, content)| [std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()), content.as_slice()]);
        let parts: Vec<&[u8]> = std::iter::once(owner.as_bytes()).chain(parts).collect();
        let (folder, plain) = (user(exporting, 0o755), user(exporting, 0o644));
        let (diff_id, reused) = made_or_reused(exporting, cache, what, digest(&parts), |builder| {
            for (path, _) in &files {
                for ancestor in path.ancestors().skip(1).filter(|a| *a != Path::new("/")) {
                    builder.parent(ancestor, folder)?;
                }
            }
            for (path, content) in &files {
                builder.file(path, plain, &mut content.as_slice(), content.len() as u64)?;
            }
            Ok(())
        })?;
        if kind == SbomKind::Launch {
            exporting.push(diff_id, "Software Bill-of-Materials", reused);
            exporting.metadata.sbom = Some(LayerSha { sha: diff_id.to_string() });
        } else {
            cache.sbom = Some(diff_id.to_string());
        }
    }
    Ok(())
}

/// The app. It is taken over unread where the platform knows that the staged app is the same, and the build wrote the same into it as the last one, or
/// nothing.
pub(crate) fn app(
    exporting: &mut Exporting<'_>,
    cache: &mut CacheRecord,
    request: &ExportRequest<'_>,
) -> Result<(), ExportError> {
    let setup = exporting.setup;
    let started = Instant::now();
    let app_dir = &setup.directories.app_dir;
    let slices = &exporting.built.metadata.slices;
    let failed = |source: ContentError| ExportError::Layer {
        owner: "the app".to_owned(),
        layer: app_dir.display().to_string(),
        source: Box::new(source),
    };
    let (found, hidden) =
        upper_metadata(&setup.root.upper_dir, app_dir, true).map_err(|source| failed(source.into()))?;
    let written = match found {
        None if !hidden => Some(String::new()),
        Some(about) if about.is_dir() && !hidden && request.app_fingerprint.is_some() => {
            app::written(&setup.root.upper_dir, app_dir).map_err(failed)?
        }
        _ => None,
    };
    let input = request.app_fingerprint.as_ref().zip(written).map(|(fingerprint, written)| {
        let patterns = format!("{slices:?}");
        let place = format!("{}:{} {}", setup.user.uid, setup.user.gid, app_dir.display());
        digest(&[fingerprint.as_bytes(), patterns.as_bytes(), place.as_bytes(), written.as_bytes()])
    });
    let before = &exporting.built.restored.detected.analyzed.before.cache;
    let known = match &input {
        Some(input) => before.made_from(setup.store, "app", input).map_err(ExportError::Store)?,
        None => None,
    };
    let was: Vec<String> = before.made_from.get("app").map(|made| made.diff_ids.clone()).unwrap_or_default();
    let unread = known.is_some();
    let layers = if let Some(layers) = known {
        setup.counters.layers_reused(layers.len());
        layers
    } else {
        let content = app::read(&Tree::new(setup.overlay_dirs(&[])), app_dir).map_err(failed)?;
        let parts = app::slice(&content, app_dir, slices)?;
        app::make(setup, &content, &parts).map_err(failed)?
    };
    for (number, layer) in layers.iter().enumerate() {
        let created_by = if slices.is_empty() {
            "Application Layer".to_owned()
        } else {
            format!("Application Slice: {}", number + 1)
        };
        let reused = unread || was.contains(&layer.diff_id().to_string());
        let reason = match (unread, reused) {
            (true, _) => "its input is the same",
            (false, true) => "it was read again, and its files are the same",
            (false, false) => "its input is new",
        };
        say(exporting, &created_by, layer, reused, reason, started);
        exporting.push(layer.diff_id(), &created_by, reused);
        exporting.metadata.app.push(LayerSha { sha: layer.diff_id().to_string() });
    }
    let diff_ids = layers.iter().map(|layer| layer.diff_id().to_string()).collect();
    cache.made_from.insert("app".to_owned(), MadeFrom { input: input.unwrap_or_default(), diff_ids });
    Ok(())
}

/// `/cnb/lifecycle/launcher`.
pub(crate) fn launcher(
    exporting: &mut Exporting<'_>,
    cache: &mut CacheRecord,
    request: &ExportRequest<'_>,
) -> Result<(), ExportError> {
    let program = request.launcher.program;
    let input = request.launcher.digest.to_owned();
    let (diff_id, reused) = made_or_reused(exporting, cache, "launcher", input, |builder| {
        let root = Attributes::root(0o755);
        builder.file(LAUNCHER_PATH, root, &mut &*program, program.len() as u64)?;
        Ok(())
    })?;
    exporting.push(diff_id, "Buildpacks Application Launcher", reused);
    exporting.metadata.launcher = LayerSha { sha: diff_id.to_string() };
    Ok(())
}

/// `<layers>/config/metadata.toml`, which the launcher reads.
pub(crate) fn config(exporting: &mut Exporting<'_>, cache: &mut CacheRecord) -> Result<(), ExportError> {
    let text = exporting.built.metadata.write();
    let dir = config_dir(exporting.setup);
    let (folder, plain) = (user(exporting, 0o755), user(exporting, 0o644));
    let place = format!("{}:{} {}", folder.uid, folder.gid, dir.display());
    let input = digest(&[place.as_bytes(), text.as_bytes()]);
    let layers_dir = exporting.setup.directories.layers_dir.clone();
    let (diff_id, reused) = made_or_reused(exporting, cache, "config", input, |builder| {
        builder.parent(&layers_dir, folder)?;
        builder.directory(&dir, folder)?;
        builder.file(dir.join("metadata.toml"), plain, &mut text.as_bytes(), text.len() as u64)?;
        Ok(())
    })?;
    exporting.push(diff_id, "Buildpacks Launcher Config", reused);
    exporting.metadata.config = LayerSha { sha: diff_id.to_string() };
    Ok(())
}

/// `/cnb/process/<type>`, links to the launcher.
pub(crate) fn process_types(exporting: &mut Exporting<'_>, cache: &mut CacheRecord) -> Result<(), ExportError> {
    let kinds: Vec<String> = exporting.built.metadata.processes.iter().map(|process| process.kind.clone()).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let input = digest(&kinds.iter().map(String::as_bytes).collect::<Vec<_>>());
    let (diff_id, reused) = made_or_reused(exporting, cache, "process types", input, |builder| {
        for kind in &kinds {
            builder.symlink(Path::new(PROCESS_DIR).join(kind), LAUNCHER_PATH, Attributes::root(0o755))?;
        }
        Ok(())
    })?;
    exporting.push(diff_id, "Buildpacks Process Types", reused);
    exporting.metadata.process_types = LayerSha { sha: diff_id.to_string() };
    Ok(())
}
