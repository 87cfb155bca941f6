//! Build: the buildpacks of the group make their layers, one after another.
//!
//! buildpack.md, "Phase #3: Build"; platform.md, "builder". After each buildpack the lifecycle reads what it left: `<layer>.toml`,
//! `build.toml`, `launch.toml`, SBOM documents; a layer with no type is renamed to `<layer>.ignore`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hoist_events::{Event, Phase, Stream};
use hoist_image::Layer;
use hoist_spec::{
    BuildMetadata, BuildToml, BuildpackDescriptor, BuildpackPlan, DocumentError, Environment, ImageTarget, LaunchToml,
    LayerToml, LegacyBom, MetadataBuildpack, Plan, Process, StoreToml,
};

use crate::buildpacks::Buildpack;
use crate::environment::{self, Operator};
use crate::exchange::Exchange;
use crate::layer_events::elapsed_ms;
use crate::lines::Lines;
use crate::restore::{LayerKey, Restored, RestoredLayer, is_layer_name};
use crate::runner::{BuildpackCall, BuildpackExit, BuildpackPhase, RunnerError, Upper};
use crate::sbom::{self, SbomError, SbomFile, SbomKind};
use crate::setup::Site;
use crate::timing::timed;
use crate::tree::{Node, Tree, TreeError, UpperWriter};

/// A layer as its buildpack left it.
#[derive(Debug, Clone)]
pub(crate) struct BuiltLayer {
    pub(crate) name: String,
    pub(crate) toml: LayerToml,
    /// Why the buildpack made it anew, where it says so.
    pub(crate) why: Option<String>,
}

/// What one buildpack left.
#[derive(Debug, Clone)]
pub(crate) struct BuiltBuildpack {
    pub(crate) id: String,
    pub(crate) version: String,
    /// By name.
    pub(crate) layers: Vec<BuiltLayer>,
    pub(crate) store: Option<StoreToml>,
}

/// All buildpacks of the group have built.
pub struct Built {
    pub(crate) restored: Restored,
    pub(crate) buildpacks: Vec<BuiltBuildpack>,
    pub(crate) metadata: BuildMetadata,
    pub(crate) sboms: Vec<SbomFile>,
}

impl Built {
    /// Processes, labels and slices of the image to come.
    pub fn metadata(&self) -> &BuildMetadata {
        &self.metadata
    }

    /// The phase before.
    pub fn restored(&self) -> &Restored {
        &self.restored
    }
}

/// Build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A process could not be started.
    #[error("running bin/build of {buildpack}")]
    Runner {
        /// `id@version`.
        buildpack: String,
        /// Why.
        #[source]
        source: RunnerError,
    },
    /// A buildpack ended with another code than 0.
    #[error("{buildpack} failed: {how}")]
    Buildpack {
        /// `id@version`.
        buildpack: String,
        /// `exit code 1`, or why it was ended.
        how: String,
        /// The exit code, where it has one.
        code: Option<i32>,
        /// The last lines of its output.
        said: String,
    },
    /// Something that it left cannot be read, or something for it cannot be written.
    #[error("reading what {buildpack} left")]
    Tree {
        /// `id@version`.
        buildpack: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A document that it left is wrong.
    #[error("reading {path} of {buildpack}")]
    Document {
        /// `id@version`.
        buildpack: String,
        /// The document's path inside.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<DocumentError>,
    },
    /// An SBOM document that it left is wrong.
    #[error("reading the SBOM documents of {buildpack}")]
    Sbom {
        /// `id@version`.
        buildpack: String,
        /// Why.
        #[source]
        source: SbomError,
    },
    /// The deprecated bill of materials cannot be written.
    #[error("writing the bill of materials")]
    LegacyBom(#[source] DocumentError),
}

impl BuildError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runner { source, .. } => source.hint.clone(),
            Self::Buildpack { code: None, .. } => Some(
                "see what it wrote last; --build-timeout and --build-memory say how much one may use up".to_owned(),
            ),
            Self::Buildpack { .. } => Some("the buildpack's own message is in the lines above".to_owned()),
            Self::Tree { .. } => Some("the buildpack put something else there; report it to its author".to_owned()),
            Self::Document { source, .. } => source.hint(),
            Self::LegacyBom(source) => source.hint(),
            Self::Sbom { source, .. } => source.hint(),
        }
    }

    /// Whether a buildpack failed, or left what cannot be used.
    pub fn is_of_the_buildpack(&self) -> bool {
        match self {
            Self::Tree { source, .. } | Self::Sbom { source: SbomError::Tree(source), .. } => {
                !source.is_of_the_machine()
            }
            Self::Buildpack { .. } | Self::Document { .. } | Self::Sbom { .. } => true,
            Self::Runner { .. } | Self::LegacyBom(_) => false,
        }
    }

    /// The specification's exit code: 51 for a buildpack's failure, 52 otherwise.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Buildpack { .. } => 51,
            _ => 52,
        }
    }
}

