//! The packages that some suites offer: fetched, verified, parsed, and kept on disk in parsed form.
//!
//! The kept form is named by the hash of the index in the signed Release file, so it can never belong to another index; it carries a
//! checksum of its own. Records are lines sorted by name, read by binary search: nothing is built in memory when it is loaded.

use std::path::{Path, PathBuf};

use hoist_events::Reporter;

use crate::accepted::{Accepted, Age};
use crate::environment::now_secs;
use crate::fetch::{FetchError, Fetcher};
use crate::index_cache::{Part, PartError, parse_packages, part_path, read_part, write_part};
use crate::keyring::{Keyring, KeyringError};
use crate::packages::Package;
use crate::release::{IndexFile, Release, ReleaseError};
use crate::sha256::{Sha256, hex};
use crate::sources::Source;

/// The longest signed Release file, and the longest packed index.
const RELEASE_LIMIT_BYTES: u64 = 16 << 20;
const INDEX_LIMIT_BYTES: u64 = 256 << 20;

/// What to load.
#[derive(Debug, Clone, Copy)]
pub struct IndexRequest<'a> {
    /// From where.
    pub sources: &'a [Source],
    /// For which architecture: `amd64`.
    pub architecture: &'a str,
    /// Whose signatures are believed.
    pub keyring: &'a Keyring,
    /// Where parsed indexes are kept, and the newest Release file of each suite that was accepted.
    pub cache_dir: &'a Path,
}

/// What a signed Release file said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseInfo {
    /// The suite as asked for.
    pub suite: String,
    /// `Codename`, empty where there is none.
    pub codename: String,
    /// `Version`, empty where there is none: `13.2`.
    pub version: String,
    /// `Date`, as written.
    pub date: String,
    /// SHA-256 of the signed text.
    pub sha256: String,
}

/// The packages of some suites.
#[derive(Debug)]
pub struct Index {
    parts: Vec<(Part, Source)>,
    releases: Vec<ReleaseInfo>,
    architecture: String,
}

/// Why an index cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Fetching failed.
    #[error("the index of {suite} cannot be fetched")]
    Fetch {
        /// Which suite.
        suite: String,
        /// Why.
        source: FetchError,
    },
    /// There is no such suite.
    #[error("the mirror {uri} has no suite `{suite}`")]
    UnknownSuite {
        /// Which suite.
        suite: String,
        /// Where it was looked for.
        uri: String,
    },
    /// The signature is not believed.
    #[error("the index of {suite} from {uri} is not believed")]
    Signature {
        /// Which suite.
        suite: String,
        /// From where.
        uri: String,
        /// Why.
        source: KeyringError,
    },
    /// The Release file is wrong.
    #[error("the index of {suite} from {uri} cannot be used")]
    Release {
        /// Which suite.
        suite: String,
        /// From where.
        uri: String,
        /// Why.
        source: ReleaseError,
    },
    /// No packages for the architecture.
    #[error("the suite {suite} has no packages for {architecture} in {component}")]
    Architecture {
        /// Which suite.
        suite: String,
        /// Asked for.
        architecture: String,
        /// Asked for.
        component: String,
    },
    /// The index cannot be read.
    #[error("the packages of {suite} cannot be read")]
    Packages {
        /// Which suite.
        suite: String,
        /// Why.
        source: PartError,
    },
    /// The parsed index cannot be kept.
    #[error("the parsed index {} cannot be written", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl IndexError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Fetch { source, .. } => source.hint(),
            Self::UnknownSuite { .. } => "take a suite that the mirror has (trixie, bookworm, …), or name another mirror with `hoist config set mirror ADDRESS`".into(),
            Self::Signature { source, .. } => source.hint(),
            Self::Release { source: ReleaseError::Expired { .. }, .. } => {
                "the mirror is stale, or it is a frozen snapshot: for a snapshot turn the check off with Check-Valid-Until: no in the machine's apt sources".into()
            }
            Self::Release { source: ReleaseError::Older { .. }, .. } => {
                "the mirror is stale or holds updates back: name another with `hoist config set mirror ADDRESS`; for a snapshot, which is old on purpose, turn the check off with Check-Valid-Until: no in the machine's apt sources".into()
            }
            Self::Release { .. } | Self::Packages { .. } => {
                "the mirror is broken: try again later, or name another with `hoist config set mirror ADDRESS`".into()
            }
            Self::Architecture { .. } => "name a mirror that carries this architecture with `hoist config set mirror ADDRESS`".into(),
            Self::Write { .. } => "free some space (`hoist system prune`) or make the folder writable".into(),
        }
    }
}

