//! What bad input gets: a text that says what was done, seen, why it is wrong and what to do, and a code that is not 0.

mod support;

use std::path::Path;

use support::{Said, hoist, hoist_says, hoist_with_store, run, tree};

const RUN: &str = "def run(data, params):\n    return {\"n\": 1}\n";

fn job(dir: &Path) -> Said {
    run(hoist().args(["job", "run"]).arg(dir))
}

fn build(dir: &Path) -> Said {
    run(hoist().args(["build", "test/bad", "--path"]).arg(dir))
}

#[test]
fn an_app_that_no_buildpack_recognises_is_told_what_would_be() {
    let app = tree(&[("index.html", "<p>hello</p>")]);
    build(app.path()).code(1).says("no group of buildpacks applies to the app").says("hoist/python").says("try:");
}

#[test]
fn two_managers_without_a_rule_are_both_named() {
    let app = tree(&[
        ("src/program.py", RUN),
        ("requirements.txt", "flask\n"),
        ("Pipfile", "[packages]\nflask = \"*\"\n"),
        ("planqk.json", "{}"),
    ]);
    build(app.path()).code(2).says("requirements.txt").says("Pipfile").says("--dependencies");
}

#[test]
fn a_requirement_that_does_not_exist_is_shown_with_near_names_and_its_line() {
    let app = tree(&[("src/program.py", RUN), ("requirements.txt", "# things\nnumpyy==1.0\n")]);
    let said = build(app.path()).code(1);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("numpyy") && all.contains("numpy") && all.contains("line 2"), "{all}");
}

#[test]
fn a_conflict_names_both_sides() {
    let app = tree(&[("src/program.py", RUN), ("requirements.txt", "flask==3.0.0\nwerkzeug<2\n")]);
    let said = build(app.path()).code(1);
    let all = format!("{}{}", said.stdout, said.stderr).to_lowercase();
    assert!(all.contains("flask") && all.contains("werkzeug"), "{all}");
    assert!(all.contains("no version of werkzeug satisfies both sides"), "{all}");
}

#[test]
fn a_build_that_lacks_a_library_names_its_debian_package() {
    let app = tree(&[("src/program.py", RUN), ("requirements.txt", "psycopg2==2.9.9\n")]);
    let said = build(app.path()).code(1);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("libpq-dev"), "{all}");
    assert!(all.contains("psycopg2-binary") || all.contains("psycopg[binary]"), "{all}");
}

#[test]
fn a_python_that_cannot_be_had_is_answered_with_those_that_can() {
    let app = tree(&[("src/program.py", RUN), (".python-version", "3.7\n")]);
    let said = build(app.path()).code(1);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("3.7") && all.contains("3.13") && all.contains(".python-version"), "{all}");
}

#[test]
fn data_that_is_not_json_is_shown_with_line_and_column_before_anything_is_built() {
    let app = tree(&[("src/program.py", RUN)]);
    let said = run(hoist().args(["job", "run", "--data", "{\"a\": 1,\n \"b\": oops}"]).arg(app.path())).code(2);
    assert!(said.stderr.contains("line 2") && said.stderr.contains("column"), "{}", said.stderr);
    assert!(!said.stderr.contains("hoist/python"), "nothing was built:\n{}", said.stderr);
    let said = run(hoist().args(["job", "run", "--data", "NaN-sense.json"]).arg(app.path())).code(2);
    assert!(said.stderr.contains("NaN-sense.json"), "{}", said.stderr);
}

#[test]
fn an_input_of_another_type_than_run_wants_is_an_error_of_the_input() {
    let typed = "def run(shots: int, seed: int = 7) -> dict:\n    return {\"n\": shots}\n";
    let app = tree(&[("src/program.py", typed), ("input/shots.json", "5"), ("input/seed.json", "1")]);
    assert_eq!(job(app.path()).ok().json()["n"], 5, "each parameter has its default file");
    let said = run(hoist().args(["job", "run", "--data", "{\"shots\": \"many\"}"]).arg(app.path())).code(2);
    assert!(said.stderr.contains("the service cannot take this input: shots"), "{}", said.stderr);
    let said = run(hoist().args(["job", "run", "--json", "--data", "{\"shots\": \"many\"}"]).arg(app.path())).code(2);
    assert_eq!(said.json()["error"]["code"], "input");
}

