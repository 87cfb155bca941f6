//! `hoist/pylock`: installs what a `pylock.toml` chose (the "pylock.toml" specification, PEP 751), whichever tool wrote it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Kind, Reading};
use crate::failure::Failure;
use crate::install::{LockedFile, LockedList, LockedPackage, Origin, Wanted};
use crate::manifest::Manifest;
use crate::pep508::{self, MarkerEnvironment};
use crate::pip::requirements::normalize;
use crate::pyproject::Selection;

/// The lock.
pub(crate) const PYLOCK: &str = "pylock.toml";

/// The buildpack.
pub(crate) struct PylockBuildpack;

impl Buildpack for PylockBuildpack {
    fn id(&self) -> &'static str {
        "hoist/pylock"
    }

    fn name(&self) -> &'static str {
        "Hoist pylock"
    }

    fn description(&self) -> &'static str {
        "Installs what pylock.toml chose"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Pylock))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: String,
    requires_python: Option<Spanned<String>>,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    extras: Vec<String>,
    #[serde(default)]
    dependency_groups: Vec<String>,
    #[serde(default)]
    default_groups: Vec<String>,
    #[serde(default)]
    packages: Vec<Spanned<Package>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    index: Option<String>,
    vcs: Option<Vcs>,
    directory: Option<Directory>,
    archive: Option<File>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    path: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Directory {
    path: String,
    subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// Reads the lock for a build with this Python.
pub(crate) fn read(context: &Context, python: &str) -> Result<Reading, Failure> {
    let Some(manifest) = Manifest::read(context, PYLOCK)? else { return Err(dependencies::gone(PYLOCK)) };
    let lock: Pylock = manifest.toml()?;
    if !lock.lock_version.starts_with("1.") {
        let line = manifest.line_with("lock-version");
        let seen = format!("lock-version = \"{}\"", lock.lock_version);
        return Err(manifest.refuse(line, &seen, "this hoist reads version 1", "make the lock anew in version 1.0"));
    }
    let selection = Selection::of(context);
    let names = |names: &[String]| -> BTreeSet<String> { names.iter().map(|name| normalize(name)).collect() };
    selection.check(PYLOCK, &names(&lock.extras), &names(&lock.dependency_groups))?;
    let mut environment = MarkerEnvironment::linux(python);
    environment.extras.clone_from(&selection.extras);
    environment.groups = names(&lock.default_groups).union(&selection.groups).cloned().collect();
    let here = |marker: &String| pep508::holds(Some(marker), &environment);
    if !lock.environments.is_empty() && !lock.environments.iter().any(here) {
        return Err(manifest.refuse(
            manifest.line_with("environments"),
            &format!("environments = {:?}", lock.environments),
            &format!("none of them is Linux on {} with Python {python}", std::env::consts::ARCH),
            "make the lock anew for this environment as well",
        ));
    }
    let mut list = LockedList::new(context, &manifest, python);
    if let Some(wanted) = &lock.requires_python {
        list.check_python(manifest.line_at(wanted.span().start), wanted.get_ref())?;
    }
    let mut indexes: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &lock.packages {
        let line = manifest.line_at(package.span().start);
        let package = package.get_ref();
        if !pep508::holds(package.marker.as_deref(), &environment) {
            continue;
        }
        if let Some(index) = &package.index {
            *indexes.entry(index).or_default() += 1;
        }
        list.push(&locked(&manifest, package, line)?)?;
    }
    // The index that most packages are of is the one that a mirror of the build's stands for.
    let most = indexes.iter().max_by_key(|(_, count)| **count).map(|(url, _)| *url);
    for url in indexes.keys().filter(|url| !(Some(**url) == most && crate::install::has_index(context))) {
        let number = list.listed.indexes.len();
        list.listed.push_index(&format!("lock-{number}"), url);
    }
    let notes = selection.note().into_iter().collect();
    Ok(Reading { wanted: Some(Wanted::Locked(list.listed)), notes, warnings: Vec::new() })
}

fn locked(manifest: &Manifest, package: &Package, line: usize) -> Result<LockedPackage, Failure> {
    let hashes = |file: &File| -> Vec<LockedFile> {
        let name = file.name.clone().or_else(|| file.path.clone()).or_else(|| file.url.clone());
        file.hashes
            .iter()
            .map(|(kind, hash)| LockedFile { name: name.clone(), hash: format!("{kind}:{hash}") })
            .collect()
    };
    let (origin, files) = if let Some(vcs) = &package.vcs {
        if vcs.kind != "git" {
            let seen = format!("{} is in a repository of {}", package.name, vcs.kind);
            let why = "this hoist fetches from git alone";
            return Err(manifest.refuse(line, &seen, why, "take a release of it from an index, or an archive"));
        }
        let url = vcs.url.clone().or_else(|| vcs.path.clone()).unwrap_or_default();
        (Origin::Git { url, commit: vcs.commit_id.clone(), subdirectory: vcs.subdirectory.clone() }, Vec::new())
    } else if let Some(directory) = &package.directory {
        let path = match &directory.subdirectory {
            Some(below) => format!("{}/{below}", directory.path),
            None => directory.path.clone(),
        };
        (Origin::Path { path }, Vec::new())
    } else if let Some(archive) = &package.archive {
        match (&archive.url, &archive.path) {
            (Some(url), _) => (Origin::Url(url.clone()), hashes(archive)),
            (None, path) => (Origin::Path { path: path.clone().unwrap_or_default() }, hashes(archive)),
        }
    } else {
        let files: Vec<LockedFile> = package.wheels.iter().chain(&package.sdist).flat_map(&hashes).collect();
        let name = |file: &File| file.name.clone().or_else(|| file.path.clone());
        let fits = |file: &&File| name(file).is_none_or(|name| crate::install::fits(&name));
        let beside = package.wheels.iter().filter(fits).chain(&package.sdist).find(|file| file.url.is_none());
        let vendored = beside.and_then(|file| Some((file.path.clone()?, hashes(file))));
        match vendored {
            Some((path, files)) => (Origin::Path { path }, files),
            None => (Origin::Index, files),
        }
    };
    Ok(LockedPackage { name: package.name.clone(), version: package.version.clone(), line, origin, files })
}

#[cfg(test)]
mod tests;
