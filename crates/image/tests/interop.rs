//! What is saved is accepted by skopeo, podman and dockerd, what they write is loaded, and the identities stay. The tools are needed.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests may panic
#![allow(clippy::disallowed_methods)] // the tools are started here

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hoist_image::oci::{ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder};
use hoist_image::{ArchiveFormat, Attributes, Compression, Image, LoadLimits, Ownership, Reference, Store};

struct World {
    dir: tempfile::TempDir,
    store: Store,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    World { dir, store }
}

fn config(diff_ids: Vec<String>) -> ImageConfiguration {
    let rootfs = RootFsBuilder::default().typ("layers".to_owned()).diff_ids(diff_ids).build().unwrap();
    ImageConfigurationBuilder::default().architecture("amd64").os("linux").rootfs(rootfs).build().unwrap()
}

/// Three layers with links, modes, a whiteout, a long name and a file of some megabytes.
fn image(store: &Store, name: &str) -> Image {
    let mut base = store.layer_builder().unwrap();
    base.directory("/etc", Attributes::root(0o755)).unwrap();
    base.file("/etc/old", Attributes::root(0o644), &mut b"old".as_slice(), 3).unwrap();
    base.symlink("/etc/link", "old", Attributes::root(0o777)).unwrap();
    base.directory("/tmp", Attributes::root(0o1777)).unwrap();
    let base = base.finish().unwrap();
    let mut middle = store.layer_builder().unwrap();
    let noise: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    middle.parent("/app", Attributes::new(1001, 1000, 0o750)).unwrap();
    let owner = Attributes::new(1001, 1000, 0o640);
    middle.file("/app/data", owner, &mut noise.as_slice(), noise.len() as u64).unwrap();
    middle.hard_link("/app/more", "/app/data").unwrap();
    middle.file(format!("/app/{}/ü", "d".repeat(120)), owner, &mut b"x".as_slice(), 1).unwrap();
    let middle = middle.finish().unwrap();
    let mut top = store.layer_builder().unwrap();
    top.parent("/etc", Attributes::root(0o755)).unwrap();
    top.whiteout("/etc/old").unwrap();
    let top = top.finish().unwrap();
    let ids = [&base, &middle, &top].map(|layer| layer.diff_id().to_string());
    store.put_image(&config(ids.to_vec()), &[name.parse().unwrap()]).unwrap()
}

