//! Locks as PDM writes them, with and without the metadata of each package.

use super::*;
use crate::dependencies::tests_support::{app, lines, read_with};

const PROJECT: &str = r#"[project]
name = "shop"
version = "1"
requires-python = ">=3.9"
dependencies = ["flask>=3", "httpx[http2]", "colorama; sys_platform == 'win32'"]
[project.optional-dependencies]
web = ["gunicorn>=20"]
[dependency-groups]
dev = ["tabulate"]
"#;

const LOCK: &str = r#"[metadata]
groups = ["default", "dev", "web"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
content_hash = "sha256:00"

[[metadata.targets]]
requires_python = ">=3.9"

[[package]]
name = "colorama"
version = "0.4.6"
groups = ["default"]
marker = "sys_platform == \"win32\""
files = [{file = "colorama-0.4.6.tar.gz", hash = "sha256:01"}]

[[package]]
name = "flask"
version = "3.1.3"
groups = ["default"]
dependencies = ["click>=8"]
files = [{file = "flask-3.1.3-py3-none-any.whl", hash = "sha256:02"}]

[[package]]
name = "click"
version = "8.5"
groups = ["default"]
files = [{url = "https://index/click-8.5.tar.gz", hash = "sha256:03"}]

[[package]]
name = "gunicorn"
version = "27"
groups = ["web"]
files = [{file = "gunicorn-27.tar.gz", hash = "sha256:04"}]

[[package]]
name = "h2"
version = "4"
groups = ["default"]
git = "https://host/h2.git"
ref = "main"
revision = "0123456789abcdef"

[[package]]
name = "httpx"
version = "0.28"
groups = ["default"]
files = [{file = "httpx-0.28.tar.gz", hash = "sha256:05"}]

[[package]]
name = "httpx"
version = "0.28"
extras = ["http2"]
groups = ["default"]
dependencies = ["h2", "httpx==0.28"]
files = [{file = "httpx-0.28.tar.gz", hash = "sha256:05"}]

[[package]]
name = "tabulate"
version = "0.10"
groups = ["dev"]
files = [{file = "tabulate-0.10.tar.gz", hash = "sha256:06"}]
"#;

fn shop(project: &str, lock: &str) -> tempfile::TempDir {
    app(&[("pyproject.toml", project), (PDM_LOCK, lock)])
}

const MAIN: [&str; 4] = [
    "flask==3.1.3 --hash=sha256:02",
    "click==8.5 --hash=sha256:03",
    "h2 @ git+https://host/h2.git@0123456789abcdef",
    "httpx==0.28 --hash=sha256:05",
];

#[test]
fn the_default_group_is_installed_and_others_when_they_are_chosen() {
    let dir = shop(PROJECT, LOCK);
    assert_eq!(lines(read, &dir, &[]), MAIN);
    let warnings = read_with(read, &dir, &[]).unwrap().warnings;
    assert!(warnings[0].contains("`pdm lock` is due"), "{warnings:?}");
    let all = lines(read, &dir, &[("BP_PYTHON_EXTRAS", "web"), ("BP_PYTHON_GROUPS", "dev")]);
    assert_eq!(all.len(), MAIN.len() + 2);
    let page = read_with(read, &dir, &[("BP_PYTHON_GROUPS", "docs")]).unwrap_err().to_string();
    assert!(page.contains("some of: default, dev, web"), "{page}");
}

#[test]
fn a_lock_without_metadata_is_walked_from_the_project() {
    let bare: String = LOCK
        .replace("strategy = [\"inherit_metadata\"]", "strategy = []")
        .lines()
        .filter(|line| !line.starts_with("marker") && (!line.starts_with("groups") || line.contains("dev")))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(lines(read, &shop(PROJECT, &bare), &[]), MAIN);
    let older = bare
        .replace("4.5.0", "4.2")
        .replace("files = [{file = \"flask-3.1.3-py3-none-any.whl\", hash = \"sha256:02\"}]\n", "")
        + "[metadata.files]\n\"flask 3.1.3\" = [{url = \"https://index/flask-3.1.3-py3-none-any.whl\", hash = \"sha256:02\"}]\n";
    assert_eq!(lines(read, &shop(PROJECT, &older), &[]), MAIN);
}

#[test]
fn a_stale_lock_says_what_drifted() {
    let newer = PROJECT.replace("\"flask>=3\"", "\"flask>=4\", \"loguru\"");
    insta::assert_snapshot!(read_with(read, &shop(&newer, LOCK), &[]).unwrap_err().to_string());
    let extra = PROJECT.replace("httpx[http2]", "httpx[http2,socks]");
    let page = read_with(read, &shop(&extra, LOCK), &[]).unwrap_err().to_string();
    assert!(page.contains("httpx[socks] was added"), "{page}");
    let page = read_with(read, &shop(PROJECT, &LOCK.replace("4.5.0", "5.0")), &[]).unwrap_err().to_string();
    assert!(page.contains("pdm.lock line 4: lock_version"), "{page}");
}

#[test]
fn the_project_itself_is_installed_where_it_is_a_package() {
    let package = format!("{PROJECT}[build-system]\nrequires = [\"pdm-backend\"]\nbuild-backend = \"pdm.backend\"\n");
    assert_eq!(lines(read, &shop(&package, LOCK), &[]).last().unwrap(), "-e .");
    let scripted = format!("{package}[tool.pdm.build]\nrun-setuptools = true\n");
    assert_eq!(lines(read, &shop(&scripted, LOCK), &[]).last().unwrap(), ".");
    let application = format!("{package}[tool.pdm]\ndistribution = false\n");
    assert_eq!(lines(read, &shop(&application, LOCK), &[]), MAIN);
    let older = application.replace("distribution = false", "package-type = \"application\"");
    assert_eq!(lines(read, &shop(&older, LOCK), &[]), MAIN);
}
