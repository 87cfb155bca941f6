//! The engine of every buildpack that installs packages: brings the environment layer to what is wanted, by uv, one distribution after the
//! other made deterministic, compiled and listed. It knows nothing of the files that say what is wanted: each buildpack reads its own.

mod binaries;
pub(crate) mod bytecode_shelf;
mod chosen;
mod credentials;
mod diagnosis;
pub(crate) mod distributions;
mod environment;
mod export;
mod indexes;
mod installation;
pub(crate) mod interpreter;
pub(crate) mod key;
mod libraries;
pub(crate) mod lock;
mod locked;
mod masking;
mod names;
mod origins;
pub(crate) mod sbom;
pub(crate) mod settings;
mod setuptools;
pub(crate) mod uv;
mod vendored;
mod wanted;
mod wheels;

use std::ffi::{OsStr, OsString};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::as_of;
use crate::context::{BuildContext, Context};
use crate::failure::Failure;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes};
use crate::sbom::Bill;

use bytecode_shelf::BytecodeShelf;
use distributions::Distribution;
use environment::VirtualEnvironment;
use installation::Installation;
use interpreter::Interpreter;
use key::{EnvironmentKey, Verdict};
pub(crate) use libraries::{RUN_PACKAGES, is_library};
use lock::{Lock, Resolutions};
pub(crate) use locked::{LockedFile, LockedList, LockedPackage, Origin, push_project};
pub(crate) use masking::{Secrets, is_secret};
pub(crate) use names::{distance as name_distance, distribution_of_import, is_standard_library};
use settings::Settings;
pub(crate) use settings::{denies_source_builds, mask_credentials};
use uv::{UV_VERSION, Uv, UvError};
pub(crate) use wanted::{Listed, Wanted};
pub(crate) use wheels::fits;

/// The layer that is the environment.
const LAYER: &str = "env";

/// What is remembered of the environment between builds.
#[derive(Debug, Serialize, Deserialize)]
struct EnvironmentMetadata {
    #[serde(flatten)]
    key: EnvironmentKey,
    /// What was chosen.
    lock: Vec<String>,
    /// Whether something may have been built from source.
    #[serde(default)]
    built: bool,
    hoist: Split,
}

/// Tells hoist's exporter that this layer may become one layer for each distribution.
#[derive(Debug, Serialize, Deserialize)]
struct Split {
    split: String,
}

impl EnvironmentMetadata {
    fn new(key: EnvironmentKey, lock: Vec<String>, built: bool) -> Self {
        Self { key, lock, built, hoist: Split { split: "distributions".to_owned() } }
    }
}

const ENVIRONMENT_TYPES: LayerTypes = LayerTypes { build: true, launch: true, cache: true };

