//! `hoist check --json` as an editor reads it: every problem has a kind, a severity, a message, what to do, and the place in the file where there is one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use serde_json::{Value, json};
use support::{hoist, run, tree};

/// The problems of an app with a process.
fn problems(files: &[(&str, &str)]) -> Vec<Value> {
    let app = tree(files);
    if !files.iter().any(|(name, _)| *name == "Procfile") {
        fs_err::write(app.path().join("Procfile"), "web: python main.py\n").unwrap();
    }
    let said = run(hoist().args(["check", "--json"]).arg(app.path()));
    let found = said.json()["problems"].as_array().unwrap().clone();
    let is_wrong = found.iter().any(|problem| problem["severity"] == "error");
    assert_eq!(said.code, i32::from(is_wrong), "{}", said.stdout);
    found
}

/// Kind, severity, file, line, columns of the only problem.
#[track_caller]
fn assert_place(files: &[(&str, &str)], expected: &Value) {
    let found = problems(files);
    assert_eq!(found.len(), 1, "{found:?}");
    let one = &found[0];
    let place = json!([one["code"], one["severity"], one["file"], one["line"], one["column"], one["end_column"]]);
    assert_eq!(place, *expected, "{one}");
    assert!(!one["message"].as_str().unwrap().is_empty() && !one["fixes"].as_array().unwrap().is_empty(), "{one}");
}

#[test]
fn each_problem_has_its_kind_and_place() {
    let main = ("main.py", "");
    for (files, expected) in [
        (
            &[main, ("requirements.txt", "six\n  flask=3.0 # web\n")][..],
            json!(["requirement-invalid", "error", "requirements.txt", 2, 3, 12]),
        ),
        (
            &[main, ("requirements.txt", "-r base.txt\n")],
            json!(["include-missing", "error", "requirements.txt", 1, 1, 12]),
        ),
        (&[main, ("requirements.txt", "six==1\nsix==2\n")], json!(["conflict", "error", "requirements.txt", 2, 1, 7])),
        (&[main, ("requirements.txt", "cv2\n")], json!(["dependencies", "warning", "requirements.txt", 1, 1, 4])),
        (&[main, ("requirments.txt", "six\n")], json!(["file-misspelt", "error", "requirments.txt", null, null, null])),
        (&[main, (".python-version", "3.7\n")], json!(["python-unavailable", "error", ".python-version", 1, 1, 4])),
        (&[main, (".python-version", "3.9\n")], json!(["python-end-of-life", "warning", ".python-version", 1, 1, 4])),
        (
            &[main, ("pyproject.toml", "[project]\nname = 'x'\nrequires-python = '>=3.99'\n")],
            json!(["python-unavailable", "error", "pyproject.toml", 3, 20, 26]),
        ),
        (
            &[main, (".python-version", "3.11\n"), ("pyproject.toml", "[project]\nrequires-python = '>=3.12'\n")],
            json!(["python-conflict", "error", "pyproject.toml", 2, 20, 26]),
        ),
        (&[main, ("pyproject.toml", "[project\n")], json!(["file-malformed", "error", "pyproject.toml", 1, 1, 9])),
        (
            &[main, ("requirements.txt", "six\n"), ("poetry.lock", "")],
            json!(["managers-ambiguous", "error", "poetry.lock", null, null, null]),
        ),
        (&[main, ("Procfile", "web = python main.py\n")], json!(["procfile", "error", "Procfile", 1, 1, 21])),
    ] {
        assert_place(files, &expected);
    }
    let app = tree(&[("app.py", "from flask import Flask\napp = Flask(__name__)\n")]);
    let found = run(hoist().args(["check", "--json"]).arg(app.path())).code(1).json();
    let one = &found["problems"][0];
    assert_eq!((&one["code"], &one["file"], &one["line"]), (&json!("process-missing"), &json!("app.py"), &json!(2)));
}

