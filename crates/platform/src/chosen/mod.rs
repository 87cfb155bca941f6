//! A builder with the buildpacks that one build asks for: instead of its order, or around it.
//!
//! Where pack makes a builder image for each such build, further lower directories lie over the builder's own here: the layers of the
//! buildpacks, which are in the store once. A buildpack that the builder has in the same version but with other content is hidden first.
//! None of them is hoist's own (they neither see the shared cache nor share layers), except those that hoist brings along itself, on a builder
//! that hoist made.

mod error;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_image::{Attributes, Layer, Lease, Reference};
use hoist_spec::{BuildpackLayersLabel, GroupEntry, ModuleConfig, OrderGroup, ProjectBuildpackSource};

use crate::builder::{BUILDER_NAME, Builder, layer_of, programs};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::module::{Module, ModuleError, ModuleKind, Modules};
use crate::named_builder::Labels;
use crate::place::docker_has;
use crate::request::{Asked, BuildNetwork, BuildRequest, WantedBuildpack};
pub use error::ChosenError;
use order::{Piece, around, instead};

/// What a location of hoist's own buildpacks begins with.
const SHIPPED: &str = "urn:hoist:buildpack:";
/// What stands for the builder's order.
const BUILDER_ORDER: &str = "from=builder";

/// What lies over the image of a builder for one build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Topmost first.
    layers: Vec<Layer>,
    /// Ids of those that are not hoist's own.
    foreign: BTreeSet<String>,
    /// Keeps them from being pruned.
    lease: Option<Arc<Lease>>,
}

impl Extra {
    pub(crate) fn dirs(&self) -> impl Iterator<Item = PathBuf> {
        self.layers.iter().map(Layer::tree_dir)
    }

    /// Whether a buildpack of this id that is not hoist's own lies there.
    pub(crate) fn has_foreign(&self, id: &str) -> bool {
        self.foreign.contains(id)
    }
}

impl LocalEngine {
    /// The builder with the buildpacks that the request asks for. `app_dir` is the staged app, in which relative paths of an archive's own
    /// descriptor lie.
    pub(crate) fn with_buildpacks(
        &self,
        mut builder: Builder,
        request: &BuildRequest,
        app_dir: &Path,
    ) -> Result<Builder, PlatformError> {
        let choice = &request.buildpacks;
        let name = request.builder.as_ref().map_or_else(|| BUILDER_NAME.to_owned(), ToString::to_string);
        if !choice.is_empty() {
            if choice.has_idle_sides() {
                let hint = "put them into the group, around from=builder";
                self.reporter()
                    .warn("buildpacks before and behind the builder's order have no effect beside a group", Some(hint));
            }
            let lease = Arc::new(self.store().lease()?);
            let labels = Labels::read(&builder.image, &name)?;
            let mut search = Search {
                engine: self,
                request,
                app_dir,
                lease: &lease,
                in_builder: &labels.layers,
                found: BTreeMap::new(),
            };
            let groups = search.groups(&labels.groups)?;
            search.check_composites()?;
            let order = if choice.without_system { groups } else { labels.system.around(&groups) };
            let found = search.found;
            builder.order.order = order;
            self.lay_over(&mut builder, found, &labels.layers)?;
            builder.extra.lease = Some(lease);
        }
        if builder.order.order.iter().all(|group| group.group.is_empty()) {
            return Err(ChosenError::NoOrder { builder: name }.into());
        }
        Ok(builder)
    }

