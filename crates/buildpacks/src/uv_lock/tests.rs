//! Locks as uv writes them, without the addresses of an index.

use super::*;
use crate::dependencies::tests_support::{app, lines, read_with};

const PROJECT: &str = r#"[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = ["flask>=3,<4", "helper", "tomli; python_version < '3.11'"]
[project.optional-dependencies]
web = ["gunicorn>=20"]
[dependency-groups]
dev = ["tabulate"]
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"#;

const LOCK: &str = r#"version = 1
revision = 3
requires-python = ">=3.11"

[manifest]
members = ["helper", "shop"]

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "https://index/simple" }
sdist = { url = "https://index/colorama-0.4.6.tar.gz", hash = "sha256:00" }

[[package]]
name = "flask"
version = "3.1.3"
source = { registry = "https://index/simple" }
dependencies = [{ name = "colorama", marker = "sys_platform == 'win32'" }, { name = "six", extra = ["speed"] }]
sdist = { url = "https://index/flask-3.1.3.tar.gz", hash = "sha256:01" }
wheels = [{ url = "https://index/flask-3.1.3-py3-none-any.whl", hash = "sha256:02" }]

[[package]]
name = "gunicorn"
version = "27"
source = { git = "https://host/gunicorn?rev=main#0123456789abcdef0123456789abcdef01234567" }

[[package]]
name = "helper"
version = "0.2"
source = { editable = "libs/helper" }
dependencies = [{ name = "flask" }]

[[package]]
name = "quick"
version = "2"
source = { url = "https://host/quick-2-py3-none-any.whl" }
wheels = [{ url = "https://host/quick-2-py3-none-any.whl", hash = "sha256:03" }]

[[package]]
name = "shop"
version = "1"
source = { editable = "." }
dependencies = [{ name = "flask" }, { name = "helper" }]
[package.optional-dependencies]
web = [{ name = "gunicorn" }]
[package.dev-dependencies]
dev = [{ name = "tabulate" }]
[package.metadata]
requires-dist = [
    { name = "flask", specifier = ">=3,<4" },
    { name = "gunicorn", marker = "extra == 'web'", specifier = ">=20" },
    { name = "helper", editable = "libs/helper" },
    { name = "tomli", marker = "python_full_version < '3.11'" },
]
[package.metadata.requires-dev]
dev = [{ name = "tabulate" }]

[[package]]
name = "six"
version = "1.17"
source = { registry = "https://index/simple" }
sdist = { url = "https://index/six-1.17.tar.gz", hash = "sha256:04" }
[package.optional-dependencies]
speed = [{ name = "quick" }]

[[package]]
name = "tabulate"
version = "0.10"
source = { registry = "https://index/simple" }
wheels = [{ url = "https://index/tabulate-0.10-py3-none-any.whl", hash = "sha256:05" }]
"#;

const HELPER: &str = "[project]\nname = 'helper'\nversion = '0.2'\ndynamic = ['dependencies']\n";

fn shop(project: &str, lock: &str) -> tempfile::TempDir {
    app(&[(UV_LOCK, lock), ("pyproject.toml", project), ("libs/helper/pyproject.toml", HELPER)])
}

#[test]
fn what_this_machine_needs_is_installed_and_no_more() {
    let dir = shop(PROJECT, LOCK);
    assert_eq!(
        lines(read, &dir, &[]),
        [
            "flask==3.1.3 --hash=sha256:01 --hash=sha256:02",
            "./libs/helper",
            "quick @ https://host/quick-2-py3-none-any.whl --hash=sha256:03",
            "-e .",
            "six==1.17 --hash=sha256:04",
        ]
    );
}

#[test]
fn extras_groups_and_members_are_selected() {
    let dir = shop(PROJECT, LOCK);
    let all = lines(read, &dir, &[("BP_PYTHON_EXTRAS", "Web"), ("BP_PYTHON_GROUPS", "dev")]);
    let git = "gunicorn @ git+https://host/gunicorn@0123456789abcdef0123456789abcdef01234567";
    assert!(all.contains(&git.to_owned()) && all.contains(&"tabulate==0.10 --hash=sha256:05".to_owned()), "{all:?}");
    let member = lines(read, &dir, &[("BP_UV_PACKAGE", "helper")]);
    assert!(member.contains(&"./libs/helper".to_owned()) && !member.contains(&"-e .".to_owned()), "{member:?}");
    let page = read_with(read, &dir, &[("BP_PYTHON_EXTRAS", "speed")]).unwrap_err().to_string();
    assert!(page.contains("set BP_PYTHON_EXTRAS to some of: web"), "{page}");
    let page = read_with(read, &dir, &[("BP_UV_PACKAGE", "flask")]).unwrap_err().to_string();
    assert!(page.contains("some of: helper, shop"), "{page}");
}

