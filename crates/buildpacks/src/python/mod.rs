//! `hoist/python`: brings an interpreter as a layer that works wherever it lies: Debian's, or a standalone build where Debian has none.

mod detect;
mod install;
mod lifetimes;
mod lock_wheels;
mod mirror;
mod packages;
mod requests;
mod setup_py;
mod shelf;
mod sources;
mod specifier;
mod standalone;
mod version;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::native_architecture;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveError, base_packages, base_suite};
use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, CACHE_VARIABLE, Context, DetectContext};
use crate::failure::{Failure, Warning, chain};
use crate::install::interpreter::{
    EXECUTABLE_VARIABLE, IDENTITY_VARIABLE, Interpreter, PIP_WHEEL_VARIABLE, REASON_VARIABLE, VERSION_VARIABLE,
};
use crate::install::settings;
use crate::install::uv::{UV_VERSION, Uv};
use crate::layer::EnvironmentChange::{Default, Override};
use crate::layer::EnvironmentScope::{Build, Launch};
use crate::layer::{Layer, LayerTypes};
use crate::offline;
use crate::sbom::Bill;
use crate::sbom::debian::component;

use install::{InstallError, install_build_tools, install_interpreter};
pub(crate) use install::{merged_usr, multiarch};
use packages::{Archive, PackageSet};
use shelf::Shelf;
pub(crate) use version::satisfying;
use version::{Available, Choice, Origin, OriginKind, Supply};

/// Changed when this buildpack writes its layers in another way.
const LAYOUT: u32 = 2;

/// The buildpack.
pub(crate) struct Python;

impl Buildpack for Python {
    fn id(&self) -> &'static str {
        "hoist/python"
    }

    fn name(&self) -> &'static str {
        "Hoist Python"
    }

    fn description(&self) -> &'static str {
        "Brings the Python that an app asks for, from Debian's packages or as a standalone build"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(detect::detect(context.common))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let suite = base_suite(context.common);
        let (choice, warnings) = choose(context.common, &suite)?;
        context.output.step(format!("Python {} ({})", choice.python.minor, choice.reason));
        for note in &choice.notes {
            context.output.detail(note);
        }
        for warning in &warnings {
            context.output.warning(warning);
        }
        build_layers(context, &choice, &suite)
    }
}

pub(crate) use lifetimes::today;

/// Which Python is taken on a base of `suite`, and what to warn of.
fn choose(context: &Context, suite: &str) -> Result<(Choice, Vec<Warning>), Failure> {
    let (requests, supply) = (requests::requests(context)?, requests::supply(context, suite)?);
    let choice = lock_wheels::prefer(context, &requests, supply, version::choose(&requests, supply)?);
    let misspelt = requests::misspelt(context).into_iter().map(|text| Warning::new("file-misspelt", text));
    // Who asked for it is who must change.
    let asked = if requests.is_empty() { String::new() } else { format!("; {}", choice.reason) };
    let ended = lifetimes::warning(choice.python.minor, lifetimes::today()).map(|text| text + &asked);
    let warnings = misspelt.chain(ended.map(|text| Warning::new("python-end-of-life", text))).collect();
    Ok((choice, warnings))
}

/// What detect and the choice of the interpreter answer for an app on a base of `suite`.
pub(crate) fn foresee(context: &Context, suite: &str) -> (Detection, Result<(Choice, Vec<Warning>), Failure>) {
    (detect::detect(context), choose(context, suite))
}

/// What is remembered of the interpreter between builds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PythonMetadata {
    minor: String,
    suite: String,
    base: String,
    /// Identifies the base's packages: with a newer base the interpreter is taken from today's packages, too, for their security fixes.
    #[serde(default)]
    base_packages: String,
    place: String,
    architecture: String,
    layout: u32,
    /// The version of the interpreter's own package.
    package: String,
    /// Everything that lies in the layer: `name=version`.
    packages: Vec<String>,
    /// What uv was asked for, for a standalone build.
    #[serde(default)]
    wanted: String,
    /// The user's own list of standalone builds, where one is named: another list may have other builds of the same version.
    #[serde(default)]
    list: String,
    /// The interpreter below the layer; `usr/bin/python<minor>` without it.
    #[serde(default)]
    executable: Option<PathBuf>,
}

