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

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use house::channel::{Channel, Package, serve};
use house::{files_below, python, sha256};
use support::{Said, hoist, run, tree};

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
    for (text, printed) in [(environment("2.0", "  - little\n"), "2.0 1.0\n"), (environment("2.0", ""), "2.0 1.0\n")] {
        std::fs::write(app.path().join("environment.yml"), text).unwrap();
        let changed = build("test/conda-many", &[]);
        assert_eq!(run(hoist().args(["run", "test/conda-many"])).ok().stdout, printed);
        let (kept, all, bytes) = kept(&changed);
        // Made are the package's own layer or bucket, and what belongs to no package.
        assert!(all > 20 && all - kept <= 2, "{kept} of {all} are kept: {}", changed.stderr);
        assert!(bytes < 4 << 20, "{bytes} bytes were written");
        // It is what making it from nothing gives.
        let fresh = build("test/conda-many-fresh", &["--clear-cache"]);
        assert_eq!(fresh.json()["image_id"], changed.json()["image_id"]);
        assert!(changed.stderr.contains("changing the environment"), "{}", changed.stderr);
    }
    for name in ["test/conda-many", "test/conda-many-fresh"] {
        run(hoist().args(["image", "rm", name])).ok();
    }
}

/// A channel of small packages, of which each but `whole` has something wrong.
fn broken_channel(dir: &Path) {
    let mut channel = Channel::at(&dir.join("own"));
    channel.add(&Package::new("python", "3.13.0").file("bin/python3.13", "#!/bin/sh\n"));
    channel.add(&Package::new("whole", "1").file("share/whole", "x".repeat(4096)));
    channel.add(&Package::new("needs-libc", "1").needs(&["__glibc >=9"]));
    channel.add(&Package::new("needs-mac", "1").needs(&["__osx"]));
    channel.add(&Package::new("needs-more", "1").needs(&["absent >=3"]));
    channel.add(&Package::new("climber", "1").file("../../../escaped", "x"));
    let changed = channel.add(&Package::new("changed", "1").file("share/changed", "one"));
    std::fs::copy(dir.join("own/linux-64/whole-1-h0_0.conda"), changed).unwrap();
    std::fs::remove_file(channel.add(&Package::new("gone", "1"))).unwrap();
    // Published as it is, with the hash that it has.
    let damaged = channel.add(&Package::new("damaged", "1").tar_bz2().file("share/damaged", "y".repeat(4096)));
    let (index, before) = (dir.join("own/linux-64/repodata.json"), sha256(&damaged.display().to_string()));
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace(&before, &sha256(&damaged.display().to_string()))).unwrap();
    std::fs::create_dir_all(dir.join("half/linux-64")).unwrap();
    std::fs::write(dir.join("half/linux-64/repodata.json"), &text[..text.len() / 2]).unwrap();
}

/// Serves a folder, and ends in the middle of archives.
fn serve_in_part(dir: PathBuf) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let body = std::fs::read(dir.join(&path)).unwrap_or_default();
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let sent = if path.ends_with(".conda") { &body[..body.len() / 2] } else { &body[..] };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(sent));
        }
    });
    port
}