#[test]
fn a_lock_that_the_project_has_outgrown_says_what_drifted() {
    let newer =
        PROJECT.replace("\"helper\"", "\"helper\", \"httpx\"").replace(">=3,<4", ">=2").replace("gunicorn", "uvicorn");
    let page = read_with(read, &shop(&newer, LOCK), &[]).unwrap_err().to_string();
    insta::assert_snapshot!(page);
    let reading = read_with(read, &shop(&PROJECT.replace("tabulate", "pytest"), LOCK), &[]).unwrap();
    assert!(reading.warnings[0].contains("group dev"), "{:?}", reading.warnings);
    for (from, to, drifted) in [
        ("flask>=3", "flask[async]>=3", "flask is [async]<4,>=3 now, and was <4,>=3"),
        ("tomli; python_version < '3.11'", "tomli; python_version >= '3.11'", "tomli is any now, and was any (not for"),
        ("[build-system]", "[tool.uv.sources]\nflask = { git = 'https://host/flask' }\n[build-system]", "from git now"),
    ] {
        let project = PROJECT.replace(from, to);
        assert_ne!(project, PROJECT, "{from}");
        let page = read_with(read, &shop(&project, LOCK), &[]).unwrap_err().to_string();
        assert!(page.contains(drifted), "{page}");
    }
    let respelt = PROJECT.replace("flask>=3,<4", "Flask <4, >=3");
    assert!(read_with(read, &shop(&respelt, LOCK), &[]).is_ok());
}

#[test]
fn the_same_pythons_in_uvs_own_spelling_are_no_drift() {
    let project = |pythons: &str| format!("[project]\nname = 'one'\nversion = '1'\nrequires-python = '{pythons}'\n");
    let lock = "version = 1\nrequires-python = '==3.13.*'\n[[package]]\nname = 'one'\nversion = '1'\nsource = { virtual = '.' }\n";
    let reading = |pythons: &str| {
        let dir = app(&[(UV_LOCK, lock), ("pyproject.toml", &project(pythons))]);
        read_with(read, &dir, &[]).map_err(|failure| failure.to_string())
    };
    assert!(reading(">=3.13,<3.14").unwrap().warnings.is_empty());
    let page = reading(">=3.13").unwrap_err();
    assert!(page.contains("requires-python is >=3.13 now, and was ==3.13.*"), "{page}");
}

#[test]
fn a_lock_that_cannot_be_meant_is_refused_with_its_line() {
    for (from, to, wanted) in [
        ("version = 1\n", "version = 2\n", "uv.lock line 1: version = 2"),
        ("sha256:02", "sha256:02 --no-index", "uv.lock line 14: flask: one of its hashes is none"),
        ("\"3.1.3\"\nsource", "\"3.1.3 -r x\"\nsource", "flask: it has no version"),
        ("libs/helper\" }\ndep", "../helper\" }\ndep", "the path leads out of the app"),
        ("[manifest]", "[manifest", "uv.lock line 5: "),
        ("flask-3.1.3-py3-none-any.whl", "flask-3.1.3-cp311-cp311-win_amd64.whl", ""),
        (">=3.11\"\n\n[man", ">=3.14\"\n\n[man", "it is for Python >=3.14"),
        ("{ editable = \".\" }", "{ editable = \"x\" }", ""),
    ] {
        let lock = LOCK.replacen(from, to, 1);
        assert_ne!(lock, LOCK, "{from}");
        let project = PROJECT.replace(">=3.11", if to.contains("3.14") { ">=3.14" } else { ">=3.11" });
        match read_with(read, &shop(&project, &lock), &[]) {
            Err(failure) => assert!(failure.to_string().contains(wanted), "{to}: {failure}"),
            Ok(_) => assert_eq!(wanted, "", "{to}"),
        }
    }
    let only_windows = LOCK
        .replace("flask-3.1.3-py3-none-any.whl", "flask-3.1.3-cp311-cp311-win_amd64.whl")
        .replace("sdist = { url = \"https://index/flask-3.1.3.tar.gz\", hash = \"sha256:01\" }\n", "");
    let page = read_with(read, &shop(PROJECT, &only_windows), &[]).unwrap_err().to_string();
    assert!(page.contains("none of its 1 files is for Linux"), "{page}");
}
