//! Builds without a network: bundles are made with one, and everything after that happens in a network namespace where there is nothing, from a store that
//! is empty at first.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::expect_used)] // helpers fail as loudly as their tests

#[path = "support/house.rs"]
mod house;
mod support;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use support::{Said, hoist, poison, run, shared_store, tree};

const MAIN: (&str, &str) = ("main.py", "import click\nprint('click', click.__version__)\n");
const PROCFILE: (&str, &str) = ("Procfile", "web: python main.py\n");

/// A machine that has nothing but hoist, an app and a bundle.
struct Bare {
    dir: tempfile::TempDir,
}

impl Bare {
    fn new() -> Self {
        Self { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn hoist(&self) -> Command {
        without_network(&self.store())
    }

    fn build(&self, app: &Path, bundle: &Path) -> Said {
        run(self
            .hoist()
            .args(["build", "--json", "offline-app", "--offline", "--bundle"])
            .arg(bundle)
            .arg("--path")
            .arg(app))
    }
}

/// `hoist` in a network namespace of its own, in which nothing is up; what says where packages are is not there either.
fn without_network(store: &Path) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    poison(&mut command);
    for name in
        ["SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "HOME"]
    {
        command.env_remove(name);
    }
    command.env("PIP_CONFIG_FILE", "/dev/null");
    command.args(["--net", "--", env!("CARGO_BIN_EXE_hoist"), "--store"]).arg(store);
    command
}

/// Makes a bundle with the network and the shared store.
fn bundle(app: &Path, file: &Path, more: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
    run(hoist().args(["bundle", "--json", "--path"]).arg(app).arg("--output").arg(file).args(more))
}

fn image_id(said: &Said) -> String {
    said.json()["image_id"].as_str().unwrap().to_owned()
}

/// Answers nobody and counts who comes.
fn listener() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, count)
}

#[test]
fn what_was_bundled_is_built_elsewhere_without_a_network_and_is_the_same_image() {
    let app = tree(&[("requirements.txt", "click==8.1.7\n"), ("apt.txt", "jq\n"), MAIN, PROCFILE]);
    let online = run(hoist().args(["build", "--json", "test/offline", "--clear-cache", "--path"]).arg(app.path())).ok();
    let bare = Bare::new();
    let file = bare.dir.path().join("app.bundle");
    let made = bundle(app.path(), &file, [""; 0]).ok();
    assert_eq!(image_id(&made), image_id(&online), "{}", made.stderr);
    assert_eq!(made.json()["is_repeatable"], true);

    let built = bare.build(app.path(), &file).ok();
    assert_eq!(image_id(&built), image_id(&online), "{}", built.stderr);
    let ran = run(bare.hoist().args(["run", "--network", "none", "offline-app"])).ok();
    assert_eq!(ran.stdout, "click 8.1.7\n");
    // It is there once, and nothing is unpacked again.
    let again = bare.build(app.path(), &file).ok();
    assert_eq!(image_id(&again), image_id(&online));
    assert!(built.stderr.contains("checking and unpacking") && !again.stderr.contains("unpacking"), "{}", again.stderr);
    // What it brought has no name here, and is not what other builds take.
    let names = run(bare.hoist().args(["image", "ls", "--json"])).ok();
    assert!(!names.stdout.contains("hoist/"), "{}", names.stdout);
    let other = run(bare.hoist().args(["build", "other", "--offline", "--path"]).arg(app.path())).code(2);
    other.says("there is no base of trixie here, and without the network none can be made").says("--bundle FILE");

    // Other code is built, and no connection is tried: whoever tries one comes to the proxy that counts.
    fs::write(app.path().join("main.py"), "import click\nprint('changed', click.__version__)\n").unwrap();
    let (proxy, count) = listener();
    let mut command = support::hoist_with_store(&bare.store());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, &proxy);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    command.args(["build", "--json", "offline-app", "--offline", "--bundle"]).arg(&file).arg("--path").arg(app.path());
    let changed = run(&mut command).ok();
    assert_ne!(image_id(&changed), image_id(&online));
    let ran = run(bare.hoist().args(["run", "--network", "none", "offline-app"])).ok();
    assert_eq!(ran.stdout, "changed 8.1.7\n");

    // A dependency that was not bundled is named.
    for (text, name) in [("click==8.1.7\nitsdangerous\n", "itsdangerous"), ("click==8.1.3\n", "click==8.1.3")] {
        fs::write(app.path().join("requirements.txt"), text).unwrap();
        let failed = run(&mut command).code(1);
        assert!(failed.stderr.contains(name), "{}", failed.stderr);
        failed.says("this build may not use the network").says("hoist bundle --path DIR --output FILE");
    }
    fs::write(app.path().join("requirements.txt"), "click==8.1.7\n").unwrap();
    fs::write(app.path().join("apt.txt"), "jq tree\n").unwrap();
    run(&mut command).code(1).says("jq, tree").says("this build may not use the network");
    fs::write(app.path().join("apt.txt"), "jq\n").unwrap();
    fs::write(app.path().join(".python-version"), "3.11\n").unwrap();
    run(&mut command).code(1).says("Python 3.11").says("this build may not use the network");
    assert_eq!(count.load(Ordering::Relaxed), 0, "nobody was asked for anything");

    // What people ask of the file.
    let inspected = run(hoist().args(["bundle", "inspect"]).arg(&file)).ok().stdout;
    for line in ["image    sha256:", "  hoist/run sha256:", "  pypi click 8.1.7\n", "  deb jq "] {
        assert!(inspected.contains(line), "{line}: {inspected}");
    }
    let contents = run(hoist().args(["bundle", "inspect", "--json"]).arg(&file)).ok().json();
    assert_eq!(contents["image_id"], online.json()["image_id"]);
    assert_eq!(contents["images"].as_array().unwrap().len(), 2);

    // Prune takes it away, and the file brings it back.
    run(bare.hoist().args(["system", "prune", "--all", "--json"])).ok();
    assert_eq!(fs::read_dir(bare.store().join("bundles")).unwrap().count(), 0);
    fs::remove_file(app.path().join(".python-version")).unwrap();
    assert_eq!(image_id(&bare.build(app.path(), &file).ok()), image_id(&changed));
    assert!(support::mounts_left().is_empty());
    damaged_bundles_change_nothing(app.path(), &file);
}