impl Index {
    /// Fetches the signed indexes, verifies them, and reads the packages (from the cache where the same index was read before).
    pub fn load(fetcher: &Fetcher, request: &IndexRequest<'_>, reporter: &dyn Reporter) -> Result<Self, IndexError> {
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = request
                .sources
                .iter()
                .map(|source| scope.spawn(move || load_source(fetcher, request, source, reporter)))
                .collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        let mut index = Self { parts: Vec::new(), releases: Vec::new(), architecture: request.architecture.to_owned() };
        for (source, result) in request.sources.iter().zip(results) {
            let loaded = match result {
                Ok(loaded) => loaded?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            if let Some((info, parts)) = loaded {
                index.releases.push(info);
                index.parts.extend(parts.into_iter().map(|part| (part, source.clone())));
            }
        }
        Ok(index)
    }

    /// The releases, in the order of the sources; optional ones that are not there are left out.
    pub fn releases(&self) -> &[ReleaseInfo] {
        &self.releases
    }

    /// The architecture that was loaded.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// All versions of a package among the suites, the highest first; of equal ones the first source's comes first.
    pub fn versions(&self, name: &str) -> Vec<Package> {
        let mut found: Vec<Package> = self
            .parts
            .iter()
            .flat_map(|(part, source)| part.records(name).filter_map(|record| record.package(source)))
            .collect();
        found.sort_by(|left, right| right.version.cmp(&left.version));
        found
    }

    /// The highest version of a package among the suites.
    pub fn candidate(&self, name: &str) -> Option<Package> {
        self.versions(name).into_iter().next()
    }

    /// True where a package of the name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.parts.iter().any(|(part, _)| part.records(name).next().is_some())
    }

