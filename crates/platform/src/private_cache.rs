//! Caches that are one build's alone, or a bundle's, in place of the one that all builds of a store share: there is nobody else to be spoilt, so that all of
//! hoist's own buildpacks that fetch see them, also those that run code of others. What such code writes into a bundle's cache is thrown away.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use hoist_lifecycle::{BuildpackCall, BuildpackPhase};
use hoist_sandbox::Spec;

use crate::runner::{APART, CACHE_TARGET, SandboxRunner, SourceBuilds, bind};
use crate::supplies::copy_cache;

impl SandboxRunner {
    pub(crate) fn show_cache(&self, spec: &mut Spec, dir: &Path) {
        spec.mounts.push(bind(dir, CACHE_TARGET, false));
        spec.process.env.push((OsString::from("HOIST_CACHE_DIR"), OsString::from(CACHE_TARGET)));
        spec.process.env.push((OsString::from("HOIST_BUILD_IMAGE"), OsString::from(&self.build_image)));
    }

    /// The cache that is this build's alone, or the bundle's: for all of hoist's own that fetch, whoever's code runs.
    pub(crate) fn private_dir(&self, call: &BuildpackCall, source_builds: SourceBuilds) -> Option<PathBuf> {
        let private = self.private_cache.as_ref()?;
        let is_apart = APART.contains(&call.buildpack_id.as_str());
        if call.phase == BuildpackPhase::Detect || is_apart {
            return None;
        }
        if !private.is_copied || (source_builds == SourceBuilds::Denied && !self.may_be_changed()) {
            return Some(self.cache_dir.clone());
        }
        self.private_copy.get().cloned()
    }

    /// Makes the copy that code of others writes to, before the first such code runs.
    pub(crate) fn ready_private_copy(&self, source_builds: SourceBuilds) -> io::Result<()> {
        let is_needed = source_builds == SourceBuilds::Allowed || self.may_be_changed();
        let is_copied = self.private_cache.as_ref().is_some_and(|private| private.is_copied);
        if !is_needed || !is_copied || self.private_copy.get().is_some() {
            return Ok(());
        }
        let dir = self.work_dir.parent().unwrap_or(&self.work_dir).join("supplies");
        let user = nix::unistd::geteuid().is_root().then_some(self.user);
        copy_cache(&self.cache_dir, &dir, user)?;
        let _ = self.private_copy.set(dir);
        Ok(())
    }
}
