//! `hoist/uv`: installs what `uv.lock` chose. The lock is read here, so that the build's own indexes are asked (by hash), and so that nothing
//! runs when nothing changed; a lock that the project has outgrown is refused with what drifted, as `uv sync --locked` would refuse it.

mod document;
mod drift;

use std::collections::BTreeSet;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Kind, Reading};
use crate::failure::Failure;
use crate::install::{LockedFile, LockedList, LockedPackage, Origin, Wanted};
use crate::manifest::Manifest;
use crate::pep508::MarkerEnvironment;
use crate::pip::requirements::normalize;
use crate::pyproject::{PyProject, Selection};

use document::{Package, Roots, UvLock};

/// The lock.
pub(crate) const UV_LOCK: &str = "uv.lock";
/// Which packages of a workspace are installed.
const PACKAGE_VARIABLE: &str = "BP_UV_PACKAGE";
/// The layout of locks that is read here.
const VERSION: u32 = 1;

/// The buildpack.
pub(crate) struct UvBuildpack;

impl Buildpack for UvBuildpack {
    fn id(&self) -> &'static str {
        "hoist/uv"
    }

    fn name(&self) -> &'static str {
        "Hoist uv"
    }

    fn description(&self) -> &'static str {
        "Installs what uv.lock chose, and refuses a lock that the project has outgrown"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Uv))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

/// Reads the lock for a build with this Python.
pub(crate) fn read(context: &Context, python: &str) -> Result<Reading, Failure> {
    let Some(manifest) = Manifest::read(context, UV_LOCK)? else { return Err(dependencies::gone(UV_LOCK)) };
    let Some(project) = PyProject::read(context)? else { return Err(without_project(&manifest)) };
    let lock: UvLock = manifest.toml()?;
    if lock.version != VERSION {
        let seen = format!("version = {}", lock.version);
        let line = manifest.line_with("version");
        let fix = "make the lock anew with uv 0.13 (`uvx uv@0.13.9 lock`)";
        return Err(manifest.refuse(line, &seen, "this hoist reads locks of version 1", fix));
    }
    let selection = Selection::of(context);
    let roots = roots(context, &manifest, &lock)?;
    let extras: BTreeSet<String> = lock.names(&roots, |package| package.optional_dependencies.keys());
    let groups: BTreeSet<String> = lock.names(&roots, |package| package.dev_dependencies.keys());
    let mut reading = Reading::default();
    reading.warnings.extend(drift::check(context, &manifest, &lock, &project, &selection, python)?);
    selection.check(UV_LOCK, &extras, &groups)?;
    reading.notes.extend(selection.note());
    let mut list = LockedList::new(context, &manifest, python);
    if let Some(python) = &lock.requires_python {
        list.check_python(manifest.line_at(python.span().start), python.get_ref())?;
    }
    let from = Roots { packages: roots, extras: &selection.extras, groups: &selection.groups };
    for index in lock.walk(&from, &MarkerEnvironment::linux(python)) {
        let package = &lock.packages[index];
        let line = manifest.line_at(package.span().start);
        if let Some(package) = locked(package.get_ref(), line, &mut list) {
            list.push(&package)?;
        }
    }
    for index in project.document.tool.uv.iter().flat_map(|uv| &uv.index) {
        if let Some(url) = index.url.as_ref().filter(|_| !index.default) {
            list.listed.push_index(&index.name, url);
        }
    }
    reading.wanted = Some(Wanted::Locked(list.listed));
    Ok(reading)
}

/// The packages that are installed with all they need: the one at the root; of a root that is none, all members; or those that are named.
fn roots(context: &Context, manifest: &Manifest, lock: &UvLock) -> Result<Vec<usize>, Failure> {
    let find = |wanted: &dyn Fn(&Package) -> bool| -> Vec<usize> {
        let all = lock.packages.iter().enumerate();
        all.filter(|(_, package)| wanted(package.get_ref())).map(|(index, _)| index).collect()
    };
    let is_member = |package: &Package| package.source.folder().is_some();
    if let Some(names) = context.variable(PACKAGE_VARIABLE) {
        let names: BTreeSet<String> = names.split([',', ' ']).filter(|name| !name.is_empty()).map(normalize).collect();
        let found = find(&|package| is_member(package) && names.contains(&normalize(&package.name)));
        if found.len() == names.len() {
            return Ok(found);
        }
        let known: Vec<&str> =
            find(&is_member).into_iter().map(|index| lock.packages[index].get_ref().name.as_str()).collect();
        return Err(Failure::new(
            "choosing what to install",
            format!("{PACKAGE_VARIABLE} asks for {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            format!("{UV_LOCK} knows no member of the workspace of this name"),
            format!("set {PACKAGE_VARIABLE} to some of: {}", known.join(", ")),
        ));
    }
    let root = find(&|package| package.source.folder() == Some("."));
    let members = |package: &Package| lock.manifest.members.contains(&package.name) && is_member(package);
    let found = if root.is_empty() { find(&members) } else { root };
    if found.is_empty() && !lock.packages.is_empty() {
        let why = "it is the lock of something else than this app";
        return Err(manifest.refuse(
            1,
            "no package of the app stands in it",
            why,
            "run `uv lock` beside pyproject.toml",
        ));
    }
    Ok(found)
}

/// One package for the installer; none for a project that is no package.
fn locked(package: &Package, line: usize, list: &mut LockedList<'_>) -> Option<LockedPackage> {
    let source = &package.source;
    if source.virtual_at.is_some() {
        return None;
    }
    let origin = if let Some(git) = &source.git {
        git_origin(git)
    } else if let Some(url) = &source.url {
        Origin::Url(url.clone())
    } else if let Some(path) = source.folder().or(source.path.as_deref()) {
        Origin::Path { path: path.to_owned() }
    } else {
        if let Some(folder) = source.registry.as_ref().filter(|registry| !registry.contains("://")) {
            list.push_find_links(folder);
        }
        Origin::Index
    };
    let files = package.wheels.iter().chain(&package.sdist).filter_map(|file| {
        let name = file.filename.as_ref().or(file.path.as_ref()).or(file.url.as_ref());
        Some(LockedFile { name: name.cloned(), hash: file.hash.clone()? })
    });
    Some(LockedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        line,
        origin,
        files: files.collect(),
    })
}

/// `https://h/x.git?subdirectory=a&rev=v1#<commit>`.
fn git_origin(url: &str) -> Origin {
    let (address, commit) = url.split_once('#').unwrap_or((url, ""));
    let (url, query) = address.split_once('?').unwrap_or((address, ""));
    let subdirectory = query.split('&').find_map(|pair| pair.strip_prefix("subdirectory=")).map(str::to_owned);
    Origin::Git { url: url.to_owned(), commit: commit.to_owned(), subdirectory }
}

impl UvLock {
    /// Names that the roots have of something.
    fn names<'a, I: Iterator<Item = &'a String>>(
        &'a self,
        roots: &[usize],
        keys: impl Fn(&'a Package) -> I,
    ) -> BTreeSet<String> {
        roots.iter().flat_map(|root| keys(self.packages[*root].get_ref())).cloned().collect()
    }
}

fn without_project(manifest: &Manifest) -> Failure {
    manifest.refuse(
        1,
        "there is no pyproject.toml beside it",
        "a lock belongs to the project whose dependencies it locks",
        "add pyproject.toml; look whether .gitignore or an exclude rule keeps it away",
    )
}

#[cfg(test)]
mod tests;
