//! What a builder.toml may say besides buildpacks and orders: another lifecycle, shared layers, targets, stacks; and packages that mean harm.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "functions beside the tests; tar is started")]

mod support;

use std::process::Command;

use fs_err as fs;
use hoist_image::Image;
use hoist_platform::{BuilderRequest, CreatedBuilder, PlatformError};
use support::{IMAGES, World, file, label};

const LIFECYCLE: &str = "[lifecycle]\nversion = \"0.21.0\"\n[apis.buildpack]\ndeprecated = []\nsupported = [\"0.10\", \"0.11\"]\n[apis.platform]\ndeprecated = []\nsupported = [\"0.13\"]\n";
const PROGRAMS: [&str; 7] = ["analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer"];

/// A folder as the archive of a released lifecycle unpacks.
fn lifecycle(world: &World) {
    world.write("go/lifecycle.toml", LIFECYCLE, 0o644);
    for program in PROGRAMS {
        world.write(&format!("go/lifecycle/{program}"), &format!("# {program} of Go\n"), 0o755);
    }
    world.write("go/lifecycle/lifecycle.sbom.cdx.json", "{}", 0o644);
}

fn request(world: &World, text: &str) -> BuilderRequest {
    world.write("builder.toml", text, 0o644);
    BuilderRequest {
        name: "acme/builder".parse().unwrap(),
        tags: Vec::new(),
        config_path: world.dir.path().join("builder.toml"),
        labels: Vec::new(),
        flatten: Vec::new(),
        targets: Vec::new(),
    }
}

fn made(world: &World, text: &str) -> Result<CreatedBuilder, PlatformError> {
    world.engine.create_builder(&request(world, text))
}

#[test]
fn another_lifecycle_comes_from_a_folder_a_tar_or_an_image() {
    let world = World::new();
    lifecycle(&world);
    world.buildpack("a", "acme/a", "1.0.0", "");
    let tar = |name: &str| {
        let made = Command::new("tar").current_dir(world.dir.path()).args(["-czf", name, "-C", "go", "."]).status();
        assert!(made.unwrap().success());
    };
    tar("go.tgz");
    let files: Vec<(String, String)> = PROGRAMS
        .iter()
        .map(|program| (format!("/cnb/lifecycle/{program}"), format!("# {program} of Go\n")))
        .chain([("/cnb/lifecycle/lifecycle.toml".to_owned(), LIFECYCLE.to_owned())])
        .collect();
    world.image_with("acme/lifecycle", &[], &[], &files);
    let text = |uri: &str| format!("{IMAGES}[lifecycle]\nuri = \"{uri}\"\n[[buildpacks]]\nuri = \"a\"\n");
    let with = |uri: &str| made(&world, &text(uri)).unwrap().image;
    let image = with("go.tgz");
    assert_eq!(image.id(), with("./go").id(), "a folder is as good as the tar of it");
    for image in [&image, &with("docker://acme/lifecycle")] {
        let of_metadata = label(image, "io.buildpacks.builder.metadata");
        assert_eq!(of_metadata["lifecycle"]["version"], "0.21.0");
        assert_eq!(of_metadata["lifecycle"]["apis"]["buildpack"]["supported"][1], "0.11");
        assert_eq!(of_metadata["lifecycle"]["api"]["platform"], "0.13");
        assert_eq!(file(image, "/cnb/lifecycle/creator").as_deref(), Some("# creator of Go\n"));
        assert_eq!(
            file(image, "/cnb/hoist/bin/hoist"),
            None,
            "nothing of hoist is in a builder that needs nothing of it"
        );
    }
    world.buildpack("new", "acme/a", "1.0.0", "");
    world.write("new/buildpack.toml", "api = \"0.12\"\n[buildpack]\nid = \"acme/new\"\nversion = \"1.0.0\"\n", 0o644);
    world.write("none/lifecycle.toml", LIFECYCLE, 0o644);
    world.write("none/lifecycle/builder", "", 0o755);
    world.write("bad/lifecycle.toml", "[lifecycle]\nversion = 1\n", 0o644);
    world.write("bad/lifecycle/builder", "", 0o755);
    for (text, message) in [
        (
            text("go").replace("uri = \"a\"", "uri = \"new\""),
            "acme/new@1.0.0 is written for Buildpack API 0.12, and lifecycle 0.21.0 has 0.10, 0.11",
        ),
        (
            text("./gone.tgz"),
            "builder.toml, line 5, lifecycle: finding the lifecycle `./gone.tgz`: it is neither a file, a folder nor an image of the store",
        ),
        (text("none"), "builder.toml, line 5, lifecycle: reading the lifecycle `none`: it has no program analyzer"),
        (text("a"), "builder.toml, line 5, lifecycle: reading the lifecycle `a`: it has no lifecycle.toml"),
    ] {
        let (found, hint) = world.explain(&made(&world, &text).unwrap_err());
        assert_eq!(found, message);
        assert!(!hint.is_empty(), "{found}");
    }
}

