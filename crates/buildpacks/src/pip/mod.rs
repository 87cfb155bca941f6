//! `hoist/pip`: installs what requirements.txt asks for into a layer, through uv.

mod binaries;
mod bytecode_shelf;
mod diagnosis;
mod distributions;
mod environment;
mod install;
pub(crate) mod interpreter;
mod key;
mod libraries;
mod lock;
mod managers;
mod names;
mod requirements;
mod sbom;
pub(crate) mod settings;
pub(crate) mod uv;
mod vendored;

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::buildpack::{Buildpack, Detection, Provide, Require};
use crate::context::{BuildContext, Context, DetectContext};
use crate::failure::Failure;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes, SbomFormat};

use bytecode_shelf::BytecodeShelf;
use environment::VirtualEnvironment;
use install::Installation;
use interpreter::Interpreter;
use key::{EnvironmentKey, Verdict};
pub(crate) use libraries::RUN_PACKAGES;
use lock::Resolutions;
use managers::Dependencies;
pub(crate) use names::distance as name_distance;
use requirements::RequirementsTree;
use settings::Settings;
use uv::{UV_VERSION, Uv, UvError};

/// The folder that all builds of a machine share, where the platform allows it.
const CACHE_VARIABLE: &str = "HOIST_CACHE_DIR";
/// `deny` while the shared folder can be written.
const SOURCE_BUILDS_VARIABLE: &str = "HOIST_SOURCE_BUILDS";

/// The layer that is the environment.
const LAYER: &str = "env";

/// The buildpack.
pub(crate) struct Pip;

impl Buildpack for Pip {
    fn id(&self) -> &'static str {
        "hoist/pip"
    }

    fn name(&self) -> &'static str {
        "Hoist pip"
    }

    fn description(&self) -> &'static str {
        "Installs requirements.txt through uv, one layer for each distribution, compiled"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        let requires = || {
            let python = Require::new("python").with("build", true).with("launch", true);
            vec![python, Require::new("site-packages").with("build", true).with("launch", true)]
        };
        Ok(match managers::dependencies(context.common) {
            Dependencies::None => Detection::fail("no file asks for packages (requirements.txt would)"),
            // What cannot be installed is said by build, where it is read.
            _ => Detection::Pass { provides: vec![Provide::new("site-packages")], requires: requires() },
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        match managers::dependencies(context.common) {
            Dependencies::None => Ok(()),
            Dependencies::Foreign { files } => Err(managers::explain_foreign(&files)),
            Dependencies::Ambiguous { requirements, others } => {
                Err(managers::explain_ambiguous(&requirements, &others))
            }
            Dependencies::Requirements { file, reason } => {
                context.output.step(format!("packages from {file} ({reason})"));
                build_environment(context, Path::new(&file))
            }
        }
    }
}

/// Whether the app's files can be read and decided about; nothing is looked up.
pub(crate) fn foresee(context: &Context) -> Result<(), Failure> {
    match managers::dependencies(context) {
        Dependencies::None => Ok(()),
        Dependencies::Foreign { files } => Err(managers::explain_foreign(&files)),
        Dependencies::Ambiguous { requirements, others } => Err(managers::explain_ambiguous(&requirements, &others)),
        Dependencies::Requirements { file, .. } => requirements::read_requirements(&context.app_dir, Path::new(&file))
            .map(|_| ())
            .map_err(|error| diagnosis::explain_unreadable(&error)),
    }
}

/// What is remembered of the environment between builds.
#[derive(Debug, Serialize, Deserialize)]
struct EnvironmentMetadata {
    #[serde(flatten)]
    key: EnvironmentKey,
    /// What was chosen.
    lock: Vec<String>,
    hoist: Split,
}

/// Tells hoist's exporter that this layer may become one layer for each distribution.
#[derive(Debug, Serialize, Deserialize)]
struct Split {
    split: String,
}

impl EnvironmentMetadata {
    fn new(key: EnvironmentKey, lock: Vec<String>) -> Self {
        Self { key, lock, hoist: Split { split: "distributions".to_owned() } }
    }
}

const ENVIRONMENT_TYPES: LayerTypes = LayerTypes { build: true, launch: true, cache: true };

fn build_environment(context: &BuildContext<'_>, file: &Path) -> Result<(), Failure> {
    let common = context.common;
    let tree = requirements::read_requirements(&common.app_dir, file)
        .map_err(|error| diagnosis::explain_unreadable(&error))?;
    let interpreter = Interpreter::find(common)?;
    let settings = settings::settings(common);
    let layer = context.layer(LAYER);
    let key = EnvironmentKey::new(&tree, &common.app_dir, &interpreter, &settings, layer.dir());
    let old: Option<EnvironmentMetadata> = if layer.has_content() { layer.metadata() } else { None };
    let environment = VirtualEnvironment::at(layer.dir(), &interpreter);
    let is_new = match old.as_ref().map(|old| key.verdict(&old.key)) {
        Some(Verdict::Keep) => {
            let old_lock = old.map(|old| old.lock).unwrap_or_default();
            context.output.step(format!("{}, unchanged", packages(old_lock.len())));
            keep_caches(context)?;
            return write_layer(context, &environment, &EnvironmentMetadata::new(key, old_lock));
        }
        Some(Verdict::Update(mut reasons)) => {
            let replaced = environment.replaced_link(&interpreter);
            reasons.extend(replaced.as_ref().map(|name| format!("{name} is not what it was made as")));
            let what = if replaced.is_some() { "installing anew" } else { "updating" };
            context.output.step(format!("{what}: {}", reasons.join("; ")));
            layer.explain(&reasons);
            replaced.is_some()
        }
        Some(Verdict::Remake(reasons)) => {
            context.output.step(format!("installing anew: {}", reasons.join("; ")));
            layer.explain(&reasons);
            true
        }
        None => true,
    };
    install_into(context, &layer, environment, &Choice { tree, interpreter, settings, key }, is_new)
}

