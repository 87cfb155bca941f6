//! A kill before each single step (each system call that changes something on the disk) of writing a cache folder: what the folder says it
//! has is there, it is the old cache or the new one, and the next write leaves nothing else behind.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic
#![allow(clippy::disallowed_methods)] // child processes and the environment that starts them

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hoist_image::{Attributes, Digest, Layer, Store};
use hoist_lifecycle::CacheFolder;
use hoist_spec::{BuildpackLayers, CacheMetadata, LayerRecord};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn layer(store: &Store, name: &str) -> Layer {
    let mut builder = store.layer_builder().unwrap();
    let path = format!("/layers/acme/{name}/file");
    builder.file(path, Attributes::root(0o644), &mut name.as_bytes(), name.len() as u64).unwrap();
    builder.finish().unwrap()
}

/// Writes a cache of these layers; those that are there stay.
fn write(dir: &Path, names: &[&str]) {
    let store = Store::open(dir.join("store")).unwrap();
    let mut writer = CacheFolder::new(dir.join("cache")).begin(&BTreeSet::new()).unwrap();
    let mut layers = BTreeMap::new();
    for name in names {
        let layer = layer(&store, name);
        if !writer.keep(&layer.diff_id(), Some(layer.size_bytes())) {
            writer.add(&layer).unwrap();
        }
        let record = LayerRecord { sha: layer.diff_id().to_string(), cache: true, ..LayerRecord::default() };
        layers.insert((*name).to_owned(), record);
    }
    let buildpack = BuildpackLayers { key: "acme".into(), version: "1".into(), layers, store: None };
    writer.commit(Some(&CacheMetadata { buildpacks: vec![buildpack], ..CacheMetadata::default() })).unwrap();
}

const OLD: [&str; 2] = ["kept", "old"];
const NEW: [&str; 2] = ["kept", "new"];

/// The names of the layers that the folder has; each must be what it is called.
fn check(dir: &Path, what: &str) -> Vec<String> {
    let cache = CacheFolder::new(dir.join("cache"));
    let metadata = cache.metadata().unwrap().unwrap_or_else(|| panic!("{what}: there is no cache"));
    let layers = &metadata.buildpacks[0].layers;
    for record in layers.values() {
        let bytes = fs_err::read(dir.join("cache/committed").join(format!("{}.tar", record.sha))).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), record.sha, "{what}");
    }
    layers.keys().cloned().collect()
}

/// The child: waits until it is traced, then writes.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var("HOIST_TEST_DIR") else { return };
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    write(&PathBuf::from(dir), &NEW);
}

/// Whether a system call changes something on the disk.
fn is_step(number: u64, args: &[u64]) -> bool {
    let is = |calls: &[libc::c_long]| calls.iter().any(|call| u64::try_from(*call) == Ok(number));
    #[cfg(target_arch = "x86_64")]
    let old = [libc::SYS_rename, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_link, libc::SYS_unlink, libc::SYS_creat];
    #[cfg(not(target_arch = "x86_64"))]
    let old = [];
    let new = [
        libc::SYS_renameat2,
        libc::SYS_renameat,
        libc::SYS_mkdirat,
        libc::SYS_linkat,
        libc::SYS_unlinkat,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
    ];
    let makes = u64::from(libc::O_CREAT.unsigned_abs());
    is(&old)
        || is(&new)
        || (is(&[libc::SYS_write, libc::SYS_writev]) && args[0] > 2)
        || (is(&[libc::SYS_openat]) && args[2] & makes != 0)
}

/// The number and the arguments of the system call that the process is about to make; nothing where it comes out of one.
fn entered(pid: Pid) -> Option<(u64, [u64; 6])> {
    let info = ptrace::syscall_info(pid).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that `entry` is the member of the union that the kernel filled.
    let entry = unsafe { info.u.entry };
    Some((entry.nr, entry.args))
}

/// Lets the child write and kills it before its step `at`; true where it came to its end before that.
#[allow(clippy::zombie_processes)] // `waitpid` reaps it
fn killed(dir: &Path, at: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_is_killed", "--exact", "--test-threads=1", "-q"])
        .env("HOIST_TEST_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let main = Pid::from_raw(child.id().cast_signed());
    let mut stdin = child.stdin.take().unwrap();
    // The child waits for its line by now or soon; threads that it has already are traced as well.
    std::thread::sleep(std::time::Duration::from_millis(3));
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_EXITKILL;
    for task in fs_err::read_dir(format!("/proc/{main}/task")).unwrap() {
        let task = Pid::from_raw(task.unwrap().file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(task, options).unwrap();
        ptrace::interrupt(task).unwrap();
    }
    stdin.write_all(b"go\n").unwrap();
    drop(stdin);
    let mut steps = 0;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => continue,
            other => other.unwrap(),
        };
        let (task, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == main => {
                assert_eq!(code, 0, "not killed");
                return true;
            }
            WaitStatus::Signaled(pid, signal, _) if pid == main => {
                assert_eq!(signal, Signal::SIGKILL, "step {at}");
                return false;
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::Stopped(task, signal) => (task, Some(signal)),
            WaitStatus::PtraceSyscall(task) => {
                if entered(task).is_some_and(|(number, args)| is_step(number, &args)) {
                    steps += 1;
                    if steps == at {
                        kill(main, Signal::SIGKILL).unwrap();
                        continue;
                    }
                }
                (task, None)
            }
            other => (other.pid().unwrap(), None),
        };
        match ptrace::syscall(task, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_kill_at_any_step_of_writing_leaves_the_old_cache_or_the_new_one_whole() {
    let place = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(place).unwrap();
    let template = dir.path().join("template");
    fs_err::create_dir(&template).unwrap();
    write(&template, &OLD);
    let (mut old, mut new) = (0, 0);
    for at in 1.. {
        let what = format!("killed before step {at}");
        let work = dir.path().join("work");
        assert!(Command::new("cp").arg("-a").args([&template, &work]).status().unwrap().success());
        let done = killed(&work, at);
        match check(&work, &what) {
            names if names == OLD => old += 1,
            names if names == NEW => new += 1,
            names => panic!("{what}: {names:?}"),
        }
        write(&work, &NEW);
        assert_eq!(check(&work, &what), NEW);
        let names: Vec<_> =
            fs_err::read_dir(work.join("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["committed"], "{what}");
        assert_eq!(fs_err::read_dir(work.join("cache/committed")).unwrap().count(), 3, "{what}");
        fs_err::remove_dir_all(&work).unwrap();
        if done {
            break;
        }
    }
    assert!(old > 8 && new > 1, "{old} kills before the exchange, {new} after it: the tracing misses steps");
}
