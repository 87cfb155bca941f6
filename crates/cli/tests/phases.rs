//! The phases that know images, as a platform starts them: by `hoist lifecycle PHASE`, as root for the build image's user, with a docker daemon.
//! (What they do with OCI layouts is tested in crates/lifecycle.)
#![allow(clippy::disallowed_methods, clippy::expect_used)] // tests start processes and fail loudly

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use support::docker::Daemon;
use support::{Said, hoist, run};

const USER: (u32, u32) = (1001, 1000);

/// Says as whom it runs and what it sees of the lifecycle, and leaves a layer for launch alone, a cached one and a process.
const BUILD: &str = r#"#!/bin/sh
set -e
echo "user $(id -u):$(id -g) groups $(id -G)"
if cat "/proc/$PPID/environ" > /dev/null 2>&1; then echo "the lifecycle's environment can be read"; fi
if env | grep -q secret; then echo "a credential is in the environment"; fi
if [ -w "$(cat socket)" ]; then echo "the daemon's socket can be written to"; fi
L="$CNB_LAYERS_DIR"
if [ -e "$L/kept.toml" ]; then echo "kept is known"; else mkdir -p "$L/kept"; echo content > "$L/kept/file"; echo '{}' > "$L/kept.sbom.cdx.json"; fi
printf '[types]\nlaunch = true\n[metadata]\nkey = "value"\n' > "$L/kept.toml"
mkdir -p "$L/cached"
echo x >> "$L/cached/builds"
echo "build number $(wc -l < "$L/cached/builds")"
printf '[types]\ncache = true\n' > "$L/cached.toml"
printf '[[processes]]\ntype = "web"\ncommand = ["serve"]\ndefault = true\n' > "$L/launch.toml"
"#;

/// The directories of a build container.
fn world() -> tempfile::TempDir {
    let files = [
        (
            "bp/acme_one/1.0.0/buildpack.toml",
            "api = \"0.10\"\n[buildpack]\nid = \"acme/one\"\nversion = \"1.0.0\"\nsbom-formats = [\"application/vnd.cyclonedx+json\"]\n",
        ),
        ("bp/acme_one/1.0.0/bin/detect", "#!/bin/sh\nexit 0\n"),
        ("bp/acme_one/1.0.0/bin/build", BUILD),
        ("order.toml", "[[order]]\n[[order.group]]\nid = \"acme/one\"\nversion = \"1.0.0\"\n"),
        ("run.toml", "[[images]]\nimage = \"acme/run\"\nmirrors = [\"host.test/acme/run\"]\n"),
        ("launcher", "a launcher"),
        ("app/name", "world"),
    ];
    // Where the user may go; the folder of the sources need not be such a place.
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }
    for program in ["detect", "build"] {
        let path = dir.path().join("bp/acme_one/1.0.0/bin").join(program);
        fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("an executable");
    }
    fs_err::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("everyone may look");
    for name in ["layers", "cache", "launch"] {
        fs_err::create_dir(dir.path().join(name)).expect("a folder of root's");
    }
    dir
}

/// `hoist lifecycle PHASE`, with what the image of a builder would say.
fn phase(world: &Path, name: &str, env: &[(&str, &str)], args: &[&str]) -> Said {
    let mut command = hoist();
    command.args(["lifecycle", name]).current_dir(world.join("app"));
    command
        .env("CNB_PLATFORM_API", "0.12")
        .env("CNB_REGISTRY_AUTH", "{\"host.test\":\"secret\"}")
        .env("TMPDIR", "/tmp");
    for (variable, place) in [
        ("CNB_APP_DIR", "app"),
        ("CNB_BUILDPACKS_DIR", "bp"),
        ("CNB_CACHE_DIR", "cache"),
        ("CNB_LAUNCH_CACHE_DIR", "launch"),
        ("CNB_LAYERS_DIR", "layers"),
        ("CNB_ORDER_PATH", "order.toml"),
        ("CNB_PLATFORM_DIR", "platform"),
        ("CNB_RUN_PATH", "run.toml"),
        ("CNB_REPORT_PATH", "layers/report.toml"),
    ] {
        command.env(variable, world.join(place));
    }
    command.env("PATH", "/usr/bin:/bin").envs(env.iter().copied());
    if ["creator", "exporter"].contains(&name) {
        command.arg("-launcher").arg(world.join("launcher"));
    }
    run(command.args(args))
}

