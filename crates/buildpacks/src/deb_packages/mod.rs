//! `hoist/deb-packages`: packages of Debian that an app asks for, in a layer of their own: shared libraries (`libgl1`), programs (`ffmpeg`), and
//! headers to build with (`libpq-dev`).
//!
//! They come from the mirror and suite of the base, verified as the base itself is, and no script of theirs is run. It stands before the
//! interpreter, whose variables win. What an app asks for is `wanted`'s to read, what it gets for it `choice`'s to say, the files are `install`'s.

mod choice;
mod install;
pub(crate) mod wanted;

use std::path::{Path, PathBuf};

use hoist_debian::{LockedPackage, ResolveError, Sha256, hex, native_architecture};
use serde::{Deserialize, Serialize};

use crate::archive::{self, Archive, ArchiveError, base_suite};
use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::failure::{Failure, chain};
use crate::install::packages;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes, missing};
use crate::offline;
use crate::python::multiarch;
use crate::sbom::Bill;
use crate::sbom::debian::{component, take_copyrights};
use choice::Choice;
use wanted::{Asked, Wanted};

const LAYER: &str = "packages";
const BUILD_LAYER: &str = "packages-build";
/// The variable that tells later buildpacks which folders of libraries the image will have from here, where their own build has others.
pub(crate) const IMAGE_LIBRARIES: &str = "HOIST_IMAGE_LIBRARIES";
/// The variable that tells later buildpacks which packages of Debian there are besides the base's: a text that is another for others.
pub(crate) const IDENTITY: &str = "HOIST_DEB_PACKAGES";
/// Rises when layers are made in another way.
const LAYOUT: u32 = 2;

/// The buildpack.
pub(crate) struct DebPackages;

impl Buildpack for DebPackages {
    fn id(&self) -> &'static str {
        "hoist/deb-packages"
    }

    fn name(&self) -> &'static str {
        "Hoist Debian packages"
    }

    fn description(&self) -> &'static str {
        "Installs the packages of Debian that apt.txt, Aptfile, project.toml or BP_DEB_PACKAGES ask for"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(if wanted::is_asked(context.common) {
            Detection::pass()
        } else {
            Detection::fail("neither apt.txt nor Aptfile nor BP_DEB_PACKAGES asks for packages of Debian")
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let asked = wanted::read(context.common)?;
        let (layer, build_layer) = (context.layer(LAYER), context.layer(BUILD_LAYER));
        if asked.is_empty() {
            context.output.step("no package is named");
            layer.clear()?;
            return build_layer.clear();
        }
        let wanted = Metadata::wanted(context.common, &asked, &layer);
        let old: Option<Metadata> = layer.metadata();
        if let Some(old) = old.filter(|old| layer.has_content() && (!old.for_builds || build_layer.has_content())) {
            let reasons = wanted.differences(&old);
            if reasons.is_empty() {
                context.output.step(format!("{} of {}, unchanged", packages(old.packages.len()), old.suite));
                return finish(&layer, &build_layer, &old);
            }
            context.output.step(format!("installing anew: {}", reasons.join("; ")));
            layer.explain(&reasons);
            build_layer.explain(&reasons);
        }
        make(context, &asked, [&layer, &build_layer], wanted)
    }
}

/// What is remembered of the layers between builds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Metadata {
    /// As relations of Debian, in order.
    asked: Vec<String>,
    suite: String,
    base_packages: String,
    place: String,
    architecture: String,
    layout: u32,
    /// Whether there is a layer for builds alone.
    for_builds: bool,
    /// What lies in the image: `name=version`. It follows from the rest and the day.
    packages: Vec<String>,
}

impl Metadata {
    fn wanted(context: &Context, asked: &Asked, layer: &Layer) -> Self {
        Self {
            asked: asked.keys().map(Wanted::relation).collect(),
            suite: base_suite(context),
            base_packages: archive::base_packages(context),
            place: layer.dir().display().to_string(),
            architecture: native_architecture().to_owned(),
            layout: LAYOUT,
            for_builds: false,
            packages: Vec::new(),
        }
    }

    /// The packages that an extension may have been built against.
    fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        for part in self.asked.iter().chain(&self.packages).chain([&self.suite, &self.base_packages]) {
            hasher.update(part);
            hasher.update([0]);
        }
        hex(&hasher.finalize())
    }

    /// Why restored layers are of no use. Both sides are taken apart, so that a field that nobody looks at does not compile.
    fn differences(&self, old: &Self) -> Vec<String> {
        let Self { asked, suite, base_packages, place, architecture, layout, for_builds: _, packages: _ } = self;
        let mut reasons = Vec::new();
        for (names, what) in
            [(missing(asked, &old.asked), "asked for now"), (missing(&old.asked, asked), "no longer asked for")]
        {
            if !names.is_empty() {
                reasons.push(format!("{what}: {}", names.join(", ")));
            }
        }
        for (what, new, was) in [
            ("the suite", suite, &old.suite),
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
            reasons.push("this hoist writes packages in another way".to_owned());
        }
        reasons
    }
}

