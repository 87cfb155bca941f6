//! `extension.toml`: an image extension, which writes Dockerfiles for images that buildpacks need more in (image_extension.md).

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::buildpack_toml::{BuildpackInfo, check_identity};
use crate::error::{DocumentError, parse_toml};
use crate::target::Target;

const DOCUMENT: &str = "extension.toml";

/// `extension.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtensionDescriptor {
    /// The Buildpack API it is written for.
    pub api: ApiVersion,
    /// Who it is.
    pub extension: BuildpackInfo,
    /// Targets it supports; empty means any Linux.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Whatever the author keeps here.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl ExtensionDescriptor {
    /// Reads `extension.toml` and checks what the specification says MUST be.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let descriptor: Self = parse_toml(DOCUMENT, text)?;
        check_identity(DOCUMENT, "extension", descriptor.api, &descriptor.extension)?;
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_has_an_id_and_a_version_as_buildpacks_do() {
        let text = "api = \"0.10\"\n[extension]\nid = \"acme/curl\"\nversion = \"0.0.1\"\n";
        assert_eq!(ExtensionDescriptor::parse(text).unwrap().extension.id, "acme/curl");
        let error = ExtensionDescriptor::parse(&text.replace("acme/curl", "../x")).unwrap_err();
        assert_eq!(error.to_string(), "extension.toml: extension.id: `../x` is reserved");
        let error = ExtensionDescriptor::parse(&text.replace("0.0.1", "../1")).unwrap_err();
        assert_eq!(error.to_string(), "extension.toml: extension.version: `../1` is not a version");
    }
}
