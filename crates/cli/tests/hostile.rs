//! Ends in the middle (kill -9, Ctrl-C) leave nothing behind, and archives that reach out write nothing.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Said, example, hoist, hoist_says, mounts_left, run, shared_store, tree};

/// A running hoist whose sandbox is at work.
struct Running {
    child: Child,
    below: BTreeSet<u32>,
}

impl Running {
    /// Starts and waits for a line of its output that holds `mark`, and then for its sandboxed process.
    fn start(command: &mut Command, mark: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hoist starts");
        let (sender, lines) = std::sync::mpsc::channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("stdout")), Box::new(child.stderr.take().expect("stderr"))];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        drop(sender);
        let mut said = String::new();
        while !said.contains(mark) {
            let line = lines.recv_timeout(Duration::from_secs(90));
            said.push_str(&line.unwrap_or_else(|error| panic!("{mark:?} was not said ({error}):\n{said}")));
            said.push('\n');
        }
        std::thread::sleep(Duration::from_millis(500));
        let below = below(child.id());
        assert!(below.len() > 1, "monitor and sandboxed process are there: {below:?}\n{said}");
        Self { child, below }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("the signal is sent");
    }

    /// Every process is gone, and their control groups.
    fn nothing_is_left(&self) {
        let started = Instant::now();
        let lives = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
        while self.below.iter().any(lives) {
            assert!(started.elapsed() < Duration::from_secs(5), "{:?} live on", self.below);
            std::thread::sleep(Duration::from_millis(20));
        }
        let groups = groups();
        let own: Vec<_> = groups.iter().filter(|group| self.below.iter().any(|pid| is_of(group, *pid))).collect();
        assert!(own.is_empty(), "{own:?}");
        assert!(mounts_left().is_empty(), "{:?}", mounts_left());
    }
}

/// Processes that this one started, and those that they started.
fn below(root: u32) -> BTreeSet<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let all = fs_err::read_dir("/proc").expect("/proc").flatten();
    let parents: Vec<(u32, u32)> = all
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(next) = todo.pop() {
        let children = parents.iter().filter(|(_, parent)| *parent == next).map(|(pid, _)| *pid);
        todo.extend(children.filter(|pid| found.insert(*pid)));
    }
    found
}

/// Control groups that hoist made.
fn groups() -> Vec<PathBuf> {
    let found = run(Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", "hoist-*"]));
    found.stdout.lines().map(PathBuf::from).collect()
}

fn is_of(group: &Path, pid: u32) -> bool {
    group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("hoist-{pid}-")))
}

/// A service whose import takes forever, so that its build stands in the sandbox.
fn slow_service() -> tempfile::TempDir {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    let program = format!("import time\ntime.sleep(600)\n\ndef run(data, params):\n    return {since}\n");
    tree(&[("src/program.py", &program)])
}

const IMPORT: &str = "trying the import";

/// Held by whoever kills and prunes: a prune finds what any of the tests left.
static PRUNING: Mutex<()> = Mutex::new(());

/// Whether the store has work in progress of this process.
fn leftovers(pid: u32) -> Vec<String> {
    let names = fs_err::read_dir(shared_store().join("scratch")).expect("scratch").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.split('-').nth(1) == Some(&format!("{pid:x}"))).collect()
}

#[test]
fn a_killed_build_leaves_what_the_next_prune_finds() {
    let _alone = PRUNING.lock().unwrap_or_else(PoisonError::into_inner);
    let app = slow_service();
    let mut build = Running::start(hoist().args(["build", "test/killed", "--path"]).arg(app.path()), IMPORT);
    let pid = build.child.id();
    build.signal(Signal::SIGKILL);
    build.child.wait().expect("its end");
    build.nothing_is_left();
    assert!(!leftovers(pid).is_empty(), "the work in progress lies there: the test looks at the right place");
    hoist_says(["system", "prune"]).ok();
    assert_eq!(leftovers(pid), Vec::<String>::new());
    hoist_says(["image", "inspect", "test/killed"]).code(2);
}

