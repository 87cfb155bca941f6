//! A builder made by hoist, used by another platform: its `/cnb/lifecycle/detector` and `/cnb/lifecycle/builder` run in it.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::path::Path;
use std::sync::OnceLock;

use support::{Said, example, hoist, run, tree};

/// The build user of hoist's builders.
const BUILD_USER: (u32, u32) = (1001, 1000);

/// The builder is made when something is built.
fn builder() -> &'static str {
    static BUILDER: OnceLock<&str> = OnceLock::new();
    BUILDER.get_or_init(|| {
        run(hoist().args(["build", "test/lifecycle", "--path"]).arg(example("sum"))).ok();
        "hoist/builder"
    })
}

/// A folder of the build user's.
fn writable(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tree(files);
    std::os::unix::fs::chown(dir.path(), Some(BUILD_USER.0), Some(BUILD_USER.1)).expect("root gives the folder away");
    dir
}

/// Runs a phase in a container of the builder, as a platform does.
fn phase(app: &Path, layers: &Path, env: &[&str], args: &[&str]) -> Said {
    phase_with(&["--network", "none"], app, layers, env, args)
}

fn phase_with(options: &[&str], app: &Path, layers: &Path, env: &[&str], args: &[&str]) -> Said {
    let mut command = hoist();
    command.args(["run", builder()]).args(options);
    command.arg("-v").arg(format!("{}:/workspace", app.display()));
    command.arg("-v").arg(format!("{}:/layers", layers.display()));
    for variable in env {
        command.args(["-e", variable]);
    }
    run(command.arg("--").args(args))
}

#[test]
fn the_detector_chooses_hoist_s_buildpacks_for_a_python_app() {
    let (app, layers) = (example("web"), writable(&[]));
    let said = phase(&app, layers.path(), &["CNB_PLATFORM_API=0.12"], &["/cnb/lifecycle/detector"]).ok();
    assert!(said.stdout.contains("hoist/python ") && said.stdout.contains("hoist/pip "), "{}", said.stdout);
    let group = fs_err::read_to_string(layers.path().join("group.toml")).expect("group.toml was written");
    assert!(group.contains("id = \"hoist/pip\""), "{group}");
    let plan = fs_err::read_to_string(layers.path().join("plan.toml")).expect("plan.toml was written");
    assert!(plan.contains("[[entries]]"), "{plan}");

    let empty = writable(&[("notes.txt", "nothing that a buildpack knows")]);
    let said = phase(empty.path(), layers.path(), &["CNB_PLATFORM_API=0.12"], &["/cnb/lifecycle/detector"]);
    said.code(20).says("no group of buildpacks applies");
}

#[test]
fn the_default_builder_says_where_debian_is_to_platforms_that_do_not() {
    let app = writable(&[("Procfile", "web: python3 -c 'print(1)'\n"), ("requirements.txt", "flask\n")]);
    // What a user of another platform has to give: the authorities of this machine's network.
    let authorities = std::env::var("SSL_CERT_FILE").unwrap_or_default();
    let authorities = if authorities.is_empty() { "/etc/ssl/certs/ca-certificates.crt".into() } else { authorities };
    let platform = writable(&[("bindings/ours/type", "ca-certificates\n")]);
    fs_err::copy(authorities, platform.path().join("bindings/ours/company.crt")).expect("the machine's authorities");
    let layers = writable(&[]);
    let volume = format!("{}:/platform:ro", platform.path().display());
    let options = ["--network", "host", "-v", &volume];
    let env = ["CNB_PLATFORM_API=0.12"];
    phase_with(&options, app.path(), layers.path(), &env, &["/cnb/lifecycle/detector"]).ok();
    phase_with(&options, app.path(), layers.path(), &env, &["/cnb/lifecycle/builder"]).ok();
    assert!(layers.path().join("hoist_python/python/bin/python3").is_symlink());
    assert!(layers.path().join("hoist_pip").is_dir());

    // The variable of one build wins, and one that names nothing says what to write.
    fs_err::create_dir(platform.path().join("env")).expect("a folder");
    fs_err::write(platform.path().join("env/HOIST_APT_SOURCES"), "http://mirror.invalid/debian").expect("a file");
    let layers = writable(&[]);
    phase_with(&options, app.path(), layers.path(), &env, &["/cnb/lifecycle/detector"]).ok();
    let said = phase_with(&options, app.path(), layers.path(), &env, &["/cnb/lifecycle/builder"]).code(51);
    let all = said.stdout + &said.stderr;
    assert!(all.contains("--env HOIST_APT_SOURCES='deb http://HOST/debian stable main'"), "{all}");
}

