//! A conda channel on this machine for whole apps: a Python, which is the machine's Debian one made relocatable, a library with a prefix to patch, a
//! noarch package, two builds of one version, and some that do not fit. Nothing of the code knows.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used
)] // each test binary uses its part

#[path = "../../../conda/tests/support/mod.rs"]
pub mod channel;

use std::path::{Path, PathBuf};
use std::process::Command;

use channel::{Channel, Content, PLACEHOLDER, Package, Prefix};

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

/// Makes a folder with a `condarc` and the channel `ours` to which it leads; a later run with the same folder replaces it.
pub fn make(dir: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("a folder");
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
    for (build, text) in [("slow_0", "slow"), ("fast_1", "fast")] {
        let script = format!("#!/bin/sh\necho {text} from {PLACEHOLDER}\n");
        channel.add(&Package::new("engine", "3.1").build(build).program("bin/engine", &script));
    }
    channel.add(&Package::new("young", "1.0").made(Some(1_800_000_000_000)).file("share/young", ""));
    channel.add(&Package::new("timeless", "1.0").made(None).file("share/timeless", ""));
    channel.add(&Package::new("cudalib", "12.0").needs(&["__cuda >=12"]).file("lib/cuda", ""));
    let condarc = format!("channel_alias: file://{}\ndefault_channels: [ours]\n", dir.display());
    std::fs::write(dir.join("condarc"), condarc).expect("a file");
    dir.to_owned()
}

/// The SHA-256 of what lies at a `file://` address.
pub fn sha256(address: &str) -> String {
    let bytes = std::fs::read(address.trim_start_matches("file://")).unwrap_or_default();
    format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// The machine's `python3` as a package of conda's: relocatable, with what it links to.
pub fn python() -> Package {
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

/// All files below a folder, sorted.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
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
