//! The shape of `uv.lock`, and the way from the project through its dependencies to what is to be installed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use crate::pep508::{self, MarkerEnvironment};

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UvLock {
    pub(super) version: u32,
    pub(super) requires_python: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) manifest: Manifest,
    #[serde(default, rename = "package")]
    pub(super) packages: Vec<Spanned<Package>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) members: Vec<String>,
}

/// `[[package]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(super) optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    pub(super) dev_dependencies: BTreeMap<String, Vec<Dependency>>,
    pub(super) sdist: Option<File>,
    #[serde(default)]
    pub(super) wheels: Vec<File>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

/// Where a package comes from: one of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Source {
    pub(super) registry: Option<String>,
    pub(super) git: Option<String>,
    pub(super) url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) directory: Option<String>,
    pub(super) editable: Option<String>,
    #[serde(rename = "virtual")]
    pub(super) virtual_at: Option<String>,
    pub(super) subdirectory: Option<String>,
}

impl Source {
    /// The folder of a package of the app.
    pub(super) fn folder(&self) -> Option<&str> {
        self.editable.as_deref().or(self.directory.as_deref()).or(self.virtual_at.as_deref())
    }
}

/// An edge.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) source: Option<Source>,
    #[serde(default)]
    pub(super) extra: Vec<String>,
    pub(super) marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct File {
    pub(super) url: Option<String>,
    pub(super) path: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) hash: Option<String>,
}

/// What the project asked for when the lock was made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) requires_dist: Vec<Asked>,
    #[serde(default)]
    pub(super) requires_dev: BTreeMap<String, Vec<Asked>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) specifier: Option<String>,
    #[serde(default)]
    pub(super) extras: Vec<String>,
    pub(super) marker: Option<String>,
    pub(super) git: Option<String>,
}

/// What is walked from.
pub(super) struct Roots<'a> {
    /// Indexes of the packages of the app that lead.
    pub(super) packages: Vec<usize>,
    pub(super) extras: &'a BTreeSet<String>,
    pub(super) groups: &'a BTreeSet<String>,
}

impl UvLock {
    /// All packages that the roots need here, by index. An extra of a root belongs to each root that has it.
    pub(super) fn walk(&self, roots: &Roots<'_>, environment: &MarkerEnvironment) -> BTreeSet<usize> {
        let mut environment = environment.clone();
        for root in &roots.packages {
            // Conflicting extras are told from others by names like `extra-3-app-cpu`.
            let name = &self.packages[*root].get_ref().name;
            for (kind, selected) in [("extra", roots.extras), ("group", roots.groups)] {
                environment.extras.extend(selected.iter().map(|one| format!("{kind}-{}-{name}-{one}", name.len())));
            }
        }
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            by_name.entry(&package.get_ref().name).or_default().push(index);
        }
        let mut seen: BTreeSet<(usize, Option<&str>)> = BTreeSet::new();
        let mut open: Vec<(usize, Option<&str>)> = Vec::new();
        for root in &roots.packages {
            open.push((*root, None));
            open.extend(roots.extras.iter().map(|extra| (*root, Some(extra.as_str()))));
        }
        let groups = roots.packages.iter().flat_map(|root| {
            let package = self.packages[*root].get_ref();
            roots.groups.iter().filter_map(|group| package.dev_dependencies.get(group))
        });
        for dependency in groups.flatten() {
            self.follow(dependency, &by_name, &environment, &mut open);
        }
        while let Some(node) = open.pop() {
            if !seen.insert(node) {
                continue;
            }
            let package = self.packages[node.0].get_ref();
            let dependencies = match node.1 {
                None => Some(&package.dependencies),
                Some(extra) => package.optional_dependencies.get(extra),
            };
            for dependency in dependencies.into_iter().flatten() {
                self.follow(dependency, &by_name, &environment, &mut open);
            }
        }
        seen.into_iter().map(|(index, _)| index).collect()
    }

    fn follow<'a>(
        &'a self,
        dependency: &'a Dependency,
        by_name: &BTreeMap<&str, Vec<usize>>,
        environment: &MarkerEnvironment,
        open: &mut Vec<(usize, Option<&'a str>)>,
    ) {
        if !pep508::holds(dependency.marker.as_deref(), environment) {
            return;
        }
        let is_meant = |package: &Package| {
            dependency.version.as_ref().is_none_or(|version| package.version.as_ref() == Some(version))
                && dependency.source.as_ref().is_none_or(|source| package.source == *source)
        };
        for index in by_name.get(dependency.name.as_str()).into_iter().flatten() {
            if is_meant(self.packages[*index].get_ref()) {
                open.push((*index, None));
                open.extend(dependency.extra.iter().map(|extra| (*index, Some(extra.as_str()))));
            }
        }
    }
}
