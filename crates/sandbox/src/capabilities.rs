//! What this machine can do for a sandbox, and why not where it cannot: for `hoist system info` and for notes on limits that are off.

use std::io;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::Serialize;

use crate::cgroup::{CONTROLLERS, Controller, Hierarchy, find_parent, read_hierarchies};

/// Mounts by descriptor with attributes (`mount_setattr`), and overlays in user namespaces, both exist since then.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// One thing that a machine can or cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Whether it can.
    pub available: bool,
    /// How it does it, or why it cannot.
    pub reason: String,
}

impl Capability {
    fn from(result: Result<String, String>) -> Self {
        let available = result.is_ok();
        Self { available, reason: result.unwrap_or_else(|reason| reason) }
    }
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
    let hierarchies = read_hierarchies();
    let [memory_limit, cpu_limit, pids_limit] = CONTROLLERS.map(|controller| limit(&hierarchies, controller));
    let used = CONTROLLERS.iter().find_map(|controller| find_parent(&hierarchies, *controller).ok());
    Capabilities {
        cgroups: match used {
            Some((1, _)) => CgroupKind::V1,
            Some(_) => CgroupKind::V2,
            None => CgroupKind::None,
        },
        memory_limit,
        cpu_limit,
        pids_limit,
        user_namespaces: Capability::from(try_user_namespace()),
        overlay: Capability::from(find_overlay()),
        seccomp: Capability::from(find_seccomp()),
        pasta: Capability::from(find_pasta().map_or_else(
            || Err("pasta is not installed (Debian package passt): private networks have no way out".to_owned()),
            |path| Ok(path.display().to_string()),
        )),
    }
}

fn limit(hierarchies: &[Hierarchy], controller: Controller) -> Capability {
    let found = find_parent(hierarchies, controller);
    Capability::from(found.map(|(version, path)| format!("control groups version {version} below {}", path.display())))
}

/// Makes one, in a child that does nothing else.
fn try_user_namespace() -> Result<String, String> {
    // SAFETY: the child calls the kernel only: no lock that another thread may hold, no allocation.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: system calls with plain numbers; errno is this thread's own.
        unsafe {
            let failed = libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET) != 0;
            libc::_exit(if failed { *libc::__errno_location() } else { 0 })
        }
    }
    let mut status = 0;
    // SAFETY: a pointer to live data.
    if pid < 0 || unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid || !libc::WIFEXITED(status) {
        return Err(format!("cannot be tried: {}", io::Error::last_os_error()));
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok("can be made by this user".to_owned()),
        errno => Err(format!(
            "{}; see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
            io::Error::from_raw_os_error(errno)
        )),
    }
}

fn find_overlay() -> Result<String, String> {
    let release = nix::sys::utsname::uname().map_err(|errno| errno.to_string())?;
    let release = release.release().to_string_lossy();
    let old = parse_release(&release).is_none_or(|version| version < KERNEL_MIN);
    if old {
        return Err(format!("Linux {release} is older than {}.{}", KERNEL_MIN.0, KERNEL_MIN.1));
    }
    let known = fs_err::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        return Ok(format!("Linux {release}"));
    }
    if Path::new("/lib/modules").join(&*release).join("kernel/fs/overlayfs").exists() {
        return Ok(format!("Linux {release}, module not loaded yet"));
    }
    Err("the kernel has no overlay file system (`sudo modprobe overlay`)".to_owned())
}

/// Major and minor number of a kernel release.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn find_seccomp() -> Result<String, String> {
    match fs_err::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.contains("errno") => Ok(format!("actions: {}", actions.trim())),
        _ => Err("the kernel was built without CONFIG_SECCOMP_FILTER".to_owned()),
    }
}

/// Whether a private network has a way out on this machine: pasta is installed, and this user may make the device that it needs.
pub fn has_way_out() -> bool {
    let read_write = nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK;
    find_pasta().is_some() && nix::unistd::access("/dev/net/tun", read_write).is_ok()
}

/// The program `pasta`, from the caller's PATH.
#[allow(clippy::disallowed_methods)] // the one reader of the environment in this crate
pub(crate) fn find_pasta() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("pasta"));
    candidates.find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_numbers() {
        assert_eq!(parse_release("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(parse_release("5.9-rc1"), Some((5, 9)));
        assert_eq!(parse_release("linux"), None);
    }
}
