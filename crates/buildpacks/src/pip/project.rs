//! A project without a lock: what it asks for is resolved at the build, with a warning, and the project itself is installed where it is a
//! package, as pip would.

use std::path::Path;

use toml::Value;

use super::requirements::lexical;
use crate::context::Context;
use crate::dependencies::Reading;
use crate::failure::Failure;
use crate::install::{Listed, Wanted, push_project};
use crate::manifest::Manifest;
use crate::pep508::{self, MarkerEnvironment, Requirement};
use crate::pyproject::{Declared, PyProject, Selection, Source};

/// Reads `pyproject.toml`, or finds that only `setup.py` or `setup.cfg` is there.
pub(crate) fn read(context: &Context, file: &str, python: &str) -> Result<Reading, Failure> {
    let selection = Selection::of(context);
    let mut reading = Reading { notes: selection.note().into_iter().collect(), ..Reading::default() };
    reading.warnings.push(format!(
        "{file} has no lock file beside it: today's versions are taken, and another build may take others; `uv lock` fixes them"
    ));
    let extras: Vec<String> = selection.extras.iter().cloned().collect();
    let Some(project) = PyProject::read(context)? else {
        // What it asks for is only known once its build code ran.
        let text = Manifest::read(context, file)?.map(|manifest| manifest.text).unwrap_or_default();
        let mut listed = Listed::of(file, &text);
        push_project(&mut listed, context, None, &extras)?;
        reading.wanted = Some(Wanted::Project(listed));
        return Ok(reading);
    };
    let mut listed = Listed::of(&project.manifest.name, &project.manifest.text);
    for source in indexes(&project) {
        if let Some(url) = &source.url {
            listed.push_index_for(&source.name, url, source.is_explicit());
        }
    }
    let known = project.extras();
    let groups = project.groups();
    if !project.is_dynamic("optional-dependencies") && project.document.project.is_some() {
        selection.check(&project.manifest.name, &known.keys().cloned().collect(), &groups.keys().cloned().collect())?;
    }
    let is_package = project.document.build_system.is_some() || context.app_file("setup.py").is_some();
    let is_package = is_package && project.document.tool.uv.as_ref().and_then(|uv| uv.package) != Some(false);
    let mut declared = project.dependencies();
    declared.extend(known.into_iter().filter(|(name, _)| selection.extras.contains(name)).flat_map(|(_, items)| items));
    for item in &declared {
        push(&mut listed, &project, item, !is_package, python)?;
    }
    for item in groups.into_iter().filter(|(name, _)| selection.groups.contains(name)).flat_map(|(_, items)| items) {
        push(&mut listed, &project, &item, true, python)?;
    }
    if is_package {
        push_project(&mut listed, context, project.name().as_deref(), &extras)?;
    }
    reading.wanted = Some(Wanted::Project(listed));
    Ok(reading)
}

/// The indexes of uv and PDM.
fn indexes(project: &PyProject) -> impl Iterator<Item = &Source> {
    let tool = &project.document.tool;
    let sources = tool.uv.iter().flat_map(|uv| &uv.index).chain(tool.pdm.iter().flat_map(|pdm| &pdm.source));
    sources.filter(|source| source.kind != "find_links")
}

/// The only index that a requirement is taken from.
fn index_of<'a>(project: &'a PyProject, name: &str, source: Option<&'a Value>) -> Option<&'a str> {
    let of_uv = source.and_then(|source| source.get("index")?.as_str());
    of_uv.or_else(|| indexes(project).find(|index| index.includes(name)).map(|index| index.name.as_str()))
}

/// Adds a requirement; of a package, only its line for people: the installer finds it in the project's metadata.
fn push(listed: &mut Listed, project: &PyProject, item: &Declared, written: bool, python: &str) -> Result<(), Failure> {
    let requirement = Requirement::parse(&item.text).filter(|_| !item.text.contains(['\n', '\r']));
    let Some(requirement) = requirement else {
        let text = crate::install::mask_credentials(&item.text);
        let why = "this is no requirement (PEP 508: a name, extras in brackets, versions, a marker behind `;`)";
        return Err(project.manifest.refuse(item.line, &text, why, "write it as: name>=1.2"));
    };
    let name = Some(requirement.name.as_str());
    if !written {
        listed.push_known(name, &item.text, item.line);
        return Ok(());
    }
    let sources = project.document.tool.uv.as_ref().map(|uv| &uv.sources);
    let source = sources
        .and_then(|sources| sources.iter().find(|(name, _)| super::requirements::normalize(name) == requirement.name));
    let source = source.and_then(|(_, source)| here(source, python));
    if requirement.url.is_none()
        && let Some(index) = index_of(project, &requirement.name, source)
        && listed.push_bound(&requirement.name, &item.text, item.line, &item.text, index)
    {
        return Ok(());
    }
    let line = source.and_then(|source| sourced(&requirement, source, listed)).unwrap_or_else(|| item.text.clone());
    listed.push(name, &item.text, item.line, &line);
    Ok(())
}

/// Of several sources with conditions, the one that holds here.
fn here<'a>(source: &'a Value, python: &str) -> Option<&'a Value> {
    let environment = MarkerEnvironment::linux(python);
    let holds = |one: &&Value| pep508::holds(one.get("marker").and_then(Value::as_str), &environment);
    match source {
        Value::Array(all) => all.iter().find(holds),
        one => Some(one).filter(holds),
    }
}

