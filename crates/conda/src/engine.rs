//! rattler, wrapped: asks channels what they have, chooses, and installs. The only file that knows the crates' ways of doing it; they change
//! often, so their versions are pinned.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use hoist_environment::Located;
use rattler::install::{ExternalSymlinkPolicy, Installer, InstallerError, LinkOptions};
use rattler::package_cache::{PackageCache, PackageCacheLayer};
use rattler_conda_types::{
    Channel, GenericVirtualPackage, MatchSpec, ParseStrictness, PrefixRecord, RepoDataRecord, Subdir,
};
use rattler_digest::{Md5, Sha256, parse_digest_from_hex};
use rattler_networking::LazyClient;
use rattler_repodata_gateway::Gateway;
use rattler_solve::resolvo::Solver;
use rattler_solve::{ChannelPriority, ExcludeNewer, SolveError, SolverImpl, SolverTask};
use url::Url;

use crate::archives::{self, Archive};
use crate::change::{Change, forget_bytecode, is_closed};
use crate::client::{Network, client};
use crate::error::{CondaError, Unreachable, chain};
use crate::settings::{ResolvedChannel, Settings, mask};

const DOWNLOADS: usize = 16;
/// Where a cache has what archives hold.
const PACKAGES: &str = "packages";
/// A solver that takes longer will not come back.
const SOLVE_TIMEOUT: Duration = Duration::from_mins(5);

/// Solves and installs. It has a runtime of its own, so that nothing around it needs to be asynchronous.
pub struct Engine {
    runtime: tokio::runtime::Runtime,
    client: LazyClient,
    cache_dir: PathBuf,
    packages: PackageCache,
    subdir: Subdir,
}

/// What is to be solved.
#[derive(Debug)]
pub struct Task {
    /// What was asked for, with lines of the file.
    pub specs: Vec<Located>,
    /// Where packages may come from, the most important first.
    pub channels: Vec<ResolvedChannel>,
    /// The system below.
    pub virtual_packages: Vec<GenericVirtualPackage>,
    /// Whether any channel may have any package.
    pub any_channel: bool,
    /// Packages that were built or listed after this instant (RFC 3339), or that do not say when, are not there.
    pub before: Option<String>,
}

/// Chosen packages.
#[derive(Debug, Clone, Default)]
pub struct Solution {
    records: Vec<RepoDataRecord>,
}

/// One package of a solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The build string.
    pub build: String,
    /// The folder of the channel: `linux-64` or `noarch`.
    pub subdir: String,
    /// Where the archive is, without credentials.
    pub url: String,
    /// The channel.
    pub channel: String,
    /// The licence, as its maker writes it.
    pub license: Option<String>,
    /// SHA-256 of the archive.
    pub sha256: Option<String>,
    /// MD5 of the archive.
    pub md5: Option<String>,
}

impl Solution {
    pub(crate) fn new(mut records: Vec<RepoDataRecord>) -> Self {
        records.sort_by(|a, b| a.package_record.name.cmp(&b.package_record.name));
        Self { records }
    }

    /// As a document that [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.records).ok()
    }

    /// What [`to_json`](Self::to_json) wrote; none where it is something else.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self::new)
    }

    /// The packages, sorted by name.
    pub fn packages(&self) -> Vec<Package> {
        self.records.iter().map(package).collect()
    }

    /// Who asks for archives becomes a login of the settings, so that no address keeps it.
    pub fn take_logins(&mut self, settings: &mut Settings) {
        for record in &mut self.records {
            settings.take_login(&mut record.url);
            record.channel = record.channel.take().map(|channel| settings.without_login(&channel));
        }
    }
}

fn package(record: &RepoDataRecord) -> Package {
    let about = &record.package_record;
    Package {
        name: about.name.as_normalized().to_owned(),
        version: about.version.to_string(),
        build: about.build.to_string(),
        subdir: about.subdir.clone(),
        url: mask(record.url.as_str()),
        channel: mask(record.channel.as_deref().unwrap_or_default()),
        license: about.license.clone(),
        sha256: about.sha256.map(|hash| hex(&hash)),
        md5: about.md5.map(|hash| hex(&hash)),
    }
}

