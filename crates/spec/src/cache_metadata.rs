//! What a build cache says of its layers: the file `io.buildpacks.lifecycle.cache.metadata` of a cache folder, and the label of the same name
//! of a cache image. JSON, in the form of the Go lifecycle, which reads and writes both.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, null_as_default, parse_json, write_json};
use crate::labels::{BuildpackLayers, LayerSha};

/// Label of a cache image, and name of the file in a cache folder.
pub const CACHE_METADATA_LABEL: &str = "io.buildpacks.lifecycle.cache.metadata";

/// The layers that the next build gets back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheMetadata {
    /// The layer with the SBOM documents of cached layers; its digest is empty where there is none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sbom: LayerSha,
    /// The layers of the buildpacks, in group order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub buildpacks: Vec<BuildpackLayers>,
}

impl CacheMetadata {
    /// Reads the document.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_json(CACHE_METADATA_LABEL, text)
    }

    /// Writes the document, without a line end.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_json(CACHE_METADATA_LABEL, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `json.Encoder` of the Go lifecycle writes it.
    const GOLDEN: &str = concat!(
        r#"{"sbom":{"sha":""},"buildpacks":[{"key":"acme/tool","version":"1.0.0","layers":{"deps":{"sha":"#,
        r#""sha256:0b1a","data":{"key":"value"},"build":true,"launch":false,"cache":true},"plain":{"sha":"sha256:77","#,
        r#""data":null,"build":false,"launch":true,"cache":true}}}]}"#
    );

    #[test]
    fn the_document_is_the_one_of_the_go_lifecycle_letter_by_letter() {
        let read = CacheMetadata::parse(GOLDEN).unwrap();
        assert!(read.buildpacks[0].layers["deps"].cache);
        assert_eq!(read.write().unwrap(), GOLDEN);
    }

    #[test]
    fn an_empty_cache_of_the_go_lifecycle_is_an_empty_cache() {
        assert_eq!(CacheMetadata::parse(r#"{"sbom":{"sha":""},"buildpacks":null}"#).unwrap(), CacheMetadata::default());
        assert!(CacheMetadata::parse("[1]").is_err());
    }
}
