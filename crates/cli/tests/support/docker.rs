//! A docker daemon of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Said, run};

/// A daemon with folders of its own, ended by its process id.
pub struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts one below `dir`, whose path must be short, because a socket's may not be long.
    pub fn start(dir: &Path) -> Self {
        let socket = dir.join("s");
        let log = fs_err::File::create(dir.join("log")).expect("the log");
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg(format!("--host=unix://{}", socket.display()))
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"])
            .stdout(Stdio::null())
            .stderr(log.into_parts().0)
            .spawn()
            .expect("dockerd starts");
        let daemon = Self { child, socket };
        let started = Instant::now();
        while daemon.docker(&["version"]).code != 0 {
            let log = || fs_err::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_mins(1), "dockerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    /// What `DOCKER_HOST` says of it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// `docker ARGS…` with this daemon.
    pub fn docker(&self, args: &[&str]) -> Said {
        run(Command::new("docker").arg(format!("--host={}", self.host())).args(args))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
