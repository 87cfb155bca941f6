//! What a layer consists of after the build: the stored entries it was restored from, with the upper directory's changes applied.
//!
//! Nothing of the stored layers is read for this but their indexes, and not even these where the upper directory has nothing of the layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hoist_image::{Attributes, Entry, Kind, Layer, LayerBuilder, LayerError, StoreError};

use crate::counters::Counters;
use crate::setup::BuildUser;
use crate::tree::{TreeError, check_depth, io, is_opaque, is_whiteout};

/// Where an entry comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// From this one of the restored layers, unchanged.
    Stored { layer: usize, entry: Entry },
    /// From the host.
    Host { path: PathBuf, metadata: Metadata },
}

impl Source {
    pub(crate) fn is_dir(&self) -> bool {
        match self {
            Self::Stored { entry, .. } => entry.kind == Kind::Directory,
            Self::Host { metadata, .. } => metadata.is_dir(),
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Stored { entry: Entry { kind: Kind::File { size_bytes, .. }, .. }, .. } => *size_bytes,
            Self::Host { metadata, .. } if metadata.is_file() => metadata.len(),
            _ => 0,
        }
    }

    pub(crate) fn attributes(&self, user: BuildUser) -> Attributes {
        match self {
            Self::Stored { entry, .. } => entry.attributes,
            Self::Host { metadata, .. } if metadata.is_symlink() => Attributes::new(user.uid, user.gid, 0o777),
            Self::Host { metadata, .. } => Attributes::new(user.uid, user.gid, metadata.permissions().mode() & 0o7777),
        }
    }
}

/// A layer cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file of the build cannot be read.
    #[error("reading the files of the layer")]
    Tree(#[from] TreeError),
    /// The index of a restored layer cannot be read.
    #[error("reading the layer that it was restored from")]
    Store(#[from] StoreError),
    /// The layer cannot be written.
    #[error("writing the layer to the store")]
    Layer(#[from] LayerError),
}

impl ContentError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tree(TreeError::TooDeep { .. }) => {
                Some("look for what makes folders in folders without end: a buildpack, or the app itself".to_owned())
            }
            Self::Tree(_) => None,
            Self::Store(error) => Some(error.hint()),
            Self::Layer(error) => Some(error.hint()),
        }
    }
}

/// The entries of a layer by their path in the image, in the order of a walk, from the layer's directory on.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) entries: BTreeMap<PathBuf, Source>,
    /// How many paths the build added, changed or removed.
    pub(crate) touched: usize,
}

/// What the upper directory says of a restored layer.
pub(crate) enum Change {
    /// Nothing: it is what was restored.
    None,
    /// It is gone, or was never there.
    Gone,
    /// It consists of this.
    Content(Content),
}

/// Compares the upper directory with what was restored. `dir` is the layer's directory in the image.
pub(crate) fn changes(upper_dir: &Path, dir: &Path, restored: &[Layer]) -> Result<Change, ContentError> {
    let host = upper_dir.join(dir.strip_prefix("/").unwrap_or(dir));
    let (found, hidden) = upper_metadata(upper_dir, dir, !restored.is_empty())?;
    let metadata = match found {
        None if hidden || restored.is_empty() => return Ok(Change::Gone),
        None => return Ok(Change::None),
        Some(metadata) if !metadata.is_dir() => return Ok(Change::Gone),
        Some(metadata) => metadata,
    };
    let mut content = Content::default();
    if !hidden {
        content.entries = stored_entries(dir, restored)?;
    }
    let whole = content.entries.is_empty();
    content.apply_dir(&host, dir, metadata)?;
    if content.touched == 0 && !whole {
        return Ok(Change::None);
    }
    Ok(Change::Content(content))
}

/// What stands at a path of the upper directory, and whether lower directories (if there are any) are hidden there. No component of it may
/// be a link.
pub(crate) fn upper_metadata(
    upper_dir: &Path,
    inside: &Path,
    has_lower: bool,
) -> Result<(Option<Metadata>, bool), TreeError> {
    let mut path = upper_dir.to_owned();
    let mut last = None;
    let mut hidden = false;
    for part in inside.strip_prefix("/").unwrap_or(inside).components() {
        path.push(part);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, hidden)),
            Err(error) => return io("looking at", &path, Err(error)),
        };
        if is_whiteout(&metadata) {
            return Ok((None, true));
        }
        let is_target = path.ends_with(inside.strip_prefix("/").unwrap_or(inside));
        if !metadata.is_dir() && !is_target {
            return Err(TreeError::Kind { path: inside.to_owned(), expected: "below a directory" });
        }
        hidden |= has_lower && metadata.is_dir() && is_opaque(&path);
        last = Some(metadata);
    }
    Ok((last, hidden))
}