/// Larger than any real document that a buildpack writes.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// A reason is a line.
const MAX_WHY_BYTES: u64 = 4 << 10;

/// Runs the buildpacks of the group.
pub fn build(site: &Site<'_>, restored: Restored) -> Result<Built, BuildError> {
    let detected = &restored.detected;
    let group = GroupToBuild {
        buildpacks: &detected.group,
        plan: &detected.plan,
        target: detected.analyzed.target(),
        layers: &restored.layers,
        restored_dirs: &restored.dirs,
    };
    let Made { buildpacks, metadata, sboms } = build_group(site, &group)?;
    Ok(Built { restored, buildpacks, metadata, sboms })
}

/// What the build of a group starts from.
#[derive(Clone, Copy)]
pub(crate) struct GroupToBuild<'a> {
    pub(crate) buildpacks: &'a [Buildpack],
    pub(crate) plan: &'a Plan,
    pub(crate) target: &'a ImageTarget,
    /// Layers that are mounted, not copied.
    pub(crate) layers: &'a BTreeMap<LayerKey, RestoredLayer>,
    /// Their directories on the host, topmost first.
    pub(crate) restored_dirs: &'a [PathBuf],
}

/// What the buildpacks of a group left.
pub(crate) struct Made {
    pub(crate) buildpacks: Vec<BuiltBuildpack>,
    pub(crate) metadata: BuildMetadata,
    pub(crate) sboms: Vec<SbomFile>,
}

/// Runs the buildpacks of a group, wherever its layers come from.
pub(crate) fn build_group(site: &Site<'_>, group: &GroupToBuild<'_>) -> Result<Made, BuildError> {
    timed(site.reporter, Phase::Build, || {
        let mut work = Work {
            site,
            group: *group,
            // Documents are always in the upper directory: restore writes them there, and stored layers have none.
            tree: Tree::new(vec![site.root.upper_dir.clone()]),
            whole: Tree::new(site.overlay_dirs(group.restored_dirs)),
            operator: Operator::default(),
            environment: environment::initial(site),
            plan: group.plan.clone(),
            metadata: BuildMetadata::default(),
            processes: BTreeMap::new(),
            sboms: Vec::new(),
            launch_bom: LegacyBom::default(),
            build_bom: LegacyBom::default(),
        };
        let mut buildpacks = Vec::new();
        for buildpack in group.buildpacks {
            let plan = work.plan.for_buildpack(&buildpack.descriptor.buildpack.id);
            work.run(buildpack, &plan)?;
            buildpacks.push(work.read(buildpack, &plan)?);
        }
        let legacy = work.legacy_boms()?;
        work.sboms.extend(legacy);
        let mut metadata = work.metadata;
        metadata.processes = work.processes.into_values().collect();
        Ok(Made { buildpacks, metadata, sboms: work.sboms })
    })
}

struct Work<'a> {
    site: &'a Site<'a>,
    group: GroupToBuild<'a>,
    tree: Tree,
    whole: Tree,
    operator: Operator,
    environment: Environment,
    plan: Plan,
    metadata: BuildMetadata,
    processes: BTreeMap<String, Process>,
    sboms: Vec<SbomFile>,
    launch_bom: LegacyBom,
    build_bom: LegacyBom,
}

