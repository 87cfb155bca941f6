//! `hoist/pdm`: installs what `pdm.lock` chose (formats 4.x), without PDM.
//!
//! A lock with the strategy `inherit_metadata` says the groups and markers of each package; from another one the way from the project through
//! the dependencies is walked.

mod content_hash;
mod document;

use std::collections::BTreeSet;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Drift, Kind, Reading};
use crate::failure::Failure;
use crate::install::{LockedFile, LockedList, LockedPackage, Origin, Wanted, push_project};
use crate::manifest::Manifest;
use crate::pep440::{Specifiers, Version};
use crate::pep508::{MarkerEnvironment, Requirement};
use crate::pip::requirements::normalize;
use crate::pyproject::{PYPROJECT, PyProject, Selection};

use document::{Package, PdmLock};

/// The lock.
pub(crate) const PDM_LOCK: &str = "pdm.lock";
const DEFAULT: &str = "default";

/// The buildpack.
pub(crate) struct PdmBuildpack;

impl Buildpack for PdmBuildpack {
    fn id(&self) -> &'static str {
        "hoist/pdm"
    }

    fn name(&self) -> &'static str {
        "Hoist PDM"
    }

    fn description(&self) -> &'static str {
        "Installs what pdm.lock chose, without PDM"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Pdm))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

/// Reads the lock for a build with this Python.
pub(crate) fn read(context: &Context, python: &str) -> Result<Reading, Failure> {
    let Some(manifest) = Manifest::read(context, PDM_LOCK)? else { return Err(dependencies::gone(PDM_LOCK)) };
    let Some(project) = PyProject::read(context)? else {
        let fix = "add pyproject.toml; look whether .gitignore or an exclude rule keeps it away";
        let why = "a lock belongs to the project whose dependencies it locks";
        return Err(manifest.refuse(1, "there is no pyproject.toml beside it", why, fix));
    };
    let lock: PdmLock = manifest.toml()?;
    let format = lock.metadata.lock_version.as_deref().unwrap_or("?");
    if format.split('.').next() != Some("4") {
        let seen = format!("lock_version = \"{format}\"");
        let line = manifest.line_with("lock_version");
        return Err(manifest.refuse(
            line,
            &seen,
            "this hoist reads the formats 4.x",
            "run `pdm lock` with PDM 2.8 or later",
        ));
    }
    let selection = Selection::of(context);
    let known: BTreeSet<String> = lock.metadata.groups.iter().map(|name| normalize(name)).collect();
    // Extras are groups of the lock as well.
    selection.check(PDM_LOCK, &known, &known)?;
    let mut groups: BTreeSet<String> = selection.extras.union(&selection.groups).cloned().collect();
    groups.insert(DEFAULT.to_owned());
    let environment = MarkerEnvironment::linux(python);
    let roots = roots(&project, &groups);
    let warnings = check(&manifest, &lock, &project, &roots, &environment)?;
    let mut list = LockedList::new(context, &manifest, python);
    let targets = lock.metadata.targets.iter().filter_map(|target| target.requires_python.as_ref()).collect::<Vec<_>>();
    if let [only] = targets.as_slice() {
        list.check_python(manifest.line_at(only.span().start), only.get_ref())?;
    }
    let indexes =
        if lock.has_groups() { lock.of_groups(&groups, &environment) } else { lock.walk(&roots, &environment) };
    let mut seen = BTreeSet::new();
    for index in indexes {
        let package = &lock.packages[index];
        let line = manifest.line_at(package.span().start);
        // A package with extras stands there once more, with what they need.
        if seen.insert(normalize(&package.get_ref().name)) {
            list.push(&locked(&lock, package.get_ref(), line))?;
        }
    }
    let mut listed = list.listed;
    for source in project.document.tool.pdm.iter().flat_map(|pdm| &pdm.source) {
        if let Some(url) = source.url.as_ref().filter(|_| source.kind != "find_links") {
            listed.push_index(&source.name, url);
        }
    }
    if project.document.build_system.is_some() && is_distribution(&project) {
        push_project(&mut listed, context, project.name().as_deref(), &[])?;
    }
    let notes = selection.note().into_iter().collect();
    Ok(Reading { wanted: Some(Wanted::Locked(listed)), notes, warnings })
}

