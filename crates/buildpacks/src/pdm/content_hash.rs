//! The `content_hash` of `pdm.lock`: a hash over what pyproject.toml asks for, as JSON. Until lock format 4.4.1 it has the overrides alone, since
//! then all of `[tool.pdm.resolution]`. Pure.

use hoist_debian::{Sha256, hex};
use toml::{Table, Value};

use crate::pip::requirements::normalize;
use crate::python_json::object;

/// Whether a lock was made from this pyproject.toml. A hash of another kind than SHA-256 is believed.
pub(super) fn is_of(locked: &str, document: &Table) -> bool {
    let Some(locked) = locked.strip_prefix("sha256:") else { return true };
    ["resolution", "overrides"].into_iter().any(|key| content_hash(document, key) == locked)
}

fn content_hash(document: &Table, key: &str) -> String {
    let table = |table: Option<&Value>| table.and_then(Value::as_table).cloned().unwrap_or_default();
    let project = table(document.get("project"));
    let pdm = table(document.get("tool").and_then(|tool| tool.get("pdm")));
    let empty = |value: Option<&Value>, empty: Value| value.cloned().unwrap_or(empty);
    let none = || Value::Array(Vec::new());
    let resolution = table(pdm.get("resolution"));
    let resolution = if key == "resolution" {
        resolution
    } else {
        table(resolution.get("overrides").or_else(|| pdm.get("overrides")))
    };
    let parts = [
        ("sources", empty(pdm.get("source"), none())),
        ("dependencies", empty(project.get("dependencies"), none())),
        ("dev-dependencies", Value::Table(groups(document.get("dependency-groups"), pdm.get("dev-dependencies")))),
        ("optional-dependencies", empty(project.get("optional-dependencies"), Value::Table(Table::new()))),
        ("requires-python", empty(project.get("requires-python"), Value::String(String::new()))),
        (key, Value::Table(resolution)),
    ];
    let parts: Vec<(&str, Option<&Value>)> = parts.iter().map(|(key, value)| (*key, Some(value))).collect();
    hex(&Sha256::digest(object(&parts)))
}

/// The groups of the standard, each with what PDM's own table adds to it.
fn groups(standard: Option<&Value>, own: Option<&Value>) -> Table {
    let mut groups = Table::new();
    for (name, items) in [standard, own].into_iter().flatten().filter_map(Value::as_table).flatten() {
        let group = groups.entry(normalize(name)).or_insert_with(|| Value::Array(Vec::new()));
        if let (Some(group), Some(items)) = (group.as_array_mut(), items.as_array()) {
            group.extend(items.iter().cloned());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that PDM 2.29 wrote into `pdm.lock`, and that PDM 2.10 would have written.
    #[test]
    fn the_hash_is_the_one_that_pdm_writes() {
        let text = "[project]\nname = 'shop'\nrequires-python = '>=3.9'\ndependencies = ['flask>=3', 'aé ; x']\n[project.optional-dependencies]\nweb = ['gunicorn>=20']\n[dependency-groups]\nDev_Tools = ['tabulate']\n[tool.pdm.dev-dependencies]\ndev-tools = ['-e file:///${PROJECT_ROOT}/lib#egg=lib']\n[[tool.pdm.source]]\nname = 'own'\nurl = 'https://own.example/simple'\nverify_ssl = true\n[tool.pdm.resolution]\nexcludes = ['six']\n[tool.pdm.resolution.overrides]\nclick = '8.1'\n";
        let document: Table = text.parse().unwrap();
        assert!(is_of("sha256:e0a9547912a03abaaa45aa59030e63741d3a8e72ecd239707349ed9e2af7bf0d", &document));
        assert!(is_of("sha256:c1f6cd74b2c955041d346b96c5a1ad61017f56898003047ddecc19ab5b0ad7bb", &document));
        assert!(!is_of("sha256:00", &document) && is_of("md5:00", &document));
    }
}
