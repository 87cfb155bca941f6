//! What to run and in which surroundings: plain data, serialised as it is to the child that sets it up.
//!
//! Knows nothing of images: a root is a list of directories. All inside paths are absolute.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bytes;

/// One process and its surroundings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// What `/` is made of.
    pub root: Root,
    /// What of the host is given, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// The process.
    pub process: Process,
    /// What it reaches of the network.
    pub network: Network,
    /// What it may use up.
    pub limits: Limits,
    /// Its host name.
    pub hostname: String,
    /// Whether pid 1 is hoist's own init, which reaps orphans and passes signals on. Without it the process itself is pid 1.
    pub init: bool,
    /// Whether memory, cpus and pids are limited by control groups where the machine has them (true unless a test says otherwise).
    pub use_cgroups: bool,
}

impl Spec {
    /// A process in a root, with nothing given, no network beyond loopback, no limits, and an init.
    pub fn new(root: Root, process: Process) -> Self {
        Self {
            root,
            mounts: Vec::new(),
            process,
            network: Network::None,
            limits: Limits::default(),
            hostname: "hoist".to_owned(),
            init: true,
            use_cgroups: true,
        }
    }
}

/// What `/` is made of: an overlay of directories.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// Read-only trees, the uppermost first, at least one; not touched, whatever the process does.
    #[serde(with = "bytes::paths")]
    pub lower_dirs: Vec<PathBuf>,
    /// Where changes go; `None` lets them go to memory and vanish at the end.
    pub upper: Option<Upper>,
    /// Whether `/` itself refuses to be written to (mounts in it keep their own mode).
    pub read_only: bool,
}

/// Where the changes to an overlay go. Both must exist and lie on the same file system, which is not itself an overlay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upper {
    /// Receives what is written: whiteouts are character devices 0:0, opaque directories have the attribute `user.overlay.opaque`.
    #[serde(with = "bytes::path")]
    pub upper_dir: PathBuf,
    /// The kernel's scratch space for it.
    #[serde(with = "bytes::path")]
    pub work_dir: PathBuf,
}

/// Something mounted in the root. Missing targets are created, never outside of the root whatever its symlinks say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the root.
    #[serde(with = "bytes::path")]
    pub target: PathBuf,
    /// What appears there.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Path on the host.
        #[serde(with = "bytes::path")]
        source: PathBuf,
        /// Whether it refuses to be written to, with all that is mounted below it.
        read_only: bool,
    },
    /// An empty directory in memory, mode 1777, gone at the end.
    Tmpfs {
        /// How much it may hold.
        size_bytes: u64,
    },
}

/// The process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked for in the `PATH` of `env`, inside the root.
    #[serde(with = "bytes::os_strings")]
    pub args: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    #[serde(with = "bytes::os_pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// Working directory inside the root; must exist.
    #[serde(with = "bytes::path")]
    pub cwd: PathBuf,
    /// Who it is inside.
    pub user: User,
    /// What it reads.
    pub stdin: Stdin,
    /// Where it is to have a terminal, its size at first. Its three streams are that terminal then: what is read from `stdin` counts as typed, and
    /// all that it writes comes as standard output.
    pub terminal: Option<WindowSize>,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

impl Process {
    /// A process in `/` with an empty environment and nothing to read.
    pub fn new(args: impl IntoIterator<Item = impl Into<OsString>>, user: User) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user,
            stdin: Stdin::Null,
            terminal: None,
        }
    }
}

/// A user by numbers, as seen inside. For an ordinary user on the host this one id is mapped to theirs; for root it is the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id, the only group.
    pub gid: u32,
}

/// What a process reads from standard input.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// What the calling process reads: a pipe or socket itself, anything else by way of a pipe, so that no file or terminal of the host is in
    /// the hands of the process.
    Inherit,
    /// These bytes, then the end of file.
    #[serde(skip)]
    Bytes(Vec<u8>),
}

/// What a process reaches of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's network, addresses and names.
    Host,
    /// Loopback of its own, nothing else.
    None,
    /// Loopback of its own; ports of the host are passed in, and `pasta`, where it is installed, lets connections out.
    Private {
        /// Ports passed in.
        publish: Vec<Publish>,
    },
}

/// A port of the host that leads to a port inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Address on the host to listen on.
    pub host_ip: IpAddr,
    /// Port on the host; 0 lets the kernel choose, see [`crate::OutputSink::published`].
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What a process may use up; `None` is no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together, swap included.
    pub memory_bytes: Option<u64>,
    /// Processor time per time: 1.5 is one and a half processors.
    pub cpus: Option<f64>,
    /// Processes and threads at once.
    pub pids: Option<u64>,
    /// Time on the clock from the start of the process.
    pub timeout: Option<Duration>,
    /// Bytes on standard output and standard error together.
    pub output_bytes: Option<u64>,
}
