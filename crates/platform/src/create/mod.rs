//! `builder create`: a builder image from `builder.toml`, out of what is in the store and what the file names.
//!
//! Layers, from below: the build image's, the lifecycle, one for each buildpack (sorted by id and version, so that the order of the file does not
//! matter), and the documents: `order.toml`, `run.toml`, `stack.toml`, `system.toml` and the operator's variables.

mod contents;
mod error;
mod lifecycle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hoist_image::{Attributes, Image, Layer, LayerBuilder, LayerError, Reference};
use hoist_lifecycle::image_target;
use hoist_spec::{
    BuilderConfig, BuilderLifecycle, ImageTarget, MIXINS_LABEL, RunToml, STACK_ID_LABEL, StackToml, SystemToml, Target,
};

use crate::bounded::read_text;
use crate::builder::{BUILD_IMAGE_NAME, RUN_IMAGE_NAME, layer_of, programs};
use crate::engine::{BaseChoice, LocalEngine};
use crate::error::PlatformError;
use crate::module::{ModuleKind, Modules};
use contents::{Contents, Orders};
pub use error::BuilderError;
pub use lifecycle::LifecycleError;

/// Kind of the records of builders that this hoist made: which of their buildpacks are hoist's own.
const OWN_RECORD: &str = "own-builder";
/// Larger than any builder.toml.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct BuilderRequest {
    /// What the builder is to be called.
    pub name: Reference,
    /// Further names.
    pub tags: Vec<Reference>,
    /// The path of `builder.toml`.
    pub config_path: PathBuf,
    /// Labels besides those of builders.
    pub labels: Vec<(String, String)>,
    /// Groups of buildpacks (`id@version`) that share a layer.
    pub flatten: Vec<Vec<String>>,
    /// What it is to be for, where that is not what builder.toml says.
    pub targets: Vec<Target>,
}

/// A builder was made.
#[derive(Debug)]
pub struct CreatedBuilder {
    /// The image.
    pub image: Image,
    /// `id@version` of its buildpacks.
    pub buildpacks: Vec<String>,
    /// `id@version` of its image extensions.
    pub extensions: Vec<String>,
}

/// What a builder is made of.
pub(crate) struct Making<'a> {
    pub(crate) config: &'a BuilderConfig,
    /// The file that the configuration is from.
    pub(crate) path: &'a Path,
    /// Relative paths start here.
    pub(crate) base_dir: &'a Path,
    pub(crate) names: &'a [Reference],
    pub(crate) labels: &'a [(String, String)],
    pub(crate) flatten: &'a [Vec<String>],
    pub(crate) targets: &'a [Target],
}

impl Making<'_> {
    /// The build image is what the builder is for: of several targets of the file one must be that.
    fn check_target(&self, seen: &ImageTarget) -> Result<(), BuilderError> {
        if self.targets.len() > 1 {
            return Err(BuilderError::SeveralTargets { count: self.targets.len() });
        }
        let targets = if self.targets.is_empty() { &self.config.targets } else { self.targets };
        if targets.is_empty() || targets.iter().any(|target| target.matches(seen)) {
            return Ok(());
        }
        let targets: Vec<String> = targets.iter().map(Target::to_string).collect();
        Err(BuilderError::OtherTarget {
            targets: targets.join(" or "),
            image: self.config.build_image.clone(),
            seen: shown(seen),
        })
    }
}

/// A label of an image.
pub(crate) fn image_label(image: &Image, name: &str) -> Option<String> {
    image.config().config().as_ref()?.labels().as_ref()?.get(name).cloned()
}

/// The user and group of buildpacks, as the image's configuration says.
pub(crate) fn image_user(image: &Image, what: &'static str, name: &str) -> Result<(u32, u32), BuilderError> {
    let env = image.config().config().as_ref().and_then(|config| config.env().clone()).unwrap_or_default();
    let id = |variable: &str| {
        let value = env.iter().find_map(|pair| pair.strip_prefix(variable)?.strip_prefix('='));
        let problem = match value {
            None => format!("{variable} is not set"),
            Some(value) => match value.parse::<u32>() {
                Ok(id) if id != 0 => return Ok(id),
                _ => format!("{variable} is `{value}`"),
            },
        };
        Err(BuilderError::NoUser { what, name: name.to_owned(), problem })
    };
    Ok((id("CNB_USER_ID")?, id("CNB_GROUP_ID")?))
}

impl LocalEngine {
    /// Makes a builder and names it.
    pub fn create_builder(&self, request: &BuilderRequest) -> Result<CreatedBuilder, PlatformError> {
        let path = &request.config_path;
        let text =
            read_text(path, MAX_CONFIG_BYTES).map_err(|source| BuilderError::Read { path: path.clone(), source })?;
        let config =
            BuilderConfig::parse(&text).map_err(|source| BuilderError::Config { path: path.clone(), source })?;
        for warning in &config.warnings {
            self.reporter().warn(&format!("{}: {}", path.display(), warning.text), Some(&warning.fix));
        }
        let mut names = vec![request.name.clone()];
        names.extend(request.tags.iter().cloned());
        self.make_builder(&Making {
            config: &config,
            path,
            base_dir: path.parent().unwrap_or(Path::new(".")),
            names: &names,
            labels: &request.labels,
            flatten: &request.flatten,
            targets: &request.targets,
        })
    }

