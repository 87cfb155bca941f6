//! The commands that build nothing: help, settings, templates, what is said about a wrong call.

#![allow(clippy::disallowed_methods)] // bash is started

mod support;

use support::{bare_hoist, hoist_says, hoist_with_store, run, tree};

#[test]
fn help_names_every_command_and_each_has_help_of_its_own() {
    let help = run(bare_hoist().arg("--help")).ok().stdout;
    for command in [
        "init",
        "check",
        "build",
        "builder",
        "buildpack",
        "extension",
        "run",
        "job",
        "image",
        "base",
        "lifecycle",
        "system",
        "config",
        "completion",
    ] {
        assert!(help.contains(&format!("\n  {command}")), "{command} is not in:\n{help}");
        let own = run(bare_hoist().args([command, "--help"])).ok().stdout;
        assert!(own.starts_with(|c: char| c.is_uppercase()), "{command} begins with what it does:\n{own}");
    }
    run(bare_hoist().arg("--version")).ok();
    run(bare_hoist().arg("frobnicate")).code(2).says("frobnicate");
}

#[test]
fn bash_completes_commands_options_and_values() {
    let dir = tree(&[("completion", &run(bare_hoist().args(["completion", "bash"])).ok().stdout)]);
    let complete = |words: &[&str]| -> Vec<String> {
        let script = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hoist hoist "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", script, "bash"]).arg(dir.path().join("completion")).args(words);
        run(&mut bash).ok().stdout.lines().map(str::to_owned).collect()
    };
    assert_eq!(complete(&["hoist", "image", "sa"]), ["save"]);
    assert_eq!(complete(&["hoist", "image", "save", "--format", "docker"]), ["docker-archive"]);
    assert_eq!(complete(&["hoist", "job", "run", "--dat"]), ["--data"]);
    assert_eq!(complete(&["hoist", "sys"]), ["system"]);
}

#[test]
fn the_wrong_place_of_an_archive_is_the_callers_and_a_wrong_archive_is_told() {
    let dir = tree(&[("no-archive", "text"), ("empty/.keep", "")]);
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).args(args).current_dir(dir.path()));
    hoist(&["image", "load"]).code(2).says("FILE");
    hoist(&["image", "load", "no-such"]).code(2).says("no-such").says("try: look at the path");
    hoist(&["image", "load", "--input", "no-such"]).code(2);
    hoist(&["image", "load", "no-archive"]).code(2).says("no-archive");
    hoist(&["image", "load", "empty"]).code(2).says("neither `manifest.json` nor `index.json`");
    hoist(&["image", "load", "no-archive", "--max-size", "much"]).code(2).says("\"much\" is no size");
    hoist(&["image", "save", "no-image", "-o", "x"]).code(2).says("no-image");
    fs_err::create_dir(dir.path().join("own")).unwrap();
    fs_err::write(dir.path().join("own/thesis.txt"), "years of work").unwrap();
    run(bare_hoist().args(["--store", "own", "system", "prune"]).current_dir(dir.path()))
        .code(3)
        .says("it holds `thesis.txt` and is no store of hoist")
        .says("try: name a new or an empty folder");
    assert_eq!(fs_err::read_dir(dir.path().join("own")).unwrap().count(), 1, "nothing was made in it");
}

#[test]
fn what_a_foreign_image_says_of_itself_is_shown_on_its_own_line_and_steers_no_terminal() {
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {
            "User": "\u{9b}2J",
            "Env": ["A=\u{1b}]0;owned\u{7}\nbuilt by trusted@1"],
            "Labels": {"io.buildpacks.build.metadata": "{\"processes\": [{\"type\": \"w\\u001b[1A\", \"command\": [\"x\\ny\"]}]}"},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let manifest = r#"[{"Config": "config.json", "RepoTags": ["odd:1"], "Layers": []}]"#;
    let dir = tree(&[("in/manifest.json", manifest), ("in/config.json", &config.to_string())]);
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).args(args).current_dir(dir.path()));
    hoist(&["image", "load", "in"]).ok();
    let said = hoist(&["image", "inspect", "odd:1"]).ok().stdout;
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    assert!(said.lines().all(|line| !line.starts_with("built by")), "{said}");
    assert!(said.contains("process  w\u{fffd}[1A: x y"), "{said}");
}

