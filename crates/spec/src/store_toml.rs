//! `store.toml`: what a buildpack remembers from build to build, apart from any layer.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};

/// `store.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreToml {
    /// Whatever the buildpack keeps.
    #[serde(default)]
    pub metadata: toml::Table,
}

impl StoreToml {
    /// Reads `store.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("store.toml", text)
    }

    /// Writes `store.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("store.toml", self)
    }
}