/// A run image of one file, and of labels.
fn run_image(daemon: &Daemon, dir: &Path, name: &str, content: &str, changes: &[&str]) {
    let root = dir.join("root");
    fs_err::create_dir_all(root.join("etc")).expect("a folder");
    fs_err::write(root.join("etc/content"), content).expect("a file");
    let tar = Command::new("tar").arg("-C").arg(&root).args(["-cf", "-", "."]).stdout(Stdio::piped()).spawn();
    let mut tar = tar.expect("tar starts");
    let mut import = Command::new("docker");
    import.arg(format!("--host={}", daemon.host())).args(["import", "--change", "ENV PATH=/usr/bin"]);
    for change in changes {
        import.args(["--change", change]);
    }
    import.args(["-", name]).stdin(tar.stdout.take().expect("its output"));
    let said = import.output().expect("docker starts");
    assert!(
        said.status.success() && tar.wait().expect("tar ends").success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}

fn inspect(daemon: &Daemon, name: &str) -> serde_json::Value {
    let said = daemon.docker(&["image", "inspect", name]).ok();
    said.json()[0].clone()
}

fn label(image: &serde_json::Value, name: &str) -> serde_json::Value {
    serde_json::from_str(image["Config"]["Labels"][name].as_str().expect("a label")).expect("a label in JSON")
}

#[test]
fn a_daemon_s_image_is_created_rebuilt_and_rebased() {
    // A socket's path may not be long.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start(dir.path());
    let world = world();
    let world = world.path();
    fs_err::write(world.join("app/socket"), dir.path().join("s").to_str().expect("a plain path")).expect("a file");
    run_image(&daemon, dir.path(), "acme/run", "one", &["LABEL io.buildpacks.base.distro.name=debian"]);
    let host = daemon.host();
    let env = [("DOCKER_HOST", host.as_str()), ("CNB_USER_ID", "1001"), ("CNB_GROUP_ID", "1000")];

    let said = phase(world, "creator", &env, &["-daemon", "-tag", "acme/app:2", "acme/app"]).ok();
    assert!(said.stdout.contains("===> ANALYZING") && said.stdout.contains("===> EXPORTING"), "{}", said.stdout);
    assert!(said.stdout.contains("user 1001:1000 groups 1000\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("can be") && !said.stdout.contains("a credential"), "{}", said.stdout);
    assert!(
        said.stdout.contains("build number 1") && said.stdout.contains("Adding layer 'acme/one:kept'"),
        "{}",
        said.stdout
    );
    let first = inspect(&daemon, "acme/app");
    assert_eq!(first["Id"], inspect(&daemon, "acme/app:2")["Id"]);
    assert_eq!(first["Config"]["Entrypoint"][0], "/cnb/process/web");
    let metadata = label(&first, "io.buildpacks.lifecycle.metadata");
    let id = inspect(&daemon, "acme/run")["Id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
    assert_eq!(metadata["runImage"]["reference"], id);
    assert_eq!(metadata["runImage"]["mirrors"][0], "host.test/acme/run");
    let report = fs_err::read_to_string(world.join("layers/report.toml")).expect("report.toml was written");
    assert!(report.contains("acme/app:latest") && report.contains("image-id = "), "{report}");
    for place in ["layers/group.toml", "cache/committed", "launch/committed", "layers/report.toml"] {
        let about = fs_err::metadata(world.join(place)).expect("it was written");
        assert_eq!((about.uid(), about.gid()), USER, "{place}");
    }

    // Phase by phase; the layer that the buildpack left to the previous image comes from the launch cache, then from that image.
    for launch_cache in [true, false] {
        fs_err::remove_dir_all(world.join("layers")).expect("the volume goes");
        fs_err::create_dir(world.join("layers")).expect("another one comes");
        let mut env = env.to_vec();
        if !launch_cache {
            env.push(("CNB_LAUNCH_CACHE_DIR", ""));
        }
        phase(world, "analyzer", &env, &["-daemon", "acme/app"]).ok();
        let analyzed = fs_err::read_to_string(world.join("layers/analyzed.toml")).expect("analyzed.toml was written");
        let app = first["Id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
        assert!(
            analyzed.contains(&format!("reference = \"{app}\"")) && analyzed.contains("name = \"debian\""),
            "{analyzed}"
        );
        for name in ["detector", "builder"] {
            // A platform runs these two as the user.
            if name == "builder" {
                phase(world, "restorer", &env, &["-daemon"]).ok();
            }
            let said = as_user(world, name);
            assert!(name == "detector" || said.stdout.contains("kept is known"), "{}", said.stdout);
        }
        let said = phase(world, "exporter", &env, &["-daemon", "acme/app"]).ok();
        assert!(said.stdout.contains("Reusing layer 'acme/one:kept'"), "{}", said.stdout);
        assert_eq!(inspect(&daemon, "acme/app")["Id"], first["Id"]);
    }

    run_image(&daemon, dir.path(), "acme/run", "two", &["LABEL io.buildpacks.base.distro.name=debian"]);
    let said = phase(world, "rebaser", &env, &["-daemon", "acme/app"]).ok();
    assert!(said.stdout.contains("putting acme/app:latest on acme/run:latest"), "{}", said.stdout);
    let rebased = inspect(&daemon, "acme/app");
    let layers = |image: &serde_json::Value| image["RootFS"]["Layers"].as_array().expect("layers").clone();
    assert_eq!(layers(&rebased)[1..], layers(&first)[1..]);
    assert_eq!(layers(&rebased)[0], layers(&inspect(&daemon, "acme/run"))[0]);
    assert_eq!(rebased["Config"]["Env"], first["Config"]["Env"]);
    run_image(&daemon, dir.path(), "acme/run", "three", &["LABEL io.buildpacks.base.distro.name=ubuntu"]);
    phase(world, "rebaser", &env, &["-daemon", "acme/app"]).code(72).says("insist with --force");
    phase(world, "rebaser", &env, &["-daemon", "acme/gone"]).code(72).says("does not have it");
    phase(world, "analyzer", &env, &["-daemon", "-run-image", "acme/gone", "acme/app"])
        .code(32)
        .says("does not have it");
}

/// A phase that calls buildpacks, started as the user.
fn as_user(world: &Path, name: &str) -> Said {
    let setpriv = ["--reuid=1001", "--regid=1000", "--clear-groups"];
    let program = world.join("hoist");
    if !program.exists() {
        fs_err::copy(env!("CARGO_BIN_EXE_hoist"), &program).expect("the program is copied");
    }
    // As in a builder: it sees from its name which phase is wanted.
    let by_name = world.join(name);
    if !by_name.exists() {
        std::os::unix::fs::symlink(&program, &by_name).expect("a link");
    }
    let mut command = Command::new("setpriv");
    command.args(setpriv).arg(by_name).current_dir(world.join("app")).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("CNB_PLATFORM_API", "0.12");
    for (variable, place) in [
        ("CNB_APP_DIR", "app"),
        ("CNB_BUILDPACKS_DIR", "bp"),
        ("CNB_LAYERS_DIR", "layers"),
        ("CNB_ORDER_PATH", "order.toml"),
        ("CNB_PLATFORM_DIR", "platform"),
    ] {
        command.env(variable, world.join(place));
    }
    run(&mut command).ok()
}

#[test]
fn each_phase_refuses_what_it_cannot_do_with_its_own_code() {
    let world = world();
    let said = |name: &str, args: &[&str]| {
        phase(world.path(), name, &[("CNB_USER_ID", "1001"), ("CNB_GROUP_ID", "1000")], args)
    };
    for (name, code) in [("analyzer", 32), ("creator", 32), ("exporter", 62), ("rebaser", 72)] {
        said(name, &["acme/app"]).code(code).says("-daemon");
        said(name, &["-daemon"]).code(3);
        said(name, &["-daemon", "-layout", "acme/app"]).code(3).says("exclude each other");
        said(name, &["-daemon", "acme/App"]).code(3).says("write it in lower case");
    }
    said("restorer", &["-cache-image", "acme/cache"]).code(42).says("in a folder instead: -cache-dir DIR");
    said("restorer", &["acme/app"]).code(3).says("unexpected argument");
    said("exporter", &["-layout", "-layout-dir", "/x", "a.test/app", "b.test/app"])
        .code(3)
        .says("different registries");
    let as_root = phase(world.path(), "creator", &[], &["-daemon", "acme/app"]);
    as_root.code(1).says("refuses to do so as root");
    let nowhere = [("DOCKER_HOST", "unix:///nonexistent/s"), ("CNB_USER_ID", "1001")];
    phase(world.path(), "analyzer", &nowhere, &["-daemon", "acme/app"]).code(32).says("start the daemon");
}

#[test]
fn layouts_are_experimental() {
    let world = world();
    let layout = world.path().join("layout");
    let args = ["-layout", "-layout-dir", layout.to_str().expect("a plain path"), "acme/app"];
    let with = |mode: &str| phase(world.path(), "analyzer", &[("CNB_EXPERIMENTAL_MODE", mode)], &args);
    for mode in ["", "error"] {
        with(mode).code(1).says("CNB_EXPERIMENTAL_MODE=warn");
    }
    // It goes on, and finds no run image.
    let said = with("warn").code(32).says("there is no OCI layout in");
    assert!(said.stderr.contains("Warning: -layout is an experimental feature"), "{}", said.stderr);
    assert!(!with("silent").code(32).stderr.contains("experimental"));
}
