//! The SBOM documents that an app image carries: buildpack.md, "Software-Bill-of-Materials". They are files of one layer, which the label
//! `io.buildpacks.lifecycle.metadata` names; no other layer is read.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{DiffId, Image, Kind, Layer, Platform, Reference, RegistryError, Store, StoreError};
use hoist_spec::{DocumentError, LIFECYCLE_METADATA_LABEL, LifecycleMetadata};
use serde::Serialize;
use serde_json::Value;

use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::place::PlaceError;

/// The longest document that is handed out: as long as those that a build takes.
const MAX_DOCUMENT_BYTES: u64 = 256 << 20;
/// The most documents of one image.
const MAX_DOCUMENTS: usize = 10_000;

/// Why there are no documents.
#[derive(Debug, thiserror::Error)]
pub enum SbomsError {
    /// The image has none.
    #[error("looking for the SBOM of {image}: {problem}")]
    None {
        /// The image, as it was asked for.
        image: String,
        /// What its labels lack.
        problem: String,
    },
    /// The label cannot be read.
    #[error("looking for the SBOM of {image}")]
    Label {
        /// The image, as it was asked for.
        image: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A document is too long, or there are too many.
    #[error("reading the SBOM of {image}: {problem}")]
    TooMuch {
        /// The image, as it was asked for.
        image: String,
        /// What is too much.
        problem: String,
    },
    /// A document cannot be read from the store or written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A document cannot be read.
    #[error("reading {} of {image}", path.display())]
    Read {
        /// The image, as it was asked for.
        image: String,
        /// The document.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store.
    #[error("reading the SBOM of {image}")]
    Store {
        /// The image, as it was asked for.
        image: String,
        /// What is wrong with it.
        source: StoreError,
    },
}

impl SbomsError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::None { .. } => {
                "build it with buildpacks that write one, as hoist's own do: hoist build IMAGE".to_owned()
            }
            Self::Label { .. } | Self::TooMuch { .. } => {
                "the image is odd: build it again, or ask who built it".to_owned()
            }
            Self::Write { .. } => "name a folder that you may write to: --output-dir DIR".to_owned(),
            Self::Read { image, .. } => format!("see what is wrong with it: hoist image verify {image}"),
            Self::Store { source, .. } => source.hint(),
        }
    }

    /// Whether the store is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Read { .. })
    }
}

/// One document of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SbomDocument {
    /// Its path in the image: `/layers/sbom/launch/hoist_pip/env/sbom.cdx.json`.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// `cyclonedx`, `spdx`, `syft`, or none of these.
    pub format: Option<&'static str>,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    #[serde(skip)]
    stored: PathBuf,
}

impl LocalEngine {
    /// The documents that an image has.
    pub fn sboms(&self, wanted: &str) -> Result<Vec<SbomDocument>, PlatformError> {
        let image = self.store().image(wanted)?;
        Ok(documents(self.store(), &image, wanted)?)
    }

    /// The documents that an image of a registry has: the one layer with them is fetched, and no other.
    pub fn remote_sboms(&self, name: &Reference, platform: &Platform) -> Result<Vec<SbomDocument>, PlatformError> {
        let wanted = name.to_string();
        let of_registry = |error: RegistryError| PlatformError::from(PlaceError::from(error));
        let image = self.registries().look(self.store(), name, platform).map_err(of_registry)?.image;
        let layer = BTreeSet::from([sbom_layer(&image, &wanted)?]);
        let fetched = self.registries().fetch_layers(self.store(), name, platform, &layer, self.reporter());
        fetched.map_err(of_registry)?;
        Ok(documents(self.store(), &image, &wanted)?)
    }

    /// Writes documents of an image below a folder, at the paths that they have in the image, as pack does.
    pub fn write_sboms(documents: &mut [SbomDocument], dir: &Path) -> Result<(), PlatformError> {
        for document in documents {
            let file = dir.join(document.path.strip_prefix("/").unwrap_or(&document.path));
            write(document, &file).map_err(|source| SbomsError::Write { path: file.clone(), source })?;
            document.file = Some(file);
        }
        Ok(())
    }
}

impl SbomDocument {
    /// The document itself. What is no JSON is nothing: it is whoever wrote it that answers for it.
    pub(crate) fn read(&self, image: &str) -> Result<Value, SbomsError> {
        let failed = |source| SbomsError::Read { image: image.to_owned(), path: self.path.clone(), source };
        let mut bytes = Vec::new();
        fs::File::open(&self.stored)
            .map_err(failed)?
            .take(MAX_DOCUMENT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

fn write(document: &SbomDocument, file: &Path) -> std::io::Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut bytes = Vec::new();
    fs::File::open(&document.stored)?.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
    fs::write(file, bytes)
}

pub(crate) fn documents(store: &Store, image: &Image, wanted: &str) -> Result<Vec<SbomDocument>, SbomsError> {
    let name = || wanted.to_owned();
    let own = sbom_layer(image, wanted)?;
    let failed = |source| SbomsError::Store { image: name(), source };
    let missing = || StoreError::MissingLayer { what: format!("image {}", image.id()), diff_id: own };
    let layer: Layer = store.layer(&own).and_then(|layer| layer.ok_or_else(missing)).map_err(failed)?;
    let mut documents = Vec::new();
    for entry in layer.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Kind::File { size_bytes, .. } = entry.kind else { continue };
        let problem = if size_bytes > MAX_DOCUMENT_BYTES {
            Some(format!("{} has {size_bytes} bytes, more than {MAX_DOCUMENT_BYTES}", entry.path.display()))
        } else if documents.len() == MAX_DOCUMENTS {
            Some(format!("there are more than {MAX_DOCUMENTS} documents"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(SbomsError::TooMuch { image: name(), problem });
        }
        let format = format_of(&entry.path);
        documents.push(SbomDocument {
            stored: layer.file_path(&entry),
            path: entry.path,
            size_bytes,
            format,
            file: None,
        });
    }
    Ok(documents)
}

fn sbom_layer(image: &Image, wanted: &str) -> Result<DiffId, SbomsError> {
    let none = |problem: String| SbomsError::None { image: wanted.to_owned(), problem };
    let labels = image.config().config().as_ref().and_then(|config| config.labels().as_ref());
    let text = labels.and_then(|labels| labels.get(LIFECYCLE_METADATA_LABEL));
    let text =
        text.ok_or_else(|| none(format!("it has no label {LIFECYCLE_METADATA_LABEL}, so no buildpack built it")))?;
    let metadata =
        LifecycleMetadata::parse(text).map_err(|source| SbomsError::Label { image: wanted.to_owned(), source })?;
    let sha = metadata.sbom.map(|layer| layer.sha).filter(|sha| !sha.is_empty());
    let sha = sha.ok_or_else(|| none(format!("its label {LIFECYCLE_METADATA_LABEL} names no layer of it")))?;
    let own = sha.parse::<DiffId>().ok().filter(|diff_id| image.diff_ids().contains(diff_id));
    own.ok_or_else(|| none(format!("its label names the layer {sha}, which it does not have")))
}

fn format_of(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    [("sbom.cdx.json", "cyclonedx"), ("sbom.spdx.json", "spdx"), ("sbom.syft.json", "syft")]
        .into_iter()
        .find_map(|(file, format)| (name == file).then_some(format))
}
