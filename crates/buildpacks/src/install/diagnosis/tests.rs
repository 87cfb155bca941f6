//! Each symptom as the real uv showed it (`said/`, recorded from uv 0.13.9), and the page that a person reads (`snapshots/`).

use std::path::Path;

use super::*;
use crate::pip::requirements::read_requirements;

/// An index that has some versions of flask, torch and psycopg2.
fn probe(probe: Probe<'_>) -> Option<String> {
    let (requirement, lowest) = match probe {
        Probe::Highest(requirement) => (requirement, false),
        Probe::Lowest(requirement) => (requirement, true),
    };
    match (requirement, lowest) {
        ("flask" | "flask<99.9", false) => Some("3.1.3".to_owned()),
        ("django", false) => Some("5.2.9".to_owned()),
        ("psycopg2" | "lxml", false) => Some("9.9".to_owned()),
        _ => None,
    }
}

fn page(requirements: &str, said: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("requirements.txt"), requirements).unwrap();
    diagnosed(&read_requirements(dir.path(), Path::new("requirements.txt")).unwrap(), said).to_string()
}

fn diagnosed(tree: &RequirementsTree, said: &str) -> Failure {
    // As it was when the words were recorded.
    let is_new = said.contains("/python3.13/");
    let python_reason = Some(if is_new { "runtime.txt says python-3.13" } else { "runtime.txt says python-3.11" });
    let python_version = if is_new { "3.13.0" } else { "3.11.7" };
    let evidence = Evidence {
        text: said,
        tree,
        python_version,
        python_reason,
        other_python: said.contains("other_python").then(|| "3.9".to_owned()),
        only_binary: None,
        as_of: None,
        origin: &|address| address.contains("18401").then(|| "the variable PIP_INDEX_URL".to_owned()),
        probe: &probe,
    };
    diagnose(&evidence)
}

#[test]
fn every_symptom_has_its_page() {
    let symptoms = [
        ("build_gdal", "gdal==3.8.0\n", include_str!("said/build_gdal.txt")),
        ("build_lxml", "lxml==4.6.0\n", include_str!("said/build_lxml.txt")),
        ("build_mysql", "mysqlclient==2.2.4\n", include_str!("said/build_mysql.txt")),
        ("build_pg_config", "psycopg2==2.9.8\n", include_str!("said/build_pg_config.txt")),
        ("conflict_direct", "flask==3.0.0\nflask==2.0.0\n", include_str!("said/conflict_direct.txt")),
        ("conflict_numpy", "tensorflow==2.15.0\nnumpy==2.1.0\n", include_str!("said/conflict_numpy.txt")),
        ("conflict_transitive", "flask==3.0.0\nwerkzeug==2.0.0\n", include_str!("said/conflict_transitive.txt")),
        (
            "hash_mismatch",
            "tabulate==0.10.0 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
            include_str!("said/hash_mismatch.txt"),
        ),
        ("index_401", "flask\n", include_str!("said/index_401.txt")),
        ("index_403", "flask\n", include_str!("said/index_403.txt")),
        ("index_certificate", "flask\n", include_str!("said/index_certificate.txt")),
        ("index_name", "flask\n", include_str!("said/index_name.txt")),
        ("index_refused", "flask\n", include_str!("said/index_refused.txt")),
        ("no_wheel", "torch==1.4.0\n", include_str!("said/no_wheel.txt")),
        ("path_missing", "flask\nx @ file:///nope/x.tar.gz\n", include_str!("said/path_missing.txt")),
        ("pip_401", "Flask\n", include_str!("said/pip_401.txt")),
        ("pip_403", "Flask\n", include_str!("said/pip_403.txt")),
        ("pip_500", "Flask\n", include_str!("said/pip_500.txt")),
        ("pip_certificate", "Flask\n", include_str!("said/pip_certificate.txt")),
        ("pip_name", "Flask\n", include_str!("said/pip_name.txt")),
        (
            "pip_hash",
            "# pip-compile --generate-hashes\nclick==8.1.7 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
            include_str!("said/pip_hash.txt"),
        ),
        ("python_too_new", "old-imp==1.0\n", include_str!("said/python_too_new.txt")),
        ("python_too_new_distutils", "numpy==1.19.5\n", include_str!("said/python_too_new_distutils.txt")),
        ("python_too_old", "django==6.0\n", include_str!("said/python_too_old.txt")),
        ("unknown", "flask\nqiskitt-nope-nope==1\n", include_str!("said/unknown.txt")),
        ("unknown_import_name", "flask\ncv2\n", include_str!("said/unknown_import_name.txt")),
        ("unknown_standard_library", "flask\nsqlite3\n", include_str!("said/unknown_standard_library.txt")),
        ("unknown_typo", "flask\nqiskitt==2\n", include_str!("said/unknown_typo.txt")),
        ("unreadable_line", "flask\nfoo bar baz\n", include_str!("said/unreadable_line.txt")),
        ("version_missing", "flask==99.9\n", include_str!("said/version_missing.txt")),
        ("version_range_missing", "flask>=90\n", include_str!("said/version_range_missing.txt")),
    ];
    for (name, requirements, said) in symptoms {
        insta::assert_snapshot!(name, page(requirements, said));
    }
}

