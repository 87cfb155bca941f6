//! What is made again and what is not: unchanged apps, one line, one requirement, another store, an empty store, a damaged one.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::{Said, hoist, hoist_says, hoist_with_store, mounts_left, run, shared_store, tree};

/// A build's image id and what became of each layer.
struct Built {
    id: String,
    layers: Vec<Value>,
}

impl Built {
    fn read(said: &Said) -> Self {
        let id = said.json()["image_id"].as_str().expect("an image id").to_owned();
        let events = said.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let layers: Vec<Value> =
            events.filter(|event| event["event"] == "layer" && event["action"] != "restored").collect();
        assert!(layers.len() > 3, "{}", said.stderr);
        Self { id, layers }
    }

    /// Names of the layers that were written, in their order.
    fn made(&self) -> Vec<&str> {
        let made = self.layers.iter().filter(|layer| layer["action"] != "reused");
        made.filter_map(|layer| layer["layer"].as_str()).collect()
    }

    /// Why a layer was made or is the one of before.
    fn reason(&self, name: &str) -> &str {
        let layer = self.layers.iter().find(|layer| layer["layer"] == name).expect("the layer");
        layer["reason"].as_str().expect("a reason")
    }
}

/// A service that no other run of this test has built.
fn service(requirements: &str) -> tempfile::TempDir {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let program =
        format!("import colorama\n\ndef run(data, params):\n    return {{\"n\": \"{}\"}}\n", since.as_nanos());
    tree(&[("src/program.py", &program), ("requirements.txt", requirements)])
}

fn build_with(mut command: Command, name: &str, app: &Path) -> Built {
    Built::read(&run(command.args(["--events", "json", "build", "--json", name, "--path"]).arg(app)).ok())
}

#[test]
fn only_what_changed_is_made_again() {
    let app = service("colorama==0.4.6\n");
    let first = build_with(hoist(), "test/rebuild", app.path());
    let same = build_with(hoist(), "test/rebuild", app.path());
    assert_eq!(same.id, first.id);
    assert_eq!(same.made(), Vec::<&str>::new(), "nothing changed");
    assert_eq!(same.reason("Application Layer"), "its input is the same", "an app that nobody wrote into is not read");

    let program = app.path().join("src/program.py");
    let text = fs_err::read_to_string(&program).expect("the program");
    fs_err::write(&program, text.replace("{\"n\"", "{\"m\"")).expect("the program");
    let line = build_with(hoist(), "test/rebuild", app.path());
    assert_ne!(line.id, first.id);
    assert_eq!(line.made(), ["Application Layer"]);

    fs_err::write(app.path().join("requirements.txt"), "colorama==0.4.6\nitsdangerous==2.2.0\n").expect("a file");
    let more = build_with(hoist(), "test/rebuild", app.path());
    // What lists packages, the app's folder (its requirements.txt), and of the environment only what is new.
    let env = more.layers.iter().find(|layer| layer["layer"] == "env").expect("the environment");
    let reason = env["reason"].as_str().expect("a reason");
    assert!(reason.contains("OCI layers are kept") && !reason.contains("; 0 of"), "{reason}");
    assert!(env["size_bytes"].as_u64().expect("a size") < 1_000_000, "{env}");
    let others: Vec<_> = more.made().into_iter().filter(|layer| *layer != "env").collect();
    assert_eq!(others, ["sbom", "cache sbom", "Application Layer"]);

    // The way there does not matter.
    let scratch = build_with(hoist(), "test/rebuild-from-nothing", app.path());
    assert_eq!(scratch.id, more.id);
    let mut cleared = hoist();
    cleared.args(["--events", "json", "build", "--json", "--clear-cache", "test/rebuild", "--path"]).arg(app.path());
    assert_eq!(Built::read(&run(&mut cleared).ok()).id, more.id);
    fs_err::write(&program, text).expect("the program");
    fs_err::write(app.path().join("requirements.txt"), "colorama==0.4.6\n").expect("a file");
    assert_eq!(build_with(hoist(), "test/rebuild", app.path()).id, first.id);
    hoist_says(["image", "rm", "test/rebuild"]).ok();
    hoist_says(["image", "rm", "test/rebuild-from-nothing"]).ok();
}

