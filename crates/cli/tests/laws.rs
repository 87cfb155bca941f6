//! The laws of the house: which crate may use which, how large a file may be, what every file and crate says of itself.
#![allow(clippy::disallowed_methods, clippy::expect_used)] // tests start processes and fail loudly

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate, floor, and the crates that it may use. The table of ARCHITECTURE.md.
const FLOORS: &[(&str, u8)] = &[
    ("spec", 0),
    ("events", 0),
    ("environment", 0),
    ("image", 1),
    ("sandbox", 1),
    ("conda", 1),
    ("debian", 1),
    ("launcher", 1),
    ("service", 1),
    ("buildpacks", 2),
    ("lifecycle", 2),
    ("base", 2),
    ("platform", 3),
    ("server", 4),
    ("kubernetes", 4),
    ("cli", 5),
];

fn root_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies two folders down").to_owned()
}

fn tracked_files() -> Vec<String> {
    let output = Command::new("git").arg("-C").arg(root_dir()).args(["ls-files", "-co", "--exclude-standard"]).output();
    let output = output.expect("git lists the files");
    assert!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let root = root_dir();
    let files = String::from_utf8(output.stdout).expect("file names are UTF-8");
    files.lines().filter(|file| root.join(file).is_file()).map(str::to_owned).collect()
}

fn workspace_dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root_dir())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name").trim_start_matches("hoist-").to_owned();
        let uses = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("hoist-").map(str::to_owned))
            .collect();
        all.insert(name, uses);
    }
    all
}

#[test]
fn a_crate_uses_only_crates_on_lower_floors() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, uses) in workspace_dependencies() {
        let Some(floor) = floors.get(name.as_str()) else {
            wrong.push(format!("{name} has no floor: add it to the table in this test and in ARCHITECTURE.md"));
            continue;
        };
        for used in uses {
            let other = floors.get(used.as_str()).copied().unwrap_or(u8::MAX);
            if other >= *floor {
                wrong.push(format!("{name} (floor {floor}) -> {used} (floor {other}): not downward"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn platform_knows_neither_the_buildpacks_nor_the_launcher() {
    let uses = &workspace_dependencies()["platform"];
    assert!(!uses.iter().any(|name| name == "buildpacks" || name == "launcher"), "platform uses {uses:?}");
}

#[test]
fn every_crate_has_a_readme() {
    let missing: Vec<_> = workspace_dependencies()
        .into_keys()
        .filter(|name| !root_dir().join("crates").join(name).join("README.md").is_file())
        .collect();
    assert!(missing.is_empty(), "no README.md in crates: {missing:?}");
}

#[test]
fn every_source_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    for file in tracked_files() {
        if Path::new(&file).extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(root_dir().join(&file)).expect("a source file is UTF-8");
        if !text.starts_with("//!") {
            wrong.push(format!("{file}: does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > 600 {
            wrong.push(format!("{file}: {lines} lines; split it at its second subject"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_registry_host_is_written_down() {
    // Taken apart so that this file does not name one either.
    let hosts: Vec<String> = [
        ["deb.deb", "ian.org"],
        ["security.deb", "ian.org"],
        ["py", "pi.org"],
        ["pythonhost", "ed.org"],
        ["crates", ".io/"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let mut wrong = Vec::new();
    for file in tracked_files() {
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root_dir().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(host.as_str())) {
                wrong.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_is_explained() {
    let manifest = std::fs::read_to_string(root_dir().join("Cargo.toml")).expect("the workspace manifest");
    let manifest: toml::Table = manifest.parse().expect("the workspace manifest is TOML");
    let text = std::fs::read_to_string(root_dir().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let names = manifest["workspace"]["dependencies"].as_table().expect("workspace dependencies").keys();
    let missing: Vec<_> =
        names.filter(|name| !name.starts_with("hoist-") && !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
}
