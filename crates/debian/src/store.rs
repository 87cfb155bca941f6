//! Fetches package files into a folder in which each file is named by its SHA-256.
//!
//! The folder may be shared by any number of processes: a file is written under another name, checked, and renamed. It is checked
//! again each time it is used; a damaged one is fetched again.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fs_err::File;
use hoist_events::{Event, Reporter, TransferId};

use crate::abandoned::remove_unchanged;
use crate::fetch::{FetchError, Fetcher, is_sha256, masked};
use crate::packages::Package;
use crate::sha256::{Sha256, hex};

/// How many files are fetched at once.
const PARALLEL: usize = 8;
/// The largest package that is fetched.
const LIMIT_BYTES: u64 = 4 << 30;
/// How files are named until they are checked, and after how long without a byte one counts as left by a killed process.
const INCOMING: &str = ".incoming-";
const ABANDONED: Duration = Duration::from_hours(1);
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

    /// True where a file of that name and length is there; whether it is undamaged is seen when it is used.
    fn seems_to_have(&self, file: &PackageFile) -> bool {
        fs_err::metadata(self.path(&file.sha256)).is_ok_and(|metadata| metadata.len() == file.size_bytes)
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

/// Fetches what is not in the cache, several at a time and the largest first, and checks every length and hash, of cached files too.
/// Answers with the paths, in the order of `files`. The first failure ends everything.
pub fn fetch_packages(
    fetcher: &Fetcher,
    files: &[PackageFile],
    cache: &DebCache,
    reporter: &dyn Reporter,
) -> Result<Vec<PathBuf>, FetchError> {
    let mut order = files.to_vec();
    order.sort_by(|left, right| right.size_bytes.cmp(&left.size_bytes).then_with(|| left.sha256.cmp(&right.sha256)));
    order.dedup_by(|left, right| left.sha256 == right.sha256);
    fetch_each(fetcher, &order, cache, reporter, &|_, _| ControlFlow::Continue(()))?;
    Ok(files.iter().map(|file| cache.path(&file.sha256)).collect())
}

/// As [`fetch_packages`], but begins them in the order given, and `arrived` hears of each (its place in `files`, where it is) as soon as
/// it is there and checked, so that work on it can begin while others are on their way. Ends early, and well, where `arrived` answers
/// [`ControlFlow::Break`].
pub fn fetch_each(
    fetcher: &Fetcher,
    files: &[PackageFile],
    cache: &DebCache,
    reporter: &dyn Reporter,
    arrived: &(dyn Fn(usize, PathBuf) -> ControlFlow<()> + Sync),
) -> Result<(), FetchError> {
    if let Some(file) = files.iter().find(|file| !is_sha256(&file.sha256)) {
        let problem = format!("`{}` has no SHA-256", file.name);
        return Err(FetchError::Address { url: file.sha256.clone(), problem });
    }
    let missing: Vec<&PackageFile> = files.iter().filter(|file| !cache.seems_to_have(file)).collect();
    if !missing.is_empty() {
        fs_err::create_dir_all(&cache.dir).map_err(|source| FetchError::Write { path: cache.dir.clone(), source })?;
        remove_unchanged(&cache.dir, |name| name.starts_with(INCOMING), ABANDONED);
    }
    let progress = (!missing.is_empty()).then(|| Progress::begin(&missing, reporter));
    let work = Work { fetcher, cache, progress: progress.as_ref(), stop: AtomicBool::new(false) };
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(files.len()) {
            scope.spawn(|| {
                while !work.stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(place) else { break };
                    let result = work.obtain(file).map(|path| arrived(place, path));
                    if matches!(result, Ok(ControlFlow::Continue(()))) {
                        continue;
                    }
                    // What fails after the first was stopped by it.
                    let is_first = !work.stop.swap(true, Ordering::Relaxed);
                    if let (Err(error), true) = (result, is_first) {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }
            });
        }
    });
    if let Some(progress) = &progress {
        progress.end();
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What the threads that fetch have in common.
struct Work<'a> {
    fetcher: &'a Fetcher,
    cache: &'a DebCache,
    progress: Option<&'a Progress<'a>>,
    stop: AtomicBool,
}

impl Work<'_> {
    /// Finds a file in the cache, or fetches it.
    fn obtain(&self, file: &PackageFile) -> Result<PathBuf, FetchError> {
        if let Some(path) = self.cache.find(file) {
            return Ok(path);
        }
        let mut missing = None;
        for url in &file.urls {
            match self.fetch_from(url, file) {
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

    fn fetch_from(&self, url: &str, file: &PackageFile) -> Result<PathBuf, FetchError> {
        let path = self.cache.path(&file.sha256);
        let write = |source| FetchError::Write { path: path.clone(), source };
        let begin = || {
            let file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(&self.cache.dir).map_err(write)?;
            Ok(Incoming { file, hasher: Sha256::new(), size_bytes: 0, progress: self.progress })
        };
        let incoming = self.fetcher.copy(url, file.size_bytes.min(LIMIT_BYTES), begin, &path, &self.stop)?;
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
        Ok(path)
    }
}

/// What is written while it is hashed.
struct Incoming<'a> {
    file: tempfile::NamedTempFile,
    hasher: Sha256,
    size_bytes: u64,
    progress: Option<&'a Progress<'a>>,
}

impl Write for Incoming<'_> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.file.as_file_mut().write_all(piece)?;
        self.hasher.update(piece);
        self.size_bytes += piece.len() as u64;
        if let Some(progress) = self.progress {
            progress.add(piece.len() as u64);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
