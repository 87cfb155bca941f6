//! The builder: the build image with hoist's buildpacks, their order and the lifecycle, as an ordinary CNB builder image in the store.
//!
//! It is found by a record of what it was made from (base, hoist's binary, buildpacks); when one of them changed or the image was
//! pruned, it is made again. Nobody has to know.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fs_err as fs;
use hoist_base::{BUILD_UID, Base, GID};
use hoist_debian::{read_apt_sources, shareable_lines};
use hoist_image::{Attributes, Image, Layer, LayerBuilder, LayerError, Reference, Store, StoreError};
use hoist_lifecycle::Launcher;
use hoist_sandbox::User;
use hoist_spec::{
    ApiRange, ApiVersion, BuilderConfig, BuilderLifecycle, BuilderMetadata, CreatedBy, GroupEntry, LifecycleApis,
    Order, OrderGroup, RunImage, escape_id,
};
use serde::{Deserialize, Serialize};

use crate::check::{Foresee, NamesProcess};
use crate::chosen::Extra;
use crate::create::{BuilderError, Making};
use crate::engine::{BaseChoice, EngineSettings, LocalEngine};
use crate::error::PlatformError;

/// Kind and key of the record.
const RECORD: (&str, &str) = ("builder", "default");
/// The builder's name in the store.
pub(crate) const BUILDER_NAME: &str = "hoist/builder";
/// The run image's name in the store.
pub(crate) const RUN_IMAGE_NAME: &str = "hoist/run";
/// What the base's build image is called in a builder.toml.
pub(crate) const BUILD_IMAGE_NAME: &str = "hoist/build";

/// The variable of a build that names Debian's mirror where no binding does.
const APT_SOURCES_VARIABLE: &str = "HOIST_APT_SOURCES";

/// Whether that is the name of hoist's own builder, which is made where it is not there.
pub(crate) fn is_own_builder(name: &Reference) -> bool {
    BUILDER_NAME.parse().is_ok_and(|own: Reference| own == *name)
}

/// As whom hoist's own builder runs buildpacks.
pub(crate) const BUILD_USER: User = User { uid: BUILD_UID, gid: GID };

/// What a builder is made of besides the base. Comes from the binary, which carries it all.
#[derive(Debug, Clone)]
pub struct BuilderParts {
    /// Its buildpacks.
    pub buildpacks: Vec<BuildpackFiles>,
    /// The groups in the order in which they are tried.
    pub order: Vec<OrderGroup>,
    /// Hoist itself, which is the program of its own buildpacks.
    pub hoist_path: PathBuf,
    /// The launcher that goes into app images.
    pub launcher: Launcher<'static>,
    /// What the buildpacks would say of an app without being run.
    pub foresee: Foresee,
    /// Whether a file or variable names the process that an image of the app starts, which costs less to see than all that.
    pub names_process: NamesProcess,
}

/// A buildpack of hoist's own; its programs are links to hoist.
#[derive(Debug, Clone)]
pub struct BuildpackFiles {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The text of `buildpack.toml`.
    pub buildpack_toml: String,
    /// Further files: path below its folder, content, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
}

/// A builder in the store.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The image that buildpacks run in.
    pub image: Image,
    /// The image that apps run on.
    pub run_image: Image,
    /// Its names, for the label of app images.
    pub(crate) run_image_names: RunImage,
    /// The order of buildpacks.
    pub order: Order,
    /// `id@version` of the buildpacks that are hoist's own.
    pub(crate) own_buildpacks: BTreeSet<String>,
    /// As whom buildpacks run.
    pub(crate) user: User,
    /// What lies over its image for one build.
    pub(crate) extra: Extra,
}

impl Builder {
    /// The directories of its file system, topmost first.
    pub(crate) fn lower_dirs(&self) -> Result<Vec<PathBuf>, StoreError> {
        Ok(self.extra.dirs().chain(self.image.lower_dirs()?).collect())
    }
}

/// What the builder was made from; every field is compared, and what differs is the reason to make it again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    build_image: String,
    run_image: String,
    /// Size and modification time of hoist's binary, which identify it on one machine as well as a hash does, without reading it.
    hoist_bytes: u64,
    hoist_mtime_ns: u128,
    buildpacks: Vec<String>,
    /// What it tells builds on other platforms of the machine's Debian mirror.
    #[serde(default)]
    apt_sources: Option<String>,
    image: String,
}

