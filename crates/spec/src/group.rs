//! `group.toml`: the buildpacks that take part.

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::error::{DocumentError, parse_toml, write_toml};

/// A buildpack that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBuildpack {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The Buildpack API it speaks.
    pub api: ApiVersion,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
}

impl GroupBuildpack {
    /// `id@version`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }
}

/// `group.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// In the order in which they build.
    #[serde(default)]
    pub group: Vec<GroupBuildpack>,
    /// Image extensions that take part.
    #[serde(default, rename = "group-extensions", skip_serializing_if = "Vec::is_empty")]
    pub group_extensions: Vec<GroupBuildpack>,
}

impl Group {
    /// Reads `group.toml`. "`id`, `version`, and `api` MUST be present for each buildpack object in a group."
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("group.toml", text)
    }

    /// Writes `group.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("group.toml", self)
    }
}