/// A requirement that `[tool.uv.sources]` takes from another place than an index.
fn sourced(requirement: &Requirement, source: &Value, listed: &mut Listed) -> Option<String> {
    let text = |key: &str| source.get(key).and_then(Value::as_str).filter(|text| !text.contains(char::is_control));
    let name = &requirement.name;
    let extras =
        if requirement.extras.is_empty() { String::new() } else { format!("[{}]", requirement.extras.join(",")) };
    if let Some(git) = text("git") {
        let reference =
            text("rev").or(text("tag")).or(text("branch")).map(|name| format!("@{name}")).unwrap_or_default();
        let folder = text("subdirectory").map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        return Some(format!("{name}{extras} @ git+{git}{reference}{folder}"));
    }
    if let Some(url) = text("url") {
        return Some(format!("{name}{extras} @ {url}"));
    }
    let inside = lexical(Path::new(text("path")?))?;
    let written = format!("./{}{extras}", inside.display());
    listed.tree.local_paths.push(inside);
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::tests_support::{app, lines, read_with};

    const PROJECT: &str = "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['flask>=3', 'lib']\n[project.optional-dependencies]\nweb = ['gunicorn']\n[dependency-groups]\nbase = ['six']\ndocs = [{include-group = 'base'}, 'mkdocs']\n[tool.uv.sources]\nlib = {git = 'https://host/lib', tag = 'v1'}\n";

    fn of_pyproject(context: &Context, python: &str) -> Result<Reading, Failure> {
        read(context, "pyproject.toml", python)
    }

    #[test]
    fn what_is_no_package_is_resolved_from_its_lists() {
        let dir = app(&[("pyproject.toml", PROJECT)]);
        let git = "lib @ git+https://host/lib@v1";
        assert_eq!(lines(of_pyproject, &dir, &[]), ["flask>=3", git]);
        let all = lines(of_pyproject, &dir, &[("BP_PYTHON_EXTRAS", "web"), ("BP_PYTHON_GROUPS", "docs")]);
        assert_eq!(all, ["flask>=3", git, "gunicorn", "six", "mkdocs"]);
        assert!(read_with(of_pyproject, &dir, &[]).unwrap().warnings[0].contains("no lock file beside it"));
        let bad = PROJECT.replace("'flask>=3'", "'flask 3'");
        let page = read_with(of_pyproject, &app(&[("pyproject.toml", &bad)]), &[]).unwrap_err().to_string();
        assert!(page.contains("pyproject.toml line 4: flask 3"), "{page}");
    }

    #[test]
    fn a_package_of_an_explicit_index_is_taken_from_that_alone() {
        let indexes = "torch = [{index = 'mac', marker = \"sys_platform == 'darwin'\"}, {index = 'cpu'}]\n[[tool.uv.index]]\nname = 'cpu'\nurl = 'https://cpu/whl'\nexplicit = true\n[[tool.uv.index]]\nname = 'mac'\nurl = 'https://mac/whl'\nexplicit = true\n[[tool.uv.index]]\nname = 'all'\nurl = 'https://all/simple'\n";
        let project = PROJECT.replace("'lib']", "'lib', 'torch>=2']") + indexes;
        let dir = app(&[("pyproject.toml", &project)]);
        assert_eq!(lines(of_pyproject, &dir, &[]), ["flask>=3", "lib @ git+https://host/lib@v1"]);
        let wanted = read_with(of_pyproject, &dir, &[]).unwrap().wanted.unwrap();
        let listed = wanted.listed().unwrap();
        let bound: Vec<_> = listed.bound.iter().map(|one| (one.requirement.as_str(), one.url.as_str())).collect();
        assert_eq!(bound, [("torch>=2", "https://cpu/whl")]);
        let explicit: Vec<bool> = listed.indexes.iter().map(|index| index.explicit).collect();
        assert_eq!(explicit, [true, true, false]);
        assert_eq!(wanted.count(), "3 requirements");
    }

    #[test]
    fn a_source_of_pdm_with_names_is_for_those_alone() {
        let project = "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['flask', 'own-thing>=1']\n[[tool.pdm.source]]\nname = 'own'\nurl = 'https://own/simple'\ninclude_packages = ['own-*']\n";
        let dir = app(&[("pyproject.toml", project)]);
        let wanted = read_with(of_pyproject, &dir, &[]).unwrap().wanted.unwrap();
        let listed = wanted.listed().unwrap();
        assert_eq!((listed.text.as_str(), listed.bound[0].requirement.as_str()), ("flask\n", "own-thing>=1"));
        assert!(listed.indexes[0].explicit);
    }

    #[test]
    fn a_package_is_installed_itself_with_its_extras() {
        let package =
            format!("{PROJECT}[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n");
        let dir = app(&[("pyproject.toml", &package)]);
        assert_eq!(lines(of_pyproject, &dir, &[("BP_PYTHON_EXTRAS", "web")]), [".[web]"]);
        let reading = read_with(of_pyproject, &dir, &[]).unwrap();
        let place = reading.wanted.unwrap().tree().place_of("flask");
        assert_eq!(place.as_deref(), Some("pyproject.toml line 4: flask>=3"));
        let dir = app(&[("pyproject.toml", &package), ("src/shop/__init__.py", "")]);
        assert_eq!(lines(of_pyproject, &dir, &[]), ["-e ."], "setuptools points to src");
    }
}