impl PythonMetadata {
    fn wanted(context: &Context, choice: &Choice, base: &str, layer: &Layer) -> Self {
        // A standalone build brings all but the C library: the base's packages do not matter.
        let (suite, base, base_packages) = match choice.python.origin {
            Origin::Debian(suite) => (suite, base.to_owned(), base_packages(context)),
            Origin::Standalone => (standalone::SUITE, String::new(), String::new()),
        };
        let list = match choice.python.origin {
            Origin::Debian(_) => None,
            Origin::Standalone => settings::settings(context).uv.remove(requests::LIST_VARIABLE),
        };
        Self {
            list: list.map(|list| settings::mask_credentials(&list.to_string_lossy())).unwrap_or_default(),
            minor: choice.python.minor.to_owned(),
            suite: suite.to_owned(),
            base,
            base_packages,
            place: layer.dir().display().to_string(),
            architecture: native_architecture().to_owned(),
            layout: LAYOUT,
            package: String::new(),
            packages: Vec::new(),
            wanted: choice.wanted.clone(),
            executable: None,
        }
    }

    /// Why a restored layer is of no use. Both sides are taken apart, so that a field that nobody looks at does not compile.
    fn differences(&self, old: &Self) -> Vec<String> {
        // The packages follow from the rest and the day: a layer is kept until something else changes.
        let Self {
            minor,
            suite,
            base,
            base_packages,
            place,
            architecture,
            layout,
            wanted,
            list,
            package: _,
            packages: _,
            executable: _,
        } = self;
        if *minor != old.minor {
            // All else follows from that.
            return vec![format!("Python {minor} is asked for, and the kept one is {}", old.minor)];
        }
        let mut reasons = Vec::new();
        let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        for (what, new, was) in [
            ("the wish", wanted, &old.wanted),
            ("the list of standalone builds", list, &old.list),
            ("the suite", suite, &old.suite),
            ("the base", base, &old.base),
            ("the layer's place", place, &old.place),
            ("the architecture", architecture, &old.architecture),
        ] {
            if new != was {
                reasons.push(format!("{what} is {}, it was {}", shown(new), shown(was)));
            }
        }
        if *base_packages != old.base_packages {
            reasons.push("the base has other packages than before".to_owned());
        }
        if *layout != old.layout {
            reasons.push("this hoist writes interpreters in another way".to_owned());
        }
        reasons
    }

    /// `3.13.5` of `3.13.5-2+deb13u1`.
    fn release(&self) -> &str {
        self.package.split(['-', '+', '~']).next().unwrap_or(&self.minor)
    }
}

fn build_layers(context: &BuildContext<'_>, choice: &Choice, suite: &str) -> Result<(), Failure> {
    let layer = context.layer("python");
    let tools = context.layer("python-build");
    let wanted = PythonMetadata::wanted(context.common, choice, suite, &layer);
    let old: Option<PythonMetadata> = layer.metadata();
    if let Some(old) = old.filter(|_| layer.has_content() && tools.has_content()) {
        let reasons = wanted.differences(&old);
        if reasons.is_empty() {
            context.output.step(format!("{} of {}, unchanged", old.package, old.suite));
            return finish(&layer, &tools, &old, choice);
        }
        context.output.step(format!("making it anew: {}", reasons.join("; ")));
        layer.explain(&reasons);
        tools.explain(&reasons);
    }
    let metadata = make(context, choice, &layer, &tools, wanted)?;
    finish(&layer, &tools, &metadata, choice)
}

