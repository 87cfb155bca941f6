//! Apps whose packages come from a conda channel, built and run. The channel is real and made by the test, its Python is the machine's Debian one;
//! nothing of the code knows.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::panic,
    clippy::unwrap_used
)] // tests start processes and fail loudly

#[path = "support/house.rs"]
mod house;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use house::channel::{Channel, Package, serve};
use house::{files_below, python, sha256};
use support::{Said, hoist, run, shared_store, tree};

fn house() -> &'static Path {
    static HOUSE: OnceLock<PathBuf> = OnceLock::new();
    HOUSE.get_or_init(|| house::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("conda-channel")))
}

fn conda_hoist() -> Command {
    let mut command = hoist();
    command.env("CONDARC", house().join("condarc"));
    command
}

fn build(name: &str, app: &Path, more: &[&str]) -> Said {
    run(conda_hoist().args(["--events", "json", "build", "--json", name, "--path"]).arg(app).args(more))
}

fn fails(files: &[(&str, &str)], more: &[&str]) -> String {
    let app = tree(&[files, &[("main.py", "print(1)\n"), ("Procfile", "web: python main.py\n")]].concat());
    let said = run(conda_hoist().args(["build", "test/conda-bad", "--path"]).arg(app.path()).args(more));
    assert_ne!(said.code, 0, "{}", said.stderr);
    said.stderr
}

const MAIN: &str =
    "import greet, os, sys\ngreet.main()\nprint(os.environ['MODE'], os.environ['GREET_HOME'], sys.prefix)\n";
const ENVIRONMENT: &str = "name: app\nchannels:\n  - ours\n  - nodefaults\ndependencies:\n  - python\n  - greet=0.1\nvariables:\n  MODE: fast\n";

#[test]
fn an_environment_is_built_run_and_kept() {
    let app = tree(&[("environment.yml", ENVIRONMENT), ("main.py", MAIN), ("Procfile", "web: python main.py\n")]);
    let first = build("test/conda", app.path(), &[]).ok();
    let said = run(conda_hoist().args(["run", "test/conda"])).ok();
    assert_eq!(said.stdout, "hello from conda\nfast here /layers/hoist_conda/env/conda\n");
    assert!(first.stderr.contains("which an image does not run: greet.sh"), "{}", first.stderr);
    let program = run(conda_hoist().args(["run", "--entrypoint", "launcher", "test/conda", "--", "greet"])).ok();
    assert_eq!(program.stdout, "hello from conda\n");

    let again = build("test/conda", app.path(), &[]).ok();
    assert_eq!(again.json()["image_id"], first.json()["image_id"]);
    assert!(again.stderr.contains("unchanged"), "{}", again.stderr);

    // From nothing it is the same image.
    let fresh = build("test/conda-fresh", app.path(), &["--clear-cache"]).ok();
    assert_eq!(fresh.json()["image_id"], first.json()["image_id"]);

    std::fs::write(app.path().join("environment.yml"), ENVIRONMENT.replace("fast", "slow")).unwrap();
    let changed = build("test/conda", app.path(), &[]).ok();
    assert!(changed.stderr.contains("environment.yml has changed"), "{}", changed.stderr);
    let said = run(conda_hoist().args(["run", "test/conda"])).ok();
    assert!(said.stdout.contains("slow here"), "{}", said.stdout);
}

