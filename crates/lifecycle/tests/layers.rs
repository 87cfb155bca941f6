//! What buildpacks see of each other and of the build before: environment, the layer matrix, SBOM documents, split layers.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "functions beside the tests")]

mod support;

use hoist_events::LayerAction;
use support::{Outcome, World};

const PASS: &str = "exit 0";

fn line<'a>(lines: &'a [String], prefix: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(prefix))
}

#[test]
fn a_build_layer_changes_the_environment_of_later_buildpacks_only() {
    let mut world = World::new();
    let first = r#"
L="$CNB_LAYERS_DIR/tool"
mkdir -p "$L/bin" "$L/lib" "$L/env" "$L/env.build" "$L/env.launch"
printf one > "$L/env/A"; printf two > "$L/env.build/B.append"; printf - > "$L/env.build/B.delim"; printf no > "$L/env.launch/C"
printf '[types]\nbuild = true\n' > "$L.toml"
mkdir -p "$CNB_LAYERS_DIR/other/bin"; printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/other.toml"
echo "self=${A:-none}"
"#;
    world.buildpack("acme/first", "0.10", "", PASS, first);
    let second = r#"
echo "A=$A B=$B C=${C:-none} SECRET=${SECRET:-none} HOME=$HOME"; echo "PATH=$PATH"; echo "LIB=$LD_LIBRARY_PATH=$LIBRARY_PATH"
"#;
    world.buildpack("acme/second", "0.10", "", PASS, second);
    world.group(&["acme/first", "acme/second"]);
    world.platform_env.insert("B".into(), b"user".to_vec());
    let output = world.build().unwrap().output();
    assert_eq!(line(&output, "self="), Some("none"));
    // The user's variable comes last and replaces what a layer said.
    assert_eq!(line(&output, "A="), Some("one B=user C=none SECRET=none HOME=/home/cnb"));
    assert_eq!(line(&output, "PATH="), Some("/layers/acme_first/tool/bin:/usr/bin:/bin"));
    assert_eq!(line(&output, "LIB="), Some("/layers/acme_first/tool/lib=/layers/acme_first/tool/lib"));
}

#[test]
fn user_variables_reach_a_buildpack_unless_it_wants_a_clear_environment() {
    let mut world = World::new();
    let show = "echo \"USER_VAR=${USER_VAR:-none} OPERATOR=$OPERATOR PATH=$PATH\"";
    world.buildpack("acme/clear", "0.10", "clear-env = true", PASS, show);
    world.buildpack("acme/open", "0.10", "", PASS, show);
    world.group(&["acme/clear", "acme/open"]);
    world.platform_env.insert("USER_VAR".into(), b"set".to_vec());
    world.platform_env.insert("PATH".into(), b"/mine".to_vec());
    world.builder_file("cnb/build-config/env/OPERATOR", "op");
    let output = world.build().unwrap().output();
    assert_eq!(
        output,
        ["USER_VAR=none OPERATOR=op PATH=/usr/bin:/bin", "USER_VAR=set OPERATOR=op PATH=/mine:/usr/bin:/bin"]
    );
}

#[test]
fn old_and_new_apis_get_arguments_and_variables() {
    let mut world = World::new();
    let show = "echo \"$# $1 $2 $3|${CNB_LAYERS_DIR:-none}|${CNB_TARGET_OS:-none}|${CNB_EXEC_ENV:-none}|$CNB_BUILDPACK_DIR|$PWD\"";
    for (id, api) in [("acme/v7", "0.7"), ("acme/v9", "0.9"), ("acme/v12", "0.12")] {
        world.buildpack(id, api, "", PASS, show);
    }
    world.group(&["acme/v7", "acme/v9", "acme/v12"]);
    let expected = |id: &str, rest: &str| {
        format!(
            "3 /layers/acme_{id} /platform /cnb/exchange/plan.toml|{rest}|/cnb/buildpacks/acme_{id}/1.0.0|/workspace"
        )
    };
    let output = world.build().unwrap().output();
    assert_eq!(output[0], expected("v7", "none|none|none"));
    assert_eq!(output[1], expected("v9", "/layers/acme_v9|none|none"));
    assert_eq!(output[2], expected("v12", "/layers/acme_v12|linux|production"));
}