#[test]
fn an_archive_without_an_image_for_this_machine_is_a_wrong_one_in_json_too() {
    let index = r#"{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
        "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "platform": {"os": "linux", "architecture": "mips64le"}}]}"#;
    let dir = tree(&[("in/index.json", index), ("in/oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#)]);
    let store = dir.path().join("store");
    for json in [&[][..], &["--json"]] {
        let args = [json, &["image", "load", "in"]].concat();
        run(hoist_with_store(&store).args(args).current_dir(dir.path())).code(2).says("has no image for this machine");
    }
}

#[test]
fn every_template_is_written_checked_and_never_over_something() {
    let all = run(bare_hoist().args(["init", "--list", "--json"])).ok().json();
    let templates: Vec<_> =
        all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    assert!(!templates.is_empty());
    let dir = tree(&[]);
    for template in &templates {
        let target = dir.path().join(template);
        run(bare_hoist().args(["init", "--template", template]).arg(&target)).ok();
        let report = hoist_says(["--json".as_ref(), "check".as_ref(), target.as_os_str()]).ok().json();
        assert_eq!(report["problems"], serde_json::json!([]), "{template}: {report}");
        run(bare_hoist().args(["init", "--template", template]).arg(&target))
            .code(2)
            .says("nothing of yours is overwritten");
    }
    run(bare_hoist().args(["init", "--template", "no-such"]).arg(dir.path().join("x"))).code(2).says("there are");
}

#[test]
fn settings_are_written_listed_and_refused() {
    let dir = tree(&[]);
    let config = dir.path().join("config.toml");
    let hoist = |args: &[&str]| run(bare_hoist().env("HOIST_CONFIG", &config).args(args));
    hoist(&["config", "set", "suite", "bookworm"]).ok();
    assert_eq!(hoist(&["config", "get", "suite"]).ok().stdout, "bookworm\n");
    let listed = hoist(&["--json", "config", "list"]).ok().json();
    let suite = listed["settings"].as_array().unwrap().iter().find(|one| one["name"] == "suite").unwrap();
    assert_eq!((suite["value"].as_str(), suite["origin"].as_str()), (Some("bookworm"), Some("file")));
    let by_flag = hoist(&["--json", "--suite", "forky", "config", "get", "suite"]).ok().json();
    assert_eq!(by_flag["value"], "forky");
    hoist(&["config", "set", "mirror", "deb.example"]).code(2).says("a mirror is an address").says("try:");
    hoist(&["config", "unset", "suite"]).ok();
    assert_eq!(hoist(&["config", "get", "suite"]).ok().stdout, "");
}

#[test]
fn settings_have_the_commands_of_pack() {
    let dir = tree(&[]);
    let config = dir.path().join("config.toml");
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).env("HOIST_CONFIG", &config).args(args));
    hoist(&["config", "pull-policy"]).ok().says("pull-policy is not set");
    hoist(&["config", "pull-policy", "never"]).ok();
    assert_eq!(hoist(&["config", "pull-policy"]).ok().stdout, "never\n");
    hoist(&["config", "pull-policy", "--unset"]).ok();
    assert_eq!(hoist(&["config", "get", "pull-policy"]).ok().stdout, "");
    hoist(&["config", "pull-policy", "sometimes"]).code(2).says("always, if-not-present or never");
    hoist(&["config", "default-builder", "acme/none"]).code(2).says("the builder acme/none:latest is not in the store");
    hoist(&["config", "default-builder", "hoist/builder"]).ok();
    assert_eq!(hoist(&["config", "default-builder"]).ok().stdout, "hoist/builder\n");
    hoist(&["config", "default-builder", "-u"]).ok();
    hoist(&["config", "run-image-mirrors", "add", "acme/run"]).code(2).says("--mirror");
    hoist(&["config", "run-image-mirrors", "add", "acme/run", "-m", "A B"]).code(2).says("A B");
}

#[test]
fn failures_answer_in_json_too_and_packs_global_flags_are_known() {
    let dir = tree(&[("app/x", "")]);
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).args(args).current_dir(dir.path()));
    for args in [&["build", "--json"][..], &["--json", "no-such-command"], &["image", "ls", "--json", "--no-such-flag"]]
    {
        let said = hoist(args).code(2).says("Usage:");
        let error = &said.json()["error"];
        assert_eq!(error["exit_code"], 2, "{}", said.stdout);
        let message = error["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.starts_with("error"), "{message}");
    }
    for args in [
        &["inspect", "none"][..],
        &["plan", "-p", "none"],
        &["builder", "inspect", "none"],
        &["buildpack", "inspect", "./none"],
    ] {
        let said = hoist(&[args, &["--json"]].concat()).code(2);
        assert!(said.json()["error"]["message"].is_string(), "{}", said.stdout);
    }
    assert!(hoist(&["version", "--json"]).ok().json()["version"].is_string());
    assert!(hoist(&["builder", "create", "--print-default", "--json"]).ok().json()["builder_toml"].is_string());
    // What is told goes to stderr, with colours and the time where they are asked for.
    let check = |args: &[&str]| hoist(&[&["check", "app"][..], args].concat()).stderr;
    let config = |args: &[&str]| hoist(&[&["config", "pull-policy"][..], args].concat()).ok().stderr;
    assert!(config(&["--force-color"]).contains("\x1b[36m"), "{}", config(&["--force-color"]));
    assert!(!config(&[]).contains('\x1b'));
    let line = config(&["--timestamps"]);
    assert!(line.starts_with("20") && line.find("Z ").is_some_and(|at| at == 23), "{line}");
    assert_eq!(check(&["-v"]), check(&["--verbose"]));
    hoist(&["-v", "run", "-v", "/none:/x", "none"]).code(2).says("none");
    assert_eq!(config(&["-q"]), "");
}