/// Digests as they are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Engine {
    /// Prepares; nothing is reached yet. `cache_dir` keeps archives, what they hold, and what channels said they have.
    pub fn new(cache_dir: &Path, network: &Network, settings: &Settings) -> Result<Self, CondaError> {
        let failed = |why: String| CondaError::Client { why };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let client = client(network, settings)?;
        let subdir = Subdir::current().ok_or_else(|| failed("conda has no name for this machine's kind".to_owned()))?;
        // What comes from elsewhere under the same name is something else.
        let packages = PackageCache::new(cache_dir.join(PACKAGES)).with_cached_origin();
        Ok(Self { runtime, client, cache_dir: cache_dir.to_owned(), packages, subdir })
    }

    /// Also takes packages that were unpacked into a folder which is only read.
    #[must_use]
    pub fn reading(mut self, packages_dir: &Path) -> Self {
        let folders = [self.cache_dir.join(PACKAGES), packages_dir.to_owned()];
        self.packages = PackageCache::from_layers(folders.map(PackageCacheLayer::new), true);
        self
    }

    /// Chooses packages.
    pub fn solve(&self, task: &Task) -> Result<Solution, CondaError> {
        let mut specs = Vec::new();
        for located in &task.specs {
            specs.push(parse_spec(located)?);
        }
        let mut channels = Vec::new();
        let gateway = self.gateway();
        for channel in &task.channels {
            channels.push(self.answering(&gateway, channel)?);
        }
        for spec in &mut specs {
            // A channel that a spec names was resolved with the others, by its name.
            let Some(named) = spec.channel.as_ref().and_then(|channel| channel.name.clone()) else { continue };
            let found = task.channels.iter().zip(&channels).find(|(resolved, _)| resolved.name == named);
            if let Some((_, place)) = found {
                spec.channel = Some(Arc::new(place.clone()));
            }
        }
        for spec in &specs {
            // An address among them would be unpacked by the gateway, which bounds nothing.
            let archive = spec.url.as_ref().and_then(|url| Archive::of_address(url, spec.sha256, spec.md5));
            if let Some(archive) = archive {
                self.runtime.block_on(archives::read_records(&self.packages, &self.client, vec![archive], 1))?;
            }
        }
        let query = gateway.query(channels, [self.subdir, Subdir::NoArch], specs.clone()).recursive(true);
        let found = self.runtime.block_on(query.execute()).map_err(|error| self.asked(task, &error))?;
        let problem = SolverTask {
            specs,
            virtual_packages: task.virtual_packages.clone(),
            timeout: Some(SOLVE_TIMEOUT),
            exclude_newer: task.before.as_deref().map(exclude_newer).transpose()?,
            channel_priority: if task.any_channel { ChannelPriority::Disabled } else { ChannelPriority::Strict },
            ..found.iter().map(|data| data.iter()).collect()
        };
        match Solver.solve(problem) {
            Ok(solved) => Ok(Solution::new(solved.records)),
            Err(SolveError::Unsolvable(reasons)) => Err(CondaError::Unsolvable { tree: mask(&reasons.join("\n")) }),
            Err(error) => Err(CondaError::Unsolvable { tree: chain(&error) }),
        }
    }

    /// The archives at these addresses (`#` and a hash behind them), as they are: nothing is chosen.
    pub fn explicit(&self, archives: &[Located]) -> Result<Solution, CondaError> {
        let mut found = Vec::new();
        for located in archives {
            found.push(archive(located)?);
        }
        let records = self.runtime.block_on(archives::read_records(&self.packages, &self.client, found, DOWNLOADS))?;
        Ok(Solution::new(records))
    }

    /// Puts the solution into an empty `prefix`. Scripts of packages are never run.
    pub fn install(&self, prefix: &Path, solution: &Solution) -> Result<(), CondaError> {
        let mut records = solution.records.clone();
        archives::pin(&mut records);
        self.runtime.block_on(archives::fetch_all(&self.packages, &self.client, &records, DOWNLOADS))?;
        self.runtime.block_on(self.installer().install(prefix, records)).map_err(|error| installing(&error))?;
        normalize(prefix, &|_| true)
    }

    /// Brings an environment that was installed before to another solution, package by package, where that gives what making it anew would: answers the
    /// names of the packages that were put there. None says that it has to be made anew; of `prefix` nothing is to be used then, nor after an error.
    pub fn update(&self, prefix: &Path, solution: &Solution) -> Result<Option<BTreeSet<String>>, CondaError> {
        let mut records = solution.records.clone();
        archives::pin(&mut records);
        if !is_closed(prefix) {
            return Ok(None);
        }
        let old: Vec<PrefixRecord> = collected(prefix)?;
        let Some(Change { gone, new }) = Change::between(&old, &records) else { return Ok(None) };
        let names: BTreeSet<String> = new.iter().map(|one| package(one).name).collect();
        self.runtime.block_on(archives::fetch_all(&self.packages, &self.client, &new, DOWNLOADS))?;
        forget_bytecode(prefix, &gone)?;
        let done = self.runtime.block_on(self.installer().with_installed_packages(old).install(prefix, records));
        if !done.map_err(|error| installing(&error))?.clobbered_paths.is_empty() {
            return Ok(None);
        }
        normalize(prefix, &|name| names.contains(name))?;
        Ok(Some(names))
    }

    fn installer(&self) -> Installer {
        Installer::new()
            .with_download_client(self.client.clone())
            .with_package_cache(self.packages.clone())
            .with_target_platform(self.subdir)
            .with_max_concurrent_requests(DOWNLOADS)
            .with_execute_link_scripts(false)
            // What is in the cache must not change with the environment.
            .with_link_options(LinkOptions {
                allow_hard_links: Some(false),
                // Links of packages stay links: as copies they would be files whose prefix nobody patched.
                allow_symbolic_links: Some(true),
                // Where the file system can. It is tried once: a file that cannot be one would be made and removed before it is copied.
                allow_ref_links: None,
            })
            // A link out of the environment would lead later files of the archive out of it.
            .with_external_symlink_policy(ExternalSymlinkPolicy::Deny)
    }

    fn gateway(&self) -> Gateway {
        Gateway::builder()
            .with_cache_dir(self.cache_dir.join("repodata"))
            .with_package_cache(self.packages.clone())
            .with_client(self.client.clone())
            .with_max_concurrent_requests(DOWNLOADS)
            .finish()
    }

    /// The first place of a channel that answers; the only one is taken unasked.
    fn answering(&self, gateway: &Gateway, channel: &ResolvedChannel) -> Result<Channel, CondaError> {
        if let [only] = channel.places.as_slice() {
            return Ok(only.clone());
        }
        match self.unreachable(gateway, channel) {
            (Some(place), _) => Ok(place),
            (None, why) => Err(CondaError::Unreachable { unreachable: vec![why] }),
        }
    }

    fn unreachable(&self, gateway: &Gateway, channel: &ResolvedChannel) -> (Option<Channel>, Unreachable) {
        let mut said =
            Unreachable { name: channel.name.clone(), places: Vec::new(), why: "no place is known".to_owned() };
        for place in &channel.places {
            let query = gateway.names([place.clone()], [self.subdir, Subdir::NoArch]);
            match self.runtime.block_on(query.execute()) {
                Ok(_) => return (Some(place.clone()), said),
                Err(error) => {
                    said.places.push(mask(place.base_url.as_str()));
                    said.why = chain(&error);
                }
            }
        }
        (None, said)
    }

    /// Which of the channels it was that did not answer.
    fn asked(&self, task: &Task, error: &dyn std::error::Error) -> CondaError {
        let gateway = self.gateway();
        let failed = task.channels.iter().filter_map(|channel| {
            let (answered, why) = self.unreachable(&gateway, channel);
            answered.is_none().then_some(why)
        });
        let unreachable: Vec<_> = failed.collect();
        if unreachable.is_empty() {
            return CondaError::Fetch { package: "what the channels have".to_owned(), why: chain(error) };
        }
        CondaError::Unreachable { unreachable }
    }
}

