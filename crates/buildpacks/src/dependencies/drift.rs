//! What two files of an app say of the same packages: a project and its lock, or a lock and a requirements.txt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::context::Context;
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::pep440::{Specifiers, Version};
use crate::pep508::Requirement;
use crate::pip::requirements::{normalize, read_requirements};

/// Differences that are named.
const SHOWN: usize = 8;

/// What a project says that its lock does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drift(Vec<String>);

impl Drift {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The project asks for what the lock does not have.
    pub(crate) fn added(&mut self, name: &str) {
        self.0.push(format!("{name} was added"));
    }

    /// The lock has what nobody asks for any more.
    pub(crate) fn removed(&mut self, name: &str) {
        self.0.push(format!("{name} was removed"));
    }

    /// Both have it, differently.
    pub(crate) fn changed(&mut self, name: &str, locked: &str, now: &str) {
        let tell = |text: &str| if text.is_empty() { "any".to_owned() } else { text.to_owned() };
        self.0.push(format!("{name} is {} now, and was {}", tell(now), tell(locked)));
    }

    /// Compares names with their specifiers.
    pub(crate) fn compare(
        &mut self,
        now: &BTreeMap<String, BTreeSet<String>>,
        locked: &BTreeMap<String, BTreeSet<String>>,
    ) {
        let join = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(" | ");
        for (name, specifiers) in now {
            match locked.get(name) {
                None => self.added(name),
                Some(before) if before != specifiers => self.changed(name, &join(before), &join(specifiers)),
                Some(_) => {}
            }
        }
        for name in locked.keys().filter(|name| !now.contains_key(*name)) {
            self.removed(name);
        }
    }

    /// The page about a lock that is older than its project.
    pub(crate) fn refuse(&self, lock: &Manifest, command: &str) -> Failure {
        let mut failure = Failure::new(
            format!("reading {}", lock.name),
            format!("{} is older than the project: {}", lock.name, self.0[0]),
            "what is installed would not be what the project asks for",
            format!("make it anew: {command}"),
        );
        for line in self.0.iter().skip(1).take(SHOWN - 1) {
            failure = failure.and_seen(line);
        }
        if self.0.len() > SHOWN {
            failure = failure.and_seen(format!("and {} differences more", self.0.len() - SHOWN));
        }
        failure.of_kind("lock-stale")
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; "))
    }
}

/// A specifier in a form that can be compared: clauses without blanks, sorted.
pub(crate) fn specifier_key(text: &str) -> String {
    let mut clauses: Vec<String> = text
        .split(',')
        .map(|clause| clause.split_whitespace().collect())
        .filter(|clause: &String| !clause.is_empty())
        .collect();
    clauses.sort();
    clauses.join(",")
}

/// Whether a lock has all that a requirements file asks for, in allowed versions, and the requirements file asks for something.
pub(super) fn says_the_same(context: &Context, requirements: &str, lock: &str) -> bool {
    let lines = read_requirements(&context.app_dir, Path::new(requirements));
    lines.is_ok_and(|tree| !tree.requirements.is_empty() && tree.is_whole())
        && locked_versions(context, lock).is_some()
        && difference(context, requirements, lock).is_none()
}

/// The first requirement that a lock does not have.
pub(super) fn difference(context: &Context, requirements: &str, lock: &str) -> Option<String> {
    let tree = read_requirements(&context.app_dir, Path::new(requirements)).ok()?;
    let locked = locked_versions(context, lock)?;
    for line in tree.requirements.iter().filter(|line| !line.constraint) {
        let text = line.text.split(" --").next().unwrap_or_default().trim_end_matches('\\').trim();
        let place = format!("{} line {}: {text}", tree.files[line.file].path.display(), line.line);
        let Some(requirement) = Requirement::parse(text).filter(|requirement| requirement.url.is_none()) else {
            return Some(format!("{place}: {lock} may say another thing"));
        };
        let Some(versions) = locked.get(&requirement.name) else {
            return Some(format!("{place}: {lock} does not have it"));
        };
        let specifiers = Specifiers::parse(&requirement.specifier)?;
        let allowed = |version: &String| Version::parse(version).is_some_and(|version| specifiers.allow(&version));
        if !versions.iter().any(allowed) {
            return Some(format!("{place}: {lock} has {}", versions.join(", ")));
        }
    }
    None
}

/// Names and versions of any lock.
fn locked_versions(context: &Context, lock: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let manifest = Manifest::read(context, lock).ok()??;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if lock == "Pipfile.lock" {
        let document: serde_json::Value = manifest.json().ok()?;
        for (name, entry) in document.get("default")?.as_object()? {
            let version = entry.get("version").and_then(serde_json::Value::as_str).unwrap_or_default();
            found.entry(normalize(name)).or_default().push(version.trim_start_matches('=').to_owned());
        }
        return Some(found);
    }
    let document: toml::Table = manifest.toml().ok()?;
    let packages = document.get("package").or_else(|| document.get("packages"))?.as_array()?;
    for package in packages {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        if let (Some(name), Some(version)) = (text("name"), text("version")) {
            found.entry(normalize(name)).or_default().push(version.to_owned());
        }
    }
    Some(found)
}
