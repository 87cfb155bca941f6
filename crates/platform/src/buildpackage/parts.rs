//! The parts of a package: found, checked against each other, and put into layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hoist_debian::masked;
use hoist_image::{DiffId, Layer, Store};
use hoist_spec::{BuildpackLayersLabel, ModuleConfig, Stack, Target, merge_stacks};

use super::{PackageError, Place};
use crate::module::{Module, ModuleDescriptor, ModuleError, ModuleKind, Modules, flatten};

/// A buildpack with what it depends on, by id and version.
pub(super) struct Parts {
    modules: Vec<Module>,
    /// Which of them the package is of.
    main: usize,
}

/// What the package is of.
pub(super) enum Main {
    /// A folder, whose files are read for each target.
    Folder(Box<ModuleDescriptor>),
    /// Something else, which is the same for all.
    Read(Box<Module>),
}

impl Main {
    pub(super) fn descriptor(&self) -> &ModuleDescriptor {
        match self {
            Self::Folder(descriptor) => descriptor,
            Self::Read(module) => &module.descriptor,
        }
    }
}

impl Place {
    /// Relative to the working folder, as what is typed.
    pub(super) fn typed() -> Self {
        Self { path: None, base_dir: PathBuf::from(".") }
    }

    fn failed(&self, wanted: &ModuleConfig) -> impl FnOnce(ModuleError) -> PackageError {
        self.failed_to("packaging", wanted)
    }

    pub(super) fn failed_to(
        &self,
        doing: &'static str,
        wanted: &ModuleConfig,
    ) -> impl FnOnce(ModuleError) -> PackageError {
        let place = match &self.path {
            Some(path) => format!("{}, line {}", path.display(), wanted.line),
            None => format!("`{}`", masked(&wanted.location)),
        };
        move |source| PackageError::Module { doing, place, source: Box::new(source) }
    }

    /// What the package is to be of: no package, and of the kind that was asked for. Of a folder only the descriptor is read, since the files may
    /// differ between targets.
    pub(super) fn main(
        &self,
        modules: &Modules<'_>,
        wanted: &ModuleConfig,
        kind: ModuleKind,
    ) -> Result<Main, PackageError> {
        let location = || masked(&wanted.location);
        let described = modules.describe_folder(wanted).map_err(self.failed(wanted))?;
        let main = if let Some(descriptor) = described {
            Main::Folder(Box::new(descriptor))
        } else {
            let found = modules.read_alone(wanted).map_err(self.failed(wanted))?;
            Main::Read(Box::new(found.ok_or_else(|| PackageError::IsPackage { location: location() })?))
        };
        if main.descriptor().kind != kind {
            return Err(PackageError::Kind { location: location(), seen: main.descriptor().kind, wanted: kind });
        }
        Ok(main)
    }

    /// The main buildpack and its dependencies.
    pub(super) fn parts(
        &self,
        modules: &Modules<'_>,
        main: &Main,
        wanted: &ModuleConfig,
        dependencies: &[ModuleConfig],
    ) -> Result<Parts, PackageError> {
        let main = match main {
            Main::Read(module) => (**module).clone(),
            Main::Folder(_) => {
                let found = modules.read_alone(wanted).map_err(self.failed(wanted))?;
                found.ok_or_else(|| PackageError::IsPackage { location: masked(&wanted.location) })?
            }
        };
        let key = |module: &Module| (module.descriptor.id.clone(), module.descriptor.version.clone());
        let main_key = key(&main);
        let mut all: BTreeMap<(String, String), Module> = BTreeMap::from([(main_key.clone(), main)]);
        for wanted in dependencies {
            for module in modules.find(wanted).map_err(self.failed(wanted))? {
                if module.descriptor.kind != ModuleKind::Buildpack {
                    let (seen, location) = (module.descriptor.kind, module.location);
                    return Err(PackageError::Kind { location, seen, wanted: ModuleKind::Buildpack });
                }
                match all.get(&key(&module)) {
                    Some(known) if known.descriptor != module.descriptor => {
                        return Err(PackageError::Twice {
                            module: module.descriptor.full_name(),
                            first: known.location.clone(),
                            second: module.location,
                        });
                    }
                    Some(_) => {}
                    None => {
                        all.insert(key(&module), module);
                    }
                }
            }
        }
        let at = all.keys().position(|key| *key == main_key).unwrap_or_default();
        Ok(Parts { modules: all.into_values().collect(), main: at })
    }
}

impl Parts {
    /// A buildpack, first, with nothing to look for.
    pub(super) fn alone(modules: Vec<Module>) -> Self {
        Self { modules, main: 0 }
    }

    pub(super) fn main(&self) -> &Module {
        &self.modules[self.main]
    }

    /// `id@version` of all.
    pub(super) fn names(&self) -> Vec<String> {
        self.modules.iter().map(|module| module.descriptor.full_name()).collect()
    }

    /// Whether they are a package: nothing is missing, nothing is for nothing, and something runs them all.
    pub(super) fn check(&self, target: Option<&Target>) -> Result<(), PackageError> {
        self.check_orders()?;
        self.check_stacks()?;
        self.check_common_target()?;
        let Some(target) = target else { return Ok(()) };
        let fits = |own: &[Target]| own.is_empty() || own.iter().any(|own| own.meet(target).is_some());
        match self.modules.iter().map(|module| &module.descriptor).find(|descriptor| !fits(&descriptor.targets)) {
            Some(descriptor) => Err(PackageError::NotForTarget {
                target: target.to_string(),
                module: descriptor.full_name(),
                targets: shown(&descriptor.targets),
            }),
            None => Ok(()),
        }
    }