    pub(crate) fn make_builder(&self, making: &Making<'_>) -> Result<CreatedBuilder, PlatformError> {
        let Making { config, path, .. } = making;
        let lease = self.store().lease()?;
        let build_image = self.wanted_image("build image", &config.build_image)?;
        lease.hold_image(&build_image)?;
        let user = image_user(&build_image, "build image", &config.build_image)?;
        making.check_target(&image_target(&build_image))?;
        self.check_stack(config, "build image", &config.build_image, &build_image)?;
        self.check_run_images(config, &build_image)?;
        let lifecycle = self.lifecycle_of(making)?;
        let shipped = &self.parts().buildpacks;
        let modules = Modules::new(self, making.base_dir, shipped, &lease).for_target(Target {
            os: build_image.config().os().to_string(),
            arch: build_image.config().architecture().to_string(),
            ..Target::default()
        });
        let mut contents = Contents::find(config, path, &modules)?;
        contents.check_targets(&config.build_image, &image_target(&build_image))?;
        if let Some(stack) = image_label(&build_image, STACK_ID_LABEL) {
            let mixins = image_label(&build_image, MIXINS_LABEL);
            let mixins: Option<Vec<String>> = mixins.and_then(|text| serde_json::from_str(&text).ok());
            contents.check_stacks(&config.build_image, &stack, &mixins.unwrap_or_default())?;
        }
        let orders = contents.resolve_orders(config, path)?;
        contents.flatten(self.store(), making.flatten)?;
        let own: Vec<String> = contents.own();
        let mut layers = Vec::new();
        // The programs of hoist are those of its buildpacks, and the lifecycle where there is no other.
        if lifecycle.is_none() || !own.is_empty() {
            layers.push(layer_of(self.store(), "hoist's own binary and launcher", |layer| {
                programs(layer, self.parts())
            })?);
        }
        let (described, of_lifecycle) = lifecycle.unzip();
        if let Some(described) = &described {
            contents.check_apis(described)?;
        }
        layers.extend(of_lifecycle);
        layers.extend(contents.layers());
        layers.push(layer_of(self.store(), "the builder's folders and documents", |layer| {
            documents(layer, config, &orders, user)
        })?);
        let written = |source| BuilderError::Config { path: path.to_path_buf(), source };
        let labels = contents.labels(config, described.as_ref(), making.labels).map_err(written)?;
        let image = self.put_builder(&build_image, &layers, labels, user, making.names)?;
        self.store().put_record(OWN_RECORD, &image.id().to_string(), &own, &[])?;
        Ok(CreatedBuilder {
            image,
            buildpacks: contents.names(ModuleKind::Buildpack),
            extensions: contents.names(ModuleKind::Extension),
        })
    }

    /// The lifecycle that is to be in the builder, where it is another than hoist's own.
    fn lifecycle_of(&self, making: &Making<'_>) -> Result<Option<(BuilderLifecycle, Layer)>, PlatformError> {
        let wanted = &making.config.lifecycle;
        let found = match (&wanted.uri, &wanted.version) {
            (Some(uri), _) => lifecycle::find(self.store(), uri, making.base_dir).map(Some),
            (None, Some(version)) => lifecycle::find_release(self.store(), version),
            (None, None) => return Ok(None),
        };
        let path = making.path.to_owned();
        Ok(found.map_err(|source| BuilderError::Lifecycle { path, line: wanted.line, source: Box::new(source) })?)
    }

    /// The deprecated stack of the file is that of the image, where the image has one.
    fn check_stack(
        &self,
        config: &BuilderConfig,
        what: &'static str,
        name: &str,
        image: &Image,
    ) -> Result<(), BuilderError> {
        let Some(wanted) = &config.stack_id else { return Ok(()) };
        match image_label(image, STACK_ID_LABEL) {
            Some(seen) if seen != *wanted => {
                Err(BuilderError::Stack { wanted: wanted.clone(), what, name: name.to_owned(), seen })
            }
            Some(_) => Ok(()),
            None => {
                let text = format!("the {what} {name} does not say of which stack it is; it is taken for {wanted}");
                self.reporter().warn(&text, None);
                Ok(())
            }
        }
    }

    /// `id@version` of those buildpacks of a builder that are hoist's own, when hoist made the builder on this machine.
    pub(crate) fn own_buildpacks_of(&self, image: &Image) -> Result<BTreeSet<String>, PlatformError> {
        // A builder of a bundle sees that bundle's cache and no other, so what it says of itself harms nobody.
        if let Some(supplies) = self.supplies().filter(|supplies| supplies.bundle.is_some())
            && supplies.images.values().any(|id| *id == image.id().to_string())
        {
            return Ok(supplies.own_buildpacks.clone());
        }
        let own: Option<Vec<String>> = self.store().record(OWN_RECORD, &image.id().to_string())?;
        Ok(own.unwrap_or_default().into_iter().collect())
    }

