//! `LocalEngine::check` with hoist's own buildpacks: what a build would refuse from the files alone is found without building.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_events::NullReporter;
use hoist_lifecycle::Launcher;
use hoist_platform::{
    BuildRequest, BuilderParts, CheckReport, Chosen, EngineSettings, Foresight, HostTrust, LocalEngine, Problem,
};
use hoist_sandbox::Cancel;

fn foresee(app_dir: &Path, variables: &[(String, String)], suite: &str) -> Foresight {
    let found = hoist_buildpacks::foresee(app_dir, variables, suite);
    let problem = |failure: &hoist_buildpacks::Failure| {
        Problem::fatal(failure.page.code, failure.page.seen.join("; "), failure.page.fix.join("; "))
    };
    Foresight {
        python: found.python.map(|(value, reason)| Chosen { value, reason }),
        dependencies: None,
        manager: found.packages.map(|packages| packages.manager),
        deb_packages: Vec::new(),
        problems: found.refusals.iter().map(problem).collect(),
        missing_process: found.missing_process.as_ref().map(problem),
        suggested_day: found.suggested_day,
    }
}

/// An engine on a store of its own. Its builder could not build anything, and need not.
fn engine(store_dir: PathBuf) -> LocalEngine {
    let parts = BuilderParts {
        buildpacks: Vec::new(),
        order: Vec::new(),
        hoist_path: PathBuf::from("/nonexistent"),
        launcher: Launcher { program: &[], digest: "", version: "" },
        foresee,
        names_process: hoist_buildpacks::names_process,
    };
    let settings = EngineSettings {
        store_dir,
        suite: "trixie".into(),
        mirror: None,
        keyring: None,
        lock: None,
        parts,
        registries: hoist_image::RegistrySettings::default(),
        pull_policy: hoist_platform::PullPolicy::Never,
        offline: false,
    };
    LocalEngine::open(settings, HostTrust::default(), Arc::new(NullReporter), Cancel::new().unwrap()).unwrap()
}

fn checked(files: &[(&str, &str)], change: impl FnOnce(&mut BuildRequest)) -> CheckReport {
    let (source, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (path, text) in files {
        let path = source.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let mut request = BuildRequest::new(source.path().to_owned());
    change(&mut request);
    let report = engine(store.path().to_owned()).check(&request).unwrap();
    let left = fs_err::read_dir(store.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "a check leaves nothing in the store");
    report
}

fn fatal(report: &CheckReport) -> Vec<&str> {
    report.problems.iter().filter(|problem| problem.is_fatal()).map(|problem| problem.message.as_str()).collect()
}

const RUN: (&str, &str) = ("src/program.py", "def run(data, params):\n    return 1\n");

#[test]
fn the_python_is_chosen_as_the_build_chooses_it() {
    let python = |files: &[(&str, &str)], env: &[(&str, &str)]| {
        let report = checked(files, |request| {
            request.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        });
        report.python.map(|python| (python.value, python.reason)).unwrap()
    };
    assert_eq!(python(&[RUN], &[]).0, "3.13");
    assert_eq!(python(&[RUN, (".python-version", "3.11")], &[]).1, ".python-version says 3.11");
    assert_eq!(python(&[RUN, ("runtime.txt", "python-3.9.2")], &[]).0, "3.9");
    let yml = ("environment.yml", "dependencies:\n  - python<3.12\n  - pip:\n    - numpy\n");
    assert_eq!(python(&[RUN, yml], &[]), ("3.11".into(), "environment.yml line 2 says <3.12".into()));
    assert_eq!(python(&[RUN, yml], &[("BP_CPYTHON_VERSION", "3.13")]).0, "3.13");
}

#[test]
fn what_a_build_would_refuse_is_fatal() {
    for (files, text) in [
        (&[("index.html", "")][..], "no Python app"),
        (&[RUN, (".python-version", "3.7")], ".python-version says 3.7"),
        (&[RUN, ("requirements.txt", "-r gone.txt\n")], "there is no gone.txt"),
        (&[("main.py", ""), ("Procfile", "web = python main.py\n")], "line 1: `web = python main.py`"),
        (&[("planqk.json", "{}"), ("main.py", "")], "there is no src/program.py"),
        (&[("src/program.py", "def start(): ...\n")], "src/program.py has no function run"),
        (&[RUN, ("input/params.json", "{\"a\": NaN}")], "input/params.json is not JSON: line 1, column 7"),
        (&[RUN, ("uv.lock", ""), ("pyproject.toml", "")], "uv.lock"),
    ] {
        let report = checked(files, |_| {});
        let found = fatal(&report);
        assert!(found.len() == 1 && found[0].contains(text), "{text}: {found:?}");
    }
    assert!(checked(&[RUN], |_| {}).problems.is_empty());
}
