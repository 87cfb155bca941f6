//! `LocalEngine::package`: what is in a package, which bytes its layers have, and what the author of a bad package.toml reads.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "functions beside the tests; tar is started")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hoist_image::{Image, LoadLimits};
use hoist_platform::{ModuleKind, PackageOutput, PackageRequest, PackageSource, Packaged, PlatformError};
use support::{World, label};

fn request(world: &World, output: PackageOutput) -> PackageRequest {
    PackageRequest {
        kind: ModuleKind::Buildpack,
        source: PackageSource::Config(world.dir.path().join("package.toml")),
        output,
        targets: Vec::new(),
        labels: vec![("team".to_owned(), "quantum".to_owned())],
        flatten: None,
    }
}

fn image_named(name: &str) -> PackageOutput {
    PackageOutput::Image(vec![name.parse().unwrap()])
}

fn package(world: &World, package_toml: &str) -> Result<Packaged, PlatformError> {
    world.write("package.toml", package_toml, 0o644);
    world.engine.package(&request(world, image_named("acme/package:1")))
}

/// A composite of `acme/a` and `acme/b`, with whatever else its order says.
fn composite(world: &World, more: &str) {
    let order = "[[order]]\n[[order.group]]\nid = \"acme/a\"\nversion = \"1.0.0\"\n[[order.group]]\nid = \"acme/b\"\nversion = \"2.0.0\"\noptional = true\n";
    let text = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"acme/all\"\nversion = \"3.0.0\"\nname = \"All\"\nkeywords = [\"k\"]\n[[buildpack.licenses]]\ntype = \"MIT\"\n{order}{more}"
    );
    world.write("all/buildpack.toml", &text, 0o644);
}

const ALL: &str = "[buildpack]\nuri = \"all\"\n[[dependencies]]\nuri = \"a\"\n[[dependencies]]\nuri = \"b\"\n";

fn image(world: &World, name: &str) -> Image {
    world.store().image(name).unwrap()
}

/// The tar of the layer with this buildpack, as GNU tar lists it.
fn listing(image: &Image, id: &str, version: &str) -> Vec<String> {
    let diff_id =
        label(image, "io.buildpacks.buildpack.layers")[id][version]["layerDiffID"].as_str().unwrap().to_owned();
    let layer = image.layers().unwrap().into_iter().find(|layer| layer.diff_id().to_string() == diff_id).unwrap();
    layer
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!((entry.attributes.uid, entry.attributes.gid, entry.mtime_secs), (0, 0, 315_532_801));
            format!("{:o} {}", entry.attributes.mode, entry.path.display())
        })
        .collect()
}

#[test]
fn a_composite_and_its_parts_are_one_image_with_a_layer_for_each() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    let b = world.buildpack("b", "acme/b", "2.0.0", "");
    world.write("b/lib/tool", "x", 0o640);
    symlink("../lib/tool", b.join("bin/tool")).unwrap();
    fs::hard_link(b.join("lib/tool"), b.join("lib/again")).unwrap();
    composite(&world, "");
    let made = package(&world, ALL).unwrap();
    assert_eq!((made.main.as_str(), made.outputs.len()), ("acme/all@3.0.0", 1));
    assert_eq!(made.modules, ["acme/a@1.0.0", "acme/all@3.0.0", "acme/b@2.0.0"]);
    let image = image(&world, "acme/package:1");
    assert_eq!(image.id().to_string(), made.outputs[0].id);
    assert_eq!(image.diff_ids().len(), 3);
    let metadata = label(&image, "io.buildpacks.buildpackage.metadata");
    assert_eq!(
        metadata,
        serde_json::json!({
            "id": "acme/all", "name": "All", "version": "3.0.0", "keywords": ["k"],
            "licenses": [{"Type": "MIT", "URI": ""}], "stacks": [{"id": "*"}],
        })
    );
    let layers = label(&image, "io.buildpacks.buildpack.layers");
    assert_eq!(layers["acme/all"]["3.0.0"]["order"][0]["group"][1]["optional"], true);
    assert_eq!(layers["acme/b"]["2.0.0"]["api"], "0.10");
    let labels = image.config().config().clone().unwrap().labels().clone().unwrap();
    assert_eq!(labels["team"], "quantum");
    // No folder above the buildpack's own, modes of executables and the others, and the second name of a file as a link: what pack writes.
    assert_eq!(
        listing(&image, "acme/b", "2.0.0"),
        [
            "755 /cnb/buildpacks/acme_b",
            "755 /cnb/buildpacks/acme_b/2.0.0",
            "755 /cnb/buildpacks/acme_b/2.0.0/bin",
            "755 /cnb/buildpacks/acme_b/2.0.0/bin/build",
            "755 /cnb/buildpacks/acme_b/2.0.0/bin/detect",
            "755 /cnb/buildpacks/acme_b/2.0.0/bin/tool",
            "644 /cnb/buildpacks/acme_b/2.0.0/buildpack.toml",
            "755 /cnb/buildpacks/acme_b/2.0.0/lib",
            "644 /cnb/buildpacks/acme_b/2.0.0/lib/again",
            "644 /cnb/buildpacks/acme_b/2.0.0/lib/tool",
        ]
    );
    // The same parts are the same package, in whichever order they are named and wherever they lie.
    let other = World::new();
    other.buildpack("x/a", "acme/a", "1.0.0", "");
    fs::rename(world.dir.path().join("b"), other.dir.path().join("x/b")).unwrap();
    composite(&other, "");
    let again = package(
        &other,
        "[buildpack]\nuri = \"all\"\n[[dependencies]]\nuri = \"x/b\"\n[[dependencies]]\nuri = \"x/a\"\n",
    );
    assert_eq!(again.unwrap().outputs[0].id, made.outputs[0].id);
}

