//! The directory through which a plan goes to a buildpack's process and comes back.

use std::path::{Path, PathBuf};

use crate::setup::Site;
use crate::tree::{TreeError, UpperWriter, read_regular};

/// Name of the plan in the directory.
const PLAN: &str = "plan.toml";
/// Larger than any real plan.
const MAX_PLAN_BYTES: u64 = 4 << 20;

/// A directory of one call, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    host_dir: PathBuf,
    inside: PathBuf,
}

impl Exchange {
    /// Makes it, with this plan in it. `name` is unique among the calls of a build.
    pub(crate) fn new(site: &Site<'_>, name: &str, plan: &str) -> Result<Self, TreeError> {
        let owner = site.user.chown.then_some((site.user.uid, site.user.gid));
        let writer = UpperWriter::new(site.scratch_dir.clone(), owner);
        let dir = Path::new("/").join(name);
        let host_dir = writer.create_dir(&dir)?;
        writer.write(&dir.join(PLAN), plan.as_bytes())?;
        let inside = site.directories.exchange_dir.clone().unwrap_or_else(|| host_dir.clone());
        Ok(Self { host_dir, inside })
    }

    pub(crate) fn host_dir(&self) -> &Path {
        &self.host_dir
    }

    /// Where the process finds the directory.
    pub(crate) fn inside_dir(&self) -> &Path {
        &self.inside
    }

    /// Where the process finds the plan.
    pub(crate) fn plan_path(&self) -> PathBuf {
        self.path(PLAN)
    }

    /// Where the process finds the file of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.inside.join(name)
    }

    /// What the process made of the plan.
    pub(crate) fn read_plan(&self) -> Result<String, TreeError> {
        self.read(PLAN)
    }

    /// What the process wrote into this file; nothing where it wrote none. It may have put anything in its place; only a regular file is read.
    pub(crate) fn read(&self, name: &str) -> Result<String, TreeError> {
        let (path, inside) = (self.host_dir.join(name), self.path(name));
        if path.symlink_metadata().is_err() {
            return Ok(String::new());
        }
        let bytes = read_regular(&path, &inside, MAX_PLAN_BYTES)?;
        String::from_utf8(bytes).map_err(|_| TreeError::NotText { path: inside })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What remains is in the build's scratch directory, which its owner removes.
        let _ = fs_err::remove_dir_all(&self.host_dir);
    }
}