/// Of a bundle that is good.
fn damaged_bundles_change_nothing(app: &Path, file: &Path) {
    let good = fs::read(file).unwrap();
    let bare = Bare::new();
    let place = bare.dir.path().join("bad.bundle");
    let refused = |bytes: &[u8], code: i32, words: &str| {
        fs::write(&place, bytes).unwrap();
        let said = bare.build(app, &place).code(code);
        assert!(said.stderr.contains(words), "{words:?}: {}", said.stderr);
        let left = fs::read_dir(bare.store().join("bundles")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{words}");
        let images = fs::read_dir(bare.store().join("images/sha256")).map_or(0, Iterator::count);
        assert_eq!(images, 0, "{words}");
        assert_eq!(fs::read_dir(bare.store().join("scratch")).map_or(0, Iterator::count), 0, "{words}");
    };
    refused(b"no tar", 2, "is no bundle of hoist's");
    refused(&good[..good.len() / 2], 2, "is damaged");
    refused(&good[..good.len() - 4096], 2, "is damaged");
    let mut flipped = good.clone();
    let at = good.len() - 20_000;
    flipped[at] ^= 0x40;
    refused(&flipped, 2, "is damaged");
    let mut flipped = good.clone();
    flipped[2000] ^= 1;
    refused(&flipped, 2, "bundle.json should have the digest");

    // A stranger's own words, with the right digests.
    let changed = |change: &dyn Fn(&mut serde_json::Value)| rewritten(&good, change);
    refused(&changed(&|document| document["files"][0]["path"] = "../../evil".into()), 2, "leads out of it");
    refused(
        &changed(&|document| document["links"] = serde_json::json!([{"path": "x", "target": "/etc"}])),
        2,
        "the link \"x\" leads out of it",
    );
    refused(&changed(&|document| document["files"][0]["sha256"] = "0".repeat(64).into()), 2, "is damaged");
    refused(&changed(&|document| document["files"][0]["bytes"] = 1.into()), 2, "is damaged");
    refused(&changed(&|document| document["architecture"] = "pdp11".into()), 2, "is for pdp11, and this machine is");
    refused(&changed(&|document| document["surprise"] = 1.into()), 2, "unknown field `surprise`");
    let other = good.windows(14).position(|bytes| bytes == b"hoist bundle 1").unwrap();
    let mut newer = good.clone();
    newer[other + 13] = b'9';
    refused(&newer, 2, "has format \"9\", this hoist reads format 1");
    // All that is missing is an image: nothing of the bundle is used all the same.
    fs::write(&place, changed(&|document| document["images"][0]["id"] = format!("sha256:{}", "0".repeat(64)).into()))
        .unwrap();
    let said = bare.build(app, &place).code(2);
    assert!(said.stderr.contains("is refused: the images of its base are not in it"), "{}", said.stderr);
    assert_eq!(fs::read_dir(bare.store().join("bundles")).map_or(0, Iterator::count), 0);
}

/// The bundle with another document, and the mark that belongs to it.
fn rewritten(good: &[u8], change: &dyn Fn(&mut serde_json::Value)) -> Vec<u8> {
    use sha2::Digest;
    let mut parts = Vec::new();
    for entry in tar::Archive::new(good).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        parts.push((entry.path().unwrap().display().to_string(), bytes));
    }
    let mut document: serde_json::Value = serde_json::from_slice(&parts[1].1).unwrap();
    change(&mut document);
    parts[1].1 = serde_json::to_vec(&document).unwrap();
    parts[0].1 = format!("hoist bundle 1\nsha256:{:x}\n", sha2::Sha256::digest(&parts[1].1)).into_bytes();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn a_lock_and_a_package_that_is_built_from_source_are_bundled() {
    let app = tree(&[("requirements.txt", "./mine\nclick\n"), MAIN, PROCFILE]);
    fs::create_dir(app.path().join("mine")).unwrap();
    let setup = "from setuptools import setup\nsetup(name='mine', version='1', py_modules=['mine'])\n";
    fs::write(app.path().join("mine/setup.py"), setup).unwrap();
    fs::write(app.path().join("mine/mine.py"), "x = 1\n").unwrap();
    let bare = Bare::new();
    let file = bare.dir.path().join("source.bundle");
    let made = bundle(app.path(), &file, [""; 0]).ok();
    assert_eq!(made.json()["is_repeatable"], true, "{}", made.stderr);
    let built = bare.build(app.path(), &file).ok();
    assert_eq!(image_id(&built), image_id(&made), "{}", built.stderr);

    let app = tree(&[("requirements.txt", "click<8.1.4\n"), MAIN, PROCFILE]);
    run(hoist().args(["check", "--lock"]).arg(app.path().join("pylock.toml")).arg(app.path())).ok();
    let file = bare.dir.path().join("lock.bundle");
    let made = bundle(app.path(), &file, [""; 0]).ok();
    let built = bare.build(app.path(), &file).ok();
    assert_eq!(image_id(&built), image_id(&made), "{}", built.stderr);
    assert!(built.stderr.contains("packages from pylock.toml"), "{}", built.stderr);
}

#[test]
fn an_environment_of_condas_is_bundled_with_its_channel_left_behind() {
    let house = house::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("conda-channel"));
    let environment =
        "channels: [ours, nodefaults]\ndependencies:\n  - python\n  - greet=0.1\n  - pip:\n    - click==8.1.7\n";
    let main = "import greet, click\ngreet.main()\nprint(click.__version__)\n";
    let app = tree(&[("environment.yml", environment), ("main.py", main), PROCFILE]);
    let bare = Bare::new();
    let file = bare.dir.path().join("conda.bundle");
    let mut command = hoist();
    command.env("CONDARC", house.join("condarc"));
    let made = run(command.args(["bundle", "--json", "--path"]).arg(app.path()).arg("--output").arg(&file)).ok();
    let built = bare.build(app.path(), &file).ok();
    assert_eq!(image_id(&built), image_id(&made), "{}", built.stderr);
    let ran = run(bare.hoist().args(["run", "--network", "none", "offline-app"])).ok();
    assert_eq!(ran.stdout, "hello from conda\n8.1.7\n");
    fs::write(app.path().join("environment.yml"), environment.replace("greet=0.1", "greet")).unwrap();
    bare.build(app.path(), &file).code(1).says("python, greet").says("this build may not use the network");
}

