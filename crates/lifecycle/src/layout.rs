//! Images in a layout directory: platform.md, "Map an image reference to a path in the layout directory". Each image is a folder with an OCI
//! layout of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Compression, Digest, Image, LoadError, LoadLimits, Reference, SaveError, Store};
use serde::Deserialize;

use crate::place::Seen;
use crate::tree::{TreeError, read_regular};

/// Larger than any real index.
const MAX_INDEX_BYTES: u64 = 1 << 20;
/// Larger than any real manifest or configuration.
const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// The directory that images are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutDir {
    dir: PathBuf,
}

/// An image in a layout directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Its index cannot be read.
    #[error("reading the image in {path}")]
    Index {
        /// The image's folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TreeError,
    },
    /// Its index is none.
    #[error("reading the image in {path}: {problem}")]
    Document {
        /// The image's folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be loaded.
    #[error("loading the image in {path}")]
    Load {
        /// The image's folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<LoadError>,
    },
    /// It cannot be written.
    #[error("writing the image to {path}")]
    Save {
        /// The image's folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: SaveError,
    },
    /// The file system refused.
    #[error("{action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl LayoutError {
    /// Whether the machine or the store failed, and not the image.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Load { source, .. } if source.is_of_the_machine())
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Load { source, .. } => Some(source.hint()),
            Self::Save { source, .. } => Some(source.hint()),
            Self::Index { .. } | Self::Document { .. } => {
                Some("put the image there with a tool that writes OCI layouts, one image in each folder".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
}

#[derive(Deserialize)]
struct ImageManifest {
    config: Manifest,
}

/// What a configuration says of its image.
#[derive(Deserialize)]
struct Configuration {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    config: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

impl LayoutDir {
    /// The images below this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder of an image: `<registry>/<repo>/<image>/<tag>`, or `…/<algorithm>/<digest>`.
    pub fn path(&self, name: &Reference) -> PathBuf {
        // A name without a registry is one of Docker's, as in the Go lifecycle.
        let path = match name.registry() {
            Some(registry) => self.dir.join(registry).join(name.repository()),
            None if name.repository().contains('/') => self.dir.join("index.docker.io").join(name.repository()),
            None => self.dir.join("index.docker.io/library").join(name.repository()),
        };
        match name.digest() {
            Some(digest) => path.join("sha256").join(digest.hex()),
            None => path.join(name.tag().unwrap_or("latest")),
        }
    }
}

/// Whether an OCI layout is there.
pub(crate) fn is_layout(dir: &Path) -> bool {
    dir.join("index.json").is_file() && dir.join("oci-layout").is_file()
}

/// Looks at the image in a folder without reading its layers; none where there is none.
pub(crate) fn look(path: &Path) -> Result<Option<Seen>, LayoutError> {
    if !is_layout(path) {
        return Ok(None);
    }
    let manifest = manifest(path)?;
    let reference = format!("{}@{}", path.display(), manifest.digest);
    let manifest: ImageManifest = read_blob(path, &manifest.digest)?;
    let Configuration { os, architecture, variant, config } = read_blob(path, &manifest.config.digest)?;
    let labels = config.and_then(|config| config.labels).unwrap_or_default();
    Ok(Some(Seen { reference, labels, os, architecture, variant }))
}

/// A JSON document of the layout, which has the digest that it is called by.
fn read_blob<T: for<'de> Deserialize<'de>>(path: &Path, digest: &str) -> Result<T, LayoutError> {
    let wrong = |problem: String| LayoutError::Document { path: path.to_owned(), problem };
    let wanted: Digest = digest.parse().map_err(|_| wrong(format!("`{digest}` is no digest")))?;
    let blob = path.join("blobs/sha256").join(wanted.hex());
    let bytes = read_regular(&blob, &blob, MAX_DOCUMENT_BYTES)
        .map_err(|source| LayoutError::Index { path: path.to_owned(), source })?;
    if Digest::of(&bytes) != wanted {
        return Err(wrong(format!("the content of {} has another digest", blob.display())));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{}: {error}", blob.display())))
}

/// The one manifest of the index.
fn manifest(path: &Path) -> Result<Manifest, LayoutError> {
    let index = path.join("index.json");
    let bytes = read_regular(&index, &index, MAX_INDEX_BYTES)
        .map_err(|source| LayoutError::Index { path: path.to_owned(), source })?;
    let wrong = |problem: String| LayoutError::Document { path: path.to_owned(), problem };
    let mut index: Index = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match (index.manifests.len(), index.manifests.pop()) {
        (1, Some(manifest)) => Ok(manifest),
        (count, _) => Err(wrong(format!("it has {count} images instead of one"))),
    }
}

/// The folder that an identifier names.
pub(crate) fn path_of(identifier: &str) -> PathBuf {
    PathBuf::from(identifier.rsplit_once("@sha256:").map_or(identifier, |(path, _)| path))
}

/// Brings the image in a folder into a store; none where there is none.
pub(crate) fn open(store: &Store, path: &Path) -> Result<Option<Image>, LayoutError> {
    if !is_layout(path) {
        return Ok(None);
    }
    let loaded = store
        .load_unnamed(path, LoadLimits::default())
        .map_err(|source| LayoutError::Load { path: path.to_owned(), source: Box::new(source) })?;
    Ok(loaded.into_iter().next())
}

/// Removes the image in a folder, and the folder if nothing else is in it.
pub(crate) fn remove(path: &Path) -> Result<(), LayoutError> {
    if !is_layout(path) {
        return Ok(());
    }
    let io = |source| LayoutError::Io { action: "removing the image in", path: path.to_owned(), source };
    for file in ["index.json", "oci-layout"] {
        fs::remove_file(path.join(file)).map_err(io)?;
    }
    match fs::remove_dir_all(path.join("blobs")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let _ = fs::remove_dir(path); // it may hold something of somebody's
    Ok(())
}

/// Writes an image to a folder; an image that is there is replaced when the new one is whole.
pub(crate) fn write(
    image: &Image,
    path: &Path,
    names: &[Reference],
    compression: Compression,
) -> Result<(), LayoutError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let io = |source| LayoutError::Io { action: "making", path: parent.to_owned(), source };
    fs::create_dir_all(parent).map_err(io)?;
    let written = image.replace_dir(path, names, compression);
    written.map(|_| ()).map_err(|source| LayoutError::Save { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_path_in_the_layout_directory() {
        let images = LayoutDir::new("/layout");
        let hex = "d2c160f9e03b492be8b533f189c07fb6aafcc393ae96099df55e680bf57b67fe";
        for (name, path) in [
            ("app", "index.docker.io/library/app/latest".to_owned()),
            ("acme/app:1", "index.docker.io/acme/app/1".to_owned()),
            ("host.test:5000/a/b/c:2", "host.test:5000/a/b/c/2".to_owned()),
            (&format!("host.test/a@sha256:{hex}"), format!("host.test/a/sha256/{hex}")),
        ] {
            assert_eq!(images.path(&name.parse().unwrap()), Path::new("/layout").join(path), "{name}");
        }
        let path = path_of(&format!("/layout/app/latest@sha256:{hex}"));
        assert_eq!(path, Path::new("/layout/app/latest"));
    }
}