#[test]
fn an_image_that_docker_has_is_said_to_be_there() {
    use std::io::{Read, Write};
    let dir = tree(&[]);
    let socket = dir.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // It waits for the next question until the test's process ends.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head, mut byte) = (stream.unwrap(), Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let body = "{\"Id\": \"sha256:0\"}";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    let mut command = hoist_with_store(&dir.path().join("store"));
    command.env("DOCKER_HOST", format!("unix://{}", socket.display())).args([
        "buildpack",
        "inspect",
        "docker://acme/package",
    ]);
    run(&mut command).code(2).says("hoist image pull docker-daemon:acme/package");
}

#[test]
fn check_says_what_would_be_built_and_what_is_wrong() {
    let service = tree(&[
        ("src/program.py", "def run(data, params):\n    return 1\n"),
        ("planqk.json", "{\"name\": \"demo\", \"resources\": {\"cpu\": 0.5, \"memory\": 2}}"),
        ("requirements.txt", "flask\n"),
        ("input/data.json", "{\"a\": 1}"),
    ]);
    let report = hoist_says(["--json".as_ref(), "check".as_ref(), service.path().as_os_str()]).ok().json();
    assert_eq!(report["layout"], "service");
    assert_eq!(report["entry_point"], "src.program:run");
    assert_eq!(report["dependencies"], "requirements.txt");
    assert_eq!(report["cpus"], 0.5);
    fs_err::write(service.path().join("src/program.py"), "def main():\n    pass\n").unwrap();
    fs_err::write(service.path().join("input/data.json"), "{\"a\": oops}").unwrap();
    let said = hoist_says(["check".as_ref(), service.path().as_os_str()]).code(1);
    assert!(said.stdout.contains("has no function run") && said.stdout.contains("line 1"), "{}", said.stdout);
    hoist_says(["check", "/no/such/folder"]).code(2).says("/no/such/folder");
}

