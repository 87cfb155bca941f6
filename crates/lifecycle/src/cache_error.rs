//! What can go wrong with a cache in a format that other lifecycles read too.

use std::path::PathBuf;

use hoist_image::{DiffId, LoadError, StoreError};
use hoist_spec::{CACHE_METADATA_LABEL, DocumentError};

use crate::content::ContentError;
use crate::layout::LayoutError;

/// A cache folder or a cache image cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was being done: `writing`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else has been writing for too long.
    #[error("writing the cache `{dir}`: another build has been writing it for {waited_secs} seconds")]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// How long was waited.
        waited_secs: u64,
    },
    /// What stands in the place of a cache is none.
    #[error("using `{path}` as a cache: {problem}")]
    NotACache {
        /// Where.
        path: PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// An image that is there is no cache, and would be replaced or removed.
    #[error("using {cache}: there is an image, and it is no cache: it has no label {CACHE_METADATA_LABEL}")]
    NotACacheImage {
        /// Which cache.
        cache: String,
    },
    /// The document that names the layers cannot be used.
    #[error("reading what is in {cache}")]
    Metadata {
        /// Which cache.
        cache: String,
        /// Why not.
        #[source]
        source: Box<DocumentError>,
    },
    /// A layer is not what its name says.
    #[error("reading layer {diff_id} of {cache}")]
    Layer {
        /// Which cache.
        cache: String,
        /// Which layer.
        diff_id: DiffId,
        /// What is wrong.
        #[source]
        source: Box<LoadError>,
    },
    /// A layer has what no layer of its buildpack has.
    #[error("reading layer {diff_id} of {cache}: it has `{path}`, and {problem}")]
    Misplaced {
        /// Which cache.
        cache: String,
        /// Which layer.
        diff_id: DiffId,
        /// What is in it.
        path: PathBuf,
        /// Why it must not be.
        problem: &'static str,
    },
    /// The folder of a cache image cannot be read or written.
    #[error("using {cache}")]
    Layout {
        /// Which cache.
        cache: String,
        /// Why not.
        #[source]
        source: Box<LayoutError>,
    },
    /// A layer that hoist keeps in several parts cannot be put together.
    #[error("putting the parts of layer `{layer}` together")]
    Join {
        /// The layer's name.
        layer: String,
        /// Why not.
        #[source]
        source: ContentError,
    },
    /// The configuration of a cache image cannot be made.
    #[error("making the configuration of {cache}: {problem}")]
    Configuration {
        /// Which cache.
        cache: String,
        /// Why not.
        problem: String,
    },
    /// The store failed.
    #[error("using the store for {cache}")]
    Store {
        /// Which cache.
        cache: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl CacheError {
    /// Whether the build cannot go on without it either: the machine or hoist's store failed, or something else would be lost.
    pub(crate) fn ends_the_build(&self) -> bool {
        match self {
            Self::Layer { source, .. } => source.is_of_the_machine(),
            Self::Layout { source, .. } => source.is_of_the_machine(),
            Self::Store { .. } | Self::NotACacheImage { .. } => true,
            _ => false,
        }
    }

    /// Whether the place that was named is the mistake.
    pub fn is_of_the_request(&self) -> bool {
        matches!(self, Self::NotACache { .. } | Self::NotACacheImage { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, path, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("make it writable for you, for example: chown -R \"$(id -u)\" '{}'", path.display())
            }
            Self::Io { .. } => "look at the folder, or choose another one for the cache".to_owned(),
            Self::InUse { .. } => "give builds that run at the same time caches of their own".to_owned(),
            Self::NotACache { .. } => "choose another place for the cache".to_owned(),
            Self::NotACacheImage { .. } => {
                "choose another name for the cache; if that image is not needed, remove it first: hoist image rm, or the folder".to_owned()
            }
            Self::Metadata { .. } | Self::Layer { .. } | Self::Misplaced { .. } => {
                "if this is not expected, begin anew: build once with --clear-cache".to_owned()
            }
            Self::Layout { source, .. } => return source.hint(),
            Self::Join { source, .. } => return source.hint(),
            Self::Configuration { .. } => "this is a mistake in hoist, please report it".to_owned(),
            Self::Store { source, .. } => source.hint(),
        })
    }
}

pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CacheError {
    let path = path.into();
    move |source| CacheError::Io { action, path, source }
}
