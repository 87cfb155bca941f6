//! A real registry on loopback, as users meet it: what is built is published, fetched by another store and by docker, and builders and buildpacks come
//! from there.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

#[path = "../../image/tests/support/real_registry.rs"]
mod real_registry;
mod support;

use std::path::Path;

use real_registry::{Registry, Wants};
use support::docker::Daemon;
use support::{Said, executable_below, hoist, hoist_with_store, remove_groups, run, tree};

const BUILDER: &str = "[build]\nimage = \"hoist/build\"\n[[run.images]]\nimage = \"hoist/run\"\n[[buildpacks]]\nuri = \"say\"\n[[order]]\n[[order.group]]\nid = \"test/say\"\nversion = \"1.0.0\"\n";
const SAY: &str = "#!/usr/bin/env bash\nmkdir \"$CNB_LAYERS_DIR/word\"\ncp name \"$CNB_LAYERS_DIR/word/name\"\nprintf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/word.toml\"\nprintf '[[processes]]\\ntype = \"say\"\\ncommand = [\"/bin/cat\", \"/layers/test_say/word/name\"]\\ndefault = true\\n' > \"$CNB_LAYERS_DIR/launch.toml\"\n";

/// A builder of one buildpack, that buildpack, and an app.
fn world() -> tempfile::TempDir {
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("say/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"test/say\"\nversion = \"1.0.0\"\n"),
        ("say/bin/detect", "#!/usr/bin/env bash\n"),
        ("say/bin/build", SAY),
        ("app/name", "hello from afar\n"),
    ]);
    executable_below(dir.path());
    dir
}

fn with(dir: &Path, args: &[&str]) -> Said {
    run(hoist().args(args).current_dir(dir))
}

