//! The files of one layer, by path, and how they become a layer.
//!
//! Packages come in the order of their names, and what comes later replaces what came earlier, so the same packages give the same
//! layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hoist_debian::Elf;
use hoist_image::{Attributes, LayerBuilder, LayerError, SealedLayer, Store};

use crate::error::BaseError;
use crate::stage::{Content, Node};

/// The files of a layer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// Libraries that the loader finds, by path.
    pub(crate) libraries: BTreeMap<String, Elf>,
}

impl Tree {
    /// Puts a node of a package in its place.
    pub(crate) fn put(&mut self, path: String, node: Node) {
        match (self.nodes.get(&path).map(|old| &old.content), &node.content) {
            // A directory neither replaces a link to one nor loses its first owner's mode.
            (Some(Content::Directory | Content::Symlink(_)), Content::Directory) => {}
            _ => {
                self.nodes.insert(path, node);
            }
        }
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    pub(crate) fn content(&self, path: &str) -> Option<&Content> {
        self.nodes.get(path).map(|node| &node.content)
    }

    /// Names of the links and files of the folders that the loader searches, with the links' targets.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), &node.content))
    }

    /// A file's content, of at most a mebibyte.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        match &self.nodes.get(path)?.content {
            Content::Text(text) => Some(text.clone()),
            Content::File { host } if fs_err::metadata(host).ok()?.len() <= 1 << 20 => fs_err::read(host).ok(),
            _ => None,
        }
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32, uid: u32, gid: u32) {
        self.nodes.insert(path.to_owned(), Node { content: Content::Directory, mode, uid, gid });
    }

    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.nodes
            .insert(path.to_owned(), Node { content: Content::Text(content.into()), mode: 0o644, uid: 0, gid: 0 });
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        let content = Content::Symlink(target.to_owned());
        self.nodes.insert(path.to_owned(), Node { content, mode: 0o777, uid: 0, gid: 0 });
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
    }

    /// Makes a layer, which has no place in the store yet. The staged contents are moved into it.
    pub(crate) fn seal(self, store: &Store) -> Result<SealedLayer, BaseError> {
        let mut builder = store.layer_builder().map_err(|source| BaseError::Store { source })?;
        let fail = |source| BaseError::Layer { source };
        let mut hard_links = Vec::new();
        for (path, node) in self.nodes {
            if let Content::HardLink(target) = &node.content {
                hard_links.push((path, target.clone()));
            } else {
                put_node(&mut builder, &path, node).map_err(fail)?;
            }
        }
        for (path, target) in hard_links {
            builder.hard_link(absolute(&path), absolute(&target)).map_err(fail)?;
        }
        builder.seal().map_err(fail)
    }
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn put_node(builder: &mut LayerBuilder, path: &str, node: Node) -> Result<(), LayerError> {
    let path = absolute(path);
    let attributes = Attributes::new(node.uid, node.gid, node.mode);
    match node.content {
        Content::Directory => builder.directory(path, attributes)?,
        Content::Symlink(target) => builder.symlink(path, target, Attributes::new(node.uid, node.gid, 0o777))?,
        Content::File { host } => builder.adopt_file(path, attributes, &host)?,
        Content::Text(text) => builder.file(path, attributes, &mut text.as_slice(), text.len() as u64)?,
        Content::HardLink(_) => return Ok(()),
    };
    Ok(())
}
