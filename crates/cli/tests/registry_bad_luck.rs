//! Bad luck with registries as a person meets it: Ctrl-C in the middle, a disk that is full, a helper that says nonsense. The command ends soon and in
//! words, the store is as it was, the next one goes on where that one was, and no secret is seen by anybody.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, clippy::unwrap_used)] // tests start processes and fail loudly

#[path = "../../image/tests/support/fake_registry.rs"]
mod fake_registry;
#[path = "support/mod.rs"]
mod machine;
#[path = "../../image/tests/support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake_registry::{FakeRegistry, PASSWORD, Reply, noise, reply, with_image};
use fs_err as fs;
use hoist_image::Store;
use machine::{Said, hoist_with_store, run};
use nix::sys::signal::{Signal, kill};
use support::{image, layer};

/// How the password stands in headers.
const PAIR: &str = "YWRhOnRyMHViNGRvci1TRUNSRVQ=";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// `hoist ARGS…` of somebody who is logged in, with a store of its own.
fn hoist(registry: &FakeRegistry, store: &Path, args: &[&str]) -> Command {
    let mut command = hoist_with_store(store);
    command.args(args).env("CNB_REGISTRY_AUTH", format!(r#"{{"{}":"Basic {PAIR}"}}"#, registry.host));
    command
}

#[track_caller]
fn no_secret(said: Said) -> Said {
    for secret in [PASSWORD, PAIR, "SECRET"] {
        assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{}\n{}", said.stdout, said.stderr);
    }
    said
}

/// Ctrl-C once `is_time` says so; what the command said, and how long it took to end.
fn interrupted(mut command: Command, is_time: impl Fn() -> bool) -> (Said, Duration) {
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hoist starts");
    let started = Instant::now();
    while !is_time() {
        assert!(started.elapsed() < Duration::from_mins(1), "it does not come that far");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let pressed = Instant::now();
    kill(pid, Signal::SIGINT).expect("a signal");
    let output = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let said =
        Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) };
    (said, pressed.elapsed())
}

/// The store is as it was: nothing in it has a name, and what is there is whole.
fn unharmed(store: &Path) {
    let listed = run(hoist_with_store(store).args(["image", "ls", "--json"])).ok().json();
    assert_eq!(listed, serde_json::json!([]));
    run(hoist_with_store(store).args(["system", "df"])).ok();
}

#[test]
fn a_pull_that_is_interrupted_ends_at_once_and_the_next_one_goes_on() {
    let (registry, name, id) = with_image();
    let (dir, name) = (folder(), name.to_string());
    let store = dir.path().join("store");
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        asked.is("GET", "/blobs/").then(|| Reply::Silence([head.as_bytes(), &blob[..300_000]].concat()))
    });
    let command = hoist(&registry, &store, &["image", "pull", &name]);
    let partial = store.join("registries/partial");
    let came = || {
        let files = fs::read_dir(&partial).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() == 300_000)
    };
    let (said, took) = interrupted(command, came);
    assert!(took < Duration::from_secs(2), "{took:?}");
    no_secret(said)
        .code(3)
        .says(&format!("pulling `{name}`: stopped"))
        .says("what has come or gone already is not sent again");
    unharmed(&store);
    registry.fail(|_, _| None);
    let pulled = no_secret(run(&mut hoist(&registry, &store, &["image", "pull", "--json", &name]))).ok().json();
    assert_eq!(pulled["id"], id.to_string());
    let ranges: Vec<String> =
        registry.asked().iter().map(|asked| asked.header("range").to_owned()).filter(|one| !one.is_empty()).collect();
    assert_eq!(ranges, ["bytes=300000-"], "what had come does not come again");
    run(hoist_with_store(&store).args(["image", "verify", &name])).ok();
}

#[test]
fn a_push_that_is_interrupted_ends_at_once_and_the_next_one_goes_on() {
    let registry = FakeRegistry::start();
    let (dir, name) = (folder(), format!("{}/big/app:1", registry.host));
    let root = dir.path().join("store");
    {
        let store = Store::open(&root).unwrap();
        // Two pieces.
        image(&store, &name, &[&layer(&store, "/large", &noise(90_000_000, 3))]);
    }
    registry.fail(|asked, _| {
        (asked.method == "PATCH" && !asked.header("content-range").starts_with("0-"))
            .then(|| Reply::Silence(Vec::new()))
    });
    let args = ["image", "push", &name, "--compression", "zstd"];
    let second = || {
        registry.asked().iter().any(|asked| asked.method == "PATCH" && !asked.header("content-range").starts_with("0-"))
    };
    let (said, took) = interrupted(hoist(&registry, &root, &args), second);
    assert!(took < Duration::from_secs(2), "{took:?}");
    no_secret(said).code(3).says("stopped").says("run the command again");
    assert!(registry.contents.lock().unwrap().manifests.is_empty());
    registry.fail(|_, _| None);
    no_secret(run(&mut hoist(&registry, &root, &args))).ok().says("1 layer sent");
    let pieces: Vec<String> = registry
        .asked()
        .iter()
        .map(|asked| asked.header("content-range").to_owned())
        .filter(|range| !range.is_empty())
        .collect();
    assert!(pieces.len() == 1 && pieces[0].starts_with(&format!("{}-", 64 << 20)), "{pieces:?}");
    run(hoist_with_store(&root).args(["image", "verify", &name])).ok();
}

