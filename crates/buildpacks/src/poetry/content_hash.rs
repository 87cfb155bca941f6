//! The `content-hash` of `poetry.lock`: a SHA-256 over the parts of pyproject.toml that decide what is locked, as Python's `json.dumps` with
//! sorted keys writes them. It is the same for all formats since 1.0: a table that is not there was `null` from the beginning. Pure.

use std::fmt::Write as _;

use hoist_debian::{Sha256, hex};
use toml::{Table, Value};

use crate::python_json::{json, object};

const LEGACY: [&str; 4] = ["dependencies", "source", "extras", "dev-dependencies"];
const OF_PROJECT: [&str; 3] = ["requires-python", "dependencies", "optional-dependencies"];

/// The hash of a pyproject.toml.
pub(super) fn content_hash(document: &Table) -> String {
    let empty = Table::new();
    let table = |table: Option<&Value>| table.and_then(Value::as_table).unwrap_or(&empty).clone();
    let project = table(document.get("project"));
    let groups = document.get("dependency-groups").and_then(Value::as_table).filter(|groups| !groups.is_empty());
    let poetry = table(document.get("tool").and_then(|tool| tool.get("poetry")));
    let of_project: Vec<(&str, Option<&Value>)> =
        OF_PROJECT.iter().filter_map(|key| Some((*key, Some(project.get(*key)?)))).collect();
    let is_new = !of_project.is_empty() || groups.is_some();
    let of_poetry: Vec<(&str, Option<&Value>)> = LEGACY
        .iter()
        .chain(&["group"])
        .map(|key| (*key, poetry.get(*key)))
        .filter(|(key, value)| value.is_some() || (!is_new && LEGACY.contains(key)))
        .collect();
    let mut text = String::new();
    if is_new {
        let mut parts = Vec::new();
        if let Some(groups) = groups {
            parts.push(("dependency-groups", json(&Value::Table(groups.clone()))));
        }
        if !of_project.is_empty() {
            parts.push(("project", object(&of_project)));
        }
        parts.push(("tool", format!("{{\"poetry\": {}}}", object(&of_poetry))));
        let parts: Vec<String> = parts.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let _ = write!(text, "{{{}}}", parts.join(", "));
    } else {
        text = object(&of_poetry);
    }
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that Poetry 2.5 wrote, the second into locks of every format since 1.0.
    #[test]
    fn the_hash_is_the_one_that_poetry_writes() {
        let new = "[project]\nname = 'pp'\nversion = '0.1.0'\nrequires-python = '>=3.11,<4'\ndependencies = ['flask (>=3,<4)']\n[project.optional-dependencies]\nweb = ['gunicorn>=20']\n[tool.poetry]\npackages = [{include='pp'}]\n[tool.poetry.group.dev.dependencies]\ntabulate = '*'\n";
        let old = "[tool.poetry]\nname = 'po'\n[tool.poetry.dependencies]\npython = '^3.11'\nflask = '^3.0'\ncolorama = {version='*', optional=true}\n[tool.poetry.extras]\ncolor = ['colorama']\n[tool.poetry.dev-dependencies]\ntabulate = '*'\n[tool.poetry.group.docs.dependencies]\nsix = '*'\n";
        for (text, wanted) in [
            (new, "3c8225c130bbcdbbb65d5dc32008ef9cc709b4987fd108a1b84e11b531a1ff0a"),
            (old, "43dbd2c1b4b7c156d2bab59b692a4567d86e4df3f12ea384e599e127474ff953"),
        ] {
            assert_eq!(content_hash(&text.parse().unwrap()), wanted);
        }
    }
}
