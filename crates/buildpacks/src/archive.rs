//! The way to Debian's packages from inside of a build: the mirror and its signed indexes, what the base has already, and the machine's cache.
//! What was chosen is remembered for a day. Knows neither interpreters nor what an app asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use hoist_debian::{
    DebCache, FetchError, FetchOptions, Fetcher, Index, IndexError, IndexRequest, Installed, Keyring, KeyringError,
    LockedPackage, ResolveError, Sha256, Source, SourcesError, Version, fetch_packages, hex, native_architecture,
    parse_paragraphs, parse_source_lines, read_apt_sources, sources_for,
};
use hoist_events::NullReporter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::install::RUN_PACKAGES;
use crate::keep;
use crate::offline;

/// Names the mirror, in lines as apt's sources.list has them.
const SOURCES_VARIABLE: &str = "HOIST_APT_SOURCES";
/// How long a machine believes its last look at the indexes.
const BELIEVED: Duration = Duration::from_hours(24);

/// Why packages of Debian cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
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
    #[error("the packages do not fit together")]
    Resolve(#[source] ResolveError),
    #[error("the suite has no package {name}")]
    Missing { name: String },
    #[error("a package cannot be fetched")]
    Fetch(#[source] FetchError),
    #[error("the base's own package list cannot be read: {reason}")]
    Status { reason: String },
}

impl ArchiveError {
    /// Whether the network was needed and may not be used.
    pub(crate) fn is_of_no_network(&self) -> bool {
        matches!(
            self,
            Self::Index(IndexError::Fetch { source: FetchError::Offline { .. }, .. })
                | Self::Fetch(FetchError::Offline { .. })
        )
    }

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
            Self::Missing { .. } => "look at the name, or take a mirror that has the suite".into(),
            Self::Status { .. } => "make the base again".into(),
        }
    }
}

/// A suite of Debian, as this build reaches it.
pub(crate) struct Archive {
    sources: Vec<Source>,
    machine: Vec<Source>,
    keyring: Keyring,
    fetcher: Fetcher,
    cache_dir: PathBuf,
    is_offline: bool,
}

impl Archive {
    /// The archive for a suite: from the `apt` binding, else from the build image's own settings.
    pub(crate) fn open(context: &Context, suite: &str, cache_dir: &Path) -> Result<Self, ArchiveError> {
        let machine = machine_sources(context)?;
        let sources = sources_for(suite, &machine, None).map_err(ArchiveError::Sources)?;
        let binding = context.bindings.of_type("apt").next();
        let keyring = match binding.and_then(|binding| binding.path("keyring.gpg")) {
            Some(path) => Keyring::read(&path),
            None => Keyring::for_sources(&context.root_dir, &sources),
        };
        Ok(Self {
            sources,
            machine,
            keyring: keyring.map_err(ArchiveError::Keyring)?,
            fetcher: Fetcher::new(fetch_options(context)),
            cache_dir: cache_dir.to_owned(),
            is_offline: offline::is_offline(context),
        })
    }

    /// The sources of another suite on the same mirror.
    pub(crate) fn sources_of(&self, suite: &str) -> Result<Vec<Source>, ArchiveError> {
        sources_for(suite, &self.machine, None).map_err(ArchiveError::Sources)
    }

    /// The signed indexes of the suite.
    pub(crate) fn index(&self) -> Result<Index, ArchiveError> {
        self.index_of(&self.sources)
    }

    /// The signed indexes of these sources.
    pub(crate) fn index_of(&self, sources: &[Source]) -> Result<Index, ArchiveError> {
        let architecture = native_architecture();
        let cache_dir = &self.cache_dir.join("indexes");
        let request = IndexRequest { sources, architecture, keyring: &self.keyring, cache_dir };
        Index::load(&self.fetcher, &request, &NullReporter).map_err(ArchiveError::Index)
    }

