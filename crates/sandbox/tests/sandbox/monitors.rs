//! Runs that follow each other with the same monitor: it is one process for all, and no run finds or leaves anything of another.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hoist_sandbox::{Cancel, Exit, ExitStatus, Limits, Monitors, Spec, Upper};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::room::{Room, bind};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("one_monitor_serves_many_runs_and_keeps_nothing_of_them", As::Both, many),
    ("what_one_run_leaves_does_not_reach_the_next", As::Both, leftovers),
    ("what_runs_of_one_monitor_write_stays_where_it_should", As::Both, kept),
    ("a_monitor_whose_run_was_ended_serves_no_other", As::Both, ended),
    ("a_monitor_that_was_killed_is_replaced", As::Both, killed),
    ("runs_at_the_same_time_have_a_monitor_each", As::Both, several),
];

fn run(monitors: &Monitors, spec: &Spec) -> (Exit, String) {
    let mut output = (Vec::new(), Vec::new());
    let exit = monitors.run(spec, &mut output, &Cancel::new().unwrap()).unwrap();
    (exit, String::from_utf8(output.0).unwrap())
}

/// The processes that this one has started and that are there.
fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let mut found: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    found
}

/// What a process has open, what it has started, and in which namespaces and control groups it is.
fn holds(pid: i32) -> Vec<String> {
    let dir = Path::new("/proc").join(pid.to_string());
    let links = |name: &str| {
        let entries = std::fs::read_dir(dir.join(name)).unwrap().flatten();
        let mut links: Vec<String> = entries
            .map(|entry| format!("{} {}", entry.path().display(), std::fs::read_link(entry.path()).unwrap().display()))
            .collect();
        links.sort();
        links
    };
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    [links("fd"), links("ns"), vec![text("cgroup"), text(&format!("task/{pid}/children"))]].concat()
}

fn many(room: &Room) {
    let monitors = Monitors::default();
    let mut spec = room.spec(&["say", "out", "err"]);
    spec.limits = Limits { pids: Some(20), ..Limits::default() };
    let first = run(&monitors, &spec);
    let (one, held) = (children(), holds(children()[0]));
    assert_eq!((first.0.status, first.1.trim(), one.len()), (ExitStatus::Exited(0), "out", 1));
    assert!(!held.iter().any(|link| link.contains("pipe:")), "{held:#?}");
    for code in ["0", "3", "100"] {
        spec.process.args = ["probe", "probe", "exit", code].map(Into::into).to_vec();
        let (exit, _) = run(&monitors, &spec);
        assert_eq!(exit.status, ExitStatus::Exited(code.parse().unwrap()));
        assert_eq!((children(), holds(one[0])), (one.clone(), held.clone()));
        let group = format!("hoist-{}-", one[0]);
        assert!(!crate::cgroups().iter().any(|dir| dir.to_string_lossy().contains(&group)));
    }
    drop(monitors);
    assert_eq!(children(), [0; 0]);
}

fn leftovers(room: &Room) {
    let monitors = Monitors::default();
    let mut spec = room.spec(&["orphan"]);
    spec.limits = Limits { pids: Some(20), ..Limits::default() };
    run(&monitors, &spec);
    spec.process.args = ["probe", "probe", "write", "/tmp/left", "text"].map(Into::into).to_vec();
    assert_eq!(run(&monitors, &spec).1.trim(), "done");
    spec.process.args = ["probe", "probe", "write", "/dev/shm/left", "text"].map(Into::into).to_vec();
    assert_eq!(run(&monitors, &spec).1.trim(), "done");
    for (dir, empty) in [("/tmp", true), ("/dev/shm", true), ("/proc", false)] {
        spec.process.args = ["probe", "probe", "ls", dir].map(Into::into).to_vec();
        let (_, listed) = run(&monitors, &spec);
        let numbers: Vec<&str> = listed.split_whitespace().filter(|name| name.parse::<u32>().is_ok()).collect();
        assert!(if empty { listed.trim().is_empty() } else { numbers == ["1", "2"] }, "{dir}: {listed}");
    }
    assert_eq!(children().len(), 1);
}

fn kept(room: &Room) {
    let monitors = Monitors::default();
    let upper = Upper { upper_dir: room.host_dir("upper"), work_dir: room.host_dir("work") };
    std::fs::set_permissions(room.root_dir().join("srv"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = room.spec(&["write", "/srv/first", "text"]);
    spec.root.upper = Some(upper);
    run(&monitors, &spec);
    spec.mounts = vec![bind(&room.host_dir("data"), "/data", false)];
    spec.process.args = ["probe", "probe", "ls", "/srv"].map(Into::into).to_vec();
    assert_eq!(run(&monitors, &spec).1.trim(), "first");
    spec.process.args = ["probe", "probe", "write", "/data/second", "text"].map(Into::into).to_vec();
    run(&monitors, &spec);
    assert!(room.dir.join("upper/srv/first").is_file() && room.dir.join("data/second").is_file());
    // A root of its own does not see what the others wrote into theirs.
    spec.root.upper = None;
    spec.process.args = ["probe", "probe", "ls", "/srv"].map(Into::into).to_vec();
    assert_eq!(run(&monitors, &spec).1.trim(), "");
}

fn ended(room: &Room) {
    let monitors = Monitors::default();
    let mut spec = room.spec(&["exit", "0"]);
    run(&monitors, &spec);
    let before = children();
    let mut flood = room.spec(&["flood"]);
    flood.limits.output_bytes = Some(1000);
    assert_eq!(run(&monitors, &flood).0.status, ExitStatus::OutputLimit);
    assert_eq!(children(), [0; 0]);
    spec.process.args = ["probe", "probe", "exit", "7"].map(Into::into).to_vec();
    assert_eq!(run(&monitors, &spec).0.status, ExitStatus::Exited(7));
    let after = children();
    assert!(after.len() == 1 && after != before);
    // Nor does one whose run could not be started.
    spec.process.args = ["/not/there".into()].to_vec();
    monitors.run(&spec, &mut (Vec::new(), Vec::new()), &Cancel::new().unwrap()).unwrap_err();
    assert_eq!(children(), [0; 0]);
}

fn killed(room: &Room) {
    let monitors = Monitors::default();
    let spec = room.spec(&["exit", "5"]);
    run(&monitors, &spec);
    let before = children();
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
    // Its end of the socket is closed before it is a zombie.
    while !std::fs::read_to_string(format!("/proc/{}/stat", before[0])).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    assert_eq!(run(&monitors, &spec).0.status, ExitStatus::Exited(5));
    let after = children();
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}

fn several(room: &Room) {
    let monitors = Monitors::default();
    let data = room.host_dir("data");
    let spec = |name: &str, args: &[&str]| {
        let mut spec = room.spec(args);
        spec.mounts = vec![bind(&data.join(name), "/data", false)];
        spec
    };
    room.host_dir("data/a");
    let held = spec("a", &["sleep-announced", "/data/here"]);
    let cancel = Cancel::new().unwrap();
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| monitors.run(&held, &mut (Vec::new(), Vec::new()), &cancel).unwrap());
        while !data.join("a/here").exists() {
            std::thread::yield_now();
        }
        room.host_dir("data/b");
        assert_eq!(run(&monitors, &spec("b", &["exit", "4"])).0.status, ExitStatus::Exited(4));
        assert_eq!(children().len(), 2);
        cancel.cancel();
        assert_eq!(sleeping.join().unwrap().status, ExitStatus::Cancelled);
    });
    assert_eq!(children().len(), 1);
}
