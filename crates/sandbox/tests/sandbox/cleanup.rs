//! A dead parent leaves nothing behind: no process, no mount, no control group.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use hoist_sandbox::{Cancel, Limits, Network};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::room::{Room, bind};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_killed_caller_leaves_nothing", As::Both, killed_caller),
    ("a_killed_monitor_leaves_no_process", As::Both, killed_monitor),
    ("control_groups_of_the_dead_are_removed", As::Root, stale_groups),
];

/// Runs until it is killed; the process inside says in a file that it is there.
pub(crate) fn hold(dir: &Path) -> ExitCode {
    let room = Room::new(dir);
    let mut spec = room.spec(&["sleep-announced", "/data/here"]);
    spec.mounts = vec![bind(&room.host_dir("data"), "/data", false)];
    spec.network = Network::Private {
        publish: vec![hoist_sandbox::Publish {
            protocol: hoist_sandbox::Protocol::Tcp,
            host_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            host_port: 0,
            container_port: 80,
        }],
    };
    spec.limits = Limits { memory_bytes: Some(1 << 28), pids: Some(50), ..Limits::default() };
    let ended = hoist_sandbox::run(&spec, &mut (Vec::new(), Vec::new()), &Cancel::new().unwrap());
    eprintln!("{ended:?}");
    ExitCode::FAILURE
}

/// A caller of its own, in the middle of a run, and all processes below it, its monitor first.
fn holder(room: &Room) -> (Child, Vec<i32>) {
    let dir = room.host_dir("held");
    let mut command = Command::new(std::env::current_exe().unwrap());
    let child = command.arg("--hold").arg(&dir).stdin(Stdio::null()).process_group(0).spawn().unwrap();
    let begun = Instant::now();
    while !dir.join("data/here").exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut below = Vec::new();
    let mut next = vec![i32::try_from(child.id()).unwrap()];
    while let Some(pid) = next.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
        }
        below.push(pid);
    }
    below.remove(0);
    assert!(below.len() >= 4, "monitor, connector, pid 1 and the process: {below:?}");
    (child, below)
}

/// What the held run has left on the machine. A zombie that nobody has reaped yet is not left behind.
fn remains(processes: &[i32]) -> Vec<String> {
    let stat = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut left: Vec<String> = processes.iter().map(stat).collect();
    left.retain(|stat| !stat.is_empty() && !stat.contains(") Z "));
    let group = format!("hoist-{}-", processes[0]);
    left.extend(crate::cgroups().iter().map(|dir| dir.display().to_string()).filter(|dir| dir.contains(&group)));
    left
}

/// Nothing is left, once it has had time to go.
fn assert_gone(processes: &[i32], clean: fn()) {
    let begun = Instant::now();
    loop {
        clean();
        let left = remains(processes);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{left:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn killed_caller(room: &Room) {
    let (mut caller, processes) = holder(room);
    let grouped =
        crate::cgroups().iter().any(|dir| dir.to_string_lossy().contains(&format!("hoist-{}-", processes[0])));
    assert_eq!(grouped, hoist_sandbox::capabilities().memory_limit.available);
    caller.kill().unwrap();
    caller.wait().unwrap();
    assert_gone(&processes, || {});
}

fn killed_monitor(room: &Room) {
    let (mut caller, processes) = holder(room);
    kill(Pid::from_raw(processes[0]), Signal::SIGKILL).unwrap();
    caller.wait().unwrap();
    // Its control groups can go as soon as the last process in them has.
    assert_gone(&processes, || {
        hoist_sandbox::clean_stale();
    });
}

fn stale_groups(_: &Room) {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let line = own.lines().find(|line| line.contains(":memory:") || line.starts_with("0::")).unwrap();
    let (names, below) = (line.split(':').nth(1).unwrap(), line.rsplit(':').next().unwrap());
    let mount = Path::new("/sys/fs/cgroup").join(names);
    let group = mount.join(below.trim_start_matches('/')).join("hoist-4194305-1");
    let kept = group.with_file_name("hoist-mine");
    std::fs::create_dir(&group).unwrap();
    std::fs::create_dir(&kept).unwrap();
    let removed = hoist_sandbox::clean_stale();
    let (gone, left) = (!group.exists(), kept.exists());
    let _ = std::fs::remove_dir(&group);
    std::fs::remove_dir(&kept).unwrap();
    assert!(removed >= 1 && gone && left, "removed {removed}, gone {gone}, others left {left}");
}
