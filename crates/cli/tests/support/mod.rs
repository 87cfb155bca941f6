//! Runs the real binary as a user would, in an environment that is cleared and then poisoned.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses some of it
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

pub mod docker;
pub mod patched;
pub mod podman;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The repository.
pub fn root_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies two folders down").to_owned()
}

/// A shipped example.
pub fn example(name: &str) -> PathBuf {
    root_dir().join("examples").join(name)
}

/// A store that the tests of all files share, because making a base takes seconds. It stays between runs.
pub fn shared_store() -> PathBuf {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE.get_or_init(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("store")).clone()
}

/// `hoist` with the shared store.
pub fn hoist() -> Command {
    let mut command = bare_hoist();
    command.arg("--store").arg(shared_store());
    command
}

/// `hoist` with a store of its own, which the test removes.
pub fn hoist_with_store(store: &Path) -> Command {
    let mut command = bare_hoist();
    command.arg("--store").arg(store);
    command
}

/// `hoist` in a hostile environment: what a build must not depend on is wrong, what the machine needs (CAs, proxies) is there.
pub fn bare_hoist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    poison(&mut command);
    command
}

/// Clears the environment and fills it with what must not matter.
pub fn poison(command: &mut Command) {
    command.env_clear();
    for name in
        ["HOME", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
    {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("PATH", "/invalid")
        .env("HOIST_CONFIG", "/nonexistent/hoist.toml")
        .env("LC_ALL", "tr_TR.ISO-8859-9")
        .env("TMPDIR", "/nonexistent")
        .env("PIP_TARGET", "/nonexistent")
        .env("PIP_USER", "1")
        .env("PYTHONHOME", "/nonexistent")
        .env("PYTHONPATH", "/nonexistent")
        .env("LD_LIBRARY_PATH", "/nonexistent")
        .env("VIRTUAL_ENV", "/nonexistent")
        .stdin(Stdio::null());
}

/// What a command said and how it ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless stderr holds this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON ({error}):\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let output: Output = command.output().expect("the command starts");
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `hoist ARGS…` with the shared store, to its end.
pub fn hoist_says(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Said {
    run(hoist().args(args))
}

/// A folder of files for a test.
pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }
    dir
}

/// Makes the programs of all buildpacks below a folder executable.
pub fn executable_below(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs_err::read_dir(dir).expect("a folder").flatten() {
        for program in ["detect", "build"] {
            let path = entry.path().join("bin").join(program);
            if path.is_file() {
                fs_err::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
            }
        }
    }
}

/// Mounts of this machine that lie below the tests' folder, which may be one itself: none may be left behind.
pub fn mounts_left() -> Vec<String> {
    let mounts = fs_err::read_to_string("/proc/self/mounts").expect("the mounts");
    mounts.lines().filter(|line| line.contains(concat!(env!("CARGO_TARGET_TMPDIR"), "/"))).map(str::to_owned).collect()
}

/// Removes the empty control groups that docker (`docker`) or podman (`libpod_parent`) leaves; its monitors go a moment after the container.
pub fn remove_groups(name: &str) {
    let find = |args: &[&str]| run(Command::new("find").args(args)).stdout;
    for _ in 0..50 {
        let left = find(&["/sys/fs/cgroup", "-mindepth", "1", "-maxdepth", "3", "-type", "d", "-name", name]);
        if left.is_empty() {
            return;
        }
        for group in left.lines() {
            find(&[group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("control groups called {name} are left, and something lives in them");
}
