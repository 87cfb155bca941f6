//! `analyzed.toml`: what is known of the previous image and the run image before the build begins.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};
use crate::target::ImageTarget;

/// An image by its digest or id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentifier {
    /// Digest reference, or id.
    pub reference: String,
}

/// The `[run-image]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzedRunImage {
    /// Digest reference, or id.
    #[serde(default)]
    pub reference: String,
    /// Its name as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether extensions change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// What it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ImageTarget>,
}

/// `analyzed.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Analyzed {
    /// The previous image, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageIdentifier>,
    /// The build image, where extensions may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_image: Option<ImageIdentifier>,
    /// The run image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_image: Option<AnalyzedRunImage>,
    /// The previous image's lifecycle metadata, in TOML.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl Analyzed {
    /// Reads `analyzed.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("analyzed.toml", text)
    }

    /// Writes `analyzed.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("analyzed.toml", self)
    }
}
