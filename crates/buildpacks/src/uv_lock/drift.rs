//! What a project says now against what it said when `uv.lock` was made.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::Context;
use crate::dependencies::{Drift, specifier_key};
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::pep440::Specifiers;
use crate::pep508::{self, MarkerEnvironment, Requirement};
use crate::pip::requirements::normalize;
use crate::pyproject::{Declared, PyProject, Selection};

use super::document::{Asked, UvLock};

/// Behind what does not count here.
const ELSEWHERE: &str = " (not for this Python and platform)";

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
    python: &str,
) -> Result<Vec<String>, Failure> {
    let mut drift = Drift::default();
    let mut warnings = Vec::new();
    if let (Some(locked), Some(asked)) =
        (&lock.requires_python, root.document.project.as_ref().and_then(|project| project.requires_python.as_deref()))
        && !is_same_range(locked.get_ref(), asked)
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
        let mut environment = MarkerEnvironment::linux(python);
        environment.extras.extend(project.extras().into_keys());
        let locked = &package.metadata.requires_dist;
        drift.compare(&asks_of(&now, &environment), &locked_asks(locked, &environment));
        compare_sources(project, locked, &mut drift);
        let empty = Vec::new();
        for (group, items) in project.groups() {
            let locked = package.metadata.requires_dev.iter().find(|(name, _)| normalize(name) == group);
            let mut of_group = Drift::default();
            let locked = locked.map_or(&empty, |(_, asked)| asked);
            of_group.compare(&asks_of(&items, &environment), &locked_asks(locked, &environment));
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

/// Whether two ranges of Pythons are the same: uv writes `>=3.13,<3.14` as `==3.13.*`.
fn is_same_range(locked: &str, asked: &str) -> bool {
    match (Specifiers::parse(locked), Specifiers::parse(asked)) {
        (Some(locked), Some(asked)) => locked.allow_the_same_releases(&asked),
        _ => specifier_key(locked) == specifier_key(asked),
    }
}

/// What is asked of a name, as it can be compared: extras, versions, and whether it is meant here. Markers are spelt in another way in locks,
/// so it counts whether they hold, with each of the project's extras.
fn asks_of(items: &[Declared], environment: &MarkerEnvironment) -> Asks {
    let mut asks = Asks::new();
    for one in items.iter().filter_map(|item| Requirement::parse(&item.text)) {
        let is_here = one.marker.as_ref().is_none_or(|marker| marker.holds(environment));
        asks.entry(one.name).or_default().insert(ask(one.extras, &one.specifier, is_here));
    }
    without_the_rest(asks)
}

fn locked_asks(items: &[Asked], environment: &MarkerEnvironment) -> Asks {
    let mut asks = Asks::new();
    for asked in items {
        let extras = asked.extras.iter().map(|extra| normalize(extra)).collect();
        let is_here = pep508::holds(asked.marker.as_deref(), environment);
        let text = ask(extras, asked.specifier.as_deref().unwrap_or_default(), is_here);
        asks.entry(normalize(&asked.name)).or_default().insert(text);
    }
    without_the_rest(asks)
}

/// A lock splits what has several sources by platform: where one way is meant here, the others do not count.
fn without_the_rest(mut asks: Asks) -> Asks {
    for ways in asks.values_mut() {
        if ways.iter().any(|way| !way.ends_with(ELSEWHERE)) {
            ways.retain(|way| !way.ends_with(ELSEWHERE));
        }
    }
    asks
}

fn ask(mut extras: Vec<String>, specifier: &str, is_here: bool) -> String {
    extras.sort();
    extras.dedup();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let asked = format!("{extras}{}", specifier_key(specifier));
    match (is_here, asked.is_empty()) {
        (true, _) => asked,
        (false, true) => format!("any{ELSEWHERE}"),
        (false, false) => format!("{asked}{ELSEWHERE}"),
    }
}

/// Where a name is taken from, as far as the project says it and the lock does too: a repository of git or not.
fn compare_sources(project: &PyProject, locked: &[Asked], drift: &mut Drift) {
    for (name, source) in project.document.tool.uv.iter().flat_map(|uv| &uv.sources) {
        let Some(table) = source.as_table() else { continue };
        let git = table.get("git").and_then(toml::Value::as_str);
        let asked = locked.iter().find(|asked| normalize(&asked.name) == normalize(name));
        if let Some(asked) = asked.filter(|asked| asked.git.is_some() != git.is_some()) {
            let tell = |is_git: bool| if is_git { "from git" } else { "not from git" };
            drift.changed(&asked.name, tell(asked.git.is_some()), tell(git.is_some()));
        }
    }
}
