//! Fetches package files into a folder in which each file is named by its SHA-256.
//!
//! The folder may be shared by any number of processes: a file is written under another name, checked, and renamed. It is checked
//! again each time it is used; a damaged one is fetched again.

use fs_err::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hoist_events::{Event, Reporter, TransferId};

use crate::fetch::{FetchError, Fetcher, is_sha256, masked};
use crate::packages::Package;
use crate::sha256::{Sha256, hex};

/// How many files are fetched at once.
const PARALLEL: usize = 8;
/// The largest package that is fetched.
const LIMIT_BYTES: u64 = 4 << 30;
/// How much arrives between two reports of progress.
const REPORT_BYTES: u64 = 128 << 10;

/// A package file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// The package's name, for messages.
    pub name: String,
    /// Its version, for messages.
    pub version: String,
    /// Where it may be, best first.
    pub urls: Vec<String>,
    /// Hash of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Length of the file.
    pub size_bytes: u64,
}

impl From<&Package> for PackageFile {
    fn from(package: &Package) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.to_string(),
            urls: vec![format!("{}/{}", package.uri.trim_end_matches('/'), package.filename)],
            sha256: package.sha256.clone(),
            size_bytes: package.size_bytes,
        }
    }
}

/// A folder of package files, each named by its SHA-256.
#[derive(Debug, Clone)]
pub struct DebCache {
    dir: PathBuf,
}

impl DebCache {
    /// Uses a folder, which is made when something is first kept in it.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where the file of this hash is or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join(format!("{sha256}.deb"))
    }

    /// The file, if it is there and undamaged.
    fn find(&self, file: &PackageFile) -> Option<PathBuf> {
        let path = self.path(&file.sha256);
        let mut content = File::open(&path).ok()?;
        if content.metadata().ok()?.len() != file.size_bytes {
            return None;
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(_) => return None,
            }
        }
        (hex(&hasher.finalize()) == file.sha256).then_some(path)
    }
}

/// Fetches what is not in the cache, several at a time, and checks every length and hash, of cached files too. Answers with the paths,
/// in the order of `files`. The first failure ends everything.
pub fn fetch_packages(
    fetcher: &Fetcher,
    files: &[PackageFile],
    cache: &DebCache,
    reporter: &dyn Reporter,
) -> Result<Vec<PathBuf>, FetchError> {
    for file in files {
        if !is_sha256(&file.sha256) {
            return Err(FetchError::Address {
                url: file.sha256.clone(),
                problem: format!("`{}` has no SHA-256", file.name),
            });
        }
    }
    let found = in_parallel(files, 2, |file| Ok(cache.find(file)))?;
    let mut missing: Vec<&PackageFile> =
        files.iter().zip(&found).filter(|(_, path)| path.is_none()).map(|(file, _)| file).collect();
    missing.sort_by(|left, right| right.size_bytes.cmp(&left.size_bytes).then_with(|| left.sha256.cmp(&right.sha256)));
    missing.dedup_by(|left, right| left.sha256 == right.sha256);
    if !missing.is_empty() {
        fs_err::create_dir_all(&cache.dir).map_err(|source| FetchError::Write { path: cache.dir.clone(), source })?;
        let progress = Progress::begin(&missing, reporter);
        let result = in_parallel(&missing, PARALLEL, |file| fetch_one(fetcher, file, cache, &progress));
        progress.end();
        result?;
    }
    Ok(files.iter().map(|file| cache.path(&file.sha256)).collect())
}

/// Runs `work` on all items with some threads; the first error stops the rest.
fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> Result<T, FetchError> + Sync,
) -> Result<Vec<T>, FetchError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Mutex<Vec<(usize, Result<T, FetchError>)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let result = work(item);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

fn fetch_one(
    fetcher: &Fetcher,
    file: &PackageFile,
    cache: &DebCache,
    progress: &Progress<'_>,
) -> Result<(), FetchError> {
    let mut missing = None;
    for url in &file.urls {
        match fetch_from(fetcher, url, file, cache, progress) {
            Err(error @ FetchError::Missing { .. }) => {
                missing.get_or_insert(error);
            }
            other => return other,
        }
    }
    Err(missing.unwrap_or_else(|| FetchError::Address {
        url: String::new(),
        problem: format!("no mirror is known for {}", file.name),
    }))
}

/// What is written while it is hashed.
struct Incoming<'a> {
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    size_bytes: u64,
    progress: &'a Progress<'a>,
}

impl Write for Incoming<'_> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.file.as_file_mut().write_all(piece)?;
        self.hasher.update(piece);
        self.size_bytes += piece.len() as u64;
        self.progress.add(piece.len() as u64);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn fetch_from(
    fetcher: &Fetcher,
    url: &str,
    file: &PackageFile,
    cache: &DebCache,
    progress: &Progress<'_>,
) -> Result<(), FetchError> {
    let path = cache.path(&file.sha256);
    let write = |source| FetchError::Write { path: path.clone(), source };
    let begin = || {
        let file = tempfile::Builder::new().prefix(".incoming-").tempfile_in(&cache.dir).map_err(write)?;
        Ok(Incoming { file, hasher: Sha256::new(), size_bytes: 0, progress })
    };
    let incoming = fetcher.copy(url, file.size_bytes.min(LIMIT_BYTES), begin, &path)?;
    let found = hex(&incoming.hasher.finalize());
    let wrong = |expected: String, found: String| FetchError::Content { url: masked(url), expected, found };
    if incoming.size_bytes != file.size_bytes {
        return Err(wrong(format!("{} bytes", file.size_bytes), format!("{} bytes", incoming.size_bytes)));
    }
    if found != file.sha256 {
        return Err(wrong(format!("sha256:{}", file.sha256), format!("sha256:{found}")));
    }
    // No fsync: the file is checked by its hash before each use, so a torn one costs a fetch and no more.
    incoming.file.persist(&path).map_err(|error| write(error.error))?;
    Ok(())
}

/// Reports a transfer of several files as one.
struct Progress<'a> {
    id: TransferId,
    done: AtomicU64,
    reported: AtomicU64,
    reporter: &'a dyn Reporter,
}

impl<'a> Progress<'a> {
    fn begin(files: &[&PackageFile], reporter: &'a dyn Reporter) -> Self {
        let id = TransferId::next();
        let what = format!("{} Debian package{}", files.len(), if files.len() == 1 { "" } else { "s" });
        let total_bytes = Some(files.iter().map(|file| file.size_bytes).sum());
        reporter.report(&Event::TransferStarted { id, what, total_bytes });
        Self { id, done: AtomicU64::new(0), reported: AtomicU64::new(0), reporter }
    }

    fn add(&self, bytes: u64) {
        let done_bytes = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let reported = self.reported.load(Ordering::Relaxed);
        let due = done_bytes >= reported + REPORT_BYTES;
        if due && self.reported.compare_exchange(reported, done_bytes, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.reporter.report(&Event::TransferProgressed { id: self.id, done_bytes });
        }
    }

    fn end(&self) {
        self.reporter.report(&Event::TransferFinished { id: self.id, done_bytes: self.done.load(Ordering::Relaxed) });
    }
}
