//! `hoist check --lock`: what a build would take, written where the user says, and taken by the next build.

mod support;

use support::{hoist, run, tree};

const PROCFILE: (&str, &str) = ("Procfile", "web: python -c 'import click; print(click.__version__)'\n");

#[test]
fn what_is_resolved_today_is_what_the_next_build_installs() {
    let app = tree(&[("requirements.txt", "click<8.1.4\n"), PROCFILE]);
    let lock = app.path().join("pylock.toml");
    let said = run(hoist().args(["check", "--lock"]).arg(&lock).arg(app.path())).ok();
    assert!(said.stdout.contains("pylock.toml, 1 packages"), "{}", said.stdout);
    let text = fs_err::read_to_string(&lock).unwrap();
    let document: toml::Table = text.parse().unwrap();
    let package = &document["packages"][0];
    assert_eq!((package["name"].as_str(), package["version"].as_str()), (Some("click"), Some("8.1.3")), "{text}");
    assert_eq!(package["wheels"][0]["hashes"]["sha256"].as_str().map(str::len), Some(64), "{text}");
    // What the list says may change: the lock leads as long as it has what the list asks for.
    fs_err::write(app.path().join("requirements.txt"), "click\n").unwrap();
    let built = run(hoist().args(["build", "test/locked", "--path"]).arg(app.path())).ok();
    assert!(built.stderr.contains("packages from pylock.toml"), "{}", built.stderr);
    let ran = run(hoist().args(["run", "test/locked"])).ok();
    assert_eq!(ran.stdout.trim(), "8.1.3");
    // A program gets it on standard output, and no file is left or made.
    let said = run(hoist().args(["check", "--lock", "-", "--json"]).arg(app.path())).ok().json();
    assert_eq!(said["lock"]["packages"], 1);
    assert!(said["lock"]["text"].as_str().unwrap().contains("name = \"click\""), "{said}");
}

#[test]
fn a_place_that_does_not_do_is_refused_before_anything_is_resolved() {
    let app = tree(&[("requirements.txt", "click\n"), PROCFILE]);
    let refused =
        |file: &str| run(hoist().args(["check", "--lock"]).arg(app.path().join(file)).arg(app.path())).code(2);
    refused("locked.txt")
        .says("tools would not find it under that name")
        .says("name it pylock.toml, or pylock.NAME.toml");
    refused("pylock.a.b.toml").says("tools would not find it");
    refused("missing/pylock.toml").says("there is no folder").says("make the folder first");
    let entries = fs_err::read_dir(app.path()).unwrap().count();
    assert_eq!(entries, 2);
}

#[test]
fn nothing_is_written_where_a_build_would_be_refused() {
    let app = tree(&[("requirements.txt", "-r missing.txt\n"), PROCFILE]);
    let lock = app.path().join("pylock.toml");
    run(hoist().args(["check", "--lock"]).arg(&lock).arg(app.path())).code(1);
    assert!(!lock.exists());
}

#[test]
fn an_app_without_packages_has_none_to_lock() {
    let app = tree(&[("main.py", ""), PROCFILE]);
    let said = run(hoist().args(["check", "--lock", "-"]).arg(app.path())).code(2);
    said.says("the buildpacks of this build wrote no lock").says("requirements.txt");
}
