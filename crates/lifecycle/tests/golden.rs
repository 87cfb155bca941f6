//! The diffIDs of whole layers, held against the Go lifecycle itself.
//!
//! The digests were made with the packages `layers`, `archive`, `launch`, `platform/files` and `internal/encoding` of the Go lifecycle
//! (commit 4bd4b13e, BurntSushi/toml v1.6.0, Go 1.19): a program of sixty lines called `layers.Factory{UID: 1001, GID: 1000}` with
//! `DirLayer`, `SliceLayers`, `LauncherLayer` and `ProcessTypesLayer`, in a root where `support/golden.sh` had run with
//! `CNB_LAYERS_DIR=/layers/acme_go` in `/workspace`, and where `/layers` belonged to 1001:1000. `config/metadata.toml` was written by
//! `encoding.WriteTOML` from a `files.BuildMetadata` with the same values.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

mod support;

use support::World;

#[test]
fn the_layers_of_an_image_have_the_diff_ids_of_the_go_lifecycle() {
    let mut world = World::new();
    let more = "homepage = \"https://acme.example/go\"\nsbom-formats = [\"application/vnd.cyclonedx+json\"]";
    world.buildpack("acme/go", "0.10", more, "exit 0", include_str!("support/golden.sh"));
    world.group(&["acme/go"]);
    let outcome = world.build().unwrap();
    let config = outcome.exported.image.config();
    let history = config.history().clone().unwrap();
    let layers: Vec<(String, String)> = history
        .iter()
        .zip(outcome.exported.image.diff_ids())
        .skip(1)
        .map(|(layer, diff_id)| (layer.created_by().clone().unwrap_or_default(), diff_id.to_string()))
        .collect();
    let expected = GOLDEN.map(|(name, diff_id)| (name.to_owned(), format!("sha256:{diff_id}")));
    assert_eq!(layers, expected, "metadata.toml:\n{}", outcome.file("/layers/config/metadata.toml").unwrap());
}

/// The digest was read from the image that pack 0.40.5 made of the same two files with the Go lifecycle 0.21.17: pack hands the app's folder to its
/// builds with mode 0777.
#[test]
fn the_layer_of_an_app_is_the_one_that_pack_makes_of_it() {
    let mut world = World::new();
    world.buildpack("acme/go", "0.10", "", "exit 0", "exit 0");
    world.group(&["acme/go"]);
    world.app_file("hello.txt", "hello\n");
    world.app_file("sub/y", "x\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs_err::set_permissions(world.dir.path().join("app/workspace"), mode(0o777)).unwrap();
    let outcome = world.build().unwrap();
    let app = &outcome.exported.metadata.app;
    assert_eq!(app.len(), 1);
    assert_eq!(app[0].sha, "sha256:02d1ee9c52169e54cdff6843364172f9e8f332fe0348291ff49bafa77e5bbd53");
}

const GOLDEN: [(&str, &str); 8] = [
    (
        "Layer: 'odd', Created by buildpack: acme/go@1.0.0",
        "3b16907e626cdb2d318c78d4ec6049ae4e6901762146e3fadafc6fe585ac603d",
    ),
    ("Software Bill-of-Materials", "57e5205732b99b5b296e276cd12a951e446522dc1d7a54ed4e9c99fcfeac5d94"),
    ("Application Slice: 1", "1ff97be52a38e262852d95d95d66f65b6cb9733fd1ac6f5bb551b7cae8735a24"),
    ("Application Slice: 2", "0c8009c01d0c79f2be201dec10d5f3eba1237df8c5917a45f069b1eb70c20728"),
    ("Application Slice: 3", "1391fcf6db6ee8b95d4dc6b54c81c47da45fc6ef5ba75a5ca27c570685d4907d"),
    ("Buildpacks Application Launcher", "eb27e4947493c5956357f0cde091a401e8138b6bace32839546c737a52c8dac3"),
    ("Buildpacks Launcher Config", "e46f649b273117b5b60bf3f0befbeadafe92101c32ca328274e038d6d2b3b5a5"),
    ("Buildpacks Process Types", "c32b6c6d08c5d84a980a518d1dd9093c22b9e003f2b6b468f12fe1e7cd918b3f"),
];
