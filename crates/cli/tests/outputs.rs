//! Where an image goes besides the store: files, folders and a real docker daemon, several in one build, and what is said where that fails.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::docker::Daemon;
use support::{Said, example, hoist, hoist_says, remove_groups, run};

/// What a service gets without hoist: its input in variables.
const INPUT: [&str; 6] =
    ["-e", "BASE64_ENCODED=false", "-e", r#"DATA_VALUE={"values": [20, 22]}"#, "-e", "PARAMS_VALUE={}"];

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A copy of an example, to be changed.
fn copy_of(name: &str, to: &Path) {
    let copied = run(Command::new("cp").args(["-r", text(&example(name)), text(to)]));
    assert_eq!(copied.code, 0, "{}", copied.stderr);
}

fn build(name: &str, source: &Path, args: &[&str]) -> Said {
    run(hoist().args(["build", "--json", name, "--path", text(source)]).args(args))
}

fn build_with(daemon: &Daemon, name: &str, source: &Path, args: &[&str]) -> Value {
    let mut command = hoist();
    command.env("DOCKER_HOST", daemon.host()).args(["build", "--json", name, "--path", text(source)]).args(args);
    run(&mut command).ok().json()
}

fn nothing_is_left(dir: &Path) {
    let mounts = fs_err::read_to_string("/proc/self/mounts").expect("the mounts");
    assert!(!mounts.contains(text(dir)), "{mounts}");
    remove_groups("docker");
}

#[test]
fn docker_gets_what_it_lacks_and_nothing_where_nothing_changed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let app = dir.path().join("app");
    copy_of("sum", &app);
    {
        let daemon = Daemon::start(dir.path());
        let name = "test/outputs-sum";
        let first = build_with(&daemon, name, &app, &["--docker", "--tag", "test/outputs-sum:also"]);
        let id = first["image_id"].as_str().expect("an id");
        let output = &first["outputs"][0];
        assert_eq!((&output["output"], output["id"].as_str()), (&Value::from("docker"), Some(id)));
        assert_eq!(output["layers_there"], 0);
        let whole = output["sent_bytes"].as_u64().expect("bytes");
        for name in [name, "test/outputs-sum:also"] {
            assert_eq!(daemon.docker(&["image", "inspect", "-f", "{{.Id}}", name]).ok().stdout.trim(), id);
        }
        let args: Vec<&str> = ["run", "--rm", "--network=none"].into_iter().chain(INPUT).chain([name]).collect();
        let said = daemon.docker(&args).ok();
        assert!(said.stdout.contains("\"sum\": 42"), "{}", said.stdout);

        let again = build_with(&daemon, name, &app, &["--docker"]);
        assert_eq!(again["outputs"][0]["unchanged"], true);
        assert_eq!(again["outputs"][0]["sent_bytes"], 0);

        let program = app.join("src/program.py");
        let code = fs_err::read_to_string(&program).expect("the program");
        fs_err::write(&program, format!("{code}\n# another line\n")).expect("a changed program");
        let changed = build_with(&daemon, name, &app, &["--output", "docker-daemon:test/outputs-other:1"]);
        let output = &changed["outputs"][0];
        assert!(output["layers_there"].as_u64().expect("layers") > 1, "{output}");
        assert!(output["sent_bytes"].as_u64().expect("bytes") < whole / 20, "{output} after {whole}");
        let id = changed["image_id"].as_str().expect("an id");
        let found = daemon.docker(&["image", "inspect", "-f", "{{.Id}}", "test/outputs-other:1"]).ok();
        assert_eq!(found.stdout.trim(), id);
        let args: Vec<&str> =
            args.into_iter().map(|arg| if arg == name { "test/outputs-other:1" } else { arg }).collect();
        assert!(daemon.docker(&args).ok().stdout.contains("\"sum\": 42"));
    }
    hoist_says(["image", "rm", "test/outputs-sum", "test/outputs-sum:also"]).ok();
    nothing_is_left(dir.path());
}

#[test]
fn what_docker_has_comes_into_the_store_and_a_missing_builder_says_how() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let id = build("test/outputs-pull", &example("sum"), &[]).ok().json()["image_id"].clone();
    {
        let daemon = Daemon::start(dir.path());
        let with = |args: &[&str]| run(hoist().env("DOCKER_HOST", daemon.host()).args(args));
        with(&["image", "push", "test/outputs-pull", "docker"]).ok().says("docker: ");
        hoist_says(["image", "rm", "test/outputs-pull"]).ok();
        // In docker it is, and in the store it is not: what a build with a builder from pack meets.
        let said =
            with(&["build", "test/outputs-x", "-B", "test/outputs-pull", "--path", text(&example("sum"))]).code(2);
        said.says("hoist image pull docker-daemon:test/outputs-pull:latest");
        hoist_says(["build", "x", "-B", "test/outputs-pull", "--path", text(&example("sum"))])
            .code(2)
            .says("hoist image load FILE");
        let own = folder();
        let store = own.path().join("store");
        let with = |args: &[&str]| run(support::hoist_with_store(&store).env("DOCKER_HOST", daemon.host()).args(args));
        let pulled = with(&["--json", "image", "pull", "docker-daemon:test/outputs-pull"]).ok().json();
        assert_eq!((&pulled["id"], &pulled["unchanged"]), (&id, &Value::from(false)));
        with(&["image", "verify", "test/outputs-pull"]).ok();
        let id = id.as_str().expect("an id");
        let again = with(&["--json", "image", "pull", &format!("docker-daemon:{id}"), "--tag", "other"]).ok().json();
        assert_eq!(again["unchanged"], true);
        with(&["image", "inspect", "other"]).ok();
        with(&["image", "pull", "docker-daemon:test/none"])
            .code(2)
            .says("the docker daemon has no image `test/none:latest`");
    }
    nothing_is_left(dir.path());
}