#[test]
fn what_pip_adds_sees_what_conda_brought() {
    let environment =
        "channels: [ours, nodefaults]\ndependencies:\n  - python\n  - greet\n  - pip:\n    - -r more.txt\n";
    let main = "import extra\nextra.main()\n";
    let app = tree(&[
        ("environment.yml", environment),
        ("main.py", main),
        ("Procfile", "web: python main.py\n"),
        ("more.txt", "./extra-1.0-py3-none-any.whl\n"),
    ]);
    wheel(&app.path().join("extra-1.0-py3-none-any.whl"));
    build("test/conda-pip", app.path(), &[]).ok();
    let said = run(conda_hoist().args(["run", "test/conda-pip"])).ok();
    assert_eq!(said.stdout, "hello from conda\n");

    // What a line includes is part of what it says.
    std::fs::write(app.path().join("more.txt"), "# another\n./extra-1.0-py3-none-any.whl\n").unwrap();
    let changed = build("test/conda-pip", app.path(), &[]).ok();
    assert!(changed.stderr.contains("what pip is to install has changed"), "{}", changed.stderr);
    std::fs::write(app.path().join("more.txt"), "-r gone.txt\n").unwrap();
    let failed = build("test/conda-pip", app.path(), &[]);
    assert!(failed.code != 0 && failed.stderr.contains("there is no gone.txt"), "{}", failed.stderr);
}