#[test]
fn flattened_buildpacks_share_a_layer_of_the_builder() {
    let world = World::new();
    for (dir, id) in [("a", "acme/a"), ("b", "acme/b"), ("c", "acme/c")] {
        world.buildpack(dir, id, "1.0.0", "");
    }
    let text =
        format!("{IMAGES}[[buildpacks]]\nuri = \"a\"\n[[buildpacks]]\nuri = \"b\"\n[[buildpacks]]\nuri = \"c\"\n");
    let count = |image: &Image| image.diff_ids().len();
    let plain = count(&made(&world, &text).unwrap().image);
    let flat = |names: &[&str]| {
        let group = names.iter().map(|name| (*name).to_owned()).collect();
        world.engine.create_builder(&BuilderRequest { flatten: vec![group], ..request(&world, &text) })
    };
    let image = flat(&["acme/c@1.0.0", "acme/a@1.0.0"]).unwrap().image;
    assert_eq!(count(&image), plain - 1);
    let layers = label(&image, "io.buildpacks.buildpack.layers");
    let layer = |id: &str| layers[id]["1.0.0"]["layerDiffID"].clone();
    assert!(layer("acme/a") == layer("acme/c") && layer("acme/a") != layer("acme/b"));
    assert!(file(&image, "/cnb/buildpacks/acme_c/1.0.0/bin/build").is_some());
    let (found, hint) = world.explain(&flat(&["acme/z@1.0.0"]).unwrap_err());
    assert_eq!(found, "acme/z@1.0.0 is to share a layer with others, and is not in the builder");
    assert_eq!(hint, "there is acme/a@1.0.0, acme/b@1.0.0, acme/c@1.0.0");
}

#[test]
fn targets_and_stacks_that_do_not_fit_are_refused() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("jammy", "acme/j", "1.0.0", "[[stacks]]\nid = \"jammy\"\nmixins = [\"curl\", \"run:x\"]\n");
    let stack = |id: &str, mixins: &str| {
        vec![("io.buildpacks.stack.id", id.to_owned()), ("io.buildpacks.stack.mixins", mixins.to_owned())]
    };
    let user = ["CNB_USER_ID=1001", "CNB_GROUP_ID=1000"];
    world.image("acme/bionic", &user, &stack("bionic", "[]"));
    world.image("acme/jammy", &user, &stack("jammy", "[]"));
    world.image("acme/jammy:curl", &user, &stack("jammy", "[\"curl\"]"));
    let on =
        |image: &str, more: &str| format!("[build]\nimage = \"{image}\"\n[[run.images]]\nimage = \"acme/run\"\n{more}");
    let jammy = "[[buildpacks]]\nuri = \"jammy\"\n";
    made(&world, &on("acme/jammy:curl", jammy)).unwrap();
    made(&world, &on("acme/build", jammy)).unwrap();
    made(
        &world,
        &on(
            "acme/build",
            "[[targets]]\nos = \"linux\"\narch = \"arm64\"\n[[targets]]\nos = \"linux\"\narch = \"amd64\"\n",
        ),
    )
    .unwrap();
    for (text, message) in [
        (
            on("acme/bionic", jammy),
            "acme/j@1.0.0 is made for the stacks jammy, and the build image acme/bionic has bionic",
        ),
        (on("acme/jammy", jammy), "acme/j@1.0.0 needs mixins that the build image acme/jammy does not have: curl"),
        (
            on("acme/jammy", "[stack]\nid = \"focal\"\n"),
            "the stack of builder.toml is focal, and that of the build image acme/jammy is jammy",
        ),
        (
            on("acme/build", "[[targets]]\nos = \"linux\"\narch = \"arm64\"\n"),
            "the builder is to be for linux/arm64, but the build image acme/build is linux/amd64 (debian)",
        ),
        (
            on("acme/build", "[[buildpacks]]\nuri = \"urn:cnb:builder:acme/a\"\n"),
            "builder.toml, line 5: finding the buildpack `urn:cnb:builder:acme/a`: this means a buildpack of the builder that an app is built with, and there is none here",
        ),
        (
            on("acme/build", "[[build.env]]\nname = \"A.append\"\nvalue = \"x\"\n"),
            "reading builder.toml: builder.toml: line 5, build.env: `A.append` cannot be the name of a variable: what follows a point is an action",
        ),
    ] {
        let (found, hint) = world.explain(&made(&world, &text).unwrap_err());
        assert_eq!(found, message);
        assert!(!hint.is_empty(), "{found}");
    }
    made(&world, &on("acme/build", "[stack]\nid = \"focal\"\n[[buildpacks]]\nuri = \"a\"\n[[order]]\n[[order.group]]\nid = \"acme/a\"\n[[order.group]]\nid = \"acme/a\"\n")).unwrap();
    let warnings = world.warnings();
    for text in [
        "the build image acme/build does not say of which stack it is; it is taken for focal",
        "builder.toml: line 12: acme/a stands twice in its group",
    ] {
        assert!(warnings.iter().any(|warning| warning == text), "{text}: {warnings:?}");
    }
}