#[test]
fn one_build_has_several_outputs_and_others_read_them() {
    let dir = folder();
    let at = |name: &str| text(&dir.path().join(name)).to_owned();
    let outputs = [
        format!("--output=oci-dir:{}", at("dir")),
        format!("--output=oci-archive:{}", at("oci.tar")),
        format!("--output=docker-archive:{}", at("docker.tar")),
        format!("--report-output-dir={}", at("report")),
    ];
    let args: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let said = build("test/outputs-files", &example("sum"), &args).ok().json();
    assert_eq!(said["outputs"].as_array().map(Vec::len), Some(3));
    let id = said["image_id"].as_str().expect("an id");
    for from in [
        format!("oci:{}", at("dir")),
        format!("oci-archive:{}", at("oci.tar")),
        format!("docker-archive:{}", at("docker.tar")),
    ] {
        let copied = at("copied");
        let to = format!("docker-archive:{copied}");
        run(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to])).ok();
        let listed = run(Command::new("tar").args(["tf", &copied])).ok().stdout;
        assert!(listed.contains(id.trim_start_matches("sha256:")), "{from}: {listed}");
        fs_err::remove_file(copied).expect("the copy goes");
    }
    let report = fs_err::read_to_string(dir.path().join("report/report.toml")).expect("the report");
    assert!(report.contains(&format!("output = \"oci-archive:{}\"", at("oci.tar"))), "{report}");
    let again = build("test/outputs-files", &example("sum"), &args[..1]).ok().json();
    assert_eq!(again["outputs"][0]["unchanged"], true);
    hoist_says(["image", "rm", "test/outputs-files"]).ok();
}

#[test]
fn a_layout_as_the_name_of_an_image_is_what_pack_has() {
    let dir = folder();
    let app = dir.path().join("app");
    copy_of("sum", &app);
    let name = format!("oci:{}", text(&dir.path().join("Outputs_Layout")));
    let first = build(&name, &app, &["--output-compression", "none"]).ok().json();
    assert_eq!(first["names"][0], "outputs-layout:latest");
    let path = dir.path().join("Outputs_Layout");
    let index = || fs_err::read_to_string(path.join("index.json")).expect("an index");
    let before = index();
    let blobs = || fs_err::read_dir(path.join("blobs/sha256")).expect("the blobs").count();
    let count = blobs();
    fs_err::write(app.join("src/more.py"), "more = 1\n").expect("a new file");
    build(&name, &app, &["--output-compression", "none"]).ok();
    assert_ne!(index(), before);
    assert_eq!(blobs(), count, "what the older image had is gone");
    hoist_says(["image", "rm", "outputs-layout"]).ok();
}

#[test]
fn a_place_that_fails_leaves_the_image_in_the_store_and_in_the_others() {
    let dir = folder();
    let at = |name: &str| text(&dir.path().join(name)).to_owned();
    fs_err::create_dir(dir.path().join("mine")).expect("a folder");
    fs_err::write(dir.path().join("mine/letter.txt"), "dear").expect("a file");
    let good = format!("docker-archive:{}", at("good.tar"));
    let (missing, mine) = (format!("oci-archive:{}", at("no/such.tar")), format!("oci-dir:{}", at("mine")));
    let outputs = ["--output", &missing, "--output", &good, "--output", &mine, "--report-output-dir", &at("report")];
    let said = build("test/outputs-fails", &example("sum"), &outputs).code(2);
    let first = said.stderr.lines().find(|line| line.starts_with("error:")).expect("an error");
    assert!(
        first.starts_with(&format!(
            "error: test/outputs-fails:latest is in the store and in {good}, but not in {missing}, and not in {mine} ("
        )),
        "{}",
        said.stderr
    );
    let hint = format!(
        "make the folder first, or choose another place; then, without a build: hoist image push test/outputs-fails:latest {missing}"
    );
    let said = said.says(&hint);
    assert!(said.stderr.contains("  because: "), "{}", said.stderr);
    assert!(dir.path().join("good.tar").is_file() && dir.path().join("mine/letter.txt").is_file());
    let report = fs_err::read_to_string(dir.path().join("report/report.toml")).expect("the report");
    assert!(report.contains(&good) && !report.contains(&missing), "{report}");
    fs_err::create_dir(dir.path().join("no")).expect("a folder");
    hoist_says(["image", "push", "test/outputs-fails:latest", &missing]).ok();
    assert!(dir.path().join("no/such.tar").is_file());
    hoist_says(["image", "rm", "test/outputs-fails"]).ok();
}

#[test]
fn without_a_daemon_nothing_is_built_for_docker() {
    let with = |host: &str| {
        run(hoist().env("DOCKER_HOST", host).args([
            "build",
            "test/outputs-none",
            "--docker",
            "--path",
            text(&example("sum")),
        ]))
    };
    with("unix:///nonexistent/s")
        .code(3)
        .says("error: connecting to the docker daemon at unix:///nonexistent/s\n  because: No such file or directory")
        .says("try: start the daemon, or say where it is: DOCKER_HOST=unix:///");
    with("ssh://me@box")
        .code(2)
        .says("hoist speaks to daemons over a socket, not over ssh")
        .says("try: let ssh bring the socket here");
    with("tcp://me:secret@box:2375").code(2).says("`tcp://***@box:2375`: it is not tcp://HOST:PORT");
    hoist_says(["image", "inspect", "test/outputs-none"]).code(2);
    hoist_says(["image", "pull", "docker://bell"]).code(2).says("hoist image pull docker-daemon:bell");
    hoist_says(["build", "x", "--output", "tar:x"]).code(2).says("tar is no kind of place");
}
