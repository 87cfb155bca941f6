//! Why a process could not be run. What the process itself does wrong is an [`crate::ExitStatus`], never an error.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::spec::Protocol;

/// Why a process could not be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command is empty.
    #[error("cannot start a process: its command is empty")]
    EmptyCommand,
    /// An argument, a variable or a path holds a zero byte.
    #[error("cannot start a process: {what} holds a zero byte, which no program can receive")]
    ZeroByte {
        /// Which.
        what: String,
    },
    /// Resources of this process ran out (descriptors, threads).
    #[error("cannot prepare the sandbox: {action}")]
    Prepare {
        /// What was being done.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Our own binary cannot be started again as the sandbox's child.
    #[error("cannot start the sandbox from hoist's own binary /proc/self/exe")]
    Reexec {
        /// Why not.
        source: io::Error,
    },
    /// The child ended before it said anything; killed from outside, or `main_if_child` is not called first in `main`.
    #[error("the sandbox ended before its process started ({status})")]
    ChildVanished {
        /// How it ended.
        status: String,
    },
    /// No user namespace can be made.
    #[error("cannot create a user namespace for an ordinary user")]
    UserNamespace {
        /// Why not.
        source: io::Error,
    },
    /// Another namespace cannot be made.
    #[error("cannot create the {namespace} namespace")]
    Namespace {
        /// Which.
        namespace: String,
        /// Why not.
        source: io::Error,
    },
    /// There is no lower directory, or more than the kernel takes.
    #[error("cannot make a root file system of {count} layers: between 1 and {max} are possible")]
    LayerCount {
        /// How many were given.
        count: usize,
        /// How many are possible.
        max: usize,
    },
    /// A directory of the root is missing or unreadable.
    #[error("cannot open {path}, a layer of the root file system")]
    Layer {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The overlay cannot be mounted.
    #[error("cannot mount the root file system as an overlay of {layers} layers{}", upper.as_ref().map(|p| format!(" with changes in {}", p.display())).unwrap_or_default())]
    Overlay {
        /// How many layers it has.
        layers: usize,
        /// Where changes should go.
        upper: Option<PathBuf>,
        /// Why not.
        source: io::Error,
    },
    /// What should be mounted does not exist on the host or cannot be read.
    #[error("cannot mount {path}: it cannot be opened on the host")]
    MountSource {
        /// Path on the host.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A mount point cannot be found or made inside the root.
    #[error("cannot make the mount point {target} inside the root file system")]
    MountTarget {
        /// Path inside.
        target: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A mount failed.
    #[error("cannot mount {what} at {target} inside the root file system")]
    Mount {
        /// What should appear there.
        what: String,
        /// Path inside.
        target: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The working directory is missing.
    #[error("cannot start {command} in {cwd}: there is no such directory inside the root file system")]
    WorkingDirectory {
        /// The program.
        command: String,
        /// Path inside.
        cwd: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program does not exist inside the root (a shell would say 127).
    #[error("cannot start {command}: it was not found inside the root file system{}", searched_text(searched.as_ref()))]
    CommandNotFound {
        /// The program as given.
        command: String,
        /// The `PATH` that was searched; `None` where the program was given with a slash.
        searched: Option<String>,
    },
    /// The program exists but cannot be executed (a shell would say 126).
    #[error("cannot start {path}: it is there but cannot be executed")]
    NotExecutable {
        /// The program inside the root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A privilege could not be given up, or a filter not installed: nothing was started.
    #[error("cannot shut the sandbox: {action}")]
    Confine {
        /// What was being done.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// A limit could not be set though the machine offers it.
    #[error("cannot limit {what} at {path}")]
    Limit {
        /// Which limit.
        what: String,
        /// The control file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A port of the host cannot be listened on.
    #[error("cannot publish port {address}/{protocol} of this machine")]
    Publish {
        /// Where.
        address: SocketAddr,
        /// What is spoken there.
        protocol: Protocol,
        /// Why not.
        source: io::Error,
    },
    /// The network inside could not be set up.
    #[error("cannot set up the network of the sandbox: {action}")]
    Network {
        /// What was being done.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// The receiver of output failed.
    #[error("cannot pass on the output of the process")]
    Output {
        /// What it said.
        source: io::Error,
    },
}

fn searched_text(searched: Option<&String>) -> String {
    match searched {
        None => String::new(),
        Some(path) if path.is_empty() => " (no PATH is set)".to_owned(),
        Some(path) => format!(" (searched {})", path.replace(':', ", ")),
    }
}

impl SandboxError {
    /// The next step for whoever sees this.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::EmptyCommand => "give a command after `--`, or an image with a default process",
            Self::UserNamespace { .. } => {
                "allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000 \
                 kernel.apparmor_restrict_unprivileged_userns=0` (those that exist), or run hoist as root; \
                 `hoist system info` shows what this machine can do"
            }
            Self::Namespace { .. } => {
                "run `hoist system info` to see what this machine can do; in a container it needs CAP_SYS_ADMIN, on Ubuntu \
                 `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
            }
            Self::Mount { what, .. } if what.contains("proc") => {
                "in a container, /proc must not be masked: start it with `--security-opt systempaths=unconfined`"
            }
            Self::Overlay { .. } => {
                "the store must lie on a file system that can be an overlay's upper directory (ext4, xfs, btrfs, tmpfs; not NFS and not \
                 another overlay), with Linux 5.12 or newer"
            }
            Self::Layer { .. } => "run `hoist image verify` on the image; `hoist system prune` removes what is broken",
            Self::MountSource { .. } => "check the host side of the mount, and that this user may read it",
            Self::MountTarget { .. } => "give an absolute path whose parents are directories in the image",
            Self::WorkingDirectory { .. } => "make the directory in the image or choose another working directory",
            Self::CommandNotFound { .. } => {
                "check the spelling, or give the absolute path of the program inside the image"
            }
            Self::NotExecutable { source, .. } if source.raw_os_error() == Some(nix::libc::E2BIG) => {
                "its arguments and variables are too large for the kernel (128 KiB each, about 2 MiB together): give large data as a file, with \
                 `-v` or, to a service, with `--data FILE`"
            }
            Self::NotExecutable { .. } => {
                "run `chmod +x` on it before building, and check its `#!` line and its processor architecture"
            }
            Self::Publish { protocol: Protocol::Tcp, .. } => {
                "choose another port with `-p`, or stop what listens there: `ss -ltnp`"
            }
            Self::Publish { protocol: Protocol::Udp, .. } => {
                "choose another port with `-p`, or stop what listens there: `ss -lunp`"
            }
            Self::ChildVanished { .. } => "try again; if memory is short, `dmesg | tail` names what the kernel killed",
            Self::Reexec { .. } => "check that the hoist binary was not removed or replaced while it ran",
            Self::ZeroByte { .. } => "take the zero byte out; give binary data as a file, with `-v`",
            Self::LayerCount { .. } => {
                "use an image of fewer layers: build it in fewer steps, or squash it with the tool that made it"
            }
            Self::Prepare { .. } => "free descriptors or memory, or raise `ulimit -n`, and try again",
            Self::Confine { .. } | Self::Limit { .. } | Self::Network { .. } | Self::Mount { .. } => {
                "run `hoist system info` to see what this machine can do"
            }
            Self::Output { .. } => "check where the output goes: a closed pipe or a full disk takes no more",
        };
        Some(text.to_owned())
    }

    /// What a shell would exit with: 127 not found, 126 not executable, otherwise nothing that a shell knows.
    pub fn shell_code(&self) -> Option<u8> {
        match self {
            Self::CommandNotFound { .. } => Some(127),
            Self::NotExecutable { .. } => Some(126),
            _ => None,
        }
    }
}
