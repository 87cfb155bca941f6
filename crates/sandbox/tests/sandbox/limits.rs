//! Limits hold, and what they stop is gone.

use std::time::{Duration, Instant};

use hoist_sandbox::{Cancel, ExitStatus, Limits};

use crate::room::{self, Room, run};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("the_clock_ends_a_run_with_all_its_processes", As::Both, timeout),
    ("cancelling_ends_a_run_at_once", As::Both, cancel),
    ("a_run_cancelled_before_it_starts_ends_too", As::Both, cancelled_before),
    ("a_flood_of_output_is_stopped", As::Both, flood),
    ("a_memory_bomb_is_stopped", As::Both, memory),
    ("a_memory_bomb_is_called_by_its_name", As::Root, memory_is_named),
    ("a_fork_bomb_is_stopped", As::Both, pids),
    ("processor_time_is_limited", As::Root, cpus),
    ("limits_that_do_not_hold_are_named", As::Both, notes),
    ("core_dumps_are_off_and_descriptors_bounded", As::Both, resources),
];

fn timeout(room: &Room) {
    let mut spec = room.spec(&["fork", "5"]);
    spec.limits.timeout = Some(Duration::from_millis(200));
    spec.process.args = ["probe", "probe", "sleep"].map(Into::into).to_vec();
    let begun = Instant::now();
    assert_eq!(run(&spec).status(), ExitStatus::TimedOut);
    assert!((200..5000).contains(&begun.elapsed().as_millis()));
    assert_eq!(ExitStatus::TimedOut.code(), 124);
}

fn cancel(room: &Room) {
    let cancel = Cancel::new().unwrap();
    let other = cancel.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        other.cancel();
        Instant::now()
    });
    let exit = hoist_sandbox::run(&room.spec(&["sleep"]), &mut (Vec::new(), Vec::new()), &cancel).unwrap();
    let took = stopper.join().unwrap().elapsed();
    assert_eq!(exit.status, ExitStatus::Cancelled);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(cancel.is_cancelled());
}

fn cancelled_before(room: &Room) {
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    let exit = hoist_sandbox::run(&room.spec(&["sleep"]), &mut (Vec::new(), Vec::new()), &cancel).unwrap();
    assert_eq!(exit.status, ExitStatus::Cancelled);
}

fn flood(room: &Room) {
    let mut spec = room.spec(&["flood"]);
    spec.limits.output_bytes = Some(1_000_001);
    let ran = run(&spec);
    assert_eq!((ran.status(), ran.stdout.len()), (ExitStatus::OutputLimit, 1_000_001));
}

fn memory(room: &Room) {
    let mut spec = room.spec(&["eat", "300000000"]);
    spec.limits.memory_bytes = Some(64 << 20);
    let ran = run(&spec);
    assert!(!ran.exit.success() && !ran.stdout.contains("ate"), "{:?}", ran.exit);
    assert!(ran.exit.peak_memory_bytes <= 80 << 20, "{:?}", ran.exit);
    let small = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
    assert_eq!(room::ok(&hoist_sandbox::Spec { limits: small, ..room.spec(&["eat", "1000000"]) }), "ate 1\n");
}

fn memory_is_named(room: &Room) {
    let mut spec = room.spec(&["eat", "300000000"]);
    spec.limits.memory_bytes = Some(64 << 20);
    assert_eq!(run(&spec).status(), ExitStatus::OutOfMemory);
}

fn pids(room: &Room) {
    for use_cgroups in [true, false] {
        let mut spec = room.spec(&["fork", "100"]);
        spec.limits.pids = Some(12);
        spec.use_cgroups = use_cgroups;
        assert_eq!(room::ok(&spec), "11 EAGAIN\n", "with control groups: {use_cgroups}");
    }
}

fn cpus(room: &Room) {
    let mut spec = room.spec(&["spin", "600"]);
    spec.limits.cpus = Some(0.25);
    let exit = run(&spec).exit;
    assert!(exit.success() && exit.notes.is_empty(), "{exit:?}");
    assert!(exit.cpu < Duration::from_millis(350), "{exit:?}");
}

fn notes(room: &Room) {
    let mut spec = room.spec(&["exit", "0"]);
    spec.limits = Limits { memory_bytes: Some(1 << 30), cpus: Some(1.0), pids: Some(50), ..Limits::default() };
    spec.use_cgroups = false;
    let notes = run(&spec).exit.notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    let start = "the memory, cpu and pids limits are off: control groups are switched off; ";
    assert!(notes[0].starts_with(start), "{notes:?}");
    spec.use_cgroups = true;
    let machine = hoist_sandbox::capabilities();
    let notes = run(&spec).exit.notes;
    let told: String = notes.iter().filter_map(|note| note.split(" off: ").next()).collect();
    for (name, limit) in [("memory", machine.memory_limit), ("cpu", machine.cpu_limit), ("pids", machine.pids_limit)] {
        assert_eq!(
            told.contains(name),
            !limit.available,
            "what can be limited is, and nothing else is claimed: {notes:?}"
        );
    }
}

fn resources(room: &Room) {
    let text = room.ok(&["limits"]);
    assert!(text.starts_with("core 1 1\nnofile "), "{text}");
    let files: u64 = text.split_whitespace().last().unwrap().parse().unwrap();
    assert!((1024..=65_536).contains(&files), "{text}");
}
