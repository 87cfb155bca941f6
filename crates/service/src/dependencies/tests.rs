//! The rules, each on a small tree.

use super::*;
use crate::staging::Target;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn lift(root: &Path, layout: &Layout, forced: Option<Manager>) -> Result<Option<Dependencies>, DependencyError> {
    super::lift(&mut StagedApp::new(Target::new(root, None)), layout, forced, None)
}

fn lifted(files: &[(&str, &str)], layout: &Layout) -> (tempfile::TempDir, Dependencies) {
    let dir = tree(files);
    let found = lift(dir.path(), layout, None).unwrap().unwrap();
    (dir, found)
}

fn requirements(dir: &tempfile::TempDir) -> String {
    fs::read_to_string(dir.path().join("requirements.txt")).unwrap()
}

const TEMPLATE: &str = "app/user_code";

fn template() -> Layout {
    Layout::JobTemplate { user_code_dir: TEMPLATE.into(), own_program: true }
}

#[test]
fn the_usual_pair_goes_pips_way_with_the_python_of_the_yml() {
    let yml = "name: planqk\nchannels: [defaults]\ndependencies:\n  - python>=3.9,<3.12\n  - pip\n  - pip:\n    - -r requirements.txt\nvariables:\n  MODE: fast\n";
    let (dir, found) = lifted(&[("environment.yml", yml), ("requirements.txt", "loguru==0.7\n")], &Layout::PlanQk);
    assert_eq!(found.manager, Manager::Pip);
    assert_eq!(
        found.python,
        Some(PythonRequest { version: ">=3.9,<3.12".into(), origin: "environment.yml line 4".into() })
    );
    assert_eq!(found.variables, [("MODE".to_owned(), "fast".to_owned())]);
    assert!(found.reason.unwrap().contains("nothing that pip cannot do"));
    assert_eq!(requirements(&dir), "loguru==0.7\n");
    assert!(!dir.path().join("environment.yml").exists());
}

#[test]
fn a_yml_alone_becomes_requirements() {
    let yml =
        "dependencies:\n  - python=3.11\n  - setuptools<70\n  - pip:\n    - flask==3.0\n    - -c extra/limits.txt\n";
    let (dir, found) = lifted(&[("environment.yaml", yml), ("extra/limits.txt", "")], &Layout::PlanQk);
    assert_eq!(found.python.unwrap().version, "3.11");
    assert_eq!(requirements(&dir), "setuptools<70\nflask==3.0\n-c extra/limits.txt\n");
}

#[test]
fn packages_of_conda_are_left_to_its_buildpack() {
    let both =
        [("environment.yml", "dependencies:\n - python=3.11\n - numpy=1.26\n - gcc\n"), ("requirements.txt", "")];
    let dir = tree(&both);
    let forced = lift(dir.path(), &Layout::PlanQk, Some(Manager::Pip)).unwrap().unwrap();
    assert_eq!(forced.manager, Manager::Pip);
    assert_eq!(
        forced.python,
        Some(PythonRequest { version: "3.11".into(), origin: "environment.yml line 2".into() }),
        "its pins were made for that Python"
    );
    // What does not lead goes out of the staged copy.
    let dir = tree(&both);
    let found = lift(dir.path(), &Layout::PlanQk, None).unwrap().unwrap();
    assert_eq!((found.manager, found.python), (Manager::Conda, None));
    assert!(dir.path().join("environment.yml").is_file() && !dir.path().join("requirements.txt").exists());
    let beside = "dependencies:\n - numpy\n - pip:\n   - -r requirements.txt\n";
    let dir = tree(&[("environment.yml", beside), ("requirements.txt", "")]);
    assert_eq!(lift(dir.path(), &Layout::PlanQk, None).unwrap().unwrap().manager, Manager::Conda);
    assert!(dir.path().join("requirements.txt").is_file(), "the environment includes it");
}

#[test]
fn who_asks_for_conda_gets_it() {
    let only_pip = [("environment.yml", "dependencies:\n - python=3.11\n - pip:\n   - flask\n")];
    let dir = tree(&only_pip);
    let mut app = StagedApp::new(Target::new(dir.path(), None));
    let found = super::lift(&mut app, &Layout::App, None, Some(Manager::Conda)).unwrap().unwrap();
    assert_eq!((found.manager, found.reason.as_deref()), (Manager::Conda, Some("conda was asked for")));
    assert!(dir.path().join("environment.yml").is_file() && !dir.path().join("requirements.txt").exists());
    // The file alone is no word for the manager.
    let dir = tree(&only_pip);
    let found = lift(dir.path(), &Layout::App, Some(Manager::Conda)).unwrap().unwrap();
    assert_eq!(found.manager, Manager::Pip);
}

