//! What a project of Poetry asks for, and what is resolved when it has no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Spanned, Value};

use super::{Chosen, Dependency, MAIN, Place};
use crate::context::Context;
use crate::dependencies::Reading;
use crate::failure::Failure;
use crate::install::Listed;
use crate::pep508::Requirement;
use crate::pip::requirements::normalize;
use crate::pyproject::{Declared, PYPROJECT, PyProject};

use super::constraint::Constraint;

/// The dependencies of a project by group, each with its line, and what its extras add.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) groups: BTreeMap<String, Vec<(Dependency, usize)>>,
    /// Names of dependencies by extra.
    pub(super) extras: BTreeMap<String, BTreeSet<String>>,
}

impl Asked {
    /// Those that are chosen; of optional ones, those of a chosen extra.
    pub(super) fn of(&self, chosen: &Chosen) -> Vec<Dependency> {
        self.with_lines(chosen).map(|(dependency, _)| dependency.clone()).collect()
    }

    fn with_lines(&self, chosen: &Chosen) -> impl Iterator<Item = &(Dependency, usize)> {
        let of_extras: BTreeSet<&String> =
            chosen.extras.iter().filter_map(|extra| self.extras.get(extra)).flatten().collect();
        let groups = self.groups.iter().filter(|(name, _)| chosen.groups.contains(*name));
        groups.flat_map(|(_, all)| all).filter(move |(one, _)| !one.optional || of_extras.contains(&one.name))
    }
}

/// Reads `[project]`, `[tool.poetry]` and `[dependency-groups]`.
pub(super) fn asked(project: &PyProject) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    asked.groups.insert(MAIN.to_owned(), standard(project, &project.dependencies(), false)?);
    for (extra, items) in project.extras() {
        let items = standard(project, &items, true)?;
        asked.extras.entry(extra).or_default().extend(items.iter().map(|(one, _)| one.name.clone()));
        asked.groups.entry(MAIN.to_owned()).or_default().extend(items);
    }
    for (group, items) in project.groups() {
        let items = standard(project, &items, false)?;
        asked.groups.entry(group).or_default().extend(items);
    }
    let Some(poetry) = &project.document.tool.poetry else { return Ok(asked) };
    let main = own(project, &poetry.dependencies)?;
    merge(asked.groups.entry(MAIN.to_owned()).or_default(), main);
    if !poetry.dev_dependencies.is_empty() {
        asked.groups.entry("dev".to_owned()).or_default().extend(own(project, &poetry.dev_dependencies)?);
    }
    for (name, group) in &poetry.group {
        let entry = asked.groups.entry(normalize(name)).or_default();
        merge(entry, own(project, &group.dependencies)?);
        for included in &group.include_groups {
            let more = poetry.group.get(included).map(|group| own(project, &group.dependencies)).transpose()?;
            asked.groups.entry(normalize(name)).or_default().extend(more.into_iter().flatten());
        }
    }
    for (extra, names) in &poetry.extras {
        let names = names.iter().filter_map(|name| Requirement::parse(name)).map(|requirement| requirement.name);
        asked.extras.entry(normalize(extra)).or_default().extend(names);
    }
    Ok(asked)
}

/// `[tool.poetry.dependencies]` adds to what `[project]` says of the same name (a source, a path), or stands for itself.
fn merge(into: &mut Vec<(Dependency, usize)>, own: Vec<(Dependency, usize)>) {
    for (one, line) in own {
        match into.iter_mut().find(|(other, _)| other.name == one.name && other.place.is_none()) {
            Some((other, _)) if one.version == "*" => (other.place, other.source) = (one.place, one.source),
            _ => into.push((one, line)),
        }
    }
}

fn standard(project: &PyProject, items: &[Declared], optional: bool) -> Result<Vec<(Dependency, usize)>, Failure> {
    let parse = |item: &Declared| {
        let requirement = Requirement::parse(&item.text)
            .ok_or_else(|| unreadable(project, item.line, &item.text, "name (>=1,<2)"))?;
        let version = if requirement.specifier.is_empty() { "*".to_owned() } else { requirement.specifier };
        let marker = item.text.split_once(';').map(|(_, marker)| marker.trim().to_owned());
        let place = requirement.url.map(Place::Url);
        let (name, extras) = (requirement.name, requirement.extras);
        let dependency =
            Dependency { name, version, extras, markers: marker, python: None, optional, place, source: None };
        Ok((dependency, item.line))
    };
    items.iter().map(parse).collect()
}

fn own(project: &PyProject, table: &BTreeMap<String, Spanned<Value>>) -> Result<Vec<(Dependency, usize)>, Failure> {
    let mut found = Vec::new();
    for (name, value) in table.iter().filter(|(name, _)| normalize(name) != "python") {
        let line = project.manifest.line_at(value.span().start);
        let all = Dependency::all(name, value.get_ref());
        let all = all.filter(|all| all.iter().all(|one| Constraint::parse(&one.version).is_some()));
        let Some(all) = all else {
            let text = value.get_ref().as_str().map_or_else(|| name.clone(), |text| format!("{name} = \"{text}\""));
            return Err(unreadable(project, line, &text, "name = \"^1.2\""));
        };
        found.extend(all.into_iter().map(|one| (one, line)));
    }
    Ok(found)
}

