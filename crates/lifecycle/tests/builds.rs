//! Whole builds with bash buildpacks: what an image looks like, what a rebuild does, what buildpacks see.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "functions beside the tests")]

mod support;

use hoist_events::LayerAction;
use support::World;

const PASS: &str = "exit 0";

/// A buildpack with a launch layer and a process.
fn simple(world: &mut World) {
    let build = r#"
mkdir -p "$CNB_LAYERS_DIR/tool/bin"
echo 'echo hi' > "$CNB_LAYERS_DIR/tool/bin/hi"
chmod 755 "$CNB_LAYERS_DIR/tool/bin/hi"
ln -sf hi "$CNB_LAYERS_DIR/tool/bin/ho"
printf '[types]\nlaunch = true\ncache = true\nbuild = true\n[metadata]\nversion = "1"\n' > "$CNB_LAYERS_DIR/tool.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[labels]]
key = "maker"
value = "me"
[[processes]]
type = "web"
command = ["hi", "--fixed"]
args = ["--free"]
default = true
[[processes]]
type = "worker"
command = ["ho"]
TOML
"#;
    world.buildpack("acme/tool", "0.10", "", PASS, build);
    world.group(&["acme/tool"]);
    world.app_file("main.py", "print(1)\n");
}

#[test]
fn an_image_has_its_layers_in_the_order_of_the_specification() {
    let mut world = World::new();
    simple(&mut world);
    let outcome = world.build().unwrap();
    let image = &outcome.exported.image;
    let history: Vec<String> =
        image.config().history().clone().unwrap().iter().map(|h| h.created_by().clone().unwrap_or_default()).collect();
    assert_eq!(
        history,
        [
            "",
            "Layer: 'tool', Created by buildpack: acme/tool@1.0.0",
            "Application Layer",
            "Buildpacks Application Launcher",
            "Buildpacks Launcher Config",
            "Buildpacks Process Types"
        ]
    );
    let paths = |n: usize| -> Vec<String> {
        let entries = image.layers().unwrap()[n].entries().unwrap();
        entries.map(|entry| entry.unwrap().path.display().to_string()).collect()
    };
    assert_eq!(
        paths(1),
        [
            "/layers",
            "/layers/acme_tool",
            "/layers/acme_tool/tool",
            "/layers/acme_tool/tool/bin",
            "/layers/acme_tool/tool/bin/hi",
            "/layers/acme_tool/tool/bin/ho"
        ]
    );
    assert_eq!(paths(2), ["/workspace", "/workspace/main.py"]);
    assert_eq!(paths(3), ["/cnb", "/cnb/lifecycle", "/cnb/lifecycle/launcher"]);
    assert_eq!(paths(4), ["/layers", "/layers/config", "/layers/config/metadata.toml"]);
    assert_eq!(paths(5), ["/cnb", "/cnb/process", "/cnb/process/web", "/cnb/process/worker"]);
}

#[test]
fn an_image_has_the_environment_entry_point_and_labels_of_the_specification() {
    let mut world = World::new();
    simple(&mut world);
    let outcome = world.build().unwrap();
    let config = outcome.exported.image.config().config().clone().unwrap();
    assert_eq!(
        config.env().clone().unwrap(),
        [
            "PATH=/cnb/process:/cnb/lifecycle:/usr/bin",
            "CNB_LAYERS_DIR=/layers",
            "CNB_APP_DIR=/workspace",
            "CNB_PLATFORM_API=0.15",
            "CNB_DEPRECATION_MODE=quiet"
        ]
    );
    assert_eq!(config.entrypoint().clone().unwrap(), ["/cnb/process/web"]);
    assert_eq!(config.cmd(), &None);
    assert_eq!(config.working_dir().as_deref(), Some("/workspace"));
    assert_eq!(config.user().as_deref(), Some("1002:1000"));
    assert_eq!(outcome.exported.image.config().created().as_deref(), Some("1980-01-01T00:00:01Z"));
    assert_eq!(outcome.label("maker"), "me");
    assert_eq!(outcome.label("io.buildpacks.exec-env"), "production");
    let label = outcome.label("io.buildpacks.lifecycle.metadata");
    assert_eq!(label["buildpacks"][0]["key"], "acme/tool");
    assert_eq!(label["buildpacks"][0]["layers"]["tool"]["data"]["version"], "1");
    assert_eq!(label["buildpacks"][0]["layers"]["tool"]["cache"], true);
    assert_eq!(label["buildpacks"][0]["layers"]["tool"]["sha"], outcome.exported.image.diff_ids()[1].to_string());
    assert_eq!(label["runImage"]["topLayer"], outcome.exported.image.diff_ids()[0].to_string());
    assert_eq!(label["runImage"]["image"], "run");
    assert_eq!(label["stack"]["runImage"]["image"], "run");
    assert_eq!(label["exec-env"], "production");
    let build = outcome.label("io.buildpacks.build.metadata");
    assert_eq!(build["processes"][0]["command"], serde_json::json!(["hi", "--fixed"]));
    assert_eq!(build["processes"][0]["direct"], true);
    assert_eq!(build["buildpacks"][0]["id"], "acme/tool");
    assert_eq!(build["launcher"]["version"], "1.2.3");
    assert_eq!(outcome.exported.report.image.image_id, Some(outcome.id()));
}

