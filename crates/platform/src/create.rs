//! `builder create`: a builder image from `builder.toml`, out of what is in the store and what the file names.
//!
//! Layers, from below: the build image's, the lifecycle, one for each buildpack (sorted by id and version, so that the order of the file does not
//! matter), and the documents: `order.toml`, `run.toml`, `stack.toml`, `system.toml` and the operator's variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Attributes, DiffId, Image, Layer, LayerBuilder, LayerError, Reference};
use hoist_lifecycle::image_target;
use hoist_spec::{
    BUILDER_METADATA_LABEL, BUILDPACK_LAYERS_LABEL, BUILDPACK_ORDER_LABEL, BuilderBuildpack, BuilderConfig,
    BuilderMetadata, BuildpackLayersLabel, ConfigGroup, DocumentError, EXTENSION_LAYERS_LABEL, EXTENSION_ORDER_LABEL,
    GroupEntry, ImageTarget, Order, OrderGroup, RunToml, SYSTEM_LABEL, StackToml, System, SystemToml,
    write_order_label,
};
use thiserror::Error;

use crate::builder::{BUILD_IMAGE_NAME, RUN_IMAGE_NAME, layer_of, lifecycle_metadata, programs};
use crate::engine::{BaseChoice, LocalEngine};
use crate::error::PlatformError;
use crate::module::{Module, ModuleError, ModuleKind, Modules};

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

/// Why no builder was made.
#[derive(Debug, Error)]
pub enum BuilderError {
    /// The file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("reading {}", path.display())]
    Config {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// A buildpack cannot be had.
    #[error("{}, line {line}", path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// The line that names it.
        line: usize,
        /// Why not.
        source: Box<ModuleError>,
    },
    /// Two different modules of one name.
    #[error("{module} comes from `{first}` and from `{second}`, and they are different")]
    Twice {
        /// `id@version`.
        module: String,
        /// The one place.
        first: String,
        /// The other place.
        second: String,
    },
    /// The order names what the builder does not have.
    #[error("{}: {place}: {problem}", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// The line, or the composite that names it.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to write.
        fix: String,
    },
    /// A buildpack is for other systems.
    #[error("{module} is made for {wanted}, but the build image {image} is {seen}")]
    Target {
        /// `id@version`.
        module: String,
        /// What it says.
        wanted: String,
        /// The build image.
        image: String,
        /// What that is.
        seen: String,
    },
    /// The image is not in the store.
    #[error("the {what} {name} is not in the store")]
    NoImage {
        /// `build image`, `run image` or `builder`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Whether the docker daemon has it.
        in_docker: bool,
    },
    /// The image cannot be built on.
    #[error("the {what} {name} does not say as whom buildpacks run: {problem}")]
    NoUser {
        /// `build image` or `builder`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Which variable, and what is wrong with it.
        problem: String,
    },
    /// The image is no builder.
    #[error("{name} is no builder: {problem}")]
    NotABuilder {
        /// Its name.
        name: String,
        /// What it lacks.
        problem: String,
    },
    /// A lifecycle of one's own.
    #[error("{}: [lifecycle] asks for another lifecycle than hoist's own", path.display())]
    Lifecycle {
        /// The file.
        path: PathBuf,
    },
}

impl BuilderError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("name a file that is there with --config".to_owned()),
            Self::Config { source, .. } => source.hint(),
            Self::Module { source, .. } => Some(source.hint()),
            Self::Twice { .. } => {
                Some("keep one of them, or give one another version in its buildpack.toml".to_owned())
            }
            Self::Order { fix, .. } => Some(fix.clone()),
            Self::Target { .. } => Some("use another build image, or the buildpack made for this one".to_owned()),
            Self::NoImage { name, in_docker, .. } => Some(crate::place::how_to_bring(name, *in_docker)),
            Self::NoUser { .. } => Some(
                "its configuration must have CNB_USER_ID and CNB_GROUP_ID as variables, neither of them 0".to_owned(),
            ),
            Self::NotABuilder { .. } => Some("make one: hoist builder create NAME --config builder.toml".to_owned()),
            Self::Lifecycle { .. } => {
                Some("remove the table: hoist builds with its own lifecycle, whichever a builder has".to_owned())
            }
        }
    }
}

