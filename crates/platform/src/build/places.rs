//! The folders of one build, below its scratch.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::Scratch;

use crate::error::PlatformError;
use crate::run::set_root_mode;

/// Folders of one build.
pub(crate) struct Places {
    /// Lower directory that holds the app where it is inside.
    pub(super) app_root: PathBuf,
    /// The app's folder in it.
    pub(super) staged_dir: PathBuf,
    pub(crate) upper_dir: PathBuf,
    pub(super) work_dir: PathBuf,
    pub(super) platform_dir: PathBuf,
    pub(super) exchange_dir: PathBuf,
}

impl Places {
    /// Makes them, for an app that is at `app_dir` inside.
    pub(super) fn make(scratch: &Scratch, app_dir: &Path) -> Result<Self, PlatformError> {
        let dir = scratch.path();
        let below = app_dir.strip_prefix("/").unwrap_or(app_dir);
        let places = Self {
            app_root: dir.join("app"),
            staged_dir: dir.join("app").join(below),
            upper_dir: dir.join("upper"),
            work_dir: dir.join("work"),
            platform_dir: dir.join("platform"),
            exchange_dir: dir.join("exchange"),
        };
        let all = [&places.app_root, &places.upper_dir, &places.work_dir, &places.platform_dir, &places.exchange_dir];
        for dir in all {
            make_dir(dir)?;
        }
        fs::create_dir_all(&places.staged_dir)
            .map_err(|source| PlatformError::scratch("make the folders of a build", source))?;
        set_root_mode(&places.app_root)?;
        set_root_mode(&places.upper_dir)?;
        Ok(places)
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), PlatformError> {
    fs::create_dir(dir).map_err(|source| PlatformError::scratch("make the folders of a build", source))
}
