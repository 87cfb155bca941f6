//! Leases: what keeps layers and images alive while a process uses them without a name or a record for them.
//!
//! A lease is a file that its process holds locked (`flock`), so that it dies with the process whatever kills it. It protects the layers
//! that it lists, and every layer that was made or asked for since the lease began: a build that goes on has layers which nothing refers to yet.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;

use crate::digest::DiffId;
use crate::durable;
use crate::error::{Doing, StoreError};
use crate::image::Image;

/// Keeps layers alive until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: Mutex<fs::File>,
}

impl Lease {
    /// Call it with the store's lock shared: between making the file and locking it prune would take the lease for a dead one.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(durable::unique("lease"));
        let file = fs::File::create_new(&path).doing("taking a lease on the store")?;
        file.file().lock().doing("locking a lease")?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Also keeps these layers, however long ago they were made.
    pub fn hold(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let mut lines: Vec<String> = layers.iter().map(DiffId::to_string).collect();
        lines.push(String::new());
        let lines = lines.join("\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes()).doing("writing a lease")
    }

    /// Also keeps the layers of `image`: call it before running the image.
    pub fn hold_image(&self, image: &Image) -> Result<(), StoreError> {
        self.hold(image.diff_ids())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // prune removes what cannot be removed here
    }
}

/// What all living leases protect.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Listed layers.
    pub(crate) layers: BTreeSet<DiffId>,
    /// When the oldest lease began, since 1970: nothing touched later may go.
    pub(crate) since: Option<Duration>,
    /// Files of leases whose process is gone.
    pub(crate) dead: Vec<PathBuf>,
}

/// Reads all leases.
pub(crate) fn held(dir: &Path) -> Result<Held, StoreError> {
    let mut held = Held::default();
    for entry in fs::read_dir(dir).doing("listing leases")? {
        let path = entry.doing("listing leases")?.path();
        let Ok(file) = fs::File::open(&path) else { continue };
        if file.file().try_lock().is_ok() {
            held.dead.push(path);
            continue;
        }
        let begun = created(&file).unwrap_or_default();
        held.since = Some(held.since.map_or(begun, |since| since.min(begun)));
        let text = fs::read_to_string(&path).unwrap_or_default();
        held.layers.extend(text.lines().filter_map(|line| line.parse::<DiffId>().ok()));
    }
    Ok(held)
}

/// When a lease began stands in its name, because writing to the file changes its times.
fn created(file: &fs::File) -> Option<Duration> {
    let name = file.path().file_name()?.to_str()?;
    let nanos = u64::from_str_radix(name.split('-').nth(2)?, 16).ok()?;
    Some(Duration::from_nanos(nanos))
}
