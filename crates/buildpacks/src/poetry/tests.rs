//! Locks of each format, as Poetry 1.0, 1.1, 1.8 and 2.1 write them.

use super::*;
use crate::dependencies::tests_support::{app, lines, read_with};

const PROJECT: &str = r#"[tool.poetry]
name = "shop"
package-mode = false
[tool.poetry.dependencies]
python = "^3.9"
flask = "^3.0"
colorama = { version = "*", optional = true }
numpy = [{ version = "<2", python = "<3.10" }, { version = ">=2", python = ">=3.10" }]
[tool.poetry.extras]
color = ["colorama"]
[tool.poetry.group.docs.dependencies]
six = "*"
"#;

const NEW: &str = r#"[[package]]
name = "colorama"
version = "0.4.6"
optional = true
python-versions = ">=2.7"
groups = ["main"]
markers = "extra == \"color\""
files = [{file = "colorama-0.4.6.tar.gz", hash = "sha256:01"}]

[[package]]
name = "flask"
version = "3.1.3"
optional = false
python-versions = ">=3.9"
groups = ["main", "docs"]
files = [{file = "flask-3.1.3-py3-none-any.whl", hash = "sha256:02"}]

[[package]]
name = "numpy"
version = "1.26"
optional = false
python-versions = ">=3.9"
groups = ["main"]
markers = "python_version < \"3.10\""
files = [{file = "numpy-1.26.tar.gz", hash = "sha256:03"}]

[[package]]
name = "numpy"
version = "2.1"
optional = false
python-versions = ">=3.10"
groups = ["main"]
markers = {main = "python_version >= \"3.10\""}
files = [{file = "numpy-2.1.tar.gz", hash = "sha256:04"}]

[[package]]
name = "six"
version = "1.17"
optional = false
python-versions = "*"
groups = ["docs"]
files = [{file = "six-1.17.tar.gz", hash = "sha256:05"}]

[extras]
color = ["colorama"]

[metadata]
lock-version = "2.1"
python-versions = "^3.9"
content-hash = "00"
"#;

/// The same as older formats have it: no groups, and markers at the dependencies.
fn old(lock_version: &str) -> String {
    let mut text: String = NEW
        .lines()
        .filter(|line| !line.starts_with("groups") && !line.starts_with("markers"))
        .flat_map(|line| [line, "\n"])
        .collect();
    text = text
        .replace("name = \"flask\"\nversion = \"3.1.3\"", "name = \"flask\"\nversion = \"3.1.3\"\ncategory = \"main\"");
    text = text.replace(
        "sha256:02\"}]\n",
        "sha256:02\"}]\n[package.dependencies]\nWerkzeug = {version = \">=3\", markers = \"python_version >= '3'\"}\npywin32 = {version = \"*\", markers = \"sys_platform == 'win32'\"}\nasgiref = {version = \">=3\", optional = true}\n[package.extras]\nasync = [\"asgiref (>=3)\"]\n",
    );
    for (name, hash) in [("asgiref", "06"), ("pywin32", "07"), ("werkzeug", "08")] {
        text = format!(
            "[[package]]\nname = \"{name}\"\nversion = \"3\"\noptional = false\npython-versions = \"*\"\nfiles = [{{file = \"{name}-3.tar.gz\", hash = \"sha256:{hash}\"}}]\n\n{text}"
        );
    }
    text.replace("2.1\"\npython-versions = \"^3.9\"", &format!("{lock_version}\"\npython-versions = \"^3.9\""))
}

fn shop(project: &str, lock: &str) -> tempfile::TempDir {
    app(&[("pyproject.toml", project), (POETRY_LOCK, lock)])
}

const MAIN_LINES: [&str; 2] = ["flask==3.1.3 --hash=sha256:02", "numpy==2.1 --hash=sha256:04"];

#[test]
fn a_new_lock_says_what_each_group_needs() {
    let dir = shop(PROJECT, NEW);
    assert_eq!(lines(read, &dir, &[]), MAIN_LINES);
    let color = lines(read, &dir, &[("BP_PYTHON_EXTRAS", "color")]);
    assert_eq!(color[0], "colorama==0.4.6 --hash=sha256:01");
    assert!(lines(read, &dir, &[("BP_PYTHON_GROUPS", "docs")]).contains(&"six==1.17 --hash=sha256:05".to_owned()));
    let only = lines(read, &dir, &[("BP_POETRY_INSTALL_ONLY", "docs")]);
    assert_eq!(only, ["flask==3.1.3 --hash=sha256:02", "six==1.17 --hash=sha256:05"]);
    let page = read_with(read, &dir, &[("BP_PYTHON_GROUPS", "dcos")]).unwrap_err().to_string();
    assert!(page.contains("to some of: docs"), "{page}");
}

