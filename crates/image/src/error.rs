//! What can go wrong in the store, and what to do next.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use crate::digest::{DiffId, Digest, ImageId};

/// An operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{action}")]
    Io {
        /// What was being done.
        action: Cow<'static, str>,
        /// What the system said, with the path.
        #[source]
        source: io::Error,
    },
    /// The folder is a store of another version of hoist, or no store.
    #[error("opening the store `{root}`: its version is `{found}`, this hoist understands `{understood}`")]
    Version {
        /// The store.
        root: PathBuf,
        /// What its `version` file says.
        found: String,
        /// What is understood.
        understood: &'static str,
    },
    /// The folder holds something else.
    #[error("opening the store `{root}`: it holds `{found}` and is no store of hoist")]
    NotAStore {
        /// The folder.
        root: PathBuf,
        /// The first thing in it that no store has.
        found: String,
    },
    /// Another hoist holds the store for longer than is waited for.
    #[error("using the store `{root}`: another hoist has held its lock for {waited_secs} seconds")]
    InUse {
        /// The store.
        root: PathBuf,
        /// How long was waited.
        waited_secs: u64,
    },
    /// No image has this name or identity.
    #[error("looking for image `{wanted}`: the store has no image of that name or id")]
    UnknownImage {
        /// What was asked for.
        wanted: String,
        /// Names in the store that look like it, the nearest first.
        near: Vec<String>,
    },
    /// Several images have identities that begin so.
    #[error("looking for image `{wanted}`: {} images have an id that begins so", .found.len())]
    AmbiguousImage {
        /// What was asked for.
        wanted: String,
        /// Whose.
        found: Vec<ImageId>,
    },
    /// A layer that something refers to is not there.
    #[error("opening {what}: its layer {diff_id} is not in the store")]
    MissingLayer {
        /// Who needs it.
        what: String,
        /// The layer.
        diff_id: DiffId,
    },
    /// A stored document is not what it was.
    #[error("reading `{path}`: {problem}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A blob's bytes do not have the digest that it is stored under.
    #[error("reading blob {expected}: its bytes have the digest {seen}")]
    CorruptBlob {
        /// The digest it is stored under.
        expected: Digest,
        /// The digest of what is there.
        seen: Digest,
    },
    /// A layer's tree no longer makes the tar that its diffID names.
    #[error("reading layer {expected}: its files now make {seen}")]
    CorruptLayer {
        /// The layer.
        expected: DiffId,
        /// What its files make.
        seen: DiffId,
    },
    /// An image configuration cannot be stored.
    #[error("storing an image: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// A kind or key of a record is not allowed.
    #[error("storing a record of kind `{kind}`: {problem}")]
    Record {
        /// The kind.
        kind: String,
        /// What is wrong.
        problem: String,
    },
}

fn names_a_registry(wanted: &str) -> bool {
    wanted.parse::<crate::reference::Reference>().is_ok_and(|name| name.registry().is_some())
}

impl StoreError {
    /// What to do next, as a command to paste wherever one exists.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { source, .. } => io_hint(source),
            Self::Version { root, .. } => {
                format!("use the hoist that made it, or move `{}` away; images can be built again", root.display())
            }
            Self::NotAStore { .. } => "name a new or an empty folder: `hoist --store DIR …`, or `hoist config set store DIR`".to_owned(),
            Self::InUse { .. } => "wait for the other hoist, or look for one that hangs: `fuser -v` on the store's `lock`".to_owned(),
            Self::UnknownImage { wanted, .. } if names_a_registry(wanted) => {
                format!("fetch it from its registry: `hoist image pull {wanted}`; or look at it there: --remote")
            }
            Self::UnknownImage { near, .. } if near.is_empty() => {
                "see what there is: `hoist image ls`; bring one in: `hoist image load FILE`".to_owned()
            }
            Self::UnknownImage { near, .. } => {
                let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
                format!("did you mean {}? All of them: `hoist image ls`", near.join(" or "))
            }
            Self::AmbiguousImage { found, .. } => {
                let ids: Vec<String> = found.iter().take(5).map(|id| id.hex()[..16].to_owned()).collect();
                format!("give more of the id: {}", ids.join(", "))
            }
            Self::Corrupt { path, .. } if !path.iter().any(|part| part == "layers") => format!(
                "the disk or another program changed the store: remove that file and build or load again what it stood for: rm {}",
                path.display()
            ),
            Self::CorruptBlob { .. } => {
                "the disk or another program changed the store: try again, what can be made again is made; otherwise load the image again".to_owned()
            }
            Self::MissingLayer { .. } | Self::Corrupt { .. } | Self::CorruptLayer { .. } => {
                DAMAGED.to_owned()
            }
            Self::Configuration { .. } | Self::Record { .. } => "this is a mistake in hoist, please report it".to_owned(),
        }
    }

    pub(crate) fn io(action: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt { path: path.into(), problem: format!("{problem}") }
    }
}

