//! Files that ask for packages and are not read, because their names are nearly right: an app that has one alone would be built without packages.

use crate::context::Context;
use crate::failure::Failure;
use crate::install::name_distance;

/// Names that are read.
const READ: &[&str] = &[
    "requirements.txt",
    "pyproject.toml",
    "environment.yml",
    "environment.yaml",
    "Pipfile",
    "Pipfile.lock",
    "poetry.lock",
    "pylock.toml",
    "uv.lock",
    "pdm.lock",
    "pixi.lock",
    "package-list.txt",
];
/// Names that mean the same in other letters.
const MEANT: &[(&str, &str)] = &[
    ("requirements", "requirements.txt"),
    ("requirements.in", "requirements.txt"),
    ("requirements.pip", "requirements.txt"),
    ("requirements.txt.txt", "requirements.txt"),
    ("reqs.txt", "requirements.txt"),
    ("requires.txt", "requirements.txt"),
    ("dependencies.txt", "requirements.txt"),
    ("pip-requirements.txt", "requirements.txt"),
    ("pyproject", "pyproject.toml"),
    ("project.toml.txt", "pyproject.toml"),
    ("pyproject.toml.txt", "pyproject.toml"),
    ("pipfile.txt", "Pipfile"),
    ("pipfile.toml", "Pipfile"),
    ("conda.yml", "environment.yml"),
    ("conda.yaml", "environment.yml"),
];
/// Names of other things.
const OTHERS: &[&str] = &["project.toml"];
/// Longer names are no slips.
const MAX_LENGTH: usize = 40;

/// Files at the root with such names, each with the one that would be read and is not there.
pub(super) fn found(context: &Context) -> Vec<(String, &'static str)> {
    let Ok(entries) = fs_err::read_dir(&context.app_dir) else { return Vec::new() };
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.len() < MAX_LENGTH && !super::REQUIREMENTS.contains(&&**name) && !READ.contains(&&**name));
    names.sort();
    let found = names.into_iter().filter_map(|name| meant(&name).map(|right| (name, right)));
    // What lies beside the right one is something else.
    found.filter(|(_, right)| context.app_file(right).is_none()).collect()
}

/// The name that is read and is nearly this one.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.trim().to_lowercase();
    if OTHERS.contains(&&*name) {
        return None;
    }
    let listed = MEANT.iter().find(|(wrong, _)| *wrong == name).map(|(_, right)| *right);
    let allowed = |right: &str| if right.len() < 12 { 1 } else { 2 };
    let near = || READ.iter().find(|right| name_distance(&name, &right.to_lowercase()) <= allowed(right)).copied();
    listed.or_else(near)
}

/// What is told where another file leads.
pub(super) fn warnings(context: &Context) -> Vec<String> {
    let tell = |(name, right): &(String, &str)| format!("{name} is not read: is it meant to be {right}?");
    found(context).iter().map(tell).collect()
}

/// The page for an app where nothing else asks for packages.
pub(super) fn explain(name: &str, right: &str) -> Failure {
    let mut failure = Failure::new(
        super::explain::DOING,
        format!("{name}, and no file that is read"),
        format!("without {right} nothing would be installed, and the app would end at its first import"),
        format!("rename it: mv '{name}' {right}"),
    );
    if right == "requirements.txt" {
        let variable = super::REQUIREMENT_VARIABLE;
        failure = failure.and_fix(format!("or name it for the build: --env {variable}='{name}'"));
    }
    failure.and_fix("when it asks for no packages, give it a name that does not look so").of_kind("file-misspelt")
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{app, context};
    use super::*;

    #[test]
    fn slips_of_the_pen_are_known_and_other_names_left_alone() {
        for (wrong, right) in [
            ("requirments.txt", "requirements.txt"),
            ("requirement.txt", "requirements.txt"),
            ("requirements.text", "requirements.txt"),
            ("Requirments.TXT", "requirements.txt"),
            ("pyproject.tml", "pyproject.toml"),
            ("PyProject.toml", "pyproject.toml"),
            ("enviroment.yml", "environment.yml"),
            ("environment.ylm", "environment.yml"),
            ("pipfile", "Pipfile"),
            ("Pipefile", "Pipfile"),
            ("poetry.locl", "poetry.lock"),
            ("requirements", "requirements.txt"),
        ] {
            assert_eq!(meant(wrong), Some(right), "{wrong}");
        }
        for other in [
            "Procfile",
            "profile",
            "main.py",
            "requirements-dev.txt",
            "project.toml",
            "Makefile",
            "README.txt",
            "env.lock",
        ] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    #[test]
    fn one_beside_the_right_file_is_something_else() {
        let dir = app(&[("requirments.txt", ""), ("Pipfile", ""), ("pipfile", "")]);
        let names = |dir: &tempfile::TempDir| found(&context(dir.path(), &[]));
        assert_eq!(names(&dir), [("requirments.txt".to_owned(), "requirements.txt")]);
        let page = explain("requirments.txt", "requirements.txt").to_string();
        assert!(
            page.contains("mv 'requirments.txt' requirements.txt") && page.contains("BP_PIP_REQUIREMENT="),
            "{page}"
        );
        assert_eq!(names(&app(&[("Requirements.txt", ""), ("main.py", "")])), []);
    }
}