fn stored_entries(dir: &Path, restored: &[Layer]) -> Result<BTreeMap<PathBuf, Source>, StoreError> {
    let mut entries = BTreeMap::new();
    for (layer, stored) in restored.iter().enumerate() {
        for entry in stored.entries()? {
            let entry = entry?;
            if entry.path.starts_with(dir) {
                entries.insert(entry.path.clone(), Source::Stored { layer, entry });
            }
        }
    }
    Ok(entries)
}

impl Content {
    fn apply_dir(&mut self, host: &Path, inside: &Path, metadata: Metadata) -> Result<(), ContentError> {
        check_depth(inside)?;
        let mode = metadata.permissions().mode() & 0o7777;
        let same = match self.entries.get(inside) {
            Some(Source::Stored { entry, .. }) if entry.kind == Kind::Directory => entry.attributes.mode == mode,
            Some(_) => {
                self.remove(inside, true);
                false
            }
            None => false,
        };
        if !same {
            self.touched += 1;
            self.entries.insert(inside.to_owned(), Source::Host { path: host.to_owned(), metadata });
        }
        let mut names = Vec::new();
        for entry in io("listing", host, host.read_dir())? {
            names.push(io("listing", host, entry)?.file_name());
        }
        for name in names {
            let (host, inside) = (host.join(&name), inside.join(&name));
            let metadata = io("looking at", &host, host.symlink_metadata())?;
            if is_whiteout(&metadata) {
                self.remove(&inside, true);
            } else if metadata.is_dir() {
                // What is not there cannot be hidden: a folder of a new layer is not asked.
                if self.entries.contains_key(&inside) && is_opaque(&host) {
                    self.remove(&inside, false);
                }
                self.apply_dir(&host, &inside, metadata)?;
            } else if !metadata.file_type().is_socket() {
                self.remove(&inside, true);
                self.touched += 1;
                self.entries.insert(inside, Source::Host { path: host, metadata });
            }
        }
        Ok(())
    }

    /// Removes what is below a path, and the path itself if asked.
    fn remove(&mut self, inside: &Path, itself: bool) {
        let below = self.entries.range(inside.to_owned()..).take_while(|(path, _)| path.starts_with(inside));
        let gone: Vec<PathBuf> = below.map(|(path, _)| path.clone()).filter(|path| itself || path != inside).collect();
        self.touched += gone.len();
        for path in gone {
            self.entries.remove(&path);
        }
    }
}

/// Everything that making a layer needs to know.
pub(crate) struct Maker<'a> {
    pub(crate) user: BuildUser,
    pub(crate) counters: &'a Counters,
    pub(crate) restored: &'a [Layer],
    /// Whether host files may be moved into the store.
    pub(crate) adopt: bool,
}

impl Maker<'_> {
    /// Adds one entry.
    pub(crate) fn add(&self, builder: &mut LayerBuilder, path: &Path, source: &Source) -> Result<(), ContentError> {
        let attributes = source.attributes(self.user);
        match source {
            Source::Stored { layer, entry } => {
                if let Some(stored) = self.restored.get(*layer) {
                    self.counters.read(source.size_bytes());
                    builder.link_entry(stored, entry)?;
                }
            }
            Source::Host { metadata, .. } if metadata.is_dir() => {
                builder.directory(path, attributes)?;
            }
            Source::Host { path: host, metadata } if metadata.is_symlink() => {
                builder.symlink(path, io("reading", host, fs_err::read_link(host))?, attributes)?;
            }
            Source::Host { path: host, metadata } if metadata.is_file() => {
                self.counters.read(metadata.len());
                if self.adopt {
                    builder.adopt_file(path, attributes, host)?;
                } else {
                    builder.copy_file(path, attributes, host)?;
                }
            }
            Source::Host { metadata, .. } if metadata.file_type().is_fifo() => {
                builder.device(path, attributes, Kind::Fifo)?;
            }
            Source::Host { .. } => {}
        }
        Ok(())
    }

    /// Makes a layer of these paths; directories on the way to them get the attributes that they have in `content`.
    pub(crate) fn make(
        &self,
        mut builder: LayerBuilder,
        content: &Content,
        paths: &BTreeSet<&PathBuf>,
    ) -> Result<Layer, ContentError> {
        let mut last = None;
        for path in paths {
            // Neighbours share their parents.
            if path.parent() == last {
                continue;
            }
            last = path.parent();
            for ancestor in path.ancestors().skip(1) {
                // It comes before what is in it, and brought its own parents.
                if paths.contains(&ancestor.to_owned()) {
                    break;
                }
                if let Some(source) = content.entries.get(ancestor) {
                    builder.parent(ancestor, source.attributes(self.user))?;
                }
            }
        }
        for path in paths {
            if let Some(source) = content.entries.get(*path) {
                self.add(&mut builder, path, source)?;
            }
        }
        let layer = builder.finish()?;
        self.counters.layer_hashed();
        Ok(layer)
    }
}
