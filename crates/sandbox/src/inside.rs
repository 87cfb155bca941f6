//! What every root has, whatever its image holds: /proc, /dev, /sys, /tmp, and the names of hosts.
//!
//! Knows nothing of the overlay below. The masks are those of the OCI runtimes, and the whole of /sys, but for the limits of the run.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::{Mode, mkdirat};

use crate::root::make_target;
use crate::spec::{Limits, Network};
use crate::sys;
use crate::wire::{Failure, Order, Step};

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Files of /proc that tell of the host or act on it: read as empty.
const MASKED_FILES: [&str; 8] =
    ["kcore", "keys", "key-users", "latency_stats", "timer_list", "timer_stats", "sched_debug", "kmsg"];
/// Directories of /proc that show hardware: seen as empty.
const MASKED_DIRS: [&str; 3] = ["acpi", "scsi", "asound"];
/// What of /proc acts on the host when written to.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// The most that a directory in memory may hold, for `mount`: what the process may use of memory, so that one that no control group counts
/// cannot fill the machine's; without a limit half of memory, as the kernel's own default.
pub(crate) fn memory_size(limits: &Limits) -> String {
    limits.memory_bytes.map_or_else(|| "50%".to_owned(), |bytes| bytes.max(4096).to_string())
}

/// What is taken along from the host.
pub(crate) struct Host {
    nodes: Vec<(&'static str, OwnedFd)>,
    null: Vec<OwnedFd>,
    names: Vec<(&'static str, OwnedFd)>,
}

impl Host {
    /// Opens device nodes and name files while the host can still be seen.
    pub(crate) fn open(order: &Order) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for name in NODES {
            let path = format!("/dev/{name}");
            nodes
                .push((name, sys::clone_tree(Path::new(&path), 0).map_err(Failure::at(Step::MountSource, "", &path))?));
        }
        let mut null = Vec::new();
        for _ in MASKED_FILES {
            null.push(sys::clone_tree(Path::new("/dev/null"), 0).map_err(Failure::at(
                Step::MountSource,
                "",
                "/dev/null",
            ))?);
        }
        let mut names = Vec::new();
        if order.spec.network == Network::Host {
            for path in ["/etc/resolv.conf", "/etc/hosts"] {
                // A host may have neither.
                if let Ok(tree) = sys::clone_tree(Path::new(path), 0) {
                    sys::set_attributes(&tree, sys::READ_ONLY | sys::NO_SUID | sys::NO_DEV, 0).map_err(Failure::at(
                        Step::MountSource,
                        "",
                        path,
                    ))?;
                    names.push((path, tree));
                }
            }
        }
        Ok(Self { nodes, null, names })
    }
}

/// Mounts all of it in a root; the controlling side of a new terminal, where the process has one.
///
/// Files that are made for it lie in `stage`, a directory in memory that is mounted already.
pub(crate) fn mount_all(
    root: &OwnedFd,
    order: &Order,
    host: Host,
    stage: &OwnedFd,
) -> Result<Option<OwnedFd>, Failure> {
    let size = memory_size(&order.spec.limits);
    let kept = sys::NO_SUID | sys::NO_DEV;
    let proc =
        sys::new_mount("proc", &[], kept | sys::NO_EXEC).map_err(Failure::at(Step::Mount, "a new proc", "/proc"))?;
    place(root, proc, "/proc")?;
    mask(root, host.null)?;
    let controller = device_directory(root, host.nodes, &size, order.spec.process.terminal.is_some())?;
    let memory = |path: &str, mode: &str, size: &str, flags: u64| {
        let made = sys::new_mount("tmpfs", &[("mode", mode), ("size", size)], flags);
        place(root, made.map_err(Failure::at(Step::Mount, "a directory in memory", path))?, path)
    };
    match limit_files(&order.spec.limits) {
        files if files.is_empty() => memory("/sys", "0555", "4k", kept | sys::READ_ONLY | sys::NO_EXEC)?,
        files => place(root, limits_directory(&files, kept | sys::NO_EXEC)?, "/sys")?,
    }
    memory("/tmp", "1777", &size, kept)?;
    for (path, tree) in host.names {
        place_file(root, tree, path)?;
    }
    if order.spec.network != Network::Host {
        let name = &order.spec.hostname;
        let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{name}\n");
        place_file(root, text_file(stage, "hosts", &hosts)?, "/etc/hosts")?;
        let resolv_conf = order.resolv_conf.as_deref().unwrap_or("# no network\n");
        place_file(root, text_file(stage, "resolv.conf", resolv_conf)?, "/etc/resolv.conf")?;
    }
    Ok(controller)
}

/// The limits of the run as control groups of version 2 tell them: the groups themselves are not shown, and programs count their threads and workers by
/// these files.
fn limit_files(limits: &Limits) -> Vec<(&'static str, String)> {
    const PERIOD_MICROS: f64 = 100_000.0;
    let mut files = Vec::new();
    if let Some(cpus) = limits.cpus {
        files.push(("cpu.max", format!("{:.0} {PERIOD_MICROS:.0}\n", (cpus * PERIOD_MICROS).max(1000.0))));
    }
    if let Some(bytes) = limits.memory_bytes {
        files.push(("memory.max", format!("{bytes}\n")));
    }
    files
}

/// A `/sys` with nothing but these files, below `fs/cgroup`.
fn limits_directory(files: &[(&str, String)], attributes: u64) -> Result<OwnedFd, Failure> {
    let make = || -> io::Result<OwnedFd> {
        let mount = sys::new_mount("tmpfs", &[("mode", "0755"), ("size", "64k")], attributes)?;
        for dir in ["fs", "fs/cgroup"] {
            mkdirat(&mount, dir, Mode::from_bits_truncate(0o755))?;
        }
        for (name, text) in files {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let path = format!("fs/cgroup/{name}");
            let file = openat(&mount, path.as_str(), flags, Mode::from_bits_truncate(0o444))?;
            std::fs::File::from(file).write_all(text.as_bytes())?;
        }
        sys::set_attributes(&mount, attributes | sys::READ_ONLY, 0)?;
        Ok(mount)
    };
    make().map_err(Failure::at(Step::Mount, "the limits of the run", "/sys/fs/cgroup"))
}

fn place(root: &OwnedFd, mount: OwnedFd, path: &str) -> Result<(), Failure> {
    let target = make_target(root, Path::new(path), true).map_err(Failure::at(Step::MountTarget, "", path))?;
    sys::attach(mount, target).map_err(Failure::at(Step::Mount, "its own directory", path))
}

fn place_file(root: &OwnedFd, mount: OwnedFd, path: &str) -> Result<(), Failure> {
    let target = make_target(root, Path::new(path), false).map_err(Failure::at(Step::MountTarget, "", path))?;
    sys::attach(mount, target).map_err(Failure::at(Step::Mount, "its own file", path))
}

/// A read-only file with this text, as a mount of its own. (Of a mount that is mounted nowhere, only Linux 6.15 makes another.)
fn text_file(stage: &OwnedFd, name: &str, text: &str) -> Result<OwnedFd, Failure> {
    let make = || -> io::Result<OwnedFd> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file = std::fs::File::from(openat(stage, name, flags, Mode::from_bits_truncate(0o644))?);
        file.write_all(text.as_bytes())?;
        drop(file);
        let tree = sys::clone_tree_of(openat(stage, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?, 0)?;
        sys::set_attributes(&tree, sys::READ_ONLY | sys::NO_SUID | sys::NO_DEV, 0)?;
        Ok(tree)
    };
    make().map_err(Failure::at(Step::Mount, "a generated file", format!("/etc/{name}")))
}

/// Covers what tells of the host, and closes what acts on it.
fn mask(root: &OwnedFd, null: Vec<OwnedFd>) -> Result<(), Failure> {
    let open = |name: &str| match sys::open_in_root(root, &Path::new("/proc").join(name), libc::O_PATH) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    };
    let at = |name: &str| Failure::at(Step::Mount, "a mask", format!("/proc/{name}"));
    for (name, null) in MASKED_FILES.into_iter().zip(null) {
        if let Some(target) = open(name).map_err(at(name))? {
            sys::attach(null, target).map_err(at(name))?;
        }
    }
    for name in MASKED_DIRS {
        if let Some(target) = open(name).map_err(at(name))? {
            let empty =
                sys::new_mount("tmpfs", &[("mode", "0555"), ("size", "4k")], sys::READ_ONLY).map_err(at(name))?;
            sys::attach(empty, target).map_err(at(name))?;
        }
    }
    for name in READ_ONLY {
        if let Some(target) = open(name).map_err(at(name))? {
            let same = sys::clone_tree_of(&target, sys::RECURSIVE).map_err(at(name))?;
            let attributes = sys::READ_ONLY | sys::NO_SUID | sys::NO_DEV | sys::NO_EXEC;
            sys::set_attributes(&same, attributes, sys::RECURSIVE).map_err(at(name))?;
            sys::attach(same, target).map_err(at(name))?;
        }
    }
    Ok(())
}

