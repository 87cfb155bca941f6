//! `project-metadata.toml` and the label `io.buildpacks.project.metadata`: where the source came from.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_json, write_toml};

/// The label with this document as JSON.
pub const PROJECT_METADATA_LABEL: &str = "io.buildpacks.project.metadata";

/// Where the source came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectSource {
    /// `git`, `s3`, …
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What names this version of it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub version: toml::Table,
    /// Anything else.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// `project-metadata.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectMetadata {
    /// Where the source came from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProjectSource>,
}

impl ProjectMetadata {
    /// Reads `project-metadata.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("project-metadata.toml", text)
    }

    /// Writes `project-metadata.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("project-metadata.toml", self)
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(PROJECT_METADATA_LABEL, self)
    }
}
