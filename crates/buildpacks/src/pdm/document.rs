//! The shape of `pdm.lock`, and which of its packages are meant. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use crate::pep508::{self, MarkerEnvironment, Requirement};
use crate::pip::requirements::normalize;

/// The file.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PdmLock {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default, rename = "package")]
    pub(super) packages: Vec<Spanned<Package>>,
}

/// `[metadata]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) strategy: Vec<String>,
    pub(super) lock_version: Option<String>,
    /// `sha256:…` of what the project asked for.
    pub(super) content_hash: Option<String>,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
    /// Formats before 4.3: `"flask 3.0"` to its files.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Vec<File>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Target {
    pub(super) requires_python: Option<Spanned<String>>,
}

/// `[[package]]`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    pub(super) marker: Option<String>,
    #[serde(default)]
    pub(super) extras: Vec<String>,
    #[serde(default)]
    pub(super) dependencies: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<File>,
    pub(super) git: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) subdirectory: Option<String>,
    pub(super) path: Option<String>,
    pub(super) url: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct File {
    #[serde(rename = "file")]
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) hash: String,
}

impl Package {
    /// Whether it comes from no index.
    pub(super) fn is_direct(&self) -> bool {
        self.git.is_some() || self.path.is_some() || self.url.is_some()
    }
}

impl PdmLock {
    /// Whether the packages say their groups and markers.
    pub(super) fn has_groups(&self) -> bool {
        self.metadata.strategy.iter().any(|strategy| strategy == "inherit_metadata")
    }

    /// The packages of some groups, by index, when packages say them.
    pub(super) fn of_groups(&self, groups: &BTreeSet<String>, environment: &MarkerEnvironment) -> BTreeSet<usize> {
        let is_meant = |package: &Package| {
            package.groups.iter().any(|group| groups.contains(&normalize(group)))
                && pep508::holds(package.marker.as_deref(), environment)
        };
        let all = self.packages.iter().enumerate();
        all.filter(|(_, package)| is_meant(package.get_ref())).map(|(index, _)| index).collect()
    }

    /// The packages that some requirements need.
    pub(super) fn walk(&self, roots: &[Requirement], environment: &MarkerEnvironment) -> BTreeSet<usize> {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            by_name.entry(normalize(&package.get_ref().name)).or_default().push(index);
        }
        let mut seen = BTreeSet::new();
        let mut open = Vec::new();
        let follow = |requirement: &Requirement, open: &mut Vec<usize>| {
            if !requirement.marker.as_ref().is_none_or(|marker| marker.holds(environment)) {
                return;
            }
            for index in by_name.get(&requirement.name).into_iter().flatten() {
                let package = self.packages[*index].get_ref();
                let wanted = |extra: &String| requirement.extras.contains(&normalize(extra));
                if package.extras.iter().all(wanted) && pep508::holds(package.marker.as_deref(), environment) {
                    open.push(*index);
                }
            }
        };
        for root in roots {
            follow(root, &mut open);
        }
        while let Some(index) = open.pop() {
            if seen.insert(index) {
                for text in &self.packages[index].get_ref().dependencies {
                    if let Some(requirement) = Requirement::parse(text) {
                        follow(&requirement, &mut open);
                    }
                }
            }
        }
        seen
    }

    /// The files of a package, wherever the format has them.
    pub(super) fn files<'a>(&'a self, package: &'a Package) -> &'a [File] {
        if !package.files.is_empty() {
            return &package.files;
        }
        let key = format!("{} {}", package.name, package.version.as_deref().unwrap_or_default());
        self.metadata.files.get(&key).map_or(&[], Vec::as_slice)
    }
}