    fn check_orders(&self) -> Result<(), PackageError> {
        let names: BTreeSet<String> = self.names().into_iter().collect();
        let main = self.main().descriptor.full_name();
        let mut unused: BTreeSet<&String> = names.iter().filter(|name| **name != main).collect();
        for Module { descriptor, .. } in &self.modules {
            for entry in descriptor.order.iter().flat_map(|group| &group.group) {
                let wanted = format!("{}@{}", entry.id, entry.version);
                if !names.contains(&wanted) {
                    return Err(PackageError::Missing {
                        composite: descriptor.full_name(),
                        wanted,
                        known: self.names().join(", "),
                    });
                }
                unused.remove(&wanted);
            }
        }
        match unused.first() {
            Some(module) => Err(PackageError::Unused { module: (*module).clone(), main }),
            None => Ok(()),
        }
    }

    /// Stacks that all support, and each with the mixins that one of them needs.
    pub(super) fn stacks(&self) -> Vec<Stack> {
        self.merged_stacks().unwrap_or_default()
    }

    fn check_stacks(&self) -> Result<(), PackageError> {
        self.merged_stacks().map(drop)
    }

    fn merged_stacks(&self) -> Result<Vec<Stack>, PackageError> {
        let any = Stack { id: "*".to_owned(), mixins: Vec::new() };
        let mut merged: Option<Vec<Stack>> = None;
        // Composites and extensions run nowhere themselves.
        let components = self
            .modules
            .iter()
            .filter(|module| module.descriptor.order.is_empty() && module.descriptor.kind == ModuleKind::Buildpack);
        for Module { descriptor, .. } in components {
            let own =
                if descriptor.label.stacks.is_empty() { vec![any.clone()] } else { descriptor.label.stacks.clone() };
            let common = merged.as_ref().map_or_else(|| own.clone(), |merged| merge_stacks(merged, &own));
            if common.is_empty() {
                let stacks: Vec<&str> = own.iter().map(|stack| stack.id.as_str()).collect();
                return Err(PackageError::Stacks {
                    main: self.main().descriptor.full_name(),
                    module: descriptor.full_name(),
                    stacks: stacks.join(", "),
                });
            }
            merged = Some(common);
        }
        Ok(merged.unwrap_or_default())
    }

    fn check_common_target(&self) -> Result<(), PackageError> {
        let mut common = vec![Target::default()];
        for Module { descriptor, .. } in self.modules.iter().filter(|module| !module.descriptor.targets.is_empty()) {
            let pairs = common.iter().flat_map(|one| descriptor.targets.iter().filter_map(|other| one.meet(other)));
            let met: Vec<Target> = pairs.collect();
            if met.is_empty() {
                return Err(PackageError::Targets {
                    main: self.main().descriptor.full_name(),
                    module: descriptor.full_name(),
                    targets: shown(&descriptor.targets),
                    others: shown(&common),
                });
            }
            common = met;
        }
        Ok(())
    }

    /// Each part with its layer: its own, or one of all that are not in `exclude`.
    pub(super) fn layers(
        &self,
        store: &Store,
        exclude: Option<&[String]>,
    ) -> Result<Vec<(usize, Layer)>, PackageError> {
        let own = |at: usize| (at, self.modules[at].layer.clone());
        let Some(exclude) = exclude else { return Ok((0..self.modules.len()).map(own).collect()) };
        let names = self.names();
        if let Some(module) = exclude.iter().find(|wanted| !names.contains(*wanted)) {
            return Err(PackageError::Exclude { module: module.clone(), known: names.join(", ") });
        }
        let (alone, together): (Vec<usize>, Vec<usize>) =
            (0..names.len()).partition(|at| exclude.contains(&names[*at]));
        let modules: Vec<&Module> = together.iter().map(|at| &self.modules[*at]).collect();
        let layer = flatten(store, &modules).map_err(|source| PackageError::Layer { source })?;
        let mut placed: Vec<(usize, Layer)> = alone.into_iter().map(own).collect();
        placed.extend(together.into_iter().map(|at| (at, layer.clone())));
        placed.sort_by_key(|(at, _)| *at);
        Ok(placed)
    }

    pub(super) fn layers_label(&self, placed: &[(usize, Layer)]) -> BuildpackLayersLabel {
        let mut label = BuildpackLayersLabel::default();
        for (at, layer) in placed {
            let descriptor = &self.modules[*at].descriptor;
            let mut info = descriptor.label.clone();
            info.layer_diff_id = layer.diff_id().to_string();
            label.0.entry(descriptor.id.clone()).or_default().insert(descriptor.version.clone(), info);
        }
        label
    }
}

/// Each layer once.
pub(super) fn distinct(placed: &[(usize, Layer)]) -> Vec<&Layer> {
    let mut seen: BTreeSet<DiffId> = BTreeSet::new();
    placed.iter().map(|(_, layer)| layer).filter(|layer| seen.insert(layer.diff_id())).collect()
}

fn shown(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
