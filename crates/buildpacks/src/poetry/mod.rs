//! `hoist/poetry`: installs what `poetry.lock` chose, or what a project of Poetry asks for when it has no lock, without Poetry.
//!
//! The main group is installed; groups and extras are chosen by variables. A lock that lacks something that the project asks for is refused
//! with what drifted.

mod constraint;
mod content_hash;
mod dependency;
mod document;
mod project;

use std::collections::BTreeSet;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Drift, Kind, Reading};
use crate::failure::Failure;
use crate::install::{Listed, LockedFile, LockedList, LockedPackage, Origin, Wanted, push_project};
use crate::manifest::Manifest;
use crate::pep508::MarkerEnvironment;
use crate::pip::requirements::normalize;
use crate::pyproject::{PYPROJECT, PyProject, Selection};

use constraint::Constraint;
use dependency::{Dependency, Place};
use document::{Package, PoetryLock};
use project::{Asked, Itself};

/// The lock.
pub(crate) const POETRY_LOCK: &str = "poetry.lock";
/// Which groups are installed, as in Paketo's buildpacks: nothing else is.
const ONLY_VARIABLE: &str = "BP_POETRY_INSTALL_ONLY";
const MAIN: &str = "main";

/// The buildpack.
pub(crate) struct PoetryBuildpack;

impl Buildpack for PoetryBuildpack {
    fn id(&self) -> &'static str {
        "hoist/poetry"
    }

    fn name(&self) -> &'static str {
        "Hoist Poetry"
    }

    fn description(&self) -> &'static str {
        "Installs what poetry.lock chose, or resolves a project of Poetry, without Poetry"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Poetry))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

/// What a build chooses of a project.
struct Chosen {
    groups: BTreeSet<String>,
    extras: BTreeSet<String>,
    environment: MarkerEnvironment,
}

/// Reads the lock, or the project where there is none, for a build with this Python.
pub(crate) fn read(context: &Context, python: &str) -> Result<Reading, Failure> {
    let Some(project) = PyProject::read(context)? else { return Err(without_project()) };
    let asked = project::asked(&project)?;
    let mut reading = Reading::default();
    let chosen = choose(context, &project, &asked, python, &mut reading)?;
    let lock = Manifest::read(context, POETRY_LOCK)?;
    let mut listed = match &lock {
        Some(manifest) => {
            let (listed, warnings) = locked(context, manifest, &project, &asked, &chosen, python)?;
            reading.warnings.extend(warnings);
            listed
        }
        None => project::resolved(&project, &asked, &chosen, python, &mut reading)?,
    };
    project::push_sources(&mut listed, &project);
    match project::itself(context, &project) {
        Itself::Installed => push_project(&mut listed, context, project.name().as_deref(), &[])?,
        Itself::NotMeant => {}
        Itself::Missing(warning) => reading.warnings.push(warning),
    }
    reading.wanted = Some(if lock.is_some() { Wanted::Locked(listed) } else { Wanted::Project(listed) });
    Ok(reading)
}

fn choose(
    context: &Context,
    project: &PyProject,
    asked: &Asked,
    python: &str,
    reading: &mut Reading,
) -> Result<Chosen, Failure> {
    let selection = Selection::of(context);
    let known: BTreeSet<String> = asked.groups.keys().filter(|name| *name != MAIN).cloned().collect();
    selection.check(PYPROJECT, &asked.extras.keys().cloned().collect(), &known)?;
    reading.notes.extend(selection.note());
    let mut groups = selection.groups;
    match context.variable(ONLY_VARIABLE) {
        None => {
            groups.insert(MAIN.to_owned());
        }
        Some(only) => {
            let only = only.split([',', ' ']).filter(|name| !name.is_empty()).map(normalize);
            groups.extend(only);
            reading.notes.push(format!("{ONLY_VARIABLE}: {}", groups.iter().cloned().collect::<Vec<_>>().join(", ")));
            if let Some(missing) = groups.iter().find(|name| !asked.groups.contains_key(*name)) {
                let known: Vec<&str> = asked.groups.keys().map(String::as_str).collect();
                return Err(Failure::new(
                    "choosing what to install",
                    format!("{ONLY_VARIABLE} asks for `{missing}`"),
                    format!("{} knows no group of this name", project.manifest.name),
                    format!("set {ONLY_VARIABLE} to some of: {}", known.join(", ")),
                ));
            }
        }
    }
    let mut environment = MarkerEnvironment::linux(python);
    environment.extras.clone_from(&selection.extras);
    Ok(Chosen { groups, extras: selection.extras, environment })
}

