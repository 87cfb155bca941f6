//! Brings archives into the cache, and looks at what they want before rattler puts it into an environment: its installer ends the whole process on
//! a path that is none of the environment's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fs_err as fs;
use rattler::package_cache::{CacheGlobalLock, CacheKey, CacheMetadata, PackageCache};
use rattler_conda_types::package::{CondaArchiveIdentifier, DistArchiveIdentifier, IndexJson, PackageFile};
use rattler_conda_types::{NoArchKind, PackageRecord, RepoDataRecord};
use rattler_digest::{Md5, Md5Hash, Sha256, Sha256Hash, compute_file_digest};
use rattler_networking::LazyClient;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

use crate::engine::hex;
use crate::error::{CondaError, chain};
use crate::settings::mask;
use crate::unpack::{UnpackError, check_path, unpack};

/// No archive of a channel is as large.
const MAX_ARCHIVE_BYTES: u64 = 16 << 30;
/// The list of a package's files; a quarter of a million of them fit.
const MAX_PATHS_BYTES: u64 = 128 << 20;
/// How often an archive is asked for.
const ATTEMPTS: u32 = 3;

/// One archive.
#[derive(Clone)]
pub(crate) struct Archive {
    /// Where it is.
    url: Url,
    /// What it is kept under.
    key: CacheKey,
    sha256: Option<Sha256Hash>,
    md5: Option<Md5Hash>,
    size: Option<u64>,
    identifier: DistArchiveIdentifier,
    /// The file's name.
    name: String,
}

impl Archive {
    /// One that a channel or a lock lists.
    pub(crate) fn of_record(record: &RepoDataRecord) -> Self {
        let about = &record.package_record;
        let hashes = (about.sha256, about.md5);
        Self::new(&record.url, CacheKey::from(about), hashes, about.size, record.identifier.clone())
    }

    /// One of which only the address is known, and perhaps a hash.
    pub(crate) fn of_address(url: &Url, sha256: Option<Sha256Hash>, md5: Option<Md5Hash>) -> Option<Self> {
        let identifier = CondaArchiveIdentifier::try_from_url(url)?;
        let key = CacheKey::from(identifier.clone()).with_opt_sha256(sha256).with_opt_md5(md5);
        Some(Self::new(url, key, (sha256, md5), None, identifier.into()))
    }

    fn new(
        url: &Url,
        key: CacheKey,
        (sha256, md5): (Option<Sha256Hash>, Option<Md5Hash>),
        size: Option<u64>,
        identifier: DistArchiveIdentifier,
    ) -> Self {
        // The same keys as rattler's own, which looks for them later.
        let sha256 = sha256.or_else(|| local_hash(url));
        let key = key.with_opt_sha256(sha256);
        let key = match url.to_file_path() {
            Ok(path) => key.with_path(&path),
            Err(()) => key.with_url(url.clone()),
        };
        let name = identifier.to_file_name();
        Self { url: url.clone(), key, sha256, md5, size, identifier, name }
    }
}

/// The hash of a file on this machine. The same path is another file in another build, so what the cache has of it counts with its hash alone.
fn local_hash(url: &Url) -> Option<Sha256Hash> {
    compute_file_digest::<Sha256>(&url.to_file_path().ok().filter(|path| path.is_file())?).ok()
}

/// Gives every archive on this machine its hash, where the list does not say it: rattler finds by it what was fetched.
pub(crate) fn pin(records: &mut [RepoDataRecord]) {
    for record in records.iter_mut().filter(|record| record.package_record.sha256.is_none()) {
        record.package_record.sha256 = local_hash(&record.url);
    }
}

/// Why an archive did not come into the cache.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("{0}")]
    Transfer(String),
    #[error("hash mismatch: {expected} is what the channel says, {actual} is what came")]
    Hash { expected: String, actual: String },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Fetches all archives into the cache, so many at once, and looks at each.
