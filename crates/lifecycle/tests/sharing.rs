//! Layers that the builds of different images take from one another.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

mod support;

use hoist_events::LayerAction;
use hoist_lifecycle::SharedLayers;
use support::{Outcome, World};

/// A buildpack that makes its layer, with an SBOM document, unless it finds it.
const BUILD: &str = r#"
L="$CNB_LAYERS_DIR/tool"
if [ -e "$L/file" ]; then echo found; else mkdir -p "$L"; echo made; echo x > "$L/file"; echo '{}' > "$L.sbom.cdx.json"; fi
[ -e "$L.sbom.cdx.json" ] && echo document
printf '[types]\nlaunch = true\ncache = true\n[metadata]\nkey = "value"\n' > "$L.toml"
"#;

const SBOM: &str = "sbom-formats = [\"application/vnd.cyclonedx+json\"]";

fn world() -> World {
    let mut world = World::new();
    for id in ["acme/shared", "acme/own"] {
        world.buildpack(id, "0.10", SBOM, "exit 0", BUILD);
    }
    world.group(&["acme/shared", "acme/own"]);
    world.shared = Some(SharedLayers {
        key: "default".into(),
        made_for: "a builder".into(),
        buildpacks: vec!["acme/shared".into()],
        take: true,
    });
    world.share_layers = true;
    world
}

/// Builds `name`; what the two buildpacks said.
fn build(world: &mut World, name: &str) -> (Outcome, Vec<String>) {
    name.clone_into(&mut world.name);
    let outcome = world.build().unwrap();
    let output = outcome.output();
    (outcome, output)
}

const BOTH_MADE: [&str; 4] = ["made", "document", "made", "document"];

#[test]
fn the_first_build_of_a_second_image_takes_the_shared_layers_alone_and_makes_the_same_image() {
    let mut world = world();
    let (first, output) = build(&mut world, "one");
    assert_eq!(output, BOTH_MADE);
    let (second, output) = build(&mut world, "two");
    assert_eq!(output, ["found", "document", "made", "document"]);
    assert_eq!(second.layer("tool"), [LayerAction::Shared, LayerAction::Reused, LayerAction::Made]);
    assert_eq!(first.exported.image.id(), second.exported.image.id());
}

#[test]
fn nothing_is_shared_from_a_build_that_ran_foreign_code() {
    let mut world = world();
    world.share_layers = false;
    build(&mut world, "one");
    let (_, output) = build(&mut world, "two");
    assert_eq!(output, BOTH_MADE);
}

#[test]
fn what_was_shared_for_another_builder_is_not_taken_and_is_replaced() {
    let mut world = world();
    build(&mut world, "one");
    world.shared.as_mut().unwrap().made_for = "another builder".into();
    let (_, output) = build(&mut world, "two");
    assert_eq!(output, BOTH_MADE);
    let (_, output) = build(&mut world, "three");
    assert_eq!(output, ["found", "document", "made", "document"]);
    assert_eq!(world.store.records(hoist_lifecycle::SHARED_RECORD_KIND).unwrap().len(), 1);
}

#[test]
fn a_build_that_is_to_start_anew_takes_nothing() {
    let mut world = world();
    build(&mut world, "one");
    world.shared.as_mut().unwrap().take = false;
    let (_, output) = build(&mut world, "two");
    assert_eq!(output, BOTH_MADE);
}

#[test]
fn an_image_with_a_cache_of_its_own_takes_nothing_from_others() {
    let mut world = world();
    world.share_layers = false;
    let (first, _) = build(&mut world, "one");
    world.share_layers = true;
    world.buildpack("acme/shared", "0.10", SBOM, "exit 0", &BUILD.replace("echo x", "echo another"));
    let (other, _) = build(&mut world, "two");
    let (again, output) = build(&mut world, "one");
    assert_eq!(output, ["found", "document", "found", "document"]);
    let sha =
        |outcome: &Outcome| outcome.exported.metadata.buildpack("acme/shared").unwrap().layers["tool"].sha.clone();
    assert_eq!(sha(&first), sha(&again));
    assert_ne!(sha(&first), sha(&other));
}
