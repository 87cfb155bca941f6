//! Making a layer: entries in any order go into a tree at once; `finish` writes the tar through the hash and publishes.
//!
//! The tree is private to the builder and the map of entries is its only author, so a path is known to lead through real folders without
//! asking the file system: nothing can lead out of it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::digest::{DiffId, Hasher};
use crate::durable;
use crate::entry::{Attributes, Entry, Kind, LAYER_MTIME, normalize, relative};
use crate::error::{Doing, LayerError, StoreError};
use crate::index;
use crate::layer::{Layer, Meta, copy_content};
use crate::place;
use crate::scratch::Scratch;
use crate::store::Store;
use crate::tar_write::{self, marker_path};

/// More entries than any real layer has; each costs some 270 bytes of memory until the layer is finished.
const MAX_ENTRIES: usize = 400_000;
/// The same for the bytes of all names: a tar of a few megabytes can have gigabytes of them.
const MAX_NAME_BYTES: usize = 128 << 20;

/// The order of entries in the tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Folder by folder, names sorted in each: what Go's `filepath.Walk` yields, for buildpack layers.
    #[default]
    Walk,
    /// By the bytes of the whole path (`a-b` before `a/b`): what the Go lifecycle does for app slices.
    Path,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) entry: Entry,
    /// A parent that nobody gave.
    pub(crate) implied: bool,
}

/// A layer in the making. Dropping it leaves nothing.
#[derive(Debug)]
pub struct LayerBuilder {
    store: Store,
    scratch: Scratch,
    tree: PathBuf,
    /// Key: the path in the tar with NUL for `/`, whose byte order is the order of a walk.
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Bytes of names in `nodes`.
    name_bytes: usize,
    parents: HashMap<PathBuf, Attributes>,
    order: Order,
    /// A loaded layer: later entries replace earlier ones.
    foreign: bool,
    /// Whether parents that nobody gave are written.
    parents_written: bool,
}

/// A layer that is whole but for its place in the store. Dropping it leaves nothing.
#[derive(Debug)]
pub struct SealedLayer {
    builder: LayerBuilder,
    diff_id: DiffId,
    meta: Meta,
}

impl SealedLayer {
    /// The digest of the uncompressed tar.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// Gives the layer its place. Where the store has that layer already, this one is dropped.
    pub fn publish(self) -> Result<Layer, LayerError> {
        self.builder.publish(self.diff_id, &self.meta)
    }
}

fn key(path: &Path, kind: &Kind) -> Vec<u8> {
    let mut bytes = marker_path(path, kind);
    for byte in &mut bytes {
        if *byte == b'/' {
            *byte = 0;
        }
    }
    bytes
}

pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_owned();
    move |source| LayerError::Io { path, action, source }
}

pub(crate) fn normal(path: &Path) -> Result<PathBuf, LayerError> {
    normalize(path.as_os_str().as_bytes()).map_err(|bad| LayerError::Path { path: path.to_owned(), reason: bad.0 })
}

impl LayerBuilder {
    pub(crate) fn begin(store: &Store) -> Result<Self, StoreError> {
        let scratch = store.scratch("layer")?;
        let tree = scratch.path().join("layer").join("tree");
        fs::create_dir_all(&tree).doing("beginning a layer")?;
        Ok(Self {
            store: store.clone(),
            scratch,
            tree,
            nodes: BTreeMap::new(),
            name_bytes: 0,
            parents: HashMap::new(),
            order: Order::Walk,
            foreign: false,
            parents_written: true,
        })
    }

    /// For layers that come from elsewhere.
    pub(crate) fn begin_foreign(store: &Store) -> Result<Self, StoreError> {
        let mut builder = Self::begin(store)?;
        builder.foreign = true;
        builder.parents_written = false;
        Ok(builder)
    }

    /// Sets the order of entries.
    pub fn order(&mut self, order: Order) -> &mut Self {
        self.order = order;
        self
    }

    /// Attributes of a folder that is written only if something in it is; without them such folders are root's, mode 0755.
    pub fn parent(&mut self, path: impl AsRef<Path>, attributes: Attributes) -> Result<&mut Self, LayerError> {
        let path = normal(path.as_ref())?;
        self.parents.insert(path, attributes);
        Ok(self)
    }

    /// Leaves folders out that nobody gave, though something is in them: layers of buildpacks, as pack makes them, begin with the folder of the
    /// buildpack.
    pub fn leave_out_parents(&mut self) -> &mut Self {
        self.parents_written = false;
        self
    }

