//! Images leave the machine: skopeo, podman, docker and containerd take what is saved, run it, and hand it back as the same image.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::docker::Daemon;
use support::podman::Podman;
use support::{Said, example, hoist, hoist_says, remove_groups, run};

/// What a service gets without hoist: its input in variables.
const INPUT: [&str; 6] =
    ["-e", "BASE64_ENCODED=false", "-e", r#"DATA_VALUE={"values": [20, 22]}"#, "-e", "PARAMS_VALUE={}"];

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// Builds an example under a name of the test's own.
fn build(name: &str, source: &str) -> String {
    let said = run(hoist().args(["build", "--json", name, "--path"]).arg(example(source))).ok();
    said.json()["image_id"].as_str().expect("an image id").to_owned()
}

fn save(name: &str, format: &str, to: &Path) {
    run(hoist().args(["image", "save", name, "--format", format, "--output"]).arg(to)).ok();
}

/// A store of its own gets the image back from an archive, whole, under the same id.
fn comes_back(archive: &Path, id: &str) {
    let store = folder();
    let own = |args: &[&str]| run(support::hoist_with_store(store.path()).args(args));
    own(&["image", "load", "--input", archive.to_str().expect("a plain path")]).ok();
    own(&["image", "verify", id.trim_start_matches("sha256:")]).ok();
}

#[track_caller]
fn is_the_result(said: &Said) {
    assert_eq!(said.code, 0, "stdout:\n{}\nstderr:\n{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("\"sum\": 42"), "{}", said.stdout);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn skopeo_takes_all_three_formats() {
    let all = [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive"), ("oci-dir", "oci")];
    // Packing takes its time: the larger one goes one way only.
    for (source, formats) in [("sum", &all[..]), ("web", &all[1..2])] {
        let name = format!("test/skopeo-{source}");
        let id = build(&name, source);
        let dir = folder();
        for (format, kind) in formats {
            let saved = dir.path().join(format);
            save(&name, format, &saved);
            let from = format!("{kind}:{}", text(&saved));
            let raw = run(Command::new("skopeo").args(["inspect", "--config", "--raw", &from])).ok();
            let config: serde_json::Value = serde_json::from_str(&raw.stdout).expect("a configuration");
            let labels = config["config"]["Labels"].as_object().expect("labels");
            assert!(labels.contains_key("io.buildpacks.build.metadata"), "{format}: {labels:?}");
            let copied = dir.path().join(format!("{format}-copied"));
            let to = format!("oci-archive:{}:copied:1", text(&copied));
            run(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to])).ok();
            comes_back(&copied, &id);
        }
        hoist_says(["image", "rm", &name]).ok();
    }
}

#[test]
fn podman_runs_what_is_saved_and_gives_it_back() {
    let id = build("test/podman-sum", "sum");
    // Podman takes no long path for its running things.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let podman = Podman::at(dir.path());
    for format in ["docker-archive", "oci-archive"] {
        let saved = dir.path().join(format);
        save("test/podman-sum", format, &saved);
        podman.run(&["load", "-q", "-i", text(&saved)]).ok();
        let found = podman.run(&["image", "inspect", "-f", "{{.Id}}", "localhost/test/podman-sum"]).ok();
        assert_eq!(format!("sha256:{}", found.stdout.trim()), id, "{format}");
        let args: Vec<&str> = INPUT.into_iter().chain(["localhost/test/podman-sum"]).collect();
        is_the_result(&podman.run_image(&args));
        let back = dir.path().join(format!("{format}-back"));
        podman.run(&["save", "-q", "--format", format, "-o", text(&back), "localhost/test/podman-sum"]).ok();
        comes_back(&back, &id);
        podman.run(&["rmi", "-f", "localhost/test/podman-sum"]).ok();
    }
    hoist_says(["image", "rm", "test/podman-sum"]).ok();
    podman.leaves_nothing();
}

#[track_caller]
fn nothing_is_mounted(dir: &Path) {
    let mounts = fs_err::read_to_string("/proc/self/mounts").expect("the mounts");
    assert!(!mounts.contains(text(dir)), "{mounts}");
}

