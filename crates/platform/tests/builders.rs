//! `LocalEngine::create_builder`: where buildpacks come from, what goes into the image, and what the author of a bad file reads.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "functions beside the tests; tar is started")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use hoist_image::{ArchiveFormat, Attributes, Compression};
use hoist_platform::BuilderRequest;

use support::{World, file, label};

const ORDER: &str = "[[order]]\n[[order.group]]\nid = \"acme/a\"\n";

#[test]
fn buildpacks_come_from_folders_tars_and_packages() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    let b = world.buildpack("b", "acme/b", "2.0.0", "");
    assert!(
        Command::new("tar")
            .arg("-czf")
            .arg(world.dir.path().join("b.tgz"))
            .arg("-C")
            .arg(&b)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    let metadata = serde_json::json!({"id": "acme/c", "version": "3.0.0"}).to_string();
    let layers = serde_json::json!({
        "acme/c": {"3.0.0": {"api": "0.10", "layerDiffID": "LAYER", "order": [{"group": [{"id": "acme/d", "version": "4.0.0"}]}]}},
        "acme/d": {"4.0.0": {"api": "0.10", "layerDiffID": "LAYER"}},
    });
    let files = [
        ("/cnb/buildpacks/acme_c/3.0.0/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/c\"\nversion = \"3.0.0\"\n[[order]]\n[[order.group]]\nid = \"acme/d\"\nversion = \"4.0.0\"\n"),
        ("/cnb/buildpacks/acme_d/4.0.0/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/d\"\nversion = \"4.0.0\"\n"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()));
    let labels =
        [("io.buildpacks.buildpackage.metadata", metadata), ("io.buildpacks.buildpack.layers", layers.to_string())];
    let package = world.image_with("acme/run:evil", &[], &labels, &files);
    package
        .save_to_file(
            &world.dir.path().join("c.cnb"),
            &["acme/run".parse().unwrap()],
            ArchiveFormat::Oci,
            Compression::Gzip,
        )
        .unwrap();
    let run = world.store().image("acme/run").unwrap().id();

    let made = world
        .create("[[buildpacks]]\nid = \"acme/a\"\nversion = \"1.0.0\"\nuri = \"a\"\n[[buildpacks]]\nuri = \"./b.tgz\"\n[[buildpacks]]\nuri = \"c.cnb\"\n[[order]]\n[[order.group]]\nid = \"acme/c\"\n[[order.group]]\nid = \"acme/a\"\noptional = true\n[[build.env]]\nname = \"P\"\nvalue = \"/x\"\nsuffix = \"append\"\ndelim = \":\"\n")
        .unwrap();
    assert_eq!(made.buildpacks, ["acme/a@1.0.0", "acme/b@2.0.0", "acme/c@3.0.0", "acme/d@4.0.0"]);
    assert_eq!(world.warnings(), Vec::<String>::new());
    assert_eq!(world.store().image("acme/run").unwrap().id(), run, "a package does not name images of the store");
    for (path, text) in [
        (
            "/cnb/order.toml",
            "[[order]]\n\n[[order.group]]\nid = \"acme/c\"\nversion = \"3.0.0\"\n\n[[order.group]]\nid = \"acme/a\"\nversion = \"1.0.0\"\noptional = true\n",
        ),
        ("/cnb/run.toml", "[[images]]\nimage = \"acme/run\"\n"),
        ("/cnb/build-config/env/P.append", "/x"),
        ("/cnb/build-config/env/P.delim", ":"),
        ("/cnb/buildpacks/acme_b/2.0.0/bin/build", "#!/bin/sh\n"),
    ] {
        assert_eq!(file(&made.image, path).as_deref(), Some(text), "{path}");
    }
    let attributes = |path: &str| {
        let layers = made.image.layers().unwrap();
        layers.iter().find_map(|layer| layer.entry(Path::new(path)).unwrap().map(|entry| entry.attributes)).unwrap()
    };
    assert_eq!(attributes("/cnb/buildpacks/acme_a/1.0.0/bin/build"), Attributes::root(0o755));
    assert_eq!(attributes("/cnb/buildpacks/acme_a/1.0.0/buildpack.toml"), Attributes::root(0o644));
    assert_eq!(attributes("/cnb/buildpacks/acme_b/2.0.0"), Attributes::root(0o755));
    assert_eq!(
        label(&made.image, "io.buildpacks.buildpack.layers")["acme/c"]["3.0.0"]["layerDiffID"],
        package.diff_ids()[0].to_string()
    );
    assert_eq!(label(&made.image, "io.buildpacks.builder.metadata")["buildpacks"][1]["id"], "acme/b");
    assert_eq!(world.store().image("acme/builder:1").unwrap().id(), made.image.id());
    // Nothing of it depends on the folder, the time, or the order in the file.
    let again = World::new();
    again.buildpack("elsewhere", "acme/a", "1.0.0", "");
    let one = again.create("[[buildpacks]]\nuri = \"elsewhere\"\n").unwrap();
    world.write("x/.keep", "", 0o644);
    let other = world.create("[[buildpacks]]\nuri = \"a\"\n").unwrap();
    assert_eq!(one.image.id(), other.image.id());
}

