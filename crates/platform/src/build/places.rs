//! The folders of one build, below its scratch.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::Scratch;

use crate::error::PlatformError;
use crate::run::set_root_mode;

/// Folders of one build.
pub(super) struct Places {
    /// Lower directory that holds the app as `workspace`.
    pub(super) app_root: PathBuf,
    pub(super) upper_dir: PathBuf,
    pub(super) work_dir: PathBuf,
    pub(super) platform_dir: PathBuf,
    pub(super) exchange_dir: PathBuf,
}

impl Places {
    pub(super) fn make(scratch: &Scratch) -> Result<Self, PlatformError> {
        let dir = scratch.path();
        let places = Self {
            app_root: dir.join("app"),
            upper_dir: dir.join("upper"),
            work_dir: dir.join("work"),
            platform_dir: dir.join("platform"),
            exchange_dir: dir.join("exchange"),
        };
        let all = [&places.app_root, &places.upper_dir, &places.work_dir, &places.platform_dir, &places.exchange_dir];
        for dir in all {
            make_dir(dir)?;
        }
        make_dir(&places.app_root.join("workspace"))?;
        set_root_mode(&places.app_root)?;
        set_root_mode(&places.upper_dir)?;
        Ok(places)
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), PlatformError> {
    fs::create_dir(dir).map_err(|source| PlatformError::scratch("make the folders of a build", source))
}
