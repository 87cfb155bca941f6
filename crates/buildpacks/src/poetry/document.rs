//! The shape of `poetry.lock` in the formats 1.0 to 2.1, and which of its packages are meant. Pure.
//!
//! From 2.1 on each package says its groups and its marker. Before, nothing does: the way from the project through the dependencies is walked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Spanned, Value};

use super::constraint::Constraint;
use super::dependency::Dependency;
use crate::pep508::{self, MarkerEnvironment};
use crate::pip::requirements::normalize;

/// The file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PoetryLock {
    #[serde(default, rename = "package")]
    pub(super) packages: Vec<Spanned<Package>>,
    pub(super) metadata: Metadata,
}

/// `[metadata]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Metadata {
    pub(super) lock_version: Option<String>,
    pub(super) python_versions: Option<Spanned<String>>,
    pub(super) content_hash: Option<String>,
    /// Format 1.1.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Vec<File>>,
    /// Format 1.0.
    #[serde(default)]
    pub(super) hashes: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct File {
    pub(super) file: String,
    pub(super) hash: String,
}

/// `[[package]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) python_versions: Option<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// For all groups, or for each.
    pub(super) markers: Option<Value>,
    /// Format 1.0.
    pub(super) marker: Option<String>,
    #[serde(default)]
    pub(super) files: Vec<File>,
    #[serde(default)]
    pub(super) dependencies: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) extras: BTreeMap<String, Vec<String>>,
    pub(super) source: Option<Source>,
}

/// `[package.source]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Source {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) url: String,
    pub(super) resolved_reference: Option<String>,
    pub(super) subdirectory: Option<String>,
}

impl PoetryLock {
    /// Whether the packages say their groups.
    pub(super) fn has_groups(&self) -> bool {
        let version = self.metadata.lock_version.as_deref().and_then(crate::pep440::Version::parse);
        version >= crate::pep440::Version::parse("2.1")
    }

    /// The packages of some groups, by index, when packages say their groups.
    pub(super) fn of_groups(&self, groups: &BTreeSet<String>, environment: &MarkerEnvironment) -> BTreeSet<usize> {
        let is_meant = |package: &Package| {
            package.groups.iter().filter(|group| groups.contains(&normalize(group))).any(|group| {
                let marker = match &package.markers {
                    Some(Value::String(marker)) => Some(marker.as_str()),
                    Some(Value::Table(table)) => table.get(group).and_then(Value::as_str),
                    _ => None,
                };
                pep508::holds(marker, environment)
            })
        };
        let all = self.packages.iter().enumerate();
        all.filter(|(_, package)| is_meant(package.get_ref())).map(|(index, _)| index).collect()
    }

    /// The packages that some dependencies of the project need.
    pub(super) fn walk(&self, roots: &[Dependency], environment: &MarkerEnvironment, python: &str) -> BTreeSet<usize> {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            by_name.entry(normalize(&package.get_ref().name)).or_default().push(index);
        }
        let mut seen: BTreeSet<(usize, Option<String>)> = BTreeSet::new();
        let mut open: Vec<(usize, Option<String>)> = Vec::new();
        let follow = |dependency: &Dependency, open: &mut Vec<(usize, Option<String>)>| {
            for index in self.candidates(dependency, &by_name, environment, python) {
                open.push((index, None));
                open.extend(dependency.extras.iter().map(|extra| (index, Some(extra.clone()))));
            }
        };
        for root in roots.iter().filter(|root| root.applies(environment, python)) {
            follow(root, &mut open);
        }
        while let Some(node) = open.pop() {
            if !seen.insert(node.clone()) {
                continue;
            }
            let (index, extra) = node;
            let package = self.packages[index].get_ref();
            let of_extra: BTreeSet<String> = package
                .extras
                .iter()
                .filter(|(name, _)| extra.as_ref().is_some_and(|extra| normalize(name) == *extra))
                .flat_map(|(_, items)| items.iter().filter_map(|item| pep508::Requirement::parse(item)))
                .map(|requirement| requirement.name)
                .collect();
            let mut inside = environment.clone();
            inside.extras = extra.into_iter().collect();
            for (name, value) in &package.dependencies {
                for dependency in Dependency::all(name, value).into_iter().flatten() {
                    let wanted = !dependency.optional || of_extra.contains(&dependency.name);
                    if wanted && dependency.applies(&inside, python) {
                        follow(&dependency, &mut open);
                    }
                }
            }
        }
        seen.into_iter().map(|(index, _)| index).collect()
    }

    /// Which of the locked versions of a name a dependency means here.
    fn candidates(
        &self,
        dependency: &Dependency,
        by_name: &BTreeMap<String, Vec<usize>>,
        environment: &MarkerEnvironment,
        python: &str,
    ) -> Vec<usize> {
        let all = by_name.get(&dependency.name).cloned().unwrap_or_default();
        if all.len() < 2 {
            let holds = |index: &usize| pep508::holds(self.packages[*index].get_ref().marker.as_deref(), environment);
            return all.into_iter().filter(holds).collect();
        }
        let fits = |index: &usize| {
            let package = self.packages[*index].get_ref();
            let for_python = package.python_versions.as_deref().and_then(Constraint::parse);
            for_python.is_none_or(|constraint| constraint.allows(python)) && dependency.allows(&package.version)
        };
        all.into_iter().filter(fits).take(1).collect()
    }

    /// Whether all that an extra of a package adds here is locked. An extra that the package does not have adds nothing.
    pub(super) fn has_extra(&self, name: &str, extra: &str, environment: &MarkerEnvironment) -> bool {
        let mut environment = environment.clone();
        environment.extras.insert(extra.to_owned());
        let names: BTreeSet<String> = self.packages.iter().map(|package| normalize(&package.get_ref().name)).collect();
        let packages = self.packages.iter().map(Spanned::get_ref).filter(|package| normalize(&package.name) == name);
        let extras = packages.flat_map(|package| &package.extras).filter(|(one, _)| normalize(one) == extra);
        let added = extras.flat_map(|(_, items)| items.iter().filter_map(|item| pep508::Requirement::parse(item)));
        let mut here = added.filter(|one| one.marker.as_ref().is_none_or(|marker| marker.holds(&environment)));
        here.all(|requirement| names.contains(&requirement.name))
    }

    /// The files of a package, wherever the format has them.
    pub(super) fn files(&self, package: &Package) -> Vec<(Option<String>, String)> {
        if !package.files.is_empty() {
            return package.files.iter().map(|file| (Some(file.file.clone()), file.hash.clone())).collect();
        }
        let name = normalize(&package.name);
        if let Some(files) = self.metadata.files.get(&package.name) {
            return files.iter().map(|file| (Some(file.file.clone()), file.hash.clone())).collect();
        }
        let files =
            self.metadata.files.iter().filter(|(other, _)| normalize(other) == name).flat_map(|(_, files)| files);
        let named = files.map(|file| (Some(file.file.clone()), file.hash.clone()));
        let hashes = self.metadata.hashes.iter().filter(|(other, _)| normalize(other) == name).flat_map(|(_, all)| all);
        let bare = hashes.map(|hash| (None, if hash.contains(':') { hash.clone() } else { format!("sha256:{hash}") }));
        named.chain(bare).collect()
    }
}
