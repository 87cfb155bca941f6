//! A cache image: cached layers as the layers of an image, and what they are as its label. In hoist's store or in an OCI layout.

use std::path::PathBuf;

use hoist_image::oci::{Arch, ConfigBuilder, ImageConfigurationBuilder, Os, RootFsBuilder};
use hoist_image::{Compression, DiffId, Image, Reference, Store};
use hoist_spec::{CACHE_METADATA_LABEL, CacheMetadata};

use crate::cache_error::CacheError;
use crate::layout;

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

    /// The image with its layers in the store; none where there is none yet. Another image than a cache is an error.
    pub(crate) fn open(&self, store: &Store) -> Result<Option<Image>, CacheError> {
        let found = match self {
            Self::Store(name) => store.find_image(name).map_err(|source| self.store_error(source))?,
            Self::Layout(dir) => layout::open(store, dir)
                .map_err(|source| CacheError::Layout { cache: self.name(), source: Box::new(source) })?,
        };
        let is_cache = |image: &Image| {
            let config = image.config().config().as_ref();
            config
                .and_then(|config| config.labels().as_ref())
                .is_some_and(|labels| labels.contains_key(CACHE_METADATA_LABEL))
        };
        match found {
            Some(image) if !is_cache(&image) => Err(CacheError::NotACacheImage { cache: self.name() }),
            found => Ok(found),
        }
    }

    /// The label.
    pub(crate) fn metadata(&self, image: &Image) -> Result<Option<CacheMetadata>, CacheError> {
        let config = image.config().config().as_ref();
        let label = config.and_then(|config| config.labels().as_ref()?.get(CACHE_METADATA_LABEL));
        let wrong = |source| CacheError::Metadata { cache: self.name(), source: Box::new(source) };
        label.map(|text| CacheMetadata::parse(text)).transpose().map_err(wrong)
    }

    /// Forgets it. A cache that is damaged goes as well; an image that is no cache stays, with an error.
    pub fn clear(&self, store: &Store) -> Result<(), CacheError> {
        if let Err(error @ CacheError::NotACacheImage { .. }) = self.open(store) {
            return Err(error);
        }
        match self {
            Self::Store(name) => store.remove_name(name).map(|_| ()).map_err(|source| self.store_error(source)),
            Self::Layout(dir) => layout::remove(dir)
                .map_err(|source| CacheError::Layout { cache: self.name(), source: Box::new(source) }),
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
                layout::write(&image, dir, &[], Compression::None)
                    .map_err(|source| CacheError::Layout { cache: self.name(), source: Box::new(source) })
            }
        }
    }

    fn store_error(&self, source: hoist_image::StoreError) -> CacheError {
        CacheError::Store { cache: self.name(), source }
    }
}
