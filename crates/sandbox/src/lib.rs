//! Runs one process in a root file system made of layer trees, isolated from the host and limited, and knows nothing of images.
//!
//! [`run()`] starts `/proc/self/exe` again; [`main_if_child`], called first in `main`, takes the child from there, so that no namespace is ever
//! entered by a process with threads. `docs/sandbox.md` says what isolates what.

mod bytes;
mod cancel;
mod capabilities;
mod cgroup;
mod confine;
mod datagrams;
mod error;
mod exit;
mod forward;
mod init;
mod input;
mod inside;
mod monitor;
mod monitors;
mod network;
mod program;
mod root;
mod run;
mod screen;
mod seccomp;
mod session;
mod spec;
mod sys;
mod syscalls;
mod user;
mod wire;

pub use cancel::Cancel;
pub use capabilities::{Capabilities, Capability, CgroupKind, capabilities, has_way_out};
pub use cgroup::clean_stale;
pub use error::SandboxError;
pub use exit::{Exit, ExitStatus, OutputSink};
pub use monitor::main_if_child;
pub use monitors::Monitors;
pub use run::run;
pub use screen::Screen;
pub use spec::{
    Limits, Mount, MountKind, Network, Process, Protocol, Publish, Root, Spec, Stdin, Upper, User, WindowSize,
};