#[test]
fn a_rebuild_that_changes_nothing_reads_no_layer_and_gives_the_same_image() {
    let mut world = World::new();
    let build = r#"
if [ ! -e "$CNB_LAYERS_DIR/tool/file" ]; then mkdir -p "$CNB_LAYERS_DIR/tool"; echo content > "$CNB_LAYERS_DIR/tool/file"; fi
printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/tool.toml"
"#;
    world.buildpack("acme/tool", "0.10", "", PASS, build);
    world.group(&["acme/tool"]);
    world.app_file("main.py", "print(1)\n");
    world.fingerprint = Some("one".into());
    let first = world.build().unwrap();
    assert_eq!(first.layer("tool"), [LayerAction::Made]);
    let second = world.build().unwrap();
    assert_eq!(second.layer("tool"), [LayerAction::Restored, LayerAction::Reused]);
    assert_eq!((second.counts.layers_hashed, second.counts.bytes_read), (0, 0));
    assert_eq!(second.counts.processes_started, 2);
    assert_eq!(first.id(), second.id());
}

#[test]
fn a_changed_source_line_handles_the_app_layer_alone() {
    let mut world = World::new();
    simple(&mut world);
    world.fingerprint = Some("one".into());
    let first = world.build().unwrap();
    world.app_file("main.py", "print(2)\n");
    world.fingerprint = Some("two".into());
    let second = world.build().unwrap();
    // The buildpack writes its own small layer again, the same bytes.
    assert_eq!(second.counts.layers_hashed, 2);
    assert_eq!(first.exported.image.diff_ids()[1], second.exported.image.diff_ids()[1]);
    assert_ne!(first.exported.image.diff_ids()[2], second.exported.image.diff_ids()[2]);
    assert_eq!(second.file("/workspace/main.py").unwrap(), "print(2)\n");
}

