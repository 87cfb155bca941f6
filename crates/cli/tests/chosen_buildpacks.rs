//! Buildpacks of one build and the project descriptor, through the binary, by buildpacks in bash.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{Said, hoist, run, tree};

const BUILDER: &str = r#"
[build]
image = "hoist/build"
[[run.images]]
image = "hoist/run"
[[buildpacks]]
uri = "say"
[[order]]
[[order.group]]
id = "test/say"
"#;

/// The image says what the build knew.
const SAY: &str = r#"#!/usr/bin/env bash
set -eu
echo "say builds, GREETING=${GREETING:-}"
[ -e "$CNB_BUILDPACK_DIR/of-the-builder" ] && echo "with its file"
cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[processes]]
type = "say"
command = ["/bin/sh", "-c", "cat /workspace/*.txt; echo ${GREETING:-none}"]
default = true
TOML
"#;

const OTHER_SAY: &str = r#"#!/usr/bin/env bash
set -eu
echo "the other say builds"
if [ -e "$CNB_BUILDPACK_DIR/of-the-builder" ]; then echo "but the builder's file shows through"; exit 1; fi
"#;

const PROJECT: &str = r#"
[_]
schema-version = "0.2"
version = "1.2.3"
[io.buildpacks]
builder = "test-chosen-builder"
exclude = ["secret.txt"]
[[io.buildpacks.group]]
uri = "buildpacks/note"
[[io.buildpacks.group]]
id = "app/script"
[io.buildpacks.group.script]
api = "0.10"
shell = "/bin/bash"
inline = "echo script builds ${BASH_VERSION:+with bash}; echo made > made.txt"
[[io.buildpacks.group]]
uri = "from=builder"
[[io.buildpacks.build.env]]
name = "GREETING"
value = "hello"
"#;

fn descriptor(id: &str) -> String {
    format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n")
}

fn note(word: &str) -> String {
    format!("#!/usr/bin/env bash\necho \"{word} builds\"\n")
}

fn executable(dir: &Path) {
    for buildpack in ["say", "other", "last", "app/buildpacks/note"] {
        for program in ["detect", "build"] {
            let path = dir.join(buildpack).join("bin").join(program);
            fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
}

/// The lines that buildpacks wrote, in their order.
fn built(said: &Said) -> Vec<String> {
    let lines = said.stderr.lines().filter(|line| line.contains("builds"));
    lines.map(|line| line.rsplit(" | ").next().unwrap_or(line).trim().to_owned()).collect()
}

#[test]
fn buildpacks_stand_instead_of_the_builders_order_and_around_it() {
    let detect = "#!/usr/bin/env bash\n";
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("say/buildpack.toml", &descriptor("test/say")),
        ("say/bin/detect", detect),
        ("say/bin/build", SAY),
        ("say/of-the-builder", ""),
        ("other/buildpack.toml", &descriptor("test/say")),
        ("other/bin/detect", detect),
        ("other/bin/build", OTHER_SAY),
        ("app/a.txt", "a\n"),
        ("app/secret.txt", "secret\n"),
        ("app/buildpacks/note/buildpack.toml", &descriptor("test/note")),
        ("app/buildpacks/note/bin/detect", detect),
        ("app/buildpacks/note/bin/build", &note("note")),
        ("last/buildpack.toml", &descriptor("test/last")),
        ("last/bin/detect", detect),
        ("last/bin/build", &note("last")),
    ]);
    executable(dir.path());
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    hoist(&["builder", "create", "test-chosen-builder"]).ok();
    let build =
        |args: &[&str]| hoist(&[&["build", "test-chosen", "--path", "app", "--clear-cache"][..], args].concat()).ok();
    let with = |args: &[&str]| build(&[&["--builder", "test-chosen-builder"][..], args].concat());

    let said = with(&["--pre-buildpack", "app/buildpacks/note", "--post-buildpack", "last"]);
    assert_eq!(built(&said).len(), 3, "{}", said.stderr);
    assert!(built(&said)[0].contains("note builds") && built(&said)[2].contains("last builds"), "{}", said.stderr);
    // As with pack, each of several goes before what is there.
    let said = with(&["--pre-buildpack", "app/buildpacks/note", "--pre-buildpack", "last"]);
    assert!(built(&said)[0].contains("last builds") && built(&said)[1].contains("note builds"), "{}", said.stderr);
    with(&["-b", "last,from=builder"]).says("last builds").says("say builds").says("with its file");
    let said = with(&["-b", "other"]).says("the other say builds");
    assert!(!said.stderr.contains("say builds, GREETING"), "{}", said.stderr);

    fs_err::write(dir.path().join("app/project.toml"), PROJECT).unwrap();
    let said = build(&[]).says("project descriptor").says("script builds with bash").says("GREETING=hello");
    assert_eq!(built(&said).len(), 3, "{}", said.stderr);
    assert_eq!(hoist(&["run", "test-chosen"]).ok().stdout, "a\nmade\nhello\n");
    let about = hoist(&["image", "inspect", "test-chosen", "--json"]).ok().stdout;
    assert!(about.contains(r#"\"declared\":\"1.2.3\""#), "{about}");
    // What the caller says wins.
    let said = build(&["-b", "test/say", "-e", "GREETING=good morning"]).says("GREETING=good morning");
    assert!(!said.stderr.contains("script builds"), "{}", said.stderr);
    let shown = hoist(&["plan", "--path", "app", "--json"]).ok().json();
    assert_eq!(shown["buildpacks"][0]["id"], "test/note");
    assert_eq!(shown["buildpacks"][1]["id"], "app/script");
    hoist(&["build", "test-nothing", "--path", "app", "--extension", "acme/x"]).code(2).says("runs buildpacks only");
    hoist(&["build", "test-nothing", "--path", "app", "-b", "acme/x"]).code(2).says("the builder has test/say@1.0.0");
    hoist(&["image", "rm", "test-chosen", "test-chosen-builder"]).ok();
}
