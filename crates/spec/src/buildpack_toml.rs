//! `buildpack.toml`: what a buildpack is, which API it speaks, where it runs, and the order of a composite.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::api::ApiVersion;
use crate::error::{DocumentError, parse_toml, write_toml};
use crate::order::OrderGroup;
use crate::target::{Distribution, Target};

const DOCUMENT: &str = "buildpack.toml";

/// `buildpack.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildpackDescriptor {
    /// The Buildpack API it is written for.
    pub api: ApiVersion,
    /// Who it is.
    pub buildpack: BuildpackInfo,
    /// Targets it supports; empty means any Linux.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Stacks it supports (deprecated in API 0.10).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
    /// A composite's order; empty for a component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<OrderGroup>,
    /// Whatever the author keeps here.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// The `[buildpack]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildpackInfo {
    /// Globally unique id: `hoist/pip`.
    pub id: String,
    /// `X.Y.Z`.
    pub version: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Whether user variables stay out of its environment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clear_env: bool,
    /// Media types of the SBOM documents it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sbom_formats: Vec<String>,
    /// Its licences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<License>,
    /// Execution environments it supports; empty means all.
    #[serde(default, deserialize_with = "exec_env", skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

/// A licence of a buildpack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// SPDX expression.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where its text is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A `[[stacks]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Stack id, or `*`.
    pub id: String,
    /// Mixins it needs.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mixins: Vec<String>,
}

/// The stacks that both of two sets support, each with the mixins that either needs. `*` is every stack.
pub fn merge_stacks(one: &[Stack], other: &[Stack]) -> Vec<Stack> {
    let any = |stacks: &[Stack]| stacks.iter().any(|stack| stack.id == "*");
    match (any(one), any(other)) {
        (true, true) => vec![Stack { id: "*".to_owned(), mixins: Vec::new() }],
        (true, false) => other.to_vec(),
        (false, true) => one.to_vec(),
        (false, false) => {
            let both = other.iter().filter_map(|theirs| {
                let ours = one.iter().find(|ours| ours.id == theirs.id)?;
                let mixins: BTreeSet<&String> = ours.mixins.iter().chain(&theirs.mixins).collect();
                Some(Stack { id: theirs.id.clone(), mixins: mixins.into_iter().cloned().collect() })
            });
            both.collect()
        }
    }
}

/// The specification has tables with a `name`, the Go lifecycle a list of strings; both are met in the wild.
fn exec_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Text(String),
        Table { name: String },
    }
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    Ok(entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Text(name) | Entry::Table { name } => name,
        })
        .collect())
}

impl BuildpackDescriptor {
    /// Reads `buildpack.toml` and checks what the specification says MUST be.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let descriptor: Self = parse_toml(DOCUMENT, text)?;
        check_identity(DOCUMENT, "buildpack", descriptor.api, &descriptor.buildpack)?;
        descriptor.check_order()?;
        Ok(descriptor)
    }

    /// Writes `buildpack.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml(DOCUMENT, self)
    }

    /// Whether it consists of other buildpacks.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }

    /// `id@version`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.buildpack.id, self.buildpack.version)
    }

    /// The targets that it supports, with deprecated stacks translated as the specification says and Linux where nothing is said.
    pub fn effective_targets(&self) -> Vec<Target> {
        if !self.targets.is_empty() {
            return self.targets.clone();
        }
        let mut targets = Vec::new();
        for stack in &self.stacks {
            if stack.id == "*" {
                targets.push(Target::default());
            } else if stack.id == "io.buildpacks.stacks.bionic" && (self.api.at_least(10) || self.stacks.len() == 1) {
                targets.push(Target {
                    os: "linux".into(),
                    arch: "amd64".into(),
                    variant: String::new(),
                    distros: vec![Distribution { name: "ubuntu".into(), version: "18.04".into() }],
                });
            }
        }
        if targets.is_empty() {
            targets.push(Target { os: "linux".into(), ..Target::default() });
        }
        targets
    }

    /// Whether it applies in this execution environment. Honoured from Buildpack API 0.12.
    pub fn supports_exec_env(&self, exec_env: &str) -> bool {
        let list = &self.buildpack.exec_env;
        !self.api.at_least(12) || list.is_empty() || list.iter().any(|entry| entry == "*" || entry == exec_env)
    }

    fn check_order(&self) -> Result<(), DocumentError> {
        for (g, group) in self.order.iter().enumerate() {
            for (e, entry) in group.group.iter().enumerate() {
                if entry.id.is_empty() || entry.version.is_empty() {
                    let field = format!("order[{g}].group[{e}]");
                    let fix = "name the id and the version of each buildpack of the group";
                    return Err(DocumentError::invalid(DOCUMENT, field, "id and version must not be empty", fix));
                }
            }
        }
        if !self.order.is_empty() && !self.stacks.is_empty() {
            let message = "a buildpack with an order must not name stacks";
            return Err(DocumentError::invalid(DOCUMENT, "stacks", message, "remove the stacks"));
        }
        Ok(())
    }
}