/// What the project asks for in some groups.
fn roots(project: &PyProject, groups: &BTreeSet<String>) -> Vec<Requirement> {
    let mut declared = project.dependencies();
    let others = project.extras().into_iter().chain(project.groups());
    declared.extend(others.filter(|(name, _)| groups.contains(name)).flat_map(|(_, items)| items));
    // What is no requirement (`-e file:///…`) is only PDM's to read.
    declared.iter().filter_map(|item| Requirement::parse(&item.text)).collect()
}

/// Whether the project itself is a package, as it says; without a word it is one.
fn is_distribution(project: &PyProject) -> bool {
    let Some(pdm) = &project.document.tool.pdm else { return true };
    pdm.package_type.as_ref().map_or(pdm.distribution != Some(false), |kind| kind == "library")
}

/// Refuses a lock that does not have what the project asks for. Another content_hash alone is a warning: nothing that is installed differs
/// by it.
fn check(
    manifest: &Manifest,
    lock: &PdmLock,
    project: &PyProject,
    roots: &[Requirement],
    environment: &MarkerEnvironment,
) -> Result<Vec<String>, Failure> {
    let document: toml::Table = project.manifest.toml()?;
    let hash = lock.metadata.content_hash.as_deref();
    if hash.is_some_and(|hash| content_hash::is_of(hash, &document)) {
        return Ok(Vec::new());
    }
    let mut drift = Drift::default();
    for root in roots.iter().filter(|root| root.marker.as_ref().is_none_or(|marker| marker.holds(environment))) {
        let packages: Vec<&Package> =
            lock.packages.iter().map(toml::Spanned::get_ref).filter(|p| normalize(&p.name) == root.name).collect();
        let specifiers = Specifiers::parse(&root.specifier).unwrap_or_default();
        let allowed = |package: &&Package| {
            let version = package.version.as_deref().and_then(Version::parse);
            root.url.is_some() || package.is_direct() || version.is_none_or(|version| specifiers.allow(&version))
        };
        if packages.is_empty() {
            drift.added(&root.name);
        } else if !packages.iter().any(allowed) {
            let versions: Vec<&str> = packages.iter().filter_map(|package| package.version.as_deref()).collect();
            drift.changed(&root.name, &versions.join(", "), &root.specifier);
        } else if let Some(extra) = root.extras.iter().find(|extra| !packages.iter().any(|one| has_extra(one, extra))) {
            drift.added(&format!("{}[{extra}]", root.name));
        }
    }
    if !drift.is_empty() {
        return Err(drift.refuse(manifest, "pdm lock"));
    }
    // Locks that name what they were made from in another way have no such hash.
    Ok(hash.map_or_else(Vec::new, |_| {
        vec![format!(
            "{PDM_LOCK} was made from another state of {PYPROJECT}: all that is asked for is locked, but `pdm lock` is due"
        )]
    }))
}

fn has_extra(package: &Package, extra: &str) -> bool {
    package.extras.iter().any(|one| normalize(one) == extra)
}

fn locked(lock: &PdmLock, package: &Package, line: usize) -> LockedPackage {
    let origin = if let Some(git) = &package.git {
        let commit = package.revision.clone().unwrap_or_default();
        Origin::Git { url: git.clone(), commit, subdirectory: package.subdirectory.clone() }
    } else if let Some(path) = &package.path {
        Origin::Path { path: path.clone() }
    } else if let Some(url) = &package.url {
        Origin::Url(url.clone())
    } else {
        Origin::Index
    };
    let files = lock
        .files(package)
        .iter()
        .map(|file| LockedFile { name: file.name.clone().or_else(|| file.url.clone()), hash: file.hash.clone() });
    LockedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        line,
        files: if matches!(origin, Origin::Index | Origin::Url(_)) { files.collect() } else { Vec::new() },
        origin,
    }
}

#[cfg(test)]
mod tests;