fn make(
    context: &BuildContext<'_>,
    choice: &Choice,
    layer: &Layer,
    tools: &Layer,
    mut metadata: PythonMetadata,
) -> Result<PythonMetadata, Failure> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    layer.clear()?;
    tools.clear()?;
    layer.create()?;
    tools.create()?;
    let temporary = tempfile::tempdir().map_err(|error| Failure::io("making a temporary folder", &error))?;
    let layers = [layer, tools];
    match choice.python.origin {
        Origin::Debian(suite) => make_of_debian(context, choice, suite, layers, &mut metadata, temporary.path()),
        Origin::Standalone => make_standalone(context, choice, layers, &mut metadata, temporary.path()),
    }?;
    Ok(metadata)
}

fn make_of_debian(
    context: &BuildContext<'_>,
    choice: &Choice,
    suite: &str,
    [layer, tools]: [&Layer; 2],
    metadata: &mut PythonMetadata,
    temporary: &Path,
) -> Result<(), Failure> {
    let minor = choice.python.minor;
    let cache_dir = context.common.cache_dir(temporary, "debian");
    let unavailable = |error: ArchiveError| explain_packages(&error, minor, suite);
    let archive = Archive::open(context.common, suite, &cache_dir).map_err(unavailable)?;
    let set = archive.packages(suite, minor).map_err(unavailable)?;
    let shelf = Shelf::new(&cache_dir, &ingredients(metadata, tools, &set));
    let is_kept = take(&shelf, layer, tools)?;
    if !is_kept {
        install_debs(&archive, &set, minor, [layer.dir(), tools.dir()], suite)?;
        keep_for_others(context, &shelf, layer, tools);
    }
    let own = set.launch.iter().find(|package| package.name == format!("python{minor}"));
    metadata.package = own.map_or_else(|| minor.to_owned(), |package| package.version.clone());
    metadata.packages = set.launch.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
    metadata.packages.sort_unstable();
    context.output.step(format!("{} of {}, {} packages", metadata.package, metadata.suite, set.launch.len()));
    let licences = install::licences(tools.dir());
    let components = set.launch.iter().map(|package| component(package, suite, &licences)).collect();
    Bill { components, ..Bill::new(Python.id(), context.common) }.write(layer)
}

/// Fetches and unpacks Debian's packages: the interpreter, and what builds need. Answers with the interpreter and pip's wheel.
fn install_debs(
    archive: &Archive,
    set: &PackageSet,
    minor: &str,
    [dir, tools_dir]: [&Path; 2],
    suite: &str,
) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    let unavailable = |error: ArchiveError| explain_packages(&error, minor, suite);
    let debs = archive.fetch(&set.launch).map_err(unavailable)?;
    let tool_debs = archive.fetch(&set.build).map_err(unavailable)?;
    let python = install_interpreter(dir, tools_dir, &debs, minor).map_err(|error| explain_install(&error))?;
    let wheel = install_build_tools(tools_dir, &tool_debs, minor).map_err(|error| explain_install(&error))?;
    Ok((python, wheel))
}

fn take(shelf: &Shelf, layer: &Layer, tools: &Layer) -> Result<bool, Failure> {
    let folders = [("python", layer.dir()), ("python-build", tools.dir())];
    let action = "taking a kept interpreter";
    shelf.take(&folders).map_err(|source| explain_install(&InstallError::Io { action, source }))
}

fn keep_for_others(context: &BuildContext<'_>, shelf: &Shelf, layer: &Layer, tools: &Layer) {
    if context.common.variable(CACHE_VARIABLE).is_some()
        && let Err(error) = shelf.put(&[("python", layer.dir()), ("python-build", tools.dir())])
    {
        context.output.detail(format!("it is not kept for other builds: {error}"));
    }
}