impl BuilderError {
    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Module { source, .. } if matches!(**source, ModuleError::Fetch { .. } | ModuleError::Io { .. } | ModuleError::Store(_)))
    }
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
        let text = read_config(path)?;
        let config =
            BuilderConfig::parse(&text).map_err(|source| BuilderError::Config { path: path.clone(), source })?;
        for warning in &config.warnings {
            self.reporter().warn(&format!("{}: {}", path.display(), warning.text), Some(&warning.fix));
        }
        let base_dir = path.parent().unwrap_or(Path::new("."));
        let mut names = vec![request.name.clone()];
        names.extend(request.tags.iter().cloned());
        self.make_builder(&config, path, base_dir, &names, &request.labels)
    }

    pub(crate) fn make_builder(
        &self,
        config: &BuilderConfig,
        path: &Path,
        base_dir: &Path,
        names: &[Reference],
        labels: &[(String, String)],
    ) -> Result<CreatedBuilder, PlatformError> {
        if config.lifecycle.uri.is_some() || config.lifecycle.version.is_some() {
            return Err(BuilderError::Lifecycle { path: path.to_owned() }.into());
        }
        let lease = self.store().lease()?;
        let build_image = self.wanted_image("build image", &config.build_image)?;
        lease.hold_image(&build_image)?;
        let user = image_user(&build_image, "build image", &config.build_image)?;
        self.check_run_images(config, &build_image)?;
        let shipped = &self.parts().buildpacks;
        let modules = Modules::new(self.store(), base_dir, shipped, &lease);
        let contents = Contents::find(config, path, &modules)?;
        contents.check_targets(&config.build_image, &image_target(&build_image))?;
        let orders = contents.resolve_orders(config, path)?;

        let mut layers =
            vec![layer_of(self.store(), "hoist's own binary and launcher", |layer| programs(layer, self.parts()))?];
        layers.extend(contents.layers());
        layers.push(layer_of(self.store(), "the builder's folders and documents", |layer| {
            documents(layer, config, &orders, user)
        })?);
        let written = |source| BuilderError::Config { path: path.to_owned(), source };
        let labels = contents.labels(config, labels).map_err(written)?;
        let image = self.put_builder(&build_image, &layers, labels, user, names)?;
        let own: Vec<String> = contents.own();
        self.store().put_record(OWN_RECORD, &image.id().to_string(), &own, &[])?;
        Ok(CreatedBuilder {
            image,
            buildpacks: contents.names(ModuleKind::Buildpack),
            extensions: contents.names(ModuleKind::Extension),
        })
    }

    /// `id@version` of those buildpacks of a builder that are hoist's own, when hoist made the builder on this machine.
    pub(crate) fn own_buildpacks_of(&self, image: &Image) -> Result<BTreeSet<String>, PlatformError> {
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
        let found = self.store().find_image(&name.parse()?)?;
        Ok(found.ok_or_else(|| BuilderError::no_image(what, name.to_owned()))?)
    }

    /// A run image may be missing now; one of another system can never be right.
    fn check_run_images(&self, config: &BuilderConfig, build_image: &Image) -> Result<(), PlatformError> {
        for run in &config.run_images {
            match self.wanted_image("run image", &run.image) {
                Ok(image) => {
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

fn read_config(path: &Path) -> Result<String, BuilderError> {
    let failed = |source| BuilderError::Read { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(failed)?;
    if about.len() > MAX_CONFIG_BYTES {
        let problem = format!("it has {} bytes, {MAX_CONFIG_BYTES} are allowed", about.len());
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, problem)));
    }
    fs::read_to_string(path).map_err(failed)
}

/// The modules of a builder in the making.
struct Contents {
    /// By kind, id and version.
    modules: BTreeMap<(ModuleKind, String, String), Module>,
}

/// The orders with all versions filled in.
struct Orders {
    order: Order,
    system: System,
}

impl Contents {
    fn find(config: &BuilderConfig, path: &Path, modules: &Modules<'_>) -> Result<Self, PlatformError> {
        let mut found = Self { modules: BTreeMap::new() };
        for wanted in config.buildpacks.iter().chain(&config.extensions) {
            let failed =
                |source| BuilderError::Module { path: path.to_owned(), line: wanted.line, source: Box::new(source) };
            for module in modules.find(wanted).map_err(failed)? {
                found.add(module)?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, module: Module) -> Result<(), BuilderError> {
        let descriptor = &module.descriptor;
        let key = (descriptor.kind, descriptor.id.clone(), descriptor.version.clone());
        match self.modules.get(&key) {
            // The same buildpack may come alone and inside of packages, in other layers but with the same descriptor.
            Some(known) if known.descriptor != module.descriptor => Err(BuilderError::Twice {
                module: module.descriptor.full_name(),
                first: known.location.clone(),
                second: module.location,
            }),
            Some(_) => Ok(()),
            None => {
                self.modules.insert(key, module);
                Ok(())
            }
        }
    }

    fn of(&self, kind: ModuleKind) -> impl Iterator<Item = &Module> {
        self.modules.values().filter(move |module| module.descriptor.kind == kind)
    }

    fn names(&self, kind: ModuleKind) -> Vec<String> {
        self.of(kind).map(|module| module.descriptor.full_name()).collect()
    }

    fn own(&self) -> Vec<String> {
        let own = |module: &&Module| module.location.starts_with("urn:hoist:buildpack:");
        self.of(ModuleKind::Buildpack).filter(own).map(|module| module.descriptor.full_name()).collect()
    }

    /// Each layer once: a package may have several modules in one.
    fn layers(&self) -> Vec<Layer> {
        let mut seen: BTreeSet<DiffId> = BTreeSet::new();
        self.modules
            .values()
            .map(|module| &module.layer)
            .filter(|layer| seen.insert(layer.diff_id()))
            .cloned()
            .collect()
    }

    fn check_targets(&self, name: &str, image: &ImageTarget) -> Result<(), BuilderError> {
        for Module { descriptor, .. } in self.modules.values() {
            if !descriptor.targets.is_empty() && !descriptor.targets.iter().any(|target| target.matches(image)) {
                let wanted: Vec<String> = descriptor
                    .targets
                    .iter()
                    .map(|target| {
                        let distros = target.distros.iter().map(|distro| format!("{} {}", distro.name, distro.version));
                        let parts = [target.os.clone(), target.arch.clone()].into_iter().chain(distros);
                        parts.filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("/")
                    })
                    .collect();
                return Err(BuilderError::Target {
                    module: descriptor.full_name(),
                    wanted: wanted.join(" or "),
                    image: name.to_owned(),
                    seen: shown(image),
                });
            }
        }
        Ok(())
    }

    fn resolve_orders(&self, config: &BuilderConfig, path: &Path) -> Result<Orders, BuilderError> {
        let groups = |groups: &[ConfigGroup], kind| {
            let group = |group: &ConfigGroup| {
                let lines = group.lines.iter().map(|line| format!("line {line}"));
                let entries = group.group.iter().zip(lines);
                let entries = entries.map(|(entry, place)| self.resolve(kind, entry, path, place));
                Ok(OrderGroup { group: entries.collect::<Result<_, _>>()? })
            };
            groups.iter().map(group).collect::<Result<Vec<_>, BuilderError>>()
        };
        let side = |entries: &[GroupEntry]| {
            let all = entries.iter().map(|entry| self.resolve(ModuleKind::Buildpack, entry, path, "system".to_owned()));
            all.collect::<Result<Vec<_>, _>>()
        };
        let mut system = System::default();
        system.pre.buildpacks = side(&config.system.pre.buildpacks)?;
        system.post.buildpacks = side(&config.system.post.buildpacks)?;
        let order = Order {
            order: groups(&config.order, ModuleKind::Buildpack)?,
            order_extensions: groups(&config.order_extensions, ModuleKind::Extension)?,
        };
        self.check_composites(path)?;
        Ok(Orders { order, system })
    }

    /// What composites consist of must be there, too.
    fn check_composites(&self, path: &Path) -> Result<(), BuilderError> {
        for Module { descriptor, .. } in self.of(ModuleKind::Buildpack) {
            for entry in descriptor.order.iter().flat_map(|group| &group.group).filter(|entry| !entry.optional) {
                self.resolve(ModuleKind::Buildpack, entry, path, format!("the order of {}", descriptor.full_name()))?;
            }
        }
        Ok(())
    }

    fn resolve(
        &self,
        kind: ModuleKind,
        entry: &GroupEntry,
        path: &Path,
        place: String,
    ) -> Result<GroupEntry, BuilderError> {
        let word = kind.word();
        let versions: Vec<&str> = self
            .of(kind)
            .filter(|module| module.descriptor.id == entry.id)
            .map(|module| module.descriptor.version.as_str())
            .collect();
        let (problem, fix) = match versions.as_slice() {
            [] => {
                let known: Vec<String> = self.names(kind);
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let problem = format!("the {word} {} is not in the builder, which has {known}", entry.id);
                (problem, format!("add it as [[{word}s]] with its uri, or correct the id"))
            }
            [only] if entry.version.is_empty() => {
                return Ok(GroupEntry { version: (*only).to_owned(), ..entry.clone() });
            }
            several if entry.version.is_empty() => (
                format!("the builder has {} versions of {}: {}", several.len(), entry.id, several.join(", ")),
                "add version = \"…\"".to_owned(),
            ),
            several if several.contains(&entry.version.as_str()) => return Ok(entry.clone()),
            several => (
                format!(
                    "{}@{} is not in the builder, which has version {}",
                    entry.id,
                    entry.version,
                    several.join(", ")
                ),
                format!("write version = \"{}\", or add the other version as [[{word}s]]", several[0]),
            ),
        };
        Err(BuilderError::Order { path: path.to_owned(), place, problem, fix })
    }

    fn labels(
        &self,
        config: &BuilderConfig,
        more: &[(String, String)],
    ) -> Result<BTreeMap<String, String>, DocumentError> {
        let mut labels: BTreeMap<String, String> = more.iter().cloned().collect();
        let mut set = |name: &str, text: String| labels.insert(name.to_owned(), text);
        let written = |groups: &[ConfigGroup]| groups.iter().map(ConfigGroup::to_group).collect::<Vec<_>>();
        set(BUILDER_METADATA_LABEL, self.metadata(config).to_label()?);
        set(BUILDPACK_ORDER_LABEL, write_order_label(&written(&config.order))?);
        set(EXTENSION_ORDER_LABEL, write_order_label(&written(&config.order_extensions))?);
        set(BUILDPACK_LAYERS_LABEL, self.layers_label(ModuleKind::Buildpack).to_label()?);
        set(EXTENSION_LAYERS_LABEL, self.layers_label(ModuleKind::Extension).to_label()?);
        if config.system != System::default() {
            set(SYSTEM_LABEL, config.system.to_label()?);
        }
        if let Some(id) = &config.stack_id {
            set(hoist_spec::STACK_ID_LABEL, id.clone());
        }
        Ok(labels)
    }

    fn layers_label(&self, kind: ModuleKind) -> BuildpackLayersLabel {
        let mut label = BuildpackLayersLabel::default();
        for module in self.of(kind) {
            let mut info = module.descriptor.label.clone();
            info.layer_diff_id = module.layer.diff_id().to_string();
            let versions = label.0.entry(module.descriptor.id.clone()).or_default();
            versions.insert(module.descriptor.version.clone(), info);
        }
        label
    }

    fn metadata(&self, config: &BuilderConfig) -> BuilderMetadata {
        let list = |kind| {
            let entry = |module: &Module| BuilderBuildpack {
                id: module.descriptor.id.clone(),
                name: module.descriptor.label.name.clone(),
                version: module.descriptor.version.clone(),
                homepage: module.descriptor.label.homepage.clone(),
            };
            self.of(kind).map(entry).collect::<Vec<_>>()
        };
        BuilderMetadata {
            description: config.description.clone(),
            buildpacks: list(ModuleKind::Buildpack),
            extensions: Some(list(ModuleKind::Extension)).filter(|list| !list.is_empty()),
            images: config.run_images.clone(),
            stack: hoist_spec::BuilderStack { run_image: config.run_images.first().cloned().unwrap_or_default() },
            ..lifecycle_metadata()
        }
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