#[test]
fn a_published_image_is_fetched_by_another_store_and_by_docker_and_runs_there() {
    let (registry, dir) = (Registry::start(&Wants::default()), world());
    let (builder, app) = (registry.name("test/builder"), registry.name("test/app:1"));
    with(dir.path(), &["builder", "create", &builder]).ok();
    let build = ["build", "--json", &app, "--path", "app", "--builder", &builder, "--publish", "--clear-cache"];
    let first = with(dir.path(), &build).ok().json();
    let output = &first["outputs"][0];
    assert_eq!((&output["output"], &output["layers_there"]), (&app.as_str().into(), &0.into()), "{output}");
    assert!(output["id"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{output}");
    // One line changes: one layer and nothing else is sent.
    fs_err::write(dir.path().join("app/name"), "hello again\n").expect("a file");
    let second = with(dir.path(), &build).ok().json();
    let output = &second["outputs"][0];
    assert!(output["sent_layers"].as_u64().is_some_and(|count| (1..=3).contains(&count)), "{output}");
    assert!(output["sent_bytes"].as_u64().is_some_and(|bytes| bytes < 10_000), "{output}");
    let again = with(dir.path(), &["image", "push", &app]).ok();
    again.says(": the image was there already");
    with(dir.path(), &["image", "push", &app, &registry.name("other/app")])
        .ok()
        .says("taken from another repository there");

    rebase_elsewhere(&registry, dir.path(), &app);
    let store = dir.path().join("store");
    let other = |args: &[&str]| run(hoist_with_store(&store).args(args));
    let pulled = other(&["image", "pull", "--json", &app]).ok().json();
    assert_eq!((&pulled["id"], &pulled["unchanged"]), (&second["image_id"], &false.into()));
    assert!(other(&["image", "pull", &app]).ok().stdout.ends_with("(it was there)\n"));
    assert_eq!(other(&["run", &app]).ok().stdout, "hello again\n");
    other(&["image", "verify", &app]).ok();
    other(&["image", "pull", "--platform", "linux/s390x", &app])
        .code(2)
        .says("it is not for linux/s390x, but for linux/amd64")
        .says("--platform OS/ARCH");
    other(&["image", "pull", &registry.name("test/app:2")]).code(2).says("has no image test/app:2");
    {
        let short = tempfile::tempdir().expect("a folder");
        let daemon = Daemon::start(short.path());
        daemon.docker(&["pull", "-q", &app]).ok();
        let args = ["run", "--rm", "--network=none", "--security-opt=seccomp=unconfined", &app];
        assert_eq!(daemon.docker(&args).ok().stdout, "hello again\n");
        // And the other way round.
        let of_docker = registry.name("test/docker");
        daemon.docker(&["tag", &app, &of_docker]).ok();
        daemon.docker(&["push", "-q", &of_docker]).ok();
        let pulled = other(&["image", "pull", "--json", &of_docker]).ok().json();
        assert_eq!(pulled["id"], second["image_id"]);
    }
    remove_groups("docker");
    with(dir.path(), &["image", "rm", &app, &builder]).ok();
}

/// A rebase of an image that only the registry has, onto a run image that only the registry has.
fn rebase_elsewhere(registry: &Registry, dir: &Path, app: &str) {
    let (run_image, rebased) = (registry.name("test/run-there"), registry.name("test/rebased-there"));
    with(dir, &["image", "push", app, &rebased]).ok();
    with(dir, &["image", "push", "hoist/run", &run_image]).ok();
    let done =
        with(dir, &["rebase", "--json", &rebased, "--run-image", &run_image, "--force", "--publish"]).ok().json();
    let output = &done["outputs"][0];
    assert_eq!(output["output"], format!("{rebased}:latest"), "{output}");
    assert_eq!(output["names"], done["names"], "{output}");
    assert_eq!(output["sent_layers"], 0, "the layers of the run image are those of another repository: {output}");
    with(dir, &["image", "inspect", &run_image]).ok();
    // The app's layers stayed where they were.
    with(dir, &["image", "inspect", &rebased]).code(2);
    with(dir, &["image", "inspect", "--remote", &rebased]).ok();
    with(dir, &["image", "rm", &run_image]).ok();
}

#[test]
fn builders_and_buildpacks_come_from_their_registry_when_that_is_said() {
    let (registry, dir) = (Registry::start(&Wants::default()), world());
    let (builder, package) = (registry.name("test/builder:2"), registry.name("test/say:1"));
    with(dir.path(), &["builder", "create", &builder, "--publish"]).ok().says("layers sent");
    with(dir.path(), &["buildpack", "package", &package, "-p", "say", "--publish"]).ok();
    with(dir.path(), &["image", "rm", &builder, &package]).ok();
    let build = |args: &[&str]| {
        let fixed = ["build", "test-from-registry", "--path", "app", "--clear-cache"];
        with(dir.path(), &[&fixed[..], args].concat())
    };
    build(&["--builder", &builder, "--pull-policy", "never"])
        .code(2)
        .says(&format!("the builder {builder} is not in the store"))
        .says(&format!("hoist image pull {builder}"));
    build(&["--builder", &builder]).ok();
    with(dir.path(), &["image", "inspect", &builder]).ok();
    assert_eq!(with(dir.path(), &["run", "test-from-registry"]).ok().stdout, "hello from afar\n");
    // Somebody puts another one there: it counts where that is said.
    fs_err::write(dir.path().join("say/bin/build"), SAY.replace("/bin/cat", "/usr/bin/wc\", \"-c")).expect("a file");
    let newer = [&["builder", "create", &builder, "--publish"][..]].concat();
    let old = with(dir.path(), &["image", "inspect", "--json", &builder]).ok().json();
    with(dir.path(), &newer).ok();
    let new = with(dir.path(), &["image", "inspect", "--json", &builder]).ok().json();
    assert_ne!(old["id"], new["id"]);
    let old_id = old["id"].as_str().expect("an id");
    with(dir.path(), &["image", "tag", old_id, &builder]).ok();
    build(&["--builder", &builder, "--pull-policy", "if-not-present"]).ok();
    assert_eq!(with(dir.path(), &["run", "test-from-registry"]).ok().stdout, "hello from afar\n");
    build(&["--builder", &builder, "--pull-policy", "always"]).ok();
    assert!(with(dir.path(), &["run", "test-from-registry"]).ok().stdout.starts_with("16 "), "it counts now");
    build(&["--buildpack", &format!("docker://{package}")]).ok();
    assert_eq!(with(dir.path(), &["run", "test-from-registry"]).ok().stdout, "hello from afar\n");
    let gone = registry.name("test/gone");
    build(&["--builder", &gone]).code(2).says("has no image test/gone:latest").says("look at name and tag");
    with(dir.path(), &["image", "rm", "test-from-registry", &builder, &package]).ok();
}

#[test]
fn what_registries_want_is_said_and_set_in_few_words() {
    let dir = tree(&[]);
    let config = dir.path().join("hoist.toml");
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).env("HOIST_CONFIG", &config).args(args));
    hoist(&["image", "pull", "bell"])
        .code(2)
        .says("bell:latest names no registry, and hoist adds none by itself")
        .says("hoist image pull docker-daemon:bell");
    hoist(&["image", "pull", "127.0.0.1:9/bell"])
        .code(3)
        .says("connecting to http://127.0.0.1:9/v2/")
        .says("nobody listens there");
    hoist(&["image", "pull", "--insecure-registry", "a/b", "127.0.0.1:9/bell"]).code(2).says("HOST or HOST:PORT");
    hoist(&["config", "set", "insecure-registries", "r.example:5000, s.example"]).ok();
    hoist(&["config", "set", "insecure-registries", "a/b"]).code(2).says("HOST or HOST:PORT, with commas");
    hoist(&["config", "registry-mirrors", "add", "r.example", "-m", "m.example:5000/proxy"]).ok();
    hoist(&["config", "registry-mirrors", "add", "r.example/x", "-m", "m.example"]).code(2).says("is no registry");
    hoist(&["config", "registry-mirrors", "add", "r.example", "-m", "http://m.example"]).code(2).says("the mirror");
    assert_eq!(hoist(&["config", "registry-mirrors"]).ok().stdout, "r.example\n  m.example:5000/proxy\n");
    let text = fs_err::read_to_string(&config).expect("the file");
    assert!(text.contains("[registry-mirrors]\n\"r.example\" = [\"m.example:5000/proxy\"]"), "{text}");
    hoist(&["config", "registry-mirrors", "remove", "r.example"]).ok();
    assert_eq!(hoist(&["config", "registry-mirrors"]).ok().stdout, "");
}

#[test]
fn a_password_is_taken_from_where_docker_keeps_it() {
    let registry = Registry::start(&Wants { passwords: true, ..Wants::default() });
    let dir = world();
    let name = registry.name("app");
    with(dir.path(), &["builder", "create", "test-password"]).ok();
    let push = |config: &str| {
        let path = dir.path().join("docker");
        fs_err::create_dir_all(&path).expect("a folder");
        fs_err::write(path.join("config.json"), config).expect("a file");
        run(hoist().args(["image", "push", "test-password", &name]).env("DOCKER_CONFIG", path))
    };
    push("{}").code(2).says("does not allow it to anybody").says("docker login");
    let auth = |pair: &str| format!(r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#, registry.host);
    let said = push(&auth("YWRhOndyb25nLVNFQ1JFVA==")).code(2).says("does not allow it to the user `ada`");
    assert!(!said.stderr.contains("SECRET"), "{}", said.stderr);
    push(&auth("YWRhOnRyMHViNGRvciYz")).ok();
    with(dir.path(), &["image", "rm", "test-password"]).ok();
}
