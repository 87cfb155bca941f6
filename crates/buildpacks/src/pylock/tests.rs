//! Locks as the specification has them.

use super::*;
use crate::dependencies::tests_support::{app, lines, read_with};

const LOCK: &str = r#"lock-version = "1.0"
environments = ["sys_platform == 'linux'", "sys_platform == 'win32'"]
requires-python = ">=3.9"
extras = ["web"]
dependency-groups = ["docs", "main"]
default-groups = ["main"]
created-by = "anyone"

[[packages]]
name = "flask"
version = "3.1.3"
index = "https://index/simple"
marker = "'main' in dependency_groups"
[[packages.wheels]]
name = "flask-3.1.3-py3-none-any.whl"
url = "https://files/flask-3.1.3-py3-none-any.whl"
hashes = {sha256 = "01"}

[[packages]]
name = "gunicorn"
version = "27"
marker = "'web' in extras"
sdist = {name = "gunicorn-27.tar.gz", url = "https://files/gunicorn-27.tar.gz", hashes = {sha256 = "02"}}

[[packages]]
name = "six"
version = "1.17"
marker = "'docs' in dependency_groups"
index = "https://other/simple"
sdist = {name = "six-1.17.tar.gz", url = "https://files/six-1.17.tar.gz", hashes = {sha256 = "03"}}

[[packages]]
name = "lib"
vcs = {type = "git", url = "https://host/lib", commit-id = "0123456789abcdef", subdirectory = "py"}

[[packages]]
name = "own"
directory = {path = "libs/own", editable = true}

[[packages]]
name = "more"
version = "1"
archive = {url = "https://host/more-1.tar.gz", hashes = {sha256 = "04"}}
"#;

#[test]
fn what_the_markers_mean_is_installed() {
    let dir = app(&[(PYLOCK, LOCK), ("libs/own/setup.py", "")]);
    let rest = [
        "lib @ git+https://host/lib@0123456789abcdef#subdirectory=py",
        "./libs/own",
        "more @ https://host/more-1.tar.gz --hash=sha256:04",
    ];
    let main = lines(read, &dir, &[]);
    assert_eq!(main[0], "flask==3.1.3 --hash=sha256:01");
    assert_eq!(main[1..], rest);
    let all = lines(read, &dir, &[("BP_PYTHON_EXTRAS", "web"), ("BP_PYTHON_GROUPS", "docs")]);
    assert_eq!(all[1..3], ["gunicorn==27 --hash=sha256:02", "six==1.17 --hash=sha256:03"]);
}

#[test]
fn a_file_beside_the_lock_is_taken_when_it_fits() {
    let dir = |files: &str| {
        let lock = format!("lock-version = \"1.0\"\n[[packages]]\nname = \"six\"\nversion = \"1.17\"\n{files}");
        let beside = [("dist/six-1.17-cp313-cp313-win_amd64.whl", ""), ("dist/six-1.17.tar.gz", "")];
        app(&[&[(PYLOCK, lock.as_str())][..], &beside].concat())
    };
    let of = |files: &str| lines(read, &dir(files), &[]);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let wheel = "[[packages.wheels]]\npath = \"dist/six-1.17-cp313-cp313-win_amd64.whl\"\nhashes = {sha256 = \"01\"}\n";
    let source = format!("sdist = {{path = \"dist/six-1.17.tar.gz\", hashes = {{sha256 = \"{empty}\"}}}}\n");
    assert_eq!(of(&format!("{source}{wheel}")), ["./dist/six-1.17.tar.gz"]);
    assert_eq!(of(&source), ["./dist/six-1.17.tar.gz"]);
    let other = source.replace(empty, &"0".repeat(64));
    let page = read_with(read, &dir(&other), &[]).unwrap_err().to_string();
    assert!(
        page.contains(&format!(
            "pylock.toml line 2: dist/six-1.17.tar.gz has the hash sha256:{empty}, and sha256:0000"
        )) && page.contains("the file is another one than the lock was made with"),
        "{page}"
    );
}

#[test]
fn a_link_out_of_the_app_is_no_file_of_it() {
    let lock = "lock-version = \"1.0\"\n[[packages]]\nname = \"six\"\nsdist = {path = \"six.tar.gz\"}\n";
    let dir = app(&[(PYLOCK, lock)]);
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("six.tar.gz")).unwrap();
    let page = read_with(read, &dir, &[]).unwrap_err().to_string();
    assert!(page.contains("pylock.toml line 2: six is at six.tar.gz, which is a link to /etc/hostname"), "{page}");
}

#[test]
fn a_lock_that_cannot_be_used_is_refused() {
    for (from, to, wanted) in [
        ("\"1.0\"", "\"2.0\"", "pylock.toml line 1: lock-version"),
        ("'linux'\", \"sys", "'darwin'\", \"sys", "none of them is Linux"),
        (">=3.9", ">=3.14", "pylock.toml line 3: it is for Python >=3.14"),
        ("type = \"git\"", "type = \"hg\"", "lib is in a repository of hg"),
        ("libs/own", "../own", "own is at ../own"),
        ("py3-none-any.whl\"\nurl", "cp313-cp313-win_amd64.whl\"\nurl", "none of its 1 files is for Linux"),
        ("name = \"more\"", "name = \"-r /etc/passwd\"", "this is no name of a package"),
        ("commit-id = \"0123456789abcdef\"", "commit-id = \"main\"", "the commit is not locked"),
        ("[[packages.wheels]]", "[[packages.wheels", "pylock.toml line 14: "),
    ] {
        let lock = LOCK.replacen(from, to, 1);
        assert_ne!(lock, LOCK, "{from}");
        let page = read_with(read, &app(&[(PYLOCK, &lock), ("libs/own/setup.py", "")]), &[]).unwrap_err().to_string();
        assert!(page.contains(wanted), "{page}");
    }
}
