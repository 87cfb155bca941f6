//! The builder: the build image with hoist's buildpacks, their order and the lifecycle, as an ordinary CNB builder image in the store.
//!
//! It is found by a record of what it was made from (base, hoist's binary, buildpacks); when one of them changed or the image was
//! pruned, it is made again. Nobody has to know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use hoist_base::{BUILD_UID, Base, GID};
use hoist_image::{Attributes, DiffId, Image, Layer, LayerBuilder, LayerError, Reference, Store};
use hoist_lifecycle::Launcher;
use hoist_spec::{
    ApiRange, ApiVersion, BUILDER_METADATA_LABEL, BUILDPACK_LAYERS_LABEL, BUILDPACK_ORDER_LABEL, BuilderBuildpack,
    BuilderLifecycle, BuilderMetadata, BuildpackDescriptor, BuildpackLayerInfo, BuildpackLayersLabel, CreatedBy,
    GroupEntry, LifecycleApis, Order, OrderGroup, RunImage, RunToml, escape_id, write_order_label,
};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use crate::check::Foresee;
use crate::error::PlatformError;

/// Kind and key of the record.
const RECORD: (&str, &str) = ("builder", "default");
/// The builder's name in the store.
pub(crate) const BUILDER_NAME: &str = "hoist/builder";
/// The run image's name in the store.
pub(crate) const RUN_IMAGE_NAME: &str = "hoist/run";

/// What a builder is made of besides the base. Comes from the binary, which carries it all.
#[derive(Debug, Clone)]
pub struct BuilderParts {
    /// Its buildpacks.
    pub buildpacks: Vec<BuildpackFiles>,
    /// The groups in the order in which they are tried.
    pub order: Vec<OrderGroup>,
    /// Hoist itself, which is the program of its own buildpacks.
    pub hoist_path: PathBuf,
    /// The launcher that goes into app images.
    pub launcher: Launcher<'static>,
    /// What the buildpacks would say of an app without being run.
    pub foresee: Foresee,
}

/// A buildpack of hoist's own; its programs are links to hoist.
#[derive(Debug, Clone)]
pub struct BuildpackFiles {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The text of `buildpack.toml`.
    pub buildpack_toml: String,
    /// Further files: path below its folder, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
}

/// A builder in the store.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The image that buildpacks run in.
    pub image: Image,
    /// The image that apps run on.
    pub run_image: Image,
    /// The order of buildpacks.
    pub order: Order,
    /// `id@version` of the buildpacks that are hoist's own.
    pub(crate) own_buildpacks: BTreeSet<String>,
}

/// What the builder was made from; every field is compared, and what differs is the reason to make it again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    build_image: String,
    run_image: String,
    /// Size and modification time of hoist's binary, which identify it on one machine as well as a hash does, without reading it.
    hoist_bytes: u64,
    hoist_mtime_ns: u128,
    buildpacks: Vec<String>,
    image: String,
}

/// Finds the builder of `base` in the store, or makes it.
pub(crate) fn ensure_builder(store: &Store, base: &Base, parts: &BuilderParts) -> Result<Builder, PlatformError> {
    let run_image = store.image(&base.run_image)?;
    let order = Order { order: parts.order.clone(), ..Order::default() };
    let wanted = made_from(base, parts)?;
    let own_buildpacks: BTreeSet<String> = wanted.buildpacks.iter().cloned().collect();
    if let Some(found) = store.record::<Made>(RECORD.0, RECORD.1)?
        && (Made { image: found.image.clone(), ..wanted.clone_inputs() }) == found
        && let Ok(image) = store.image(&found.image)
        && image.has_its_layers()?
    {
        return Ok(Builder { image, run_image, order, own_buildpacks });
    }
    let image = make(store, base, parts, &order)?;
    let made = Made { image: image.id().to_string(), ..wanted };
    store.put_record(RECORD.0, RECORD.1, &made, &[image.id().into()])?;
    Ok(Builder { image, run_image, order, own_buildpacks })
}

impl Made {
    fn clone_inputs(&self) -> Self {
        Self {
            build_image: self.build_image.clone(),
            run_image: self.run_image.clone(),
            hoist_bytes: self.hoist_bytes,
            hoist_mtime_ns: self.hoist_mtime_ns,
            buildpacks: self.buildpacks.clone(),
            image: String::new(),
        }
    }
}

