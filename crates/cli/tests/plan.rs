//! `hoist plan`: which group applies and why others do not, in words and as JSON, without a build.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

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