/// What was seen of a channel in which something is wrong, why it is wrong and what to do first: the package that is asked for, the channel, how the
/// channel is reached (`FILE`, `HTTP`, `LOGIN`, `PART`), and the page.
const BROKEN: &[(&str, &str, &str, [&str; 3])] = &[
    (
        "changed",
        "own",
        "FILE",
        [
            "the archive has another hash than the channel says",
            "it was changed on the way or on a mirror, it is not whole, or the mirror's list is older than its files",
            "ask the mirror's owner; install nothing of it until that is clear",
        ],
    ),
    (
        "damaged",
        "own",
        "FILE",
        [
            "the archive is damaged",
            "the channel has it like that: its hash is the one that the channel says",
            "take another version or build of it, and tell the channel's owner",
        ],
    ),
    (
        "gone",
        "own",
        "FILE",
        [
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        ],
    ),
    (
        "gone",
        "own",
        "HTTP",
        [
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        ],
    ),
    (
        "whole",
        "own",
        "PART",
        [
            "the connection ended before the whole archive had come",
            "the server, or a proxy on the way, cut it off",
            "build again; where it ends early again, look at the limits of size and time of the server and the proxy",
        ],
    ),
    (
        "climber",
        "own",
        "FILE",
        [
            "it names the file `../../../escaped`, which lies outside of the environment",
            "a package writes only into its own environment, and is as large as it says: this one is broken or hostile",
            "take another version or build of it, and tell the channel's owner",
        ],
    ),
    (
        "needs-libc",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-libc",
            "each line below excludes another one",
            "the image's C library is LIBC: choose a build for it, or another base",
        ],
    ),
    (
        "needs-mac",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-mac",
            "each line below excludes another one",
            "that package is for another system than the image's: take another one, or another build of it",
        ],
    ),
    (
        "needs-more",
        "own",
        "FILE",
        [
            "no packages fit together|environment.yml line 3 asks for needs-more",
            "each line below excludes another one",
            "is the name right, and its channel among own?",
        ],
    ),
    (
        "whole",
        "own",
        "LOGIN",
        [
            "own: ADDRESS/own/ wants a login, or another one",
            "without the channel's list of packages nothing can be chosen",
            "who asks is told by a binding of type conda with `host`, `username` and `token`, or in the channel's address in a .condarc",
        ],
    ),
    (
        "whole",
        "absent",
        "HTTP",
        [
            "absent: no answer at ADDRESS/absent/",
            "without the channel's list of packages nothing can be chosen",
            "is the name right? A mirror is named with BP_CONDA_CHANNEL_ALIAS=ADDRESS (the names stay), or in a .condarc of this machine: channel_alias, custom_channels, default_channels",
        ],
    ),
    (
        "whole",
        "half",
        "HTTP",
        [
            "half: what ADDRESS/half/ answers is no list of packages, or a part of one",
            "without the channel's list of packages nothing can be chosen",
            "build again; if that does not help, tell the channel's owner, or name a mirror with BP_CONDA_CHANNEL_ALIAS=ADDRESS",
        ],
    ),
];

#[test]
fn what_is_wrong_with_a_channel_is_told_apart() {
    let dir = tree(&[]);
    broken_channel(dir.path());
    let local = |port: u16| format!("http://127.0.0.1:{port}");
    let addresses = [
        ("FILE", format!("file://{}", dir.path().display())),
        ("HTTP", local(serve(dir.path(), None))),
        ("LOGIN", local(serve(dir.path(), Some("Basic bWU6c2VjcmV0")))),
        ("PART", local(serve_in_part(dir.path().to_owned()))),
    ];
    let condarc = dir.path().join("condarc");
    for (package, channel, way, wanted) in BROKEN {
        let address = &addresses.iter().find(|(name, _)| name == way).unwrap().1;
        std::fs::write(&condarc, format!("channel_alias: {}\n", address.replace("//127", "//me:s3cret-word@127")))
            .unwrap();
        let environment = format!("channels: [{channel}, nodefaults]\ndependencies:\n  - {package}\n");
        let app = tree(&[("environment.yml", &environment), ("main.py", ""), ("Procfile", "web: python main.py\n")]);
        let mut command = hoist();
        command.env("CONDARC", &condarc).args(["build", "test/conda-broken", "--path"]).arg(app.path());
        let said = run(&mut command).code(1);
        assert!(!said.stderr.contains("s3cret-word"), "{}", said.stderr);
        let page = &said.stderr[said.stderr.find("Error while").unwrap_or_else(|| panic!("{}", said.stderr))..];
        let of = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start} in\n{page}"));
            let part = rest.split(end).next().unwrap_or_default();
            part.lines().map(str::trim).collect::<Vec<_>>().join("|").trim_end_matches('|').to_owned()
        };
        let [seen, why, fix] = [of("  seen  ", "  why "), of("  why   ", "  do "), of("  do    ", "\n")];
        let fix = fix.split('|').next().unwrap_or_default();
        let libc = fix.split("C library is ").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
        let wanted = wanted.map(|text| text.replace("ADDRESS/", &format!("{address}/")).replace("LIBC", libc));
        assert_eq!([seen.as_str(), &why, fix], wanted, "{package} of {channel} by {way}\n{page}");
    }
}
