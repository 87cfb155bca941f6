//! A cache image: cached layers as the layers of an image, and what they are as its label. In hoist's store or in an OCI layout.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::oci::{Arch, ConfigBuilder, ImageConfigurationBuilder, Os, RootFsBuilder};
use hoist_image::{Compression, DiffId, Image, LoadLimits, Reference, SaveError, Store};
use hoist_spec::{CACHE_METADATA_LABEL, CacheMetadata};
use rustix::fs::{CWD, RenameFlags};

use crate::cache_error::{CacheError, io};

/// Where a cache image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheImage {
    /// In the store, under this name.
    Store(Reference),
    /// A folder with an OCI layout of this image alone.
    Layout(PathBuf),
}

impl CacheImage {
    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Store(name) => format!("the cache image `{name}`"),
            Self::Layout(dir) => format!("the cache image in `{}`", dir.display()),
        }
    }

    /// The image with its layers in the store; none where there is none yet.
    pub(crate) fn open(&self, store: &Store) -> Result<Option<Image>, CacheError> {
        let found = match self {
            Self::Store(name) => store.find_image(name).map_err(|source| self.store_error(source))?,
            Self::Layout(dir) if !is_layout(dir) => None,
            Self::Layout(dir) => store
                .load_unnamed(dir, LoadLimits::default())
                .map_err(|source| CacheError::Load { cache: self.name(), source: Box::new(source) })?
                .into_iter()
                .next(),
        };
        Ok(found)
    }

    /// The label.
    pub(crate) fn metadata(&self, image: &Image) -> Result<Option<CacheMetadata>, CacheError> {
        let config = image.config().config().as_ref();
        let label = config.and_then(|config| config.labels().as_ref()?.get(CACHE_METADATA_LABEL));
        let wrong = |source| CacheError::Metadata { cache: self.name(), source: Box::new(source) };
        label.map(|text| CacheMetadata::parse(text)).transpose().map_err(wrong)
    }

    /// Forgets it.
    pub fn clear(&self, store: &Store) -> Result<(), CacheError> {
        match self {
            Self::Store(name) => store.remove_name(name).map(|_| ()).map_err(|source| self.store_error(source)),
            Self::Layout(dir) if is_layout(dir) => remove_layout(dir),
            Self::Layout(_) => Ok(()),
        }
    }

    /// Writes it anew, with layers of the store.
    pub(crate) fn write(&self, store: &Store, metadata: &CacheMetadata, diff_ids: &[DiffId]) -> Result<(), CacheError> {
        let text =
            metadata.write().map_err(|source| CacheError::Metadata { cache: self.name(), source: Box::new(source) })?;
        let wrong = |error: &dyn std::fmt::Display| CacheError::Configuration {
            cache: self.name(),
            problem: error.to_string(),
        };
        let labels = [(CACHE_METADATA_LABEL.to_owned(), text)];
        let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        let config = ConfigBuilder::default().labels(labels).build().map_err(|error| wrong(&error))?;
        let layers = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().map_err(|e| wrong(&e))?;
        let config = ImageConfigurationBuilder::default()
            .os(Os::Linux)
            .architecture(Arch::default())
            .created("1980-01-01T00:00:01Z")
            .config(config)
            .rootfs(layers)
            .build()
            .map_err(|error| wrong(&error))?;
        match self {
            Self::Store(name) => {
                let put = store.put_image(&config, std::slice::from_ref(name));
                put.map(|_| ()).map_err(|source| self.store_error(source))
            }
            Self::Layout(dir) => {
                let image = store.put_image(&config, &[]).map_err(|source| self.store_error(source))?;
                self.save(&image, dir)
            }
        }
    }

    /// The new layout is whole before it takes the place of the old one.
    fn save(&self, image: &Image, dir: &Path) -> Result<(), CacheError> {
        let occupied = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if occupied && !is_layout(dir) {
            let path = dir.to_owned();
            return Err(CacheError::NotACache { path, problem: "it has files, but is no OCI layout" });
        }
        let save_error = |source: SaveError| CacheError::Save { cache: self.name(), source };
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(io("making", parent))?;
        }
        if !occupied {
            return image.save_to_dir(dir, &[], Compression::None).map_err(save_error);
        }
        let beside = tempfile::Builder::new()
            .prefix(".cache-image-")
            .tempdir_in(dir.parent().unwrap_or(dir))
            .map_err(io("making a folder beside", dir))?;
        let new = beside.path().join("layout");
        image.save_to_dir(&new, &[], Compression::None).map_err(save_error)?;
        let exchanged = rustix::fs::renameat_with(CWD, &new, CWD, dir, RenameFlags::EXCHANGE);
        exchanged.map_err(|error| io("replacing", dir)(error.into()))
    }

    fn store_error(&self, source: hoist_image::StoreError) -> CacheError {
        CacheError::Store { cache: self.name(), source }
    }
}

fn is_layout(dir: &Path) -> bool {
    dir.join("index.json").is_file() && dir.join("oci-layout").is_file()
}

/// Removes an OCI layout, and its folder if nothing else is in it.
fn remove_layout(dir: &Path) -> Result<(), CacheError> {
    for file in ["index.json", "oci-layout"] {
        fs::remove_file(dir.join(file)).map_err(io("removing the cache image in", dir))?;
    }
    match fs::remove_dir_all(dir.join("blobs")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("removing the cache image in", dir)(error));
        }
        _ => {}
    }
    let _ = fs::remove_dir(dir); // it may hold something of somebody's
    Ok(())
}
