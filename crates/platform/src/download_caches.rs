//! The download caches of a store (`cache/host`, `cache/build`): whoever uses them holds them, so that nothing is taken away from a build that
//! goes on.
//!
//! Held is the folder itself, by a lock that dies with its process. It is emptied, and never removed: another process may hold it.

use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fs_err as fs;

/// How long a process that empties the caches is waited for: it removes some gigabytes at the most.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the caches, which need not exist yet.
pub(crate) struct DownloadCaches {
    dir: PathBuf,
}

/// Keeps the caches where they are.
#[derive(Debug)]
pub(crate) struct Held {
    _folder: fs::File,
}

/// Nobody uses the caches, and nobody begins to while this lives.
#[derive(Debug)]
pub(crate) struct Unused {
    dir: PathBuf,
    _folder: Option<fs::File>,
}

impl DownloadCaches {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Holds them, until the answer is dropped.
    pub(crate) fn hold(&self) -> io::Result<Held> {
        fs::create_dir_all(&self.dir)?;
        let folder = fs::File::open(&self.dir)?;
        let started = Instant::now();
        loop {
            match folder.file().try_lock_shared() {
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                // A file system without locks has no holders either.
                _ => return Ok(Held { _folder: folder }),
            }
        }
    }

    /// The caches where nobody holds them.
    pub(crate) fn unused(&self) -> io::Result<Option<Unused>> {
        let folder = match fs::File::open(&self.dir) {
            Ok(folder) => Some(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(Err(TryLockError::WouldBlock)) = folder.as_ref().map(|folder| folder.file().try_lock()) {
            return Ok(None);
        }
        Ok(Some(Unused { dir: self.dir.clone(), _folder: folder }))
    }
}

impl Unused {
    /// Empties the caches.
    pub(crate) fn remove(self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_that_somebody_holds_stay_and_others_are_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let caches = DownloadCaches::new(dir.path().join("cache"));
        caches.unused().unwrap().unwrap().remove().unwrap();
        let (one, other) = (caches.hold().unwrap(), caches.hold().unwrap());
        fs::create_dir_all(dir.path().join("cache/host/debs")).unwrap();
        fs::write(dir.path().join("cache/host/debs/a.deb"), "a").unwrap();
        drop(one);
        assert!(caches.unused().unwrap().is_none(), "the other one still needs them");
        drop(other);
        caches.unused().unwrap().unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), 0);
    }
}
