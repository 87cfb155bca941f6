//! Detection: exit codes, optional buildpacks, composites, the plan, and what a person reads when nothing applies.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "functions beside the tests")]

mod support;

use hoist_events::{DetectOutcome, Event};
use support::World;

const PASS: &str = "exit 0";
const FAIL: &str = "echo 'no Gemfile here'; exit 100";
const NOTHING: &str = "true";

fn group_of(outcome: &support::Outcome) -> Vec<String> {
    let label = outcome.label("io.buildpacks.build.metadata");
    label["buildpacks"].as_array().unwrap().iter().map(|b| b["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_app_that_no_buildpack_recognises_is_told_why_each_group_failed() {
    let mut world = World::new();
    world.buildpack("acme/ruby", "0.10", "", FAIL, NOTHING);
    world.buildpack("acme/go", "0.10", "", "echo 'no go.mod'; exit 100", NOTHING);
    world.buildpack("acme/extra", "0.10", "", PASS, NOTHING);
    world.group(&["acme/ruby", "acme/extra?"]);
    world.group(&["acme/go"]);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.code, 20);
    assert_eq!(
        failure.text,
        "no group of buildpacks applies to the app
  group 1: acme/ruby@1.0.0 does not apply, and the group needs it
    acme/ruby@1.0.0: does not apply
      no Gemfile here
    acme/extra@1.0.0 (optional): applies
  group 2: acme/go@1.0.0 does not apply, and the group needs it
    acme/go@1.0.0: does not apply
      no go.mod"
    );
    assert!(failure.hint.unwrap().contains("requirements.txt"));
}

#[test]
fn an_unexpected_exit_code_is_an_error_with_code_21() {
    let mut world = World::new();
    world.buildpack("acme/bad", "0.10", "", "echo 'out of cheese' >&2; exit 7", NOTHING);
    world.group(&["acme/bad"]);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.code, 21);
    assert!(failure.text.contains("acme/bad@1.0.0: failed with code 7\n      out of cheese"), "{}", failure.text);
    let detected = failure.events.iter().any(|event| {
        matches!(event, Event::Detected { outcome: DetectOutcome::Error { code: 7 }, optional: false, .. })
    });
    assert!(detected);
}

#[test]
fn a_group_goes_on_without_an_optional_buildpack_that_fails() {
    let mut world = World::new();
    world.buildpack("acme/a", "0.10", "", FAIL, NOTHING);
    world.buildpack("acme/b", "0.10", "", "exit 9", NOTHING);
    world.buildpack("acme/c", "0.10", "", PASS, NOTHING);
    world.group(&["acme/a?", "acme/b?", "acme/c"]);
    assert_eq!(group_of(&world.build().unwrap()), ["acme/c"]);
}