/// All that decides what is installed.
struct Choice {
    tree: RequirementsTree,
    interpreter: Interpreter,
    settings: Settings,
    key: EnvironmentKey,
}

fn install_into(
    context: &BuildContext<'_>,
    layer: &Layer,
    environment: VirtualEnvironment,
    choice: &Choice,
    is_new: bool,
) -> Result<(), Failure> {
    let Choice { tree, interpreter, settings, key } = choice;
    let common = context.common;
    let deny_source_builds = common.variable(SOURCE_BUILDS_VARIABLE) == Some("deny");
    if deny_source_builds && let Some(line) = install::source_build(tree, settings) {
        return Err(install::source_build_needed("").and_seen(line));
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let temporary = tempfile::Builder::new()
        .prefix("hoist-pip-")
        .tempdir()
        .map_err(|error| Failure::io("making a temporary folder", &error))?;
    let opened = |error| Failure::io("making the virtual environment", &error);
    if is_new {
        layer.clear()?;
        environment.create(interpreter).map_err(opened)?;
    } else {
        environment.open().map_err(opened)?;
    }
    let cache_dir = cache_dir(context)?;
    // What uv remembers of an open environment's interpreter is not true of a closed one.
    let uv_cache_dir = cache_dir.join(if deny_source_builds { "uv" } else { "uv-building" });
    let uv = Uv::obtain(interpreter, settings, &cache_dir.join("uv-bin"), &uv_cache_dir, temporary.path());
    if let Err(error @ (UvError::Hash { .. } | UvError::Io { .. })) = uv {
        return Err(install::uv_failure(&error));
    }
    let tool = if uv.is_ok() { format!("uv {UV_VERSION}") } else { "pip".to_owned() };
    let count = tree.requirements.iter().filter(|line| !line.constraint).count();
    let what = if count == 1 { "requirement" } else { "requirements" };
    context.output.step(format!("installing {count} {what} into Python {} with {tool}", interpreter.version));
    let installation = Installation {
        app_dir: &common.app_dir,
        root_dir: &common.root_dir,
        tree,
        interpreter,
        settings,
        environment,
        uv,
        deny_source_builds,
        resolutions: tree.is_whole().then(|| (Resolutions::new(&cache_dir), key.resolution_id())),
        shelf: BytecodeShelf::new(&cache_dir, format!("{} {}", interpreter.identity, interpreter.cache_tag())),
        temporary: temporary.path(),
        output: context.output,
    };
    let done = match installation.run(is_new) {
        Ok(done) => done,
        Err(failure) => {
            // Nothing half-made is left: an updated environment is untouched when resolving or building failed, a new one goes.
            if is_new {
                layer.clear()?;
            }
            return Err(failure);
        }
    };
    context.output.step(format!("{}, {} of them new or changed", packages(done.distributions.len()), done.fresh));
    layer.write_sbom(SbomFormat::CycloneDx, &sbom::cyclonedx(&done.distributions, &done.lock))?;
    let metadata = EnvironmentMetadata::new(key.clone(), done.lock.lines);
    write_layer(context, &installation.environment, &metadata)
}

fn write_layer(
    context: &BuildContext<'_>,
    environment: &VirtualEnvironment,
    metadata: &EnvironmentMetadata,
) -> Result<(), Failure> {
    let taken = environment
        .take_lifecycle_files(&["env/VIRTUAL_ENV.override"])
        .map_err(|error| Failure::io("looking for variables of the environment", &error))?;
    if !taken.is_empty() {
        let list = taken.join(", ");
        context.output.warning(format!("a package brings {list}, where an image keeps its variables: it was left out"));
    }
    let layer = context.layer(LAYER);
    let place = layer.dir().display().to_string();
    layer.set_variable(EnvironmentScope::All, "VIRTUAL_ENV", EnvironmentChange::Override, &place)?;
    layer.write(ENVIRONMENT_TYPES, metadata)
}

/// The shared folder, or a layer of this image's own that only later builds see.
fn cache_dir(context: &BuildContext<'_>) -> Result<PathBuf, Failure> {
    if let Some(dir) = context.common.variable(CACHE_VARIABLE) {
        let dir = PathBuf::from(dir).join("pip");
        fs::create_dir_all(&dir).map_err(|error| Failure::io("using the shared cache", &error))?;
        return Ok(dir);
    }
    let layer = context.layer("cache");
    layer.create()?;
    keep_caches(context)?;
    Ok(layer.dir().to_owned())
}

/// A restored layer stays only when its types are written again.
fn keep_caches(context: &BuildContext<'_>) -> Result<(), Failure> {
    let layer = context.layer("cache");
    if layer.has_content() {
        layer.write(LayerTypes { build: false, launch: false, cache: true }, &toml::Table::new())?;
    }
    Ok(())
}
/// `1 package`, `8 packages`.
fn packages(count: usize) -> String {
    if count == 1 { "1 package".to_owned() } else { format!("{count} packages") }
}