#[test]
fn every_page_has_a_kind_and_another_hash_says_how_each_tool_locks_again() {
    let said = include_str!("said/hash_mismatch.txt");
    for (file, head, command) in [
        ("uv.lock", "", "uv lock --upgrade-package tabulate"),
        ("poetry.lock", "", "poetry update --lock tabulate"),
        ("pdm.lock", "", "pdm update --no-sync tabulate"),
        ("Pipfile.lock", "", "pipenv upgrade tabulate"),
        ("pylock.toml", "", "hoist check --lock pylock.toml"),
        ("requirements.txt", "#    uv export --no-dev -o requirements.txt\n", "uv export --no-dev"),
        ("requirements.txt", "#\n#    pip-compile --generate-hashes in.txt\n", "pip-compile --generate-hashes in.txt"),
        ("requirements.txt", "", "uv pip compile --generate-hashes"),
    ] {
        let mut listed = crate::install::Listed::of(file, head);
        listed.push(Some("tabulate"), "tabulate==0.10.0", 7, "tabulate==0.10.0");
        let failure = diagnosed(&listed.tree, said);
        assert_eq!(failure.page.code, "hash-mismatch");
        let text = failure.to_string();
        assert!(text.contains(&format!("{file} line 7: tabulate==0.10.0")) && text.contains(command), "{text}");
        assert_eq!(text.contains("or write the hash"), file == "requirements.txt", "{text}");
    }
    let other = diagnosed(&crate::install::Listed::default().tree, "error: The moon is full\n");
    assert_eq!(other.page.code, "installation-failed");
}

#[test]
fn another_python_is_chosen_where_this_one_was() {
    let change = |reason| python_change(reason)("3.9");
    for (reason, words) in [
        (None, "echo 3.9 > .python-version"),
        (Some("the default; .python-version chooses another"), "echo 3.9 > .python-version"),
        (Some("runtime.txt says python-3.11"), "echo python-3.9 > runtime.txt"),
        (Some("BP_CPYTHON_VERSION says 3.11"), "BP_CPYTHON_VERSION=3.9"),
        (
            Some("pyproject.toml line 3 (requires-python) says >=3.11"),
            "change pyproject.toml line 3 (requires-python), or set BP_CPYTHON_VERSION=3.9",
        ),
    ] {
        assert_eq!(change(reason), words);
    }
}

#[test]
fn a_failed_build_names_what_would_spare_it() {
    let said = "  x Failed to build `flask @ file:///workspace`\n  RuntimeError: Error getting the version from source `uv-dynamic-versioning`: This does not appear to be a Git project\n";
    let text = page("flask\n", said);
    assert!(text.contains("the version of flask is read from the history of git, which is not in the build"), "{text}");
    assert!(text.contains("--env UV_DYNAMIC_VERSIONING_BYPASS=1.2.3"), "{text}");
    let text = page("flask\n", "  x Failed to build `flask @ file:///workspace`\n  other_python\n");
    assert!(text.contains("the build backend of flask, which lies in the app, failed"), "{text}");
    assert!(!text.contains("choose Python"), "{text}");
    let text = page("flask==3\n", "  x Failed to build `flask==3`\n  other_python\n");
    assert!(text.contains("or require flask==3.1.3, which has a wheel"), "{text}");
    let newest = page("flask==3.2\n", "  x Failed to build `flask==3.2`\n");
    let (apart, older) = newest.split_once("require a version that has a wheel for this Python").unwrap();
    assert!(!apart.contains("3.1.3") && older.contains("or require flask==3.1.3, which has a wheel"), "{newest}");
    assert!(text.contains("do    choose Python 3.9, for which the lock has wheels of everything"), "{text}");
}

#[test]
fn an_unknown_symptom_shows_the_installers_words() {
    insta::assert_snapshot!("unknown_symptom", page("flask\n", "error: The moon is full\n  cause: tides\n"));
}

#[test]
fn a_denied_build_and_a_refusal_are_told_from_errors() {
    let hint = "hint: Wheels are required for `psycopg2` because building from source is disabled for all packages (i.e., with `--no-build`)";
    assert!(needs_source_build(hint));
    assert!(needs_source_build("error: Building source distributions is disabled"));
    assert!(!needs_source_build(include_str!("said/unknown.txt")));
    assert!(refused_by_uv("error: Expected `--hash`, found `\"--global-option\"`: requirements.txt:1:7").is_some());
    assert!(refused_by_uv(include_str!("said/unreadable_line.txt")).is_none());
}
