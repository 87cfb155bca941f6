//! The build plan: what a buildpack's detect provides and requires, the plan that its build gets, and `plan.toml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};

const BUILD_PLAN: &str = "build plan";

/// A dependency that a buildpack provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provide {
    /// Its name.
    pub name: String,
}

/// A dependency that a buildpack requires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Require {
    /// Its name.
    pub name: String,
    /// Whatever the two sides agreed on.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// One set of provisions and requirements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanSections {
    /// What is provided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// What is required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
}

/// What detect writes to `CNB_BUILD_PLAN_PATH`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// What is provided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// What is required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
    /// Alternatives, tried one after another when the first does not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<PlanSections>,
}

impl BuildPlan {
    /// Reads what detect wrote; an empty text is an empty plan. A `version` beside the `name` of a requirement was valid in APIs that are no
    /// longer spoken; nobody would see it, so it is an error.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let table: toml::Table = parse_toml(BUILD_PLAN, text)?;
        check_versions(&table, "")?;
        for (at, alternative) in tables(&table, "or").enumerate() {
            check_versions(alternative, &format!("or[{at}]."))?;
        }
        parse_toml(BUILD_PLAN, text)
    }

    /// Writes it.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml(BUILD_PLAN, self)
    }

    /// The first alternative and the others, in order.
    pub fn alternatives(&self) -> Vec<PlanSections> {
        let first = PlanSections { provides: self.provides.clone(), requires: self.requires.clone() };
        std::iter::once(first).chain(self.or.iter().cloned()).collect()
    }
}

fn check_versions(sections: &toml::Table, place: &str) -> Result<(), DocumentError> {
    for (at, require) in tables(sections, "requires").enumerate() {
        if require.contains_key("version") {
            let field = format!("{place}requires[{at}].version");
            let fix = "write it as version in [requires.metadata]";
            return Err(DocumentError::invalid(BUILD_PLAN, field, "is not supported", fix));
        }
    }
    Ok(())
}

/// The tables of an array of tables; what is of another type is left to the parser of the document.
fn tables<'a>(table: &'a toml::Table, key: &str) -> impl Iterator<Item = &'a toml::Table> {
    table.get(key).and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_table)
}

/// What build gets at `CNB_BP_PLAN_PATH`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackPlan {
    /// The requirements that this buildpack is asked to meet.
    #[serde(default)]
    pub entries: Vec<Require>,
}

impl BuildpackPlan {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("buildpack plan", text)
    }

    /// Writes it.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("buildpack plan", self)
    }
}

/// A buildpack that offered to provide an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Whether it is an image extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extension: bool,
}

/// A dependency of the whole group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Who offered it, in group order.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Who wants it, all with the same name.
    #[serde(default)]
    pub requires: Vec<Require>,
}

/// `plan.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The dependencies of the group.
    #[serde(default)]
    pub entries: Vec<PlanEntry>,
}

impl Plan {
    /// Reads `plan.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("plan.toml", text)
    }

    /// Writes `plan.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("plan.toml", self)
    }

    /// What the buildpack `id` is asked for.
    pub fn for_buildpack(&self, id: &str) -> BuildpackPlan {
        let asked = self.entries.iter().filter(|entry| entry.providers.iter().any(|p| !p.extension && p.id == id));
        BuildpackPlan { entries: asked.flat_map(|entry| entry.requires.clone()).collect() }
    }

    /// Takes away what `met` names: the next providers are asked only for what is still open.
    pub fn remove_met(&mut self, met: &BTreeSet<String>) {
        self.entries.retain(|entry| !entry.requires.iter().any(|require| met.contains(&require.name)));
    }
}
