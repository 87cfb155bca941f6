//! Writing a stored layer to the file system that this process is in, as the restorer of the Go lifecycle does it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Kind, Layer, StoreError};

use crate::tree::{TreeError, UpperWriter, io};

/// A layer cannot be written to the file system.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Its index cannot be read.
    #[error("reading the layer")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("writing the files of the layer")]
    Tree(#[from] TreeError),
}

/// Writes what the layer has at and below `dir`, in place of what is there. Everything below `dir` is new, and the store's index leads through
/// real directories alone, so that no link of a layer leads elsewhere.
pub(crate) fn extract(layer: &Layer, dir: &Path, writer: &UpperWriter) -> Result<(), ExtractError> {
    let root = writer.clear(dir)?;
    let host = |path: &Path| path.strip_prefix(dir).map_or_else(|_| root.clone(), |below| root.join(below));
    let mut modes: Vec<(PathBuf, u32)> = Vec::new();
    for entry in layer.entries()? {
        let entry = entry?;
        if !entry.path.starts_with(dir) {
            continue;
        }
        let path = if entry.path == dir { root.clone() } else { host(&entry.path) };
        match &entry.kind {
            Kind::Directory => {
                io("making", &path, fs::create_dir_all(&path))?;
                modes.push((path, entry.attributes.mode));
            }
            Kind::File { .. } => {
                if let Some(parent) = path.parent() {
                    io("making", parent, fs::create_dir_all(parent))?;
                }
                io("writing", &path, fs::copy(layer.file_path(&entry), &path))?;
                set_mode(&path, entry.attributes.mode)?;
            }
            Kind::Symlink { target } => io("writing", &path, std::os::unix::fs::symlink(target, &path))?,
            Kind::HardLink { target } => io("writing", &path, fs::hard_link(host(target), &path))?,
            // Such a layer is not restored.
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Whiteout | Kind::Opaque => {}
        }
    }
    // The deepest last: a directory that may not be written to is closed when everything is in it.
    for (path, mode) in modes.iter().rev() {
        set_mode(path, *mode)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), TreeError> {
    io("setting the mode of", path, fs::set_permissions(path, PermissionsExt::from_mode(mode & 0o7777)))
}