fn device_directory(
    root: &OwnedFd,
    nodes: Vec<(&'static str, OwnedFd)>,
    size: &str,
    has_terminal: bool,
) -> Result<Option<OwnedFd>, Failure> {
    let fill = || -> io::Result<Option<OwnedFd>> {
        let dev = sys::new_mount("tmpfs", &[("mode", "0755"), ("size", "64k")], sys::NO_SUID)?;
        let target = make_target(root, Path::new("/dev"), true)?;
        sys::attach(&dev, target)?;
        for (name, node) in nodes {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let file = openat(&dev, name, flags, Mode::from_bits_truncate(0o666))?;
            sys::attach(node, file)?;
        }
        for (name, target) in LINKS {
            nix::unistd::symlinkat(target, dev.as_fd(), name)?;
        }
        let directory = |name: &str, mount: OwnedFd| -> io::Result<()> {
            mkdirat(&dev, name, Mode::from_bits_truncate(0o755))?;
            sys::attach(mount, openat(&dev, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
        };
        let quiet = sys::NO_SUID | sys::NO_EXEC;
        let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
        let terminals = sys::new_mount("devpts", &options, quiet)?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let controller = has_terminal.then(|| openat(&terminals, "ptmx", flags, Mode::empty())).transpose()?;
        directory("pts", terminals)?;
        let shared = [("mode", "1777"), ("size", size)];
        directory("shm", sys::new_mount("tmpfs", &shared, quiet | sys::NO_DEV)?)?;
        directory("mqueue", sys::new_mount("mqueue", &[], quiet | sys::NO_DEV)?)?;
        Ok(controller)
    };
    fill().map_err(Failure::at(Step::Mount, "its own devices", "/dev"))
}
