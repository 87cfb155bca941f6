//! What was chosen before for the same environment, for builds that may not use the network: channels cannot be asked then, and what they said is far
//! larger than what was chosen of it.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_conda::Solution;
use hoist_debian::{Sha256, hex};

use super::key::EnvironmentKey;
use crate::keep;

/// The folder below conda's part of the cache.
const FOLDER: &str = "solutions";
/// A thousand packages have about a megabyte.
const MAX_BYTES: u64 = 64 << 20;

/// Where the choice of one environment is kept.
pub(super) struct KeptSolution {
    path: PathBuf,
}

impl KeptSolution {
    pub(super) fn of(cache_dir: &Path, key: &EnvironmentKey) -> Self {
        let text = serde_json::to_vec(key).unwrap_or_default();
        Self { path: cache_dir.join(FOLDER).join(hex(&Sha256::digest(text))) }
    }

    pub(super) fn recall(&self) -> Option<Solution> {
        let is_fit = fs::metadata(&self.path).is_ok_and(|about| about.is_file() && about.len() <= MAX_BYTES);
        Solution::from_json(&fs::read(&self.path).ok().filter(|_| is_fit)?)
    }

    /// That it cannot be kept is no failure.
    pub(super) fn remember(&self, solution: &Solution) {
        if let Some(text) = solution.to_json() {
            let _ = keep::put(&self.path, &text);
        }
    }
}
