//! What a test has: a directory of its own, a small root file system with the probe in it, and short ways to run something.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hoist_sandbox::{Cancel, Exit, ExitStatus, Mount, MountKind, Network, Process, Root, SandboxError, Spec, User};

/// A test's own directory.
pub(crate) struct Room {
    pub(crate) dir: PathBuf,
    pub(crate) is_root: bool,
}

/// How a run ended and what it said.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn status(&self) -> ExitStatus {
        self.exit.status
    }
}

/// Who processes are inside, unless a test says otherwise.
pub(crate) const BUILDER: User = User { uid: 1001, gid: 1000 };

impl Room {
    pub(crate) fn new(dir: &Path) -> Self {
        let room = Self { dir: dir.to_path_buf(), is_root: nix::unistd::geteuid().is_root() };
        for name in ["bin", "etc", "usr", "srv"] {
            std::fs::create_dir_all(room.root_dir().join(name)).unwrap();
        }
        std::fs::copy(std::env::current_exe().unwrap(), room.root_dir().join("bin/probe")).unwrap();
        std::fs::write(room.root_dir().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        room
    }

    /// The lowest layer.
    pub(crate) fn root_dir(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A directory on the host, writable by everybody.
    pub(crate) fn host_dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
        dir
    }

    /// The probe with these arguments in a throw-away root without network.
    pub(crate) fn spec(&self, args: &[&str]) -> Spec {
        let args = ["probe", "probe"].iter().chain(args).map(OsString::from);
        let mut process = Process::new(args, BUILDER);
        process.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        Spec::new(Root { lower_dirs: vec![self.root_dir()], upper: None, read_only: false }, process)
    }

    /// Runs the probe.
    pub(crate) fn probe(&self, args: &[&str]) -> Ran {
        run(&self.spec(args))
    }

    /// Runs the probe and expects it to end well.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        ok(&self.spec(args))
    }

    /// On the host's network.
    pub(crate) fn on_host_network(&self, args: &[&str]) -> Spec {
        Spec { network: Network::Host, ..self.spec(args) }
    }
}

pub(crate) fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount { target: target.into(), kind: MountKind::Bind { source: source.into(), read_only } }
}

pub(crate) fn try_run(spec: &Spec) -> Result<Ran, SandboxError> {
    let mut output = (Vec::new(), Vec::new());
    let exit = hoist_sandbox::run(spec, &mut output, &Cancel::new().unwrap())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { exit, stdout: text(output.0), stderr: text(output.1) })
}

pub(crate) fn run(spec: &Spec) -> Ran {
    try_run(spec).unwrap_or_else(|error| panic!("{}", four_parts(&error)))
}

pub(crate) fn ok(spec: &Spec) -> String {
    let ran = run(spec);
    assert!(ran.exit.success(), "{:?}\n{}{}", ran.exit, ran.stdout, ran.stderr);
    ran.stdout
}

pub(crate) fn error(spec: &Spec) -> SandboxError {
    match try_run(spec) {
        Ok(ran) => panic!("should have failed: {:?}\n{}{}", ran.exit, ran.stdout, ran.stderr),
        Err(error) => error,
    }
}

/// What a person would read.
pub(crate) fn four_parts(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    format!("{text}\nhint: {}", error.hint().unwrap_or_default())
}