/// What a channel says of when a package was listed counts, and where it does not say so, when it was built.
fn exclude_newer(before: &str) -> Result<ExcludeNewer, CondaError> {
    let bad = || CondaError::Client { why: format!("`{before}` is no instant") };
    Ok(ExcludeNewer::from_datetime(before.parse().map_err(|_| bad())?))
}

/// The specification of a package.
fn parse_spec(located: &Located) -> Result<MatchSpec, CondaError> {
    MatchSpec::from_str(&located.text, ParseStrictness::Lenient).map_err(|error| CondaError::Spec {
        spec: mask(&located.text),
        line: located.line,
        why: chain(&error),
    })
}

/// Whether an entry names a package, and which channel it names itself: nothing is asked.
pub fn look_at_spec(located: &Located) -> Result<(String, Option<String>), CondaError> {
    let spec = parse_spec(located)?;
    let name = spec.name.as_exact().map_or_else(|| located.text.clone(), |name| name.as_normalized().to_owned());
    let channel = located.text.split_once("::").map(|(channel, _)| channel.trim().to_owned());
    Ok((name, channel))
}

/// One line of a list: an address, and behind `#` the hash of what is there.
fn archive(located: &Located) -> Result<Archive, CondaError> {
    let bad = |why: String| CondaError::Spec { spec: mask(&located.text), line: located.line, why };
    let (address, hash) = located.text.split_once('#').unwrap_or((&located.text, ""));
    let address = if address.starts_with('/') { format!("file://{address}") } else { address.to_owned() };
    let url = Url::parse(&address).map_err(|error| bad(error.to_string()))?;
    let hash = hash.trim_start_matches("sha256:");
    let (sha256, md5) = (parse_digest_from_hex::<Sha256>(hash), parse_digest_from_hex::<Md5>(hash));
    if !hash.is_empty() && sha256.is_none() && md5.is_none() {
        return Err(bad("what stands behind # is no hash: 64 digits of SHA-256, or 32 of MD5".to_owned()));
    }
    Archive::of_address(&url, sha256, md5)
        .ok_or_else(|| bad("the address of an archive ends with name-version-build.conda or .tar.bz2".to_owned()))
}