fn names(name: &str) -> Vec<Reference> {
    vec![name.parse().unwrap()]
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn skopeo(args: &[&str]) -> String {
    run(Command::new("skopeo").arg("--insecure-policy").args(args))
}

/// Loads into a store of its own and compares the identity.
fn comes_back(world: &World, path: &Path, image: &Image) {
    let other = Store::open(world.dir.path().join(format!("other-{}", path.file_name().unwrap().display()))).unwrap();
    let loaded = other.load(path, LoadLimits::default()).unwrap();
    assert_eq!(loaded.len(), 1, "{}", path.display());
    assert_eq!(loaded[0].image.diff_ids(), image.diff_ids());
    assert_eq!(other.verify(&loaded[0].image), []);
}

#[test]
fn skopeo_reads_what_is_saved_and_what_skopeo_writes_is_loaded() {
    let world = world();
    let image = image(&world.store, "bell:1");
    let path = |name: &str| world.dir.path().join(name);
    let (dir, oci, docker) = (path("layout"), path("bell.oci"), path("bell.tar"));
    image.save_to_dir(&dir, &names("bell:1"), Compression::Zstd).unwrap();
    image.save_to_file(&oci, &names("bell:1"), ArchiveFormat::Oci, Compression::Gzip).unwrap();
    image.save_to_file(&docker, &names("bell:1"), ArchiveFormat::Docker, Compression::None).unwrap();
    for (from, to) in [("oci", "layout:bell:1"), ("oci-archive", "bell.oci"), ("docker-archive", "bell.tar")] {
        let source = format!("{from}:{}", path(to).display());
        let config = skopeo(&["inspect", "--config", "--raw", &source]);
        assert_eq!(config.as_bytes(), image.config_bytes(), "{source}");
        for (kind, name) in [("oci-archive", "oci"), ("docker-archive", "tar"), ("oci", "dir")] {
            if (from, kind) == ("oci", "docker-archive") {
                continue; // the layout has zstd layers, which this tool does not convert for Docker
            }
            let made = path(&format!("{from}-{name}"));
            skopeo(&["copy", &source, &format!("{kind}:{}:copied:2", made.display())]);
            comes_back(&world, &made, &image);
        }
    }
    comes_back(&world, &dir, &image);
    comes_back(&world, &oci, &image);
    comes_back(&world, &docker, &image);
    let zipped = path("bell.tar.gz");
    run(Command::new("sh").arg("-c").arg(format!("gzip -1 <{} >{}", docker.display(), zipped.display())));
    comes_back(&world, &zipped, &image);
}

/// Removes the empty control groups that docker (`docker`) or podman (`libpod_parent`) leaves; its monitors go a moment after the container.
fn remove_groups(name: &str) {
    for _ in 0..50 {
        let mut find = Command::new("find");
        let left = run(find.args(["/sys/fs/cgroup", "-mindepth", "1", "-maxdepth", "3", "-type", "d", "-name", name]));
        if left.is_empty() {
            return;
        }
        for group in left.lines() {
            let _ =
                Command::new("find").arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).output();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("control groups called {name} are left, and something lives in them");
}

/// `podman` with folders of its own.
fn podman_in(world: &World) -> Command {
    let root = world.dir.path().join("podman");
    let mut command = Command::new("podman");
    command.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
    command.arg("--tmpdir").arg(root.join("tmp")).args(["--storage-driver=vfs", "--events-backend=file"]);
    command
}

/// The service of podman, ended by its process id.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn podmans_service_gets_the_layers_that_it_lacks_and_no_others() {
    let world = world();
    let first = image(&world.store, "bell:1");
    let mut more = world.store.layer_builder().unwrap();
    more.file("/app/change", Attributes::root(0o644), &mut b"new".as_slice(), 3).unwrap();
    let more = more.finish().unwrap();
    // The old layers in another order: podman knows each by itself.
    let mut ids: Vec<String> = first.diff_ids().iter().rev().map(ToString::to_string).collect();
    ids.insert(1, more.diff_id().to_string());
    let second = world.store.put_image(&config(ids), &names("bell:2")).unwrap();

    let socket = world.dir.path().join("s");
    let mut command = podman_in(&world);
    command.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
    let service = Service(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let daemon = hoist_image::Daemon::new(hoist_image::DockerAddress::Unix(socket));
    let started = Instant::now();
    while daemon.ping().is_err() {
        assert!(started.elapsed() < Duration::from_secs(40), "podman's service does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pushed = daemon.push(&first, &names("bell:1"), &mut |_| {}).unwrap();
    assert_eq!((pushed.layers_sent, pushed.layers_there), (3, 0));
    assert!(pushed.sent_bytes > 3_000_000);
    let pushed = daemon.push(&second, &names("bell:2"), &mut |_| {}).unwrap();
    assert_eq!((pushed.layers_sent, pushed.layers_there), (1, 3));
    assert!(pushed.sent_bytes < 100_000, "{}", pushed.sent_bytes);
    assert_eq!(pushed.id, second.id().to_string());
    let again = daemon.push(&second, &names("bell:2"), &mut |_| {}).unwrap();
    assert_eq!(again.sent_bytes, 0);

    let other = Store::open(world.dir.path().join("other")).unwrap();
    let pulled = daemon.pull(&other, "bell:2", &names("bell:2"), LoadLimits::default()).unwrap();
    assert_eq!(pulled.image.id(), second.id());
    assert_eq!(other.verify(&pulled.image), []);
    drop(service);
    remove_groups("libpod_parent");
}

#[test]
fn podman_loads_both_kinds_and_its_own_archives_are_loaded() {
    let world = world();
    let image = image(&world.store, "bell:1");
    let podman = |args: &[&str]| run(podman_in(&world).args(args));
    for (format, compression) in [
        (ArchiveFormat::Docker, Compression::None),
        (ArchiveFormat::Oci, Compression::Gzip),
        (ArchiveFormat::Oci, Compression::Zstd),
    ] {
        let archive = world.dir.path().join(format!("{format:?}-{compression:?}"));
        image.save_to_file(&archive, &names("bell:1"), format, compression).unwrap();
        podman(&["load", "-q", "-i", archive.to_str().unwrap()]);
        assert_eq!(
            podman(&["image", "inspect", "-f", "{{.Id}}", "localhost/bell:1"]),
            image.id().hex(),
            "{format:?} {compression:?}"
        );
        for kind in ["oci-archive", "docker-archive"] {
            if (compression, kind) == (Compression::Zstd, "docker-archive") {
                continue; // a conversion that podman does not have
            }
            let saved = world.dir.path().join(format!("podman-{format:?}-{compression:?}-{kind}"));
            podman(&["save", "-q", "--format", kind, "-o", saved.to_str().unwrap(), "localhost/bell:1"]);
            comes_back(&world, &saved, &image);
        }
        podman(&["rmi", "-f", "localhost/bell:1"]);
    }
    remove_groups("libpod_parent");
}

/// A daemon of its own, ended by its process id.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("docker.sock");
        let log = fs::File::create(dir.join("dockerd.log")).unwrap();
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("docker.pid"))
            .arg("-H")
            .arg(format!("unix://{}", socket.display()))
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { child, socket };
        let started = Instant::now();
        while !daemon.docker().arg("version").output().unwrap().status.success() {
            let log = || fs::read_to_string(dir.join("dockerd.log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(40), "dockerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket.display()));
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn dockerd_loads_a_docker_archive_from_a_pipe_and_what_it_saves_is_loaded() {
    let world = world();
    let image = image(&world.store, "bell:1");
    let daemon = Daemon::start(world.dir.path());
    let mut load = daemon.docker().args(["load", "-q"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = load.stdin.take().unwrap();
    image.save(&mut pipe, &names("bell:1"), ArchiveFormat::Docker, Compression::None).unwrap();
    pipe.flush().unwrap();
    drop(pipe);
    assert!(load.wait_with_output().unwrap().status.success());
    assert_eq!(run(daemon.docker().args(["image", "inspect", "-f", "{{.Id}}", "bell:1"])), image.id().to_string());
    let saved = world.dir.path().join("saved.tar");
    run(daemon.docker().args(["save", "-o"]).arg(&saved).arg("bell:1"));
    comes_back(&world, &saved, &image);

    // an image that Docker made itself: its tars are not ours, so their blobs stay
    let context = world.dir.path().join("context");
    fs::create_dir_all(context.join("sub")).unwrap();
    fs::write(context.join("sub/file"), "hello").unwrap();
    run(Command::new("sh").arg("-c").arg(format!(
        "tar -C {} -c . | docker -H unix://{} import - made:1",
        context.display(),
        daemon.socket.display()
    )));
    let made = world.dir.path().join("made.tar");
    run(daemon.docker().args(["save", "-o"]).arg(&made).arg("made:1"));
    let loaded = world.store.load(&made, LoadLimits::default()).unwrap();
    assert_eq!(
        loaded[0].image.id().to_string(),
        run(daemon.docker().args(["image", "inspect", "-f", "{{.Id}}", "made:1"]))
    );
    assert_eq!(world.store.verify(&loaded[0].image), []);
    let tree = &loaded[0].image.lower_dirs().unwrap()[0];
    assert_eq!(fs::read_to_string(tree.join("sub/file")).unwrap(), "hello");
    drop(daemon);
    remove_groups("docker");
}

#[test]
fn trees_keep_owner_and_mode_through_an_archive() {
    let world = world();
    let host = world.dir.path().join("host");
    fs::create_dir_all(host.join("bin")).unwrap();
    fs::write(host.join("bin/tool"), "#!/bin/sh\n").unwrap();
    run(Command::new("chmod").arg("2755").arg(host.join("bin/tool")));
    let mut builder = world.store.layer_builder().unwrap();
    builder.copy_tree(&host, "/opt", Ownership { uid: 7, gid: 8 }).unwrap();
    let layer = builder.finish().unwrap();
    let image = world.store.put_image(&config(vec![layer.diff_id().to_string()]), &[]).unwrap();
    let archive = world.dir.path().join("a.tar");
    image.save_to_file(&archive, &[], ArchiveFormat::Docker, Compression::None).unwrap();
    let other = Store::open(world.dir.path().join("second")).unwrap();
    let loaded = other.load(&archive, LoadLimits::default()).unwrap();
    let layers = loaded[0].image.layers().unwrap();
    let entry = layers[0].entry(Path::new("/opt/bin/tool")).unwrap().unwrap().clone();
    assert_eq!(entry.attributes, Attributes::new(7, 8, 0o2755));
}
