//! `build.toml`: the entries of the plan that a buildpack could not meet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};
use crate::legacy_bom::BomEntry;
use crate::plan::BuildpackPlan;

const DOCUMENT: &str = "build.toml";

/// An entry that was not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// `build.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildToml {
    /// The deprecated bill of materials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bom: Vec<BomEntry>,
    /// What was not met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
}

impl BuildToml {
    /// Reads `build.toml`. "`name` MUST match an entry in the Buildpack Plan."
    pub fn parse(text: &str, plan: &BuildpackPlan) -> Result<Self, DocumentError> {
        let build: Self = parse_toml(DOCUMENT, text)?;
        let names: BTreeSet<&String> = plan.entries.iter().map(|entry| &entry.name).collect();
        for (at, unmet) in build.unmet.iter().enumerate() {
            if !names.contains(&unmet.name) {
                let message = format!("`{}` is not an entry of the buildpack plan", unmet.name);
                let fix = "name an entry of the file at CNB_BP_PLAN_PATH";
                return Err(DocumentError::invalid(DOCUMENT, format!("unmet[{at}].name"), message, fix));
            }
        }
        Ok(build)
    }

    /// Writes `build.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml(DOCUMENT, self)
    }
}