pub(crate) async fn fetch_all(
    cache: &PackageCache,
    client: &LazyClient,
    records: &[RepoDataRecord],
    at_once: usize,
) -> Result<(), CondaError> {
    let _lock = lock(cache).await?;
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for record in records {
        let (cache, client, record, permits) = (cache.clone(), client.clone(), record.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let archive = Archive::of_record(&record);
            let found = fetch(&cache, &client, &archive).await?;
            look(found.path(), &record.package_record)
                .map_err(|why| CondaError::Hostile { package: archive.name.clone(), why })
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| CondaError::Fetch { package: "the archives".to_owned(), why: chain(&error) })??;
    }
    Ok(())
}

/// What archives say of themselves, in the order of the list.
pub(crate) async fn read_records(
    cache: &PackageCache,
    client: &LazyClient,
    archives: Vec<Archive>,
    at_once: usize,
) -> Result<Vec<RepoDataRecord>, CondaError> {
    let _lock = lock(cache).await?;
    let permits = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for archive in archives {
        let (cache, client, permits) = (cache.clone(), client.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let package_record = read_record(&cache, &client, &archive).await?;
            let channel = archive.url.join("..").ok().map(|channel| channel.to_string());
            Ok::<_, CondaError>(RepoDataRecord {
                package_record,
                identifier: archive.identifier,
                url: archive.url,
                channel,
            })
        });
    }
    let mut records = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let failed = |error| CondaError::Fetch { package: "the archives".to_owned(), why: chain(&error) };
        records.push(done.map_err(failed)??);
    }
    Ok(records)
}

/// Nobody else changes the cache meanwhile: two builds that unpack the same archive would take it away from each other, because rattler locks the cache as
/// a whole or not at all.
async fn lock(cache: &PackageCache) -> Result<CacheGlobalLock, CondaError> {
    let failed = |error| CondaError::Fetch { package: "the archives".to_owned(), why: chain(&error) };
    cache.acquire_global_lock().await.map_err(failed)
}

/// Fetches an archive, and answers what it says of itself.
async fn read_record(
    cache: &PackageCache,
    client: &LazyClient,
    archive: &Archive,
) -> Result<PackageRecord, CondaError> {
    let found = fetch(cache, client, archive).await?;
    let failed = |why: String| CondaError::Fetch { package: archive.name.clone(), why };
    let index = IndexJson::from_package_directory(found.path()).map_err(|error| failed(chain(&error)))?;
    PackageRecord::from_index_json(index, None, archive.sha256, archive.md5).map_err(|error| failed(chain(&error)))
}

async fn fetch(cache: &PackageCache, client: &LazyClient, archive: &Archive) -> Result<CacheMetadata, CondaError> {
    let failed = |why: String| CondaError::Fetch { package: archive.name.clone(), why };
    if !archive.name.ends_with(".conda") && !archive.name.ends_with(".tar.bz2") {
        return Err(failed("channels have packages as .conda and .tar.bz2, and this is neither".to_owned()));
    }
    let hostile: Arc<OnceLock<String>> = Arc::default();
    let (said, wanted, client) = (Arc::clone(&hostile), archive.clone(), client.clone());
    let bring = move |destination: PathBuf| {
        let (said, wanted, client) = (Arc::clone(&said), wanted.clone(), client.clone());
        async move {
            let brought = bring(&client, wanted, destination).await;
            if let Err(ArchiveError::Unpack(UnpackError::Hostile(why))) = &brought {
                let _ = said.set(why.clone());
            }
            brought.map(Some)
        }
    };
    cache.get_or_fetch(archive.key.clone(), bring, None).await.map_err(|error| match hostile.get() {
        Some(why) => CondaError::Hostile { package: archive.name.clone(), why: why.clone() },
        None => failed(chain(&error)),
    })
}

/// Downloads, compares with what the channel says, and only then unpacks.
async fn bring(client: &LazyClient, archive: Archive, destination: PathBuf) -> Result<Sha256Hash, ArchiveError> {
    let local = archive.url.to_file_path().ok();
    let downloaded = match &local {
        Some(_) => None,
        None => Some(download(client, &archive, &destination).await?),
    };
    let work = move || {
        let path = local.as_deref().or(downloaded.as_ref().map(tempfile::NamedTempFile::path)).unwrap_or(&destination);
        let sha256 = verify(path, &archive)?;
        unpack(path, &archive.name, &destination)?;
        Ok(sha256)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| ArchiveError::Transfer(chain(&error)))?
}