#[test]
fn files_of_conda_have_their_kinds_and_places() {
    let main = ("main.py", "");
    let lock = "version: 1\nmetadata:\n  content_hash: {osx-64: a}\n  channels: [{url: c, used_env_vars: []}]\n  platforms: [osx-64]\n  sources: [environment.yml]\npackage:\n- name: python\n  version: 3.11.9\n  manager: conda\n  platform: osx-64\n  dependencies: {}\n  url: https://c.invalid/osx-64/python-3.11.9-h1_0.conda\n  hash: {md5: 0123456789abcdef0123456789abcdef}\n  category: main\n  optional: false\n";
    for (file, text, expected) in [
        ("environment.yml", "dependencies:\n  - a\n - b\n", json!(["file-malformed", 3])),
        ("environment.yml", "dependecies: [a]\n", json!(["file-malformed", 1])),
        ("environment.yml", "dependencies:\n  - python\n  - numpy ===\n", json!(["requirement-invalid", 3])),
        ("environment.yml", "channels:\n  - ftp://h/c\ndependencies: [python, numpy]\n", json!(["channel-invalid", 2])),
        (
            "environment.yml",
            "dependencies:\n- python\n- pip\n- numpy\n- pip:\n  - -r gone.txt\n",
            json!(["include-missing", 6]),
        ),
        ("conda-lock.yml", lock, json!(["lock-platform", 5])),
        ("pixi.lock", "version: 6\nenvironments: [\n", json!(["file-malformed", 3])),
        ("pixi.lock", "version: 1000\n", json!(["file-malformed", 1])),
        ("package-list.txt", "# platform: osx-arm64\na=1=b\n", json!(["lock-platform", 1])),
        ("package-list.txt", "@EXPLICIT\na=1\n", json!(["file-malformed", 2])),
    ] {
        let found = problems(&[main, (file, text)]);
        assert_eq!(found.len(), 1, "{file}: {found:?}");
        let place = json!([found[0]["code"], found[0]["line"]]);
        assert_eq!((&found[0]["file"], place), (&json!(file), expected), "{found:?}");
    }
    // Refused or not, it is the file that leads.
    for text in [lock, &lock.replace("osx-64", "linux-64")] {
        let app = tree(&[main, ("conda-lock.yml", text), ("Procfile", "web: python main.py\n")]);
        let said = run(hoist().args(["check", "--json"]).arg(app.path())).json();
        assert_eq!((&said["dependencies"], &said["manager"]), (&json!("conda-lock.yml"), &json!("conda")));
        let said = run(hoist().arg("check").arg(app.path()));
        assert!(!said.stdout.contains("none declared"), "{}", said.stdout);
    }
    let app = tree(&[main, ("environment.yml", "dependencies: [python, numpy]\n"), ("Procfile", "web: x\n")]);
    let said = run(hoist().args(["check", "--json", "--env", "CONDA_OVERRIDE_CUDA=a b"]).arg(app.path())).code(1);
    assert_eq!(said.json()["problems"][0]["code"], json!("conda-override"));
}

#[test]
fn packages_of_debian_are_told_and_what_is_none_is_refused() {
    let project = "[com.heroku.buildpacks.deb-packages]\ninstall = ['ffmpeg']\n";
    let app = tree(&[
        ("main.py", ""),
        ("Procfile", "web: python main.py\n"),
        ("apt.txt", "libgl1\ncurl=8.14.1-2\n"),
        ("project.toml", project),
    ]);
    let said = run(hoist().args(["check", "--json"]).arg(app.path())).code(0).json();
    let one = |value: &str, reason: &str| json!({ "value": value, "reason": reason });
    let wanted = json!([
        one("curl (= 8.14.1-2)", "apt.txt line 2"),
        one("ffmpeg", "project.toml [com.heroku.buildpacks.deb-packages]"),
        one("libgl1", "apt.txt line 1"),
    ]);
    assert_eq!(said["deb_packages"], wanted);
    let main = ("main.py", "");
    assert_place(&[main, ("apt.txt", "curl\nLibGL1\n")], &json!(["deb-packages", "error", "apt.txt", 2, 1, 7]));
    assert_place(&[main, ("Aptfile", "https://h/x.deb\n")], &json!(["deb-packages", "error", "Aptfile", 1, 1, 16]));
}

#[test]
fn the_app_may_be_named_as_for_a_build() {
    let app = tree(&[("main.py", ""), ("Procfile", "web: python main.py\n")]);
    let plain = run(hoist().args(["check", "--json"]).arg(app.path())).ok().json();
    for option in ["--path", "-p"] {
        assert_eq!(run(hoist().args(["check", "--json", option]).arg(app.path())).ok().json(), plain);
    }
    assert_eq!(run(hoist().args(["check", "--json"]).current_dir(app.path())).ok().json()["files"], plain["files"]);
    let both = run(hoist().args(["check", "--path"]).arg(app.path()).arg("elsewhere")).code(2);
    assert!(both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn a_stale_lock_says_what_drifted_and_a_fine_app_nothing() {
    let project =
        "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"httpx\"]\n";
    let lock = "version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"shop\"\nversion = \"1\"\nsource = { virtual = \".\" }\n";
    let found = problems(&[("main.py", ""), ("pyproject.toml", project), ("uv.lock", lock)]);
    assert_eq!((&found[0]["code"], &found[0]["file"]), (&json!("lock-stale"), &json!("uv.lock")));
    assert!(found[0]["message"].as_str().unwrap().contains("httpx was added"), "{found:?}");
    assert!(found[0]["fixes"][0].as_str().unwrap().contains("uv lock"), "{found:?}");
    assert_eq!(problems(&[("main.py", ""), ("requirements.txt", "six\n")]), Vec::<Value>::new());
}

#[test]
fn credentials_are_in_no_problem() {
    let project = "[[tool.uv.index]]\nurl = https://me:s3cret-word@host/simple\n";
    let app = tree(&[("main.py", ""), ("Procfile", "web: x\n"), ("pyproject.toml", project)]);
    let said = run(hoist().args(["check", "--json"]).arg(app.path())).code(1);
    assert!(said.stdout.contains("file-malformed"), "{}", said.stdout);
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("s3cret-word"), "{}{}", said.stdout, said.stderr);
}