#[test]
fn a_killed_run_leaves_what_the_next_prune_finds() {
    let _alone = PRUNING.lock().unwrap_or_else(PoisonError::into_inner);
    run(hoist().args(["build", "test/killed-run", "--path"]).arg(example("sum"))).ok();
    let mut command = hoist();
    let program = "import time; print('up', flush=True); time.sleep(600)";
    let launcher = ["--entrypoint", "launcher", "test/killed-run", "--", "--", "python", "-c", program];
    let mut running = Running::start(command.args(["run", "--memory", "1G"]).args(launcher), "up");
    let pid = running.child.id();
    running.signal(Signal::SIGKILL);
    running.child.wait().expect("its end");
    running.nothing_is_left();
    hoist_says(["system", "prune"]).ok();
    assert_eq!(leftovers(pid), Vec::<String>::new());
    hoist_says(["image", "rm", "test/killed-run"]).ok();
}

#[test]
fn ctrl_c_ends_a_build_at_once() {
    let app = slow_service();
    let mut build = Running::start(hoist().args(["build", "test/interrupted", "--path"]).arg(app.path()), IMPORT);
    let pid = build.child.id();
    let started = Instant::now();
    build.signal(Signal::SIGINT);
    let code = build.child.wait().expect("its end").code();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(matches!(code, Some(1 | 130)), "{code:?}");
    build.nothing_is_left();
    assert_eq!(leftovers(pid), Vec::<String>::new());
    hoist_says(["image", "inspect", "test/interrupted"]).code(2);
}

const MAKE_ZIPS: &str = r#"
import sys, zipfile
run = "def run(data, params):\n    return {\"sum\": sum(data[\"values\"])}\n"
def make(name, prefix="", **more):
    archive = zipfile.ZipFile(sys.argv[1] + "/" + name, "w", zipfile.ZIP_DEFLATED)
    archive.writestr(prefix + "src/program.py", run)
    archive.writestr(prefix + "planqk.json", "{\"name\": \"zipped\"}")
    return archive
make("flat.zip").close()
make("folder.zip", "my-service/").close()
with make("dots.zip") as archive:
    archive.writestr("../../evil.txt", "x")
with make("absolute.zip") as archive:
    archive.writestr("/tmp/hoist-evil.txt", "x")
with make("link.zip") as archive:
    link = zipfile.ZipInfo("out")
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    archive.writestr(link, "/etc/passwd")
with make("bomb.zip") as archive:
    archive.writestr("zeros", b"\0" * (100 << 20))
"#;

#[test]
fn zips_run_and_hostile_ones_are_refused() {
    let dir = tree(&[("inner/zips/.keep", "")]);
    let zips = dir.path().join("inner/zips");
    run(Command::new("python3").args(["-c", MAKE_ZIPS]).arg(&zips)).ok();
    let job = |name: &str| -> Said {
        let mut command = hoist();
        command.args(["job", "run", "--data", r#"{"values": [40, 2]}"#]).arg(zips.join(name));
        run(command.current_dir(&zips))
    };
    for name in ["flat.zip", "folder.zip"] {
        assert_eq!(job(name).ok().json(), serde_json::json!({"sum": 42}), "{name}");
    }
    for (name, text) in [
        ("dots.zip", "evil.txt"),
        ("absolute.zip", "evil.txt"),
        ("link.zip", "/etc/passwd"),
        ("bomb.zip", "times its size"),
    ] {
        let said = job(name).code(2).says(text).says("try:");
        assert_eq!(said.stdout, "", "{name}");
    }
    let evil = run(Command::new("find").arg(dir.path()).arg(shared_store()).args(["-name", "*evil.txt"]));
    assert_eq!(evil.stdout, "");
    assert!(!Path::new("/tmp/hoist-evil.txt").exists());
    assert!(mounts_left().is_empty(), "{:?}", mounts_left());
}