    /// What this machine chose less than a day ago (at any time, where the network may not be used) for the same wishes (`what`), beside the same packages, from the same sources; else what
    /// `choose` answers now.
    pub(crate) fn remembered<T: Serialize + DeserializeOwned>(
        &self,
        folder: &str,
        what: &[&str],
        installed: &Installed,
        choose: impl FnOnce() -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let memory = self.cache_dir.join(folder).join(self.id(what, installed));
        let age = fs::metadata(&memory).ok().and_then(|data| data.modified().ok()?.elapsed().ok());
        if (self.is_offline || age.is_some_and(|age| age < BELIEVED))
            && let Some(set) = fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(set);
        }
        let set = choose()?;
        if let Ok(text) = serde_json::to_vec(&set) {
            let _ = keep::put(&memory, &text); // a machine that cannot remember looks again
        }
        Ok(set)
    }

    fn id(&self, what: &[&str], installed: &Installed) -> String {
        let mut hasher = Sha256::new();
        for part in what {
            hasher.update(part);
        }
        hasher.update(native_architecture());
        for (name, version) in &installed.packages {
            hasher.update(format!("\n{name}={version}"));
        }
        for source in &self.sources {
            let source = source.without_login();
            hasher.update(format!("\n{} {}", source.uri, source.suite));
        }
        hex(&hasher.finalize())
    }

    /// Brings the package files, in the order of `packages`; `others` are sources beside the suite's own.
    pub(crate) fn fetch(&self, packages: &[LockedPackage], others: &[Source]) -> Result<Vec<PathBuf>, ArchiveError> {
        let sources = [&self.sources, others].concat();
        let files: Vec<_> = packages.iter().map(|package| package.file(&sources)).collect();
        let cache = DebCache::new(&self.cache_dir.join("debs"));
        fetch_packages(&self.fetcher, &files, &cache, &NullReporter).map_err(ArchiveError::Fetch)
    }
}

/// The newest version of a package.
pub(crate) fn candidate(index: &Index, name: &str) -> Result<LockedPackage, ArchiveError> {
    let package = index.candidate(name).ok_or_else(|| ArchiveError::Missing { name: name.to_owned() })?;
    Ok(LockedPackage::of(&package))
}

/// The suite that the base is made of.
pub(crate) fn base_suite(context: &Context) -> String {
    let text = fs::read_to_string(context.root_dir.join("etc/os-release"))
        .or_else(|_| fs::read_to_string(context.root_dir.join("usr/lib/os-release")))
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or_else(|| "trixie".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

/// A digest of the list of the base's packages; empty for a base without one.
pub(crate) fn base_packages(context: &Context) -> String {
    let status = fs::read(context.root_dir.join("var/lib/dpkg/status")).unwrap_or_default();
    if status.is_empty() { String::new() } else { hex(&Sha256::digest(status))[..16].to_owned() }
}

/// The names of the run image's packages, where the base brings the list.
pub(crate) fn run_packages(root: &Path) -> Option<String> {
    fs::read_to_string(root.join(RUN_PACKAGES)).ok()
}

/// The packages of the build image that `counts` says yes to, with what they stand for.
pub(crate) fn installed(root: &Path, counts: &dyn Fn(&str) -> bool) -> Result<Installed, ArchiveError> {
    let status = |error: &dyn std::error::Error| ArchiveError::Status { reason: error.to_string() };
    let path = root.join("var/lib/dpkg/status");
    let text = if path.is_file() { fs::read_to_string(&path).map_err(|error| status(&error))? } else { String::new() };
    let mut packages = BTreeMap::new();
    let mut provides = Vec::new();
    for paragraph in parse_paragraphs(&text).map_err(|error| status(&error))? {
        let (Some(name), Some(version)) = (paragraph.get("Package"), paragraph.get("Version")) else { continue };
        if !counts(name) {
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

/// Where the mirror is named: a variable of this build, the `apt` binding (which hoist gives), a variable of the builder's operator, or else the
/// build image's own files.
fn machine_sources(context: &Context) -> Result<Vec<Source>, ArchiveError> {
    let lines = |text: &str| {
        let found = parse_source_lines(text, true);
        if found.is_empty() { Err(ArchiveError::Variable) } else { Ok(found) }
    };
    if let Some(text) = context.variable_of_this_build(SOURCES_VARIABLE) {
        return lines(&text);
    }
    if let Some(binding) = context.bindings.of_type("apt").next() {
        if let Some(text) = binding.text("sources.json") {
            return serde_json::from_str(&text).map_err(|error| ArchiveError::Binding { reason: error.to_string() });
        }
        if let Some(text) = binding.text("sources.list") {
            return lines(&text);
        }
    }
    match context.variable(SOURCES_VARIABLE) {
        Some(text) => lines(text),
        None => read_apt_sources(&context.root_dir).map_err(ArchiveError::Sources),
    }
}

/// As the environment says, with the authorities of the `ca-certificates` binding.
fn fetch_options(context: &Context) -> FetchOptions {
    let mut options = FetchOptions::from_environment();
    options.offline = offline::is_offline(context);
    options.ca_file = context.bindings.authorities().or(options.ca_file);
    options
}
