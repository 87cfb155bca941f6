//! The `bom` arrays of `launch.toml` and `build.toml`, deprecated in Buildpack API 0.7 but written by published buildpacks, and the
//! document that they end up in: `<layers>/sbom/{launch,build}/sbom.legacy.json` (platform.md, "exporter").

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, write_json};
use crate::labels::table_to_json;

/// An entry of a `bom` array.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BomEntry {
    /// The dependency.
    pub name: String,
    /// What its buildpack says of it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// `sbom.legacy.json`: the entries of all buildpacks, each with its buildpack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LegacyBom(Vec<LegacyEntry>);

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LegacyEntry {
    name: String,
    metadata: serde_json::Value,
    buildpack: LegacyBuildpack,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LegacyBuildpack {
    id: String,
    version: String,
}

impl LegacyBom {
    /// Adds the entries of one buildpack.
    pub fn add(&mut self, id: &str, version: &str, entries: &[BomEntry]) {
        self.0.extend(entries.iter().map(|entry| LegacyEntry {
            name: entry.name.clone(),
            metadata: table_to_json(&entry.metadata),
            buildpack: LegacyBuildpack { id: id.to_owned(), version: version.to_owned() },
        }));
    }

    /// Whether no buildpack has an entry: then there is no document.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The document's text.
    pub fn to_json(&self) -> Result<String, DocumentError> {
        write_json("sbom.legacy.json", &self.0).map(|text| text + "\n")
    }
}