/// Links, second names, a path that does not fit into one field of a tar: pack 0.40 packaged these very files.
#[test]
fn the_layer_of_a_folder_is_byte_for_byte_that_of_pack() {
    let world = World::new();
    let text = "api = \"0.10\"\n[buildpack]\nid = \"acme/b\"\nversion = \"2.0.0\"\nname = \"B & Co\"\nkeywords = [\"k\"]\nclear-env = true\n[[buildpack.licenses]]\ntype = \"MIT\"\n[[targets]]\nos = \"linux\"\narch = \"amd64\"\n";
    world.write("bp/buildpack.toml", text, 0o644);
    for program in ["detect", "build"] {
        world.write(&format!("bp/bin/{program}"), "#!/bin/sh\n", 0o700);
    }
    world.write("bp/lib/tool", "x\n", 0o640);
    let dir = world.dir.path().join("bp");
    symlink("../lib/tool", dir.join("bin/tool")).unwrap();
    fs::hard_link(dir.join("lib/tool"), dir.join("lib/again")).unwrap();
    world.write(&format!("bp/{}/{}/f", "d".repeat(60), "e".repeat(60)), "y\n", 0o644);
    world.write("package.toml", "[buildpack]\nuri = \"bp\"\n", 0o644);
    let amd64 = vec!["linux/amd64".parse().unwrap()];
    world.engine.package(&PackageRequest { targets: amd64, ..request(&world, image_named("acme/package:1")) }).unwrap();
    let image = image(&world, "acme/package:1");
    let layers = label(&image, "io.buildpacks.buildpack.layers");
    assert_eq!(
        layers["acme/b"]["2.0.0"]["layerDiffID"],
        "sha256:d82b710cf3272c3d60184e9e3d717ba5e33ad7154b46807764b9813018c58b1c"
    );
    assert_eq!(
        label(&image, "io.buildpacks.buildpackage.metadata"),
        serde_json::json!({
            "id": "acme/b", "name": "B & Co", "version": "2.0.0", "keywords": ["k"],
            "licenses": [{"Type": "MIT", "URI": ""}], "clear-env": true, "stacks": [{"id": "*"}],
        })
    );
}

#[test]
fn a_file_is_a_plain_tar_with_one_image_and_a_builder_takes_it() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("b", "acme/b", "2.0.0", "");
    composite(&world, "");
    world.write("package.toml", ALL, 0o644);
    let path = world.dir.path().join("all.cnb");
    let made = world.engine.package(&request(&world, PackageOutput::File(path.clone()))).unwrap();
    assert_eq!(made.outputs[0].file.as_deref(), Some(path.as_path()));
    assert!(world.store().image(&made.outputs[0].id).is_err(), "a file leaves no image in the store");
    let listed = Command::new("tar").arg("-tf").arg(&path).output().unwrap();
    let names: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(names[..2], ["oci-layout", "index.json"]);
    assert!(names.iter().skip(2).all(|name| name == "blobs" || name.starts_with("blobs/")), "{names:?}");
    let first = fs::read(&path).unwrap();
    world.engine.package(&request(&world, PackageOutput::File(path.clone()))).unwrap();
    assert!(first == fs::read(&path).unwrap(), "the same bytes each time");

    let loaded = World::new().store().load_unnamed(&path, LoadLimits::default()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].config().architecture().to_string(), "", "scripts are for any processor");
    let builder =
        world.create("[[buildpacks]]\nuri = \"all.cnb\"\n[[order]]\n[[order.group]]\nid = \"acme/all\"\n").unwrap();
    assert_eq!(builder.buildpacks, ["acme/a@1.0.0", "acme/all@3.0.0", "acme/b@2.0.0"]);
    // A package of a package: its parts come along.
    world.write("outer/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/outer\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"acme/all\"\nversion = \"3.0.0\"\n", 0o644);
    let outer = package(&world, "[buildpack]\nuri = \"outer\"\n[[dependencies]]\nuri = \"all.cnb\"\n").unwrap();
    assert_eq!(outer.modules, ["acme/a@1.0.0", "acme/all@3.0.0", "acme/b@2.0.0", "acme/outer@1.0.0"]);
}