fn installing(error: &InstallerError) -> CondaError {
    let why = error.source_text();
    match error {
        InstallerError::FailedToFetch(package, _) => CondaError::Fetch { package: package.clone(), why },
        InstallerError::LinkError(package, _) | InstallerError::UnlinkError(package, _) => {
            CondaError::Install { package: package.clone(), why }
        }
        _ => CondaError::Install { package: "the environment".to_owned(), why },
    }
}

trait SourceText {
    fn source_text(&self) -> String;
}

impl SourceText for InstallerError {
    /// All but the first part, which names the package.
    fn source_text(&self) -> String {
        std::error::Error::source(self).map_or_else(|| chain(self), chain)
    }
}

/// What is written down of each package says where the cache was; the same environment must be the same files wherever that is.
fn normalize(prefix: &Path, is_new: &dyn Fn(&str) -> bool) -> Result<(), CondaError> {
    let dir = prefix.join("conda-meta");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CondaError::Prefix { path, source }
    };
    // The names first: each is replaced by another file while this goes on.
    let entries = fs::read_dir(&dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed(&dir))?;
    for path in entries.iter().map(fs::DirEntry::path) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // What is not touched stays in its layer.
        let file_name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if !file_name.rsplitn(3, '-').nth(2).is_none_or(is_new) {
            continue;
        }
        let mut record = PrefixRecord::from_path(&path).map_err(failed(&path))?;
        record.package_tarball_full_path = None;
        record.extracted_package_dir = None;
        record.link = None;
        record.write_to_path(&path, true).map_err(failed(&path))?;
        // It is written for its owner alone, and the app is another user.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(failed(&path))?;
    }
    Ok(())
}

fn collected(prefix: &Path) -> Result<Vec<PrefixRecord>, CondaError> {
    PrefixRecord::collect_from_prefix(prefix)
        .map_err(|source| CondaError::Prefix { path: prefix.join("conda-meta"), source })
}

/// The packages in an environment, and the files of each.
pub fn installed(prefix: &Path) -> Result<Vec<(Package, Vec<PathBuf>)>, CondaError> {
    let records = collected(prefix)?;
    let mut found: Vec<_> =
        records.into_iter().map(|record| (package(&record.repodata_record), record.files)).collect();
    found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(found)
}
