//! A kill before each single step (each system call that changes something on the disk) of what the store does: what is there stays whole, the
//! same again succeeds, and prune leaves nothing behind. The steps are found by tracing, so a new one is tested as soon as it is written.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // child processes and the environment that starts them; the numbers of steps

mod support;

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use hoist_image::{
    ArchiveFormat, Attributes, Compression, Digest, Image, Keeps, Layer, LoadLimits, PruneOptions, Store,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::config;

/// Whoever traces waits for every process of this one: one test at a time.
static TRACING: Mutex<()> = Mutex::new(());

const SCENARIOS: [&str; 8] = ["open", "put_layer", "put_image", "remove", "prune", "load", "save", "save_dir"];
const PRUNE: PruneOptions = PruneOptions { dry_run: false, blobs: true };

fn layer(store: &Store, files: &[(&str, &str)]) -> Layer {
    let mut builder = store.layer_builder().unwrap();
    for (path, body) in files {
        builder.file(path, Attributes::root(0o644), &mut body.as_bytes(), body.len() as u64).unwrap();
    }
    builder.finish().unwrap()
}

fn base(store: &Store) -> Layer {
    layer(store, &[("/bin/tool", "tool"), ("/etc/conf", "conf")])
}

/// A store with an image, a record, an archive of another image, and what a crash left. All of it below `dir`.
fn prepare(dir: &Path) {
    let other = Store::open(dir.join("other")).unwrap();
    let parts = [base(&other), layer(&other, &[("/app/main", "loaded"), ("/app/more", "more")])];
    let loaded = other.put_image(&config(&[&parts[0], &parts[1]]), &["loaded".parse().unwrap()]).unwrap();
    loaded
        .save_to_file(&dir.join("archive"), &["loaded".parse().unwrap()], ArchiveFormat::Oci, Compression::Gzip)
        .unwrap();
    fs::remove_dir_all(dir.join("other")).unwrap();

    let root = dir.join("store");
    let store = Store::open(&root).unwrap();
    let old = [base(&store), layer(&store, &[("/old", "old")])];
    store.put_image(&config(&[&old[0], &old[1]]), &["old".parse().unwrap(), "also".parse().unwrap()]).unwrap();
    old[1].blob(Compression::Gzip).unwrap();
    let kept = layer(&store, &[("/kept", "kept")]);
    store.put_record("cache", "key", &"value", &[Keeps::Layer(kept.diff_id())]).unwrap();
    let gone = layer(&store, &[("/gone", "gone")]);
    gone.blob(Compression::Gzip).unwrap();
    store.put_image(&config(&[&gone]), &[]).unwrap();
    drop(store);
    for dead in ["scratch/build-dead-1-1", "scratch/build-dead-1-1/deep"] {
        fs::create_dir(root.join(dead)).unwrap();
    }
    for dead in
        ["scratch/build-dead-1-1.lock", "scratch/build-dead-1-1/deep/file", "scratch/file-1-1-1", "leases/lease-1-1-1"]
    {
        fs::write(root.join(dead), "left").unwrap();
    }
}

/// What is done until the kill, and again after it.
fn act(scenario: &str, dir: &Path) {
    if scenario == "open" {
        Store::open(dir.join("new")).unwrap();
        return;
    }
    let store = Store::open(dir.join("store")).unwrap();
    match scenario {
        "put_layer" => {
            let mut builder = store.layer_builder().unwrap();
            builder.file("/a/one", Attributes::new(7, 8, 0o640), &mut b"1".as_slice(), 1).unwrap();
            builder.symlink("/a/link", "one", Attributes::root(0o777)).unwrap();
            builder.hard_link("/a/two", "/a/one").unwrap();
            builder.whiteout("/b").unwrap();
            builder.finish().unwrap();
        }
        "put_image" => {
            let parts = [base(&store), layer(&store, &[("/new", "new")])];
            let names = ["new".parse().unwrap(), "old".parse().unwrap()];
            let image = store.put_image(&config(&[&parts[0], &parts[1]]), &names).unwrap();
            store.put_record("cache", "new", &"value", &[Keeps::Image(image.id())]).unwrap();
        }
        "remove" => {
            for name in ["old", "also"] {
                if store.image(name).is_ok() {
                    store.remove_image(name).unwrap();
                }
            }
            store.remove_record("cache", "key").unwrap();
        }
        "prune" => _ = store.prune(PRUNE).unwrap(),
        "load" => {
            let loaded = store.load(&dir.join("archive"), LoadLimits::default()).unwrap();
            assert_eq!(store.verify(&loaded[0].image), []);
        }
        "save" => {
            let image = store.image("old").unwrap();
            let name = ["old".parse().unwrap()];
            image.save_to_file(&dir.join("out/saved"), &name, ArchiveFormat::Oci, Compression::Gzip).unwrap();
        }
        // A new folder, and another layout in its place.
        "save_dir" => {
            for name in ["old", "also"] {
                let image = store.image(name).unwrap();
                image.replace_dir(&dir.join("out/saved"), &[name.parse().unwrap()], Compression::Gzip).unwrap();
            }
        }
        other => panic!("no scenario {other}"),
    }
}

/// The child: waits until it is traced, then acts.
#[test]
fn child_that_is_killed() {
    let Ok(scenario) = std::env::var("HOIST_TEST_SCENARIO") else { return };
    let dir = PathBuf::from(std::env::var("HOIST_TEST_DIR").unwrap());
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    act(&scenario, &dir);
}

/// Whether a system call changes something on the disk.
fn is_step(number: u64, args: &[u64]) -> bool {
    let is = |calls: &[libc::c_long]| calls.iter().any(|call| u64::try_from(*call) == Ok(number));
    #[cfg(target_arch = "x86_64")]
    let old = [
        libc::SYS_rename,
        libc::SYS_mkdir,
        libc::SYS_rmdir,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_unlink,
        libc::SYS_chmod,
        libc::SYS_mknod,
        libc::SYS_creat,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let old = [];
    let new = [
        libc::SYS_renameat2,
        libc::SYS_renameat,
        libc::SYS_mkdirat,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_unlinkat,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_mknodat,
        libc::SYS_utimensat,
        libc::SYS_ftruncate,
        libc::SYS_setxattr,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_syncfs,
        libc::SYS_copy_file_range,
        libc::SYS_sendfile,
    ];
    let writes = [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64];
    let makes = u64::from((libc::O_CREAT | libc::O_TMPFILE).unsigned_abs());
    is(&old)
        || is(&new)
        || (is(&writes) && args[0] > 2)
        || (is(&[libc::SYS_openat]) && args[2] & makes & !u64::from(libc::O_DIRECTORY.unsigned_abs()) != 0)
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

/// Lets the child act and kills it before its step `at`; true where it came to its end before that.
#[allow(clippy::zombie_processes)] // `waitpid` reaps it
fn killed(scenario: &str, dir: &Path, at: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_is_killed", "--exact", "--test-threads=1", "-q"])
        .env("HOIST_TEST_SCENARIO", scenario)
        .env("HOIST_TEST_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let main = Pid::from_raw(child.id().cast_signed());
    let mut stdin = child.stdin.take().unwrap();
    // the child waits for its line by now or soon; threads that it has already are traced as well
    std::thread::sleep(std::time::Duration::from_millis(3));
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_EXITKILL;
    for task in fs::read_dir(format!("/proc/{main}/task")).unwrap() {
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
                assert_eq!(code, 0, "{scenario}, not killed");
                return true;
            }
            WaitStatus::Signaled(pid, signal, _) if pid == main => {
                assert_eq!(signal, Signal::SIGKILL, "{scenario}, step {at}");
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
            Err(error) => panic!("{scenario}: {error}"),
        }
    }
}

/// Everything that can be seen of the store is what it says it is.
fn check_whole(store: &Store, what: &str) -> Vec<String> {
    for layer in store.all_layers().unwrap() {
        assert_eq!(store.verify_layer(layer.diff_id()), None, "{what}");
    }
    for blob in fs::read_dir(store.root_dir().join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let digest = Digest::of(&fs::read(&path).unwrap());
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), digest.hex(), "{what}");
    }
    let names = store.names().unwrap();
    for (name, id) in &names {
        let image = store.image_by_id(id).unwrap();
        assert_eq!(store.verify(&image), [], "{what}: {name}");
    }
    assert!(store.record::<String>("cache", "key").is_ok(), "{what}");
    names.into_iter().map(|(name, _)| name.name().to_owned()).collect()
}

fn entries(dir: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What must hold right after the kill.
fn check_after(scenario: &str, dir: &Path, what: &str) {
    let store = Store::open(dir.join("store")).unwrap();
    let names = check_whole(&store, what);
    if scenario != "remove" {
        assert!(["old", "also"].iter().all(|name| names.iter().any(|there| there == name)), "{what}: {names:?}");
        assert_eq!(store.record::<String>("cache", "key").unwrap().as_deref(), Some("value"), "{what}");
    }
    let is_hidden = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    for out in entries(dir.join("out")) {
        // Of a folder a kill leaves a hidden one, which is gone once it is done again.
        if scenario == "save_dir" && is_hidden(&out) {
            continue;
        }
        let check = Store::open(dir.join("check")).unwrap();
        let loaded: Vec<Image> =
            check.load(&out, LoadLimits::default()).unwrap().into_iter().map(|one| one.image).collect();
        assert_eq!(check.verify(&loaded[0]), [], "{what}: {}", out.display());
    }
}

/// Takes everything away; nothing may stay.
fn check_empty(root: &Path, what: &str) {
    let store = Store::open(root).unwrap();
    store.prune(PRUNE).unwrap();
    for folder in ["scratch", "leases"] {
        assert_eq!(entries(root.join(folder)), Vec::<PathBuf>::new(), "{what}");
    }
    check_whole(&store, what);
    for (name, _) in store.names().unwrap() {
        store.remove_image(&name.to_string()).unwrap();
    }
    for record in store.records("cache").unwrap() {
        store.remove_record("cache", &record.key).unwrap();
    }
    store.prune(PRUNE).unwrap();
    for folder in ["layers/sha256", "images/sha256", "blobs/sha256", "made", "refs", "scratch", "leases"] {
        assert_eq!(entries(root.join(folder)), Vec::<PathBuf>::new(), "{what}");
    }
}

fn every_step(scenario: &str) {
    assert!(SCENARIOS.contains(&scenario));
    let _one_at_a_time = TRACING.lock().unwrap_or_else(PoisonError::into_inner);
    // in memory where that can be: hundreds of small stores are made and synced
    let place = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(place).unwrap();
    let template = dir.path().join("template");
    fs::create_dir_all(template.join("out")).unwrap();
    prepare(&template);
    let mut at = 0;
    loop {
        at += 1;
        let what = format!("{scenario}, killed before step {at}");
        let work = dir.path().join("work");
        assert!(Command::new("cp").arg("-a").args([&template, &work]).status().unwrap().success());
        let done = killed(scenario, &work, at);
        check_after(scenario, &work, &what);
        act(scenario, &work);
        check_after(scenario, &work, &format!("{what}, and done again"));
        check_empty(&work.join("store"), &what);
        if scenario == "open" {
            check_empty(&work.join("new"), &what);
        }
        let mut out = entries(work.join("out"));
        out.retain(|path| !path.ends_with("saved"));
        assert_eq!(out, Vec::<PathBuf>::new(), "{what}");
        fs::remove_dir_all(&work).unwrap();
        if done {
            break;
        }
    }
    println!("{scenario}: {} steps", at - 1);
    assert!(at > 4, "{scenario} has only {} steps: the tracing misses them", at - 1);
}

#[test]
fn a_kill_at_any_step_of_making_a_store() {
    every_step("open");
}

#[test]
fn a_kill_at_any_step_of_putting_a_layer() {
    every_step("put_layer");
}

#[test]
fn a_kill_at_any_step_of_putting_an_image() {
    every_step("put_image");
}

#[test]
fn a_kill_at_any_step_of_removing() {
    every_step("remove");
}

#[test]
fn a_kill_at_any_step_of_pruning() {
    every_step("prune");
}

#[test]
fn a_kill_at_any_step_of_loading() {
    every_step("load");
}

#[test]
fn a_kill_at_any_step_of_saving() {
    every_step("save");
}

#[test]
fn a_kill_at_any_step_of_saving_a_folder() {
    every_step("save_dir");
}
