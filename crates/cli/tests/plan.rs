//! `hoist plan`: which group applies and why others do not, in words and as JSON, without a build.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests; a buildpack is started

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{executable_below, hoist, hoist_with_store, run, shared_store, tree};

const BUILDER: &str = r#"
[build]
image = "hoist/build"
[[run.images]]
image = "hoist/run"
[[buildpacks]]
uri = "word"
[[buildpacks]]
uri = "say"
[[buildpacks]]
uri = "salt"
[[buildpacks]]
uri = "bad"
[[order]]
group = [{ id = "test/bad" }]
[[order]]
group = [{ id = "test/salt" }, { id = "test/say" }]
[[order]]
group = [{ id = "test/word" }, { id = "test/salt", optional = true }, { id = "test/say" }]
[[order]]
group = [{ id = "test/say" }]
"#;

const WORD: &str = "#!/usr/bin/env bash
[ -e name ] || { echo \"no file called name for $WHO\"; exit 100; }
printf '[[provides]]\\nname = \"word\"\\n' > \"$CNB_BUILD_PLAN_PATH\"
";
const SAY: &str = "#!/usr/bin/env bash
printf '[[requires]]\\nname = \"word\"\\n[requires.metadata]\\nversion = \"3\"\\n' > \"$CNB_BUILD_PLAN_PATH\"
";
const SALT: &str = "#!/usr/bin/env bash
printf '[[requires]]\\nname = \"salt\"\\n' > \"$CNB_BUILD_PLAN_PATH\"
";
const BAD: &str = "#!/usr/bin/env bash\ncat why && exit 7\nexit 100\n";

fn world(name: &str) -> tempfile::TempDir {
    let descriptor = |id: &str| format!("api = \"0.10\"\n[buildpack]\nid = \"test/{id}\"\nversion = \"1.0.0\"\n");
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("word/buildpack.toml", &descriptor("word")),
        ("word/bin/detect", WORD),
        ("word/bin/build", ""),
        ("say/buildpack.toml", &descriptor("say")),
        ("say/bin/detect", SAY),
        ("say/bin/build", ""),
        ("salt/buildpack.toml", &descriptor("salt")),
        ("salt/bin/detect", SALT),
        ("salt/bin/build", ""),
        ("bad/buildpack.toml", &descriptor("bad")),
        ("bad/bin/detect", BAD),
        ("bad/bin/build", ""),
        ("app/name", "world"),
        ("app/why", "out of cheese\n"),
        ("other/readme", "nothing"),
        ("broken/why", "out of cheese\n"),
    ]);
    executable_below(dir.path());
    run(hoist().args(["builder", "create", name]).current_dir(dir.path())).ok();
    dir
}

fn scratch() -> BTreeSet<OsString> {
    let entries = fs_err::read_dir(Path::new(&shared_store()).join("scratch"));
    entries.map(|entries| entries.flatten().map(|entry| entry.file_name()).collect()).unwrap_or_default()
}

