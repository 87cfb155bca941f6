//! Runs each test in a process of its own, once as root and once as an ordinary user who has no account.
//!
//! The same static binary is the caller, the sandbox's child (`main_if_child`), and the program that runs inside (`probe`), so nothing needs
//! a network or an image. Give a part of a name to run the tests that contain it. At the end nothing may be left on the machine.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods, missing_docs, clippy::undocumented_unsafe_blocks)] // a test starts processes, reads the environment and writes files

mod basics;
mod breakout;
mod cleanup;
mod limits;
mod monitors;
mod network;
mod probe;
mod room;
mod streams;
mod terminal;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use room::Room;

/// Nobody's ids: no account is needed to be an ordinary user.
pub(crate) const ORDINARY: u32 = 61_234;
/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// As whom a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Both,
    Root,
}

pub(crate) type Test = (&'static str, As, fn(&Room));

fn tests() -> Vec<Test> {
    [
        basics::TESTS,
        streams::TESTS,
        terminal::TESTS,
        limits::TESTS,
        breakout::TESTS,
        network::TESTS,
        cleanup::TESTS,
        monitors::TESTS,
    ]
    .concat()
}

fn main() -> ExitCode {
    hoist_sandbox::main_if_child();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["probe", ..] => probe::main(&args[1..]),
        ["--one", name, dir] => {
            let test = tests().into_iter().find(|test| test.0 == name).expect("a test of that name");
            test.2(&Room::new(Path::new(dir)));
            ExitCode::SUCCESS
        }
        ["--hold", dir] => cleanup::hold(Path::new(dir)),
        _ => run_all(args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str)),
    }
}

fn run_all(filter: &str) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!(
            "the sandbox's tests must start as root (they give it up where a test says so): run `sudo -E cargo test -p hoist-sandbox`"
        );
        return ExitCode::FAILURE;
    }
    let dir = PathBuf::from(format!("/tmp/hoist-sandbox-test-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    let binary = dir.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let before = traces(&binary);
    let mut queue: Vec<(&'static str, bool)> = Vec::new();
    for (name, whom, _) in tests().into_iter().filter(|test| test.0.contains(filter)) {
        queue.push((name, true));
        if whom == As::Both {
            queue.push((name, false));
        }
    }
    queue.reverse();
    let (count, queue, failed) = (queue.len(), Mutex::new(queue), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((name, root)) = queue.lock().unwrap().pop() else { break };
                    if !run_one(&binary, &dir, name, root) {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let left: Vec<_> = traces(&binary).difference(&before).cloned().collect();
    std::fs::remove_dir_all(&dir).unwrap();
    if !left.is_empty() {
        eprintln!("left behind: {left:#?}");
    }
    println!("\ntest result: {} passed; {} failed {failed:?}", count - failed.len(), failed.len());
    if failed.is_empty() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(binary: &Path, dir: &Path, name: &str, root: bool) -> bool {
    let whom = if root { "root" } else { "user" };
    let own_dir = dir.join(format!("{name}-{whom}"));
    std::fs::create_dir(&own_dir).unwrap();
    let mut command = Command::new(binary);
    // A hostile environment: nothing in it may be needed or reach the inside.
    command
        .args(["--one", name])
        .arg(&own_dir)
        .env_clear()
        .env("PATH", "/invalid")
        .env("LC_ALL", "C")
        .env("POISON", "leak");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    if !root {
        std::os::unix::fs::chown(&own_dir, Some(ORDINARY), Some(ORDINARY)).unwrap();
        command.uid(ORDINARY).gid(ORDINARY);
    }
    let begun = Instant::now();
    let output = wait(command);
    let passed = output.as_ref().is_some_and(|output| output.status.success());
    println!("test {name} as {whom} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_millis());
    if !passed {
        let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        println!("{}", text.unwrap_or_else(|| "took too long".to_owned()));
    }
    passed
}

/// The output of a command; `None` if it had to be killed.
fn wait(mut command: Command) -> Option<Output> {
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().ok()
}

/// Everything on the machine that a sandbox could leave behind.
pub(crate) fn traces(binary: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok_and(|pid| pid != std::process::id())
            && std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == binary || exe.ends_with("bin/probe"))
        {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.insert(format!("process {name} {}", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains("hoist-sandbox-test") || line.contains("/proc/self/fd/"))
            .map(str::to_owned),
    );
    for dir in cgroups() {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let pid = name.split('-').nth(1).unwrap_or_default().to_owned();
        if !Path::new("/proc").join(pid).exists() {
            found.insert(format!("control group {}", dir.display()));
        }
    }
    found
}

/// All control groups that sandboxes have made.
pub(crate) fn cgroups() -> Vec<PathBuf> {
    fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with("hoist-") {
                    found.push(entry.path());
                }
                walk(&entry.path(), depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 8, &mut found);
    found
}
