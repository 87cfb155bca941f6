//! Finds a base in the store or makes it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hoist_debian::{
    DebCache, FetchError, Index, IndexRequest, Installed, LockedPackage, PackageFile, ResolveRequest, Source,
    fetch_each, native_architecture, resolve,
};
use hoist_events::{NullReporter, Reporter};
use hoist_image::{Keeps, Record, Store};
use serde::{Deserialize, Serialize};

use crate::error::BaseError;
use crate::lock::{BaseLock, LockedSuite, sha256_hex};
use crate::make::make;
use crate::mirroring::Mirroring;
use crate::packages::{BUILD, EXCLUDED, RUN};
use crate::stage::Arrived;

/// The kind of the store's records of bases.
const RECORD: &str = "base";
/// Changes whenever the same packages would give other images.
const RECIPE: u32 = 1;

/// Which base.
#[derive(Debug, Clone)]
pub struct BaseRequest {
    /// `trixie`
    pub suite: String,
    /// `amd64`
    pub architecture: String,
    /// More packages for the run image (and so for the build image).
    pub run_packages: Vec<String>,
    /// More packages for the build image alone.
    pub build_packages: Vec<String>,
    /// Make exactly this one, without any index.
    pub lock: Option<BaseLock>,
    /// True to look for newer packages although the base is there.
    pub update: bool,
}

/// A base in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Id (configuration digest, `sha256:…`) of the image that apps run on.
    pub run_image: String,
    /// Id of the image that buildpacks run in; its lowest layers are those of the run image.
    pub build_image: String,
    /// What both are made of.
    pub lock: BaseLock,
}

impl Default for BaseRequest {
    fn default() -> Self {
        Self {
            suite: crate::DEFAULT_SUITE.to_owned(),
            architecture: native_architecture().to_owned(),
            run_packages: Vec::new(),
            build_packages: Vec::new(),
            lock: None,
            update: false,
        }
    }
}

impl BaseRequest {
    /// The key of the record under which a base for this request is found.
    fn key(&self) -> String {
        let text = match &self.lock {
            Some(lock) => return lock_key(lock),
            None => (RECIPE, &self.suite, &self.architecture, &self.run_packages, &self.build_packages),
        };
        let bytes = serde_json::to_vec(&text).unwrap_or_default();
        format!("request-{}", &sha256_hex(&bytes)[..32])
    }
}

fn lock_key(lock: &BaseLock) -> String {
    format!("lock-{RECIPE}-{}", &lock.digest()[..32])
}

/// The base that was made before for this request, without network and without reading layers.
pub fn find_base(store: &Store, request: &BaseRequest) -> Result<Option<Base>, BaseError> {
    find(store, &request.key())
}

fn find(store: &Store, key: &str) -> Result<Option<Base>, BaseError> {
    let base: Option<Base> = store.record(RECORD, key).map_err(|source| BaseError::Store { source })?;
    // A record keeps its images; should they or their layers be gone or damaged, the base is made again.
    let is_whole = |id: &str| store.image(id).is_ok_and(|image| image.has_its_layers().unwrap_or(false));
    Ok(base.filter(|base| is_whole(&base.run_image) && is_whole(&base.build_image)))
}

fn load_index(
    suite: &str,
    architecture: &str,
    sources: &[Source],
    mirroring: &Mirroring,
    reporter: &dyn Reporter,
) -> Result<Index, BaseError> {
    let cache_dir = &mirroring.cache_dir.join("indexes");
    let request = IndexRequest { sources, architecture, keyring: &mirroring.keyring, cache_dir };
    Index::load(&mirroring.fetcher, &request, reporter)
        .map_err(|source| BaseError::Index { suite: suite.to_owned(), source: Box::new(source) })
}

/// Chooses the packages of a base, and fetches none of them.
pub fn resolve_lock(
    request: &BaseRequest,
    mirroring: &Mirroring,
    reporter: &dyn Reporter,
) -> Result<BaseLock, BaseError> {
    let sources = mirroring.sources(&request.suite)?;
    if request.suite != "sid" && request.suite != "unstable" && !sources.iter().any(Source::is_security) {
        reporter.warn(
            &format!("no security mirror is known: the base of {} gets no security updates", request.suite),
            Some("name one: hoist config set security-mirror ADDRESS"),
        );
    }
    let index = load_index(&request.suite, &request.architecture, &sources, mirroring, reporter)?;
    let excluded: BTreeSet<String> = EXCLUDED.iter().map(|&name| name.to_owned()).collect();
    let choose = |fixed: &[&str], more: &[String], installed: Installed| {
        let wanted = fixed.iter().map(|&name| name.to_owned()).chain(more.iter().cloned()).collect();
        let request = ResolveRequest { wanted, installed, excluded: excluded.clone() };
        resolve(&index, &request).map(|resolution| resolution.packages)
    };
    let fail = |source| BaseError::Resolve { suite: request.suite.clone(), source: Box::new(source) };
    let run = choose(&RUN, &request.run_packages, Installed::default()).map_err(fail)?;
    let installed = Installed {
        packages: run.iter().map(|package| (package.name.clone(), package.version.clone())).collect::<BTreeMap<_, _>>(),
        provides: run.iter().flat_map(|package| package.provides.clone()).collect(),
    };
    let build = choose(&BUILD, &request.build_packages, installed).map_err(fail)?;
    let mut lock = BaseLock::new(&request.suite, &request.architecture);
    lock.releases = index
        .releases()
        .iter()
        .map(|release| LockedSuite {
            suite: release.suite.clone(),
            date: release.date.clone(),
            sha256: release.sha256.clone(),
        })
        .collect();
    lock.run = run.iter().map(LockedPackage::of).collect();
    lock.build = build.iter().map(LockedPackage::of).collect();
    Ok(lock)
}

