//! Which Debian packages make up an interpreter: resolved from the signed indexes of its suite against what the run image is known to have.

use std::path::{Path, PathBuf};

use hoist_debian::{Installed, LockedPackage, ResolveRequest, Source, resolve};
use serde::{Deserialize, Serialize};

use crate::archive::{self, ArchiveError, candidate};
use crate::context::Context;

/// What every run image of hoist has, or what an interpreter does without. Any other library comes with the interpreter.
const ASSUMED: &[&str] = &[
    "libc6",
    "libc-bin",
    "libgcc-s1",
    "libstdc++6",
    "gcc-14-base",
    "gcc-12-base",
    "zlib1g",
    "libcrypt1",
    "media-types",
    "mime-support",
    "tzdata",
    "netbase",
    "ca-certificates",
    "debconf",
    "dpkg",
    "libpython3.9",
    "libpython3.11",
    "libpython3.13",
    "libpython3.14",
];

/// The packages of an interpreter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackageSet {
    /// For the app: interpreter, standard library, libraries.
    pub(crate) launch: Vec<LockedPackage>,
    /// For building extensions: headers and pip.
    pub(crate) build: Vec<LockedPackage>,
}

/// The archive that interpreters come from.
pub(crate) struct Archive {
    suite: archive::Archive,
    /// Where pip comes from: the same suite, but for one that has it only in pieces.
    pip_sources: Option<Vec<Source>>,
    installed: Installed,
}

impl Archive {
    /// The archive for a suite.
    pub(crate) fn open(context: &Context, suite: &str, cache_dir: &Path) -> Result<Self, ArchiveError> {
        let archive = archive::Archive::open(context, suite, cache_dir)?;
        let pip_sources = (suite == "bullseye").then(|| archive.sources_of("bookworm")).transpose()?;
        let listed = archive::run_packages(&context.root_dir);
        let counts = |name: &str| match &listed {
            Some(list) => list.lines().any(|line| line.trim() == name),
            None => ASSUMED.contains(&name),
        };
        let installed = archive::installed(&context.root_dir, &counts)?;
        Ok(Self { suite: archive, pip_sources, installed })
    }

    /// The packages of an interpreter: what this machine chose less than a day ago, else the newest ones.
    pub(crate) fn packages(&self, suite: &str, minor: &str) -> Result<PackageSet, ArchiveError> {
        self.suite.remembered("pythons", &[suite, minor], &self.installed, || self.choose(minor))
    }

    fn choose(&self, minor: &str) -> Result<PackageSet, ArchiveError> {
        let index = self.suite.index()?;
        let request = ResolveRequest {
            wanted: vec![format!("python{minor}")],
            installed: self.installed.clone(),
            excluded: ASSUMED.iter().map(|name| (*name).to_owned()).collect(),
        };
        let resolution = resolve(&index, &request).map_err(ArchiveError::Resolve)?;
        let mut launch: Vec<LockedPackage> = resolution.packages.iter().map(LockedPackage::of).collect();
        if index.contains("python3-distutils") {
            launch.push(candidate(&index, "python3-distutils")?);
        }
        let pip = match &self.pip_sources {
            None => candidate(&index, "python3-pip-whl")?,
            Some(sources) => candidate(&self.suite.index_of(sources)?, "python3-pip-whl")?,
        };
        let build = vec![candidate(&index, &format!("libpython{minor}-dev"))?, pip];
        Ok(PackageSet { launch, build })
    }

    /// Brings the package files, in the order of `packages`.
    pub(crate) fn fetch(&self, packages: &[LockedPackage]) -> Result<Vec<PathBuf>, ArchiveError> {
        self.suite.fetch(packages, self.pip_sources.as_deref().unwrap_or_default())
    }
}