#[test]
fn a_file_for_each_target_has_the_files_of_that_target() {
    let world = World::new();
    let targets = "[[targets]]\nos = \"linux\"\narch = \"amd64\"\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n";
    let text = format!("api = \"0.10\"\n[buildpack]\nid = \"acme/a\"\nversion = \"1.0.0\"\n{targets}");
    world.write("a/buildpack.toml", &text, 0o644);
    for arch in ["amd64", "arm64"] {
        for program in ["detect", "build"] {
            world.write(&format!("a/linux/{arch}/bin/{program}"), &format!("#!/bin/sh\n# {arch}\n"), 0o755);
        }
    }
    world.write("package.toml", "[buildpack]\nuri = \"a\"\n", 0o644);
    let file = PackageOutput::File(world.dir.path().join("a.cnb"));
    let made = world.engine.package(&request(&world, file)).unwrap();
    let files: Vec<&Path> = made.outputs.iter().filter_map(|one| one.file.as_deref()).collect();
    let path = |name: &str| world.dir.path().join(name);
    assert_eq!(files, [path("a-linux-amd64.cnb"), path("a-linux-arm64.cnb")]);
    assert!(!path("a/linux/amd64/buildpack.toml").exists(), "the folder stays as it is");
    let image = package(&world, "[buildpack]\nuri = \"a\"\n").map(|_| image(&world, "acme/package:1")).unwrap();
    let arch = image.config().architecture().to_string();
    assert_eq!(
        support::file(&image, "/cnb/buildpacks/acme_a/1.0.0/bin/build").unwrap(),
        format!("#!/bin/sh\n# {arch}\n")
    );
    assert_eq!(support::file(&image, "/cnb/buildpacks/acme_a/1.0.0/buildpack.toml").unwrap(), text);
}

#[test]
fn flattened_parts_share_a_layer_but_for_those_left_out() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("b", "acme/b", "2.0.0", "");
    composite(&world, "");
    world.write("package.toml", ALL, 0o644);
    let flat = PackageRequest {
        flatten: Some(vec!["acme/a@1.0.0".to_owned()]),
        ..request(&world, image_named("acme/package:1"))
    };
    world.engine.package(&flat).unwrap();
    let image = image(&world, "acme/package:1");
    assert_eq!(image.diff_ids().len(), 2);
    let layers = label(&image, "io.buildpacks.buildpack.layers");
    assert_eq!(layers["acme/all"]["3.0.0"]["layerDiffID"], layers["acme/b"]["2.0.0"]["layerDiffID"]);
    let together = listing(&image, "acme/b", "2.0.0");
    assert_eq!(together[..2], ["755 /cnb/buildpacks/acme_all", "755 /cnb/buildpacks/acme_all/3.0.0"]);
    assert!(together.contains(&"755 /cnb/buildpacks/acme_b/2.0.0/bin/build".to_owned()));
    let wrong = PackageRequest { flatten: Some(vec!["acme/z@1".to_owned()]), ..flat };
    let (text, hint) = world.explain(&world.engine.package(&wrong).unwrap_err());
    assert_eq!(text, "acme/z@1 is to stay out of the common layer, and is not in the package");
    assert_eq!(hint, "there is acme/a@1.0.0, acme/all@3.0.0, acme/b@2.0.0");
}

#[test]
fn an_extension_becomes_a_package_of_its_own_kind() {
    let world = World::new();
    world.write("x/extension.toml", "api = \"0.10\"\n[extension]\nid = \"acme/x\"\nversion = \"1.0.0\"\n", 0o644);
    world.write("x/bin/generate", "#!/bin/sh\n", 0o700);
    world.write("package.toml", "[extension]\nuri = \"x\"\n", 0o644);
    let wanted = PackageRequest { kind: ModuleKind::Extension, ..request(&world, image_named("acme/x")) };
    world.engine.package(&wanted).unwrap();
    let image = image(&world, "acme/x");
    assert!(label(&image, "io.buildpacks.extension.layers")["acme/x"]["1.0.0"]["layerDiffID"].is_string());
    let names: BTreeMap<_, _> =
        image.config().config().clone().unwrap().labels().clone().unwrap().into_iter().collect();
    assert!(!names.contains_key("io.buildpacks.buildpack.layers"));
    let (text, hint) = world.explain(&package(&world, "[extension]\nuri = \"x\"\n").unwrap_err());
    assert_eq!(text, "package.toml is for a package of an extension, and one of a buildpack was asked for");
    assert_eq!(hint, "hoist extension package …");
    let (text, _) = world.explain(&package(&world, "[buildpack]\nuri = \"x\"\n").unwrap_err());
    assert_eq!(text, "packaging `x`: it is an extension, and a buildpack was asked for");
}

