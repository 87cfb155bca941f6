//! The staged tree while it is written: every name and every number is checked here, whether it comes from a folder or an archive, and every
//! file is known by its digest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use ring::digest::{Context, SHA256};

use super::StageError;
use super::app::Target;
use super::content::{ContentDigest, Origin, PourError, Pourer, digest_of};
use crate::limits::Limits;

/// What follows more links than this the kernel gives up on (path_resolution(7)).
const MAX_HOPS: usize = 40;

/// What stands at a path of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File { executable: bool, size: u64, digest: ContentDigest },
    Link(PathBuf),
}

/// Writes into the app directory.
pub(super) struct Tree<'a> {
    pub(super) target: Target<'a>,
    pub(super) limits: &'a Limits,
    entries: usize,
    pub(super) total_bytes: u64,
    /// When the newest file was written, in seconds since 1970; 0 while that is not known.
    pub(super) newest: i64,
    nodes: BTreeMap<PathBuf, Node>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(target: Target<'a>, limits: &'a Limits) -> Self {
        Self { target, limits, entries: 0, total_bytes: 0, newest: 0, nodes: BTreeMap::new() }
    }

    /// Counts an entry that will be there.
    pub(super) fn count(&mut self, path: &Path) -> Result<(), StageError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(StageError::TooMany { limit: self.limits.entries });
        }
        if path.components().count() > self.limits.depth {
            return Err(StageError::TooDeep { path: path.to_owned(), limit: self.limits.depth });
        }
        Ok(())
    }

    /// Makes a folder and those above it.
    pub(super) fn dir(&mut self, path: &Path) -> Result<(), StageError> {
        if path.as_os_str().is_empty() || self.nodes.contains_key(path) {
            return Ok(());
        }
        self.count(path)?;
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        self.target.dir(path).map_err(|source| StageError::write(path, source))?;
        self.nodes.insert(path.to_owned(), Node::Dir);
        Ok(())
    }

    /// Writes a file of at most `size` bytes (what the source declares) from `from`.
    pub(super) fn file(
        &mut self,
        path: &Path,
        size: u64,
        executable: bool,
        from: &mut dyn Read,
        pourer: &mut Pourer,
    ) -> Result<(), StageError> {
        self.count(path)?;
        check_size(self.limits, path, size, self.total_bytes)?;
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        let mut to = self.target.file(path, executable).map_err(|source| StageError::write(path, source))?;
        let copied = pourer.pour(from, &mut to, size, Origin::Stream);
        let (size, digest) = copied.map_err(|error| pour_error(error, path, path, size))?;
        self.total_bytes += size;
        self.nodes.insert(path.to_owned(), Node::File { executable, size, digest });
        Ok(())
    }

    /// Notes what was written and counted elsewhere.
    pub(super) fn insert(&mut self, path: PathBuf, node: Node) {
        self.nodes.insert(path, node);
    }

    /// Notes a symbolic link. Links are made last, so that nothing is ever written through one.
    pub(super) fn link(&mut self, path: &Path, to: PathBuf) -> Result<(), StageError> {
        self.count(path)?;
        if let Some(parent) = path.parent() {
            self.dir(parent)?;
        }
        self.nodes.insert(path.to_owned(), Node::Link(to));
        Ok(())
    }

    /// Makes the links, when none of them leads out.
    pub(super) fn finish(&self) -> Result<(), StageError> {
        let links = || {
            self.nodes.iter().filter_map(|(path, node)| if let Node::Link(to) = node { Some((path, to)) } else { None })
        };
        for (path, to) in links() {
            if self.leads_out(path, to) {
                return Err(StageError::LinkOut { path: path.clone(), target: to.clone() });
            }
        }
        for (path, to) in links() {
            self.target.link(path, to).map_err(|source| StageError::write(path, source))?;
        }
        Ok(())
    }

    /// Whether a link leads out of the tree, followed as the kernel follows it: through the other links, since `..` behind a link is not what
    /// its text says, and whether or not anything stands where it leads.
    fn leads_out(&self, path: &Path, to: &Path) -> bool {
        let mut here: Vec<OsString> = path.parent().into_iter().flatten().map(OsString::from).collect();
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        if !queue(&mut ahead, to) {
            return true;
        }
        let mut hops = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                if here.pop().is_none() {
                    return true;
                }
                continue;
            }
            here.push(part);
            if let Some(Node::Link(next)) = self.nodes.get(&here.iter().collect::<PathBuf>()) {
                here.pop();
                hops += 1;
                if !queue(&mut ahead, next) {
                    return true;
                }
                if hops > MAX_HOPS {
                    return false; // the kernel refuses to follow it anywhere
                }
            }
        }
        false
    }

    /// Whether any file is there.
    pub(super) fn has_files(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, Node::File { .. }))
    }

    /// How many files there are, and their bytes.
    pub(super) fn measure(&self) -> (usize, u64) {
        self.nodes.values().fold((0, 0), |(files, bytes), node| match node {
            Node::File { size, .. } => (files + 1, bytes + size),
            _ => (files, bytes),
        })
    }

    /// Looks again at what was changed after staging.
    pub(super) fn refresh(&mut self, changed: BTreeSet<PathBuf>) -> Result<(), StageError> {
        for path in changed {
            let full = self.target.root.join(&path);
            match fs::read(&full) {
                Ok(bytes) => {
                    let node = Node::File { executable: false, size: bytes.len() as u64, digest: digest_of(&bytes) };
                    self.nodes.insert(path, node);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => _ = self.nodes.remove(&path),
                Err(source) => return Err(StageError::read(&full, source)),
            }
        }
        Ok(())
    }

    /// A digest of paths, kinds, modes and contents: equal for equal apps, whether they came as a folder or as an archive.
    pub(super) fn fingerprint(&self) -> String {
        let mut digest = Context::new(&SHA256);
        for (path, node) in &self.nodes {
            digest.update(path.as_os_str().as_bytes());
            digest.update(b"\0");
            match node {
                Node::Dir => digest.update(b"d"),
                Node::File { executable, size, digest: content } => {
                    digest.update(if *executable { b"x" } else { b"f" });
                    digest.update(&size.to_le_bytes());
                    digest.update(content);
                }
                Node::Link(to) => {
                    digest.update(b"l");
                    digest.update(to.as_os_str().as_bytes());
                    digest.update(b"\0");
                }
            }
        }
        digest.finish().as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// Puts the parts of a link's text before what is still ahead; false for an absolute one.
fn queue(ahead: &mut VecDeque<OsString>, to: &Path) -> bool {
    for part in to.components().rev() {
        match part {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Whether a file still fits.
pub(super) fn check_size(limits: &Limits, path: &Path, size: u64, before: u64) -> Result<(), StageError> {
    if size > limits.file_bytes {
        return Err(StageError::TooLarge { what: path.display().to_string(), limit_bytes: limits.file_bytes });
    }
    if before.saturating_add(size) > limits.total_bytes {
        return Err(StageError::TooLarge { what: "the source".to_owned(), limit_bytes: limits.total_bytes });
    }
    Ok(())
}

/// `from` is what was read, `path` what was written.
pub(super) fn pour_error(error: PourError, from: &Path, path: &Path, size: u64) -> StageError {
    match error {
        PourError::Read(source) => StageError::read(from, source),
        PourError::Write(source) => StageError::write(path, source),
        PourError::Lies => StageError::Lies { path: path.to_owned(), size },
    }
}
