//! Pipfiles and their locks.

use super::*;
use crate::dependencies::tests_support::{app, lines, read_with};

const PROJECT: &str = r#"[[source]]
name = "pypi"
url = "https://index/simple"
verify_ssl = true
[[source]]
name = "private"
url = "https://$NAME:${WORD}@private/simple"
[packages]
flask = ">=3"
six = "*"
pywin32 = { version = "*", sys_platform = "== 'win32'" }
lib = { git = "https://host/lib.git", ref = "v1", extras = ["all"] }
[dev-packages]
tabulate = "*"
"#;

const LOCK: &str = r#"{
    "_meta": {"hash": {"sha256": "00"}, "pipfile-spec": 6, "sources": [{"name": "pypi", "url": "https://index/simple", "verify_ssl": true}, {"name": "private", "url": "https://$NAME:${WORD}@private/simple"}]},
    "default": {
        "flask": {"hashes": ["sha256:01", "sha256:02"], "index": "pypi", "version": "==3.1.3"},
        "lib": {"git": "https://host/lib.git", "ref": "0123456789abcdef", "markers": "python_version >= '3.9'"},
        "pywin32": {"hashes": ["sha256:03"], "markers": "sys_platform == 'win32'", "version": "==3"},
        "six": {"hashes": ["sha256:04"], "version": "==1.17"}
    },
    "develop": {
        "tabulate": {"hashes": ["sha256:05"], "version": "==0.10"}
    }
}"#;

#[test]
fn the_default_category_is_installed_and_others_when_they_are_chosen() {
    let dir = app(&[(PIPFILE, PROJECT), (PIPFILE_LOCK, LOCK)]);
    let main = [
        "flask==3.1.3 --hash=sha256:01 --hash=sha256:02",
        "lib @ git+https://host/lib.git@0123456789abcdef",
        "six==1.17 --hash=sha256:04",
    ];
    assert_eq!(lines(read, &dir, &[]), main);
    assert!(lines(read, &dir, &[("BP_PYTHON_GROUPS", "dev")]).contains(&"tabulate==0.10 --hash=sha256:05".to_owned()));
    let page = read_with(read, &dir, &[("BP_PYTHON_GROUPS", "docs")]).unwrap_err().to_string();
    assert!(page.contains("some of: default, develop"), "{page}");
    let reading = read_with(read, &dir, &[("NAME", "me"), ("WORD", "pass"), ("PIP_INDEX_URL", "https://own")]).unwrap();
    let wanted = reading.wanted.unwrap();
    let indexes: Vec<&str> = wanted.listed().unwrap().indexes.iter().map(|index| index.url.as_str()).collect();
    assert_eq!(indexes, ["https://me:pass@private/simple"], "the build's own index takes the place of the first");
}

#[test]
fn a_stale_lock_says_what_drifted() {
    let newer = PROJECT.replace("flask = \">=3\"", "flask = \">=4\"\nhttpx = \"*\"");
    let page = read_with(read, &app(&[(PIPFILE, &newer), (PIPFILE_LOCK, LOCK)]), &[]).unwrap_err().to_string();
    insta::assert_snapshot!(page);
    let page = read_with(read, &app(&[(PIPFILE, PROJECT), (PIPFILE_LOCK, "{\n\"default\": {\n]}")]), &[]).unwrap_err();
    assert!(page.to_string().contains("Pipfile.lock line 3: "), "{page}");
}

#[test]
fn the_hash_is_the_one_that_pipenv_writes() {
    let pipfile = "[[source]]\nname = \"pypi\"\nurl = \"https://x/simple/\"\nverify_ssl = true\n[packages]\nflask = \">=3\"\ngunicorn = {version=\"*\", extras=[\"gevent\"], markers=\"sys_platform == 'win32'\"}\n[dev-packages]\ntabulate = \"*\"\n[requires]\npython_version = \"3.11\"\n";
    assert_eq!(
        content_hash(&pipfile.parse().unwrap()),
        "363cc4279caae08626ef67c54f08741ed86372841826aebfde6de4c1bd2eb5a5"
    );
}

#[test]
fn a_pipfile_without_a_lock_is_resolved() {
    let dir = app(&[(PIPFILE, PROJECT)]);
    assert_eq!(lines(read, &dir, &[]), ["flask>=3", "lib[all] @ git+https://host/lib.git@v1", "six"]);
    assert!(read_with(read, &dir, &[]).unwrap().warnings[0].contains("there is no Pipfile.lock"));
    let bad = PROJECT.replace("six = \"*\"", "six = 7");
    let page = read_with(read, &app(&[(PIPFILE, &bad)]), &[]).unwrap_err().to_string();
    assert!(page.contains("Pipfile line 10: six = 7"), "{page}");
}

#[test]
fn sources_that_git_does_not_keep_are_no_packages_of_the_index() {
    let page = |pipfile: &str, lock: Option<&str>| {
        let files = [Some((PIPFILE, pipfile)), lock.map(|lock| (PIPFILE_LOCK, lock))];
        read_with(read, &app(&files.into_iter().flatten().collect::<Vec<_>>()), &[]).unwrap_err().to_string()
    };
    let pipfile = PROJECT.replace("six = \"*\"", "six = { hg = \"https://host/six\", ref = \"69\" }");
    let lock = LOCK.replace(
        "\"six\": {\"hashes\": [\"sha256:04\"], \"version\": \"==1.17\"}",
        "\"six\": {\"hg\": \"https://host/six\", \"ref\": \"69\"}",
    );
    assert!(lock != LOCK && pipfile != PROJECT);
    for (page, place) in
        [(page(&pipfile, None), "Pipfile line 10"), (page(&pipfile, Some(&lock)), "Pipfile.lock line 7")]
    {
        let seen = format!("seen  {place}: six: its sources are fetched with hg");
        assert!(page.contains(&seen) && page.contains("a build fetches sources with git alone"), "{page}");
    }
}