#[test]
fn a_check_finds_what_a_build_would_refuse() {
    let app = tree(&[("main.py", "print(1)\n"), (".python-version", "3.7\n"), ("Procfile", "web = python main.py\n")]);
    let said = run(hoist().arg("check").arg(app.path())).code(1);
    assert!(
        said.stdout.contains(".python-version says 3.7") && said.stdout.contains("web: python main.py"),
        "{}",
        said.stdout
    );
    let app = tree(&[("main.py", "print(1)\n"), ("requirements.txt", "flask\n"), ("runtime.txt", "python-3.11\n")]);
    let said = run(hoist().arg("check").arg(app.path())).code(1);
    assert!(said.stdout.contains("3.11 (runtime.txt says python-3.11)"), "{}", said.stdout);
    assert!(said.stdout.contains("into a file called Procfile: web: python main.py"), "{}", said.stdout);
}

#[test]
fn a_service_without_run_fails_the_build() {
    let app = tree(&[("src/program.py", "def start(data, params):\n    return 1\n"), ("planqk.json", "{}")]);
    build(app.path()).code(1).says("has no function run").says("src/program.py");
}

#[test]
fn a_module_that_is_missing_fails_the_build_with_the_line_to_add() {
    let app = tree(&[("src/program.py", "import yaml\n\ndef run(data, params):\n    return 1\n")]);
    build(app.path()).code(1).says("yaml").says("PyYAML");
}

#[test]
fn a_run_that_raises_shows_its_own_traceback_and_ends_with_1() {
    let app = tree(&[("src/program.py", "def run(data, params):\n    return 1 / data[\"zero\"]\n")]);
    let said = run(hoist().args(["job", "run", "--data", "{\"zero\": 0}"]).arg(app.path())).code(1);
    assert!(
        said.stderr.contains("ZeroDivisionError") && said.stderr.contains("program.py\", line 2"),
        "{}",
        said.stderr
    );
    assert!(
        !said.stderr.contains("hoist_runner/"),
        "frames of the runner are not the user's business:\n{}",
        said.stderr
    );
    assert_eq!(said.stdout, "");
}

#[test]
fn a_result_that_is_not_json_is_named_with_its_place() {
    let app = tree(&[("src/program.py", "def run(data, params):\n    return {\"values\": [1, float(\"nan\")]}\n")]);
    let said = job(app.path()).code(1);
    assert!(said.stderr.contains("values") && said.stderr.to_lowercase().contains("nan"), "{}", said.stderr);
}

#[test]
fn a_procfile_line_that_is_none_is_shown_with_the_corrected_one() {
    let app = tree(&[("main.py", "print(1)\n"), ("Procfile", "web = python main.py\n")]);
    let said = build(app.path()).code(1);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("Procfile") && all.contains("web: python main.py"), "{all}");
}

#[test]
fn an_unknown_image_is_answered_with_near_names() {
    hoist_says(["run", "no-such-image"]).code(2).says("no-such-image").says("try:");
    hoist_says(["image", "inspect", "no-such-image"]).code(2);
    let said = hoist_says(["job", "run", "no-such-thing"]).code(2);
    assert!(said.stderr.contains("neither a folder"), "{}", said.stderr);
}

#[test]
fn an_error_with_json_is_an_object() {
    let said = hoist_says(["--json", "image", "inspect", "no-such-image"]).code(2);
    assert_eq!(said.json()["error"]["exit_code"], 2);
}

#[test]
fn a_full_disk_is_said_and_the_store_is_as_it_was() {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts a small file system and has to be run by root");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("none"), dir.path(), Some("tmpfs"), flags, Some("size=20m")).unwrap();
    let app = tree(&[("src/program.py", RUN)]);
    let said = run(hoist_with_store(&dir.path().join("store")).args(["job", "run"]).arg(app.path()));
    let after = run(hoist_with_store(&dir.path().join("store")).args(["image", "ls", "--json"]));
    nix::mount::umount(dir.path()).unwrap();
    let said = said.code(3);
    assert!(said.stderr.contains("No space left on device"), "{}", said.stderr);
    assert!(said.stderr.contains("try:"), "{}", said.stderr);
    assert_eq!(after.ok().json(), serde_json::json!([]));
}

#[test]
fn two_hoists_on_one_store_do_not_disturb_each_other() {
    let one = tree(&[("src/program.py", RUN)]);
    let two = tree(&[("src/program.py", "def run(data, params):\n    return {\"n\": 2}\n")]);
    let mut children: Vec<_> = [one.path(), two.path(), one.path()]
        .into_iter()
        .map(|dir| {
            let mut command = hoist();
            command.args(["job", "run"]).arg(dir);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let answers: Vec<_> = children.drain(..).map(|child| child.wait_with_output().unwrap()).collect();
    for (output, number) in answers.iter().zip([1, 2, 1]) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["n"], number);
    }
}