const DAMAGED: &str = "the disk or another program changed the store: `hoist image verify IMAGE` finds what is damaged; then build or load the image again";

/// What to do about an error of the file system.
pub(crate) fn io_hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space, `hoist system prune` removes what nothing needs; nothing half-made was left".to_owned()
        }
        io::ErrorKind::PermissionDenied => "the store belongs to another user: run as that user, or choose another store".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the store's file system is mounted read-only: choose another store".to_owned(),
        io::ErrorKind::InvalidData => DAMAGED.to_owned(),
        io::ErrorKind::BrokenPipe => "the reader ended early: look at its error".to_owned(),
        _ => "look at the path; `hoist system df` shows the store".to_owned(),
    }
}

/// Says what was being done when the file system refused.
pub(crate) trait Doing<T> {
    fn doing(self, action: impl Into<Cow<'static, str>>) -> Result<T, StoreError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: impl Into<Cow<'static, str>>) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(action, source))
    }
}

impl<T> Doing<T> for Result<T, rustix::io::Errno> {
    fn doing(self, action: impl Into<Cow<'static, str>>) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(action, source.into()))
    }
}

/// A layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A path has no place in a layer.
    #[error("adding `{}` to a layer: {reason}", .path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A path was given twice.
    #[error("adding `{}` to a layer: it is there already", .path.display())]
    Twice {
        /// The path.
        path: PathBuf,
    },
    /// A path leads through something that is no directory.
    #[error("adding `{}` to a layer: `{}` in it is not a directory", .path.display(), .through.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
        /// What is in the way.
        through: PathBuf,
    },
    /// A link's target is not a file of the layer.
    #[error("adding `{}` to a layer: the linked file `{}` is not in it", .path.display(), .target.display())]
    NoTarget {
        /// The path.
        path: PathBuf,
        /// The target.
        target: PathBuf,
    },
    /// A file had another length than was said.
    #[error("adding `{}` to a layer: {seen_bytes} bytes came, {expected_bytes} were announced", .path.display())]
    Size {
        /// The path.
        path: PathBuf,
        /// What was said.
        expected_bytes: u64,
        /// What came.
        seen_bytes: u64,
    },
    /// There are more entries than any image needs.
    #[error("adding `{}` to a layer: it has more than {limit} entries", .path.display())]
    TooMany {
        /// The path.
        path: PathBuf,
        /// How many are allowed.
        limit: usize,
    },
    /// The names alone are longer than any image needs.
    #[error("adding `{}` to a layer: the names in it have more than {limit_bytes} bytes together", .path.display())]
    Names {
        /// The path.
        path: PathBuf,
        /// How many are allowed.
        limit_bytes: usize,
    },
    /// The file system refused.
    #[error("adding `{}` to a layer: {action}", .path.display())]
    Io {
        /// The path in the image.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayerError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Path { .. } => "rename the file".to_owned(),
            Self::Twice { .. } | Self::NotADirectory { .. } | Self::NoTarget { .. } => {
                "the source of this layer contradicts itself; look at the path named".to_owned()
            }
            Self::Size { .. } => "the file changed while it was read: stop what writes to it and try again".to_owned(),
            Self::TooMany { .. } | Self::Names { .. } => {
                "leave out folders that are not needed, caches for example".to_owned()
            }
            Self::Io { source, .. } => io_hint(source),
            Self::Store(error) => error.hint(),
        }
    }
}
