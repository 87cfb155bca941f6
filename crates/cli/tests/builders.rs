//! Builders of one's own: made from a builder.toml, and built with, by buildpacks in bash.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{bare_hoist, hoist, run, tree};

const BUILDER: &str = r#"
description = "Greetings"
[build]
image = "hoist/build"
[[build.env]]
name = "GREETING"
value = "hello"
suffix = "default"
[[run.images]]
image = "hoist/run"
[[buildpacks]]
uri = "all"
[[buildpacks]]
uri = "word"
[[buildpacks]]
uri = "say"
[[order]]
[[order.group]]
id = "test/all"
"#;

/// Takes its word from the operator, unless the user has another, and keeps how often it was asked.
const WORD: &str = r#"#!/usr/bin/env bash
set -eu
L="$CNB_LAYERS_DIR/word"
mkdir -p "$L/env.launch"
echo "$GREETING from $(id -u):$(id -g)"
printf %s "$GREETING" > "$L/env.launch/WORD"
[ -e "$L/count" ] && echo "again" || echo "first"
echo 1 >> "$L/count"
printf '[types]\nlaunch = true\ncache = true\n' > "$L.toml"
"#;

const SAY: &str = r#"#!/usr/bin/env bash
set -eu
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[processes]]
type = "say"
command = ["/bin/sh", "-c", "echo $WORD $(cat /workspace/name)"]
default = true
TOML
"#;

fn descriptor(id: &str, more: &str) -> String {
    format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{more}")
}

fn executable(dir: &Path) {
    for path in ["word/bin/detect", "word/bin/build", "say/bin/detect", "say/bin/build"] {
        fs_err::set_permissions(dir.join(path), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn an_app_is_built_by_a_builder_of_ones_own_and_runs() {
    let order = "[[order]]\n[[order.group]]\nid = \"test/word\"\nversion = \"1.0.0\"\n[[order.group]]\nid = \"test/say\"\nversion = \"1.0.0\"\n";
    let detect = "#!/usr/bin/env bash\n[ -e name ] || exit 100\n";
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("all/buildpack.toml", &descriptor("test/all", order)),
        ("word/buildpack.toml", &descriptor("test/word", "")),
        ("word/bin/detect", detect),
        ("word/bin/build", WORD),
        ("say/buildpack.toml", &descriptor("test/say", "")),
        ("say/bin/detect", detect),
        ("say/bin/build", SAY),
        ("app/name", "world"),
        ("empty/readme", ""),
    ]);
    executable(dir.path());
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    let made = hoist(&["builder", "create", "test-greeter", "--json"]).ok().json();
    assert_eq!(made["buildpacks"], serde_json::json!(["test/all@1.0.0", "test/say@1.0.0", "test/word@1.0.0"]));
    let shown = hoist(&["builder", "inspect", "test-greeter"]).ok().stdout;
    assert!(
        shown.contains("Description: Greetings\n") && shown.contains(" └ Group #1:\n    └ test/all@1.0.0\n"),
        "{shown}"
    );

    let build = ["build", "test-greeted", "--path", "app", "--builder", "test-greeter"];
    // The layers of an earlier run of this test may still be there.
    hoist(&[&build[..], &["--clear-cache"]].concat()).ok().says("hello from 1001:1000").says("first");
    assert_eq!(hoist(&["run", "test-greeted"]).ok().stdout, "hello world\n");
    hoist(&[&build[..], &["-e", "GREETING=good morning"]].concat()).ok().says("good morning from").says("again");
    assert_eq!(hoist(&["run", "test-greeted"]).ok().stdout, "good morning world\n");

    hoist(&["build", "test-nothing", "--path", "empty", "--builder", "test-greeter"]).code(1).says("test/word");
    hoist(&["build", "test-nothing", "--path", "app", "--builder", "test-gone"])
        .code(2)
        .says("the builder test-gone:latest is not in the store")
        .says("hoist image load");
    hoist(&["build", "test-nothing", "--path", "app", "--builder", "hoist/run"])
        .code(2)
        .says("hoist/run:latest is no builder");
    hoist(&["image", "rm", "test-greeted", "test-greeter"]).ok();
}

#[test]
fn the_default_builder_is_made_of_what_print_default_shows() {
    let text = run(bare_hoist().args(["builder", "create", "--print-default"])).ok().stdout;
    let dir = tree(&[("builder.toml", &text)]);
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    let own = hoist(&["builder", "inspect", "--json"]).ok().json();
    let made = hoist(&["builder", "create", "test-default", "--json"]).ok().json();
    assert_eq!(made["image_id"], own["id"]);
    hoist(&["image", "inspect", "hoist/build"]).ok();
    hoist(&["image", "rm", "test-default"]).ok();
}

#[test]
fn a_wrong_call_is_explained() {
    let dir = tree(&[("bad.toml", "[build]\nimage = \"x\"\nimages = 1\n")]);
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    hoist(&["builder", "create"]).code(2).says("NAME");
    hoist(&["builder", "create", "x"]).code(2).says("reading builder.toml").says("--config");
    hoist(&["builder", "create", "x", "-c", "bad.toml"])
        .code(2)
        .says("builder.toml, line 3")
        .says("unknown field `images`");
    hoist(&["builder", "create", "x", "-c", "bad.toml", "--label", "novalue"]).code(2).says("write NAME=VALUE");
}