fn wheel(path: &Path) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, text) in [
        ("extra/__init__.py", "from greet import main\n"),
        ("extra-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n"),
        ("extra-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        (
            "extra-1.0.dist-info/RECORD",
            "extra/__init__.py,,\nextra-1.0.dist-info/METADATA,,\nextra-1.0.dist-info/WHEEL,,\nextra-1.0.dist-info/RECORD,,\n",
        ),
    ] {
        archive.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut archive, text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

/// The addresses of the archives that `greet` needs.
fn archives() -> Vec<String> {
    let wanted = |file: &Path| {
        let name = file.file_name().unwrap().to_str().unwrap();
        ["python-", "greet-", "libgreet-1"].iter().any(|start| name.starts_with(start))
    };
    let files = files_below(&house().join("ours"));
    files.iter().filter(|file| wanted(file)).map(|file| format!("file://{}", file.display())).collect()
}

/// What conda-lock writes.
fn conda_lock(platform: &str, archives: &[String]) -> String {
    let mut lock = format!(
        "version: 1\nmetadata:\n  content_hash: {{{platform}: a}}\n  channels: [{{url: ours, used_env_vars: []}}]\n  platforms: [{platform}]\n  sources: [environment.yml]\npackage:\n"
    );
    for address in archives {
        let stem = address.rsplit('/').next().unwrap();
        let (name, rest) = stem.split_once('-').unwrap();
        let version = rest.split('-').next().unwrap();
        lock.push_str(&format!(
            "- name: {name}\n  version: '{version}'\n  manager: conda\n  platform: {platform}\n  dependencies: {{}}\n  url: {address}\n  hash: {{sha256: {}}}\n  category: main\n  optional: false\n",
            sha256(address)
        ));
    }
    lock
}

/// What pixi writes.
fn pixi_lock(archives: &[String]) -> String {
    let list: String = archives.iter().map(|address| format!("      - conda: {address}\n")).collect();
    let package = |address: &String| {
        let subdir = address.rsplit('/').nth(1).unwrap();
        format!("- conda: {address}\n  subdir: {subdir}\n  sha256: {}\n", sha256(address))
    };
    let packages: String = archives.iter().map(package).collect();
    let channel = house().join("ours");
    format!(
        "version: 6\nenvironments:\n  web:\n    channels:\n    - url: file://{}/\n    packages:\n      linux-64:\n{list}packages:\n{packages}",
        channel.display()
    )
}

#[test]
fn a_lock_and_a_list_need_no_solver() {
    let list = format!("# platform: linux-64\n@EXPLICIT\n{}\n", archives().join("\n"));
    let locks = [
        ("package-list.txt", list, &["--clear-cache"][..]),
        ("conda-lock.yml", conda_lock("linux-64", &archives()), &["--clear-cache"]),
        ("pixi.lock", pixi_lock(&archives()), &["--clear-cache", "--env", "BP_CONDA_ENVIRONMENT=web"]),
    ];
    for (file, text, more) in locks {
        let app = tree(&[
            (file, text.as_str()),
            ("main.py", "import greet; greet.main()\n"),
            ("Procfile", "web: python main.py\n"),
        ]);
        let built = build("test/conda-list", app.path(), more).ok();
        assert!(built.stderr.contains("installing 3 packages"), "{}", built.stderr);
        assert_eq!(run(conda_hoist().args(["run", "test/conda-list"])).ok().stdout, "hello from conda\n", "{file}");
    }
}

#[test]
fn what_cannot_be_installed_is_explained() {
    let environment = |lines: &str| format!("channels: [ours, nodefaults]\ndependencies:\n  - python\n{lines}");
    let text = fails(&[("environment.yml", &environment("  - greet\n  - modern\n"))], &[]);
    for part in [
        "no packages fit together",
        "environment.yml line 4 asks for greet",
        "environment.yml line 5 asks for modern",
        "libgreet",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = fails(&[("environment.yml", &environment("  - cudalib\n"))], &[]);
    assert!(text.contains("CONDA_OVERRIDE_CUDA=12.4"), "{text}");
    let text = fails(&[("environment.yml", &environment("  - young\n"))], &["--as-of", "2026-01-01"]);
    for part in ["line 4 asks for young", "those of 2026-01-01 (BP_AS_OF)", "take a later day"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = fails(&[("environment.yml", &environment("  - timeless\n"))], &["--as-of", "2026-01-01"]);
    assert!(text.contains("does not say of some packages when they were made"), "{text}");
    let text = fails(&[("environment.yml", &environment("  - nowhere-to-be-found\n"))], &[]);
    assert!(text.contains("line 4 asks for nowhere-to-be-found") && text.contains("its channel among ours"), "{text}");
    let text = fails(&[("environment.yml", "channels: [absent]\ndependencies: [python, greet]\n")], &[]);
    assert!(text.contains("absent: no answer at file://") && text.contains("BP_CONDA_CHANNEL_ALIAS"), "{text}");
    let text = fails(&[("environment.yml", "dependencies:\n  - a\n - b\n")], &[]);
    assert!(text.contains("environment.yml line 3"), "{text}");
    let text = fails(&[("environment.yml", "dependecies: [python]\n")], &[]);
    assert!(text.contains("dependencies is meant"), "{text}");
    let text = fails(&[("package-list.txt", "# platform: osx-arm64\npython=3.11=h1\n")], &[]);
    assert!(text.contains("it is for osx-arm64, and the image is linux-64"), "{text}");
    let lock = conda_lock("osx-64", &["https://c.invalid/osx-64/python-3.11.9-h1_0.conda".to_owned()]);
    let text = fails(&[("conda-lock.yml", &lock)], &[]);
    assert!(text.contains("it is for osx-64, and the image is linux-64"), "{text}");
    let text = fails(&[("pixi.lock", "version: 1000\n")], &[]);
    assert!(text.contains("newer lockfile format"), "{text}");
}

#[test]
fn a_check_says_beforehand_what_would_be_installed() {
    let app = tree(&[("environment.yml", ENVIRONMENT), ("main.py", MAIN), ("Procfile", "web: python main.py\n")]);
    let said = run(conda_hoist().args(["check"]).arg(app.path()));
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(said.code == 0 && all.contains("environment.yml") && all.contains("conda"), "{all}");
    std::fs::write(app.path().join("environment.yml"), "dependencies:\n  - greet ===\n").unwrap();
    let said = run(conda_hoist().args(["check"]).arg(app.path()));
    assert!(
        said.code != 0 && format!("{}{}", said.stdout, said.stderr).contains("names no package"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_channel_that_asks_for_a_login_gets_it_from_the_machines_settings() {
    let port = serve(&house().join("ours"), Some("Basic bWU6c2VjcmV0"));
    let dir = tempfile::tempdir().unwrap();
    let condarc = dir.path().join("condarc");
    std::fs::write(&condarc, format!("mirrored_channels:\n  ours: [\"http://me:secret@127.0.0.1:{port}\"]\n")).unwrap();
    let app = tree(&[("environment.yml", ENVIRONMENT), ("main.py", MAIN), ("Procfile", "web: python main.py\n")]);
    let said = run(hoist().env("CONDARC", &condarc).args(["build", "test/conda-login", "--path"]).arg(app.path())).ok();
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    let text = run(hoist().args([
        "run",
        "--entrypoint",
        "launcher",
        "test/conda-login",
        "--",
        "sh",
        "-c",
        "cat /layers/hoist_conda/env/conda/conda-meta/*.json",
    ]))
    .ok()
    .stdout;
    let text = text.replace("secrets.py", "");
    assert!(text.contains("127.0.0.1") && !text.contains("secret"), "credentials are in the image");
}

/// What became of the environment's layers: how many were kept of how many, and how large those are that were made.
fn kept(said: &Said) -> (usize, usize, u64) {
    let events = said.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut env =
        events.filter(|event| event["event"] == "layer" && event["layer"] == "env" && event["action"] == "made");
    let env = env.next_back().expect("the environment was made");
    let reason = env["reason"].as_str().unwrap();
    let words: Vec<&str> = reason.rsplit("; ").next().unwrap().split(' ').collect();
    let [kept, "of", "its", all, "OCI", "layers", "are", "kept"] = words[..] else { panic!("{reason}") };
    (kept.parse().unwrap(), all.parse().unwrap(), env["size_bytes"].as_u64().unwrap())
}

/// That two builds made the same image; else what of it differs: settings, layers, and of layers the entries.
fn assert_same_image(one: &Said, other: &Said) {
    let ids = [one, other].map(|said| said.json()["image_id"].as_str().unwrap().rsplit(':').next().unwrap().to_owned());
    if ids[0] == ids[1] {
        return;
    }
    let store = shared_store();
    let config = |id: &String| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(store.join("images/sha256").join(id)).unwrap()).unwrap()
    };
    let [a, b] = [config(&ids[0]), config(&ids[1])];
    let mut said = format!("settings differ: {}\n{}\n{}\n", a["config"] != b["config"], a["config"], b["config"]);
    let layers = |config: &serde_json::Value| -> Vec<(String, String)> {
        let texts = |value: &serde_json::Value| value.as_array().unwrap().clone();
        let histories = texts(&config["history"]).into_iter().filter(|entry| entry["empty_layer"] != true);
        let diff_ids = texts(&config["rootfs"]["diff_ids"]).into_iter();
        histories
            .zip(diff_ids)
            .map(|(entry, id)| (entry["created_by"].to_string(), id.as_str().unwrap().to_owned()))
            .collect()
    };
    let index = |diff_id: &str| {
        let hex = diff_id.trim_start_matches("sha256:");
        std::fs::read_to_string(store.join("layers/sha256").join(hex).join("index")).unwrap_or_default()
    };
    for ((what, id), (other_what, other_id)) in
        layers(&a).into_iter().zip(layers(&b)).filter(|(one, other)| one != other)
    {
        said.push_str(&format!("{what} {id} is {other_what} {other_id}\n"));
        let (entries, others) = (index(&id), index(&other_id));
        for (sign, of, not_of) in [("-", &entries, &others), ("+", &others, &entries)] {
            let known: std::collections::HashSet<&str> = not_of.lines().collect();
            of.lines()
                .filter(|line| !known.contains(line))
                .take(20)
                .for_each(|line| said.push_str(&format!("  {sign} {line}\n")));
        }
    }
    panic!("{} is not {}: {said}", ids[0], ids[1]);
}

#[test]
fn a_changed_package_keeps_the_layers_of_the_others() {
    // More than a megabyte each, so that each is a layer; sources, so that there is bytecode; one small one.
    let dir = tempfile::tempdir().unwrap();
    let mut channel = Channel::at(&dir.path().join("many"));
    channel.add(&python());
    let part = |name: &str, version: &str, bytes: usize| {
        let data: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap() ^ version.as_bytes()[0]).collect();
        Package::new(name, version)
            .noarch_python()
            .needs(&["python"])
            .entry_point(&format!("{name} = {name}.run:main"))
            .file(&format!("site-packages/{name}/__init__.py"), format!("VERSION = {version:?}\n"))
            .file(&format!("site-packages/{name}/run{version}.py"), "def main():\n    pass\n")
            .file(&format!("site-packages/{name}/data.bin"), data)
    };
    for number in 0..20 {
        channel.add(&part(&format!("part{number:02}"), "1.0", (1 << 20) + 4096));
    }
    channel.add(&part("part07", "2.0", (1 << 20) + 4096));
    channel.add(&part("little", "1.0", 100));
    let condarc = dir.path().join("condarc");
    std::fs::write(&condarc, format!("channel_alias: file://{}\n", dir.path().display())).unwrap();
    let environment = |changed: &str, more: &str| {
        let lines: String = (0..20)
            .map(|number| format!("  - part{number:02}={}\n", if number == 7 { changed } else { "1.0" }))
            .collect();
        format!("channels: [many, nodefaults]\ndependencies:\n  - python\n{lines}{more}")
    };
    let main = "import part07, part08\nprint(part07.VERSION, part08.VERSION)\n";
    let app = tree(&[
        ("environment.yml", &environment("1.0", "  - little\n")),
        ("main.py", main),
        ("Procfile", "web: python main.py\n"),
    ]);
    let build = |name: &str, more: &[&str]| {
        let mut command = hoist();
        command.env("CONDARC", &condarc).args(["--events", "json", "build", "--json", name, "--path"]).arg(app.path());
        run(command.args(more)).ok()
    };
    build("test/conda-many", &[]);
    for (text, printed, told) in [
        (environment("2.0", "  - little\n"), "2.0 1.0\n", "compiling 2 files"),
        (environment("2.0", ""), "2.0 1.0\n", "compiling 0 files"),
    ] {
        std::fs::write(app.path().join("environment.yml"), text).unwrap();
        let changed = build("test/conda-many", &[]);
        assert_eq!(run(hoist().args(["run", "test/conda-many"])).ok().stdout, printed);
        let (kept, all, bytes) = kept(&changed);
        // Made are the package's own layer or bucket, and what belongs to no package.
        assert!(all > 20 && all - kept <= 2, "{kept} of {all} are kept: {}", changed.stderr);
        assert!(bytes < 4 << 20, "{bytes} bytes were written");
        // It is what making it from nothing gives.
        let fresh = build("test/conda-many-fresh", &["--clear-cache"]);
        assert_same_image(&fresh, &changed);
        assert!(changed.stderr.contains("changing the environment"), "{}", changed.stderr);
        // Nothing but the changed package is unpacked and compiled.
        assert!(changed.stderr.contains(told), "{}", changed.stderr);
    }
    // Nothing changed: no channel is asked, and nothing is solved.
    std::fs::rename(dir.path().join("many"), dir.path().join("away")).unwrap();
    let same = build("test/conda-many", &[]);
    assert!(same.stderr.contains(", unchanged") && !same.stderr.contains("rattler"), "{}", same.stderr);
    for name in ["test/conda-many", "test/conda-many-fresh"] {
        run(hoist().args(["image", "rm", name])).ok();
    }
}

#[test]
fn an_environment_that_was_compiled_before_starts_no_python() {
    // What nobody compiled before, not even an earlier run of this test.
    let dir = tempfile::tempdir().unwrap();
    let mut channel = Channel::at(&dir.path().join("once"));
    channel.add(&python());
    let source = format!("import sys\ndef main():\n    print({:?})\n", dir.path());
    channel.add(&Package::new("once", "1.0").noarch_python().needs(&["python"]).file("site-packages/once.py", source));
    let condarc = dir.path().join("condarc");
    std::fs::write(&condarc, format!("channel_alias: file://{}\n", dir.path().display())).unwrap();
    let app = tree(&[
        ("environment.yml", "channels: [once, nodefaults]\ndependencies: [python, once]\n"),
        ("main.py", "import once\nonce.main()\nprint(once.__cached__)\n"),
        ("Procfile", "web: python main.py\n"),
    ]);
    let build = |name: &str, more: &[&str]| {
        let mut command = hoist();
        command.env("CONDARC", &condarc).args(["--events", "json", "build", "--json", name, "--path"]).arg(app.path());
        run(command.args(more)).ok()
    };
    let first = build("test/conda-once", &["--clear-cache"]);
    assert!(first.stderr.contains("without the cache that builds share"), "{}", first.stderr);
    let second = build("test/conda-twice", &["--clear-cache"]);
    assert_same_image(&first, &second);
    for said in ["without the cache that builds share", "compiling"] {
        assert!(!second.stderr.contains(said), "{said}: {}", second.stderr);
    }
    assert!(second.stderr.contains("their bytecode was kept from an earlier build"), "{}", second.stderr);
    let said = run(hoist().args(["run", "test/conda-twice"])).ok().stdout;
    assert!(said.contains("__pycache__/once.cpython-"), "{said}");
    // What pip adds runs, so it is compiled where the shared cache is not seen.
    let with_pip =
        "channels: [once, nodefaults]\ndependencies: [python, once, {pip: [./extra-1.0-py3-none-any.whl]}]\n";
    std::fs::write(app.path().join("environment.yml"), with_pip).unwrap();
    wheel(&app.path().join("extra-1.0-py3-none-any.whl"));
    let third = build("test/conda-twice", &["--clear-cache"]);
    assert!(third.stderr.contains("without the cache that builds share"), "{}", third.stderr);
    for name in ["test/conda-once", "test/conda-twice"] {
        run(hoist().args(["image", "rm", name])).ok();
    }
}

#[test]
fn an_environment_is_made_anew_from_what_was_unpacked_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut channel = Channel::at(&dir.path().join("anew"));
    let mut archives = vec![channel.add(&python())];
    // What nobody compiled before: its Python has to run.
    let source = format!("def main():\n    print({:?})\n", dir.path());
    let package = Package::new("anew", "1.0").noarch_python().needs(&["python"]).file("site-packages/anew.py", source);
    archives.push(channel.add(&package));
    let condarc = dir.path().join("condarc");
    std::fs::write(&condarc, format!("channel_alias: file://{}\n", dir.path().display())).unwrap();
    let environment = "channels: [anew, nodefaults]\ndependencies:\n- python\n- anew\n";
    let app = tree(&[
        ("environment.yml", environment),
        ("main.py", "import anew\nanew.main()\n"),
        ("Procfile", "web: python main.py\n"),
    ]);
    let build = || {
        let mut command = hoist();
        command.env("CONDARC", &condarc).args(["--events", "json", "build", "--json", "test/conda-anew", "--path"]);
        run(command.arg(app.path())).ok()
    };
    build();
    // pip's part cannot be changed package by package; and where the Python of the image's packages has run, the shared cache is only read.
    for archive in archives {
        std::fs::write(archive, "nobody opens it").unwrap();
    }
    let more = format!("{environment}- pip:\n  - ./extra-1.0-py3-none-any.whl\n");
    std::fs::write(app.path().join("environment.yml"), more).unwrap();
    wheel(&app.path().join("extra-1.0-py3-none-any.whl"));
    let anew = build();
    assert!(
        anew.stderr.contains("installing anew") && anew.stderr.contains("installing 2 packages"),
        "{}",
        anew.stderr
    );
    let said = run(hoist().args(["run", "test/conda-anew"])).ok().stdout;
    assert_eq!(said.trim(), format!("{:?}", dir.path()).trim_matches('"'));
    run(hoist().args(["image", "rm", "test/conda-anew"])).ok();
}
