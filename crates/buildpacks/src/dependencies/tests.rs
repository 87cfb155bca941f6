//! Who leads.

use super::tests_support::{app, context};
use super::*;

fn of(files: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    let dir = app(files);
    match leader(&context(dir.path(), variables)) {
        Ok(Some(leader)) => format!("{} from {}: {}", leader.kind.word(), leader.file, leader.reason),
        Ok(None) => "none".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

const LOCK: &str =
    "version = 1\n[[package]]\nname = 'flask'\nversion = '3.1.3'\n[[package]]\nname = 'six'\nversion = '1.17'\n";
const PROJECT: &str = "[project]\nname = 'a'\nversion = '1'\ndependencies = ['flask']\n";

#[test]
fn one_file_leads_by_itself() {
    let only = "the only file that asks for packages";
    assert_eq!(of(&[("requirements.txt", "")], &[]), format!("pip from requirements.txt: {only}"));
    assert_eq!(of(&[("uv.lock", LOCK), ("pyproject.toml", PROJECT)], &[]), format!("uv from uv.lock: {only}"));
    assert_eq!(of(&[("Pipfile", ""), ("Pipfile.lock", "{}")], &[]), format!("pipenv from Pipfile.lock: {only}"));
    assert_eq!(of(&[("Pipfile", "")], &[]), format!("pipenv from Pipfile: {only}"));
    assert_eq!(of(&[("pylock.toml", "")], &[]), format!("pylock from pylock.toml: {only}"));
    let alone = "it declares the project, and there is no lock file";
    assert_eq!(of(&[("pyproject.toml", PROJECT)], &[]), format!("project from pyproject.toml: {alone}"));
    assert_eq!(of(&[("setup.py", "")], &[]), format!("project from setup.py: {alone}"));
    assert!(of(&[("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.9'\n")], &[]).starts_with("poetry from"));
    assert_eq!(of(&[("pyproject.toml", "[tool.black]\n"), ("main.py", "")], &[]), "none");
    assert!(of(&[("pyproject.toml", "[tool")], &[]).contains("pyproject.toml line 1"));
}

#[test]
fn of_several_files_one_leads_where_they_agree_and_none_where_they_do_not() {
    let same = [
        ("uv.lock", LOCK),
        ("pyproject.toml", PROJECT),
        ("requirements.txt", "Flask>=3\nsix==1.17 --hash=sha256:00\n"),
    ];
    assert_eq!(of(&same, &[]), "uv from uv.lock: it locks all that requirements.txt asks for");
    let exported = [("poetry.lock", LOCK), ("pylock.toml", ""), ("pyproject.toml", PROJECT)];
    assert!(of(&exported, &[]).starts_with("poetry from poetry.lock: the tool's own lock leads"));
    let with_project = [("requirements.txt", ""), ("pyproject.toml", PROJECT)];
    assert_eq!(of(&with_project, &[]), "pip from requirements.txt: it leads over a project that has no lock file");
    let other = [("uv.lock", LOCK), ("requirements.txt", "flask<3\n")];
    insta::assert_snapshot!(of(&other, &[]));
    for (files, both) in [
        ([("uv.lock", LOCK), ("poetry.lock", LOCK)], "uv.lock (uv) and poetry.lock (poetry)"),
        ([("requirements.txt", "x"), ("Pipfile", "")], "Pipfile (pipenv) and requirements.txt (pip)"),
        (
            [("environment.yml", "dependencies:\n- numpy\n"), ("uv.lock", LOCK)],
            "environment.yml (conda) and uv.lock (uv)",
        ),
        ([("uv.lock", LOCK), ("requirements.txt", "-e .\n")], "uv.lock (uv) and requirements.txt (pip)"),
    ] {
        let page = of(&files, &[]);
        assert!(page.contains(both) && page.contains("BP_PYTHON_PACKAGE_MANAGER"), "{page}");
    }
}

#[test]
fn a_variable_decides() {
    let both = [("uv.lock", LOCK), ("requirements.txt", "flask<3\n"), ("pyproject.toml", PROJECT)];
    let with = |name, word| of(&both, &[(name, word)]);
    assert_eq!(with("BP_PYTHON_PACKAGE_MANAGER", "uv"), "uv from uv.lock: BP_PYTHON_PACKAGE_MANAGER=uv");
    assert_eq!(with("HOIST_PACKAGE_MANAGER", "pip"), "pip from requirements.txt: HOIST_PACKAGE_MANAGER=pip");
    assert!(with("BP_PYTHON_PACKAGE_MANAGER", "project").starts_with("project from pyproject.toml"));
    assert!(with("BP_PYTHON_PACKAGE_MANAGER", "pdm").contains("there is no pdm.lock"));
    assert!(with("BP_PYTHON_PACKAGE_MANAGER", "npm").contains("set it to one of: uv, poetry"));
    assert!(with("BP_PIP_REQUIREMENT", "more.txt").starts_with("pip from more.txt"));
}

#[test]
fn the_requirements_that_a_conda_file_includes_are_the_ones_that_lead() {
    let conda = |file: &str| format!("dependencies:\n  - python=3.11\n  - pip:\n    - -r {file}\n");
    let included = |file: &str| format!("pip from {file}: environment.yml includes it");
    // Not there: the error is of the file that is missing, and not a build without packages.
    assert_eq!(of(&[("environment.yml", &conda("requirements.txt"))], &[]), included("requirements.txt"));
    assert_eq!(of(&[("environment.yml", &conda("./deps.txt")), ("deps.txt", "")], &[]), included("deps.txt"));
    let both = of(&[("environment.yml", &conda("requirements.txt")), ("requirements.txt", "")], &[]);
    assert_eq!(both, included("requirements.txt"));
    let two = of(&[("environment.yml", &conda("deps.txt")), ("requirements.txt", "")], &[]);
    assert!(two.contains("nothing says which leads"), "{two}");
    let more = of(&[("environment.yml", "dependencies:\n- numpy\n")], &[]);
    assert_eq!(more, "conda from environment.yml: conda's file leads in this app");
}

#[test]
fn a_file_that_needs_conda_leads_alone_and_where_it_is_asked_for() {
    let yml = ("environment.yml", "dependencies:\n- numpy\n- pip:\n  - -r ./requirements.txt\n");
    let list = ("requirements.txt", "");
    let leads = |file: &str| format!("conda from {file}: conda's file leads in this app");
    assert_eq!(of(&[yml, list], &[]), leads("environment.yml"), "it includes the list");
    assert_eq!(of(&[yml, ("conda-lock.yml", ""), list], &[]), leads("conda-lock.yml"), "it was made of that");
    assert_eq!(of(&[("pixi.lock", ""), ("pyproject.toml", PROJECT)], &[]), leads("pixi.lock"));
    for lock in ["pixi.lock", "conda-lock.yml", "package-list.txt"] {
        let page = of(&[(lock, ""), list], &[]);
        assert!(page.contains(&format!("{lock} (conda) and requirements.txt (pip)")), "{page}");
    }
    // Unreadable: its own buildpack says why.
    assert_eq!(of(&[("environment.yml", "a: [\n")], &[]), leads("environment.yml"));
    let chosen = [("BP_PYTHON_PACKAGE_MANAGER", "conda")];
    let pips = ("environment.yml", "dependencies:\n- pip:\n  - -r requirements.txt\n");
    assert_eq!(of(&[pips, list], &chosen), "conda from environment.yml: BP_PYTHON_PACKAGE_MANAGER=conda");
    assert!(of(&[list], &chosen).contains("there is no environment.yml"));
}