fn made_from(base: &Base, parts: &BuilderParts) -> Result<Made, PlatformError> {
    let failed = |source| PlatformError::scratch("look at hoist's own binary", source);
    let about = fs::metadata(&parts.hoist_path).map_err(failed)?;
    let mtime = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Made {
        build_image: base.build_image.clone(),
        run_image: base.run_image.clone(),
        hoist_bytes: about.len(),
        hoist_mtime_ns: mtime.as_nanos(),
        buildpacks: parts.buildpacks.iter().map(|one| format!("{}@{}", one.id, one.version)).collect(),
        image: String::new(),
    })
}

fn make(store: &Store, base: &Base, parts: &BuilderParts, order: &Order) -> Result<Image, PlatformError> {
    let build_image = store.image(&base.build_image)?;
    let run_image = store.image(&base.run_image)?;
    let mut layers = vec![layer_of(store, "hoist's own binary and launcher", |layer| programs(layer, parts))?];
    let mut labelled = BuildpackLayersLabel::default();
    for buildpack in &parts.buildpacks {
        let layer = layer_of(store, "a buildpack", |layer| buildpack_files(layer, buildpack))?;
        let versions = labelled.0.entry(buildpack.id.clone()).or_default();
        versions.insert(buildpack.version.clone(), layer_info(buildpack, layer.diff_id()));
        layers.push(layer);
    }
    layers.push(layer_of(store, "the order of buildpacks", |layer| documents(layer, order))?);
    let config = configuration(build_image.config(), &layers, parts, &labelled)?;
    let image = store.put_image(&config, &[run_image_name(BUILDER_NAME)?])?;
    store.tag(&run_image, &run_image_name(RUN_IMAGE_NAME)?)?;
    Ok(image)
}

fn run_image_name(name: &str) -> Result<Reference, PlatformError> {
    Ok(name.parse::<Reference>()?)
}

fn layer_of(
    store: &Store,
    what: &'static str,
    fill: impl FnOnce(&mut LayerBuilder) -> Result<(), LayerError>,
) -> Result<Layer, PlatformError> {
    let mut builder = store.layer_builder()?;
    fill(&mut builder).and_then(|()| builder.finish()).map_err(|source| PlatformError::Layer { what, source })
}

fn programs(layer: &mut LayerBuilder, parts: &BuilderParts) -> Result<(), LayerError> {
    layer.copy_file("/cnb/hoist/bin/hoist", Attributes::root(0o755), &parts.hoist_path)?;
    let launcher = parts.launcher.program;
    layer.file("/cnb/lifecycle/launcher", Attributes::root(0o755), &mut &*launcher, launcher.len() as u64)?;
    // Hoist is the lifecycle of its builders; it sees from its name which phase is wanted.
    for phase in ["detector", "builder"] {
        layer.symlink(Path::new("/cnb/lifecycle").join(phase), "/cnb/hoist/bin/hoist", Attributes::root(0o777))?;
    }
    for (dir, mode) in [("/layers", 0o755), ("/workspace", 0o755)] {
        layer.directory(dir, Attributes::new(BUILD_UID, GID, mode))?;
    }
    layer.directory("/platform", Attributes::root(0o755))?;
    layer.directory("/platform/env", Attributes::root(0o755))?;
    Ok(())
}

fn buildpack_files(layer: &mut LayerBuilder, buildpack: &BuildpackFiles) -> Result<(), LayerError> {
    let dir = Path::new("/cnb/buildpacks").join(escape_id(&buildpack.id)).join(&buildpack.version);
    let text = buildpack.buildpack_toml.as_bytes();
    layer.file(dir.join("buildpack.toml"), Attributes::root(0o644), &mut &*text, text.len() as u64)?;
    for program in ["detect", "build"] {
        layer.symlink(dir.join("bin").join(program), "/cnb/hoist/bin/hoist", Attributes::root(0o777))?;
    }
    for (path, bytes, mode) in &buildpack.files {
        layer.file(dir.join(path), Attributes::root(*mode), &mut bytes.as_slice(), bytes.len() as u64)?;
    }
    Ok(())
}