fn unreadable(project: &PyProject, line: usize, text: &str, example: &str) -> Failure {
    let text = crate::install::mask_credentials(text);
    project.manifest.refuse(
        line,
        &text,
        "this is no dependency as Poetry reads them",
        &format!("write it as: {example}"),
    )
}

/// The requirements of a project without a lock, for a resolution by Poetry's rules.
pub(super) fn resolved(
    project: &PyProject,
    asked: &Asked,
    chosen: &Chosen,
    python: &str,
    reading: &mut Reading,
) -> Result<Listed, Failure> {
    reading.warnings.push(
        "there is no poetry.lock: today's versions are taken, and another build may take others; `poetry lock` fixes them"
            .to_owned(),
    );
    let mut listed = Listed::of(PYPROJECT, &project.manifest.text);
    push_sources(&mut listed, project);
    for (dependency, line) in asked.with_lines(chosen).filter(|(one, _)| one.applies(&chosen.environment, python)) {
        let name = &dependency.name;
        let extras = match dependency.extras.as_slice() {
            [] => String::new(),
            extras => format!("[{}]", extras.join(",")),
        };
        let written = match &dependency.place {
            None => {
                let constraint = Constraint::parse(&dependency.version);
                let constraint = constraint.ok_or_else(|| unreadable(project, *line, name, "name = \"^1.2\""))?;
                if constraint.alternatives.len() > 1 {
                    reading.warnings.push(format!(
                        "{PYPROJECT} line {line}: of `{}` the last alternative is resolved",
                        dependency.version
                    ));
                }
                format!("{name}{extras}{}", constraint.newest())
            }
            Some(Place::Git { url, reference, subdirectory }) => {
                let reference = reference.as_ref().map(|reference| format!("@{reference}")).unwrap_or_default();
                let folder = subdirectory.as_ref().map(|at| format!("#subdirectory={at}")).unwrap_or_default();
                format!("{name}{extras} @ git+{}{reference}{folder}", url.trim_start_matches("git+"))
            }
            Some(Place::Url(url)) => format!("{name}{extras} @ {url}"),
            Some(Place::Path(path)) => {
                let inside = crate::pip::requirements::lexical(Path::new(path));
                let Some(inside) = inside else {
                    let why = "the path leads out of the app, and only the app's files are in the build";
                    return Err(project.manifest.refuse(*line, path, why, "move the package into the app"));
                };
                let written = format!("./{}{extras}", inside.display());
                listed.tree.local_paths.push(inside);
                written
            }
        };
        if written.contains(['\n', '\r']) {
            return Err(unreadable(project, *line, name, "name = \"^1.2\""));
        }
        let shown = format!("{name} = \"{}\"", dependency.version);
        let source = dependency.source.as_deref().filter(|_| dependency.place.is_none());
        if !source.is_some_and(|source| listed.push_bound(name, &shown, *line, &written, source)) {
            listed.push(Some(name), &shown, *line, &written);
        }
    }
    Ok(listed)
}

/// The indexes of the project.
pub(super) fn push_sources(listed: &mut Listed, project: &PyProject) {
    for source in project.document.tool.poetry.iter().flat_map(|poetry| &poetry.source) {
        if let Some(url) = &source.url {
            listed.push_index_for(&source.name, url, source.is_explicit());
        }
    }
}

/// Whether the project itself is installed.
pub(super) enum Itself {
    Installed,
    /// It says that it is no package.
    NotMeant,
    /// It is none, though it does not say so; the warning.
    Missing(String),
}

/// Looks whether there is something to install of the project itself.
pub(super) fn itself(context: &Context, project: &PyProject) -> Itself {
    let document = &project.document;
    let poetry = document.tool.poetry.clone().unwrap_or_default();
    let Some(name) = project.name().filter(|_| poetry.package_mode != Some(false)) else { return Itself::NotMeant };
    let name = name.replace('-', "_");
    let is_there = |path: &str| context.app_dir.join(path).exists();
    let has_module = match &poetry.packages {
        Some(packages) => packages.iter().any(|package| {
            let text = |key: &str| package.get(key).and_then(Value::as_str);
            let from = text("from").map_or(String::new(), |from| format!("{from}/"));
            text("include").is_some_and(|include| include.contains('*') || is_there(&format!("{from}{include}")))
        }),
        None => [name.clone(), format!("src/{name}"), format!("{name}.py"), format!("src/{name}.py")]
            .iter()
            .any(|path| is_there(path)),
    };
    if !has_module {
        return Itself::Missing(format!(
            "the project itself is not installed: there is no package {name} (`package-mode = false` in [tool.poetry] says that none is meant)"
        ));
    }
    if document.build_system.is_none() {
        return Itself::Missing(format!(
            "the project itself is not installed: {PYPROJECT} has no [build-system] that builds it"
        ));
    }
    Itself::Installed
}
