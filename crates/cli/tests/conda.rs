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

#[path = "../../conda/tests/support/mod.rs"]
mod channel;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use channel::{Channel, Content, PLACEHOLDER, Package, Prefix, serve};
use support::{Said, hoist, run, tree};

/// What of Python's library an app of a test never imports.
const UNUSED: [&str; 12] = [
    "test",
    "config-",
    "lib2to3",
    "idlelib",
    "ensurepip",
    "distutils",
    "unittest",
    "pydoc_data",
    "__pycache__",
    "dist-packages",
    "tkinter",
    "turtle",
];

/// A folder with a `condarc`, and the channel `ours` to which it leads.
fn house() -> &'static Path {
    static HOUSE: OnceLock<PathBuf> = OnceLock::new();
    HOUSE.get_or_init(|| {
        // Always the same, so that a later run replaces it.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conda-channel");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut channel = Channel::at(&dir.join("ours"));
        channel.add(&python());
        channel.add(&Package::new("libgreet", "1.4").binary(
            "lib/libgreet.so.1",
            [PLACEHOLDER.as_bytes(), b"/share\0end"].concat(),
            Prefix::Binary,
        ));
        channel.add(&Package::new("libgreet", "2.0").file("lib/libgreet.so.2", "two"));
        channel.add(
            &Package::new("greet", "0.1.0")
                .noarch_python()
                .tar_bz2()
                .needs(&["python >=3", "libgreet <2"])
                .entry_point("greet = greet:main")
                .file("site-packages/greet/__init__.py", "def main():\n    print('hello from conda')\n")
                .file("etc/conda/env_vars.d/greet.json", "{\"GREET_HOME\": \"here\"}")
                .file("etc/conda/activate.d/greet.sh", "exit 1\n"),
        );
        channel.add(&Package::new("modern", "1.0").needs(&["libgreet >=2"]).file("share/modern", ""));
        channel.add(&Package::new("young", "1.0").made(Some(1_800_000_000_000)).file("share/young", ""));
        channel.add(&Package::new("timeless", "1.0").made(None).file("share/timeless", ""));
        channel.add(&Package::new("cudalib", "12.0").needs(&["__cuda >=12"]).file("lib/cuda", ""));
        let condarc = format!("channel_alias: file://{}\ndefault_channels: [ours]\n", dir.display());
        std::fs::write(dir.join("condarc"), condarc).expect("a file");
        dir
    })
}

/// The machine's `python3` as a package of conda's: relocatable, with what it links to.
fn python() -> Package {
    let real = std::fs::canonicalize("/usr/bin/python3").expect("the machine has Debian's python3");
    let name = real.file_name().unwrap().to_str().unwrap().to_owned();
    let library = Path::new("/usr/lib").join(&name);
    let version =
        Command::new(&real).args(["-c", "import platform; print(platform.python_version())"]).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap().trim().to_owned();
    // The frozen `site` is Debian's, and would look for packages in Debian's places.
    let wrapper = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={PLACEHOLDER}/lib/of-python exec {PLACEHOLDER}/libexec/{name} -X frozen_modules=off \"$@\"\n"
    );
    let mut package = Package::new("python", &version)
        .build("h1_cpython")
        .needs(&["__glibc >=2.17"])
        .program(&format!("bin/{name}"), &wrapper)
        .link("bin/python", &name)
        .link("bin/python3", &name)
        .binary(&format!("libexec/{name}"), std::fs::read(&real).unwrap(), Prefix::None);
    let linked = Command::new("ldd").arg(&real).output().unwrap();
    for line in String::from_utf8_lossy(&linked.stdout).lines() {
        let Some((soname, path)) = line.trim().split_once(" => ") else { continue };
        if soname.starts_with("libexpat") || soname.starts_with("libz") {
            let bytes = std::fs::read(path.split(' ').next().unwrap()).unwrap();
            package = package.binary(&format!("lib/of-python/{soname}"), bytes, Prefix::None);
        }
    }
    for file in files_below(&library) {
        let relative = file.strip_prefix(&library).unwrap().to_str().unwrap();
        if UNUSED.iter().any(|unused| relative.starts_with(unused))
            || relative.ends_with(".a")
            || relative.contains("__pycache__")
        {
            continue;
        }
        let mut bytes = std::fs::read(&file).unwrap();
        if matches!(relative, "site.py" | "sysconfig.py") {
            // Debian's own layout, undone.
            let text = String::from_utf8(bytes).unwrap();
            bytes = text
                .replace("dist-packages", "site-packages")
                .replace("/local/lib", "/lib")
                .replace("prefix_scheme = 'posix_local'", "prefix_scheme = 'posix_prefix'")
                .into_bytes();
        }
        package
            .files
            .push((format!("lib/{name}/{relative}"), Content::File { bytes, mode: 0o644, prefix: Prefix::None }));
    }
    package
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let kind = std::fs::metadata(entry.path());
        match kind {
            Ok(about) if about.is_dir() => files.extend(files_below(&entry.path())),
            Ok(about) if about.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files.sort();
    files
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

fn sha256(address: &str) -> String {
    let bytes = std::fs::read(address.trim_start_matches("file://")).unwrap_or_default();
    format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(bytes))
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