/// Finds the base or makes it. `mirroring` is asked only where something must be looked up or fetched.
pub fn ensure_base(
    store: &Store,
    request: &BaseRequest,
    mirroring: &dyn Fn() -> Result<Mirroring, BaseError>,
    reporter: &dyn Reporter,
) -> Result<Base, BaseError> {
    if let Some(lock) = &request.lock {
        lock.check_architecture(&request.architecture)?;
    }
    let before = find_base(store, request)?;
    let before = match before {
        Some(base) if !request.update => return Ok(base),
        before => before,
    };
    let mirroring = mirroring()?;
    let base = if let Some(lock) = &request.lock {
        make_base(store, lock.clone(), &mirroring, reporter)
            .map_err(|error| explain_missing(error, lock, &mirroring))?
    } else {
        let lock = resolve_lock(request, &mirroring, reporter)?;
        match find(store, &lock_key(&lock))? {
            Some(base) => base,
            None => make_base(store, lock, &mirroring, reporter)?,
        }
    };
    record(store, &request.key(), &base)?;
    if let Some(before) = before.filter(|before| before.build_image != base.build_image) {
        release(store, &before)?;
    }
    Ok(base)
}

/// A base that was replaced by a newer one is still found by its lock, until a prune takes it.
fn release(store: &Store, base: &Base) -> Result<(), BaseError> {
    let key = lock_key(&base.lock);
    let records = store.records(RECORD).map_err(|source| BaseError::Store { source })?;
    let is_used = |record: &Record| record.key != key && record.value["build_image"] == base.build_image.as_str();
    if records.iter().any(is_used) {
        return Ok(());
    }
    store.put_record(RECORD, &key, base, &[]).map_err(|source| BaseError::Store { source })
}

fn make_base(store: &Store, lock: BaseLock, mirroring: &Mirroring, reporter: &dyn Reporter) -> Result<Base, BaseError> {
    let sources = mirroring.sources(&lock.suite)?;
    let packages: Vec<&LockedPackage> = lock.packages().collect();
    reporter.step(&format!("making the {} base from {} packages", lock.suite, packages.len()));
    let cache = DebCache::new(&mirroring.cache_dir.join("debs"));
    // What the run image needs comes first, so that its layer can be made early; of the rest the largest, so that none is waited for.
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by_key(|&place| (place >= lock.run.len(), Reverse(packages[place].size_bytes)));
    let files: Vec<PackageFile> = order.iter().map(|&place| packages[place].file(&sources)).collect();
    let fetch = |arrived: Arrived<'_>| {
        fetch_each(&mirroring.fetcher, &files, &cache, reporter, &|place, path| arrived(order[place], path))
            .map_err(|source| BaseError::Fetch { source })
    };
    let made = make(store, &lock, &fetch, &|| mirroring.fetcher.is_stopped())?;
    let base = Base { run_image: made.run.id().to_string(), build_image: made.build.id().to_string(), lock };
    record(store, &lock_key(&base.lock), &base)?;
    Ok(base)
}

/// Where a package of a lock is gone from the mirror, says which, and what there is now.
fn explain_missing(error: BaseError, lock: &BaseLock, mirroring: &Mirroring) -> BaseError {
    let BaseError::Fetch { source: FetchError::Missing { url, status } } = error else { return error };
    let Some(package) = lock.packages().find(|package| url.ends_with(&package.filename)) else {
        return BaseError::Fetch { source: FetchError::Missing { url, status } };
    };
    let index = mirroring
        .sources(&lock.suite)
        .and_then(|sources| load_index(&lock.suite, &lock.architecture, &sources, mirroring, &NullReporter));
    let (mut now, mut others) = (None, 0);
    if let Ok(index) = index {
        let versions = index.versions(&package.name);
        now = Some(versions.iter().map(|found| format!("{} ({})", found.version, found.suite)).collect());
        let is_gone = |one: &LockedPackage| !index.versions(&one.name).iter().any(|found| found.sha256 == one.sha256);
        others = lock.packages().filter(|one| one.name != package.name && is_gone(one)).count();
    }
    BaseError::Gone {
        package: package.name.clone(),
        version: package.version.clone(),
        now,
        others,
        source: Box::new(FetchError::Missing { url, status }),
    }
}

fn record(store: &Store, key: &str, base: &Base) -> Result<(), BaseError> {
    let mut keeps: Vec<Keeps> = Vec::new();
    for id in [&base.run_image, &base.build_image] {
        keeps.push(store.image(id).map_err(|source| BaseError::Store { source })?.id().into());
    }
    store.put_record(RECORD, key, base, &keeps).map_err(|source| BaseError::Store { source })
}