#[test]
fn a_group_of_optional_buildpacks_that_all_fail_does_not_apply() {
    let mut world = World::new();
    world.buildpack("acme/a", "0.10", "", FAIL, NOTHING);
    world.group(&["acme/a?"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("group 1: none of its buildpacks applies"));
}

#[test]
fn composites_stand_for_each_of_their_groups_and_are_asked_once() {
    let mut world = World::new();
    world.buildpack("acme/a", "0.10", "", FAIL, NOTHING);
    world.buildpack("acme/b", "0.10", "", PASS, NOTHING);
    world.buildpack("acme/c", "0.10", "", "exit 0", NOTHING);
    let entry = |id: &str| format!("[[order]]\n[[order.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n");
    world.composite("acme/inner", &(entry("acme/a") + &entry("acme/b")));
    world.composite("acme/outer", &entry("acme/inner"));
    world.group(&["acme/outer", "acme/c"]);
    let outcome = world.build().unwrap();
    assert_eq!(group_of(&outcome), ["acme/b", "acme/c"]);
    // a, b and c were asked once each, b and c built.
    assert_eq!(outcome.counts.processes_started, 5);
}

#[test]
fn the_plan_decides_who_takes_part_and_what_each_is_asked_for() {
    let mut world = World::new();
    let provides = |name: &str| format!("printf '[[provides]]\\nname = \"{name}\"\\n' > \"$CNB_BUILD_PLAN_PATH\"");
    world.buildpack("acme/python", "0.10", "", &provides("python"), "cat \"$CNB_BP_PLAN_PATH\"");
    world.buildpack("acme/unused", "0.10", "", &provides("ruby"), NOTHING);
    let requires =
        r#"printf '[[requires]]\nname = "python"\n[requires.metadata]\nversion = "3.13"\n' > "$CNB_BUILD_PLAN_PATH""#;
    world.buildpack("acme/app", "0.10", "", requires, "echo plan=$(cat $CNB_BP_PLAN_PATH)");
    world.group(&["acme/python", "acme/unused?", "acme/app"]);
    let outcome = world.build().unwrap();
    assert_eq!(group_of(&outcome), ["acme/python", "acme/app"]);
    let output = outcome.output().join("\n");
    assert!(output.contains("version = \"3.13\""), "{output}");
    assert!(output.contains("plan=entries = []"), "{output}");
}

#[test]
fn an_unmet_entry_goes_to_the_next_provider_and_a_met_one_does_not() {
    let mut world = World::new();
    let both = r#"printf '[[provides]]\nname = "a"\n[[provides]]\nname = "b"\n' > "$CNB_BUILD_PLAN_PATH""#;
    let unmet = r#"printf '[[unmet]]\nname = "b"\n' > "$CNB_LAYERS_DIR/build.toml""#;
    world.buildpack("acme/one", "0.10", "", both, unmet);
    world.buildpack("acme/two", "0.10", "", both, "grep name $CNB_BP_PLAN_PATH");
    let requires = r#"printf '[[requires]]\nname = "a"\n[[requires]]\nname = "b"\n' > "$CNB_BUILD_PLAN_PATH""#;
    world.buildpack("acme/app", "0.10", "", requires, NOTHING);
    world.group(&["acme/one", "acme/two", "acme/app"]);
    assert_eq!(world.build().unwrap().output(), ["name = \"b\""]);
}

#[test]
fn a_requirement_that_nobody_provides_is_named() {
    let mut world = World::new();
    let requires = r#"printf '[[requires]]\nname = "java"\n' > "$CNB_BUILD_PLAN_PATH""#;
    world.buildpack("acme/app", "0.10", "", requires, NOTHING);
    world.group(&["acme/app"]);
    let failure = world.build().err().unwrap();
    let said = "group 1: acme/app@1.0.0 requires `java`, which no buildpack before it provides";
    assert!(failure.text.contains(said), "{}", failure.text);
}

#[test]
fn a_plan_that_is_no_toml_is_an_error_with_its_line() {
    let mut world = World::new();
    world.buildpack("acme/app", "0.10", "", "echo '[[requires' > \"$CNB_BUILD_PLAN_PATH\"", NOTHING);
    world.buildpack("acme/link", "0.10", "", "ln -sf /etc/passwd \"$CNB_BUILD_PLAN_PATH\"", NOTHING);
    world.group(&["acme/app", "acme/link"]);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.code, 21);
    assert!(failure.text.contains("build plan, line 1, column"), "{}", failure.text);
    assert!(failure.text.contains("/cnb/exchange/plan.toml is not a regular file"), "{}", failure.text);
}

#[test]
fn a_buildpack_for_another_target_or_execution_environment_does_not_take_part() {
    let mut world = World::new();
    let other = "[[targets]]\nos = \"linux\"\narch = \"riscv64\"";
    world.buildpack("acme/other", "0.10", other, PASS, NOTHING);
    world.buildpack("acme/test", "0.12", "exec-env = [\"test\"]", PASS, NOTHING);
    world.buildpack("acme/mine", "0.10", "[[targets]]\nos = \"linux\"\narch = \"amd64\"", PASS, NOTHING);
    world.group(&["acme/other?", "acme/test", "acme/mine"]);
    assert_eq!(group_of(&world.build().unwrap()), ["acme/mine"]);
    world.exec_env = "test".into();
    assert_eq!(group_of(&world.build().unwrap()), ["acme/test", "acme/mine"]);
}

#[test]
fn an_order_with_an_unknown_buildpack_is_an_error() {
    let mut world = World::new();
    world.group(&["acme/none"]);
    let failure = world.build().err().unwrap();
    assert!(failure.text.contains("acme/none@1.0.0 is in the order but not in the builder"), "{}", failure.text);
    assert_eq!(failure.code, 22);
}

#[test]
fn the_lifecycle_must_return_an_error_for_a_buildpack_api_that_it_does_not_support() {
    let mut world = World::new();
    world.buildpack("acme/old", "0.2", "", PASS, NOTHING);
    world.buildpack("acme/new", "0.10", "", PASS, NOTHING);
    world.group(&["acme/new"]);
    assert_eq!(group_of(&world.build().unwrap()), ["acme/new"], "one that nobody asks for does no harm");
    world.group(&["acme/old"]);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.code, 12);
    assert!(failure.text.contains("buildpack API 0.2 is not supported"), "{}", failure.text);
    assert_eq!(failure.hint.unwrap(), "use one from 0.7 to 0.12");
}

#[test]
fn an_execution_environment_must_not_contain_a_slash() {
    let mut world = World::new();
    world.buildpack("acme/m", "0.12", "", "exit 0", "exit 0");
    world.group(&["acme/m"]);
    world.exec_env = "test/unit".into();
    let failure = world.build().err().unwrap();
    assert_eq!(failure.text, "`test/unit` is no execution environment: its name must not hold a `/`");
    assert_eq!((failure.hint.as_deref(), failure.code), (Some("use production, test or development"), 22));
}