#[test]
fn two_stores_give_the_same_digest() {
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let mut world = World::new();
            simple(&mut world);
            world.build().unwrap().id()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_buildpack_may_change_the_app() {
    let mut world = World::new();
    world.buildpack(
        "acme/edit",
        "0.10",
        "",
        PASS,
        "echo new > made.txt; rm main.py; rm -r old; mkdir old; echo x > old/y",
    );
    world.group(&["acme/edit"]);
    world.app_file("main.py", "print(1)\n");
    world.app_file("keep.py", "print(1)\n");
    world.app_file("old/gone", "");
    world.fingerprint = Some("one".into());
    let outcome = world.build().unwrap();
    let layer = &outcome.exported.image.layers().unwrap()[1];
    let paths: Vec<String> = layer.entries().unwrap().map(|e| e.unwrap().path.display().to_string()).collect();
    assert_eq!(
        paths,
        ["/workspace", "/workspace/keep.py", "/workspace/made.txt", "/workspace/old", "/workspace/old/y"]
    );
}

#[test]
fn an_app_into_which_the_build_writes_what_the_last_one_wrote_is_not_made_again() {
    let mut world = World::new();
    let build = |text: &str| format!("mkdir -p static; echo {text} > static/a.css; rm -f gone.py");
    world.buildpack("acme/collect", "0.10", "", PASS, &build("one"));
    world.group(&["acme/collect"]);
    world.app_file("main.py", "print(1)\n");
    world.app_file("gone.py", "");
    world.fingerprint = Some("one".into());
    let first = world.build().unwrap();
    let same = world.build().unwrap();
    assert_eq!((same.counts.layers_hashed, same.id()), (0, first.id()));
    assert_eq!(same.file("/workspace/static/a.css").unwrap(), "one\n");
    world.buildpack("acme/collect", "0.10", "", PASS, &build("two"));
    let other = world.build().unwrap();
    assert_eq!(other.counts.layers_hashed, 1);
    assert_eq!(other.file("/workspace/static/a.css").unwrap(), "two\n");
    world.app_file("main.py", "print(2)\n");
    world.fingerprint = Some("two".into());
    assert_eq!(world.build().unwrap().file("/workspace/main.py").unwrap(), "print(2)\n");
}

/// A folder that the build took away leaves nothing but a mark in the upper directory.
#[test]
fn an_app_folder_that_the_build_removed_is_not_that_of_the_build_before() {
    let mut world = World::new();
    let build = r#"
if [ -e "$CNB_LAYERS_DIR/tool/file" ]; then cd /; rm -r /workspace; fi
mkdir -p "$CNB_LAYERS_DIR/tool"; echo content > "$CNB_LAYERS_DIR/tool/file"
printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/tool.toml"
"#;
    world.buildpack("acme/tool", "0.10", "", PASS, build);
    world.group(&["acme/tool"]);
    world.app_file("main.py", "print(1)\n");
    world.fingerprint = Some("one".into());
    assert!(world.build().unwrap().file("/workspace/main.py").is_some());
    assert!(world.build().unwrap().file("/workspace/main.py").is_none());
}

/// Deeper than layers go: it is seen before the folders are gone through, and it is the buildpack's fault.
#[test]
fn folders_in_folders_without_end_are_refused() {
    for place in ["$CNB_LAYERS_DIR/l", "/workspace"] {
        let mut world = World::new();
        let build = format!(
            r#"
mkdir -p "$CNB_LAYERS_DIR/l"; printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/l.toml"
cd {place}; mkdir -p "$(printf 'd/%.0s' {{1..600}})"
"#
        );
        world.buildpack("acme/deep", "0.10", "", PASS, &build);
        world.group(&["acme/deep"]);
        world.app_file("main.py", "print(1)\n");
        let failure = world.build().map(|_| ()).unwrap_err();
        assert!(failure.text.ends_with("lie deeper than 512 folders"), "{}", failure.text);
        assert!(failure.hint.unwrap().starts_with("look for what makes folders in folders"));
    }
}

#[test]
fn slices_become_layers_of_their_own() {
    let mut world = World::new();
    world.buildpack(
        "acme/slice",
        "0.10",
        "",
        PASS,
        "printf '[[slices]]\\npaths = [\"static/*.js\"]\\n' > $CNB_LAYERS_DIR/launch.toml",
    );
    world.group(&["acme/slice"]);
    world.app_file("static/a.js", "a");
    world.app_file("static/b.css", "b");
    let outcome = world.build().unwrap();
    assert_eq!(outcome.exported.metadata.app.len(), 2);
    let paths = |n: usize| -> Vec<String> {
        let entries = outcome.exported.image.layers().unwrap()[n].entries().unwrap();
        entries.map(|entry| entry.unwrap().path.display().to_string()).collect()
    };
    assert_eq!(paths(1), ["/workspace", "/workspace/static", "/workspace/static/a.js"]);
    assert_eq!(paths(2), ["/workspace", "/workspace/static", "/workspace/static/b.css"]);
}

#[test]
fn a_default_process_that_does_not_exist_is_an_error_that_lists_those_that_do() {
    let mut world = World::new();
    simple(&mut world);
    world.default_process = Some("nope".into());
    let failure = world.build().err().unwrap();
    assert_eq!(failure.text, "there is no process `nope` to start by default");
    assert_eq!(failure.hint.unwrap(), "choose one of: web, worker");
    assert_eq!(failure.code, 62);
}

#[test]
fn a_failing_buildpack_ends_the_build_with_its_output_and_code_51() {
    let mut world = World::new();
    world.buildpack("acme/bad", "0.10", "", PASS, "echo 'no such thing' >&2; exit 7");
    world.group(&["acme/bad"]);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.text, "acme/bad@1.0.0 failed: exit code 7");
    assert_eq!(failure.code, 51);
}

/// "the lifecycle MUST use the last process type definition", and "a non-default process type definition may override a default process type
/// definition, leaving the app image with no default".
#[test]
fn the_last_definition_of_a_process_counts_and_may_take_the_default_away() {
    let process = |command: &str, default: bool| {
        format!(
            "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"{command}\"]\\ndefault = {default}\\n' > $CNB_LAYERS_DIR/launch.toml"
        )
    };
    let build = |second_is_default: bool| {
        let mut world = World::new();
        world.buildpack("acme/one", "0.10", "", PASS, &process("first", true));
        world.buildpack("acme/two", "0.10", "", PASS, &process("second", second_is_default));
        world.group(&["acme/one", "acme/two"]);
        let outcome = world.build().unwrap();
        let label = outcome.label("io.buildpacks.build.metadata");
        assert_eq!(label["processes"].as_array().unwrap().len(), 1);
        assert_eq!(label["processes"][0]["command"][0], "second");
        let config = outcome.exported.image.config().config().clone().unwrap();
        config.entrypoint().clone().unwrap()
    };
    assert_eq!(build(true), ["/cnb/process/web"]);
    assert_eq!(build(false), ["/cnb/lifecycle/launcher"]);
}
