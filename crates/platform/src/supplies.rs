//! What a build has in place of the network and of the caches that builds share: what a bundle brought, or a folder that collects what a build fetches.
//!
//! What a bundle brought is a stranger's: it serves builds from that bundle and no others (docs/adr/0052). Nothing of it comes into the caches that builds
//! share, gets a name in the store, or is restored into a build that does not name the same bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use hoist_base::Base;
use hoist_debian::Source;
use hoist_image::{Image, Reference, StoreError};
use hoist_sandbox::User;

use crate::download_caches::Held;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::lookup::find_called;
use crate::request::BuildRequest;

/// Where the builds of an engine have packages from.
#[derive(Debug, Clone)]
pub(crate) enum Stock {
    /// The caches that all builds of the store share, and the network unless the engine is offline.
    Shared,
    /// A folder of this build's own that is empty at first, and the network: what is used is in it at last.
    Collected(PathBuf),
    /// What was collected, and no network.
    Supplied(Arc<Supplies>),
}

/// The folder of a cache with what folders of packages had.
const LINKS: &str = "links";

/// What stands in for the network.
#[derive(Debug)]
pub(crate) struct Supplies {
    /// The digest of the bundle; none for what this process has just collected itself.
    pub(crate) bundle: Option<String>,
    /// Its download cache, in place of `cache/build`.
    pub(crate) cache_dir: PathBuf,
    /// The base to build on; none where a builder of another name brings its images.
    pub(crate) base: Option<Base>,
    /// Sources and keyring of Debian's packages.
    pub(crate) sources: Vec<Source>,
    pub(crate) keyring: Vec<u8>,
    /// Folders with packages beside the index, as the settings call them. What they have lies in the cache, below `LINKS/<number>`.
    pub(crate) link_dirs: Vec<PathBuf>,
    /// Ids of images by the names that they are asked for by.
    pub(crate) images: BTreeMap<String, String>,
    /// The run image that was asked for besides.
    pub(crate) run_image: Option<String>,
    /// The builder that it was made with, and which of its buildpacks are hoist's own.
    pub(crate) builder: Option<String>,
    pub(crate) own_buildpacks: BTreeSet<String>,
    /// Keeps the folder where it is.
    pub(crate) _held: Option<Held>,
}

/// The cache of one build that nobody else's code shares.
#[derive(Debug, Clone)]
pub(crate) struct PrivateCache {
    /// Whether code of others writes into a copy that is thrown away: what the cache has is used by later builds.
    pub(crate) is_copied: bool,
}

impl LocalEngine {
    /// Whether no connection may be tried.
    pub(crate) fn is_offline(&self) -> bool {
        self.settings().offline || self.supplies().is_some()
    }

    pub(crate) fn supplies(&self) -> Option<&Arc<Supplies>> {
        match self.stock() {
            Stock::Supplied(supplies) => Some(supplies),
            Stock::Shared | Stock::Collected(_) => None,
        }
    }

    /// The digest of the bundle that this engine builds from.
    pub(crate) fn bundle_digest(&self) -> Option<&str> {
        self.supplies()?.bundle.as_deref()
    }

    pub(crate) fn private_cache(&self) -> Option<PrivateCache> {
        match self.stock() {
            Stock::Shared => None,
            Stock::Collected(_) => Some(PrivateCache { is_copied: false }),
            Stock::Supplied(_) => Some(PrivateCache { is_copied: true }),
        }
    }

    /// What was chosen by name when the bundle was made is chosen again, where the request says nothing else.
    pub(crate) fn take_from_bundle(&self, request: &mut BuildRequest) -> Result<(), PlatformError> {
        let Some(supplies) = self.supplies() else { return Ok(()) };
        if request.builder.is_none()
            && let Some(builder) = &supplies.builder
        {
            request.builder = Some(builder.parse()?);
        }
        if request.run_image.is_none()
            && let Some(run_image) = &supplies.run_image
        {
            request.run_image = Some(run_image.parse()?);
        }
        // The bundle's images are what there is.
        request.default_builder = None;
        Ok(())
    }

    /// The image that somebody means by a name: of the bundle, else of the store.
    pub(crate) fn find_named(&self, name: &Reference) -> Result<Option<Image>, StoreError> {
        let supplied = self.supplies().and_then(|supplies| supplies.images.get(&name.to_string()));
        match supplied {
            Some(id) => self.store().image(id).map(Some),
            None => find_called(self.store(), name),
        }
    }

    /// Folders of packages, and where buildpacks see them.
    pub(crate) fn index_dirs(&self) -> Vec<(PathBuf, PathBuf)> {
        match self.supplies() {
            Some(supplies) => supplies.shown_dirs(),
            None => self.host().local_index_dirs.iter().map(|dir| (dir.clone(), dir.clone())).collect(),
        }
    }

    /// The base of the bundle.
    pub(crate) fn supplied_base(&self) -> Option<Result<Base, PlatformError>> {
        let supplies = self.supplies()?;
        let missing = || PlatformError::NoBaseOffline { suite: self.settings().suite.clone() };
        Some(supplies.base.clone().ok_or_else(missing))
    }
}

/// Where a cache has what a folder of packages had.
pub(crate) fn links_dir(cache_dir: &Path, number: usize) -> PathBuf {
    cache_dir.join(LINKS).join(number.to_string())
}

impl Supplies {
    fn shown_dirs(&self) -> Vec<(PathBuf, PathBuf)> {
        let shown = self.link_dirs.iter().enumerate();
        shown.map(|(number, dir)| (links_dir(&self.cache_dir, number), dir.clone())).collect()
    }

    /// Makes the folders that have nothing: also an empty one is part of what a machine says.
    pub(crate) fn make_link_dirs(&self) -> io::Result<()> {
        self.shown_dirs().iter().try_for_each(|(dir, _)| fs::create_dir_all(dir))
    }
}

/// Copies a folder of a cache, links as links, and gives the copy to a user.
pub(crate) fn copy_cache(from: &Path, to: &Path, user: Option<User>) -> io::Result<()> {
    let give = |path: &Path| match user {
        Some(user) => std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    };
    fs::create_dir(to)?;
    give(to)?;
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                fs::create_dir(&target)?;
                folders.push((entry.path(), target.clone()));
            } else if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            } else if kind.is_file() {
                fs::copy(entry.path(), &target)?;
            } else {
                continue;
            }
            give(&target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_copied_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/pip/uv")).unwrap();
        fs::write(dir.path().join("a/pip/uv/x"), "1").unwrap();
        std::os::unix::fs::symlink("uv/x", dir.path().join("a/pip/link")).unwrap();
        copy_cache(&dir.path().join("a"), &dir.path().join("b"), None).unwrap();
        fs::write(dir.path().join("b/pip/uv/x"), "2").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a/pip/uv/x")).unwrap(), "1");
        assert_eq!(fs::read_link(dir.path().join("b/pip/link")).unwrap(), Path::new("uv/x"));
    }
}
