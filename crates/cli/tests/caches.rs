//! The caches of a build, chosen as with pack: each kind restores what the build before left, and is cleared alone.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{Said, hoist, run, tree};

const BUILDER: &str = "[build]\nimage = \"hoist/build\"\n[[run.images]]\nimage = \"hoist/run\"\n[[buildpacks]]\nuri = \"count\"\n\
[[order]]\n[[order.group]]\nid = \"test/count\"\n";

/// Counts its builds in a cached layer, and keeps a launch layer only by its metadata.
const BUILD: &str = r#"#!/usr/bin/env bash
set -eu
L="$CNB_LAYERS_DIR/count"
mkdir -p "$L"
echo x >> "$L/builds"
printf '[types]\ncache = true\n' > "$L.toml"
echo "build number $(wc -l < "$L/builds")"
K="$CNB_LAYERS_DIR/kept"
if [ -e "$K.toml" ]; then echo "kept is known"; else mkdir -p "$K"; echo content > "$K/file"; echo "kept is new"; fi
printf '[types]\nlaunch = true\n' > "$K.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[processes]]
type = "show"
command = ["/bin/cat", "/layers/test_count/kept/file"]
default = true
TOML
"#;

/// A folder with a builder of the buildpack above, made under this name.
fn world(builder: &str) -> tempfile::TempDir {
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("count/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"test/count\"\nversion = \"1.0.0\"\n"),
        ("count/bin/detect", "#!/bin/sh\nexit 0\n"),
        ("count/bin/build", BUILD),
        ("app/name", "world"),
    ]);
    for program in ["detect", "build"] {
        let path = dir.path().join("count/bin").join(program);
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    run(hoist().args(["builder", "create", builder]).current_dir(dir.path())).ok();
    dir
}

fn build(dir: &Path, builder: &str, image: &str, more: &[&str]) -> Said {
    let build = ["build", image, "--path", "app", "--builder", builder];
    run(hoist().args(build).args(more).current_dir(dir))
}

#[test]
fn each_kind_of_cache_restores_for_another_image_and_is_cleared_alone() {
    let name = "test-caches";
    let world = world(name);
    let build = |image: &str, more: &[&str]| build(world.path(), name, image, more);
    let kinds: [&[&str]; 4] = [
        &["--cache", "format=volume;name=test-caches"],
        &["--cache", "type=build;format=bind;source=./cache"],
        &["--cache", "format=image;name=test-caches-image"],
        &["--cache-image", "oci:layout"],
    ];
    // What an earlier run of this test left in the shared store does not count.
    build("test-caches-a", &["--clear-cache"]).ok().says("build number 1");
    for kind in kinds {
        let cleared = [kind, &["--clear-cache"]].concat();
        build("test-caches-a", &cleared).ok().says("build number 1");
        build("test-caches-b", kind).ok().says("build number 2");
        build("test-caches-a", kind).ok().says("build number 3");
        build("test-caches-b", &cleared).ok().says("build number 1");
    }
    let committed = world.path().join("cache/build-cache/committed");
    assert!(committed.join("io.buildpacks.lifecycle.cache.metadata").is_file());
    assert_eq!(fs_err::read_dir(&committed).unwrap().count(), 2);
    build("test-caches-a", &[]).ok().says("build number 2");
    run(hoist().args(["image", "rm", "test-caches-a", "test-caches-b", "test-caches-image", name])).ok();
}

#[test]
fn the_previous_image_may_have_another_name_and_a_launch_cache_is_a_folder() {
    let name = "test-previous";
    let world = world(name);
    let build = |image: &str, more: &[&str]| build(world.path(), name, image, more);
    let launch = ["--cache", "type=launch;format=bind;source=cache"];
    build("test-previous-1", &[&launch[..], &["--clear-cache"]].concat()).ok().says("kept is new");
    assert!(fs_err::read_dir(world.path().join("cache/launch-cache/committed")).unwrap().count() >= 4);
    build("test-previous-2", &["--previous-image", "test-previous-1"]).ok().says("kept is known");
    assert_eq!(run(hoist().args(["run", "test-previous-2"])).ok().stdout, "content\n");
    let gone = build("test-previous-3", &["--previous-image", "test-previous-gone"]).ok();
    gone.says("as if there were no previous image").says("kept is new");
    run(hoist().args(["image", "rm", "test-previous-1", "test-previous-2", "test-previous-3", name])).ok();
}

#[test]
fn a_wrong_cache_is_explained() {
    let dir = tree(&[("app/name", "world")]);
    let wrong = |options: &[&str]| build(dir.path(), "hoist/builder", "test-wrong", options).code(2);
    wrong(&["--cache", "format=bind"]).says("--cache: cache 'source' is required").says("for example --cache");
    wrong(&["--cache", "type=x"]).says("invalid cache type 'x'");
    wrong(&["--cache", "fromat=bind;source=x"]).says("there is no key 'fromat'");
    let both = ["--cache", "format=image;name=a", "--cache-image", "b"];
    wrong(&both).says("give one of them");
}

/// An image that somebody needs, and that a wrong name would have replaced.
#[test]
fn an_image_that_is_no_cache_is_neither_used_nor_removed_as_one() {
    let name = "test-nocache";
    let world = world(name);
    build(world.path(), name, "test-nocache-app", &["--output", "oci-dir:precious"]).ok();
    // Another test's image may be the same one, and have a name of its own.
    let id = || run(hoist().args(["image", "inspect", "test-nocache-app", "--json"])).ok().json()["id"].clone();
    let before = id();
    for (cache, shown) in [("test-nocache-app", "the cache image `test-nocache-app"), ("oci:precious", "precious`")] {
        for more in [&[][..], &["--clear-cache"]] {
            let options = [&["--cache-image", cache], more].concat();
            let said = build(world.path(), name, "test-nocache-other", &options).code(2);
            let said = said
                .says(shown)
                .says("there is an image, and it is no cache: it has no label io.buildpacks.lifecycle.cache.metadata");
            said.says("choose another name for the cache");
        }
    }
    assert_eq!(id(), before);
    assert!(world.path().join("precious/index.json").is_file() && world.path().join("precious/blobs").is_dir());
    run(hoist().args(["image", "rm", "test-nocache-app", name])).ok();
}