#[test]
fn the_builder_runs_the_group_and_leaves_what_an_exporter_needs() {
    let buildpack = "acme_hello/1.0.0/buildpack.toml";
    let toml = "api = \"0.10\"\n[buildpack]\nid = \"acme/hello\"\nversion = \"1.0.0\"\n";
    let order = "[[order]]\n[[order.group]]\nid = \"acme/hello\"\nversion = \"1.0.0\"\n";
    let build = "#!/bin/sh\nif [ -e fail ]; then exit 9; fi\nid -u\nprintf '[[processes]]\\ntype = \"web\"\\ncommand = [\"serve\"]\\n' > \"$CNB_LAYERS_DIR/launch.toml\"\n";
    let app = writable(&[
        ("order.toml", order),
        (&format!("bp/{buildpack}"), toml),
        ("bp/acme_hello/1.0.0/bin/detect", "#!/bin/sh\nexit 0\n"),
        ("bp/acme_hello/1.0.0/bin/build", build),
    ]);
    for program in ["detect", "build"] {
        let path = app.path().join("bp/acme_hello/1.0.0/bin").join(program);
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("an executable");
    }
    let layers = writable(&[]);
    let env = ["CNB_PLATFORM_API=0.15", "CNB_BUILDPACKS_DIR=/workspace/bp"];
    phase(app.path(), layers.path(), &env, &["/cnb/lifecycle/detector", "-order", "/workspace/order.toml"]).ok();
    let said = phase(app.path(), layers.path(), &env, &["/cnb/lifecycle/builder"]).ok();
    assert_eq!(said.stdout.trim(), "1001", "as the build user");
    let metadata =
        fs_err::read_to_string(layers.path().join("config/metadata.toml")).expect("metadata.toml was written");
    assert!(metadata.contains("command = [\"serve\"]"), "{metadata}");

    fs_err::write(app.path().join("fail"), "").expect("the buildpack is told to fail");
    let said = phase(app.path(), layers.path(), &env, &["/cnb/lifecycle/builder"]);
    said.code(51).says("acme/hello@1.0.0 failed: exit code 9");
}

#[test]
fn phases_refuse_what_they_cannot_do_with_the_codes_of_the_specification() {
    let (app, layers) = (example("sum"), writable(&[]));
    let detector = "/cnb/lifecycle/detector";
    phase(&app, layers.path(), &[], &[detector]).code(11).says("CNB_PLATFORM_API is not set");
    phase(&app, layers.path(), &["CNB_PLATFORM_API=0.99"], &[detector]).code(11).says("use one from 0.7 to 0.15");
    let api = ["CNB_PLATFORM_API=0.12"];
    phase(&app, layers.path(), &api, &[detector, "-nonsense", "x"]).code(3).says("unknown flag -nonsense");
    phase(&app, layers.path(), &api, &[detector, "-log-level=loud"]).code(3).says("`loud` is not a log level");
    phase(&app, layers.path(), &api, &["/cnb/lifecycle/builder"]).code(1).says("reading /layers/group.toml");
    let said = phase(&app, layers.path(), &api, &[detector, "-version"]).ok();
    assert!(said.stdout.starts_with("hoist "), "{}", said.stdout);
    let as_root = run(hoist().args(["lifecycle", "detector", "-app", "/nonexistent"]).env("CNB_PLATFORM_API", "0.12"));
    as_root.code(1).says("refuses to do so as root");
}