    /// Adds a folder, or gives one that is there these attributes.
    pub fn directory(&mut self, path: impl AsRef<Path>, attributes: Attributes) -> Result<&mut Self, LayerError> {
        self.add(path.as_ref(), attributes, Kind::Directory, LAYER_MTIME)
    }

    /// Adds a symbolic link. Go writes links it read from a disk with mode 0777.
    pub fn symlink(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
        attributes: Attributes,
    ) -> Result<&mut Self, LayerError> {
        let target = target.as_ref().to_owned();
        self.add(path.as_ref(), attributes, Kind::Symlink { target }, LAYER_MTIME)
    }

    /// Adds another name of a file that was added before.
    pub fn hard_link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<&mut Self, LayerError> {
        let target = normal(target.as_ref())?;
        let attributes = match self.node(&target) {
            Some(Node { entry, .. }) if matches!(entry.kind, Kind::File { .. }) => entry.attributes,
            _ => {
                return Err(LayerError::NoTarget { path: path.as_ref().to_owned(), target });
            }
        };
        self.add(path.as_ref(), attributes, Kind::HardLink { target }, LAYER_MTIME)
    }

    /// Adds a device or a named pipe ([`Kind::CharacterDevice`], [`Kind::BlockDevice`], [`Kind::Fifo`]). In an ordinary user's tree it is missing; the index and
    /// the tar have it.
    pub fn device(
        &mut self,
        path: impl AsRef<Path>,
        attributes: Attributes,
        kind: Kind,
    ) -> Result<&mut Self, LayerError> {
        match kind {
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                self.add(path.as_ref(), attributes, kind, LAYER_MTIME)
            }
            _ => Err(LayerError::Path {
                path: path.as_ref().to_owned(),
                reason: "it is neither a device nor a named pipe",
            }),
        }
    }

    /// Removes a path of lower layers.
    pub fn whiteout(&mut self, path: impl AsRef<Path>) -> Result<&mut Self, LayerError> {
        self.add(path.as_ref(), Attributes::root(0), Kind::Whiteout, LAYER_MTIME)
    }

    /// Hides what lower layers have in a folder of this layer.
    pub fn opaque(&mut self, path: impl AsRef<Path>) -> Result<&mut Self, LayerError> {
        self.add(path.as_ref(), Attributes::root(0), Kind::Opaque, LAYER_MTIME)
    }

    /// Adds a file of `size` bytes read from `content`.
    pub fn file(
        &mut self,
        path: impl AsRef<Path>,
        attributes: Attributes,
        content: &mut dyn Read,
        size: u64,
    ) -> Result<&mut Self, LayerError> {
        self.file_with_mtime(path.as_ref(), attributes, content, size, LAYER_MTIME)
    }

    pub(crate) fn file_with_mtime(
        &mut self,
        path: &Path,
        attributes: Attributes,
        content: &mut dyn Read,
        size: u64,
        mtime_secs: i64,
    ) -> Result<&mut Self, LayerError> {
        let kind = Kind::File { size_bytes: size, crc32: 0 };
        let (path, host) = self.make_room(path, &kind)?;
        let written = write_new(&host, content, size).map_err(io(&path, "writing its content"))?;
        if written != size {
            return Err(LayerError::Size { path, expected_bytes: size, seen_bytes: written });
        }
        place::dress(&host, attributes, &kind, mtime_secs).map_err(io(&path, "setting its attributes"))?;
        self.insert(path, attributes, kind, mtime_secs);
        Ok(self)
    }

    /// How many entries there are so far, without implied parents.
    pub fn len(&self) -> usize {
        self.nodes.values().filter(|node| !node.implied).count()
    }

    /// With them.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Writes the tar through the hash and publishes the tree under its diffID. Where the store has that layer already, this one is dropped.
    pub fn finish(self) -> Result<Layer, LayerError> {
        self.seal()?.publish()
    }

    /// As [`finish`](Self::finish), but the layer does not get its place in the store yet.
    pub fn seal(self) -> Result<SealedLayer, LayerError> {
        let (diff_id, meta, builder) = self.hash()?;
        Ok(SealedLayer { builder, diff_id, meta })
    }

    /// The tar's digest and the index.
    pub(crate) fn hash(mut self) -> Result<(DiffId, Meta, Self), LayerError> {
        let mut nodes: Vec<Node> = std::mem::take(&mut self.nodes).into_values().collect();
        for node in nodes.iter_mut().filter(|node| node.implied) {
            if let Some(attributes) = self.parents.get(&node.entry.path) {
                node.entry.attributes = *attributes;
            }
        }
        self.dress_directories(&nodes)?;
        if !self.parents_written {
            nodes.retain(|node| !node.implied);
        }
        if self.order == Order::Path {
            nodes.sort_by_cached_key(|node| tar_write::tar_path(&node.entry));
        }
        let mut hasher = Hasher::default();
        let mut content_bytes = 0;
        for Node { entry, .. } in &mut nodes {
            content_bytes += self.hash_entry(entry, &mut hasher)?;
        }
        tar_write::write_end(&mut hasher).doing("hashing a layer")?;
        let (digest, size_bytes) = hasher.finish();
        let layer_dir = self.scratch.path().join("layer");
        index::write(&layer_dir.join("index"), &mut nodes.iter().map(|node| &node.entry))
            .doing("writing the index of a layer")?;
        let meta = Meta { size_bytes, entries: nodes.len() as u64, content_bytes, original: None };
        Ok((DiffId(digest), meta, self))
    }

    /// Writes the last documents and renames the layer into its place.
    pub(crate) fn publish(self, diff_id: DiffId, meta: &Meta) -> Result<Layer, LayerError> {
        let layer_dir = self.scratch.path().join("layer");
        let json = serde_json::to_vec(meta).map_err(|error| StoreError::corrupt("meta.json", error))?;
        fs::write(layer_dir.join("meta.json"), json).doing("writing the documents of a layer")?;
        fs::write(layer_dir.join("unsynced"), durable::boot_id()).doing("writing the documents of a layer")?;
        let locked = self.store.shared()?;
        self.store.publish_layer(&layer_dir, &diff_id)?;
        drop(locked);
        let layer = Layer::open(&self.store, diff_id)?.map(Layer::settle).transpose()?.flatten();
        Ok(layer.ok_or_else(|| StoreError::MissingLayer { what: "a layer just made".to_owned(), diff_id })?)
    }

    fn hash_entry(&self, entry: &mut Entry, hasher: &mut Hasher) -> Result<u64, LayerError> {
        let header = tar_write::header(entry).map_err(io(&entry.path, "writing its header"))?;
        hasher.update(&header);
        if let Kind::File { size_bytes, crc32 } = &mut entry.kind {
            let file = self.tree.join(relative(&entry.path));
            *crc32 = copy_content(&file, *size_bytes, hasher).map_err(io(&entry.path, "reading it back"))?;
            return Ok(*size_bytes);
        }
        Ok(0)
    }

    /// Folders get their attributes last, the deepest first: filling them changes their times, and they may forbid writing.
    fn dress_directories(&self, nodes: &[Node]) -> Result<(), LayerError> {
        if nodes.first().is_none_or(|first| first.entry.path != Path::new("/")) {
            let root = Attributes::root(0o755);
            place::dress(&self.tree, root, &Kind::Directory, LAYER_MTIME)
                .map_err(io(Path::new("/"), "setting its attributes"))?;
        }
        for Node { entry, .. } in nodes.iter().rev().filter(|node| node.entry.kind == Kind::Directory) {
            let host = self.tree.join(relative(&entry.path));
            place::dress(&host, entry.attributes, &entry.kind, entry.mtime_secs)
                .map_err(io(&entry.path, "setting its attributes"))?;
        }
        Ok(())
    }

    /// Everything but regular files.
    pub(crate) fn add(
        &mut self,
        path: &Path,
        attributes: Attributes,
        kind: Kind,
        mtime_secs: i64,
    ) -> Result<&mut Self, LayerError> {
        let (path, host) = self.make_room(path, &kind)?;
        if let (Kind::Directory, Some(node)) = (&kind, self.nodes.get_mut(&key(&path, &kind))) {
            node.implied = false;
            node.entry.attributes = attributes;
            node.entry.mtime_secs = mtime_secs;
            return Ok(self);
        }
        place::put(&self.tree, &host, attributes, &kind, mtime_secs).map_err(io(&path, "putting it into the tree"))?;
        self.insert(path, attributes, kind, mtime_secs);
        Ok(self)
    }

    pub(crate) fn insert(&mut self, path: PathBuf, attributes: Attributes, kind: Kind, mtime_secs: i64) {
        let key = key(&path, &kind);
        self.name_bytes += key.len() + path.as_os_str().len();
        if let Kind::Symlink { target } | Kind::HardLink { target } = &kind {
            self.name_bytes += target.as_os_str().len();
        }
        let entry = Entry { path, attributes, kind, mtime_secs };
        self.nodes.insert(key, Node { entry, implied: false });
    }

    pub(crate) fn is_whiteout(&self, path: &Path) -> bool {
        self.nodes.contains_key(&key(path, &Kind::Whiteout))
    }

    /// Marks a folder opaque, unless it is already.
    pub(crate) fn opaque_once(&mut self, path: &Path) -> Result<(), LayerError> {
        if !self.nodes.contains_key(&key(path, &Kind::Opaque)) {
            self.opaque(path)?;
        }
        Ok(())
    }

    pub(crate) fn node(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(&key(path, &Kind::Directory))
    }

    /// Checks a new path, makes the folders it needs, and says where it goes in the tree.
    pub(crate) fn make_room(&mut self, path: &Path, kind: &Kind) -> Result<(PathBuf, PathBuf), LayerError> {
        let path = normal(path)?;
        let refuse = |reason| {
            let path = path.clone();
            Err(LayerError::Path { path, reason })
        };
        if self.nodes.len() >= MAX_ENTRIES {
            return Err(LayerError::TooMany { path, limit: MAX_ENTRIES });
        }
        if self.name_bytes >= MAX_NAME_BYTES {
            return Err(LayerError::Names { path, limit_bytes: MAX_NAME_BYTES });
        }
        match path.file_name() {
            None if !matches!(kind, Kind::Directory | Kind::Opaque) => return refuse("the root is a directory"),
            Some(name) if name.as_bytes().starts_with(b".wh.") => {
                return refuse("names that begin with `.wh.` mean removal in an image");
            }
            _ => {}
        }
        if *kind == Kind::Opaque {
            self.ensure_directory(&path, &path.clone())?;
            return Ok((path.clone(), self.tree.join(relative(&path))));
        }
        if let Some(parent) = path.parent() {
            self.ensure_directory(parent, &path)?;
        }
        self.resolve_clash(&path, kind)?;
        let host = self.tree.join(relative(&path));
        Ok((path, host))
    }

    fn resolve_clash(&mut self, path: &Path, kind: &Kind) -> Result<(), LayerError> {
        let whiteout = self.nodes.contains_key(&key(path, &Kind::Whiteout));
        let there = self.node(path).map(|node| node.entry.kind == Kind::Directory);
        let directory_again = matches!((kind, there), (Kind::Directory, Some(true)));
        if directory_again || (there.is_none() && !whiteout) {
            return Ok(());
        }
        if !self.foreign {
            return Err(LayerError::Twice { path: path.to_owned() });
        }
        self.remove(path)
    }

    /// Takes a path and all below it out again.
    fn remove(&mut self, path: &Path) -> Result<(), LayerError> {
        self.nodes.remove(&key(path, &Kind::Whiteout));
        let below = key(path, &Kind::Directory);
        let end = [below.as_slice(), &[1]].concat();
        let gone: Vec<Vec<u8>> = self.nodes.range(below..end).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.nodes.remove(&key);
        }
        let host = self.tree.join(relative(path));
        place::remove(&host).map_err(io(path, "replacing it"))
    }

    /// Makes sure that `dir` is a folder of the layer.
    fn ensure_directory(&mut self, dir: &Path, wanted_by: &Path) -> Result<(), LayerError> {
        match self.node(dir) {
            Some(node) if node.entry.kind == Kind::Directory => return Ok(()),
            Some(_) => {
                return Err(LayerError::NotADirectory { path: wanted_by.to_owned(), through: dir.to_owned() });
            }
            None => {}
        }
        let Some(parent) = dir.parent() else { return Ok(()) }; // the tree's root is there
        self.ensure_directory(parent, wanted_by)?;
        let hidden = self.is_whiteout(dir);
        if hidden && !self.foreign {
            return Err(LayerError::NotADirectory { path: wanted_by.to_owned(), through: dir.to_owned() });
        } else if hidden {
            self.remove(dir)?;
        }
        let host = self.tree.join(relative(dir));
        let attributes = Attributes::root(0o755);
        place::put(&self.tree, &host, attributes, &Kind::Directory, LAYER_MTIME)
            .map_err(io(dir, "making a directory"))?;
        self.insert(dir.to_owned(), attributes, Kind::Directory, LAYER_MTIME);
        if let Some(node) = self.nodes.get_mut(&key(dir, &Kind::Directory)) {
            node.implied = true;
        }
        if hidden {
            self.opaque(dir)?;
        }
        Ok(())
    }
}

/// Writes at most `size` bytes and looks whether there are more; returns how many there were.
pub(crate) fn write_new(host: &Path, content: &mut dyn Read, size: u64) -> io::Result<u64> {
    let mut file = fs::File::create_new(host)?;
    let written = io::copy(&mut content.take(size), &mut file)?;
    file.flush()?;
    let mut more = [0];
    let extra = if written == size { content.read(&mut more)? } else { 0 };
    Ok(written + extra as u64)
}
