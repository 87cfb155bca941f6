//! Recomputing everything an image says of itself, and naming the first file that differs.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::digest::DiffId;
use crate::entry::{Entry, Kind, relative};
use crate::error::{Doing, StoreError};
use crate::image::Image;
use crate::layer::{self, Layer, copy_content};
use crate::store::Store;

/// Something in the store is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The image's configuration has changed or cannot be read.
    #[error("image configuration: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// A layer is not there.
    #[error("layer {diff_id} is missing")]
    Missing {
        /// Which.
        diff_id: DiffId,
    },
    /// A layer's tree differs from its index.
    #[error("layer {diff_id}: `{}` {problem}", .path.display())]
    File {
        /// Which layer.
        diff_id: DiffId,
        /// The first file that differs.
        path: PathBuf,
        /// In what.
        problem: String,
    },
    /// A layer's digest differs although every file is as the index says.
    #[error("layer {diff_id}: {problem}")]
    Layer {
        /// Which.
        diff_id: DiffId,
        /// What is wrong.
        problem: String,
    },
}

impl Store {
    /// Recomputes the image's digests; an empty answer means that every byte is as it was.
    pub fn verify(&self, image: &Image) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(error) = self.image_by_id(&image.id()) {
            problems.push(Problem::Configuration { problem: error.to_string() });
        }
        let mut done: Vec<DiffId> = Vec::new();
        for diff_id in image.diff_ids() {
            if done.contains(diff_id) {
                continue;
            }
            done.push(*diff_id);
            problems.extend(self.verify_layer(*diff_id));
        }
        problems
    }

    /// Recomputes one layer. A damaged one is noted, so that the next build or load that wants it makes it again.
    pub fn verify_layer(&self, diff_id: DiffId) -> Option<Problem> {
        let layer = match Layer::open(self, diff_id) {
            Ok(Some(layer)) => layer,
            Ok(None) => return Some(Problem::Missing { diff_id }),
            Err(error) => {
                layer::mark_doubtful(&self.layer_dir(&diff_id));
                return Some(Problem::Layer { diff_id, problem: error.to_string() });
            }
        };
        let problem = problem_of(&layer);
        if problem.is_some() {
            layer::mark_doubtful(&layer.dir());
        }
        problem
    }
}

/// The first thing about a layer that is not as it was.
pub(crate) fn problem_of(layer: &Layer) -> Option<Problem> {
    let diff_id = layer.diff_id();
    let file = |path, problem| Some(Problem::File { diff_id, path, problem });
    let whole = |error: &StoreError| Some(Problem::Layer { diff_id, problem: chain(error) });
    match first_difference(layer) {
        Ok(None) => {}
        Ok(Some((path, problem))) => return file(path, problem),
        Err(error) => return whole(&error),
    }
    if let Err(error) = layer.write_tar(&mut io::sink()) {
        return whole(&error);
    }
    match foreign_file(layer) {
        Ok(None) => None,
        Ok(Some(path)) => file(path, "does not belong to the layer".to_owned()),
        Err(error) => whole(&error),
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn first_difference(layer: &Layer) -> Result<Option<(PathBuf, String)>, StoreError> {
    for entry in layer.entries()? {
        let entry = entry?;
        if let Some(problem) = difference(&entry, &layer.file_path(&entry)) {
            return Ok(Some((entry.path, problem)));
        }
    }
    Ok(None)
}

/// A file in the tree that the index does not have: it would be seen in the container.
fn foreign_file(layer: &Layer) -> Result<Option<PathBuf>, StoreError> {
    let mut known: HashSet<PathBuf> = HashSet::new();
    for entry in layer.entries()? {
        // parents that a loaded layer's tar does not have are there all the same
        for path in entry?.path.ancestors() {
            if !known.insert(relative(path).to_owned()) {
                break;
            }
        }
    }
    let tree = layer.tree_dir();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(tree.join(&below)).doing("listing a layer's files")? {
            let entry = entry.doing("listing a layer's files")?;
            let path = below.join(entry.file_name());
            if !known.contains(&path) {
                return Ok(Some(Path::new("/").join(path)));
            }
            if entry.file_type().doing("listing a layer's files")?.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(None)
}

fn difference(entry: &Entry, host: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = match fs::symlink_metadata(host) {
        Ok(metadata) => metadata,
        Err(_) if matches!(entry.kind, Kind::CharacterDevice { .. } | Kind::BlockDevice { .. }) => return None, // not to be had for an ordinary user
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("is missing".to_owned()),
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    if matches!(entry.kind, Kind::Directory | Kind::File { .. }) {
        let (seen, mode) = (metadata.mode() & 0o7777, entry.attributes.mode);
        // an ordinary user's tree stays readable for its owner
        if seen != mode && seen != mode | 0o400 && seen != mode | 0o700 {
            return Some(format!("has the mode {seen:o} and had {mode:o}"));
        }
    }
    match &entry.kind {
        Kind::Directory | Kind::Opaque if !metadata.is_dir() => Some("is no directory any more".to_owned()),
        Kind::Symlink { target } => match fs::read_link(host) {
            Ok(seen) if seen == *target => None,
            Ok(seen) => Some(format!("leads to `{}` and not to `{}`", seen.display(), target.display())),
            Err(_) => Some("is no symbolic link any more".to_owned()),
        },
        Kind::File { .. } | Kind::HardLink { .. } if !metadata.is_file() => {
            Some("is no regular file any more".to_owned())
        }
        Kind::File { size_bytes, crc32 } => {
            if metadata.len() != *size_bytes {
                return Some(format!("has {} bytes and had {size_bytes}", metadata.len()));
            }
            match copy_content(host, *size_bytes, &mut io::sink()) {
                Ok(seen) if seen == *crc32 => None,
                Ok(_) => Some("has another content".to_owned()),
                Err(error) => Some(format!("cannot be read: {error}")),
            }
        }
        _ => None,
    }
}