    fn lay_over(
        &self,
        builder: &mut Builder,
        found: BTreeMap<String, Found>,
        in_builder: &BuildpackLayersLabel,
    ) -> Result<(), PlatformError> {
        let made_by_hoist = !builder.own_buildpacks.is_empty();
        let (mut layers, mut hidden, mut shipped) = (Vec::<Layer>::new(), Vec::new(), false);
        for (name, Found { module, .. }) in found {
            let descriptor = &module.descriptor;
            let there = in_builder.0.get(&descriptor.id).and_then(|versions| versions.get(&descriptor.version));
            if there.is_some_and(|there| there.layer_diff_id == module.layer.diff_id().to_string()) {
                continue;
            }
            let own = made_by_hoist && module.location.starts_with(SHIPPED);
            shipped |= module.location.starts_with(SHIPPED);
            if own {
                builder.own_buildpacks.insert(name);
            } else {
                builder.own_buildpacks.remove(&name);
                builder.extra.foreign.insert(descriptor.id.clone());
            }
            if there.is_some() {
                hidden.push(descriptor.dir());
            }
            if layers.iter().all(|layer| layer.diff_id() != module.layer.diff_id()) {
                layers.push(module.layer);
            }
        }
        if shipped {
            // Their programs are links to hoist, which this builder may not have, or in another version.
            layers.push(layer_of(self.store(), "hoist's own binary and launcher", |layer| {
                programs(layer, self.parts())
            })?);
        }
        if !hidden.is_empty() {
            layers.push(layer_of(self.store(), "what hides buildpacks of the builder", |layer| {
                hidden.iter().try_for_each(|dir| {
                    layer.directory(dir, Attributes::root(0o755))?;
                    layer.opaque(dir).map(|_| ())
                })
            })?);
        }
        builder.extra.layers = layers;
        Ok(())
    }
}

/// A buildpack that was found, and who asked for it.
struct Found {
    module: Module,
    place: String,
}

/// Finds what a build asks for.
struct Search<'a> {
    engine: &'a LocalEngine,
    request: &'a BuildRequest,
    app_dir: &'a Path,
    lease: &'a Lease,
    in_builder: &'a BuildpackLayersLabel,
    /// By `id@version`.
    found: BTreeMap<String, Found>,
}