/// Makes the environment layer of a buildpack hold what is wanted, keeping what can be kept.
pub(crate) fn build_environment(
    context: &BuildContext<'_>,
    buildpack: &'static str,
    wanted: Wanted,
) -> Result<(), Failure> {
    let common = context.common;
    let interpreter = Interpreter::find(common)?;
    let mut settings = settings::settings(common);
    match (as_of::AsOf::of(common)?, &wanted) {
        (Some(as_of), Wanted::Locked(_)) => {
            context.output.warning(as_of.idle(&wanted.file()));
            settings = settings.without_day();
        }
        (Some(as_of), _) => context.output.detail(format!("as the index was on {}", as_of.written())),
        (None, _) => {}
    }
    if let Some(line) = wanted.line_with_login() {
        context.output.warning(format!(
            "{line} has a password or token in an address, and the file goes into the image with the app: leave it out there, and give it to the build in a \
             service binding of type netrc"
        ));
    }
    let layer = context.layer(LAYER);
    let system = common.variable(crate::deb_packages::IDENTITY);
    let key = EnvironmentKey::new(&wanted, &common.app_dir, &interpreter, &settings, system, layer.dir());
    let old: Option<EnvironmentMetadata> = if layer.has_content() { layer.metadata() } else { None };
    let was_built = old.as_ref().is_some_and(|old| old.built);
    let environment = VirtualEnvironment::at(layer.dir(), &interpreter);
    let is_new = match old.as_ref().map(|old| key.verdict(&old.key, &wanted.changed(), was_built)) {
        Some(Verdict::Keep) => {
            let lock = Lock { lines: old.map(|old| old.lock).unwrap_or_default() };
            context.output.step(format!("{}, unchanged", packages(lock.lines.len())));
            context.keep_download_cache()?;
            if !layer.has_sbom() {
                let installed = distributions::installed(&environment.site_packages);
                let installed = installed.map_err(|error| Failure::io("listing what is installed", &error))?;
                write_bill(context, buildpack, &installed, &lock)?;
            }
            return write_layer(context, &environment, &EnvironmentMetadata::new(key, lock.lines, was_built));
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
    let was_built = was_built && !is_new;
    let previous = Lock { lines: old.filter(|_| !is_new).map(|old| old.lock).unwrap_or_default() };
    let choice = Choice { buildpack, wanted, interpreter, settings, key, was_built, previous };
    install_into(context, &layer, environment, &choice, is_new)
}

/// All that decides what is installed.
struct Choice {
    /// The buildpack that read it, which the bill of materials names.
    buildpack: &'static str,
    wanted: Wanted,
    interpreter: Interpreter,
    settings: Settings,
    key: EnvironmentKey,
    /// Whether what is kept of the environment may have been built from source.
    was_built: bool,
    /// What was chosen of what is kept of it.
    previous: Lock,
}

fn install_into(
    context: &BuildContext<'_>,
    layer: &Layer,
    environment: VirtualEnvironment,
    choice: &Choice,
    is_new: bool,
) -> Result<(), Failure> {
    let Choice { buildpack, wanted, interpreter, settings, key, was_built, previous } = choice;
    let common = context.common;
    let deny_source_builds = settings::denies_source_builds(common);
    if deny_source_builds && let Some(line) = installation::source_build(wanted, settings) {
        return Err(installation::source_build_needed("").and_seen(line));
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let temporary = tempfile::Builder::new()
        .prefix("hoist-pip-")
        .tempdir()
        .map_err(|error| Failure::io("making a temporary folder", &error))?;
    let noted = settings.write_netrc(temporary.path());
    noted.map_err(|error| Failure::io("noting the logins of the bindings", &error))?;
    let opened = |error| Failure::io("making the virtual environment", &error);
    if is_new {
        layer.clear()?;
        environment.create(interpreter).map_err(opened)?;
    } else {
        environment.open().map_err(opened)?;
    }
    let cache_dir = context.download_cache("pip")?;
    // What uv remembers of an open environment's interpreter is not true of a closed one.
    let uv_cache_dir = cache_dir.join(if deny_source_builds { "uv" } else { "uv-building" });
    let uv = Uv::obtain(interpreter, settings, &cache_dir.join("uv-bin"), &uv_cache_dir, temporary.path());
    if let Err(error @ (UvError::Hash { .. } | UvError::Io { .. })) = uv {
        return Err(installation::uv_failure(&error));
    }
    let tool = if uv.is_ok() { format!("uv {UV_VERSION}") } else { "pip".to_owned() };
    context.output.step(format!("installing {} into Python {} with {tool}", wanted.count(), interpreter.version));
    let installation = Installation {
        app_dir: &common.app_dir,
        root_dir: &common.root_dir,
        library_path: &library_path(common),
        wanted,
        interpreter,
        settings,
        environment,
        uv,
        suggested_day: as_of::suggested(common),
        deny_source_builds,
        resolutions: resolved_alike(wanted).then(|| (Resolutions::new(&cache_dir), key.resolution_id())),
        previous: previous.clone(),
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
    if common.variable(export::VARIABLE).is_some() {
        let lock = installation.export(&done.distributions)?;
        let layer = context.layer(export::LAYER);
        layer.create()?;
        let written = fs::write(layer.dir().join(export::FILE), lock);
        written.map_err(|error| Failure::io("writing the lock", &error))?;
    }
    write_bill(context, buildpack, &done.distributions, &done.lock)?;
    let metadata = EnvironmentMetadata::new(key.clone(), done.lock.lines, *was_built || !deny_source_builds);
    write_layer(context, &installation.environment, &metadata)
}

/// The folders in which packages of Debian that the app asked for have libraries: those of this build, and those of the image where they differ.
fn library_path(context: &Context) -> OsString {
    let names = ["LD_LIBRARY_PATH", crate::deb_packages::IMAGE_LIBRARIES];
    let values: Vec<&OsStr> =
        names.iter().filter_map(|name| Some(context.environment.get(*name)?.as_os_str())).collect();
    values.join(OsStr::new(":"))
}

/// The bill of what lies in a site-packages folder, read as after an installation, without anybody to ask for hashes.
pub(crate) fn bill_of(site_packages: &std::path::Path) -> std::io::Result<Bill> {
    let installed = distributions::installed(site_packages)?;
    for distribution in &installed {
        if let Some(fresh) = distributions::look(distribution, site_packages, "cpython-313")?.fresh {
            fresh.finish(site_packages, "cpython-313")?;
        }
    }
    let known = lock::Archives::new();
    let sought = lock::Sought { free: Vec::new(), bound: None, known: &known, kept: Lock::default(), built_for: None };
    let lock = lock::lock_installed(None, &installed, &sought).unwrap_or_default();
    Ok(Bill { tool: "hoist/pip", created_secs: 0, components: sbom::components(&installed, &lock) })
}

/// The bill of materials of what is installed, which names the buildpack that read what was wanted.
fn write_bill(
    context: &BuildContext<'_>,
    buildpack: &'static str,
    distributions: &[Distribution],
    lock: &Lock,
) -> Result<(), Failure> {
    let components = sbom::components(distributions, lock);
    Bill { components, ..Bill::new(buildpack, context.common) }.write(&context.layer(LAYER))
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

/// `1 package`, `8 packages`.
pub(crate) fn packages(count: usize) -> String {
    if count == 1 { "1 package".to_owned() } else { format!("{count} packages") }
}

/// Whether the same lines are resolved to the same on this machine: no folder of the app is meant, and what is locked needs no resolution.
fn resolved_alike(wanted: &Wanted) -> bool {
    !matches!(wanted, Wanted::Locked(_))
        && wanted.listed().is_none_or(|listed| listed.indexes.is_empty())
        && wanted.tree().is_whole()
}

/// Whether the build was told of an index, which then takes the place of the one that a project is used to.
pub(crate) fn has_index(context: &Context) -> bool {
    let settings = settings::settings(context);
    ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].iter().any(|name| settings.uv.contains_key(*name))
}
