//! What a daemon says of an image, without fetching it.

use std::collections::BTreeMap;

use crate::digest::DiffId;
use crate::docker::client::{Daemon, Inspected};
use crate::docker::error::DockerError;

/// An image of a daemon, as far as its configuration is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What the daemon calls it: the digest of its configuration, or with containerd's storage that of its manifest.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v8`; empty where it has none.
    pub variant: String,
    /// Its layers, lowest first.
    pub diff_ids: Vec<DiffId>,
}

impl Daemon {
    /// Looks at the daemon's image `wanted` (a name or an id); none where it has no such image.
    pub fn look(&self, wanted: &str) -> Result<Option<Looked>, DockerError> {
        Ok(self.inspect(wanted)?.map(|found| {
            let diff_ids = found.diff_ids();
            let Inspected { id, os, architecture, variant, config, .. } = found;
            let labels = config.and_then(|config| config.labels).unwrap_or_default();
            Looked { id, labels, os, architecture, variant: variant.unwrap_or_default(), diff_ids }
        }))
    }
}