#[test]
fn the_plan_says_which_group_applies_who_provides_what_and_why_others_do_not_apply() {
    let dir = world("test-plan");
    let before = scratch();
    let plan = |args: &[&str]| {
        let args = [&["plan", "-B", "test-plan", "-e", "WHO=you", "--path"], args].concat();
        run(hoist().args(args).current_dir(dir.path()))
    };
    let said = plan(&["app"]).ok();
    let (head, groups) = said.stdout.split_at(said.stdout.find("group 1").unwrap());
    assert!(head.starts_with("builder  test-plan:latest\ntarget   linux/"), "{head}");
    assert_eq!(
        groups,
        "group 1  does not apply: test/bad@1.0.0 failed, and the group needs it
  test/bad@1.0.0  failed with code 7
      out of cheese
group 2  does not apply: test/salt@1.0.0 requires `salt`, which no buildpack before it provides
  test/salt@1.0.0  applies; requires salt
  test/say@1.0.0   applies; requires word
group 3  applies
  test/word@1.0.0  takes part; provides word
  test/salt@1.0.0  applies, but is left out: nobody provides what it requires, or wants what it provides (optional); requires salt
  test/say@1.0.0   takes part; requires word
the group after it is not tried
plan
  word: from test/word@1.0.0
    for test/say@1.0.0 (version = \"3\")
"
    );
    assert_eq!(said.stderr, "", "what buildpacks say stands in the answer");
    let json = plan(&["app", "--json"]).ok().json();
    assert_eq!((&json["applies"], &json["untried_groups"]), (&true.into(), &1.into()));
    assert_eq!(json["groups"][0]["buildpacks"][0]["code"], 7);
    assert_eq!(json["plan"][0]["required_by"][0]["metadata"]["version"], "3");
    assert_eq!(json["buildpacks"][1]["id"], "test/say");

    // The specification's codes: none applies, and none applies while one failed.
    let said = plan(&["other"]).code(20);
    assert!(said.stdout.contains("no file called name for you\n") && said.stdout.ends_with("applies to the app\n"));
    let said = plan(&["broken", "--json"]).code(21);
    assert_eq!((&said.json()["applies"], &said.json()["exit_code"]), (&false.into(), &21.into()));
    let left: Vec<OsString> = scratch().difference(&before).cloned().collect();
    assert_eq!(left, Vec::<OsString>::new(), "nothing is left");
    run(hoist().args(["image", "rm", "test-plan"])).ok();
}

#[test]
fn a_wrong_call_of_plan_is_explained() {
    let dir = tree(&[("app/main.py", "")]);
    let store = dir.path().join("store");
    let plan = |args: &[&str]| run(hoist_with_store(&store).arg("plan").args(args).current_dir(dir.path()));
    plan(&["-p", "gone"]).code(2).says("gone");
    plan(&["-p", "app", "-B", "test-gone"]).code(2).says("the builder test-gone:latest is not in the store");
    plan(&["-p", "app", "-B", "UPPER"]).code(2).says("write it in lower case");
}

/// The folder of a buildpack of hoist's own, as builders have it.
fn own_buildpack(dir: &Path, id: &str) -> PathBuf {
    let folder = dir.join(id);
    fs_err::create_dir_all(folder.join("bin")).unwrap();
    let about = format!("api = \"0.10\"\n[buildpack]\nid = \"hoist/{id}\"\nversion = \"0.1.0\"\n");
    fs_err::write(folder.join("buildpack.toml"), about).unwrap();
    fs_err::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hoist"), folder.join("bin/detect")).unwrap();
    folder
}

#[test]
fn hoists_own_buildpacks_answer_together_as_they_do_alone() {
    let dir = tree(&[("app/Procfile", "web: true\n"), ("app/requirements.txt", "flask\n")]);
    let folders = ["pip", "poetry", "procfile"].map(|id| own_buildpack(dir.path(), id));
    let plan = |name: &str| dir.path().join(name);
    let detect = |args: &[PathBuf], alone: Option<&Path>| {
        let mut command = Command::new(folders[0].join("bin/detect"));
        command.args(args).current_dir(dir.path().join("app")).env_clear().env("CNB_PLATFORM_DIR", dir.path());
        if let Some(folder) = alone {
            command.env("CNB_BUILDPACK_DIR", folder).env("CNB_BUILD_PLAN_PATH", plan("alone"));
        }
        command.output().unwrap()
    };
    let mut args = vec![PathBuf::from("--together")];
    args.extend(folders.iter().enumerate().flat_map(|(n, folder)| [folder.clone(), plan(&n.to_string())]));
    let said = detect(&args, None);
    assert!(said.status.success(), "{said:?}");
    let lines: Vec<serde_json::Value> =
        String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for (n, folder) in folders.iter().enumerate() {
        let _ = fs_err::remove_file(plan("alone"));
        let alone = detect(&[], Some(folder));
        assert_eq!(lines[n]["asked"], n);
        assert_eq!(lines[n]["code"], alone.status.code().unwrap(), "{}", lines[n]);
        assert_eq!(lines[n]["said"], String::from_utf8(alone.stdout).unwrap());
        assert_eq!(fs_err::read(plan(&n.to_string())).ok(), fs_err::read(plan("alone")).ok(), "{}", folder.display());
    }
    assert_eq!([&lines[0]["code"], &lines[1]["code"], &lines[2]["code"]], [0, 100, 0]);
}

#[test]
fn one_process_asks_hoists_own_buildpacks_of_all_groups() {
    let app = tree(&[
        ("environment.yml", "channels: [conda-forge]\ndependencies: [python, r-base]\n"),
        ("Procfile", "web: python main.py\n"),
    ]);
    let plan = run(hoist().args(["--events", "json", "plan", "--json", "--path"]).arg(app.path())).ok();
    let group = plan.json()["buildpacks"].to_string();
    assert!(group.contains("hoist/conda") && !group.contains("hoist/pip"), "the first group applies: {group}");
    let asked = |id: &str| plan.stderr.contains(&format!("{{\"event\":\"buildpack_finished\",\"buildpack\":\"{id}@"));
    assert!(asked("hoist/conda") && asked("hoist/pip"), "{}", plan.stderr);
}
