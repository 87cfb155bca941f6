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
