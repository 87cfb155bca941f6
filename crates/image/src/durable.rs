//! Writing so that a crash leaves the old file or the new one: temporary file, fsync, rename, fsync of the folder.
//!
//! This module also owns what identifies a moment and a machine: the clock, the boot id, unique names.
#![allow(clippy::disallowed_methods)] // the clock of this crate is read here

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fs_err as fs;

use crate::error::{Doing, StoreError};

/// Replaces or makes `path` with `bytes`; `temporary` is a path that nothing else uses, on the same file system.
pub(crate) fn write_durably(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let written = write_and_rename(path, temporary, bytes);
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written.doing("writing to the store")
}

fn write_and_rename(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(temporary)?;
    file.file().lock()?; // prune takes what nobody has locked
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    sync_parent(path)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes everything written to the file system of `dir` durable: one call instead of one for each of thousands of files.
pub(crate) fn sync_file_system(dir: &Path) -> io::Result<()> {
    let dir = fs::File::open(dir)?;
    Ok(rustix::fs::syncfs(&dir)?)
}

/// A name that no other process and no other call uses: label, process, nanoseconds since 1970, number.
pub(crate) fn unique(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{label}-{:x}-{:x}-{number:x}", std::process::id(), since_epoch().as_nanos())
}

/// Time since 1970.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What tells one boot of the machine from another; the page cache lives as long.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
    })
}

/// Sets the modification time to now: "in use".
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// Waits until `file` is locked, at most `limit`; false where someone else kept it.
pub(crate) fn lock_within(file: &File, shared: bool, limit: Duration) -> io::Result<bool> {
    let started = std::time::Instant::now();
    loop {
        let tried = if shared { file.try_lock_shared() } else { file.try_lock() };
        match tried {
            Ok(()) => return Ok(true),
            Err(std::fs::TryLockError::WouldBlock) if started.elapsed() >= limit => return Ok(false),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}