fn verify(path: &Path, archive: &Archive) -> Result<Sha256Hash, ArchiveError> {
    let sha256 = compute_file_digest::<Sha256>(path)?;
    let mismatch = |expected: &[u8], actual: &[u8]| ArchiveError::Hash { expected: hex(expected), actual: hex(actual) };
    match (archive.sha256, archive.md5) {
        (Some(expected), _) if expected != sha256 => Err(mismatch(&expected, &sha256)),
        (Some(_), _) | (None, None) => Ok(sha256),
        (None, Some(expected)) => {
            let actual = compute_file_digest::<Md5>(path)?;
            if actual == expected { Ok(sha256) } else { Err(mismatch(&expected, &actual)) }
        }
    }
}

/// An archive as a file beside the folder into which it will be unpacked.
async fn download(
    client: &LazyClient,
    archive: &Archive,
    destination: &Path,
) -> Result<tempfile::NamedTempFile, ArchiveError> {
    let dir = destination.parent().unwrap_or(destination);
    let mut attempt = 1;
    loop {
        let mut file = tempfile::Builder::new().prefix(".archive-").tempfile_in(dir)?;
        match transfer(client, archive, file.as_file_mut()).await {
            Ok(()) => return Ok(file),
            Err((why, again)) if !again || attempt == ATTEMPTS => return Err(ArchiveError::Transfer(why)),
            Err(_) => tokio::time::sleep(Duration::from_secs(1 << (attempt - 1))).await,
        }
        attempt += 1;
    }
}

/// Why a transfer failed, and whether it may go better another time.
type Failed = (String, bool);

async fn transfer(client: &LazyClient, archive: &Archive, file: &mut std::fs::File) -> Result<(), Failed> {
    let place = || mask(archive.url.as_str());
    let response = client.client().get(archive.url.clone()).send().await.map_err(|error| (chain(&error), true))?;
    let status = response.status();
    if !status.is_success() {
        return Err((format!("{status} for {}", place()), status.is_server_error()));
    }
    let mut response = response;
    let mut left = archive.size.unwrap_or(MAX_ARCHIVE_BYTES);
    while let Some(chunk) = response.chunk().await.map_err(|error| (chain(&error), true))? {
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| (format!("{} is larger than the channel says", place()), false))?;
        file.write_all(&chunk).map_err(|error| (error.to_string(), false))?;
    }
    Ok(())
}

/// Whether the package at `dir` names only files below its environment, and is of the kind that the channel says.
fn look(dir: &Path, about: &PackageRecord) -> Result<(), String> {
    look_at_paths(dir)?;
    if let Some(place) = &about.python_site_packages_path {
        check_path(Path::new(place)).map_err(|error| error.to_string())?;
    }
    if about.noarch.kind() == Some(NoArchKind::Python)
        && let Some(link) = read_json(&dir.join("info/link.json"))?
        && link["noarch"]["type"] != "python"
    {
        return Err("the channel says that it is for any Python, and its info/link.json does not".to_owned());
    }
    Ok(())
}

fn look_at_paths(dir: &Path) -> Result<(), String> {
    let check = |path: &str| check_path(Path::new(path)).map_err(|error| error.to_string());
    let Some(list) = read_json(&dir.join("info/paths.json"))? else {
        // Packages of old have a plain list.
        let text = fs::read_to_string(dir.join("info/files")).unwrap_or_default();
        return text.lines().filter(|line| !line.is_empty()).try_for_each(check);
    };
    list["paths"].as_array().into_iter().flatten().try_for_each(|one| check(one["_path"].as_str().unwrap_or_default()))
}

fn read_json(path: &Path) -> Result<Option<Value>, String> {
    let Ok(about) = fs::metadata(path) else { return Ok(None) };
    if about.len() > MAX_PATHS_BYTES {
        return Err("its list of files is larger than any real one".to_owned());
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("its info/{name}: {error}"))
}
