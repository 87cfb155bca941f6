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
    let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
    let python_reason = Some("runtime.txt says python-3.11");
    let python_version = "3.11.7";
    let evidence = Evidence {
        text: said,
        tree: &tree,
        python_version,
        python_reason,
        other_python: said.contains("other_python").then(|| "3.9".to_owned()),
        only_binary: None,
        as_of: None,
        probe: &probe,
    };
    diagnose(&evidence).to_string()
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
fn a_failed_build_names_what_would_spare_it() {
    let said = "  x Failed to build `flask @ file:///workspace`\n  RuntimeError: Error getting the version from source `uv-dynamic-versioning`: This does not appear to be a Git project\n";
    let text = page("flask\n", said);
    assert!(text.contains("the version of flask is read from the history of git, which is not in the build"), "{text}");
    assert!(text.contains("--env UV_DYNAMIC_VERSIONING_BYPASS=1.2.3"), "{text}");
    let text = page("flask\n", "  x Failed to build `flask @ file:///workspace`\n  other_python\n");
    assert!(text.contains("the build backend of flask, which lies in the app, failed"), "{text}");
    assert!(!text.contains("choose Python"), "{text}");
    let text = page("flask==3\n", "  x Failed to build `flask==3`\n  other_python\n");
    assert!(text.contains("or choose Python 3.9, for which the lock has wheels of everything"), "{text}");
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
