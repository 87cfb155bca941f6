//! A base whose making is cut short, by a disk that is full or by a kill, wherever that happens: nothing half-made counts as whole, and the
//! next attempt makes the same base.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, which start processes

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use hoist_debian::Keyring;
use hoist_image::{PruneOptions, Store};
use rustix::fs::inotify;
use support::fake::{Item, Mirror, chain};
use support::{ensure, mirror, mirroring, mirroring_with};

/// Packages of some mebibytes that do not get smaller by packing.
fn large_mirror() -> Mirror {
    let mut mirror = mirror();
    let mut number = 1_u32;
    for (name, length) in [("libssl3t64", 600_000), ("gcc", 900_000)] {
        let mut noise = || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number.to_be_bytes()[0]
        };
        let content: Vec<u8> = (0..length).map(|_| noise()).collect();
        mirror.package(name, "2", "", &[Item::File("./usr/lib/large", &content), Item::File("./usr/lib/more", b"x")]);
    }
    mirror.publish("trixie", "");
    mirror
}

/// No image, no record and no work in progress that another command would trip over.
fn assert_nothing_is_left(store: &Store) {
    assert!(store.images().unwrap().is_empty() && store.records("base").unwrap().is_empty());
    assert_eq!(fs_err::read_dir(store.root_dir().join("scratch")).unwrap().count(), 0, "scratch is left behind");
    let layers = fs_err::read_dir(store.root_dir().join("layers/sha256")).unwrap().count();
    assert_eq!(layers, 0, "layers are left behind");
}

#[test]
fn a_disk_that_is_full_at_any_moment_is_said_and_nothing_is_left() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts small file systems and has to be run by root");
    let mirror = large_mirror();
    let dir = tempfile::tempdir().unwrap();
    let (mut failures, mut base) = (0, None);
    for kilobytes in (200..).step_by(250) {
        let mounted = Mounted::tmpfs(&dir.path().join("disk"), kilobytes);
        let Ok(store) = Store::open(mounted.0.join("store")) else { continue };
        let cache = store.root_dir().join("cache");
        match ensure(&store, "trixie", &mirroring(&mirror, &mirror.file_uri(), &cache)) {
            Ok(made) => {
                base = Some(made);
                break;
            }
            Err(error) => {
                let message = chain(&error);
                assert!(message.contains("No space left on device"), "{kilobytes}: {message}");
                assert!(error.hint().contains("free some space"), "{kilobytes}: {message}: {}", error.hint());
                assert_nothing_is_left(&store);
                failures += 1;
            }
        }
    }
    assert!(base.is_some() && failures > 8, "{failures}");
}

/// A file system of its own, gone with this value.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(dir: &Path, kilobytes: usize) -> Self {
        fs_err::create_dir_all(dir).unwrap();
        let size = format!("size={kilobytes}k");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir).status().unwrap();
        assert!(done.success());
        Self(dir.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_base_that_is_not_wanted_any_more_is_stopped_at_once_and_nothing_is_left() {
    let mirror = large_mirror();
    for calls in [1, 2, 20, 60] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let mut mirroring = mirroring(&mirror, &mirror.file_uri(), &dir.path().join("cache"));
        let asked = AtomicUsize::new(0);
        mirroring.fetcher = mirroring.fetcher.stop_when(move || asked.fetch_add(1, Ordering::SeqCst) >= calls);
        let error = ensure(&store, "trixie", &mirroring).unwrap_err();
        let message = chain(&error);
        assert!(message.contains("was stopped"), "{calls}: {message}");
        assert_eq!(error.hint(), "run the command again");
        assert_nothing_is_left(&store);
    }
}

/// Where the child of the next test works; it is a test of its own binary, which does nothing by itself.
const CHILD_DIR: &str = "HOIST_TEST_CHILD_DIR";

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let store = Store::open(dir.join("store")).unwrap();
    let archive = fs_err::read_to_string(dir.join("archive")).unwrap();
    let keyring = Keyring::read(&dir.join("keyring")).unwrap();
    ensure(&store, "trixie", &mirroring_with(keyring, &archive, &dir.join("cache"))).unwrap();
}

/// Makes a base in a process of its own and kills that after so many changes below the store and the cache; false where it was done before.
fn kill_after(changes: usize, mirror: &Mirror, dir: &Path) -> bool {
    fs_err::write(dir.join("archive"), mirror.file_uri()).unwrap();
    fs_err::write(dir.join("keyring"), mirror.keyring().to_bytes()).unwrap();
    let notes = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    let watched = ["store/scratch", "store/layers/sha256", "store/images/sha256", "store/records/base", "cache/debs"];
    for path in watched.iter().chain(&["store/leases", "cache/indexes"]) {
        fs_err::create_dir_all(dir.join(path)).unwrap();
        let kinds = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&notes, dir.join(path), kinds | inotify::WatchFlags::DELETE).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--test-threads=1"]).env(CHILD_DIR, dir);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut seen = inotify::Reader::new(&notes, &mut buffer);
    let mut count = 0;
    let status = loop {
        match seen.next() {
            Ok(_) => count += 1,
            Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        if count == changes {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

#[test]
fn a_kill_at_any_step_costs_the_work_in_progress_and_no_more() {
    let mirror = mirror();
    let whole = tempfile::tempdir().unwrap();
    let make = |store: &Store, dir: &Path| {
        ensure(store, "trixie", &mirroring(&mirror, &mirror.file_uri(), &dir.join("cache"))).unwrap()
    };
    let expected = make(&Store::open(whole.path().join("store")).unwrap(), whole.path());
    let (mut killed, mut after) = (0, 0);
    loop {
        after += 12;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        if !kill_after(after, &mirror, dir.path()) {
            break;
        }
        killed += 1;
        // What is there is whole.
        for image in store.images().unwrap() {
            for layer in image.layers().unwrap() {
                layer.write_tar(&mut std::io::sink()).unwrap();
            }
        }
        assert_eq!(make(&store, dir.path()), expected, "after {after} steps");
        drop(store);
        let store = Store::open(dir.path().join("store")).unwrap();
        store.prune(PruneOptions::default()).unwrap();
        assert_eq!(fs_err::read_dir(store.root_dir().join("scratch")).unwrap().count(), 0, "after {after} steps");
        assert_eq!(store.images().unwrap().len(), 2);
    }
    assert!(killed > 6, "{killed}");
}
