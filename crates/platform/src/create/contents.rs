//! What a builder is made of besides its images: the buildpacks that were found, their orders, and what its labels say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hoist_image::{DiffId, Layer, Store};
use hoist_spec::{
    BUILDER_METADATA_LABEL, BUILDPACK_LAYERS_LABEL, BUILDPACK_ORDER_LABEL, BuilderConfig, BuilderLifecycle,
    BuilderMetadata, BuildpackLayersLabel, ConfigGroup, DocumentError, EXTENSION_LAYERS_LABEL, EXTENSION_ORDER_LABEL,
    GroupEntry, ImageTarget, Order, OrderGroup, SYSTEM_LABEL, System, Target, escape_id, write_order_label,
};

use super::error::BuilderError;
use super::shown;
use crate::builder::lifecycle_metadata;
use crate::error::PlatformError;
use crate::module::{Module, ModuleDescriptor, ModuleKind, Modules, flatten};

/// The modules of a builder in the making.
pub(super) struct Contents {
    /// By kind, id and version.
    modules: BTreeMap<(ModuleKind, String, String), Module>,
}

/// The orders with all versions filled in.
pub(super) struct Orders {
    pub(super) order: Order,
    pub(super) system: System,
}

impl Contents {
    pub(super) fn find(config: &BuilderConfig, path: &Path, modules: &Modules<'_>) -> Result<Self, PlatformError> {
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
                let folder =
                    |(kind, id, version): &(ModuleKind, String, String)| (*kind, escape_id(id), version.clone());
                if let Some((_, id, version)) = self.modules.keys().find(|known| folder(known) == folder(&key)) {
                    return Err(BuilderError::OneFolder {
                        module: module.descriptor.full_name(),
                        other: format!("{id}@{version}"),
                        folder: format!("{}/{version}", escape_id(id)),
                    });
                }
                self.modules.insert(key, module);
                Ok(())
            }
        }
    }

    fn of(&self, kind: ModuleKind) -> impl Iterator<Item = &Module> {
        self.modules.values().filter(move |module| module.descriptor.kind == kind)
    }

    pub(super) fn names(&self, kind: ModuleKind) -> Vec<String> {
        self.of(kind).map(|module| module.descriptor.full_name()).collect()
    }

    pub(super) fn own(&self) -> Vec<String> {
        let own = |module: &&Module| module.location.starts_with("urn:hoist:buildpack:");
        self.of(ModuleKind::Buildpack).filter(own).map(|module| module.descriptor.full_name()).collect()
    }

    /// Each layer once: a package may have several modules in one.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let mut seen: BTreeSet<DiffId> = BTreeSet::new();
        self.modules
            .values()
            .map(|module| &module.layer)
            .filter(|layer| seen.insert(layer.diff_id()))
            .cloned()
            .collect()
    }

    pub(super) fn check_targets(&self, name: &str, image: &ImageTarget) -> Result<(), BuilderError> {
        for Module { descriptor, .. } in self.modules.values() {
            if !descriptor.targets.is_empty() && !descriptor.targets.iter().any(|target| target.matches(image)) {
                let wanted: Vec<String> = descriptor.targets.iter().map(Target::to_string).collect();
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

    /// Buildpacks that say stacks and no targets are for the stack of the build image, where that has one, and need its mixins.
    pub(super) fn check_stacks(&self, name: &str, stack: &str, mixins: &[String]) -> Result<(), BuilderError> {
        let of_stacks =
            |descriptor: &&ModuleDescriptor| !descriptor.label.stacks.is_empty() && descriptor.label.targets.is_empty();
        for descriptor in self.of(ModuleKind::Buildpack).map(|module| &module.descriptor).filter(of_stacks) {
            let stacks = &descriptor.label.stacks;
            let Some(own) = stacks.iter().find(|own| own.id == stack || own.id == "*") else {
                let stacks: Vec<&str> = stacks.iter().map(|stack| stack.id.as_str()).collect();
                return Err(BuilderError::OtherStack {
                    module: descriptor.full_name(),
                    stacks: stacks.join(", "),
                    image: name.to_owned(),
                    seen: stack.to_owned(),
                });
            };
            let missing = |mixin: &&String| !mixin.starts_with("run:") && !mixins.contains(mixin);
            let missing: Vec<&str> = own.mixins.iter().filter(missing).map(String::as_str).collect();
            if !missing.is_empty() {
                return Err(BuilderError::Mixins {
                    module: descriptor.full_name(),
                    image: name.to_owned(),
                    missing: missing.join(", "),
                });
            }
        }
        Ok(())
    }

    /// What a lifecycle of the builder's own can run.
    pub(super) fn check_apis(&self, lifecycle: &BuilderLifecycle) -> Result<(), BuilderError> {
        let range = &lifecycle.apis.buildpack;
        let spoken = |module: &&Module| {
            !range.supported.iter().chain(&range.deprecated).any(|api| *api == module.descriptor.label.api)
        };
        match self.modules.values().find(spoken) {
            None => Ok(()),
            Some(module) => Err(BuilderError::Api {
                module: module.descriptor.full_name(),
                api: module.descriptor.label.api.to_string(),
                version: lifecycle.version.clone(),
                supported: range.supported.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Puts the buildpacks of each group (`id@version`) into one layer.
    pub(super) fn flatten(&mut self, store: &Store, groups: &[Vec<String>]) -> Result<(), BuilderError> {
        let mut done: BTreeSet<&String> = BTreeSet::new();
        for group in groups {
            let mut keys = Vec::new();
            for name in group {
                let known = || self.modules.values().map(|module| module.descriptor.full_name()).collect::<Vec<_>>();
                let refused = |problem: &str, fix: String| {
                    Err(BuilderError::Flatten { module: name.clone(), problem: problem.to_owned(), fix })
                };
                let found = self.modules.iter().find(|(_, module)| module.descriptor.full_name() == *name);
                match found {
                    None => return refused("and is not in the builder", format!("there is {}", known().join(", "))),
                    Some(_) if !done.insert(name) => {
                        return refused("and is named twice", "name it in one --flatten".to_owned());
                    }
                    Some((key, _)) => keys.push(key.clone()),
                }
            }
            keys.sort();
            let modules: Vec<&Module> = keys.iter().map(|key| &self.modules[key]).collect();
            let layer = flatten(store, &modules).map_err(|source| BuilderError::FlattenLayer { source })?;
            for key in &keys {
                if let Some(module) = self.modules.get_mut(key) {
                    module.layer = layer.clone();
                }
            }
        }
        Ok(())
    }

    pub(super) fn resolve_orders(&self, config: &BuilderConfig, path: &Path) -> Result<Orders, BuilderError> {
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
            for entry in descriptor.order.iter().flat_map(|group| &group.group) {
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

    pub(super) fn labels(
        &self,
        config: &BuilderConfig,
        lifecycle: Option<&BuilderLifecycle>,
        more: &[(String, String)],
    ) -> Result<BTreeMap<String, String>, DocumentError> {
        let mut labels: BTreeMap<String, String> = more.iter().cloned().collect();
        let mut set = |name: &str, text: String| labels.insert(name.to_owned(), text);
        let written = |groups: &[ConfigGroup]| groups.iter().map(ConfigGroup::to_group).collect::<Vec<_>>();
        set(BUILDER_METADATA_LABEL, self.metadata(config, lifecycle).to_label()?);
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

    fn metadata(&self, config: &BuilderConfig, lifecycle: Option<&BuilderLifecycle>) -> BuilderMetadata {
        let usual = lifecycle_metadata();
        let list = |kind| self.of(kind).map(|module| module.descriptor.info.clone()).collect::<Vec<_>>();
        BuilderMetadata {
            description: config.description.clone(),
            buildpacks: list(ModuleKind::Buildpack),
            extensions: Some(list(ModuleKind::Extension)).filter(|list| !list.is_empty()),
            images: config.run_images.clone(),
            stack: hoist_spec::BuilderStack { run_image: config.run_images.first().cloned().unwrap_or_default() },
            lifecycle: lifecycle.cloned().unwrap_or(usual.lifecycle),
            created_by: usual.created_by,
        }
    }
}