fn make(context: &BuildContext<'_>, asked: &Asked, layers: [&Layer; 2], mut metadata: Metadata) -> Result<(), Failure> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let temporary = tempfile::tempdir().map_err(|error| Failure::io("making a temporary folder", &error))?;
    let cache_dir = context.common.cache_dir(temporary.path(), "debian");
    let wanted: Vec<Wanted> = asked.keys().cloned().collect();
    let unavailable = |error: ArchiveError| explain(&error, asked, &metadata.suite);
    let archive = Archive::open(context.common, &metadata.suite, &cache_dir).map_err(unavailable)?;
    let Choice { launch, build } =
        choice::choose(context.common, &archive, &metadata.suite, &wanted).map_err(unavailable)?;
    let fetch = |packages: &[LockedPackage]| archive.fetch(packages, &[]).map_err(unavailable);
    say(context, asked, &launch, build.as_deref());
    let [layer, build_layer] = layers;
    let mut bill = Bill::new("hoist/deb-packages", context.common);
    unpack(layer, &fetch(&launch)?, None)?;
    let licences = take_copyrights(layer.dir()).map_err(|error| Failure::io("reading the licences", &error))?;
    bill.components = launch.iter().map(|package| component(package, &metadata.suite, &licences)).collect();
    bill.write(layer)?;
    build_layer.clear()?;
    if let Some(build) = &build {
        unpack(build_layer, &fetch(build)?, Some(&context.common.root_dir))?;
    }
    metadata.for_builds = build.is_some();
    metadata.packages = launch.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
    finish(layer, build_layer, &metadata)
}

fn unpack(layer: &Layer, debs: &[PathBuf], base: Option<&Path>) -> Result<(), Failure> {
    layer.clear()?;
    layer.create()?;
    install::unpack(layer.dir(), debs, base).map_err(|error| {
        Failure::new(
            "unpacking packages of Debian",
            chain(&error),
            "a package is not as expected, or the file system of the build does not take it",
            "look for a full disk, then build again; if that does not help, report it",
        )
    })
}

/// What was asked for, what comes with it, and what needs nothing because the base has it.
fn say(context: &BuildContext<'_>, asked: &Asked, launch: &[LockedPackage], build: Option<&[LockedPackage]>) {
    let chosen = |name: &str| launch.iter().chain(build.unwrap_or_default()).find(|package| package.name == name);
    for (wanted, place) in asked {
        context.output.step(match chosen(&wanted.name) {
            Some(package) => format!("{} {} ({place})", package.name, package.version),
            None => format!("{} ({place}): the base has it, or another package stands for it", wanted.name),
        });
    }
    let bytes: u64 = launch.iter().map(|package| package.size_bytes).sum();
    let for_builds = build.map_or(String::new(), |build| format!(", {} for this build alone", build.len()));
    context.output.step(format!(
        "{} for the image, {} MB packed{for_builds}",
        packages(launch.len()),
        bytes.div_ceil(1_000_000)
    ));
}

fn finish(layer: &Layer, build_layer: &Layer, metadata: &Metadata) -> Result<(), Failure> {
    let set = |layer: &Layer, scope| {
        for (scope, name, change, value) in install::variables(layer.dir(), scope, &multiarch()) {
            layer.set_variable(scope, name, change, &value)?;
        }
        Ok::<(), Failure>(())
    };
    let scope = if metadata.for_builds { EnvironmentScope::Launch } else { EnvironmentScope::All };
    set(layer, scope)?;
    let of_build = if metadata.for_builds { build_layer } else { layer };
    of_build.set_variable(EnvironmentScope::Build, IDENTITY, EnvironmentChange::Override, &metadata.identity())?;
    layer.write(LayerTypes { build: !metadata.for_builds, launch: true, cache: true }, metadata)?;
    if metadata.for_builds {
        set(build_layer, EnvironmentScope::Build)?;
        // The layer of the image is none for builds, and they tell which libraries the image will lack.
        let of_image = install::variables(layer.dir(), EnvironmentScope::Launch, &multiarch());
        if let Some((.., folders)) = of_image.into_iter().find(|(_, name, ..)| *name == "LD_LIBRARY_PATH") {
            let build = EnvironmentScope::Build;
            build_layer.set_variable(build, IMAGE_LIBRARIES, EnvironmentChange::Override, &folders)?;
        }
        build_layer.write(LayerTypes { build: true, launch: false, cache: true }, &toml::Table::new())?;
    }
    Ok(())
}

fn explain(error: &ArchiveError, asked: &Asked, suite: &str) -> Failure {
    let doing = format!("getting packages from Debian's {suite}");
    if error.is_of_no_network() {
        let names: Vec<&str> = asked.keys().map(|wanted| wanted.name.as_str()).collect();
        return offline::lacking(
            doing,
            &format!("these packages of Debian as they are asked for together: {}", names.join(", ")),
        );
    }
    if let ArchiveError::Resolve(ResolveError::Unsatisfied { dependency, chain: behind, .. }) = error
        && behind.is_empty()
        && let Some((_, place)) = asked.iter().find(|(wanted, _)| wanted.relation() == *dependency)
    {
        let why = format!("{suite} has no such package in its main section");
        return Failure::new(doing, format!("{place}: {dependency}"), why, error.hint());
    }
    Failure::new(doing, chain(error), "the app asks for packages, and cannot do without them", error.hint())
}