#[test]
fn a_lock_of_condas_leads_over_its_environment_and_over_nothing_else() {
    let yml = ("environment.yml", "dependencies:\n - numpy\n - pip:\n   - -r requirements.txt\n");
    let (dir, found) = lifted(&[("src/conda-lock.yml", ""), ("src/pyproject.toml", "")], &Layout::PlanQk);
    assert_eq!((found.manager, found.file.as_path()), (Manager::Conda, Path::new("src/conda-lock.yml")));
    assert!(dir.path().join("conda-lock.yml").is_file());
    let (dir, found) = lifted(&[("pixi.lock", ""), yml, ("requirements.txt", "")], &Layout::App);
    assert_eq!(found.file, Path::new("pixi.lock"));
    assert!(dir.path().join("requirements.txt").is_file(), "the environment includes it");
    let dir = tree(&[("pixi.lock", ""), ("requirements.txt", "")]);
    let error = lift(dir.path(), &Layout::App, None).unwrap_err();
    assert!(error.hint().contains("--dependencies requirements.txt or --dependencies pixi.lock"), "{}", error.hint());
}

#[test]
fn two_managers_without_a_rule_are_an_error_that_says_how_to_choose() {
    let dir = tree(&[("poetry.lock", ""), ("uv.lock", ""), ("pyproject.toml", "")]);
    let error = lift(dir.path(), &Layout::PlanQk, None).unwrap_err();
    assert_eq!(error.to_string(), "both poetry.lock and uv.lock declare dependencies, and nothing says which leads");
    assert_eq!(
        error.hint(),
        "remove the one that is not meant, or choose: --dependencies poetry.lock or --dependencies uv.lock"
    );
    let lists = tree(&[("requirements.txt", ""), ("Pipfile", "")]);
    let error = lift(lists.path(), &Layout::PlanQk, None).unwrap_err();
    assert!(error.hint().contains("choose: --dependencies requirements.txt"), "{}", error.hint());
    let forced = lift(dir.path(), &Layout::PlanQk, Some(Manager::Uv)).unwrap().unwrap();
    assert_eq!(forced.manager, Manager::Uv);
    assert!(!dir.path().join("poetry.lock").exists() && dir.path().join("pyproject.toml").exists());
    let gone = lift(dir.path(), &Layout::PlanQk, Some(Manager::Pipenv)).unwrap_err();
    assert!(gone.to_string().contains("Pipfile was asked for"));
}

#[test]
fn a_lock_leads_over_a_list_that_stays_for_the_buildpacks_to_compare() {
    for lock in ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"] {
        let (dir, found) = lifted(&[("requirements.txt", "flask\n"), (lock, ""), ("pyproject.toml", "")], &Layout::App);
        assert!(found.manager.files().contains(&lock), "{lock}");
        assert_eq!(requirements(&dir), "flask\n", "{lock}");
    }
}

#[test]
fn requirements_lead_over_a_pyproject_without_a_lock() {
    let (_dir, found) = lifted(&[("requirements.txt", ""), ("pyproject.toml", "")], &Layout::App);
    assert_eq!(found.manager, Manager::Pip);
    assert!(found.reason.unwrap().contains("no lock"));
    let dir = tree(&[("main.py", "")]);
    assert_eq!(lift(dir.path(), &Layout::App, None).unwrap(), None);
}

#[test]
fn the_user_codes_file_joins_the_templates() {
    let (dir, found) =
        lifted(&[("requirements.txt", "flask"), ("app/user_code/requirements.txt", "numpy\n")], &template());
    assert_eq!(found.file, Path::new("app/user_code/requirements.txt"));
    assert_eq!(requirements(&dir), "flask\nnumpy\n");
    let (dir, _) =
        lifted(&[("app/user_code/requirements.txt", "-r base.txt\n"), ("app/user_code/base.txt", "")], &template());
    assert_eq!(requirements(&dir), "-r app/user_code/requirements.txt\n");
    let yml = "dependencies:\n  - pip:\n    - -r requirements.txt\n    - -r base.txt\n";
    let (dir, _) = lifted(
        &[
            ("app/user_code/environment.yml", yml),
            ("app/user_code/requirements.txt", "a\n"),
            ("app/user_code/base.txt", ""),
        ],
        &template(),
    );
    assert_eq!(requirements(&dir), "a\n-r app/user_code/base.txt\n");
    let (dir, _) = lifted(&[("app/user_code/uv.lock", "x"), ("app/user_code/pyproject.toml", "y")], &template());
    assert!(dir.path().join("uv.lock").is_file() && dir.path().join("pyproject.toml").is_file());
}

#[test]
fn an_include_that_is_not_there_or_outside_is_an_error() {
    for path in ["gone.txt", "../../etc/passwd", "/etc/passwd"] {
        let yml = format!("dependencies:\n  - pip:\n    - -r {path}\n");
        let dir = tree(&[("environment.yml", &yml)]);
        let error = lift(dir.path(), &Layout::PlanQk, None).unwrap_err();
        assert_eq!(error.to_string(), format!("environment.yml line 3 includes {path}, which is not there"));
    }
}