#[test]
fn a_package_with_files_of_the_system_is_refused() {
    let world = World::new();
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"acme/a\"\nversion = \"1.0.0\"\n";
    let files = [
        ("/cnb/buildpacks/acme_a/1.0.0/buildpack.toml".to_owned(), descriptor.to_owned()),
        ("/cnb/lifecycle/builder".to_owned(), "#!/bin/sh\n".to_owned()),
    ];
    let metadata = serde_json::json!({"id": "acme/a", "version": "1.0.0"}).to_string();
    let layers = serde_json::json!({"acme/a": {"1.0.0": {"api": "0.10", "layerDiffID": "LAYER"}}}).to_string();
    let labels = [("io.buildpacks.buildpackage.metadata", metadata), ("io.buildpacks.buildpack.layers", layers)];
    world.image_with("acme/package", &[], &labels, &files);
    let text = format!("{IMAGES}[[buildpacks]]\nuri = \"docker://acme/package\"\n");
    let (found, _) = world.explain(&made(&world, &text).unwrap_err());
    assert!(found.contains("its layer holds /cnb/lifecycle"), "{found}");
    let (_, hint) = world.explain(&made(&world, &text.replace("acme/package", "acme/packag")).unwrap_err());
    assert_eq!(
        hint,
        "the store has acme/package:latest; name one of them, or let it be one: hoist image tag acme/package:latest acme/packag:latest"
    );
    fs::write(world.dir.path().join("x.cnb"), "no tar").unwrap();
    let text = format!("{IMAGES}[[buildpacks]]\nuri = \"x.cnb\"\n");
    let (found, _) = world.explain(&made(&world, &text).unwrap_err());
    assert!(found.starts_with("builder.toml, line 5: reading the buildpack `x.cnb`: "), "{found}");
}

#[test]
fn a_release_of_the_lifecycle_is_hoists_own_or_an_image_of_the_store() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    let text = |version: &str| format!("{IMAGES}[lifecycle]\nversion = \"{version}\"\n[[buildpacks]]\nuri = \"a\"\n");
    let own = made(&world, &text("0.21.0")).unwrap().image;
    assert_eq!(own.id(), made(&world, &text("").replace("version = \"\"", "")).unwrap().image.id());
    let (found, hint) = world.explain(&made(&world, &text("0.20.1")).unwrap_err());
    assert_eq!(
        found,
        "builder.toml, line 5, lifecycle: lifecycle 0.20.1 is not hoist's own, which is 0.21.0, and the store has no image buildpacksio/lifecycle:0.20.1"
    );
    assert!(hint.contains("uri = \"lifecycle.tgz\"; or remove the table"), "{hint}");
    let files = |version: &str| -> Vec<(String, String)> {
        let descriptor = LIFECYCLE.replace("0.21.0", version);
        let programs = PROGRAMS.iter().map(|program| (format!("/cnb/lifecycle/{program}"), "# of Go\n".to_owned()));
        programs.chain([("/cnb/lifecycle/lifecycle.toml".to_owned(), descriptor)]).collect()
    };
    world.image_with("buildpacksio/lifecycle:0.20.1", &[], &[], &files("0.20.1"));
    world.image_with("buildpacksio/lifecycle:0.20.2", &[], &[], &files("0.20.1"));
    for version in ["0.20.1", "v0.20.1"] {
        let image = made(&world, &text(version)).unwrap().image;
        assert_eq!(label(&image, "io.buildpacks.builder.metadata")["lifecycle"]["version"], "0.20.1");
        assert_eq!(file(&image, "/cnb/lifecycle/creator").as_deref(), Some("# of Go\n"));
    }
    let (found, hint) = world.explain(&made(&world, &text("0.20.2")).unwrap_err());
    assert!(found.ends_with("0.20.2 was asked for, and the image buildpacksio/lifecycle:0.20.2 has 0.20.1"), "{found}");
    assert!(hint.starts_with("write version = \"0.20.1\""), "{hint}");
}

#[test]
fn a_link_in_an_image_of_a_lifecycle_is_not_followed() {
    let world = World::new();
    world.write("secret", LIFECYCLE, 0o644);
    let mut builder = world.store().layer_builder().unwrap();
    let link = "/cnb/lifecycle/lifecycle.toml";
    builder.symlink(link, world.dir.path().join("secret"), hoist_image::Attributes::root(0o777)).unwrap();
    let layer = builder.finish().unwrap();
    let mut config = world.store().image("acme/run").unwrap().config().clone();
    config.rootfs_mut().diff_ids_mut().push(layer.diff_id().to_string());
    world.store().put_image(&config, &["acme/lifecycle".parse().unwrap()]).unwrap();
    let text = format!("{IMAGES}[lifecycle]\nuri = \"docker://acme/lifecycle\"\n");
    let (found, _) = world.explain(&made(&world, &text).unwrap_err());
    assert!(found.ends_with("reading the lifecycle `docker://acme/lifecycle`: it has no lifecycle.toml"), "{found}");
}
