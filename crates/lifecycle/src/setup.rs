//! What all phases of one build share: where things are, who builds, who listens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Deref;
use std::path::PathBuf;

use hoist_events::Reporter;
use hoist_image::Store;
use hoist_spec::ApiVersion;

use crate::counters::Counters;
use crate::runner::Runner;

/// Directories of the specification, as they are inside the build's root file system and in the app image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// `CNB_APP_DIR`.
    pub app_dir: PathBuf,
    /// `CNB_LAYERS_DIR` of the lifecycle.
    pub layers_dir: PathBuf,
    /// `CNB_PLATFORM_DIR`.
    pub platform_dir: PathBuf,
    /// Where the builder has its buildpacks.
    pub buildpacks_dir: PathBuf,
    /// The operator's environment.
    pub build_config_dir: PathBuf,
    /// Where a buildpack's process finds its plan; none where that is the place that it has on the host.
    pub exchange_dir: Option<PathBuf>,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            app_dir: "/workspace".into(),
            layers_dir: "/layers".into(),
            platform_dir: "/platform".into(),
            buildpacks_dir: "/cnb/buildpacks".into(),
            build_config_dir: "/cnb/build-config".into(),
            exchange_dir: Some("/cnb/exchange".into()),
        }
    }
}

/// The user that buildpacks run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildUser {
    /// Id inside, also in the layers.
    pub uid: u32,
    /// Group id inside, also in the layers.
    pub gid: u32,
    /// Whether files on the host must be given to these ids: true when hoist runs as root, false in a user namespace, where the files
    /// of the ordinary user are the build user's.
    pub chown: bool,
}

/// The overlay that a build runs in, by host paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRoot {
    /// The upper directory: what the build wrote. Also holds what the lifecycle puts into `/layers` before.
    pub upper_dir: PathBuf,
    /// Lower directories without restored layers, topmost first: the staged app (below its `workspace`), then the build image's layers.
    pub lower_dirs: Vec<PathBuf>,
}

/// What all phases of one build share: the site, and the store from which and into which the other phases work.
pub struct Setup<'a> {
    /// Where and how buildpacks are called.
    pub site: Site<'a>,
    /// Keeps layers, images and the build cache.
    pub store: &'a Store,
}

/// A setup is a site with a store, and detect and build take it as the site that it is.
impl<'a> Deref for Setup<'a> {
    type Target = Site<'a>;

    fn deref(&self) -> &Site<'a> {
        &self.site
    }
}

/// Where and how buildpacks are called: all that detect and build know.
pub struct Site<'a> {
    /// Runs buildpacks.
    pub runner: &'a dyn Runner,
    /// Hears what happens.
    pub reporter: &'a dyn Reporter,
    /// Where the build takes place.
    pub root: BuildRoot,
    /// Host path of a directory for plans, removed by its owner after the build; on the file system of `upper_dir` or not.
    pub scratch_dir: PathBuf,
    /// Who builds.
    pub user: BuildUser,
    /// Where things are inside.
    pub directories: Directories,
    /// The lifecycle's own environment: that of the build image, with the host's proxies. Buildpacks see what the specification lets
    /// through.
    pub environment: Vec<(OsString, OsString)>,
    /// The files of `<platform>/env`, by name. (The runner mounts the whole platform directory.)
    pub platform_env: BTreeMap<OsString, Vec<u8>>,
    /// `CNB_EXEC_ENV`: `production` unless chosen otherwise.
    pub exec_env: String,
    /// The Platform API that the app image is made for.
    pub platform_api: ApiVersion,
    /// What the phases did, for tests and for `--explain`.
    pub counters: Counters,
}

impl Site<'_> {
    /// A buildpack's directory inside the layers directory.
    pub(crate) fn buildpack_layers_dir(&self, id: &str) -> PathBuf {
        self.directories.layers_dir.join(hoist_spec::escape_id(id))
    }

    /// Whether the build took place in the root file system that this process is in, and not in an overlay of its own.
    pub(crate) fn is_in_place(&self) -> bool {
        self.root.lower_dirs.contains(&self.root.upper_dir)
    }

    /// The directories of the overlay, topmost first, with these restored layers between the upper and the lower ones.
    pub(crate) fn overlay_dirs(&self, restored: &[PathBuf]) -> Vec<PathBuf> {
        let upper = &self.root.upper_dir;
        // In a container upper and lower are one: its root.
        let lower = restored.iter().chain(&self.root.lower_dirs).filter(|dir| *dir != upper);
        std::iter::once(upper).chain(lower).cloned().collect()
    }
}