/// "`CNB_STACK_ID` SHALL be directly inherited by buildpacks without modification."
#[test]
fn the_stack_id_is_inherited_by_buildpacks_whatever_their_api() {
    let mut world = World::new();
    for (id, api) in [("acme/v7", "0.7"), ("acme/v12", "0.12")] {
        world.buildpack(id, api, "[[stacks]]\nid = \"*\"", "[ \"$CNB_STACK_ID\" = acme.stack ]", "echo $CNB_STACK_ID");
    }
    world.group(&["acme/v7", "acme/v12"]);
    world.environment.push(("CNB_STACK_ID".into(), "acme.stack".into()));
    assert_eq!(world.build().unwrap().output(), ["acme.stack", "acme.stack"]);
}

/// What the second build finds of a layer with these types: content, metadata with its SBOM document.
fn second_build(types: &str) -> (bool, bool, Outcome) {
    let mut world = World::new();
    let build = format!(
        r#"
[ -e "$CNB_LAYERS_DIR/l/file" ] && echo content
[ -e "$CNB_LAYERS_DIR/l.sbom.cdx.json" ] && echo sbom
[ -e "$CNB_LAYERS_DIR/launch.sbom.cdx.json" ] && echo launch sbom
[ -e "$CNB_LAYERS_DIR/l.toml" ] && echo metadata && grep -q types "$CNB_LAYERS_DIR/l.toml" && echo types
mkdir -p "$CNB_LAYERS_DIR/l"; echo x > "$CNB_LAYERS_DIR/l/file"
printf '[types]\n{types}[metadata]\nkey = "value"\n' > "$CNB_LAYERS_DIR/l.toml"
echo '{{}}' > "$CNB_LAYERS_DIR/l.sbom.cdx.json"; echo '{{}}' > "$CNB_LAYERS_DIR/launch.sbom.cdx.json"
"#
    );
    world.buildpack("acme/m", "0.10", "sbom-formats = [\"application/vnd.cyclonedx+json\"]", PASS, &build);
    world.group(&["acme/m"]);
    assert!(world.build().unwrap().output().is_empty());
    let outcome = world.build().unwrap();
    let output = outcome.output();
    let has = |word: &str| output.iter().any(|line| line == word);
    assert!(!has("types"), "the lifecycle MUST NOT restore types");
    assert!(!has("launch sbom"), "only SBOM documents of a layer are restored");
    assert_eq!(has("sbom"), has("metadata"), "MUST NOT restore the SBOM of a layer whose metadata stays away: {types}");
    (has("content"), has("metadata"), outcome)
}

#[test]
fn the_layer_matrix_of_the_specification() {
    for (types, content, metadata) in [
        ("launch = true\nbuild = true\ncache = true\n", true, true),
        ("launch = true\ncache = true\n", true, true),
        ("build = true\ncache = true\n", true, true),
        ("cache = true\n", true, true),
        ("launch = true\nbuild = true\n", false, false),
        ("launch = true\n", false, true),
        ("build = true\n", false, false),
        ("", false, false),
    ] {
        let escaped = types.replace('\n', "\\n");
        let (has_content, has_metadata, _) = second_build(&escaped);
        assert_eq!((has_content, has_metadata), (content, metadata), "{types}");
    }
}

#[test]
fn a_launch_layer_without_content_is_taken_from_the_previous_image() {
    let mut world = World::new();
    let build = r#"
if [ -e "$CNB_LAYERS_DIR/l.toml" ]; then printf '[types]\nlaunch = true\n[metadata]\nv = 2\n' > "$CNB_LAYERS_DIR/l.toml"; exit 0; fi
mkdir -p "$CNB_LAYERS_DIR/l"; echo x > "$CNB_LAYERS_DIR/l/file"
printf '[types]\nlaunch = true\n[metadata]\nv = 1\n' > "$CNB_LAYERS_DIR/l.toml"
"#;
    world.buildpack("acme/m", "0.10", "", PASS, build);
    world.group(&["acme/m"]);
    let first = world.build().unwrap();
    let second = world.build().unwrap();
    assert_eq!(second.layer("l"), [LayerAction::Reused]);
    assert_eq!(first.exported.image.diff_ids()[1], second.exported.image.diff_ids()[1]);
    assert_eq!(second.label("io.buildpacks.lifecycle.metadata")["buildpacks"][0]["layers"]["l"]["data"]["v"], 2);
}