impl LocalEngine {
    /// The builder on the base, both found or made.
    pub(crate) fn builder(&self) -> Result<Builder, PlatformError> {
        let base = self.base(&BaseChoice::Present)?;
        // What a stranger's base makes is found by the builds from that bundle alone.
        let record_key = self.bundle_digest().unwrap_or(RECORD.1).to_owned();
        let run_image = self.store().image(&base.run_image)?;
        let order = Order { order: self.parts().order.clone(), ..Order::default() };
        let wanted = made_from(&base, self.settings())?;
        let own_buildpacks: BTreeSet<String> = wanted.buildpacks.iter().cloned().collect();
        let builder = |image| Builder {
            image,
            run_image: run_image.clone(),
            run_image_names: RunImage { image: RUN_IMAGE_NAME.to_owned(), mirrors: Vec::new() },
            order: order.clone(),
            own_buildpacks: own_buildpacks.clone(),
            user: BUILD_USER,
            extra: Extra::default(),
        };
        if let Some(found) = self.store().record::<Made>(RECORD.0, &record_key)?
            && (Made { image: found.image.clone(), ..wanted.clone_inputs() }) == found
            && let Ok(image) = self.store().image(&found.image)
            && image.has_its_layers()?
        {
            return Ok(builder(image));
        }
        let image = self.make_default(&base, &run_image)?;
        let made = Made { image: image.id().to_string(), ..wanted };
        self.store().put_record(RECORD.0, &record_key, &made, &[image.id().into()])?;
        Ok(builder(image))
    }

    /// Hoist's own builder, its run image or its build image, by that name; made, and given the name, where it is not there. None for other names.
    pub fn own_image(&self, name: &str) -> Result<Option<Image>, PlatformError> {
        let Ok(name) = name.parse::<Reference>() else { return Ok(None) };
        let is = |own: &str| own.parse().is_ok_and(|own: Reference| own == name);
        let image = if is(BUILDER_NAME) {
            self.builder()?.image
        } else if is(RUN_IMAGE_NAME) {
            self.wanted_image("run image", RUN_IMAGE_NAME)?
        } else if is(BUILD_IMAGE_NAME) {
            self.wanted_image("build image", BUILD_IMAGE_NAME)?
        } else {
            return Ok(None);
        };
        self.store().tag(&image, &name)?;
        Ok(Some(image))
    }

    /// The default builder is made as any other, from its own builder.toml.
    fn make_default(&self, base: &Base, run_image: &Image) -> Result<Image, PlatformError> {
        let path = Path::new("hoist's own builder.toml");
        let config = BuilderConfig::parse(&default_builder_toml(self.settings()))
            .map_err(|source| BuilderError::Config { path: path.to_owned(), source })?;
        let is_of_a_bundle = self.bundle_digest().is_some();
        let names: Vec<Reference> = if is_of_a_bundle { Vec::new() } else { vec![BUILDER_NAME.parse()?] };
        let made = self.make_builder(&Making {
            config: &config,
            path,
            base_dir: Path::new("/"),
            names: &names,
            labels: &[],
            flatten: &[],
            targets: &[],
        })?;
        if is_of_a_bundle {
            return Ok(made.image);
        }
        self.store().tag(&self.store().image(&base.build_image)?, &BUILD_IMAGE_NAME.parse()?)?;
        self.store().tag(run_image, &RUN_IMAGE_NAME.parse()?)?;
        Ok(made.image)
    }
}

/// The builder.toml of hoist's own builder: a start for others.
pub fn default_builder_toml(settings: &EngineSettings) -> String {
    let parts = &settings.parts;
    let mut text = format!(
        "description = \"Python apps and services, by hoist\"\n\n# The base, made from Debian packages: hoist base show\n[build]\nimage = \"{BUILD_IMAGE_NAME}\"\n\n[[run.images]]\nimage = \"{RUN_IMAGE_NAME}\"\n"
    );
    for one in &parts.buildpacks {
        let _ = write!(
            text,
            "\n[[buildpacks]]\nid = \"{0}\"\nversion = \"{1}\"\nuri = \"urn:hoist:buildpack:{0}\"\n",
            one.id, one.version
        );
    }
    for group in &parts.order {
        text.push_str("\n[[order]]\n");
        for entry in &group.group {
            let _ = write!(text, "\n[[order.group]]\nid = \"{}\"\nversion = \"{}\"\n", entry.id, entry.version);
            if entry.optional {
                text.push_str("optional = true\n");
            }
        }
    }
    if let Some(lines) = apt_sources(settings) {
        let value = toml::Value::String(lines);
        let _ = write!(
            text,
            "\n# For builds by other platforms (pack), which do not know from where this machine has Debian's packages\n\
             [[build.env]]\nname = \"{APT_SOURCES_VARIABLE}\"\nsuffix = \"default\"\nvalue = {value}\n"
        );
    }
    text
}

/// The machine's Debian mirror, as far as other machines may know it.
fn apt_sources(settings: &EngineSettings) -> Option<String> {
    let machine = settings.mirror.is_none().then(|| read_apt_sources(Path::new("/")).ok()).flatten();
    shareable_lines(&machine.unwrap_or_default(), settings.mirror.as_ref())
}

impl Made {
    fn clone_inputs(&self) -> Self {
        Self {
            build_image: self.build_image.clone(),
            run_image: self.run_image.clone(),
            hoist_bytes: self.hoist_bytes,
            hoist_mtime_ns: self.hoist_mtime_ns,
            buildpacks: self.buildpacks.clone(),
            apt_sources: self.apt_sources.clone(),
            image: String::new(),
        }
    }
}