impl Search<'_> {
    fn groups(&mut self, builder: &[OrderGroup]) -> Result<Vec<OrderGroup>, ChosenError> {
        let choice = &self.request.buildpacks;
        if choice.group.is_empty() {
            let mut pre = self.entries(&choice.pre)?;
            // As pack has it, each option puts its buildpack before what is there; a descriptor's list is a list.
            if choice.pre.iter().all(|wanted| matches!(wanted.asked, Asked::Option(_))) {
                pre.reverse();
            }
            let post = self.entries(&choice.post)?;
            return Ok(around(builder, &pre, &post));
        }
        let mut pieces = Vec::new();
        for wanted in &choice.group {
            let is_builder = matches!(&wanted.source, ProjectBuildpackSource::Locator(text) if text == BUILDER_ORDER);
            if is_builder && pieces.contains(&Piece::Builder) {
                return Err(ChosenError::BuilderTwice { place: wanted.place() });
            }
            pieces.push(if is_builder { Piece::Builder } else { Piece::One(self.entry(wanted)?) });
        }
        Ok(instead(builder, &pieces))
    }

    fn entries(&mut self, wanted: &[WantedBuildpack]) -> Result<Vec<GroupEntry>, ChosenError> {
        wanted.iter().map(|wanted| self.entry(wanted)).collect()
    }

    /// As pack looks for it: a path first, then the builder, then an image.
    fn entry(&mut self, wanted: &WantedBuildpack) -> Result<GroupEntry, ChosenError> {
        let place = wanted.place();
        let text = match &wanted.source {
            ProjectBuildpackSource::Script(_) => return self.add_outside(wanted, place),
            ProjectBuildpackSource::Locator(text) => text.as_str(),
        };
        if text.trim().is_empty() {
            return Err(ChosenError::Nothing { place });
        }
        if let Some(id) = text.strip_prefix("urn:cnb:builder:").or_else(|| text.strip_prefix("from=builder:")) {
            return self.of_builder(id, &place)?.ok_or_else(|| ChosenError::NotInBuilder {
                place,
                wanted: id.to_owned(),
                known: self.known(),
            });
        }
        if text == "urn:cnb:registry" || text.starts_with("urn:cnb:registry:") {
            return Err(ChosenError::Registry { place });
        }
        let is_uri =
            ["urn:hoist:", "docker:/", "http://", "https://", "file:"].iter().any(|scheme| text.starts_with(scheme));
        let looks_like_path = text.starts_with(['.', '/']);
        if is_uri || looks_like_path || self.base_dir(wanted).join(text).exists() {
            return self.add_outside(wanted, place);
        }
        if let Some(entry) = self.of_builder(text, &place)? {
            return Ok(entry);
        }
        let name = text.parse::<Reference>().ok();
        if let Some(name) = &name {
            let failed = |source: ModuleError| ChosenError::Module { place: place.clone(), source: Box::new(source) };
            self.engine.bring(name).map_err(|error| failed(error.into()))?;
        }
        let image = name.as_ref().map(|name| self.engine.find_named(name)).transpose()?.flatten();
        if image.is_some() {
            return self.add_outside(wanted, place);
        }
        let in_docker = name.is_some_and(|name| docker_has(&name.to_string()));
        Err(ChosenError::Unknown { place, wanted: text.to_owned(), known: self.known(), in_docker })
    }

    fn known(&self) -> Vec<String> {
        let names = |(id, versions): (&String, &BTreeMap<String, _>)| {
            versions.keys().map(|version| format!("{id}@{version}")).collect::<Vec<_>>()
        };
        self.in_builder.0.iter().flat_map(names).collect()
    }

    /// `ID[@VERSION]` of the builder; none where it has no such buildpack.
    fn of_builder(&self, text: &str, place: &str) -> Result<Option<GroupEntry>, ChosenError> {
        let (id, version) = text.split_once('@').unwrap_or((text, ""));
        let Some(versions) = self.in_builder.0.get(id) else { return Ok(None) };
        if !version.is_empty() {
            return Ok(versions.contains_key(version).then(|| GroupEntry::new(id, version)));
        }
        let versions: Vec<String> = versions.keys().cloned().collect();
        match versions.as_slice() {
            [only] => Ok(Some(GroupEntry::new(id, only.clone()))),
            _ => Err(ChosenError::Versions { place: place.to_owned(), id: id.to_owned(), versions }),
        }
    }

    /// Where relative paths start.
    fn base_dir(&self, wanted: &WantedBuildpack) -> PathBuf {
        let parent = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
        match &wanted.asked {
            Asked::Option(_) => PathBuf::new(),
            Asked::Descriptor { path, .. } => parent(path),
            Asked::Source { .. } if self.request.source.is_dir() => self.request.source.clone(),
            Asked::Source { .. } => self.app_dir.to_owned(),
        }
    }

    /// From outside of the builder, with what it brings along.
    fn add_outside(&mut self, wanted: &WantedBuildpack, place: String) -> Result<GroupEntry, ChosenError> {
        let base_dir = self.base_dir(wanted);
        let mut modules = Modules::new(self.engine, &base_dir, &self.engine.parts().buildpacks, self.lease);
        if matches!(wanted.asked, Asked::Source { .. }) {
            modules = modules.confined(self.request.network == BuildNetwork::None);
        }
        let failed = |source: ModuleError| ChosenError::Module { place: place.clone(), source: Box::new(source) };
        let found = match &wanted.source {
            ProjectBuildpackSource::Script(script) => modules.script(script, &place).map(|module| vec![module]),
            ProjectBuildpackSource::Locator(text) => {
                modules.find_with_dependencies(&ModuleConfig { location: text.clone(), ..ModuleConfig::default() })
            }
        };
        let found = found.map_err(failed)?;
        // The first one is the package's own.
        let main = found.first().map(|module| module.descriptor.clone());
        let main = main.ok_or_else(|| ChosenError::Nothing { place: place.clone() })?;
        if main.kind == ModuleKind::Extension {
            return Err(ChosenError::Extension { place, module: main.full_name() });
        }
        for module in found.into_iter().filter(|module| module.descriptor.kind == ModuleKind::Buildpack) {
            let name = module.descriptor.full_name();
            match self.found.get(&name) {
                Some(known) if known.module.descriptor != module.descriptor => {
                    let (first, second) = (known.module.location.clone(), module.location);
                    return Err(ChosenError::Twice { module: name, first, second });
                }
                Some(_) => {}
                None => _ = self.found.insert(name, Found { module, place: place.clone() }),
            }
        }
        Ok(GroupEntry::new(main.id, main.version))
    }

    /// What composites consist of must be there, too.
    fn check_composites(&self) -> Result<(), ChosenError> {
        for Found { module, place } in self.found.values() {
            let parts = module.descriptor.order.iter().flat_map(|group| &group.group);
            for part in parts.filter(|part| !part.optional) {
                let name = format!("{}@{}", part.id, part.version);
                let in_builder = self.in_builder.0.get(&part.id).is_some_and(|all| all.contains_key(&part.version));
                if !in_builder && !self.found.contains_key(&name) {
                    let composite = module.descriptor.full_name();
                    return Err(ChosenError::Part { place: place.clone(), composite, part: name });
                }
            }
        }
        Ok(())
    }
}
