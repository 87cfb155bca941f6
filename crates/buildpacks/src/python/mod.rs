//! `hoist/python`: brings an interpreter of Debian as a layer that works wherever it lies.

mod detect;
mod install;
mod packages;
mod requests;
mod shelf;
mod specifier;
mod version;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{LockedPackage, Sha256, hex, native_architecture};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::failure::{Failure, chain};
use crate::layer::EnvironmentChange::{Default, Override};
use crate::layer::EnvironmentScope::{Build, Launch};
use crate::layer::{Layer, LayerTypes, SbomFormat};
use crate::pip::interpreter::{
    EXECUTABLE_VARIABLE, IDENTITY_VARIABLE, PIP_WHEEL_VARIABLE, REASON_VARIABLE, VERSION_VARIABLE,
};

use install::{InstallError, install_build_tools, install_interpreter};
use packages::{Archive, PackageSet, PackagesError};
use shelf::Shelf;
use version::Choice;
pub(crate) use version::satisfying;

/// The folder that all builds of a machine share, where the platform allows it.
const CACHE_VARIABLE: &str = "HOIST_CACHE_DIR";
/// Changed when this buildpack writes its layers in another way.
const LAYOUT: u32 = 1;

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
        "Brings the Python that an app asks for, from Debian's packages"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(detect::detect(context.common))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let suite = base_suite(context.common);
        let choice = version::choose(&requests::requests(context.common), &suite)?;
        context.output.step(format!("Python {} ({})", choice.python.minor, choice.reason));
        for note in &choice.notes {
            context.output.detail(note);
        }
        build_layers(context, &choice, &suite)
    }
}

/// What detect and the choice of the interpreter answer for an app on a base of `suite`.
pub(crate) fn foresee(context: &Context, suite: &str) -> (Detection, Result<Choice, Failure>) {
    (detect::detect(context), version::choose(&requests::requests(context), suite))
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
}

impl PythonMetadata {
    fn wanted(context: &Context, choice: &Choice, base: &str, layer: &Layer) -> Self {
        Self {
            minor: choice.python.minor.to_owned(),
            suite: choice.python.suite.to_owned(),
            base: base.to_owned(),
            base_packages: base_packages(context),
            place: layer.dir().display().to_string(),
            architecture: native_architecture().to_owned(),
            layout: LAYOUT,
            package: String::new(),
            packages: Vec::new(),
        }
    }