fn documents(layer: &mut LayerBuilder, order: &Order) -> Result<(), LayerError> {
    let run = RunToml { images: vec![run_image()] };
    for (path, text) in [("/cnb/order.toml", order.write()), ("/cnb/run.toml", run.write())] {
        // Both are made of names that were parsed before, which always have a TOML form.
        let text = text.unwrap_or_default();
        layer.file(path, Attributes::root(0o644), &mut text.as_bytes(), text.len() as u64)?;
    }
    Ok(())
}

fn run_image() -> RunImage {
    RunImage { image: RUN_IMAGE_NAME.to_owned(), mirrors: Vec::new() }
}

fn layer_info(buildpack: &BuildpackFiles, diff_id: DiffId) -> BuildpackLayerInfo {
    let described = BuildpackDescriptor::parse(&buildpack.buildpack_toml).ok();
    BuildpackLayerInfo {
        api: described.as_ref().map_or(ApiVersion::NEWEST_BUILDPACK, |found| found.api),
        stacks: Vec::new(),
        targets: described.as_ref().map(|found| found.targets.clone()).unwrap_or_default(),
        order: Vec::new(),
        layer_diff_id: diff_id.to_string(),
        homepage: None,
        name: described.and_then(|found| found.buildpack.name),
    }
}

fn configuration(
    build_image: &ImageConfiguration,
    layers: &[Layer],
    parts: &BuilderParts,
    labelled: &BuildpackLayersLabel,
) -> Result<ImageConfiguration, PlatformError> {
    let document = |error: hoist_spec::DocumentError| PlatformError::Host {
        action: "writing the builder's labels".to_owned(),
        source: Box::new(error),
    };
    let mut config = build_image.clone();
    let diff_ids = config.rootfs_mut().diff_ids_mut();
    diff_ids.extend(layers.iter().map(|layer| layer.diff_id().to_string()));
    let mut inner = config.config().clone().unwrap_or_default();
    let mut labels = inner.labels().clone().unwrap_or_default();
    labels.insert(BUILDER_METADATA_LABEL.to_owned(), metadata(parts).to_label().map_err(document)?);
    labels.insert(BUILDPACK_ORDER_LABEL.to_owned(), write_order_label(&parts.order).map_err(document)?);
    labels.insert(BUILDPACK_LAYERS_LABEL.to_owned(), labelled.to_label().map_err(document)?);
    inner.set_labels(Some(labels));
    inner.set_user(Some(format!("{BUILD_UID}:{GID}")));
    inner.set_working_dir(Some("/layers".to_owned()));
    config.set_config(Some(inner));
    Ok(config)
}

fn metadata(parts: &BuilderParts) -> BuilderMetadata {
    let versions = |from: ApiVersion, to: ApiVersion| ApiRange {
        deprecated: Vec::new(),
        supported: (from.minor..=to.minor).map(|minor| ApiVersion::new(0, minor)).collect(),
    };
    BuilderMetadata {
        description: "Python apps and services, by hoist".to_owned(),
        buildpacks: parts
            .buildpacks
            .iter()
            .map(|one| BuilderBuildpack {
                id: one.id.clone(),
                version: one.version.clone(),
                ..BuilderBuildpack::default()
            })
            .collect(),
        lifecycle: BuilderLifecycle {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            apis: LifecycleApis {
                buildpack: versions(ApiVersion::OLDEST_BUILDPACK, ApiVersion::NEWEST_BUILDPACK),
                platform: versions(ApiVersion::OLDEST_PLATFORM, ApiVersion::NEWEST_PLATFORM),
            },
        },
        created_by: CreatedBy { name: "hoist".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        images: vec![run_image()],
        stack: hoist_spec::BuilderStack { run_image: run_image() },
        extensions: None,
    }
}

/// The order of a list of groups of `(id, version, optional)`.
pub fn order_of(groups: impl IntoIterator<Item = Vec<(String, String, bool)>>) -> Vec<OrderGroup> {
    groups
        .into_iter()
        .map(|group| OrderGroup {
            group: group
                .into_iter()
                .map(|(id, version, optional)| {
                    let entry = GroupEntry::new(id, version);
                    if optional { entry.optional() } else { entry }
                })
                .collect(),
        })
        .collect()
}