    /// Names of the packages that stand for a virtual name, sorted.
    pub fn providers(&self, virtual_name: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.parts.iter().flat_map(|(part, _)| part.providers(virtual_name)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// All names that begin so, sorted: `python3.` gives what Pythons there are.
    pub fn names_with_prefix(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.parts.iter().flat_map(|(part, _)| part.names_with_prefix(prefix)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// One source: nothing where it is optional and not there.
fn load_source(
    fetcher: &Fetcher,
    request: &IndexRequest<'_>,
    source: &Source,
    reporter: &dyn Reporter,
) -> Result<Option<(ReleaseInfo, Vec<Part>)>, IndexError> {
    let suite = source.suite.clone();
    let uri = crate::fetch::masked(&source.uri);
    let accepted = Accepted::of(request.cache_dir, &suite, request.keyring);
    let message = match fetcher.get(&source.url(&format!("dists/{suite}/InRelease")), RELEASE_LIMIT_BYTES) {
        Ok(message) => message,
        Err(FetchError::Missing { .. }) if source.optional => {
            warn_of_missing(source, &uri, &accepted, reporter);
            return Ok(None);
        }
        Err(FetchError::Missing { .. }) => return Err(IndexError::UnknownSuite { suite, uri }),
        Err(source) => return Err(IndexError::Fetch { suite, source }),
    };
    let text = request.keyring.verify(&String::from_utf8_lossy(&message)).map_err(|error| IndexError::Signature {
        suite: suite.clone(),
        uri: uri.clone(),
        source: error,
    })?;
    let wrong = |error| IndexError::Release { suite: suite.clone(), uri: uri.clone(), source: error };
    let release = Release::parse(&text).map_err(wrong)?;
    release.check(&suite, source.check_valid_until.then(now_secs)).map_err(wrong)?;
    // A frozen mirror is old on purpose, and what it has is no measure for others.
    let age = if source.check_valid_until { accepted.check(&release).map_err(wrong)? } else { Age::Known };
    let info = ReleaseInfo {
        suite: suite.clone(),
        codename: release.field("Codename").to_owned(),
        version: release.field("Version").to_owned(),
        date: release.field("Date").to_owned(),
        sha256: hex(&Sha256::digest(text.as_bytes())),
    };
    let mut parts = Vec::new();
    for component in &source.components {
        let file = release.packages(component, request.architecture).map_err(wrong)?.ok_or_else(|| {
            IndexError::Architecture {
                suite: suite.clone(),
                architecture: request.architecture.to_owned(),
                component: component.clone(),
            }
        })?;
        parts.push(load_part(fetcher, request, source, &release, &file, reporter)?);
    }
    if age == Age::Newer {
        accepted.keep(&message).map_err(|source| IndexError::Write { path: accepted.path().to_owned(), source })?;
    }
    Ok(Some((info, parts)))
}

/// Updates and security may be missing, but a mirror that hides them keeps known holes open: that is said.
fn warn_of_missing(source: &Source, uri: &str, accepted: &Accepted, reporter: &dyn Reporter) {
    let suite = &source.suite;
    let hint = "look at the mirror, or name another: hoist config set security-mirror ADDRESS";
    match accepted.date() {
        Some(date) => reporter.warn(&format!("{uri} has no {suite} any more; it had one of {date}"), Some(hint)),
        None if source.is_security() => {
            reporter.warn(&format!("{uri} has no {suite}: security updates are left out"), Some(hint));
        }
        None => {}
    }
}

fn load_part(
    fetcher: &Fetcher,
    request: &IndexRequest<'_>,
    source: &Source,
    release: &Release,
    file: &IndexFile,
    reporter: &dyn Reporter,
) -> Result<Part, IndexError> {
    let kept = part_path(request.cache_dir, &file.sha256);
    if let Some(part) = read_part(&kept) {
        return Ok(part);
    }
    reporter.step(&format!("reading the packages of {}", source.suite));
    let fail = |error| IndexError::Fetch { suite: source.suite.clone(), source: error };
    let packed = fetch_index(fetcher, source, release, file).map_err(fail)?;
    let ending = file.path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let text = parse_packages(&packed, ending)
        .map_err(|error| IndexError::Packages { suite: source.suite.clone(), source: error })?;
    write_part(&kept, &text).map_err(|error| IndexError::Write { path: kept.clone(), source: error })?;
    Ok(Part::new(text))
}

/// Fetches an index by its hash where the mirror can, else by its name, and checks it.
fn fetch_index(fetcher: &Fetcher, source: &Source, release: &Release, file: &IndexFile) -> Result<Vec<u8>, FetchError> {
    let limit = file.size_bytes.min(INDEX_LIMIT_BYTES);
    let plain = source.url(&format!("dists/{}/{}", source.suite, file.path));
    let (url, packed) = if release.by_hash() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let url = source.url(&format!("dists/{}/{folder}/by-hash/SHA256/{}", source.suite, file.sha256));
        match fetcher.get(&url, limit) {
            Err(FetchError::Missing { .. }) => (plain.clone(), fetcher.get(&plain, limit)?),
            other => (url, other?),
        }
    } else {
        (plain.clone(), fetcher.get(&plain, limit)?)
    };
    let found = hex(&Sha256::digest(&packed));
    if found == file.sha256 {
        Ok(packed)
    } else {
        Err(FetchError::Content {
            url: crate::fetch::masked(&url),
            expected: format!("sha256:{}", file.sha256),
            found: format!("sha256:{found}"),
        })
    }
}