/// A store of the test's own, with what the shared one has downloaded.
fn own_store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let store = dir.path().join("store");
    fs_err::create_dir_all(store.join("cache")).expect("a folder");
    let cache = shared_store().join("cache/host");
    if cache.is_dir() {
        run(Command::new("cp").arg("-r").arg(cache).arg(store.join("cache"))).ok();
    }
    (dir, store)
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(dir).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn another_store_makes_the_same_image_an_empty_one_begins_again_and_a_damaged_one_is_told() {
    let app = service("colorama==0.4.6\n");
    let here = build_with(hoist(), "test/two-stores", app.path());
    let (dir, store) = own_store();
    let own = |args: &[&str]| run(hoist_with_store(&store).args(args));
    let lock = dir.path().join("base.lock");
    run(hoist().args(["base", "lock", "--output"]).arg(&lock)).ok();
    own(&["base", "make", "--locked", lock.to_str().expect("a plain path")]).ok();
    let there = build_with(hoist_with_store(&store), "test/two-stores", app.path());
    assert_eq!(there.id, here.id);

    own(&["image", "verify", "test/two-stores"]).ok();
    damage_is_named(&store);

    own(&["image", "rm", "test/two-stores"]).ok();
    own(&["system", "prune", "--all"]).ok();
    let left = own(&["image", "ls", "--json"]).ok().json();
    assert_eq!(left, serde_json::json!([]));
    let mut files = Vec::new();
    files_below(&store.join("layers"), &mut files);
    assert!(files.is_empty(), "{files:?}");
    let said = run(hoist_with_store(&store).args(["job", "run"]).arg(app.path())).ok();
    assert!(said.json()["n"].is_string(), "{}", said.stdout);
    assert!(mounts_left().iter().all(|mount| !mount.contains(&store.display().to_string())), "{:?}", mounts_left());
    hoist_says(["image", "rm", "test/two-stores"]).ok();
}

/// Flips one byte of a stored file, looks, and puts it right again.
fn damage_is_named(store: &Path) {
    let mut files = Vec::new();
    files_below(&store.join("layers"), &mut files);
    let file = files.iter().find(|file| file.ends_with("src/program.py")).expect("the service's file in its layer");
    let mut bytes = fs_err::read(file).expect("a stored file");
    let flip = |bytes: &mut Vec<u8>| {
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
    };
    flip(&mut bytes);
    fs_err::write(file, &bytes).expect("a damaged file");
    let said = run(hoist_with_store(store).args(["image", "verify", "test/two-stores"])).code(3);
    assert!(format!("{}{}", said.stdout, said.stderr).contains("src/program.py"), "{}{}", said.stdout, said.stderr);
    flip(&mut bytes);
    fs_err::write(file, &bytes).expect("a file as it was");
    run(hoist_with_store(store).args(["image", "verify", "test/two-stores"])).ok();
}

/// A build script can write into all layers of its build. Its own image is its own affair; nobody else's may have what it left.
#[test]
fn an_interpreter_that_a_build_script_could_change_stays_with_its_image() {
    let setup = "open('/layers/hoist_python/python/TRAP', 'w').close()\nfrom setuptools import setup\nsetup(name='trap', version='1.0', py_modules=['trap'])\n";
    let app = tree(&[
        ("main.py", "print(1)\n"),
        ("Procfile", "web: python main.py\n"),
        ("requirements.txt", "./trap\n"),
        ("trap/setup.py", setup),
        ("trap/trap.py", ""),
    ]);
    let other = tree(&[("main.py", "print(2)\n"), ("Procfile", "web: python main.py\n")]);
    let build = |name: &str, dir: &Path| run(hoist().args(["build", name, "--clear-cache", "--path"]).arg(dir)).ok();
    let listed =
        |name: &str| hoist_says(["run", "--entrypoint", "/bin/ls", name, "/layers/hoist_python/python"]).ok().stdout;
    build("rebuild-trap", app.path());
    assert!(listed("rebuild-trap").contains("TRAP"), "the build script ran");
    // No foreign code runs in this build, but its interpreter is the changed one.
    fs_err::write(app.path().join("requirements.txt"), "colorama\n").expect("a file");
    run(hoist().args(["build", "rebuild-trap", "--path"]).arg(app.path())).ok();
    assert!(listed("rebuild-trap").contains("TRAP"), "the cached layer was used");
    run(hoist().args(["build", "rebuild-other", "--path"]).arg(other.path())).ok();
    assert!(!listed("rebuild-other").contains("TRAP"), "another app took it");
    hoist_says(["image", "rm", "rebuild-trap", "rebuild-other"]).ok();
}