#[test]
fn docker_runs_what_is_saved_and_gives_it_back() {
    let id = build("test/docker-sum", "sum");
    // A socket's path may not be long.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let saved = dir.path().join("saved.tar");
    save("test/docker-sum", "docker-archive", &saved);
    let back = dir.path().join("back.tar");
    {
        let daemon = Daemon::start(dir.path());
        daemon.docker(&["load", "-q", "-i", text(&saved)]).ok();
        let found = daemon.docker(&["image", "inspect", "-f", "{{.Id}}", "test/docker-sum"]).ok();
        assert_eq!(found.stdout.trim(), id);
        let args: Vec<&str> =
            ["run", "--rm", "--network=none"].into_iter().chain(INPUT).chain(["test/docker-sum"]).collect();
        is_the_result(&daemon.docker(&args));
        let input = dir.path().join("input");
        fs_err::create_dir(&input).expect("a folder");
        fs_err::write(input.join("data.json"), r#"{"values": [40, 2]}"#).expect("a file");
        let volume = format!("{}:/var/input:ro", text(&input));
        is_the_result(&daemon.docker(&["run", "--rm", "--network=none", "-v", &volume, "test/docker-sum"]));
        daemon.docker(&["save", "-o", text(&back), "test/docker-sum"]).ok();
    }
    comes_back(&back, &id);
    hoist_says(["image", "rm", "test/docker-sum"]).ok();
    run(hoist().args(["image", "load", "--input"]).arg(&back)).ok();
    is_the_result(&hoist_says(["run", "test/docker-sum", "--data", r#"{"values": [41, 1]}"#]));
    hoist_says(["image", "rm", "test/docker-sum"]).ok();
    nothing_is_mounted(dir.path());
    remove_groups("docker");
}

/// A containerd of the test's own, which goes with it.
struct Containerd {
    child: std::process::Child,
    socket: PathBuf,
}

impl Containerd {
    /// Starts one below `dir`, whose path must be short.
    fn start(dir: &Path) -> Self {
        let socket = dir.join("s");
        let settings = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{0}/s\"\n",
            text(dir)
        );
        fs_err::write(dir.join("config.toml"), settings).expect("a file");
        let log = fs_err::File::create(dir.join("log")).expect("the log");
        let mut command = Command::new("containerd");
        command.arg("--config").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(log.into_parts().0);
        let found = Self { child: command.spawn().expect("containerd starts"), socket };
        let started = Instant::now();
        while found.ctr(&["version"]).code != 0 {
            let log = || fs_err::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_mins(1), "containerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        found
    }

    fn ctr(&self, args: &[&str]) -> Said {
        run(Command::new("ctr").arg("--address").arg(&self.socket).args(["--namespace", "hoist-test"]).args(args))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn containerd_runs_what_is_saved_and_gives_it_back() {
    let id = build("test/ctr-sum", "sum");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (saved, back) = (dir.path().join("saved.tar"), dir.path().join("back.tar"));
    save("test/ctr-sum", "oci-archive", &saved);
    {
        let daemon = Containerd::start(dir.path());
        let import = ["image", "import", "--snapshotter", "native", "--base-name", "test/ctr-sum", text(&saved)];
        daemon.ctr(&import).ok();
        // Its variables have one dash more than those of the others.
        let input: Vec<&str> = INPUT.iter().map(|word| if *word == "-e" { "--env" } else { word }).collect();
        let run = ["run", "--rm", "--snapshotter", "native"];
        let args: Vec<&str> = run.into_iter().chain(input).chain(["test/ctr-sum:latest", "sum"]).collect();
        is_the_result(&daemon.ctr(&args));
        daemon.ctr(&["image", "export", text(&back), "test/ctr-sum:latest"]).ok();
    }
    comes_back(&back, &id);
    hoist_says(["image", "rm", "test/ctr-sum"]).ok();
    nothing_is_mounted(dir.path());
}
