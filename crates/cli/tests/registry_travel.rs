//! The whole way of an image: built by hoist, pushed to a registry with TLS and a password, fetched and run by docker and by podman, put on a new run
//! image there, fetched and run again, verified, its SBOM read; and what docker, podman and buildah push comes to hoist.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

#[path = "../../image/tests/support/real_registry.rs"]
mod real_registry;
mod support;
#[path = "support/travel.rs"]
mod travel;

use std::path::Path;

use hoist_image::{Attributes, Store};
use serde_json::{Value, json};
use support::docker::Daemon;
use support::patched::{STATUS, patched_run_image};
use support::podman::Podman;
use support::{Said, example, hoist_with_store, remove_groups};
use travel::World;

/// What a service gets without hoist: its input in variables.
const INPUT: [&str; 6] =
    ["-e", "BASE64_ENCODED=false", "-e", r#"DATA_VALUE={"values": [20, 22]}"#, "-e", "PARAMS_VALUE={}"];

#[track_caller]
fn is_the_result(said: &Said) {
    assert_eq!(said.code, 0, "stdout:\n{}\nstderr:\n{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("\"sum\": 42"), "{}", said.stdout);
}

/// Fetched and run by both, on a run image that has so many packages called `a-new-one`.
fn both_run(world: &World, daemon: &Daemon, podman: &Podman, app: &str, newer: &str) {
    world.docker(daemon, &["pull", "-q", app]).ok();
    let docker = |args: &[&str]| daemon.docker(&[&["run", "--rm", "--network=none"][..], args].concat());
    is_the_result(&docker(&[&INPUT[..], &[app]].concat()));
    let count = ["--entrypoint=/bin/grep", app, "-c", "Package: a-new-one", STATUS];
    assert_eq!(docker(&count).stdout, newer);
    world.podman(podman, &["pull", "-q"], &[app]).ok();
    is_the_result(&podman.run_image(&[&INPUT[..], &[app]].concat()));
    assert_eq!(podman.run_image(&count).stdout, newer);
}

#[test]
fn an_app_runs_with_docker_and_podman_before_and_after_its_rebase_in_the_registry() {
    let world = World::new();
    let (app, run_image) = (world.registry.name("team/sum:1"), world.registry.name("team/run"));
    world.builder(&["base", "show"]).ok();
    world.builder(&["image", "tag", "hoist/run", &run_image]).ok();
    world.builder(&["image", "push", &run_image]).ok();
    let sum = example("sum");
    let path = sum.to_str().expect("a plain path");
    let build = ["build", "--json", &app, "--run-image", &run_image, "--path", path, "--publish"];
    let first = world.builder(&build).ok().json();
    let podman = Podman::at(world.dir.path());
    {
        let daemon = Daemon::start(world.dir.path());
        both_run(&world, &daemon, &podman, &app, "0\n");
        patched_run_image(&run_image);
        let sent = world.builder(&["image", "push", "--json", &run_image]).ok().json();
        assert_eq!(sent["outputs"][0]["sent_layers"], 1, "{sent}");
        let rebased = world.other(&["rebase", &app, "--publish", "--json"]).ok().json();
        assert_eq!(rebased["previous_id"], first["image_id"]);
        assert_eq!(rebased["packages"]["added"], json!([{"name": "a-new-one", "version": "1.0"}]));
        assert_eq!(rebased["added_layers"], 1, "{rebased}");
        // The layers of the app stayed where they are: they were neither fetched nor sent, nor was what the run image has there.
        let output = &rebased["outputs"][0];
        assert_eq!((&output["sent_layers"], &output["mounted_layers"]), (&json!(0), &json!(1)), "{output}");
        let names = world.other(&["image", "ls", "--json"]).ok().json();
        assert_eq!(names[0]["names"], json!([format!("{run_image}:latest")]), "{names}");
        assert_eq!(names.as_array().expect("images").len(), 1, "{names}");
        both_run(&world, &daemon, &podman, &app, "1\n");
        let found = podman.run(&["image", "inspect", "-f", "{{.Id}}", &app]).ok();
        assert_eq!(format!("sha256:{}", found.stdout.trim()), rebased["image_id"]);
        fetched_and_looked_at(&world, &app, &rebased);
    }
    podman.leaves_nothing();
    remove_groups("docker");
    world.builder(&["image", "rm", &app, &run_image]).ok();
}