#[test]
fn a_service_in_a_zip_is_built_and_executed_without_a_network() {
    let program = "import click\ndef run(data=None, params=None):\n    return {'sum': sum(data['values']), 'click': click.__version__}\n";
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let zip = dir.path().join("adder.zip");
    let mut archive = zip::ZipWriter::new(fs::File::create(&zip).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, text) in [("src/program.py", program), ("src/__init__.py", ""), ("requirements.txt", "click==8.1.7\n")] {
        archive.start_file(name, options).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let bare = Bare::new();
    let file = bare.dir.path().join("adder.bundle");
    let made = bundle(&zip, &file, [""; 0]).ok();
    let built = bare.build(&zip, &file).ok();
    assert_eq!(image_id(&built), image_id(&made), "{}", built.stderr);
    let job = run(bare
        .hoist()
        .args(["job", "run", "--data", r#"{"values": [1, 2, 4]}"#, "--offline", "--bundle"])
        .arg(&file)
        .arg(&zip))
    .ok();
    let result: serde_json::Value = serde_json::from_str(&job.stdout).unwrap();
    assert_eq!(result, serde_json::json!({"sum": 7, "click": "8.1.7"}));
}

const DETECT: &str = "#!/bin/sh\nexit 0\n";

#[test]
fn a_builder_of_ones_own_is_bundled_and_what_its_buildpacks_fetch_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tree(&[
        (
            "builder.toml",
            "[build]\nimage = \"hoist/build\"\n\n[[run.images]]\nimage = \"hoist/run\"\n\n[[buildpacks]]\nid = \"acme/say\"\nversion = \"1\"\nuri = \"say\"\n\n[[order]]\n[[order.group]]\nid = \"acme/say\"\nversion = \"1\"\n",
        ),
        ("say/buildpack.toml", "api = \"0.10\"\n[buildpack]\nid = \"acme/say\"\nversion = \"1\"\n"),
        ("say/bin/detect", DETECT),
        (
            "say/bin/build",
            "#!/bin/sh\nset -e\nif test -e fetch; then test \"$(grep -c : /proc/net/dev)\" -gt 1 || { echo no network; exit 7; }; fi\nprintf '[[processes]]\\ntype = \"web\"\\ncommand = [\"echo\", \"said\"]\\ndefault = true\\n' > \"$1/launch.toml\"\n",
        ),
        ("app/text", "1\n"),
    ]);
    for program in ["detect", "build"] {
        fs::set_permissions(dir.path().join("say/bin").join(program), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let config = dir.path().join("builder.toml");
    run(hoist().args(["builder", "create", "test/offline-builder", "--config"]).arg(&config)).ok();
    let app = dir.path().join("app");
    let bare = Bare::new();
    let file = bare.dir.path().join("say.bundle");
    let made = bundle(&app, &file, ["--builder", "test/offline-builder"]).ok();
    // The builder is the bundle's, and need not be named again.
    let built = bare.build(&app, &file).ok();
    assert_eq!(image_id(&built), image_id(&made), "{}", built.stderr);
    let ran = run(bare.hoist().args(["run", "--network", "none", "offline-app"])).ok();
    assert_eq!(ran.stdout, "said\n");
    let names = run(bare.hoist().args(["image", "ls", "--json"])).ok();
    assert!(!names.stdout.contains("offline-builder"), "{}", names.stdout);

    fs::write(app.join("fetch"), "").unwrap();
    let gone = bare.dir.path().join("gone.bundle");
    let said = bundle(&app, &gone, ["--builder", "test/offline-builder"]).code(2);
    said.says("could not be built again without the network from what was fetched").says("no network");
    assert!(!gone.exists());
    run(hoist().args(["image", "rm", "test/offline-builder"])).ok();
}

#[test]
fn without_a_bundle_the_store_and_its_caches_are_all_there_is() {
    let app = tree(&[("requirements.txt", "click==8.1.7\n"), MAIN, PROCFILE]);
    let online = run(hoist().args(["build", "--json", "test/offline-warm", "--path"]).arg(app.path())).ok();
    let mut command = without_network(&shared_store());
    // The machine's own settings say what the caches were filled from.
    for name in ["HOME", "PIP_CONFIG_FILE"] {
        match std::env::var_os(name).filter(|_| name == "HOME") {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["build", "--json", "test/offline-warm", "--offline", "--clear-cache", "--path"]).arg(app.path());
    let built = run(&mut command).ok();
    assert_eq!(image_id(&built), image_id(&online), "{}", built.stderr);
    run(hoist().args(["build", "x", "--bundle", "y"])).code(2).says("--offline");
    run(hoist().args(["build", "registry.invalid/x", "--offline", "--publish", "--path"]).arg(app.path()))
        .code(2)
        .says("is to be pushed to its registry, and no connection may be tried");
    run(hoist().args(["bundle", "--offline", "--path"]).arg(app.path())).code(2).says("--offline forbids that");
    run(hoist().args(["bundle", "--output", "/nonexistent/x.bundle", "--path"]).arg(app.path()))
        .code(2)
        .says("writing the bundle /nonexistent/x.bundle");
}
