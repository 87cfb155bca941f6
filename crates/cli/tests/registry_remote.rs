//! What is done to images of the store is done to images of registries as well, without fetching more of them than has to be.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

#[path = "../../image/tests/support/real_registry.rs"]
mod real_registry;
mod support;
#[path = "support/travel.rs"]
mod travel;

use std::path::PathBuf;

use fs_err as fs;
use real_registry::{Registry, Wants};
use serde_json::{Value, json};
use support::{example, hoist_with_store, run};
use travel::World;

/// A registry with an app, and the app's id.
fn with_app() -> (World, String, String) {
    let world = World::new();
    let app = world.registry.name("team/sum:1");
    let sum = example("sum");
    let args = ["build", "--json", &app, "--path", sum.to_str().expect("a plain path"), "--publish"];
    let id = world.builder(&args).ok().json()["image_id"].as_str().expect("an id").to_owned();
    world.builder(&["image", "rm", &app]).ok();
    (world, app, id)
}

/// What the store of somebody who only looks has.
fn layers_there(world: &World) -> usize {
    fs::read_dir(world.dir.path().join("store/layers/sha256")).map_or(0, Iterator::count)
}

#[test]
fn an_image_is_looked_at_where_it_is() {
    let (world, app, id) = with_app();
    let shown = world.other(&["image", "inspect", "--remote", "--json", &app]).ok().json();
    assert_eq!((&shown["id"], &shown["names"]), (&json!(id), &json!([app])));
    assert!(
        shown["layers"].as_array().expect("layers").iter().all(|layer| layer["compressed_bytes"].as_u64() > Some(0))
    );
    assert!(shown["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    let text = world.other(&["inspect", "--remote", &app]).ok().stdout;
    assert!(text.contains(&format!("from     {}", app.trim_end_matches(":1"))) && text.contains("built by "), "{text}");
    for (format, begin) in [("json", "{\n  \"image_name\""), ("yaml", "image_name: "), ("toml", "image_name = ")] {
        let text = world.other(&["inspect", "--remote", &app, "--output", format]).ok().stdout;
        assert!(text.trim_start_matches("---\n").starts_with(begin) && text.contains("remote_info"), "{text}");
        assert!(!text.contains("local_info") || text.contains("null"), "{text}");
    }
    assert_eq!(layers_there(&world), 0, "nothing was fetched");
    // The documents are one layer.
    let dir = world.dir.path().join("sbom");
    let documents = world.other(&["sbom", "ls", "--remote", "--json", &app]).ok().json();
    assert!(!documents["documents"].as_array().expect("documents").is_empty(), "{documents}");
    world.other(&["sbom", "download", "--remote", &app, "-o", dir.to_str().expect("a plain path")]).ok();
    assert!(dir.join("layers/sbom/launch").is_dir());
    assert_eq!(layers_there(&world), 1, "the layer with the documents");
    let bill = world.other(&["sbom", "show", "--remote", &app]).ok().json();
    let has = |name: &str| bill["components"].as_array().expect("components").iter().any(|one| one["name"] == name);
    assert!(has("libc6"), "{bill}");
    // It stayed without a name.
    let listed = world.other(&["image", "ls", "--json"]).ok().json();
    assert!(listed.as_array().expect("images").iter().all(|image| image["names"] == json!([])), "{listed}");
    world.other(&["image", "inspect", &app]).code(2).says(&format!("hoist image pull {app}")).says("--remote");
    world.other(&["inspect", "--remote", "sum"]).code(2).says("sum:latest names no registry");
    let gone = world.registry.name("team/sum:2");
    world.other(&["inspect", "--remote", &gone]).code(2).says("has no image team/sum:2");
    // A run fetches what is not there.
    world.other(&["run", "--pull-policy", "never", &app]).code(2);
    let data = ["--data", r#"{"values": [20, 22]}"#];
    let said = world.other(&[&["run", &app][..], &data].concat()).ok();
    assert!(said.stdout.contains("\"sum\": 42"), "{}", said.stdout);
}

#[test]
fn what_a_registry_has_is_verified_and_saved_there() {
    let (world, app, id) = with_app();
    let said = world.other(&["image", "verify", "--remote", &app]).ok().stdout;
    assert!(said.starts_with(&id) && said.contains("every digest as it should be"), "{said}");
    assert_eq!(layers_there(&world), 0, "nothing was fetched");
    let archive = world.dir.path().join("saved.tar");
    let path = archive.to_str().expect("a plain path");
    world.other(&["image", "save", "--remote", &app, "--format", "oci-archive", "--output", path]).ok();
    let third = world.dir.path().join("third");
    run(hoist_with_store(&third).args(["image", "load", path])).ok();
    run(hoist_with_store(&third).args(["image", "verify", &app])).ok();
    let sum = example("sum");
    let rebuild = ["image", "verify", "--remote", &app, "--rebuild", sum.to_str().expect("a plain path")];
    assert!(world.builder(&rebuild).ok().stdout.contains("built again: the same image, byte for byte"));
    // Somebody changes a layer behind the registry's back.
    let shown = world.other(&["image", "inspect", "--remote", "--json", &app]).ok().json();
    let layer = &shown["layers"][0];
    let blob = stored(&world.registry, layer["digest"].as_str().expect("a digest"));
    let mut bytes = fs::read(&blob).expect("a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).expect("a blob");
    let digest = layer["digest"].as_str().expect("a digest");
    world
        .other(&["image", "verify", "--remote", &app])
        .code(3)
        .says(&format!("image {app} is not what it says of itself"))
        .says(&format!("its blob should be {digest} and is sha256:"))
        .says("do not use it");
    let said = world.other(&["image", "verify", "--remote", "--json", &app]).code(3).json();
    assert_eq!((&said["ok"], said["problems"].as_array().map(Vec::len)), (&json!(false), Some(1)), "{said}");
}

/// Where docker-registry keeps a blob.
fn stored(registry: &Registry, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    registry.dir.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

#[test]
fn images_get_names_at_registries_go_to_others_and_are_removed() {
    let (world, app, _) = with_app();
    let remote = |args: &[&str]| world.other(&[&["image"][..], args, &["--remote"]].concat());
    let tag = |from: &str, to: &str| remote(&["tag", "--json", from, to]).ok().json();
    let same = world.registry.name("team/sum:stable");
    let copied = tag(&app, &same);
    let counts = |copied: &Value| {
        ["sent_blobs", "mounted_blobs", "blobs_there"].map(|key| copied[key].as_u64().expect("a count"))
    };
    assert_eq!(counts(&copied), [0, 0, 0], "the document alone");
    let layers = world.raw(&app)["layers"].as_array().expect("layers").len() as u64;
    let copied = tag(&app, &world.registry.name("other/sum:1"));
    assert_eq!(counts(&copied), [0, layers + 1, 0], "mounted, with the configuration");
    // Another registry gets what it lacks.
    let plain = Registry::start(&Wants::default());
    let (there, again) = (plain.name("copy/sum:1"), plain.name("copy/sum:2"));
    let copied = tag(&app, &there);
    assert_eq!(counts(&copied), [layers + 1, 0, 0], "{copied}");
    assert!(copied["sent_bytes"].as_u64() > Some(1_000_000), "{copied}");
    assert_eq!(counts(&tag(&app, &again)), [0, 0, layers + 1]);
    assert_eq!(layers_there(&world), 0);
    let left = fs::read_dir(world.dir.path().join("store/blobs/sha256")).expect("a folder").count();
    assert_eq!(left, 0, "blobs are there while they are on their way");
    let shown = |name: &str| remote(&["inspect", "--json", name]).ok().json();
    assert_eq!(shown(&there)["digest"], shown(&app)["digest"]);
    // What a repository has.
    assert_eq!(remote(&["ls", &plain.name("copy/sum")]).ok().stdout, format!("{there}\n{again}\n"));
    let listed = remote(&["ls", "--json", &app]).ok().json();
    assert_eq!(listed["tags"], json!(["1", "stable"]));
    remote(&["ls"]).code(2).says("hoist image ls --remote HOST/NAME");
    remote(&["ls", &plain.name("none")]).code(2).says("has no repository none");
    world.other(&["image", "ls", &there]).code(2).says("--remote");
    // This registry removes by digest alone: what else has the image's names keeps it.
    remote(&["rm", &app])
        .code(2)
        .says("removes images and no single names, and other tags stand for sha256:")
        .says(": stable")
        .says("hoist image rm --remote HOST/NAME@sha256:");
    assert_eq!(shown(&same)["digest"], shown(&app)["digest"]);
    let digest = shown(&app)["digest"].as_str().expect("a digest").to_owned();
    let by_digest = world.registry.name(&format!("team/sum@{digest}"));
    assert_eq!(remote(&["rm", "--json", &by_digest]).ok().json(), json!([{"name": by_digest, "digest": digest}]));
    remote(&["inspect", &same]).code(2).says("has no image team/sum:stable");
    // One name alone is removed where it is the only one.
    let only = world.registry.name("other/sum:1");
    assert!(remote(&["rm", &only]).ok().stdout.starts_with(&format!("removed {only} (sha256:")));
    remote(&["rm", &only]).code(2).says("has no image other/sum:1");
}
