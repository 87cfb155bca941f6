//! What the author of a buildpack does: begin one, package it, look into it, put it into a builder.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests; tar and skopeo are started

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{hoist, run, tree};

#[test]
fn a_new_buildpack_is_packaged_looked_into_and_built_with() {
    let dir = tree(&[("app/name", "world"), ("builder.toml", BUILDER)]);
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    hoist(&["buildpack", "new", "test-new/hello", "--targets", "linux/amd64,linux/arm64"]).ok();
    let build = dir.path().join("hello/bin/build");
    assert!(fs_err::metadata(&build).unwrap().permissions().mode() & 0o100 != 0);
    hoist(&["buildpack", "new", "test-new/hello"]).code(2).says("hello is there already").says("--path DIR");
    hoist(&["buildpack", "new", "no id"]).code(2).says("holds characters that an id must not have");
    hoist(&["buildpack", "new", "x", "-a", "0.2"]).code(2).says("buildpack API 0.2 is not supported");
    hoist(&["buildpack", "new", "x", "-t", "linux/z80"]).code(2).says("`z80` is no processor");
    fs_err::write(
        &build,
        "#!/usr/bin/env bash\nprintf '[[processes]]\\ntype = \"hello\"\\ncommand = [\"/bin/echo\", \"hello\"]\\ndefault = true\\n' > \"$CNB_LAYERS_DIR/launch.toml\"\n",
    )
    .unwrap();
    // A file for each target, without an ending it gets the usual one.
    let made = hoist(&["buildpack", "package", "hello", "-f", "file", "-p", "hello", "--json"]).ok().json();
    assert_eq!(made["outputs"][1]["file"], "hello-linux-arm64.cnb");
    let file = "hello-linux-amd64.cnb";
    let tar = run(Command::new("tar").args(["-xOf", file, "index.json"]).current_dir(dir.path())).ok().json();
    assert_eq!(tar["manifests"][0]["platform"]["architecture"], "amd64");
    let config = run(Command::new("skopeo")
        .args(["inspect", "--config", &format!("oci-archive:{file}")])
        .current_dir(dir.path()))
    .ok()
    .json();
    let labels = &config["config"]["Labels"];
    assert!(labels["io.buildpacks.buildpackage.metadata"].as_str().unwrap().contains("test-new/hello"), "{labels}");

    let shown = hoist(&["buildpack", "inspect", file]).ok().stdout;
    assert!(shown.starts_with("Inspecting buildpack: 'hello-linux-amd64.cnb'\n\nLOCAL ARCHIVE:\n"), "{shown}");
    assert!(shown.ends_with("Detection Order:\n └ Group #1:\n    └ test-new/hello@1.0.0\n"), "{shown}");
    let pulled = hoist(&["buildpack", "pull", file, "--json"]).ok().json();
    assert_eq!(pulled["names"][0], "test-new/hello:1.0.0");
    let image = hoist(&["buildpack", "inspect", "test-new/hello:1.0.0", "--json"]).ok().json();
    assert_eq!((&image["image_id"], &image["buildpack"]["id"]), (&pulled["image_id"], &"test-new/hello".into()));
    hoist(&["buildpack", "pull", "hello", "-t", "test-new/pulled"]).ok();

    hoist(&["builder", "create", "test-new-builder", "--flatten", "test-new/hello@1.0.0", "-t", "linux/amd64"]).ok();
    hoist(&["build", "test-new-app", "--path", "app", "--builder", "test-new-builder"]).ok();
    assert_eq!(hoist(&["run", "test-new-app"]).ok().stdout, "hello\n");
    hoist(&["image", "rm", "test-new-app", "test-new-builder", "test-new/pulled", "test-new/hello:1.0.0"]).ok();
}

const BUILDER: &str = "[build]\nimage = \"hoist/build\"\n[[run.images]]\nimage = \"hoist/run\"\n[[buildpacks]]\nuri = \"test-new/hello:1.0.0\"\n[[order]]\n[[order.group]]\nid = \"test-new/hello\"\n";

#[test]
fn a_builder_is_shown_in_four_forms_with_the_keys_of_pack() {
    let hoist = |args: &[&str]| run(hoist().args(["builder", "inspect"]).args(args));
    let json = hoist(&["-o", "json"]).ok().json();
    assert_eq!((&json["builder_name"], &json["default"]), (&"hoist/builder".into(), &true.into()));
    assert!(json["remote_info"].is_null());
    let info = &json["local_info"];
    for key in ["created_by", "lifecycle", "run_images", "buildpacks", "detection_order"] {
        assert!(!info[key].is_null(), "{key}");
    }
    assert_eq!(info["run_images"][0]["name"], "hoist/run");
    assert!(info["lifecycle"]["buildpack_apis"]["supported"].as_array().unwrap().contains(&"0.10".into()));
    let first = info["detection_order"][0]["buildpacks"][0]["id"].as_str().unwrap();
    let toml: toml::Table = toml::from_str(&hoist(&["-o", "toml"]).ok().stdout).unwrap();
    assert_eq!(toml["local_info"]["created_by"]["Name"].as_str(), Some("hoist"));
    assert_eq!(toml["local_info"]["detection_order"][0]["buildpacks"][0]["id"].as_str(), Some(first));
    let yaml = hoist(&["-o", "yaml"]).ok().stdout;
    assert!(yaml.starts_with("sharedbuilderinfo:\n    builder_name: hoist/builder\n"), "{yaml}");
    assert!(yaml.contains("\nremote_info: null\nlocal_info:\n"), "{yaml}");
    let text = hoist(&[]).ok().stdout;
    assert!(text.starts_with("Inspecting default builder: 'hoist/builder'\n"), "{text}");
    assert!(text.contains("\nDetection Order:\n") && text.contains(&format!(" {first}@")), "{text}");
    hoist(&["-o", "xml"]).code(2).says("xml");
}

#[test]
fn what_needs_a_registry_is_refused_with_the_way_that_works() {
    let dir = tree(&[("builder.toml", BUILDER)]);
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    let create = ["builder", "create", "test-x"];
    let package = ["buildpack", "package", "test-x"];
    for (command, flag, message) in [
        (&create, "--publish", "`test-x` names no registry"),
        (&package, "--publish", "`test-x` names no registry"),
        (&create, "--pull-policy=sometimes", "always, if-not-present and never"),
        (&package, "-r=community", "fetch the buildpack as a file"),
    ] {
        hoist(&[&command[..], &[flag]].concat()).code(2).says(message);
    }
    let pull = hoist(&["buildpack", "pull", "urn:cnb:registry:acme/a@1.0.0"]).code(2);
    pull.says("hoist does not ask a buildpack registry yet").says("hoist image load");
    hoist(&["buildpack", "inspect", "acme/none"]).code(2).says("neither a file nor an image of the store");
}
