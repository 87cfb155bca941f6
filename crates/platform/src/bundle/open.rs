//! Building from a bundle. Nothing of it is believed: the file is checked to its last byte before anything of it is used, its images are loaded without
//! names, and its cache lies in a folder of its own that only builds from this very bundle see. A bundle that was opened before is not unpacked again.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use hoist_image::{Keeps, LoadLimits, Scratch};
use hoist_sandbox::User;

use super::RECORD;
use super::collect::unpack;
use super::document::Document;
use super::error::BundleError;
use super::file::{self, Head, IMAGES};
use crate::builder::BUILD_USER;
use crate::download_caches::DownloadCaches;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::supplies::{Stock, Supplies};

/// What a bundle's images may unpack to.
const LIMITS: LoadLimits = LoadLimits { unpacked_bytes: 64 << 30, archive_bytes: 64 << 30 };
/// The cache, below the folder of a bundle.
const CACHE_DIR: &str = "cache";

impl LocalEngine {
    /// The same engine, which builds from a bundle and tries no connection.
    pub fn with_bundle(self, path: &Path) -> Result<Self, PlatformError> {
        let head = file::read_head(path)?;
        let dir = self.bundles_dir().join(&head.digest);
        let kept = DownloadCaches::new(dir.clone()).hold();
        let kept = kept.map_err(|source| PlatformError::scratch("hold the folder of the bundle", source))?;
        let is_there = dir.join(CACHE_DIR).is_dir() && self.has_images(&head.document);
        if !is_there {
            let opened = self.open_bundle(path, &dir);
            if opened.is_err() {
                // Only where it is empty.
                let _ = fs::remove_dir(&dir);
            }
            opened?;
        }
        let Head { digest, document } = head;
        let trust = document.trust;
        let keyring = trust.keyring().ok_or_else(|| BundleError::hostile(path, "its keyring is none"))?;
        let host = trust.host();
        let supplies = Supplies {
            bundle: Some(digest),
            cache_dir: dir.join(CACHE_DIR),
            base: document.base,
            sources: trust.sources,
            keyring,
            link_dirs: trust.link_dirs.iter().map(PathBuf::from).collect(),
            images: document.images.into_iter().map(|image| (image.name, image.id)).collect(),
            run_image: document.run_image,
            builder: document.builder,
            own_buildpacks: document.own_buildpacks,
            _held: Some(kept),
        };
        supplies.make_link_dirs().map_err(|source| BundleError::Unpack { path: path.to_owned(), source })?;
        Ok(self.with_host(host).with_stock(Stock::Supplied(Arc::new(supplies))))
    }

    fn has_images(&self, document: &Document) -> bool {
        let has = |id: &str| self.store().image(id).is_ok_and(|image| image.has_its_layers().unwrap_or(false));
        document.images.iter().all(|image| has(&image.id))
    }

    /// Checks and unpacks all of it beside its place, and only then puts it there.
    fn open_bundle(&self, path: &Path, dir: &Path) -> Result<(), PlatformError> {
        self.reporter().step(&format!("checking and unpacking {}", path.display()));
        let scratch = self.store().scratch("bundle")?;
        let lease = self.store().lease()?;
        let mut keeps: Vec<Keeps> = Vec::new();
        let head = file::read(path, &mut |head, name, content| {
            if name == IMAGES {
                spool(path, content, &scratch.path().join(IMAGES), &|| self.go_on())
            } else {
                self.unpack_cache(path, &head.document, content, &scratch)
            }
        });
        let head = head.map_err(|error| self.unless_cancelled(error))?;
        self.check_base(path, &head.document)?;
        let loaded = self.store().load_unnamed(&scratch.path().join(IMAGES), LIMITS);
        let loaded =
            loaded.map_err(|source| BundleError::Images { path: path.to_owned(), source: Box::new(source) })?;
        let mut found = BTreeSet::new();
        for image in &loaded {
            lease.hold_image(image)?;
            found.insert(image.id().to_string());
            keeps.push(image.id().into());
        }
        if let Some(missing) = head.document.images.iter().find(|image| !found.contains(&image.id)) {
            let problem = format!("its image {} ({}) is not in it", missing.name, missing.id);
            return Err(BundleError::damaged(path, problem).into());
        }
        let place = dir.join(CACHE_DIR);
        let put = || -> io::Result<()> {
            if !place.is_dir() {
                match fs::rename(scratch.path().join(CACHE_DIR), &place) {
                    // Another hoist was faster.
                    Err(_) if place.is_dir() => {}
                    other => other?,
                }
            }
            Ok(())
        };
        put().map_err(|source| BundleError::Unpack { path: path.to_owned(), source })?;
        Ok(self.store().put_record(RECORD, &head.digest, &head.document.app, &keeps)?)
    }

    fn unpack_cache(
        &self,
        path: &Path,
        document: &Document,
        content: &mut dyn Read,
        scratch: &Scratch,
    ) -> Result<(), BundleError> {
        let dir = scratch.path().join(CACHE_DIR);
        let user = nix::unistd::geteuid().is_root().then_some(BUILD_USER);
        let failed = |source: io::Error| unpacking(path, source);
        fs::create_dir(&dir).map_err(failed)?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::lchown(&dir, Some(uid), Some(gid)).map_err(failed)?;
        }
        let unique: BTreeSet<(&str, u64)> =
            document.files.iter().map(|file| (file.sha256.as_str(), file.bytes)).collect();
        let total = unique.iter().map(|(_, bytes)| bytes).sum();
        self.transferred("unpacking", total, |told| {
            unpack(BufReader::with_capacity(1 << 20, content), document, &dir, user, told)
        })
        .map_err(failed)
    }

    /// A base is two images of the bundle: another one of this store is not what it was made with.
    #[allow(clippy::unused_self)] // one of a row of checks of an engine
    fn check_base(&self, path: &Path, document: &Document) -> Result<(), BundleError> {
        let Some(base) = &document.base else { return Ok(()) };
        let has = |id: &String| document.images.iter().any(|image| image.id == *id);
        if has(&base.run_image) && has(&base.build_image) {
            return Ok(());
        }
        Err(BundleError::hostile(path, "the images of its base are not in it"))
    }

    /// Removes what bundles brought, where no build uses it.
    pub(crate) fn forget_bundles(&self) -> Result<(), PlatformError> {
        let failed = |source| PlatformError::scratch("remove what bundles brought", source);
        let entries = match fs::read_dir(self.bundles_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let dir: PathBuf = entry.map_err(failed)?.path();
            if let Some(unused) = DownloadCaches::new(dir.clone()).unused().map_err(failed)? {
                unused.remove().map_err(failed)?;
                let _ = fs::remove_dir(dir);
            }
        }
        Ok(())
    }
}

/// What is wrong with the bundle, or with the place that it is unpacked to.
fn unpacking(path: &Path, source: io::Error) -> BundleError {
    match source.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::Interrupted => BundleError::Unpack { path: path.to_owned(), source },
        _ => BundleError::damaged(path, source.to_string()),
    }
}

fn spool(
    path: &Path,
    content: &mut dyn Read,
    to: &Path,
    go_on: &dyn Fn() -> io::Result<()>,
) -> Result<(), BundleError> {
    let failed = |source: io::Error| unpacking(path, source);
    let mut file = fs::File::create_new(to).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        go_on().map_err(failed)?;
        let count = content.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..count]).map_err(failed)?;
    }
}