fn make_standalone(
    context: &BuildContext<'_>,
    choice: &Choice,
    [layer, tools]: [&Layer; 2],
    metadata: &mut PythonMetadata,
    temporary: &Path,
) -> Result<(), Failure> {
    let cache_dir = context.common.cache_dir(temporary, "standalone");
    let settings = settings::settings(context.common);
    let places = standalone::Places { layer_dir: layer.dir(), tools_dir: tools.dir() };
    let named =
        |name: &str| settings.uv.get(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    let (mirror, list) = (named(requests::MIRROR_VARIABLE), named(requests::LIST_VARIABLE));
    let place = [layer.dir().display().to_string(), tools.dir().display().to_string()].join("\n");
    let wanted = &choice.wanted;
    let shelf = Shelf::new(&cache_dir, &format!("{UV_VERSION}\n{wanted}\n{mirror}\n{place}\n{LAYOUT}"));
    // What a list of the user's own says may change; uv's own list is that of its version.
    let is_kept = list.is_empty() && take(&shelf, layer, tools)?;
    let about = if let Some(about) = places.about().filter(|_| is_kept) {
        about
    } else {
        let uv = uv(context, &settings, temporary)?;
        context.output.step(format!("fetching a standalone build of Python {wanted} with uv {UV_VERSION}"));
        let about = places.install(&uv, wanted, choice.python.minor, &cache_dir.join("archives"))?;
        if list.is_empty() {
            keep_for_others(context, &shelf, layer, tools);
        }
        about
    };
    context.output.step(format!("{} of python-build-standalone", about.version));
    let components = vec![standalone::component(&about)];
    Bill { components, ..Bill::new(Python.id(), context.common) }.write(layer)?;
    let hash = about.archive.as_ref().map_or("", |(_, sha256)| &sha256[..16]);
    metadata.package = format!("{}+{hash}", about.version);
    metadata.packages = vec![format!("python={}", about.version)];
    metadata.executable = Some(about.executable);
    Ok(())
}

/// The pinned uv: kept, or fetched by a Python of Debian, for there is no other one yet.
fn uv(context: &BuildContext<'_>, settings: &settings::Settings, temporary: &Path) -> Result<Uv, Failure> {
    let bin_dir = context.common.cache_dir(temporary, "pip").join("uv-bin");
    let uv_cache_dir = temporary.join("uv");
    if let Some(uv) = Uv::kept(settings, &bin_dir, &uv_cache_dir, temporary) {
        return Ok(uv);
    }
    let suite = base_suite(context.common);
    let supply = Supply { only: Some(OriginKind::Debian), ..Supply::on(&suite) };
    let Choice { python: Available { origin: Origin::Debian(suite), minor, .. }, .. } = version::choose(&[], supply)?
    else {
        return Err(Failure::new(
            "fetching uv",
            "no Python of Debian",
            "one is needed to fetch it",
            "take a base of Debian",
        ));
    };
    let unavailable = |error: ArchiveError| explain_packages(&error, minor, suite);
    let archive =
        Archive::open(context.common, suite, &context.common.cache_dir(temporary, "debian")).map_err(unavailable)?;
    let set = archive.packages(suite, minor).map_err(unavailable)?;
    let dirs = [temporary.join("python"), temporary.join("python-build")];
    for dir in &dirs {
        fs::create_dir_all(dir).map_err(|error| Failure::io("making a temporary folder", &error))?;
    }
    let (executable, wheel) = install_debs(&archive, &set, minor, [&dirs[0], &dirs[1]], suite)?;
    let interpreter = Interpreter::of_debian(executable, minor, wheel);
    Uv::obtain(&interpreter, settings, &bin_dir, &uv_cache_dir, temporary).map_err(|error| {
        Failure::new(
            "fetching uv, which fetches standalone builds of Python",
            chain(&error),
            "without it no Python can be had that Debian does not have",
            format!(
                "look at the settings of the package index, or choose a Python of Debian: {}",
                version::debian_words()
            ),
        )
    })
}

/// All that decides the bytes of both layers.
fn ingredients(metadata: &PythonMetadata, tools: &Layer, set: &PackageSet) -> String {
    let PythonMetadata { minor, suite, base, place, architecture, layout, .. } = metadata;
    let hashes: Vec<&str> = set.launch.iter().chain(&set.build).map(|package| package.sha256.as_str()).collect();
    let tools_place = tools.dir().display();
    format!("{minor}\n{suite}\n{base}\n{place}\n{tools_place}\n{architecture}\n{layout}\n{}", hashes.join("\n"))
}

/// Variables and types, the same for a kept layer and a new one.
fn finish(layer: &Layer, tools: &Layer, metadata: &PythonMetadata, choice: &Choice) -> Result<(), Failure> {
    let minor = &metadata.minor;
    let below = metadata.executable.clone().unwrap_or_else(|| PathBuf::from(format!("usr/bin/python{minor}")));
    let executable = layer.dir().join(below).display().to_string();
    let identity = format!("{} ({}, {})", metadata.package, metadata.suite, metadata.architecture);
    let set = |layer: &Layer, scope, name: &str, change, value: &str| layer.set_variable(scope, name, change, value);
    set(layer, Launch, "PYTHONUNBUFFERED", Default, "1")?;
    set(layer, Launch, "PYTHONDONTWRITEBYTECODE", Default, "1")?;
    set(layer, Build, EXECUTABLE_VARIABLE, Override, &executable)?;
    set(layer, Build, VERSION_VARIABLE, Override, metadata.release())?;
    set(layer, Build, IDENTITY_VARIABLE, Override, &identity)?;
    set(layer, Build, REASON_VARIABLE, Override, &choice.reason)?;
    if let Some(wheel) = wheel_in(&tools.dir().join("wheels")) {
        set(tools, Build, PIP_WHEEL_VARIABLE, Override, &wheel.display().to_string())?;
    }
    layer.write(LayerTypes { build: true, launch: true, cache: true }, metadata)?;
    tools.write(LayerTypes { build: true, launch: false, cache: true }, &toml::Table::new())
}

fn wheel_in(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
}

/// The Pythons of Debian on this build's base.
pub(crate) fn on_this_base(context: &Context) -> Vec<String> {
    version::of_debian(Supply::on(&base_suite(context))).map(|python| python.release.to_string()).collect()
}

fn explain_packages(error: &ArchiveError, minor: &str, suite: &str) -> Failure {
    if error.is_of_no_network() {
        return offline::lacking("getting the interpreter", &format!("Python {minor}"));
    }
    Failure::new(
        format!("fetching Python {minor} from Debian's {suite}"),
        chain(error),
        "the interpreter is made of that suite's packages",
        error.hint(),
    )
}

fn explain_install(error: &InstallError) -> Failure {
    Failure::new(
        "unpacking the interpreter",
        chain(error),
        "the package is not as expected, or the file system of the build does not take it",
        "look for a full disk, then build again; if that does not help, report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_made_anew_with_another_base() {
        let old = PythonMetadata {
            minor: "3.13".into(),
            suite: "trixie".into(),
            base: "trixie".into(),
            base_packages: "1f".into(),
            place: "/layers/hoist_python/python".into(),
            architecture: "amd64".into(),
            layout: LAYOUT,
            package: "3.13.5-2".into(),
            packages: Vec::new(),
            wanted: String::new(),
            list: String::new(),
            executable: None,
        };
        assert_eq!(old.differences(&old), Vec::<String>::new());
        let new = PythonMetadata { base_packages: "2f".into(), ..old.clone() };
        assert_eq!(new.differences(&old), ["the base has other packages than before"]);
        let new = PythonMetadata { wanted: "3.13.2".into(), ..old.clone() };
        assert_eq!(new.differences(&old), ["the wish is 3.13.2, it was none"]);
        let new =
            PythonMetadata { minor: "3.11".into(), suite: "bookworm".into(), base: "trixie".into(), ..old.clone() };
        assert_eq!(
            new.differences(&old),
            ["Python 3.11 is asked for, and the kept one is 3.13"],
            "one reason is enough"
        );
    }
}