fn locked(
    context: &Context,
    manifest: &Manifest,
    project: &PyProject,
    asked: &Asked,
    chosen: &Chosen,
    python: &str,
) -> Result<(Listed, Vec<String>), Failure> {
    let lock: PoetryLock = manifest.toml()?;
    let format = lock.metadata.lock_version.as_deref().unwrap_or("1.0");
    if !matches!(format.split('.').next(), Some("1" | "2")) {
        let line = manifest.line_with("lock-version");
        let seen = format!("lock-version = \"{format}\"");
        return Err(manifest.refuse(
            line,
            &seen,
            "this hoist reads the formats 1 and 2",
            "run `poetry lock` with Poetry 2",
        ));
    }
    let warnings = check(manifest, &lock, project, asked, chosen, python)?;
    let mut list = LockedList::new(context, manifest, python);
    if let Some(wanted) = &lock.metadata.python_versions {
        let alternatives = Constraint::parse(wanted.get_ref()).map(|constraint| constraint.alternatives);
        if let Some([single]) = alternatives.as_deref() {
            list.check_python(manifest.line_at(wanted.span().start), single)?;
        }
    }
    let indexes = if lock.has_groups() {
        lock.of_groups(&chosen.groups, &chosen.environment)
    } else {
        lock.walk(&asked.of(chosen), &chosen.environment, python)
    };
    for index in indexes {
        let package = &lock.packages[index];
        list.push(&package_of(&lock, package.get_ref(), manifest.line_at(package.span().start)))?;
    }
    Ok((list.listed, warnings))
}

fn package_of(lock: &PoetryLock, package: &Package, line: usize) -> LockedPackage {
    let source = package.source.clone().unwrap_or_default();
    let origin = match source.kind.as_str() {
        "git" => Origin::Git {
            url: source.url,
            commit: source.resolved_reference.unwrap_or_default(),
            subdirectory: source.subdirectory,
        },
        "directory" | "file" => Origin::Path { path: source.url },
        "url" => Origin::Url(source.url),
        _ => Origin::Index,
    };
    let files = lock.files(package).into_iter().map(|(name, hash)| LockedFile { name, hash });
    LockedPackage {
        name: package.name.clone(),
        version: Some(package.version.clone()),
        line,
        files: if matches!(origin, Origin::Git { .. }) { Vec::new() } else { files.collect() },
        origin,
    }
}

/// Refuses a lock that does not have what the project asks for. Another content-hash alone is a warning: nothing that is installed differs
/// by it.
fn check(
    manifest: &Manifest,
    lock: &PoetryLock,
    project: &PyProject,
    asked: &Asked,
    chosen: &Chosen,
    python: &str,
) -> Result<Vec<String>, Failure> {
    let document: toml::Table = project.manifest.toml()?;
    if lock.metadata.content_hash.as_deref() == Some(&content_hash::content_hash(&document)) {
        return Ok(Vec::new());
    }
    let mut drift = Drift::default();
    for dependency in asked.of(chosen).iter().filter(|asked| asked.applies(&chosen.environment, python)) {
        let versions: Vec<&str> = lock
            .packages
            .iter()
            .map(toml::Spanned::get_ref)
            .filter(|package| normalize(&package.name) == dependency.name)
            .map(|package| package.version.as_str())
            .collect();
        if versions.is_empty() {
            drift.added(&dependency.name);
        } else if !versions.iter().any(|version| dependency.allows(version)) {
            drift.changed(&dependency.name, &versions.join(", "), &dependency.version);
        } else if let Some(extra) =
            dependency.extras.iter().find(|extra| !lock.has_extra(&dependency.name, extra, &chosen.environment))
        {
            drift.added(&format!("{}[{extra}]", dependency.name));
        }
    }
    if !drift.is_empty() {
        return Err(drift.refuse(manifest, "poetry lock"));
    }
    Ok(vec![format!(
        "{POETRY_LOCK} was made from another state of {PYPROJECT}: all that is asked for is locked, but `poetry lock` is due"
    )])
}

fn without_project() -> Failure {
    Failure::new(
        format!("reading {POETRY_LOCK}"),
        format!("there is no {PYPROJECT} beside it"),
        "a lock belongs to the project whose dependencies it locks",
        format!("add {PYPROJECT}; look whether .gitignore or an exclude rule keeps it away"),
    )
}

#[cfg(test)]
mod tests;