#[test]
fn what_is_no_package_is_explained() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("b", "acme/b", "2.0.0", "");
    world.buildpack("c", "acme/c", "4.0.0", "");
    world.buildpack("arm", "acme/b", "2.0.0", "[[targets]]\nos = \"linux\"\narch = \"arm64\"\n");
    world.buildpack("amd", "acme/a", "1.0.0", "[[targets]]\nos = \"linux\"\narch = \"amd64\"\n");
    world.buildpack("bionic", "acme/a", "1.0.0", "[[stacks]]\nid = \"bionic\"\n");
    world.buildpack("jammy", "acme/b", "2.0.0", "[[stacks]]\nid = \"jammy\"\n");
    world.buildpack("other", "acme/a", "1.0.0", "name = \"Other\"\n");
    composite(&world, "");
    let uris = |uris: &[&str]| {
        let dependencies: Vec<String> = uris.iter().map(|uri| format!("[[dependencies]]\nuri = \"{uri}\"\n")).collect();
        format!("[buildpack]\nuri = \"all\"\n{}", dependencies.concat())
    };
    for (text, message, fix) in [
        (
            uris(&["a"]),
            "the order of acme/all@3.0.0 names acme/b@2.0.0, which is not in the package",
            "add a [[dependencies]] with the uri of acme/b@2.0.0 to package.toml, or correct the order; there is acme/a@1.0.0, acme/all@3.0.0",
        ),
        (
            uris(&["a", "b", "c"]),
            "acme/c@4.0.0 is in no order of acme/all@3.0.0 or of what it consists of",
            "remove it from the [[dependencies]]",
        ),
        (
            uris(&["amd", "arm"]),
            "the buildpacks of acme/all@3.0.0 have no target in common: acme/b@2.0.0 is made for linux/arm64, the others for linux/amd64",
            "have one in common",
        ),
        (
            uris(&["bionic", "jammy"]),
            "the buildpacks of acme/all@3.0.0 have no stack in common: acme/b@2.0.0 supports jammy",
            "or \"*\"",
        ),
        (
            uris(&["a", "b", "other"]),
            "acme/a@1.0.0 comes from `a` and from `other`, and they are different",
            "keep one",
        ),
        (
            uris(&["a", "./gone"]),
            "packaging package.toml, line 5: finding the buildpack `./gone`: there is nothing at ./gone",
            "correct the path",
        ),
        (
            uris(&["a", "urn:cnb:registry:acme/b@2.0.0"]),
            "packaging package.toml, line 5: finding the buildpack `urn:cnb:registry:acme/b@2.0.0`: hoist does not ask a buildpack registry yet",
            "fetch the buildpack as a file",
        ),
        (
            "[buildpack]\nuri = \".\"\nx = 1\n".to_owned(),
            "reading package.toml: package.toml, line 3, column 1: unknown field `x`, expected `uri`",
            "correct package.toml at that line",
        ),
    ] {
        let (found, hint) = world.explain(&package(&world, &text).unwrap_err());
        assert_eq!(found, message);
        assert!(hint.contains(fix), "{hint}");
        assert_eq!(fs::read_dir(world.dir.path().join("store/scratch")).unwrap().count(), 0);
    }
    composite(&world, "[[targets]]\nos = \"linux\"\n");
    let (found, hint) = world.explain(&package(&world, &uris(&["a", "b"])).unwrap_err());
    assert_eq!(
        found,
        "packaging package.toml, line 1: reading the buildpack `all`: acme/all@3.0.0 has an order, and [[targets]] besides"
    );
    assert!(hint.starts_with("remove [[targets]] from buildpack.toml"), "{hint}");
    composite(&world, "");
    package(&world, &uris(&["a", "b"])).unwrap();
    let (found, _) = world.explain(&package(&world, "[buildpack]\nuri = \"docker://acme/package:1\"\n").unwrap_err());
    assert_eq!(found, "packaging `docker://acme/package:1`: it is a package already");
    world.write("package.toml", &uris(&["amd", "b"]), 0o644);
    let arm =
        PackageRequest { targets: vec!["linux/arm64".parse().unwrap()], ..request(&world, image_named("acme/x")) };
    let (found, _) = world.explain(&world.engine.package(&arm).unwrap_err());
    assert_eq!(found, "a package for linux/arm64 was asked for, and acme/a@1.0.0 is made for linux/amd64");
}
