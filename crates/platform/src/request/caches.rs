//! Which caches a build has.

use std::path::PathBuf;

use hoist_lifecycle::CacheImage;

/// Where a build finds the cached layers of the build before, and leaves its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BuildCache {
    /// In hoist's store, under the image's name.
    #[default]
    OfImage,
    /// In hoist's store, under a name of its own: images share it, or one image has several.
    Volume(String),
    /// A folder that other lifecycles read and write too.
    Folder(PathBuf),
    /// An image with the layers.
    Image(CacheImage),
}
