//! Which Debian packages make up an interpreter, and their files: resolved from the signed indexes of its suite against what the run image
//! is known to have, remembered for a day, fetched into the machine's cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use hoist_debian::{
    DebCache, FetchError, FetchOptions, Fetcher, Index, IndexError, IndexRequest, Installed, Keyring, KeyringError,
    LockedPackage, ResolveError, ResolveRequest, Sha256, Source, SourcesError, Version, fetch_packages, hex,
    native_architecture, parse_paragraphs, parse_source_lines, read_apt_sources, resolve, sources_for,
};
use hoist_events::NullReporter;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::install::RUN_PACKAGES;
use crate::keep;

/// Names the mirror, in lines as apt's sources.list has them.
const SOURCES_VARIABLE: &str = "HOIST_APT_SOURCES";
/// How long a machine believes its last look at the indexes.
const BELIEVED: Duration = Duration::from_hours(24);

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

/// Why the packages cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackagesError {
    #[error("the apt binding cannot be read: {reason}")]
    Binding { reason: String },
    #[error("{SOURCES_VARIABLE}, or sources.list of the apt binding, has no line that begins with `deb`")]
    Variable,
    #[error("the Debian sources cannot be found")]
    Sources(#[source] SourcesError),
    #[error("the Debian keys cannot be read")]
    Keyring(#[source] KeyringError),
    #[error("the package index cannot be had")]
    Index(#[source] IndexError),
    #[error("the packages of the interpreter do not fit together")]
    Resolve(#[source] ResolveError),
    #[error("the suite has no package {name}")]
    Missing { name: String },
    #[error("a package cannot be fetched")]
    Fetch(#[source] FetchError),
    #[error("the base's own package list cannot be read: {reason}")]
    Status { reason: String },
}

impl PackagesError {
    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Sources(SourcesError::NoDebian { .. }) | Self::Variable => format!(
                "name a Debian mirror: --env {SOURCES_VARIABLE}='deb http://HOST/debian stable main' for this build, or [[build.env]] in the \
                 builder.toml for all; hoist itself names that of the machine"
            ),
            Self::Sources(error) => error.hint(),
            Self::Keyring(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Binding { .. } => "give a binding of type `apt` with sources.list, or let hoist write it".into(),
            Self::Missing { .. } => "choose another Python (.python-version), or a mirror that has the suite".into(),
            Self::Status { .. } => "make the base again".into(),
        }
    }
}

/// The way to Debian from inside of a build.
pub(crate) struct Archive {
    sources: Vec<Source>,
    /// Where pip comes from: the same suite, but for one that has it only in pieces.
    pip_sources: Vec<Source>,
    keyring: Keyring,
    fetcher: Fetcher,
    cache_dir: PathBuf,
    installed: Installed,
}

impl Archive {
    /// The archive for a suite: from the `apt` binding, else from the build image's own settings.
    pub(crate) fn open(context: &Context, suite: &str, cache_dir: &Path) -> Result<Self, PackagesError> {
        let binding = context.bindings.of_type("apt").next();
        let machine = machine_sources(context)?;
        let sources = sources_for(suite, &machine, None).map_err(PackagesError::Sources)?;
        let pip_suite = if suite == "bullseye" { "bookworm" } else { suite };
        let pip_sources = sources_for(pip_suite, &machine, None).map_err(PackagesError::Sources)?;
        let keyring = match binding.and_then(|binding| binding.path("keyring.gpg")) {
            Some(path) => Keyring::read(&path),
            None => Keyring::for_sources(&context.root_dir, &sources),
        };
        let installed = installed(&context.root_dir)?;
        Ok(Self {
            sources,
            pip_sources,
            keyring: keyring.map_err(PackagesError::Keyring)?,
            fetcher: Fetcher::new(fetch_options(context)),
            cache_dir: cache_dir.to_owned(),
            installed,
        })
    }

    /// The packages of an interpreter: what this machine chose less than a day ago, else the newest ones.
    pub(crate) fn packages(&self, suite: &str, minor: &str) -> Result<PackageSet, PackagesError> {
        let memory = self.cache_dir.join("pythons").join(self.id(suite, minor));
        let age = fs::metadata(&memory).ok().and_then(|data| data.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age < BELIEVED)
            && let Some(set) = fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(set);
        }
        let set = self.choose(minor)?;
        if let Ok(text) = serde_json::to_vec(&set) {
            let _ = keep::put(&memory, &text); // a machine that cannot remember looks again
        }
        Ok(set)
    }

    fn id(&self, suite: &str, minor: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(suite);
        hasher.update(minor);
        hasher.update(native_architecture());
        for (name, version) in &self.installed.packages {
            hasher.update(format!("\n{name}={version}"));
        }
        for source in &self.sources {
            hasher.update(format!("\n{} {}", source.uri, source.suite));
        }
        hex(&hasher.finalize())
    }

    fn index(&self, sources: &[Source]) -> Result<Index, PackagesError> {
        let architecture = native_architecture();
        let cache_dir = &self.cache_dir.join("indexes");
        let request = IndexRequest { sources, architecture, keyring: &self.keyring, cache_dir };
        Index::load(&self.fetcher, &request, &NullReporter).map_err(PackagesError::Index)
    }

    fn choose(&self, minor: &str) -> Result<PackageSet, PackagesError> {
        let index = self.index(&self.sources)?;
        let request = ResolveRequest {
            wanted: vec![format!("python{minor}")],
            installed: self.installed.clone(),
            excluded: ASSUMED.iter().map(|name| (*name).to_owned()).collect(),
        };
        let resolution = resolve(&index, &request).map_err(PackagesError::Resolve)?;
        let mut launch: Vec<LockedPackage> = resolution.packages.iter().map(LockedPackage::of).collect();
        if index.contains("python3-distutils") {
            launch.push(candidate(&index, "python3-distutils")?);
        }
        let pip = if self.pip_sources == self.sources {
            candidate(&index, "python3-pip-whl")?
        } else {
            candidate(&self.index(&self.pip_sources)?, "python3-pip-whl")?
        };
        let build = vec![candidate(&index, &format!("libpython{minor}-dev"))?, pip];
        Ok(PackageSet { launch, build })
    }

    /// Brings the package files, in the order of `packages`.
    pub(crate) fn fetch(&self, packages: &[LockedPackage]) -> Result<Vec<PathBuf>, PackagesError> {
        let sources = [self.sources.clone(), self.pip_sources.clone()].concat();
        let files: Vec<_> = packages.iter().map(|package| package.file(&sources)).collect();
        let cache = DebCache::new(&self.cache_dir.join("debs"));
        fetch_packages(&self.fetcher, &files, &cache, &NullReporter).map_err(PackagesError::Fetch)
    }
}

/// Where the mirror is named: a variable of this build, the `apt` binding (which hoist gives), a variable of the builder's operator, or else the
/// build image's own files.
fn machine_sources(context: &Context) -> Result<Vec<Source>, PackagesError> {
    let lines = |text: &str| {
        let found = parse_source_lines(text, true);
        if found.is_empty() { Err(PackagesError::Variable) } else { Ok(found) }
    };
    if let Some(text) = context.variable_of_this_build(SOURCES_VARIABLE) {
        return lines(&text);
    }
    if let Some(binding) = context.bindings.of_type("apt").next() {
        if let Some(text) = binding.text("sources.json") {
            return serde_json::from_str(&text).map_err(|error| PackagesError::Binding { reason: error.to_string() });
        }
        if let Some(text) = binding.text("sources.list") {
            return lines(&text);
        }
    }
    match context.variable(SOURCES_VARIABLE) {
        Some(text) => lines(text),
        None => read_apt_sources(&context.root_dir).map_err(PackagesError::Sources),
    }
}

/// As the environment says, with the authorities of the `ca-certificates` binding.
fn fetch_options(context: &Context) -> FetchOptions {
    let mut options = FetchOptions::from_environment();
    options.ca_file = context.bindings.authorities().or(options.ca_file);
    options
}

fn candidate(index: &Index, name: &str) -> Result<LockedPackage, PackagesError> {
    let package = index.candidate(name).ok_or_else(|| PackagesError::Missing { name: name.to_owned() })?;
    Ok(LockedPackage::of(&package))
}

/// What the run image has of the build image's packages.
fn installed(root: &Path) -> Result<Installed, PackagesError> {
    let status = |error: &dyn std::error::Error| PackagesError::Status { reason: error.to_string() };
    let path = root.join("var/lib/dpkg/status");
    let text = if path.is_file() { fs::read_to_string(&path).map_err(|error| status(&error))? } else { String::new() };
    let listed = fs::read_to_string(root.join(RUN_PACKAGES)).ok();
    let in_run_image = |name: &str| match &listed {
        Some(list) => list.lines().any(|line| line.trim() == name),
        None => ASSUMED.contains(&name),
    };
    let mut packages = BTreeMap::new();
    let mut provides = Vec::new();
    for paragraph in parse_paragraphs(&text).map_err(|error| status(&error))? {
        let (Some(name), Some(version)) = (paragraph.get("Package"), paragraph.get("Version")) else { continue };
        if !in_run_image(name) {
            continue;
        }
        if let Ok(version) = version.parse::<Version>() {
            packages.insert(name.to_owned(), version);
        }
        for provided in paragraph.get("Provides").unwrap_or_default().split(',') {
            let (name, version) = provided.split_once('(').unwrap_or((provided, ""));
            let version = version.trim_matches([' ', '=', ')']).parse::<Version>().ok();
            if !name.trim().is_empty() {
                provides.push((name.trim().to_owned(), version));
            }
        }
    }
    Ok(Installed { packages, provides })
}