#[test]
fn inspect_shows_a_builder_and_refuses_another_image() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("s", "acme/s", "2.0.0", "");
    world.create(&format!("[[buildpacks]]\nuri = \"a\"\n[[buildpacks]]\nuri = \"s\"\n[[system.pre.buildpacks]]\nid = \"acme/s\"\n{ORDER}")).unwrap();
    let name = "acme/builder".parse().unwrap();
    let found = world.engine.inspect_builder(Some(&name)).unwrap();
    assert_eq!((found.uid, found.gid, found.target.as_str()), (1001, 1000, "linux/amd64 (debian)"));
    assert_eq!(found.run_images[0].image, "acme/run");
    let group: Vec<&str> = found.order[0].group.iter().map(|entry| entry.version.as_str()).collect();
    assert_eq!(group, ["2.0.0", "1.0.0"], "the system buildpack stands before the group, with its version");
    let error = world.engine.inspect_builder(Some(&"acme/run".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "acme/run:latest is no builder: it has no label io.buildpacks.builder.metadata");
    let error = world.engine.inspect_builder(Some(&"acme/none".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "the builder acme/none:latest is not in the store");
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn mistakes_in_the_file_are_explained_with_their_line() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.buildpack("a2", "acme/a", "2.0.0", "");
    world.buildpack("other", "acme/a", "1.0.0", "clear-env = true\nname = \"Other\"\n");
    world.buildpack("same", "acme_a", "1.0.0", "");
    world.buildpack("arm", "acme/arm", "1.0.0", "[[targets]]\nos = \"linux\"\narch = \"arm64\"\n");
    world.buildpack("old", "acme/old", "1.0.0", "");
    world.write("old/buildpack.toml", "api = \"0.2\"\n[buildpack]\nid = \"acme/old\"\nversion = \"1.0.0\"\n", 0o644);
    world.write("half/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/half\"\nversion = \"1.0.0\"\n", 0o644);
    world.write("nothing/readme", "", 0o644);
    world.write("composite/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/all\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"acme/gone\"\nversion = \"9.0.0\"\n", 0o644);
    let a = "[[buildpacks]]\nuri = \"a\"\n";
    let group = |entry: &str| format!("{a}[[order]]\n[[order.group]]\n{entry}\n");
    for (text, message, fix) in [
        (
            "[[buildpacks]]\nuri = \"./gone\"\n".to_owned(),
            "builder.toml, line 5: finding the buildpack `./gone`: there is nothing at ./gone",
            "correct the path",
        ),
        (
            "[[buildpacks]]\nuri = \"acme/gone\"\n".to_owned(),
            "builder.toml, line 5: finding the buildpack `acme/gone:latest`: it is neither a file nor an image of the store",
            "hoist image load",
        ),
        (
            "[[buildpacks]]\nuri = \"nothing\"\n".to_owned(),
            "builder.toml, line 5: reading the buildpack `nothing`: it has neither buildpack.toml nor extension.toml",
            "holds buildpack.toml",
        ),
        (
            "[[buildpacks]]\nuri = \"half\"\n".to_owned(),
            "builder.toml, line 5: reading the buildpack `half`: acme/half@1.0.0 has no bin/detect",
            "add bin/detect",
        ),
        (
            "[[buildpacks]]\nuri = \"old\"\n".to_owned(),
            "builder.toml, line 5: reading the buildpack `old`: buildpack.toml: api:",
            "0.",
        ),
        (
            "[[buildpacks]]\nuri = \"acme/run\"\n".to_owned(),
            "builder.toml, line 5: reading the package `acme/run`: its image has no label io.buildpacks.buildpackage.metadata",
            "pack buildpack package",
        ),
        (
            "[[buildpacks]]\nuri = \"urn:hoist:buildpack:hoist/ruby\"\n".to_owned(),
            "builder.toml, line 5: finding the buildpack `hoist/ruby`: hoist has none of that id",
            "hoist has",
        ),
        (
            "[[buildpacks]]\nid = \"acme/b\"\nuri = \"a\"\n".to_owned(),
            "builder.toml, line 5: reading the buildpack `a`: its id is acme/a, but acme/b was asked for",
            "write id = \"acme/a\"",
        ),
        (
            "[[buildpacks]]\nversion = \"1.1.0\"\nuri = \"a\"\n".to_owned(),
            "builder.toml, line 5: reading the buildpack `a`: its version is 1.0.0, but 1.1.0 was asked for",
            "write version = \"1.0.0\"",
        ),
        (
            format!("{a}[[buildpacks]]\nuri = \"other\"\n"),
            "acme/a@1.0.0 comes from `a` and from `other`, and they are different",
            "keep one",
        ),
        (
            format!("{a}[[buildpacks]]\nuri = \"same\"\n"),
            "acme_a@1.0.0 and acme/a@1.0.0 would both lie in acme_a/1.0.0: the specification writes `/` of an id as `_`",
            "another id",
        ),
        (
            "[[buildpacks]]\nuri = \"arm\"\n".to_owned(),
            "acme/arm@1.0.0 is made for linux/arm64, but the build image acme/build is linux/amd64 (debian)",
            "another build image",
        ),
        (
            group("id = \"acme/b\""),
            "builder.toml: line 8: the buildpack acme/b is not in the builder, which has acme/a@1.0.0",
            "add it as [[buildpacks]]",
        ),
        (
            group("id = \"acme/a\"\nversion = \"3.0.0\""),
            "builder.toml: line 8: acme/a@3.0.0 is not in the builder, which has version 1.0.0",
            "write version = \"1.0.0\"",
        ),
        (
            format!("{}[[buildpacks]]\nuri = \"a2\"\n", group("id = \"acme/a\"")),
            "builder.toml: line 8: the builder has 2 versions of acme/a: 1.0.0, 2.0.0",
            "add version",
        ),
        (
            "[[buildpacks]]\nuri = \"composite\"\n".to_owned(),
            "builder.toml: the order of acme/all@1.0.0: the buildpack acme/gone is not in the builder, which has acme/all@1.0.0",
            "add it as",
        ),
        (
            "[lifecycle]\nversion = \"0.20.0\"\n".to_owned(),
            "builder.toml, line 5, lifecycle: lifecycle 0.20.0 is not hoist's own, which is 0.21.0, and the store has no image buildpacksio/lifecycle:0.20.0",
            "remove the table",
        ),
    ] {
        let (found, hint) = world.refused(&text);
        assert!(found.starts_with(message), "{found}\nshould begin with\n{message}");
        assert!(hint.contains(fix), "{found}: {hint}");
    }
}

#[test]
fn a_folder_whose_files_mean_harm_is_refused() {
    for (what, why) in [
        ("link", "it is a symbolic link that leads out of the buildpack"),
        (".wh.bin", "a name that begins with `.wh.` would delete files of the image below"),
        ("pipe", "it is neither a file nor a folder nor a link"),
    ] {
        let world = World::new();
        let dir = world.buildpack("a", "acme/a", "1.0.0", "");
        match what {
            "link" => symlink("../../secret", dir.join(what)).unwrap(),
            "pipe" => assert!(Command::new("mkfifo").arg(dir.join(what)).status().unwrap().success()),
            name => fs::write(dir.join(name), "").unwrap(),
        }
        let (found, _) = world.refused("[[buildpacks]]\nuri = \"a\"\n");
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn images_that_cannot_be_built_on_are_refused_and_missing_run_images_are_warnings() {
    let world = World::new();
    world.image("acme/nobody", &[], &[]);
    world.image("acme/root", &["CNB_USER_ID=0", "CNB_GROUP_ID=1000"], &[]);
    for (image, message) in [
        ("acme/gone", "the build image acme/gone is not in the store"),
        ("acme/nobody", "the build image acme/nobody does not say as whom buildpacks run: CNB_USER_ID is not set"),
        ("acme/root", "the build image acme/root does not say as whom buildpacks run: CNB_USER_ID is `0`"),
    ] {
        world.write(
            "builder.toml",
            &format!("[build]\nimage = \"{image}\"\n[[run.images]]\nimage = \"acme/elsewhere\"\n"),
            0o644,
        );
        let request = BuilderRequest {
            name: "acme/x".parse().unwrap(),
            tags: Vec::new(),
            config_path: world.dir.path().join("builder.toml"),
            labels: Vec::new(),
            flatten: Vec::new(),
            targets: Vec::new(),
        };
        assert_eq!(world.engine.create_builder(&request).unwrap_err().to_string(), message);
    }
    world.buildpack("a", "acme/a", "1.0.0", "");
    let text = format!("[[run.images]]\nimage = \"acme/elsewhere\"\n[[buildpacks]]\nuri = \"a\"\n{ORDER}");
    world.create(&text).unwrap();
    assert!(world.warnings().contains(&"the run image acme/elsewhere is not in the store".to_owned()));
}

#[test]
fn a_package_whose_labels_lie_is_refused() {
    let world = World::new();
    let descriptor = (
        "/cnb/buildpacks/acme_a/1.0.0/buildpack.toml".to_owned(),
        "api = \"0.10\"\n[buildpack]\nid = \"acme/b\"\nversion = \"1.0.0\"\n".to_owned(),
    );
    let outside = ("/cnb/other".to_owned(), String::new());
    for (layer, id, files, why) in [
        (
            "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "acme/a",
            &descriptor,
            "which it does not have",
        ),
        ("LAYER", "acme/a", &descriptor, "the label has acme/a@1.0.0 where buildpack.toml has acme/b@1.0.0"),
        (
            "LAYER",
            "acme/a",
            &outside,
            "acme/a@1.0.0 has no usable /cnb/buildpacks/acme_a/1.0.0/buildpack.toml in its layer",
        ),
        ("LAYER", "../../etc", &outside, "has no usable"),
    ] {
        let metadata = serde_json::json!({"id": id, "version": "1.0.0"}).to_string();
        let layers = serde_json::json!({id: {"1.0.0": {"api": "0.10", "layerDiffID": layer}}}).to_string();
        let labels = [("io.buildpacks.buildpackage.metadata", metadata), ("io.buildpacks.buildpack.layers", layers)];
        world.image_with("acme/package", &[], &labels, std::slice::from_ref(files));
        let (found, _) = world.refused("[[buildpacks]]\nimage = \"acme/package\"\n");
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn prune_forgets_what_was_noted_of_a_removed_builder() {
    let world = World::new();
    world.buildpack("a", "acme/a", "1.0.0", "");
    world.create("[[buildpacks]]\nuri = \"a\"\n").unwrap();
    let noted = || world.store().records("own-builder").unwrap().len();
    world.engine.prune(hoist_image::PruneOptions::default(), false).unwrap();
    assert_eq!(noted(), 1);
    for name in ["acme/builder", "acme/builder:1"] {
        world.store().remove_image(name).unwrap();
    }
    world.engine.prune(hoist_image::PruneOptions::default(), false).unwrap();
    assert_eq!(noted(), 0);
}

#[test]
fn a_file_that_did_not_change_is_unpacked_once() {
    let world = World::new();
    for (dir, id) in [("a", "acme/a"), ("b", "acme/b")] {
        world.buildpack(dir, id, "1.0.0", "");
        let (file, dir) = (world.dir.path().join(format!("{dir}.tgz")), world.dir.path().join(dir));
        let made = Command::new("tar").arg("-czf").arg(file).arg("-C").arg(dir).arg(".").status();
        assert!(made.unwrap().success());
    }
    let create = |file: &str| world.create(&format!("[[buildpacks]]\nuri = \"{file}\"\n")).unwrap().buildpacks;
    let records = || world.store().records("unpacked-file").unwrap();
    assert_eq!(create("a.tgz"), ["acme/a@1.0.0"]);
    let of_a = records().remove(0);
    assert_eq!(create("b.tgz"), ["acme/b@1.0.0"]);
    let of_b = records().into_iter().find(|record| record.key != of_a.key).unwrap();
    // What is noted is what is taken.
    world.store().put_record("unpacked-file", &of_b.key, &of_a.value, &[]).unwrap();
    assert_eq!(create("b.tgz"), ["acme/a@1.0.0"]);
    // What the layer does not hold is not believed.
    let lie =
        serde_json::json!([{"extension": false, "id": "acme/x", "version": "1.0.0", "layer": of_a.value[0]["layer"]}]);
    world.store().put_record("unpacked-file", &of_b.key, &lie, &[]).unwrap();
    assert_eq!(create("b.tgz"), ["acme/b@1.0.0"]);
    // A file that changed is another one.
    fs_err::copy(world.dir.path().join("a.tgz"), world.dir.path().join("b.tgz")).unwrap();
    assert_eq!(create("b.tgz"), ["acme/a@1.0.0"]);
    // What prune took is unpacked again, and no longer noted.
    let gone = serde_json::json!([{"extension": false, "id": "acme/a", "version": "1.0.0", "layer": format!("sha256:{}", "0".repeat(64))}]);
    world.store().put_record("unpacked-file", &of_a.key, &gone, &[]).unwrap();
    assert_eq!(create("a.tgz"), ["acme/a@1.0.0"]);
    world.store().put_record("unpacked-file", &of_a.key, &gone, &[]).unwrap();
    world.engine.prune(hoist_image::PruneOptions::default(), false).unwrap();
    assert!(records().iter().all(|record| record.key != of_a.key));
}
