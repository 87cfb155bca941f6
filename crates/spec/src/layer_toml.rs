//! `<layer>.toml`, layer content metadata: what a layer is for, and what its buildpack wants to know of it next time.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};

/// What a layer is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTypes {
    /// It is in the app image.
    #[serde(default)]
    pub launch: bool,
    /// Later buildpacks see it.
    #[serde(default)]
    pub build: bool,
    /// The next build gets its content back.
    #[serde(default)]
    pub cache: bool,
}

/// `<layer>.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerToml {
    /// What it is for; none in the file that the lifecycle restores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<LayerTypes>,
    /// Whatever the buildpack keeps.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl LayerToml {
    /// Reads `<layer>.toml`. The types stand in `[types]`; outside of it they are an error, as they were valid in old APIs.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let table: toml::Table = parse_toml("layer content metadata", text)?;
        if let Some(key) = ["build", "launch", "cache"].iter().find(|key| table.contains_key(**key)) {
            let message = "must stand in [types]";
            return Err(DocumentError::invalid(
                "layer content metadata",
                *key,
                message,
                format!("write [types] above `{key}`"),
            ));
        }
        parse_toml("layer content metadata", text)
    }

    /// Writes `<layer>.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("layer content metadata", self)
    }

    /// What it is for; nothing where the file does not say.
    pub fn types(&self) -> LayerTypes {
        self.types.unwrap_or_default()
    }

    /// What hoist's own exporter is asked for: `[metadata.hoist] split = "distributions"`.
    pub fn hoist_split(&self) -> Option<&str> {
        self.metadata.get("hoist")?.as_table()?.get("split")?.as_str()
    }
}