impl Work<'_> {
    /// "this legacy BOM MUST contain all `bom` entries"; made only where there are any.
    fn legacy_boms(&self) -> Result<Vec<SbomFile>, BuildError> {
        let documents = [(SbomKind::Launch, &self.launch_bom), (SbomKind::Build, &self.build_bom)];
        let some = documents.into_iter().filter(|(_, bom)| !bom.is_empty());
        some.map(|(kind, bom)| Ok(SbomFile::legacy(kind, bom.to_json().map_err(BuildError::LegacyBom)?))).collect()
    }

    fn run(&mut self, buildpack: &Buildpack, plan: &BuildpackPlan) -> Result<(), BuildError> {
        let site = self.site;
        let descriptor = &buildpack.descriptor;
        let name = descriptor.full_name();
        let tree_failed = |source| BuildError::Tree { buildpack: name.clone(), source };
        let text = plan.write().map_err(|source| BuildError::Document {
            buildpack: name.clone(),
            path: "the buildpack plan".into(),
            source: Box::new(source),
        })?;
        let exchange_name = format!("build-{}", hoist_spec::escape_id(&descriptor.buildpack.id));
        let exchange = Exchange::new(site, &exchange_name, &text).map_err(tree_failed)?;
        let call = self.call(buildpack, &exchange).map_err(tree_failed)?;
        let mut lines = Lines::new(Some(site.reporter), &descriptor.buildpack.id);
        site.counters.process_started();
        let started = Instant::now();
        let exit = site
            .runner
            .run(&call, &mut |stream: Stream, bytes: &[u8]| lines.write(stream, bytes))
            .map_err(|source| BuildError::Runner { buildpack: name.clone(), source })?;
        let (elapsed_ms, phase) = (elapsed_ms(started), Phase::Build);
        site.reporter.report(&Event::BuildpackFinished { buildpack: name.clone(), phase, elapsed_ms });
        let said = lines.finish();
        let (how, code) = match exit {
            BuildpackExit::Exited(0) => return Ok(()),
            BuildpackExit::Exited(code) => (format!("exit code {code}"), Some(code)),
            BuildpackExit::Killed { reason } => (reason, None),
        };
        Err(BuildError::Buildpack { buildpack: name, how, code, said })
    }

    fn call(&self, buildpack: &Buildpack, exchange: &Exchange) -> Result<BuildpackCall, TreeError> {
        let site = self.site;
        let descriptor = &buildpack.descriptor;
        let layers_dir = site.buildpack_layers_dir(&descriptor.buildpack.id);
        let platform_dir = site.directories.platform_dir.clone();
        let plan_path = exchange.plan_path();
        let mut variables = vec![("CNB_BUILDPACK_DIR", buildpack.dir.as_path())];
        if descriptor.api.at_least(8) {
            variables.extend([
                ("CNB_PLATFORM_DIR", platform_dir.as_path()),
                ("CNB_BP_PLAN_PATH", plan_path.as_path()),
                ("CNB_LAYERS_DIR", layers_dir.as_path()),
            ]);
        }
        let environment = environment::for_buildpack(
            site,
            &self.operator,
            &self.environment,
            descriptor,
            self.group.target,
            &variables,
        )?;
        Ok(BuildpackCall {
            phase: BuildpackPhase::Build,
            buildpack_id: descriptor.buildpack.id.clone(),
            buildpack_version: descriptor.buildpack.version.clone(),
            program: buildpack.dir.join("bin/build"),
            args: [&layers_dir, &platform_dir, &plan_path].map(|path| path.clone().into_os_string()).to_vec(),
            environment: environment.into_variables(),
            working_dir: site.directories.app_dir.clone(),
            exchange_host_dir: exchange.host_dir().to_owned(),
            exchange_dir: exchange.inside_dir().to_owned(),
            restored_dirs: self.group.restored_dirs.to_vec(),
            upper: Upper::Keep(site.root.upper_dir.clone()),
        })
    }

    /// What makes up one layer: the upper directory and the layers that it was restored from.
    fn layer_tree(&self, id: &str, name: &str) -> Tree {
        let mut dirs = vec![self.site.root.upper_dir.clone()];
        if let Some(restored) = self.group.layers.get(&(id.to_owned(), name.to_owned())) {
            dirs.extend(restored.layers.iter().rev().map(Layer::tree_dir));
        }
        Tree::new(dirs)
    }

    /// Reads what a buildpack left and takes it into account for those after it.
    fn read(&mut self, buildpack: &Buildpack, plan: &BuildpackPlan) -> Result<BuiltBuildpack, BuildError> {
        let descriptor = &buildpack.descriptor;
        let name = descriptor.full_name();
        let tree_failed = |source| BuildError::Tree { buildpack: name.clone(), source };
        let id = &descriptor.buildpack.id;
        let dir = self.site.buildpack_layers_dir(id);
        let layers = self.read_layers(descriptor, &dir)?;
        for layer in layers.iter().filter(|layer| layer.toml.types().build) {
            let tree = self.layer_tree(id, &layer.name);
            environment::add_build_layer(&mut self.environment, &tree, &self.whole, &dir.join(&layer.name))
                .map_err(tree_failed)?;
        }
        let build = self.document(descriptor, &dir.join("build.toml"), |text| BuildToml::parse(text, plan))?;
        let BuildToml { bom, unmet } = build.unwrap_or_default();
        self.build_bom.add(id, &descriptor.buildpack.version, &bom);
        let unmet: BTreeSet<&String> = unmet.iter().map(|unmet| &unmet.name).collect();
        let met = plan.entries.iter().map(|entry| &entry.name).filter(|name| !unmet.contains(name)).cloned().collect();
        self.plan.remove_met(&met);
        let types = |name: &str| layers.iter().find(|layer| layer.name == name).map(|layer| layer.toml.types());
        let sboms = sbom::collect(&self.tree, &dir, descriptor, &types)
            .map_err(|source| BuildError::Sbom { buildpack: name.clone(), source })?;
        self.sboms.extend(sboms);
        let api = descriptor.api;
        let launch = self.document(descriptor, &dir.join("launch.toml"), |text| LaunchToml::parse(text, api))?;
        self.add_launch(descriptor, launch.unwrap_or_default());
        let store = self.document(descriptor, &dir.join("store.toml"), StoreToml::parse)?;
        self.metadata.buildpacks.push(MetadataBuildpack {
            id: id.clone(),
            version: descriptor.buildpack.version.clone(),
            api,
            homepage: descriptor.buildpack.homepage.clone(),
        });
        Ok(BuiltBuildpack { id: id.clone(), version: descriptor.buildpack.version.clone(), layers, store })
    }

    fn document<T>(
        &self,
        descriptor: &BuildpackDescriptor,
        path: &Path,
        parse: impl FnOnce(&str) -> Result<T, DocumentError>,
    ) -> Result<Option<T>, BuildError> {
        let buildpack = descriptor.full_name();
        match self.tree.read_text(path, MAX_DOCUMENT_BYTES) {
            Err(source) => Err(BuildError::Tree { buildpack, source }),
            Ok(None) => Ok(None),
            Ok(Some(text)) => match parse(&text) {
                Ok(document) => Ok(Some(document)),
                Err(source) => Err(BuildError::Document { buildpack, path: path.to_owned(), source: Box::new(source) }),
            },
        }
    }

    fn read_layers(&self, descriptor: &BuildpackDescriptor, dir: &Path) -> Result<Vec<BuiltLayer>, BuildError> {
        let tree_failed = |source| BuildError::Tree { buildpack: descriptor.full_name(), source };
        let mut layers = Vec::new();
        for (file, node) in self.tree.list(dir).map_err(tree_failed)? {
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".toml")) else { continue };
            if matches!(node, Node::Directory(_)) || !is_layer_name(name) {
                continue;
            }
            let path = dir.join(&file);
            let Some(toml) = self.document(descriptor, &path, LayerToml::parse)? else { continue };
            let types = toml.types();
            if !types.launch && !types.build && !types.cache {
                self.ignore(&descriptor.buildpack.id, dir, name).map_err(tree_failed)?;
            }
            layers.push(BuiltLayer { name: name.to_owned(), toml, why: self.why(dir, name) });
        }
        Ok(layers)
    }

    /// The first line of `<layer>.why`, with which a buildpack may say why it made a layer anew. It is told and goes nowhere; one that cannot be
    /// read is none.
    fn why(&self, dir: &Path, name: &str) -> Option<String> {
        let text = self.tree.read_text(&dir.join(format!("{name}.why")), MAX_WHY_BYTES).ok()??;
        let line = text.lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// "the lifecycle MUST rename `<layers>/<layer>/` to `<layers>/<layer>.ignore/`", so that later buildpacks do not find it.
    fn ignore(&self, id: &str, dir: &Path, name: &str) -> Result<(), TreeError> {
        let site = self.site;
        let layer_dir = dir.join(name);
        let tree = self.layer_tree(id, name);
        if !tree.is_dir(&layer_dir)? {
            return Ok(());
        }
        let owner = site.user.chown.then_some((site.user.uid, site.user.gid));
        let writer = UpperWriter::new(site.root.upper_dir.clone(), owner);
        if writer.host_path(&layer_dir)?.is_dir() {
            writer.rename(&layer_dir, &dir.join(format!("{name}.ignore")))?;
        }
        if tree.is_dir(&layer_dir)? {
            writer.whiteout(&layer_dir)?;
        }
        Ok(())
    }

    /// The last definition of a process type and of a label counts; a definition that is not the default takes the default away.
    fn add_launch(&mut self, descriptor: &BuildpackDescriptor, launch: LaunchToml) {
        self.launch_bom.add(&descriptor.buildpack.id, &descriptor.buildpack.version, &launch.bom);
        for entry in launch.processes {
            let default = &mut self.metadata.buildpack_default_process_type;
            if entry.default {
                *default = Some(entry.kind.clone());
            } else if default.as_ref() == Some(&entry.kind) {
                let text = format!("the default process `{}` is redefined by one that is not the default", entry.kind);
                self.site.reporter.warn(&text, Some("add default = true to its definition"));
                *default = None;
            }
            let mut working_dir = entry.working_dir;
            if working_dir.is_some() && !descriptor.api.at_least(8) {
                let text = format!("working-dir of process `{}` is ignored below buildpack API 0.8", entry.kind);
                self.site.reporter.warn(&text, None);
                working_dir = None;
            }
            let process = Process {
                kind: entry.kind.clone(),
                command: hoist_spec::Command::List(entry.command.entries()),
                args: entry.args,
                direct: descriptor.api.at_least(9) || entry.direct.unwrap_or(false),
                default: false,
                buildpack_id: descriptor.buildpack.id.clone(),
                working_dir,
                exec_env: entry.exec_env,
            };
            self.processes.insert(entry.kind, process);
        }
        self.metadata.labels.extend(launch.labels);
        self.metadata.slices.extend(launch.slices);
    }
}