#[test]
fn a_launch_layer_that_never_had_content_is_an_error() {
    let mut world = World::new();
    world.buildpack("acme/m", "0.10", "", PASS, "printf '[types]\\nlaunch = true\\n' > $CNB_LAYERS_DIR/l.toml");
    world.group(&["acme/m"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("layer `l` of acme/m is for launch, but it has no content"), "{}", failure.text);
}

#[test]
fn a_layer_without_types_is_renamed_so_that_later_buildpacks_do_not_find_it() {
    let mut world = World::new();
    let first = r#"
mkdir -p "$CNB_LAYERS_DIR/l"; echo x >> "$CNB_LAYERS_DIR/l/file"
if [ -e second ]; then echo > "$CNB_LAYERS_DIR/l.toml"; else printf '[types]\ncache = true\n' > "$CNB_LAYERS_DIR/l.toml"; fi
"#;
    world.buildpack("acme/one", "0.10", "", PASS, first);
    world.buildpack("acme/two", "0.10", "", PASS, "ls /layers/acme_one");
    world.group(&["acme/one", "acme/two"]);
    assert_eq!(world.build().unwrap().output(), ["l", "l.toml"]);
    // The second time the layer is restored and changed: neither the change nor what was restored is seen.
    world.app_file("second", "");
    assert_eq!(world.build().unwrap().output(), ["l.ignore", "l.toml"]);
    let third = world.build().unwrap();
    assert!(third.layer("l").is_empty(), "it is no longer cached");
}

/// "When a platform builds an application with a different execution environment than was used in a previous build, the platform SHOULD NOT
/// restore layers from the previous build's image."
#[test]
fn the_previous_image_of_another_execution_environment_is_none() {
    let mut world = World::new();
    let build = r#"
[ -e "$CNB_LAYERS_DIR/l.toml" ] && echo known
mkdir -p "$CNB_LAYERS_DIR/l"; printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/l.toml"
"#;
    world.buildpack("acme/m", "0.12", "", PASS, build);
    world.group(&["acme/m"]);
    world.build().unwrap();
    assert_eq!(world.build().unwrap().output(), ["known"]);
    world.exec_env = "test".into();
    assert!(world.build().unwrap().output().is_empty());
    assert_eq!(world.build().unwrap().output(), ["known"]);
}

#[test]
fn store_toml_is_given_back() {
    let mut world = World::new();
    let build = "cat $CNB_LAYERS_DIR/store.toml 2>/dev/null || true; printf '[metadata]\\nn = 1\\n' > $CNB_LAYERS_DIR/store.toml";
    world.buildpack("acme/m", "0.10", "", PASS, build);
    world.group(&["acme/m"]);
    assert!(world.build().unwrap().output().is_empty());
    assert_eq!(world.build().unwrap().output(), ["[metadata]", "n = 1"]);
}

#[test]
fn sbom_documents_are_in_the_image_and_given_back_with_their_layer() {
    let mut world = World::new();
    let build = r#"
cd "$CNB_LAYERS_DIR"; ls | grep sbom || true
mkdir -p l; echo x > l/file; printf '[types]\nlaunch = true\ncache = true\n' > l.toml
echo '{"n":1}' > l.sbom.cdx.json; echo '{"n":2}' > launch.sbom.cdx.json
"#;
    world.buildpack("acme/m", "0.10", "sbom-formats = [\"application/vnd.cyclonedx+json\"]", PASS, build);
    world.group(&["acme/m"]);
    let first = world.build().unwrap();
    assert_eq!(first.file("/layers/sbom/launch/acme_m/l/sbom.cdx.json").unwrap(), "{\"n\":1}\n");
    assert_eq!(first.file("/layers/sbom/launch/acme_m/sbom.cdx.json").unwrap(), "{\"n\":2}\n");
    let sha = first.label("io.buildpacks.lifecycle.metadata")["sbom"]["sha"].as_str().unwrap().to_owned();
    assert!(first.exported.image.diff_ids().iter().any(|id| id.to_string() == sha));
    assert_eq!(world.build().unwrap().output(), ["l.sbom.cdx.json"]);
}

#[test]
fn the_legacy_bill_of_materials_must_contain_the_entries_of_all_buildpacks() {
    let mut world = World::new();
    let build = |name: &str| {
        format!(
            "printf '[[bom]]\\nname = \"{name}\"\\n[bom.metadata]\\nversion = \"1\"\\n' > $CNB_LAYERS_DIR/launch.toml"
        )
    };
    world.buildpack("acme/one", "0.8", "", PASS, &build("ruby"));
    world.buildpack("acme/two", "0.8", "", PASS, &build("gems"));
    world.group(&["acme/one", "acme/two"]);
    let outcome = world.build().unwrap();
    assert_eq!(
        outcome.file("/layers/sbom/launch/sbom.legacy.json").unwrap(),
        concat!(
            r#"[{"name":"ruby","metadata":{"version":"1"},"buildpack":{"id":"acme/one","version":"1.0.0"}},"#,
            r#"{"name":"gems","metadata":{"version":"1"},"buildpack":{"id":"acme/two","version":"1.0.0"}}]"#,
            "\n"
        )
    );
}

#[test]
fn an_undeclared_sbom_format_is_an_error() {
    let mut world = World::new();
    world.buildpack("acme/m", "0.10", "", PASS, "echo '{}' > $CNB_LAYERS_DIR/launch.sbom.cdx.json");
    world.group(&["acme/m"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("which buildpack.toml does not declare"), "{}", failure.text);
    assert!(failure.hint.unwrap().contains("sbom-formats"));
}

#[test]
fn a_wrong_launch_toml_is_an_error_with_its_place_and_the_fix() {
    let mut world = World::new();
    let build = "printf '[[processes]]\\ntype = \"web\"\\ncommand = \"run it\"\\n' > $CNB_LAYERS_DIR/launch.toml";
    world.buildpack("acme/m", "0.10", "", PASS, build);
    world.group(&["acme/m"]);
    let failure = world.build().err().unwrap();
    assert!(
        failure.text.contains("launch.toml: processes[0].command: must be a list in buildpack API 0.10"),
        "{}",
        failure.text
    );
    assert_eq!(failure.hint.unwrap(), "write command = [\"run\", \"it\"]");
    assert_eq!(failure.code, 52);
}

#[test]
fn a_buildpack_that_puts_a_link_in_place_of_its_layers_gains_nothing() {
    let mut world = World::new();
    let build = "cd /; mkdir /elsewhere; mv $CNB_LAYERS_DIR /old; ln -s /elsewhere $CNB_LAYERS_DIR; printf '[types]\\nlaunch = true\\n' > /elsewhere/l.toml";
    world.buildpack("acme/m", "0.10", "", PASS, build);
    world.group(&["acme/m"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("is not below a directory"), "{}", failure.text);
}

/// Installs distributions named in the app's `pins` (`name=content`), removing others, into a layer that is split.
const INSTALL: &str = r#"
S="$CNB_LAYERS_DIR/env/lib/python3.13/site-packages"
mkdir -p "$S" "$CNB_LAYERS_DIR/env/bin"
[ -e "$CNB_LAYERS_DIR/env/pyvenv.cfg" ] || echo home > "$CNB_LAYERS_DIR/env/pyvenv.cfg"
while IFS== read -r name content; do
  [ "$(cat "$S/$name/version" 2>/dev/null)" = "$content" ] && continue
  rm -rf "$S/$name" "$S/$name"-*.dist-info
  mkdir -p "$S/$name/__pycache__" "$S/$name-1.dist-info"
  printf '%s' "$content" > "$S/$name/version"
  head -c 1100000 /dev/zero | tr '\0' "${content:0:1}" > "$S/$name/__init__.py"
  echo code > "$S/$name/__pycache__/__init__.cpython-313.pyc"
  echo tool > "$CNB_LAYERS_DIR/env/bin/$name"
  printf '%s\n' "$name/version,," "$name/__init__.py,," "../../../bin/$name,," "$name-1.dist-info/RECORD,," > "$S/$name-1.dist-info/RECORD"
done < pins
printf '[types]\nlaunch = true\ncache = true\n[metadata.hoist]\nsplit = "distributions"\n' > "$CNB_LAYERS_DIR/env.toml"
"#;

fn groups(outcome: &Outcome) -> Vec<(String, String)> {
    let label = outcome.label("io.buildpacks.lifecycle.metadata");
    let layers = label["buildpacks"][0]["layers"]["env"]["hoist"]["layers"].as_array().unwrap().clone();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    layers.iter().map(|part| (text(&part["group"]), text(&part["sha"]))).collect()
}

#[test]
fn a_changed_distribution_remakes_its_own_oci_layer_alone() {
    let mut world = World::new();
    world.buildpack("acme/pip", "0.10", "", PASS, INSTALL);
    world.group(&["acme/pip"]);
    world.app_file("pins", "aaa=1\nbbb=2\n");
    world.fingerprint = Some("1".into());
    let first = world.build().unwrap();
    let names: Vec<String> = groups(&first).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["base", "distribution:aaa", "distribution:bbb"]);
    let paths = |outcome: &Outcome, sha: &str| -> Vec<String> {
        let layers = outcome.exported.image.layers().unwrap();
        let layer = layers.iter().find(|layer| layer.diff_id().to_string() == sha).unwrap().clone();
        layer.entries().unwrap().map(|entry| entry.unwrap().path.display().to_string()).collect()
    };
    let aaa = paths(&first, &groups(&first)[1].1);
    assert!(aaa.contains(&"/layers/acme_pip/env/bin/aaa".to_owned()), "scripts belong to their distribution: {aaa:?}");
    assert!(aaa.iter().any(|path| path.ends_with("aaa/__pycache__/__init__.cpython-313.pyc")), "{aaa:?}");
    assert!(!aaa.iter().any(|path| path.contains("bbb") || path.ends_with("pyvenv.cfg")), "{aaa:?}");

    let same = world.build().unwrap();
    assert_eq!(same.id(), first.id());
    assert_eq!((same.counts.layers_hashed, same.counts.bytes_read), (0, 0));

    world.app_file("pins", "aaa=1\nbbb=3\n");
    world.fingerprint = Some("2".into());
    let second = world.build().unwrap();
    let (before, after) = (groups(&first), groups(&second));
    assert_eq!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
    assert_ne!(before[2], after[2]);
    assert_eq!(second.counts.layers_hashed, 2, "bbb and the app");
    assert!(second.counts.bytes_read < 1_200_000, "{:?}", second.counts);

    // The same from nothing gives the same layers: how a layer came about does not matter.
    let mut fresh = World::new();
    fresh.buildpack("acme/pip", "0.10", "", PASS, INSTALL);
    fresh.group(&["acme/pip"]);
    fresh.app_file("pins", "aaa=1\nbbb=3\n");
    assert_eq!(groups(&fresh.build().unwrap()), after);
}

#[test]
fn an_added_distribution_shares_nothing_and_disturbs_nothing() {
    let mut world = World::new();
    world.buildpack("acme/pip", "0.10", "", PASS, INSTALL);
    world.group(&["acme/pip"]);
    world.app_file("pins", "aaa=1\n");
    let first = world.build().unwrap();
    world.app_file("pins", "aaa=1\nccc=1\n");
    let second = world.build().unwrap();
    assert_eq!(groups(&second)[..2], groups(&first)[..]);
    assert_eq!(groups(&second)[2].0, "distribution:ccc");
    assert_eq!(second.file("/layers/acme_pip/env/bin/ccc").unwrap(), "tool\n");
}

#[test]
fn a_link_in_an_environment_directory_is_followed_inside_the_root() {
    let mut world = World::new();
    let first = r#"
mkdir -p "$CNB_LAYERS_DIR/l/env" "$CNB_LAYERS_DIR/l/values"
printf deep > "$CNB_LAYERS_DIR/l/values/x"
ln -s ../values/x "$CNB_LAYERS_DIR/l/env/RELATIVE"
ln -s /cnb/word "$CNB_LAYERS_DIR/l/env/ABSOLUTE"
ln -s ../../../../../../../../cnb/word "$CNB_LAYERS_DIR/l/env/ABOVE"
ln -s /nowhere "$CNB_LAYERS_DIR/l/env/DANGLING"
ln -s /cnb "$CNB_LAYERS_DIR/l/env/FOLDER"
printf '[types]\nbuild = true\n' > "$CNB_LAYERS_DIR/l.toml"
"#;
    world.builder_file("cnb/word", "word");
    world.buildpack("acme/one", "0.10", "", PASS, first);
    world.buildpack("acme/two", "0.10", "", PASS, "echo $RELATIVE $ABSOLUTE $ABOVE ${DANGLING-none} ${FOLDER-none}");
    world.group(&["acme/one", "acme/two"]);
    assert_eq!(world.build().unwrap().output(), ["deep word word none none"]);
}

#[test]
fn a_loop_of_links_in_an_environment_directory_is_an_error() {
    let mut world = World::new();
    let build = r#"mkdir -p "$CNB_LAYERS_DIR/l/env"; ln -s A "$CNB_LAYERS_DIR/l/env/A"; printf '[types]\nbuild = true\n' > "$CNB_LAYERS_DIR/l.toml""#;
    world.buildpack("acme/one", "0.10", "", PASS, build);
    world.group(&["acme/one"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("/layers/acme_one/l/env/A is not free of loops"), "{}", failure.text);
}

#[test]
fn a_target_without_a_distribution_takes_it_from_os_release() {
    let mut world = World::new();
    world.buildpack("acme/m", "0.10", "", "echo > /dev/null", "echo ${CNB_TARGET_DISTRO_NAME-none} $CNB_TARGET_ARCH");
    world.group(&["acme/m"]);
    assert_eq!(world.build().unwrap().output(), ["test amd64"], "ID of the run image's /etc/os-release");
}