/// What buildpacks and extensions have in common: an API that is spoken, an id and a version. `table` is the one that holds `info`.
pub(crate) fn check_identity(
    document: &'static str,
    table: &str,
    api: ApiVersion,
    info: &BuildpackInfo,
) -> Result<(), DocumentError> {
    api.require_buildpack()
        .map_err(|error| DocumentError::invalid(document, "api", error.to_string(), error.hint()))?;
    check_id(document, &format!("{table}.id"), &info.id)?;
    check_version(document, &format!("{table}.version"), &info.version)
}

/// "MUST only contain numbers, letters, and the characters `.`, `/`, and `-`. MUST NOT be `app`, `config`, `generated`, or `sbom`."
/// An underscore is let through, because published buildpacks have one.
fn check_id(document: &'static str, field: &str, id: &str) -> Result<(), DocumentError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_');
    let fix = "use letters, digits, `.`, `/` and `-`, for example acme/python";
    if id.is_empty() || !id.chars().all(allowed) {
        let message = format!("`{id}` holds characters that an id must not have");
        return Err(DocumentError::invalid(document, field, message, fix));
    }
    if matches!(id, "app" | "config" | "generated" | "sbom")
        || id.split('/').any(|part| matches!(part, "" | "." | ".."))
    {
        let message = format!("`{id}` is reserved");
        return Err(DocumentError::invalid(document, field, message, fix));
    }
    Ok(())
}

/// "MUST be in the form `<X>.<Y>.<Z>`". Versions with a suffix are published too; what matters here is that a version is one
/// harmless folder name.
fn check_version(document: &'static str, field: &str, version: &str) -> Result<(), DocumentError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if version.is_empty() || !version.chars().all(allowed) || version.starts_with('.') {
        let message = format!("`{version}` is not a version");
        return Err(DocumentError::invalid(document, field, message, "write it as X.Y.Z, for example 1.0.0"));
    }
    Ok(())
}

/// A buildpack's id as it appears in paths: `/` becomes `_`.
pub fn escape_id(id: &str) -> String {
    id.replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_merge_to_what_both_support_with_the_mixins_of_both() {
        let stack = |id: &str, mixins: &[&str]| Stack {
            id: id.to_owned(),
            mixins: mixins.iter().map(|mixin| (*mixin).to_owned()).collect(),
        };
        let any = || stack("*", &[]);
        let one = [stack("a", &["x", "run:y"]), stack("b", &[])];
        assert_eq!(merge_stacks(&one, &[stack("a", &["build:z", "x"])]), [stack("a", &["build:z", "run:y", "x"])]);
        assert_eq!(merge_stacks(&one, &[stack("c", &[])]), []);
        assert_eq!(merge_stacks(&one, &[any(), stack("c", &[])]), one);
        assert_eq!(merge_stacks(&[any()], &one), one);
        assert_eq!(merge_stacks(&[any(), stack("a", &[])], &[any()]), [any()]);
    }
}
