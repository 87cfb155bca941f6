//! SBOM documents that buildpacks leave beside their layers: buildpack.md, "Software-Bill-of-Materials".

use std::path::{Path, PathBuf};

use hoist_spec::{BuildpackDescriptor, LayerTypes, escape_id};

use crate::restore::MAX_SBOM_BYTES;
use crate::tree::{Node, Tree, TreeError, read_regular};

/// Which of the three directories below `<layers>/sbom` a document goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SbomKind {
    Launch,
    Build,
    Cache,
}

impl SbomKind {
    pub(crate) fn dir_name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Build => "build",
            Self::Cache => "cache",
        }
    }

    /// What the layer of these documents is called.
    pub(crate) fn layer_name(self) -> &'static str {
        match self {
            Self::Launch => "sbom",
            Self::Build => "build sbom",
            Self::Cache => "cache sbom",
        }
    }
}

/// One document.
#[derive(Debug, Clone)]
pub(crate) struct SbomFile {
    pub(crate) kind: SbomKind,
    /// Its path below `<layers>/sbom/<kind>`: `hoist_pip/env/sbom.cdx.json`.
    pub(crate) path: PathBuf,
    pub(crate) content: SbomContent,
}

/// Where a document comes from.
#[derive(Debug, Clone)]
pub(crate) enum SbomContent {
    /// A buildpack's file, by its host path.
    Host(PathBuf),
    /// The lifecycle itself.
    Text(String),
}

impl SbomFile {
    /// The document of the deprecated `bom` arrays.
    pub(crate) fn legacy(kind: SbomKind, text: String) -> Self {
        Self { kind, path: PathBuf::from("sbom.legacy.json"), content: SbomContent::Text(text) }
    }

    /// Its bytes. `inside` names it in errors.
    pub(crate) fn read(&self, inside: &Path) -> Result<Vec<u8>, TreeError> {
        match &self.content {
            SbomContent::Host(path) => read_regular(path, inside, MAX_SBOM_BYTES),
            SbomContent::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// A document that must not be there.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// The directory cannot be listed.
    #[error("looking for SBOM documents")]
    Tree(#[source] TreeError),
    /// The end of its name is not one of the three formats.
    #[error("{file} is in no supported SBOM format")]
    Unsupported {
        /// Its name.
        file: String,
    },
    /// Its format is not in `sbom-formats`.
    #[error("{file} has the media type {media_type}, which buildpack.toml does not declare")]
    Undeclared {
        /// Its name.
        file: String,
        /// Its media type.
        media_type: &'static str,
    },
}

impl SbomError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tree(_) => None,
            Self::Unsupported { .. } => {
                Some("name it *.sbom.cdx.json, *.sbom.spdx.json or *.sbom.syft.json".to_owned())
            }
            Self::Undeclared { media_type, .. } => {
                Some(format!("add sbom-formats = [\"{media_type}\"] to [buildpack] in buildpack.toml"))
            }
        }
    }
}

const FORMATS: [(&str, &str); 3] = [
    ("cdx", "application/vnd.cyclonedx+json"),
    ("spdx", "application/spdx+json"),
    ("syft", "application/vnd.syft+json"),
];

/// The documents of one buildpack. `types` tells what a layer is for, or nothing for what is no layer.
pub(crate) fn collect(
    tree: &Tree,
    layers_dir: &Path,
    descriptor: &BuildpackDescriptor,
    types: &dyn Fn(&str) -> Option<LayerTypes>,
) -> Result<Vec<SbomFile>, SbomError> {
    let mut files = Vec::new();
    let escaped = escape_id(&descriptor.buildpack.id);
    for (file, node) in tree.list(layers_dir).map_err(SbomError::Tree)? {
        let (Some(file), Node::Other(host_path)) = (file.to_str(), node) else { continue };
        let Some((layer, format)) = file.strip_suffix(".json").and_then(|stem| stem.split_once(".sbom.")) else {
            continue;
        };
        let known = match layer {
            "launch" => vec![(SbomKind::Launch, None)],
            "build" => vec![(SbomKind::Build, None)],
            _ => match types(layer) {
                None => continue,
                Some(types) => {
                    let first = if types.launch { SbomKind::Launch } else { SbomKind::Build };
                    let cache = types.cache.then_some((SbomKind::Cache, Some(layer)));
                    std::iter::once((first, Some(layer))).chain(cache).collect()
                }
            },
        };
        let Some((_, media_type)) = FORMATS.iter().find(|(name, _)| *name == format) else {
            return Err(SbomError::Unsupported { file: file.to_owned() });
        };
        let declared = &descriptor.buildpack.sbom_formats;
        if !declared.iter().any(|declared| declared.split(';').next().unwrap_or_default().trim() == *media_type) {
            return Err(SbomError::Undeclared { file: file.to_owned(), media_type });
        }
        for (kind, layer) in known {
            let mut path = PathBuf::from(&escaped);
            path.extend(layer);
            path.push(format!("sbom.{format}.json"));
            files.push(SbomFile { kind, path, content: SbomContent::Host(host_path.clone()) });
        }
    }
    files.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    Ok(files)
}
