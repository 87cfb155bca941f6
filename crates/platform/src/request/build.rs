//! What a build is asked for. Each group of fields belongs to one group of options; everything has a default.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hoist_image::{Compression, Reference};
use hoist_service::{Contract, Manager, Selection};
use hoist_spec::ProjectMetadata;

use crate::attest::Attest;
use crate::place::Place;
use crate::request::Volume;
use crate::request::buildpacks::BuildpackChoice;
use crate::request::caches::BuildCache;
use crate::request::mirrors::RunImageMirrors;

/// The network of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildNetwork {
    /// The host's: packages have to come from somewhere.
    #[default]
    Host,
    /// None: everything must be in the caches.
    None,
}

impl FromStr for BuildNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(format!(
                "{text:?} is no network of a build: there are host and none; bridge and others are a Docker daemon's, which has no part in this"
            )),
        }
    }
}

/// What one buildpack may use up while it builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildLimits {
    /// Time on the clock: a build may compile large things, but not for ever.
    pub timeout: Duration,
    /// Memory of all its processes together; none for what the machine has.
    pub memory_bytes: Option<u64>,
}

impl Default for BuildLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_hours(4), memory_bytes: None }
    }
}

/// A build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Folder or zip; only read.
    pub source: PathBuf,
    /// The service contract, where it is forced.
    pub contract: Option<Contract>,
    /// What declares the dependencies, where it is forced.
    pub dependencies: Option<Manager>,
    /// The project descriptor; otherwise the source's own `project.toml`, where it has one. What the caller says wins over it.
    pub descriptor: Option<PathBuf>,
    /// Which files of the source are built.
    pub selection: Selection,

    // Which buildpacks are tried.
    /// The builder to build with; none for hoist's own.
    pub builder: Option<Reference>,
    /// The builder where neither the request nor the app's project descriptor names one.
    pub default_builder: Option<Reference>,
    /// Names that a builder's run image may have on this machine, before its own.
    pub run_image_mirrors: RunImageMirrors,
    /// Buildpacks instead of and around those of the builder's order.
    pub buildpacks: BuildpackChoice,

    // What the buildpacks see.
    /// Variables for the buildpacks; later ones win.
    pub env: Vec<(String, String)>,
    /// The network of buildpacks.
    pub network: BuildNetwork,
    /// What one buildpack may use up.
    pub limits: BuildLimits,
    /// What of the host they see besides the app.
    pub volumes: Vec<Volume>,
    /// `CNB_EXEC_ENV`: `production`, `test` or another name.
    pub exec_env: String,
    /// The app's folder inside, absolute.
    pub app_dir: PathBuf,
    /// User id of buildpacks and of what they leave, instead of the builder's.
    pub uid: Option<u32>,
    /// Group id, likewise.
    pub gid: Option<u32>,

    // What of earlier builds is used.
    /// Where the cached layers are.
    pub build_cache: BuildCache,
    /// Folder that keeps the layers of the image, for other lifecycles; the store has them anyway.
    pub launch_cache: Option<PathBuf>,
    /// The image to go on from, by name or id; otherwise the one of the same name.
    pub previous_image: Option<String>,
    /// Whether the layers of earlier builds are left out and forgotten.
    pub clear_cache: bool,

    // What the image is like.
    /// The image that the app is put on, instead of the builder's.
    pub run_image: Option<Reference>,
    /// Its time of creation in seconds since 1970; none for a fixed one, so that the same source makes the same image.
    pub created: Option<i64>,
    /// The process to start with, instead of the one a buildpack proposes.
    pub default_process: Option<String>,
    /// Whether a service's entry point is imported once after the build.
    pub import_check: bool,
    /// Where the source came from, for the image's label.
    pub project: ProjectMetadata,

    // What is left, and where.
    /// What the image is to be called; the first one also names the caches. Without any, the service's own name does, and the image
    /// has none.
    pub names: Vec<Reference>,
    /// Where the image goes besides the store.
    pub outputs: Vec<Place>,
    /// What is attested of the image in registries among the outputs.
    pub attest: Option<Attest>,
    /// How layers are compressed in OCI layouts among the outputs.
    pub output_compression: Compression,
    /// Folder for `report.toml`; made if it does not exist.
    pub report_dir: Option<PathBuf>,
    /// Folder for the SBOM documents of buildpacks, as `launch`, `build` and `cache` of the specification's `<layers>/sbom`.
    pub sbom_dir: Option<PathBuf>,
}

impl Default for BuildRequest {
    fn default() -> Self {
        Self {
            source: PathBuf::from("."),
            contract: None,
            dependencies: None,
            descriptor: None,
            selection: Selection::default(),
            builder: None,
            default_builder: None,
            run_image_mirrors: RunImageMirrors::default(),
            buildpacks: BuildpackChoice::default(),
            env: Vec::new(),
            network: BuildNetwork::default(),
            volumes: Vec::new(),
            exec_env: "production".to_owned(),
            app_dir: PathBuf::from("/workspace"),
            uid: None,
            gid: None,
            build_cache: BuildCache::default(),
            launch_cache: None,
            previous_image: None,
            limits: BuildLimits::default(),
            clear_cache: false,
            run_image: None,
            created: None,
            default_process: None,
            import_check: true,
            project: ProjectMetadata::default(),
            names: Vec::new(),
            outputs: Vec::new(),
            attest: None,
            output_compression: Compression::Gzip,
            report_dir: None,
            sbom_dir: None,
        }
    }
}

impl BuildRequest {
    /// A build of `source` with nothing special.
    pub fn new(source: PathBuf) -> Self {
        Self { source, ..Self::default() }
    }
}