#[test]
fn older_locks_are_walked_from_the_project() {
    for version in ["2.0", "1.1", "1.0"] {
        let mut lock = old(version);
        if version == "1.1" {
            // The files of all packages stand together.
            lock = lock.lines().filter(|line| !line.starts_with("files = ")).flat_map(|line| [line, "\n"]).collect();
            lock.push_str(
                "[metadata.files]\nflask = [{file = \"flask-3.1.3-py3-none-any.whl\", hash = \"sha256:02\"}]\n",
            );
        }
        if version == "1.0" {
            lock = lock.lines().filter(|line| !line.starts_with("files = ")).flat_map(|line| [line, "\n"]).collect();
            lock.push_str("[metadata.hashes]\nflask = [\"02\"]\n");
        }
        let found = lines(read, &shop(PROJECT, &lock), &[]);
        let names: Vec<&str> = found.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["werkzeug==3", "flask==3.1.3", "numpy==2.1"], "{version}");
        assert!(found[1].ends_with(" --hash=sha256:02"), "{found:?}");
        let with_extra = PROJECT.replace("flask = \"^3.0\"", "flask = {version = \"^3.0\", extras = [\"async\"]}");
        let found = lines(read, &shop(&with_extra, &lock), &[]);
        assert!(found.iter().any(|line| line.starts_with("asgiref==3")), "{version}: {found:?}");
    }
}

#[test]
fn a_stale_lock_says_what_drifted() {
    let newer = PROJECT.replace("flask = \"^3.0\"", "flask = \"^4\"\nhttpx = \"*\"");
    insta::assert_snapshot!(read_with(read, &shop(&newer, NEW), &[]).unwrap_err().to_string());
    // A dependency of a group that is not installed is nobody's matter; the hash still differs.
    let reading = read_with(read, &shop(&PROJECT.replace("six = \"*\"", "pytest = \"*\""), NEW), &[]).unwrap();
    assert!(reading.warnings[0].contains("`poetry lock` is due"), "{:?}", reading.warnings);
    let extra = PROJECT.replace("flask = \"^3.0\"", "flask = {version = \"^3.0\", extras = [\"async\"]}");
    let bare = NEW.replace("sha256:02\"}]\n", "sha256:02\"}]\n[package.extras]\nasync = [\"asgiref (>=3)\"]\n");
    let page = read_with(read, &shop(&extra, &bare), &[]).unwrap_err().to_string();
    assert!(page.contains("flask[async] was added"), "{page}");
    let of_another_platform = bare.replace("(>=3)", "(>=3) ; sys_platform == 'win32'");
    assert!(read_with(read, &shop(&extra, &of_another_platform), &[]).is_ok());
    let document: toml::Table = PROJECT.parse().unwrap();
    let fresh = NEW.replace("\"00\"", &format!("\"{}\"", content_hash::content_hash(&document)));
    assert_eq!(read_with(read, &shop(PROJECT, &fresh), &[]).unwrap().warnings, [""; 0]);
}

#[test]
fn without_a_lock_poetrys_rules_are_resolved() {
    let project = PROJECT.replace(
        "flask = \"^3.0\"",
        "flask = {version = \"~3.0\", extras = [\"async\"]}\nlib = {git = \"https://host/lib.git\", tag = \"v1\"}\nown = {path = \"libs/own\"}",
    );
    let dir = app(&[("pyproject.toml", &project), ("libs/own/setup.py", "")]);
    assert_eq!(
        lines(read, &dir, &[]),
        ["flask[async]>=3.0,<3.1", "lib @ git+https://host/lib.git@v1", "numpy>=2", "./libs/own"]
    );
    let reading = read_with(read, &dir, &[]).unwrap();
    assert!(reading.warnings[0].contains("there is no poetry.lock"), "{:?}", reading.warnings);
    for (from, to, wanted) in [
        ("\"^3.0\"", "\"^^3\"", "pyproject.toml line 6: flask = \"^^3\""),
        ("\"^3.0\"", "{ path = \"../x\" }", "leads out of the app"),
        ("\"^3.0\"", "7", "no dependency as Poetry reads them"),
    ] {
        let page = read_with(read, &app(&[("pyproject.toml", &PROJECT.replacen(from, to, 1))]), &[]).unwrap_err();
        assert!(page.to_string().contains(wanted), "{page}");
    }
}

#[test]
fn the_project_itself_is_installed_where_it_is_a_package() {
    let package = PROJECT.replace("package-mode = false\n", "")
        + "[build-system]\nrequires = [\"poetry-core\"]\nbuild-backend = \"poetry.core.masonry.api\"\n";
    let dir = app(&[("pyproject.toml", &package), (POETRY_LOCK, NEW), ("shop/__init__.py", "")]);
    assert_eq!(lines(read, &dir, &[]).last().unwrap(), "-e .");
    let scripted = package.replace("name = \"shop\"", "name = \"shop\"\nbuild = \"build.py\"");
    let dir = app(&[("pyproject.toml", &scripted), (POETRY_LOCK, NEW), ("shop/__init__.py", "")]);
    assert_eq!(lines(read, &dir, &[]).last().unwrap(), ".");
    let reading = read_with(read, &shop(&package, NEW), &[]).unwrap();
    assert!(reading.warnings.iter().any(|line| line.contains("there is no package shop")), "{:?}", reading.warnings);
}
