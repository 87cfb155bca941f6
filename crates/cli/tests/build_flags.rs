//! The flags of `pack build`: what each does to the image, what is refused before anything is built, and `--explain`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::os::unix::fs::MetadataExt;

use support::{Said, executable_below, hoist, hoist_with_store, run, shared_store, tree};

const BUILDER: &str = "[build]
image = \"hoist/build\"
[[run.images]]
image = \"hoist/run\"
[[buildpacks]]
uri = \"see\"
[[order]]
group = [{ id = \"test/see\" }]
";

/// Says what it sees, and leaves a layer with a document.
const BUILD: &str = r#"#!/usr/bin/env bash
set -eu
[ -z "${FAIL:-}" ] || { echo "this went wrong"; exit 7; }
[ -z "${EMPTY+set}" ] || echo "EMPTY is '$EMPTY', ONE is '$ONE'"
echo "ids $(id -u):$(id -g) in $(pwd) for $CNB_EXEC_ENV"
[ -e /data/word ] && cat /data/word
[ -e /data/word ] && { echo new > /data/out && echo written || echo "not written"; } 2> /dev/null
[ -e /platform/bindings/mine/type ] && echo "binding $(cat /platform/bindings/mine/type)"
L="$CNB_LAYERS_DIR/l"
mkdir -p "$L"
date +%N > "$L/stamp"
echo '{"bomFormat": "CycloneDX"}' > "$L.sbom.cdx.json"
echo "the moon changed" > "$L.why"
printf '[types]\nlaunch = true\ncache = true\n' > "$L.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[processes]]
type = "see"
command = ["/bin/sh", "-c", "pwd; touch by-the-app && stat -c %a .; stat -c %u:%g /layers/test_see/l/stamp"]
default = true
TOML
"#;

fn world() -> tempfile::TempDir {
    let descriptor = "api = \"0.12\"\n[buildpack]\nid = \"test/see\"\nversion = \"1.0.0\"\nsbom-formats = [\"application/vnd.cyclonedx+json\"]\n";
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("see/buildpack.toml", descriptor),
        ("see/bin/detect", "#!/bin/sh\nexit 0\n"),
        ("see/bin/build", BUILD),
        ("app/file", "x"),
        ("data/word", "a word\n"),
        ("mine/type", "secret\n"),
    ]);
    executable_below(dir.path());
    run(hoist().args(["builder", "create", "test-flags"]).current_dir(dir.path())).ok();
    dir
}

fn build(dir: &tempfile::TempDir, args: &[&str]) -> Said {
    let args = [&["build", "test-flagged", "--path", "app", "-B", "test-flags"], args].concat();
    run(hoist().args(args).current_dir(dir.path()))
}

#[test]
fn each_flag_does_what_pack_says_of_it() {
    let dir = world();
    // Ordinary users have one id.
    let root = fs_err::metadata("/proc/self").unwrap().uid() == 0;
    let ids: &[&str] = if root { &["--uid", "1234", "--gid", "567"] } else { &[] };
    let options: [&[&str]; 6] = [
        &["--clear-cache", "--volume", "./data:/data"],
        &["--volume", "./mine:/platform/bindings/mine"],
        &["--exec-env", "test"],
        &["--workspace", "srv/app"],
        &["--creation-time", "1641013200"],
        &["--sbom-output-dir", "sbom"],
    ];
    let said =
        build(&dir, &[&options.concat(), ids, &["--trust-builder", "--network", "none", "--explain"]].concat()).ok();
    let said = said.says("in /srv/app for test").says("a word").says("not written").says("binding secret");
    let said = said.says("--trust-builder has no meaning here");
    if root {
        assert!(said.stderr.contains("ids 1234:567"), "{}", said.stderr);
    }
    assert!(
        fs_err::read_to_string(dir.path().join("sbom/launch/test_see/l/sbom.cdx.json")).unwrap().contains("CycloneDX")
    );
    let made = said.stdout.lines().find(|line| line.contains("test/see:l")).unwrap().to_owned();
    assert!(made.contains("made") && made.contains("image, cache") && made.contains("the moon changed"), "{made}");
    assert!(said.stdout.contains("  build ") && said.stdout.contains("test/see@1.0.0 "), "{}", said.stdout);
    let images = shared_store().join("images");
    let created = run(std::process::Command::new("grep").args(["-rl", "2022-01-01T05:00:00Z"]).arg(images)).ok().stdout;
    let id = said.stdout.trim_end().rsplit("sha256:").next().unwrap();
    assert!(created.contains(id), "{id} is not among {created}");
    let ran = run(hoist().args(["run", "test-flagged"])).ok().stdout;
    assert!(ran.starts_with("/srv/app\n777\n") && (!root || ran.ends_with("1234:567\n")), "{ran}");

    let anyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs_err::set_permissions(dir.path().join("data"), anyone).unwrap();
    let said = build(&dir, &["--volume", "./data:/data:rw"]).ok().says("  written");
    assert!(!root || said.stderr.contains("belongs to 1234:567"), "{}", said.stderr);
    assert_eq!(fs_err::read_to_string(dir.path().join("data/out")).unwrap(), "new\n");
    let again = build(&dir, &["--explain", "--json", "--run-image", "hoist/run"]).ok().json();
    let layers = again["explanation"]["layers"].as_array().unwrap();
    let layer = layers.iter().find(|layer| layer["layer"] == "l").unwrap();
    assert_eq!((&layer["action"], &layer["found"]), (&"made".into(), &"restored".into()));
    // A build that fails is explained as far as it came.
    let said = build(&dir, &["--explain", "-e", "FAIL=1"]).code(1).says("this went wrong");
    assert!(said.stdout.starts_with("time\n") && said.stdout.contains("  build       failed"), "{}", said.stdout);
    let said = build(&dir, &["--explain", "--json", "-e", "FAIL=1"]).code(1).json();
    assert_eq!(said["error"]["exit_code"], 1);
    let phases = said["explanation"]["phases"].as_array().unwrap();
    let last = phases.last().unwrap();
    assert_eq!((&last["phase"], &last["elapsed_ms"]), (&"build".into(), &serde_json::Value::Null));
    // Variables as pack reads them: what has no value here is empty.
    fs_err::write(dir.path().join("env"), "# a comment\nEMPTY\n  ONE=1 \n").unwrap();
    build(&dir, &["--env-file", "env"]).ok().says("EMPTY is '', ONE is '1'");
    run(hoist().args(["image", "rm", "test-flagged", "test-flags"])).ok();
}