fn made_from(base: &Base, settings: &EngineSettings) -> Result<Made, PlatformError> {
    let parts = &settings.parts;
    let failed = |source| PlatformError::scratch("look at hoist's own binary", source);
    let about = fs::metadata(&parts.hoist_path).map_err(failed)?;
    let mtime = about.modified().map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Made {
        build_image: base.build_image.clone(),
        run_image: base.run_image.clone(),
        hoist_bytes: about.len(),
        hoist_mtime_ns: mtime.as_nanos(),
        buildpacks: parts.buildpacks.iter().map(|one| format!("{}@{}", one.id, one.version)).collect(),
        apt_sources: apt_sources(settings),
        image: String::new(),
    })
}

pub(crate) fn layer_of(
    store: &Store,
    what: &'static str,
    fill: impl FnOnce(&mut LayerBuilder) -> Result<(), LayerError>,
) -> Result<Layer, PlatformError> {
    let mut builder = store.layer_builder()?;
    fill(&mut builder).and_then(|()| builder.finish()).map_err(|source| PlatformError::Layer { what, source })
}

pub(crate) fn programs(layer: &mut LayerBuilder, parts: &BuilderParts) -> Result<(), LayerError> {
    layer.copy_file("/cnb/hoist/bin/hoist", Attributes::root(0o755), &parts.hoist_path)?;
    let launcher = parts.launcher.program;
    layer.file("/cnb/lifecycle/launcher", Attributes::root(0o755), &mut &*launcher, launcher.len() as u64)?;
    // Hoist is the lifecycle of its builders; it sees from its name which phase is wanted.
    for phase in ["analyzer", "detector", "restorer", "builder", "exporter", "creator", "rebaser"] {
        layer.symlink(Path::new("/cnb/lifecycle").join(phase), "/cnb/hoist/bin/hoist", Attributes::root(0o777))?;
    }
    // Where platforms of before look for it.
    layer.symlink("/lifecycle", "/cnb/lifecycle", Attributes::root(0o644))?;
    for (dir, mode) in [("/layers", 0o755), ("/workspace", 0o755)] {
        layer.directory(dir, Attributes::new(BUILD_UID, GID, mode))?;
    }
    layer.directory("/platform", Attributes::root(0o755))?;
    layer.directory("/platform/env", Attributes::root(0o755))?;
    Ok(())
}

pub(crate) fn buildpack_files(layer: &mut LayerBuilder, buildpack: &BuildpackFiles) -> Result<(), LayerError> {
    let dir = Path::new("/cnb/buildpacks").join(escape_id(&buildpack.id)).join(&buildpack.version);
    let text = buildpack.buildpack_toml.as_bytes();
    layer.file(dir.join("buildpack.toml"), Attributes::root(0o644), &mut &*text, text.len() as u64)?;
    for program in ["detect", "build"] {
        layer.symlink(dir.join("bin").join(program), "/cnb/hoist/bin/hoist", Attributes::root(0o777))?;
    }
    for (path, bytes, mode) in &buildpack.files {
        layer.file(dir.join(path), Attributes::root(*mode), &mut bytes.as_slice(), bytes.len() as u64)?;
    }
    Ok(())
}

/// The version of the Go lifecycle that hoist's stands for. `pack` sees from it which programs the lifecycle has (`creator` since 0.7.4) and
/// which lifecycle image does the phases that need a registry: `buildpacksio/lifecycle:<version>`, which therefore has to exist.
pub(crate) const LIFECYCLE_VERSION: &str = "0.21.0";

/// What the metadata of every builder says of the lifecycle in it.
pub(crate) fn lifecycle_metadata() -> BuilderMetadata {
    let versions = |from: ApiVersion, to: ApiVersion| ApiRange {
        deprecated: Vec::new(),
        supported: (from.minor..=to.minor).map(|minor| ApiVersion::new(0, minor)).collect(),
    };
    BuilderMetadata {
        lifecycle: BuilderLifecycle::new(
            LIFECYCLE_VERSION.to_owned(),
            LifecycleApis {
                buildpack: versions(ApiVersion::OLDEST_BUILDPACK, ApiVersion::NEWEST_BUILDPACK),
                platform: versions(ApiVersion::OLDEST_PLATFORM, ApiVersion::NEWEST_PLATFORM),
            },
        ),
        created_by: CreatedBy { name: "hoist".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        ..BuilderMetadata::default()
    }
}

/// The order of a list of groups of `(id, version, optional)`.
pub fn order_of(groups: impl IntoIterator<Item = Vec<(String, String, bool)>>) -> Vec<OrderGroup> {
    groups
        .into_iter()
        .map(|group| OrderGroup {
            group: group
                .into_iter()
                .map(|(id, version, optional)| {
                    let entry = GroupEntry::new(id, version);
                    if optional { entry.optional() } else { entry }
                })
                .collect(),
        })
        .collect()
}
