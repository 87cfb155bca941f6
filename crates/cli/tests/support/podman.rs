//! Podman with folders of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Said, remove_groups, run};

/// Podman whose images, containers and files lie below one folder; dropping it removes its images and the control groups that it leaves.
pub struct Podman {
    dir: PathBuf,
}

impl Podman {
    /// Below `dir`, whose path must be short, because podman takes no long one for its running things.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// `podman ARGS…`.
    pub fn run(&self, args: &[&str]) -> Said {
        let mut command = Command::new("podman");
        for (option, folder) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.join(folder));
        }
        command.args(["--storage-driver=vfs", "--events-backend=file", "--cgroup-manager=cgroupfs"]);
        run(command.args(args))
    }

    /// `podman run` without a network, within limits that a container on any machine may have.
    pub fn run_image(&self, args: &[&str]) -> Said {
        let limits = ["run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
        self.run(&[&limits[..], args].concat())
    }

    /// Nothing of it is left behind.
    #[track_caller]
    pub fn leaves_nothing(self) {
        self.run(&["rmi", "-f", "-a"]).ok();
        let mounts = fs_err::read_to_string("/proc/self/mounts").expect("the mounts");
        assert!(!mounts.contains(self.dir.to_str().expect("a plain path")), "{mounts}");
        remove_groups("libpod_parent");
    }
}