#[test]
fn a_run_image_is_found_by_a_mirror_of_this_machine() {
    let dir = world();
    let config = dir.path().join("config.toml");
    let hoist = |args: &[&str]| run(hoist().env("HOIST_CONFIG", &config).args(args).current_dir(dir.path()));
    hoist(&["image", "tag", "hoist/run", "test-mirrored/run"]).ok();
    fs_err::write(dir.path().join("builder.toml"), BUILDER.replace("hoist/run", "test-away/run")).unwrap();
    hoist(&["builder", "create", "test-mirrored"]).ok();
    let build = || hoist(&["build", "test-mirrored-app", "--path", "app", "-B", "test-mirrored"]);
    build().code(2).says("the run image test-away/run is not in the store");
    hoist(&["config", "run-image-mirrors", "add", "test-away/run:latest", "-m", "test-mirrored/run,b/c"]).ok();
    let listed = hoist(&["config", "run-image-mirrors"]).ok().stdout;
    assert_eq!(listed, "test-away/run:latest\n  b/c\n  test-mirrored/run\n");
    build().ok();
    hoist(&["config", "run-image-mirrors", "remove", "test-away/run:latest", "-m", "b/c"]).ok();
    let left = hoist(&["config", "run-image-mirrors", "list", "--json"]).ok().json();
    assert_eq!(left["run_image_mirrors"]["test-away/run:latest"][0], "test-mirrored/run");
    hoist(&["config", "run-image-mirrors", "remove", "test-away/run:latest"]).ok();
    assert_eq!(hoist(&["config", "run-image-mirrors", "list"]).ok().stdout, "");
    run(support::hoist().args(["image", "rm", "test-mirrored-app", "test-mirrored", "test-mirrored/run"])).ok();
}

#[test]
fn wrong_values_are_refused_before_anything_is_built() {
    let dir = tree(&[("app/file", "x")]);
    let store = dir.path().join("store");
    for (args, why) in [
        (&["--volume", "/a"][..], "a : is missing"),
        (&["--volume", "data:/b"], "name of a Docker volume"),
        (&["--volume", "/a:/layers"], "a folder of the build itself"),
        (&["--exec-env", "a/b"], "letters, digits, . and -"),
        (&["--workspace", "usr"], "a folder of the system"),
        (&["--uid", "0"], "0"),
        (&["--gid", "-1"], "-1"),
        (&["--platform", "windows/amd64"], "this machine builds for linux/"),
        (&["--pull-policy", "sometimes"], "if-not-present"),
        (&["--creation-time", "yesterday"], "seconds since 1970"),
        (&["--network", "bridge"], "Docker daemon"),
        (&["--publish"], "`x` names no registry"),
        (&["--insecure-registry", "a/b"], "it is not HOST or HOST:PORT"),
        (&["--buildpack-registry", "x"], "does not look for buildpacks in registries"),
        (&["--run-image", "UPPER"], "UPPER"),
    ] {
        let mut command = hoist_with_store(&store);
        run(command.args(["build", "x", "-p", "app"]).args(args).current_dir(dir.path())).code(2).says(why);
    }
    let mut command = hoist_with_store(&store);
    command.args(["build", "x", "-p", "app"]).env("SOURCE_DATE_EPOCH", "soon").current_dir(dir.path());
    run(&mut command).code(2).says("SOURCE_DATE_EPOCH is \"soon\"");
}
