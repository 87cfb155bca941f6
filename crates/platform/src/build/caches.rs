//! What a build has of earlier builds: its cache, and the previous image.

use hoist_image::{Image, Reference};
use hoist_lifecycle::{CACHE_RECORD_KIND, CacheFolder, PortableCache};

use crate::build::{FOREIGN_CODE_RECORD, record_key};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{BuildCache, BuildRequest};

impl BuildRequest {
    /// Names the records of the build cache.
    pub(crate) fn cache_key(&self, own_name: &Reference) -> String {
        match &self.build_cache {
            // No image's name has a space.
            BuildCache::Volume(name) => format!("volume {name}"),
            BuildCache::OfImage | BuildCache::Folder(_) | BuildCache::Image(_) => record_key(own_name),
        }
    }

    /// The build cache, where it is not in hoist's records.
    pub(crate) fn portable_cache(&self) -> Option<PortableCache> {
        match &self.build_cache {
            BuildCache::OfImage | BuildCache::Volume(_) => None,
            BuildCache::Folder(dir) => Some(PortableCache::Folder(CacheFolder::new(dir))),
            BuildCache::Image(image) => Some(PortableCache::Image(image.clone())),
        }
    }
}

impl LocalEngine {
    /// The same for builds of this engine: what a build from a bundle left is for builds from the same bundle.
    pub(super) fn cache_key(&self, request: &BuildRequest, own_name: &Reference) -> String {
        let key = request.cache_key(own_name);
        match self.bundle_digest() {
            Some(digest) => format!("bundle {digest} {key}"),
            None => key,
        }
    }

    /// Forgets the build cache that is named, and no other.
    pub(super) fn clear_cache(&self, request: &BuildRequest, cache_key: &str) -> Result<(), PlatformError> {
        match request.portable_cache() {
            Some(portable) => portable.clear(self.store())?,
            None => _ = self.store().remove_record(CACHE_RECORD_KIND, cache_key)?,
        }
        Ok(())
    }

    /// Whether layers that foreign code could write to are about to be restored from hoist's own record.
    pub(super) fn has_foreign_layers(&self, request: &BuildRequest, cache_key: &str) -> Result<bool, PlatformError> {
        let noted = self.is_noted_foreign(cache_key)?;
        Ok(noted && !request.clear_cache && request.portable_cache().is_none())
    }

    fn is_noted_foreign(&self, cache_key: &str) -> Result<bool, PlatformError> {
        Ok(self.store().record::<bool>(FOREIGN_CODE_RECORD, cache_key)?.is_some())
    }

    /// Noted before the layers are cached: whoever goes on from them knows that they may be other than their buildpack made them.
    pub(super) fn note_foreign_code(
        &self,
        request: &BuildRequest,
        cache_key: &str,
        ran: bool,
    ) -> Result<(), PlatformError> {
        let noted = self.is_noted_foreign(cache_key)?;
        if request.portable_cache().is_some() {
            return Ok(()); // the layers under this key stay as they are
        }
        if ran && !noted {
            self.store().put_record(FOREIGN_CODE_RECORD, cache_key, &true, &[])?;
        } else if noted && !ran {
            self.store().remove_record(FOREIGN_CODE_RECORD, cache_key)?;
        }
        Ok(())
    }

    /// The image whose layers the new one may keep: that of the same name, unless another one is asked for.
    pub(super) fn previous_image(
        &self,
        request: &BuildRequest,
        own_name: &Reference,
    ) -> Result<Option<Image>, PlatformError> {
        let found = match &request.previous_image {
            _ if request.clear_cache => return Ok(None),
            None => return Ok(self.store().find_image(own_name)?),
            Some(wanted) => self.store().image(wanted),
        };
        match found {
            Ok(image) => Ok(Some(image)),
            Err(error @ hoist_image::StoreError::UnknownImage { .. }) => {
                let text = format!("{error}: it is built as if there were no previous image");
                self.reporter().warn(&text, Some(&error.hint()));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
