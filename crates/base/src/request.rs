//! Finds a base in the store or makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hoist_debian::{
    DebCache, Index, IndexRequest, Installed, LockedPackage, PackageFile, ResolveRequest, fetch_packages,
    native_architecture, resolve,
};
use hoist_events::Reporter;
use hoist_image::{Keeps, Store};
use serde::{Deserialize, Serialize};

use crate::error::BaseError;
use crate::lock::{BaseLock, LockedSuite, sha256_hex};
use crate::make::make;
use crate::mirroring::Mirroring;
use crate::packages::{BUILD, EXCLUDED, RUN};

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
    // A record keeps its images; should they be gone nevertheless, the base is made again.
    Ok(base.filter(|base| store.image(&base.run_image).is_ok() && store.image(&base.build_image).is_ok()))
}

/// Chooses the packages of a base, and fetches none of them.
pub fn resolve_lock(
    request: &BaseRequest,
    mirroring: &Mirroring,
    reporter: &dyn Reporter,
) -> Result<BaseLock, BaseError> {
    let sources = mirroring.sources(&request.suite)?;
    let index_request = IndexRequest {
        sources: &sources,
        architecture: &request.architecture,
        keyring: &mirroring.keyring,
        cache_dir: &mirroring.cache_dir.join("indexes"),
    };
    let index = Index::load(&mirroring.fetcher, &index_request, reporter)
        .map_err(|source| BaseError::Index { suite: request.suite.clone(), source: Box::new(source) })?;
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
    if !request.update
        && let Some(base) = find_base(store, request)?
    {
        return Ok(base);
    }
    let mirroring = mirroring()?;
    let lock = match &request.lock {
        Some(lock) => lock.clone(),
        None => resolve_lock(request, &mirroring, reporter)?,
    };
    let known = find(store, &lock_key(&lock))?;
    let base = match known {
        Some(base) => base,
        None => make_base(store, lock, &mirroring, reporter)?,
    };
    record(store, &request.key(), &base)?;
    Ok(base)
}

fn make_base(store: &Store, lock: BaseLock, mirroring: &Mirroring, reporter: &dyn Reporter) -> Result<Base, BaseError> {
    let sources = mirroring.sources(&lock.suite)?;
    let packages: Vec<LockedPackage> = lock.run.iter().chain(&lock.build).cloned().collect();
    let files: Vec<PackageFile> = packages.iter().map(|package| package.file(&sources)).collect();
    reporter.step(&format!("making the {} base from {} packages", lock.suite, packages.len()));
    let cache = DebCache::new(&mirroring.cache_dir.join("debs"));
    let paths =
        fetch_packages(&mirroring.fetcher, &files, &cache, reporter).map_err(|source| BaseError::Fetch { source })?;
    let debs: Vec<(LockedPackage, PathBuf)> = packages.into_iter().zip(paths).collect();
    let made = make(store, &lock, &debs)?;
    let base = Base { run_image: made.run.id().to_string(), build_image: made.build.id().to_string(), lock };
    record(store, &lock_key(&base.lock), &base)?;
    Ok(base)
}

fn record(store: &Store, key: &str, base: &Base) -> Result<(), BaseError> {
    let mut keeps: Vec<Keeps> = Vec::new();
    for id in [&base.run_image, &base.build_image] {
        keeps.push(store.image(id).map_err(|source| BaseError::Store { source })?.id().into());
    }
    store.put_record(RECORD, key, base, &keeps).map_err(|source| BaseError::Store { source })
}
