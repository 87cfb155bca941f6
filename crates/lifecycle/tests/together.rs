//! Buildpacks of one program are asked by one process; whom it does not answer is asked alone, and the same comes of it.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

mod support;

use hoist_events::{Event, Phase};
use support::World;

const NOTHING: &str = "true";

/// A detect program that is all of these buildpacks: asked together it answers for each what `NAME` in its own folder says, and then does `after`.
fn program(after: &str) -> String {
    format!(
        r#"one() {{ . "$1/answer"; }}
if [ "${{1:-}}" = --together ]; then
    shift; asked=0
    while [ $# -gt 0 ]; do
        said=$(CNB_BUILD_PLAN_PATH=$2; one "$1") && code=0 || code=$?
        echo "{{\"asked\": $asked, \"code\": $code, \"said\": \"together: $said\", \"elapsed_ms\": 1}}"
        asked=$((asked + 1)); shift 2
        {after}
    done
    exit
fi
one "$CNB_BUILDPACK_DIR""#
    )
}

const APPLIES: &str = r#"printf '[[provides]]\nname = "%s"\n[[requires]]\nname = "%s"\n' x x > "$CNB_BUILD_PLAN_PATH""#;
const DOES_NOT: &str = "echo 'no file'; (exit 100)";

/// Two groups: a (does not apply) with b, then b with c and with a buildpack of somebody else.
fn world(after: &str) -> World {
    let mut world = World::new();
    for (id, answer) in [("own/a", DOES_NOT), ("own/b", APPLIES), ("own/c", APPLIES)] {
        world.buildpack(id, "0.10", "", &program(after), NOTHING);
        world.builder_file(&format!("cnb/buildpacks/{}/1.0.0/answer", id.replace('/', "_")), answer);
        world.own.insert(format!("{id}@1.0.0"));
    }
    world.buildpack("acme/other", "0.10", "", "test \"${1:-}\" != --together", "cat \"$CNB_BP_PLAN_PATH\"");
    world.group(&["own/a", "own/b"]);
    world.group(&["own/b", "own/c", "acme/other"]);
    world
}

fn asked(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::BuildpackFinished { buildpack, phase: Phase::Detect, .. } => Some(buildpack.clone()),
        _ => None,
    };
    let mut names: Vec<String> = events.iter().filter_map(name).collect();
    names.sort();
    names
}

#[test]
fn one_process_asks_those_of_all_groups() {
    let outcome = world("").build().unwrap();
    assert_eq!(asked(&outcome.events), ["acme/other@1.0.0", "own/a@1.0.0", "own/b@1.0.0", "own/c@1.0.0"]);
    // One for the three, one for the other, and three that built.
    assert_eq!(outcome.counts.processes_started, 2 + 3);
}

#[test]
fn what_it_heard_of_them_is_told_as_theirs() {
    let mut world = world("");
    world.order.truncate(1);
    let failure = world.build().err().unwrap();
    assert_eq!(failure.code, 20);
    assert!(failure.text.contains("own/a@1.0.0: does not apply\n      together: no file"), "{}", failure.text);
}

#[test]
fn whom_it_does_not_answer_is_asked_alone() {
    let whole = world("").build().unwrap().exported.image.id().to_string();
    // What the program does after its first answer, and how many detect processes there are then.
    let cases = [
        ("crashes, and nothing of what it said counts", "exit 3", 1 + 3),
        ("ends too early", "exit 0", 1 + 2),
        (
            "says what nobody understands",
            "echo '{\"asked\": 1}'; echo; echo '{\"asked\": 77, \"code\": 0}'; exit 0",
            1 + 2,
        ),
        (
            "answers twice: the first counts",
            "echo '{\"asked\": 0, \"code\": 0, \"said\": \"\", \"elapsed_ms\": 0}'; exit 0",
            1 + 2,
        ),
    ];
    for (case, after, processes) in cases {
        let outcome = world(after).build().unwrap();
        assert_eq!(outcome.counts.processes_started, 1 + processes + 3, "{case}");
        assert_eq!(outcome.exported.image.id().to_string(), whole, "{case}");
    }
}

#[test]
fn a_program_that_does_not_know_the_option_is_asked_alone() {
    let mut world = World::new();
    for id in ["own/a", "own/b"] {
        world.buildpack(id, "0.10", "", "test -f app.py || exit 100", NOTHING);
        world.own.insert(format!("{id}@1.0.0"));
    }
    world.app_file("app.py", "");
    world.group(&["own/a", "own/b"]);
    assert_eq!(world.build().unwrap().counts.processes_started, 1 + 2 + 2);
}

#[test]
fn who_sees_another_environment_is_asked_alone() {
    let world = world("");
    world.buildpack("own/c", "0.10", "clear-env = true", &program(""), NOTHING);
    let outcome = world.build().unwrap();
    assert_eq!(asked(&outcome.events).len(), 4);
    // One for a and b, one for c, one for the other, and three that built.
    assert_eq!(outcome.counts.processes_started, 3 + 3);
}