    /// Removes what was noted of builders that are no longer in the store.
    pub(crate) fn forget_gone_builders(&self) -> Result<(), PlatformError> {
        for record in self.store().records(OWN_RECORD)? {
            if self.store().image(&record.key).is_err() {
                self.store().remove_record(OWN_RECORD, &record.key)?;
            }
        }
        Ok(())
    }

    /// An image of the store; the images of the base are made if they are not there.
    pub(crate) fn wanted_image(&self, what: &'static str, name: &str) -> Result<Image, PlatformError> {
        if name == BUILD_IMAGE_NAME || name == RUN_IMAGE_NAME {
            let base = self.base(&BaseChoice::Present)?;
            let id = if name == BUILD_IMAGE_NAME { &base.build_image } else { &base.run_image };
            return Ok(self.store().image(id)?);
        }
        let wanted = name.parse()?;
        self.bring(&wanted).map_err(BuilderError::from)?;
        let found = self.find_named(&wanted)?;
        Ok(found.ok_or_else(|| BuilderError::no_image(what, name.to_owned()))?)
    }

    /// A run image may be missing now; one of another system can never be right.
    fn check_run_images(&self, config: &BuilderConfig, build_image: &Image) -> Result<(), PlatformError> {
        for run in &config.run_images {
            match self.wanted_image("run image", &run.image) {
                Ok(image) => {
                    self.check_stack(config, "run image", &run.image, &image)?;
                    let (one, other) = (image_target(build_image), image_target(&image));
                    if one.os != other.os || one.arch != other.arch {
                        self.reporter().warn(
                            &format!(
                                "the run image {} is {}, the build image is {}",
                                run.image,
                                shown(&other),
                                shown(&one)
                            ),
                            Some("apps built here will not start there"),
                        );
                    }
                }
                Err(PlatformError::Builder(error)) => {
                    self.reporter().warn(&error.to_string(), Some("it must be there when an app is built"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn put_builder(
        &self,
        build_image: &Image,
        layers: &[Layer],
        labels: BTreeMap<String, String>,
        (uid, gid): (u32, u32),
        names: &[Reference],
    ) -> Result<Image, PlatformError> {
        let mut config = build_image.config().clone();
        config.rootfs_mut().diff_ids_mut().extend(layers.iter().map(|layer| layer.diff_id().to_string()));
        let mut inner = config.config().clone().unwrap_or_default();
        let mut all = inner.labels().clone().unwrap_or_default();
        all.extend(labels);
        inner.set_labels(Some(all));
        inner.set_user(Some(format!("{uid}:{gid}")));
        inner.set_working_dir(Some("/layers".to_owned()));
        config.set_config(Some(inner));
        Ok(self.store().put_image(&config, names)?)
    }
}

fn documents(
    layer: &mut LayerBuilder,
    config: &BuilderConfig,
    orders: &Orders,
    (uid, gid): (u32, u32),
) -> Result<(), LayerError> {
    for dir in ["/layers", "/workspace"] {
        layer.directory(dir, Attributes::new(uid, gid, 0o755))?;
    }
    for dir in ["/cnb/buildpacks", "/cnb/extensions", "/cnb/build-config/env", "/platform/env"] {
        layer.directory(dir, Attributes::root(0o755))?;
    }
    let run = RunToml { images: config.run_images.clone() };
    let stack = StackToml { run_image: config.run_images.first().cloned().unwrap_or_default() };
    let system = SystemToml { system: orders.system.clone() };
    let mut files: Vec<(String, String)> = [
        ("/cnb/order.toml", orders.order.write()),
        ("/cnb/run.toml", run.write()),
        ("/cnb/stack.toml", stack.write()),
        ("/cnb/system.toml", system.write()),
    ]
    // All of it was parsed before, and what was parsed has a TOML form.
    .map(|(path, text)| (path.to_owned(), text.unwrap_or_default()))
    .into();
    // A variable that is given twice has its last value.
    let variables: BTreeMap<String, String> = config.build_env.iter().flat_map(hoist_spec::BuildEnv::files).collect();
    files.extend(variables.into_iter().map(|(name, value)| (format!("/cnb/build-config/env/{name}"), value)));
    for (path, text) in files {
        layer.file(path, Attributes::root(0o644), &mut text.as_bytes(), text.len() as u64)?;
    }
    Ok(())
}

/// `linux/amd64 (debian 13)`.
pub(crate) fn shown(target: &ImageTarget) -> String {
    let distro =
        target.distro.as_ref().map(|distro| format!(" ({})", format!("{} {}", distro.name, distro.version).trim()));
    format!("{}/{}{}", target.os, target.arch, distro.unwrap_or_default())
}