/// What a third machine learns of the image.
fn fetched_and_looked_at(world: &World, app: &str, rebased: &Value) {
    let third = |args: &[&str]| world.logged_in(hoist_with_store(&world.dir.path().join("third")).args(args));
    let pulled = third(&["image", "pull", "--json", app]).ok().json();
    assert_eq!(pulled["id"], rebased["image_id"]);
    assert!(third(&["image", "verify", app]).ok().stdout.contains("every file as it was"));
    is_the_result(&third(&["job", "run", app, "--data", r#"{"values": [20, 22]}"#]));
    let bill = third(&["sbom", "show", app]).ok().json();
    let names: Vec<&str> =
        bill["components"].as_array().expect("components").iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(names.contains(&"a-new-one") && names.contains(&"libc6"), "{names:?}");
}

/// An image whose configuration says `architecture`, pushed under `name`.
fn push_for(world: &World, store: &Path, architecture: &str, name: &str) -> String {
    let own = Store::open(store).expect("a store");
    let mut builder = own.layer_builder().expect("a layer");
    builder
        .file("/machine", Attributes::root(0o644), &mut architecture.as_bytes(), architecture.len() as u64)
        .expect("a file");
    let diff_id = builder.finish().expect("a layer").diff_id().to_string();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{"created_by": "test"}],
    });
    let bytes = serde_json::to_vec(&config).expect("a configuration");
    let id = own.put_image_bytes(bytes, &[name.parse().expect("a name")]).expect("an image").id().to_string();
    world.logged_in(hoist_with_store(store).args(["image", "push", name])).ok();
    id
}

#[test]
fn what_docker_podman_and_buildah_push_is_fetched_and_of_an_index_the_image_for_the_machine() {
    let world = World::new();
    let (amd64, arm64) = (world.registry.name("team/app:amd64"), world.registry.name("team/app:arm64"));
    let store = world.dir.path().join("own");
    let id = push_for(&world, &store, "amd64", &amd64);
    let id_arm = push_for(&world, &store, "arm64", &arm64);
    {
        let daemon = Daemon::start(world.dir.path());
        let of_docker = world.registry.name("team/docker");
        world.docker(&daemon, &["pull", "-q", &amd64]).ok();
        daemon.docker(&["tag", &amd64, &of_docker]).ok();
        world.docker(&daemon, &["push", "-q", &of_docker]).ok();
        assert_eq!(world.raw(&of_docker)["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
        assert_eq!(world.other(&["image", "pull", "--json", &of_docker]).ok().json()["id"], id.as_str());
    }
    let podman = Podman::at(world.dir.path());
    let of_podman = world.registry.name("team/podman");
    world.podman(&podman, &["pull", "-q"], &[&amd64]).ok();
    podman.run(&["tag", &amd64, &of_podman]).ok();
    world.podman(&podman, &["push", "-q"], &[&of_podman]).ok();
    assert_eq!(world.raw(&of_podman)["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(world.other(&["image", "pull", "--json", &of_podman]).ok().json()["id"], id.as_str());
    // One name for both machines, in both kinds of index.
    for (format, kind) in [
        ("oci", "application/vnd.oci.image.index.v1+json"),
        ("v2s2", "application/vnd.docker.distribution.manifest.list.v2+json"),
    ] {
        let (list, all) = (format!("list-{format}"), world.registry.name(&format!("team/all:{format}")));
        podman.run(&["manifest", "create", &list]).ok();
        for name in [&amd64, &arm64] {
            world.podman(&podman, &["manifest", "add"], &[&list, &format!("docker://{name}")]).ok();
        }
        let to = format!("docker://{all}");
        world.podman(&podman, &["manifest", "push", "-q", "--all", "--format", format], &[&list, &to]).ok();
        assert_eq!(world.raw(&all)["mediaType"], kind);
        let pull = |more: &[&str]| world.other(&[&["image", "pull", "--json", &all][..], more].concat());
        let pulled = pull(&["--platform", "linux/amd64"]).ok().json();
        let layers = |image: &Value| image["config"]["rootfs"]["diff_ids"].clone();
        let shown = |name: &str| world.other(&["image", "inspect", "--json", name]).ok().json();
        assert_eq!(shown(pulled["id"].as_str().expect("an id"))["config"]["architecture"], "amd64");
        assert_eq!(layers(&shown(&all)), layers(&shown(&of_podman)));
        let pulled = pull(&["--platform", "linux/arm64"]).ok().json();
        assert_eq!(shown(pulled["id"].as_str().expect("an id"))["config"]["architecture"], "arm64");
        assert_eq!(pulled["fetched_layers"].as_u64(), Some(u64::from(format == "oci")), "{pulled}");
        pull(&["--platform", "linux/s390x"])
            .code(2)
            .says("it is not for linux/s390x, but for linux/amd64, linux/arm64");
        if format == "oci" {
            assert_eq!(pulled["id"], id_arm.as_str());
        }
        // The whole of it goes to another repository without a blob of it.
        let copy = world.registry.name(&format!("other/all:{format}"));
        let copied = world.other(&["image", "tag", "--remote", "--json", &all, &copy]).ok().json();
        assert_eq!(copied["sent_blobs"], 0, "{copied}");
        assert_eq!(world.raw(&copy), world.raw(&all));
        world.other(&["image", "pull", "--platform", "linux/arm64", "--tag", "arm", &copy]).ok();
    }
    podman.leaves_nothing();
    remove_groups("docker");
}