#[test]
fn an_empty_store_is_listed_measured_and_pruned() {
    let dir = tree(&[]);
    let store = dir.path().join("store");
    assert_eq!(run(hoist_with_store(&store).args(["--json", "image", "ls"])).ok().json(), serde_json::json!([]));
    run(hoist_with_store(&store).args(["system", "df"])).ok();
    run(hoist_with_store(&store).args(["system", "prune", "--all"])).ok();
    let info = run(hoist_with_store(&store).args(["--json", "system", "info"])).ok().json();
    assert_eq!(info["sandbox"]["overlay"]["available"], true);
}

#[test]
fn layers_that_were_compressed_for_others_go_when_that_is_asked_for() {
    let dir = tree(&[]);
    let path = dir.path().join("store");
    {
        // Whoever works in a store keeps what was made since they began.
        let store = hoist_image::Store::open(&path).unwrap();
        let mut builder = store.layer_builder().unwrap();
        builder.file("/a", hoist_image::Attributes::root(0o644), &mut &b"x"[..], 1).unwrap();
        let diff_id = builder.finish().unwrap().diff_id().to_string();
        let rootfs = serde_json::json!({"type": "layers", "diff_ids": [diff_id]});
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
        store.put_image_bytes(serde_json::to_vec(&config).unwrap(), &["one".parse().unwrap()]).unwrap();
    }
    let own = |args: &[&str]| run(hoist_with_store(&path).arg("--json").args(args)).ok().json();
    let saved = dir.path().join("one.tar");
    own(&["image", "save", "one", "--format", "oci-archive", "--output", saved.to_str().unwrap()]);
    assert_eq!(own(&["system", "prune"])["pruned"]["blobs"], 0);
    assert_eq!(own(&["system", "prune", "--blobs"])["pruned"]["blobs"], 1);
    assert_eq!(own(&["image", "verify", "one"])["ok"], true);
}

#[test]
fn an_unreadable_configuration_is_named_with_its_line() {
    let dir = tree(&[("config.toml", "suite = \"trixie\"\nmirror = \n")]);
    let said = run(bare_hoist().env("HOIST_CONFIG", dir.path().join("config.toml")).args(["image", "ls"])).code(2);
    assert!(said.stderr.contains("config.toml") && said.stderr.contains("line 2"), "{}", said.stderr);
}

/// A lock of one package that no mirror has.
const LOCK: &str = "format = 1\nsuite = \"trixie\"\narchitecture = \"ARCH\"\n\n[[run]]\nname = \"base-files\"\nversion = \"0.1\"\n\
    architecture = \"all\"\nsuite = \"trixie\"\nfilename = \"pool/main/b/base-files/base-files_0.1_all.deb\"\n\
    sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nsize_bytes = 7\n";

#[test]
fn a_build_a_job_and_a_check_stand_on_the_base_of_the_lock_that_they_are_given() {
    let native = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let dir = tree(&[
        ("app/src/program.py", "def run(data, params):\n    return 1\n"),
        ("gone.lock", &LOCK.replace("ARCH", native)),
        ("foreign.lock", &LOCK.replace("ARCH", "mips64el")),
        ("broken.lock", "format = 1\nsuite = \"trixie\"\n"),
    ]);
    let store = dir.path().join("store");
    let mirror = format!("file://{}/no-mirror", dir.path().display());
    let app = dir.path().join("app");
    for command in [vec!["build", "x", "--path"], vec!["job", "run"], vec!["check"]] {
        let with = |lock: &str| {
            let mut hoist = hoist_with_store(&store);
            hoist.args(["--mirror", &mirror]).args(&command).arg(&app);
            run(hoist.arg("--locked").arg(dir.path().join(lock)))
        };
        with("none.lock").code(2).says("none.lock cannot be read").says("hoist base lock");
        with("broken.lock").code(2).says("broken.lock is wrong: ").says("missing field");
        with("foreign.lock").code(2).says("the lock names packages for mips64el, and the base is to run on");
        let said = with("gone.lock");
        if command[0] == "check" {
            said.ok();
        } else {
            said.code(3)
                .says("fetching base-files 0.1 of the base lock: the mirror has it no more")
                .says("hoist base lock --update");
        }
    }
    // Nothing was chosen for later.
    run(hoist_with_store(&store).args(["--mirror", &mirror, "base", "show"])).code(3).says("has no suite `trixie`");
}