/// A file system of so many megabytes, gone at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn new(megabytes: usize) -> Self {
        let dir = folder();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(dir.path()))
            .ok();
        Self(dir)
    }

    fn grow(&self, megabytes: usize) {
        run(Command::new("mount").args(["-o", &format!("remount,size={megabytes}m")]).arg(self.0.path())).ok();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_with_room_the_pull_goes_on() {
    let registry = FakeRegistry::start();
    let name = format!("{}/team/app:1", registry.host);
    let dir = folder();
    let own = dir.path().join("store");
    {
        let store = Store::open(&own).unwrap();
        image(&store, &name, &[&layer(&store, "/large", &noise(5_000_000, 11))]);
    }
    run(&mut hoist(&registry, &own, &["image", "push", &name])).ok();
    let small = Small::new(3);
    let store = small.0.path().join("store");
    let pull = ["image", "pull", "--json", &name];
    registry.fail(|_, _| None);
    no_secret(run(&mut hoist(&registry, &store, &pull))).code(3).says("No space left on device");
    small.grow(40);
    unharmed(&store);
    no_secret(run(&mut hoist(&registry, &store, &pull))).ok();
    let ranges: Vec<String> =
        registry.asked().iter().map(|asked| asked.header("range").to_owned()).filter(|one| !one.is_empty()).collect();
    assert_eq!(ranges.len(), 1, "what fitted does not come again: {ranges:?}");
    run(hoist_with_store(&store).args(["image", "verify", &name])).ok();
    // A push compresses into the store: no room for that is told as that.
    let small = Small::new(8);
    let store = small.0.path().join("store");
    {
        let store = Store::open(&store).unwrap();
        image(&store, &name, &[&layer(&store, "/large", &noise(5_000_000, 13))]);
    }
    no_secret(run(&mut hoist(&registry, &store, &["image", "push", &name])))
        .code(3)
        .says("compressing a layer")
        .says("No space left on device");
    small.grow(40);
    run(hoist_with_store(&store).args(["image", "verify", &name])).ok();
    no_secret(run(&mut hoist(&registry, &store, &["image", "push", &name]))).ok().says("1 layer sent");
}

#[test]
fn helpers_and_registries_that_tell_secrets_do_not_get_them_shown() {
    let (registry, name, _) = with_image();
    let (dir, name) = (folder(), name.to_string());
    let store = dir.path().join("store");
    let helper = dir.path().join("docker-credential-odd");
    fs::write(dir.path().join("config.json"), format!(r#"{{"credHelpers":{{"{}":"odd"}}}}"#, registry.host)).unwrap();
    let pull = |script: &str| {
        fs::write(&helper, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        let mut command = hoist_with_store(&store);
        command.env("DOCKER_CONFIG", dir.path()).env("PATH", path).args(["-v", "image", "pull", &name]);
        no_secret(run(&mut command))
    };
    let asking = "asking the credential helper `docker-credential-odd`";
    pull("echo SECRET >&2; echo SECRET; exit 1").code(3).says(&format!("{asking}: it failed"));
    pull("echo SECRET is no JSON").code(3).says("no JSON with Username and Secret");
    pull("kill -9 $$").code(3).says(&format!("{asking}: it failed"));
    assert!(registry.asked().is_empty(), "nobody is asked without credentials that were meant for it");
    // The registry tells everybody who asked, and how.
    registry.fail(|asked, _| {
        let body =
            format!(r#"{{"errors":[{{"code":"NO","message":"{} {PASSWORD}"}}]}}"#, asked.header("authorization"));
        let status = if asked.header("authorization").is_empty() { 401 } else { 418 };
        Some(reply(status, &[("WWW-Authenticate", "Basic realm=\"SECRET\"")], body))
    });
    pull(&format!(r#"echo '{{"Username":"ada","Secret":"{PASSWORD}"}}'"#)).code(3).says("NO: Basic *** ***");
    registry.fail(|_, _| None);
    pull(&format!(r#"echo '{{"Username":"ada","Secret":"{PASSWORD}"}}'"#)).ok();
}
