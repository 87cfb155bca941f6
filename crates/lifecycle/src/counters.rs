//! How much work the phases did: so that a test can say "a rebuild that changes nothing reads no layer".

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    layers_hashed: AtomicU64,
    layers_reused: AtomicU64,
    bytes_read: AtomicU64,
    processes_started: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// OCI layers whose archive was hashed.
    pub layers_hashed: u64,
    /// OCI layers that are in the image again, unread.
    pub layers_reused: u64,
    /// Bytes of file content that went into hashed layers.
    pub bytes_read: u64,
    /// Processes of buildpacks.
    pub processes_started: u64,
}

impl Counters {
    /// The counts now.
    pub fn counts(&self) -> Counts {
        Counts {
            layers_hashed: self.layers_hashed.load(Ordering::Relaxed),
            layers_reused: self.layers_reused.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            processes_started: self.processes_started.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn layer_hashed(&self) {
        self.layers_hashed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn layers_reused(&self, count: usize) {
        self.layers_reused.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn process_started(&self) {
        self.processes_started.fetch_add(1, Ordering::Relaxed);
    }
}