    /// Why a restored layer is of no use. Both sides are taken apart, so that a field that nobody looks at does not compile.
    fn differences(&self, old: &Self) -> Vec<String> {
        // The packages follow from the rest and the day: a layer is kept until something else changes.
        let Self { minor, suite, base, base_packages, place, architecture, layout, package: _, packages: _ } = self;
        let mut reasons = Vec::new();
        for (what, new, was) in [
            ("the version", minor, &old.minor),
            ("the suite", suite, &old.suite),
            ("the base", base, &old.base),
            ("the layer's place", place, &old.place),
            ("the architecture", architecture, &old.architecture),
        ] {
            if new != was {
                reasons.push(format!("{what} is {new}, it was {was}"));
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
    let cache_dir = context
        .common
        .variable(CACHE_VARIABLE)
        .map_or_else(|| temporary.path().to_owned(), |dir| PathBuf::from(dir).join("debian"));
    let minor = choice.python.minor;
    let unavailable = |error: PackagesError| explain_packages(&error, choice);
    let archive = Archive::open(context.common, choice.python.suite, &cache_dir).map_err(unavailable)?;
    let set = archive.packages(&choice.python).map_err(unavailable)?;
    let shelf = Shelf::new(&cache_dir, &ingredients(&metadata, tools, &set));
    let folders = [("python", layer.dir()), ("python-build", tools.dir())];
    let shelved = |error: std::io::Error| {
        explain_install(&InstallError::Io { action: "taking a kept interpreter", source: error })
    };
    if !shelf.take(&folders).map_err(shelved)? {
        let debs = archive.fetch(&set.launch).map_err(unavailable)?;
        let tool_debs = archive.fetch(&set.build).map_err(unavailable)?;
        install_interpreter(layer.dir(), tools.dir(), &debs, minor).map_err(|error| explain_install(&error))?;
        install_build_tools(tools.dir(), &tool_debs, minor).map_err(|error| explain_install(&error))?;
        if context.common.variable(CACHE_VARIABLE).is_some()
            && let Err(error) = shelf.put(&folders)
        {
            context.output.detail(format!("it is not kept for other builds: {error}"));
        }
    }
    let own = set.launch.iter().find(|package| package.name == format!("python{minor}"));
    metadata.package = own.map_or_else(|| minor.to_owned(), |package| package.version.clone());
    metadata.packages = set.launch.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
    metadata.packages.sort_unstable();
    context.output.step(format!("{} of {}, {} packages", metadata.package, metadata.suite, set.launch.len()));
    layer.write_sbom(SbomFormat::CycloneDx, &cyclonedx(&set.launch, choice.python.suite))?;
    Ok(metadata)
}

/// All that decides the bytes of both layers.
fn ingredients(metadata: &PythonMetadata, tools: &Layer, set: &PackageSet) -> String {
    let PythonMetadata { minor, suite, base, base_packages: _, place, architecture, layout, package: _, packages: _ } =
        metadata;
    let hashes: Vec<&str> = set.launch.iter().chain(&set.build).map(|package| package.sha256.as_str()).collect();
    let tools_place = tools.dir().display();
    format!("{minor}\n{suite}\n{base}\n{place}\n{tools_place}\n{architecture}\n{layout}\n{}", hashes.join("\n"))
}

/// Variables and types, the same for a kept layer and a new one.
fn finish(layer: &Layer, tools: &Layer, metadata: &PythonMetadata, choice: &Choice) -> Result<(), Failure> {
    let minor = &metadata.minor;
    let executable = layer.dir().join(format!("usr/bin/python{minor}")).display().to_string();
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

/// The suite of the base: `VERSION_CODENAME` of os-release.
fn base_suite(context: &Context) -> String {
    let text = fs::read_to_string(context.root_dir.join("etc/os-release"))
        .or_else(|_| fs::read_to_string(context.root_dir.join("usr/lib/os-release")))
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or_else(|| "trixie".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

/// A digest of the list of the base's packages; empty for a base without one.
fn base_packages(context: &Context) -> String {
    let status = fs::read(context.root_dir.join("var/lib/dpkg/status")).unwrap_or_default();
    if status.is_empty() { String::new() } else { hex(&Sha256::digest(status))[..16].to_owned() }
}

fn explain_packages(error: &PackagesError, choice: &Choice) -> Failure {
    Failure::new(
        format!("fetching Python {} from Debian's {}", choice.python.minor, choice.python.suite),
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

fn cyclonedx(packages: &[LockedPackage], suite: &str) -> String {
    let components: Vec<serde_json::Value> = packages
        .iter()
        .map(|package| {
            let architecture = &package.architecture;
            let version = package.version.replace('+', "%2B").replace(':', "%3A");
            let purl = format!(
                "pkg:deb/debian/{}@{version}?arch={architecture}&distro={suite}",
                package.name.replace('+', "%2B")
            );
            json!({
                "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
                "hashes": [{ "alg": "SHA-256", "content": package.sha256 }],
            })
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "tools": { "components": [{ "type": "application", "name": "hoist/python", "version": crate::shipped::VERSION }] } },
        "components": components,
    })
    .to_string()
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
        };
        assert_eq!(old.differences(&old), Vec::<String>::new());
        let new = PythonMetadata { base_packages: "2f".into(), ..old.clone() };
        assert_eq!(new.differences(&old), ["the base has other packages than before"]);
    }
}
