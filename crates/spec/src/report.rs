//! `report.toml`: what export made.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};

/// The `[image]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageReport {
    /// All names of the image.
    pub tags: Vec<String>,
    /// Digest of its manifest, where it went to a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of its configuration, where it stays on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Size of its manifest in bytes, where it went to a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_size: Option<u64>,
}

/// A place that the image went to besides the store; hoist's own table, which other tools pass over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputReport {
    /// The place: `docker`, `oci-dir:out`, …
    pub output: String,
    /// The image's identity there, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the image was there already.
    pub unchanged: bool,
}

/// `report.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The image.
    pub image: ImageReport,
    /// Where it is besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputReport>,
}

impl Report {
    /// Reads `report.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("report.toml", text)
    }

    /// Writes `report.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("report.toml", self)
    }
}
