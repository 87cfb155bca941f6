//! What a project says now against what it said when `uv.lock` was made.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::Context;
use crate::dependencies::{Drift, specifier_key};
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::pep508::Requirement;
use crate::pip::requirements::normalize;
use crate::pyproject::{Declared, PyProject, Selection};

use super::document::{Asked, UvLock};

/// Names with their specifiers, comparable.
type Asks = BTreeMap<String, BTreeSet<String>>;

/// Refuses a lock that misses something of the project or of a member of its workspace. What only groups that are not installed miss is
/// answered as warnings.
pub(super) fn check(
    context: &Context,
    manifest: &Manifest,
    lock: &UvLock,
    root: &PyProject,
    selection: &Selection,
) -> Result<Vec<String>, Failure> {
    let mut drift = Drift::default();
    let mut warnings = Vec::new();
    if let (Some(locked), Some(asked)) =
        (&lock.requires_python, root.document.project.as_ref().and_then(|project| project.requires_python.as_deref()))
        && specifier_key(locked.get_ref()) != specifier_key(asked)
        && lock.manifest.members.len() < 2
    {
        drift.changed("requires-python", locked.get_ref(), asked);
    }
    for package in &lock.packages {
        let package = package.get_ref();
        let Some(folder) = package.source.folder() else { continue };
        let other;
        let project = if folder == "." {
            root
        } else {
            match PyProject::read_in(context, folder)? {
                Some(found) => {
                    other = found;
                    &other
                }
                None => continue,
            }
        };
        let of_project = project.name().is_some_and(|name| normalize(&package.name) == name);
        if !of_project || project.is_dynamic("dependencies") || project.document.project.is_none() {
            continue;
        }
        let mut now = project.dependencies();
        if !project.is_dynamic("optional-dependencies") {
            now.extend(project.extras().into_values().flatten());
        }
        drift.compare(&asks_of(&now), &locked_asks(&package.metadata.requires_dist));
        let empty = Vec::new();
        for (group, items) in project.groups() {
            let locked = package.metadata.requires_dev.iter().find(|(name, _)| normalize(name) == group);
            let mut of_group = Drift::default();
            of_group.compare(&asks_of(&items), &locked_asks(locked.map_or(&empty, |(_, asked)| asked)));
            if selection.groups.contains(&group) {
                drift.extend(of_group);
            } else if !of_group.is_empty() {
                warnings.push(format!(
                    "uv.lock is older than the group {group} of pyproject.toml ({of_group}); it is not installed, but `uv lock` is due"
                ));
            }
        }
    }
    if drift.is_empty() { Ok(warnings) } else { Err(drift.refuse(manifest, "uv lock")) }
}

fn asks_of(items: &[Declared]) -> Asks {
    let mut asks = Asks::new();
    for requirement in items.iter().filter_map(|item| Requirement::parse(&item.text)) {
        asks.entry(requirement.name).or_default().insert(specifier_key(&requirement.specifier));
    }
    asks
}

fn locked_asks(items: &[Asked]) -> Asks {
    let mut asks = Asks::new();
    for asked in items {
        let specifier = specifier_key(asked.specifier.as_deref().unwrap_or_default());
        asks.entry(normalize(&asked.name)).or_default().insert(specifier);
    }
    asks
}
