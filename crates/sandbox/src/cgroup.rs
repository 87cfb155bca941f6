//! Control groups: which there are, one for each run where limits ask for it, and the removal of those that dead runs left.
//!
//! Version 1 has a tree for each controller, version 2 one for all, and hybrid machines have both with the controllers in version 1. A group
//! of a run is made below the group that hoist itself is in (or, in version 2, the nearest one above that hands controllers down), so that
//! limits of whoever started hoist hold as well. Its name tells its owner: `hoist-<pid>-<start time>`.

use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::Limits;
use crate::wire::{Failure, Order, Step, Usage};

/// Time slice in which processor time is handed out.
const PERIOD_MICROS: u64 = 100_000;
/// How deep below a mount groups of dead runs are looked for.
const SEARCH_DEPTH: usize = 8;
/// All limited controllers, in the order in which they are set up.
pub(crate) const CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    fn is_wanted(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory_bytes.is_some(),
            Self::Cpu => limits.cpus.is_some(),
            Self::Pids => limits.pids.is_some(),
        }
    }

    /// What holds instead where this controller is missing.
    fn substitute(self) -> &'static str {
        match self {
            Self::Memory => "memory holds for the data of each process alone",
            Self::Cpu => "cpu holds as so many processors, rounded up",
            Self::Pids => "pids hold for its user inside, not for root",
        }
    }
}

/// One mounted hierarchy and where hoist is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: u8,
    pub(crate) mount: PathBuf,
    /// Our own group.
    pub(crate) own: PathBuf,
    /// Version 1: the controllers of this tree.
    controllers: Vec<String>,
}

/// All hierarchies, from the texts of /proc/self/mountinfo and /proc/self/cgroup.
pub(crate) fn parse_hierarchies(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (&[_, _, _, root, mount, ..], &[kind, _, options, ..]) = (&left[..], &right[..]) else { continue };
        let version = match kind {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => continue,
        };
        let controllers: Vec<String> = options.split(',').map(str::to_owned).collect();
        let own = cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
            let ours = if version == 2 {
                names.is_empty()
            } else {
                !names.is_empty()
                    && names.split(',').all(|name| controllers.iter().any(|controller| controller == name))
            };
            ours.then_some(path)
        });
        if let Some(below) = own.and_then(|own| Path::new(own).strip_prefix(root).ok().map(Path::to_path_buf)) {
            let mount = PathBuf::from(mount.replace("\\040", " "));
            found.push(Hierarchy { version, own: mount.join(below), mount, controllers });
        }
    }
    found
}

/// All hierarchies of this machine.
pub(crate) fn read_hierarchies() -> Vec<Hierarchy> {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    parse_hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

/// Where groups with this controller can be made, or why nowhere.
pub(crate) fn find_parent(hierarchies: &[Hierarchy], controller: Controller) -> Result<(u8, PathBuf), String> {
    let name = controller.name();
    let first = hierarchies.iter().find(|h| h.version == 1 && h.controllers.iter().any(|c| c == name));
    if let Some(first) = first {
        return if is_writable(&first.own) {
            Ok((1, first.own.clone()))
        } else {
            Err("the control groups (version 1) belong to another user".to_owned())
        };
    }
    let Some(second) = hierarchies.iter().find(|h| h.version == 2) else {
        return Err("no control group hierarchy has its controller".to_owned());
    };
    let handed_down = |dir: &Path| {
        let listed = fs_err::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        listed.split_whitespace().any(|listed| listed == name)
    };
    let above = second.own.ancestors().take_while(|dir| dir.starts_with(&second.mount));
    let mut handing = above.filter(|dir| handed_down(dir)).peekable();
    if handing.peek().is_none() {
        return Err(format!("no control group above {} hands down its controller", second.own.display()));
    }
    let found = handing.find(|dir| is_writable(dir) && is_writable(&dir.join("cgroup.procs")));
    found.map(|dir| (2, dir.to_path_buf())).ok_or_else(|| {
        "no control group with its controller is delegated to this user (`systemd-run --user --scope -p Delegate=yes` makes one)".to_owned()
    })
}

fn is_writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Which limits the control groups keep; for the others something weaker holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
    pub(crate) pids: bool,
}

/// The groups of one run, one for each hierarchy.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    groups: Vec<(u8, PathBuf)>,
    memory: Option<(u8, PathBuf)>,
    pub(crate) held: Held,
}

/// One note for each reason, however many limits it is the reason of.
fn missing_notes(missing: &[(Controller, String)]) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, (_, reason)) in missing.iter().enumerate() {
        if missing[..at].iter().any(|(_, known)| known == reason) {
            continue;
        }
        let these: Vec<Controller> =
            missing.iter().filter(|(_, other)| other == reason).map(|(controller, _)| *controller).collect();
        let names: Vec<&str> = these.iter().map(|controller| controller.name()).collect();
        let (what, are) = match names.as_slice() {
            [one] => ((*one).to_owned(), "limit is"),
            [first @ .., last] => (format!("{} and {last}", first.join(", ")), "limits are"),
            [] => continue,
        };
        let substitutes: Vec<&str> = these.iter().map(|controller| controller.substitute()).collect();
        notes.push(format!("the {what} {are} off: {reason}; instead {}", substitutes.join(", ")));
    }
    notes
}

/// The ways into the groups of a run that do not wait. To move another process (`cgroup.procs`) the kernel stops the forks of the whole machine
/// first, for which it waits for a grace period: 5 to 10 ms. A single thread that moves itself (`tasks`, version 1), and a process that
/// is born in its group (`CLONE_INTO_CGROUP`, version 2), need none of that.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    own: Vec<(PathBuf, File)>,
    /// Where pid 1 is born.
    pub(crate) birth: Option<Birth>,
}

/// A group of version 2.
#[derive(Debug)]
pub(crate) struct Birth {
    /// Its directory.
    pub(crate) group: OwnedFd,
    path: PathBuf,
    procs: File,
}

impl Birth {
    /// Moves a process that was not born in it.
    pub(crate) fn admit(&self, pid: i32) -> Result<(), Failure> {
        let written = (&self.procs).write_all(pid.to_string().as_bytes());
        written.map_err(Failure::at(Step::Limit, "a process", &self.path))
    }
}

impl Doors {
    /// Moves this process, which has one thread, into the groups of version 1.
    pub(crate) fn enter(self) -> Result<(), Failure> {
        for (path, mut tasks) in self.own {
            tasks.write_all(b"0").map_err(Failure::at(Step::Limit, "a process", path))?;
        }
        Ok(())
    }
}

/// What a monitor knows of the machine's control groups: looked up for its first run, since no run changes them, nor the group that it is in.
#[derive(Debug, Default)]
pub(crate) struct Known {
    hierarchies: OnceCell<Vec<Hierarchy>>,
    /// Groups that were looked through for those of dead runs.
    swept: RefCell<Vec<PathBuf>>,
}

impl Cgroups {
    /// Makes what the limits ask for and sets them; what does not hold is told to `note`.
    pub(crate) fn create(order: &Order, known: &Known, note: &mut dyn FnMut(String)) -> Result<Self, Failure> {
        let limits = &order.spec.limits;
        let mut made = Self::default();
        if !CONTROLLERS.iter().any(|controller| controller.is_wanted(limits)) {
            return Ok(made);
        }
        let mut missing = Vec::new();
        for controller in CONTROLLERS.into_iter().filter(|controller| controller.is_wanted(limits)) {
            if let Err(failure) = made.add(known, controller, order, &mut missing) {
                made.remove();
                return Err(failure);
            }
        }
        missing_notes(&missing).into_iter().for_each(note);
        Ok(made)
    }

    fn add(
        &mut self,
        known: &Known,
        controller: Controller,
        order: &Order,
        missing: &mut Vec<(Controller, String)>,
    ) -> Result<(), Failure> {
        let parent = if order.spec.use_cgroups {
            find_parent(known.hierarchies.get_or_init(read_hierarchies), controller)
        } else {
            Err("control groups are switched off".to_owned())
        };
        let (version, parent) = match parent {
            Ok(found) => found,
            Err(reason) => {
                missing.push((controller, reason));
                return Ok(());
            }
        };
        let failed = |path: &Path| Failure::at(Step::Limit, controller.name(), path);
        let dir = parent.join(own_name().map_err(failed(&parent))?);
        if !self.groups.contains(&(version, dir.clone())) {
            if !known.swept.borrow().contains(&parent) {
                clean_in(&parent);
                known.swept.borrow_mut().push(parent);
            }
            fs_err::create_dir(&dir).map_err(failed(&dir))?;
            self.groups.push((version, dir.clone()));
        }
        for (file, value) in settings(version, controller, &order.spec.limits, order.spec.init) {
            let path = dir.join(file);
            // Swap accounting may be compiled out; without it there is nothing to limit.
            if path.exists() || !file.contains("sw") {
                fs_err::write(&path, value).map_err(failed(&path))?;
            }
        }
        match controller {
            Controller::Memory => (self.held.memory, self.memory) = (true, Some((version, dir))),
            Controller::Cpu => self.held.cpu = true,
            Controller::Pids => self.held.pids = true,
        }
        Ok(())
    }

    /// Opens the ways by which pid 1 gets into them.
    pub(crate) fn doors(&self) -> Result<Doors, Failure> {
        let mut doors = Doors::default();
        for (version, dir) in &self.groups {
            let path = dir.join(if *version == 1 { "tasks" } else { "cgroup.procs" });
            let failed = || Failure::at(Step::Limit, "a process", &path);
            let file = fs_err::OpenOptions::new().write(true).open(&path).map_err(failed())?.into_parts().0;
            if *version == 1 {
                doors.own.push((path, file));
            } else {
                let opened = fs_err::File::open(dir).map_err(failed())?;
                doors.birth = Some(Birth { group: opened.into_parts().0.into(), path, procs: file });
            }
        }
        Ok(doors)
    }

    /// What was used, as far as it was counted.
    pub(crate) fn usage(&self) -> Usage {
        let Some((version, dir)) = &self.memory else { return Usage::default() };
        let (events, peak) = if *version == 1 {
            ("memory.oom_control", "memory.max_usage_in_bytes")
        } else {
            ("memory.events", "memory.peak")
        };
        let events = fs_err::read_to_string(dir.join(events)).unwrap_or_default();
        let kills =
            events.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.parse::<u64>().ok());
        let peak = fs_err::read_to_string(dir.join(peak)).unwrap_or_default();
        Usage {
            out_of_memory: kills.is_some_and(|kills| kills > 0),
            peak_memory_bytes: peak.trim().parse().unwrap_or(0),
            cpu_micros: 0,
        }
    }

    /// Removes them; whether all are gone. Called when nothing lives inside any more; what remains all the same is found by [`clean_stale`].
    pub(crate) fn remove(self) -> bool {
        let mut gone = true;
        for (_, dir) in self.groups {
            let mut removed = fs_err::remove_dir(&dir);
            for _ in 0..50 {
                // The last process is still on its way out.
                if !matches!(&removed, Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
                removed = fs_err::remove_dir(&dir);
            }
            gone &= removed.is_ok();
        }
        gone
    }
}

/// Files and values of one limit. Swap counts as memory, so that a limit does not turn into disk traffic.
fn settings(version: u8, controller: Controller, limits: &Limits, init: bool) -> Vec<(&'static str, String)> {
    let memory = limits.memory_bytes.unwrap_or(u64::MAX);
    // Pid 1 is ours and not counted against the process.
    let pids = limits.pids.unwrap_or(u64::MAX).saturating_add(u64::from(init));
    let quota = quota_micros(limits.cpus.unwrap_or(1.0));
    match (version, controller) {
        (1, Controller::Memory) => {
            vec![("memory.limit_in_bytes", memory.to_string()), ("memory.memsw.limit_in_bytes", memory.to_string())]
        }
        (_, Controller::Memory) => vec![("memory.max", memory.to_string()), ("memory.swap.max", "0".to_owned())],
        (1, Controller::Cpu) => {
            vec![("cpu.cfs_period_us", PERIOD_MICROS.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        }
        (_, Controller::Cpu) => vec![("cpu.max", format!("{quota} {PERIOD_MICROS}"))],
        (_, Controller::Pids) => vec![("pids.max", pids.to_string())],
    }
}

/// Processor time per period; the kernel takes no less than a millisecond.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded before the cast
fn quota_micros(cpus: f64) -> u64 {
    (cpus.clamp(0.01, 10_000.0) * PERIOD_MICROS as f64).round() as u64
}

/// The name of the groups of this process.
fn own_name() -> io::Result<String> {
    let pid = std::process::id();
    let start = start_time(pid).ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ESRCH))?;
    Ok(format!("hoist-{pid}-{start}"))
}

/// When a process started, in ticks since boot: with its id it names a process for good.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; 19 fields lie between it and the start time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a directory is the group of a run whose monitor is dead.
fn is_stale(name: &str) -> bool {
    let mut parts = name.strip_prefix("hoist-").into_iter().flat_map(|rest| rest.splitn(2, '-'));
    let numbers = (parts.next().and_then(|pid| pid.parse().ok()), parts.next().and_then(|start| start.parse().ok()));
    let (Some(pid), Some(start)) = numbers else { return false };
    start_time(pid) != Some(start)
}

/// Removes stale groups directly below `parent`. A group that anything lives in cannot be removed, so no mistake kills anything.
fn clean_in(parent: &Path) -> usize {
    let Ok(entries) = fs_err::read_dir(parent) else { return 0 };
    let stale = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_stale));
    stale.filter(|entry| fs_err::remove_dir(entry.path()).is_ok()).count()
}

/// Removes the control groups of runs whose hoist and monitor were both killed; returns how many. Groups that are not ours to
/// remove are left.
pub fn clean_stale() -> usize {
    read_hierarchies().iter().map(|hierarchy| clean_below(&hierarchy.mount, SEARCH_DEPTH)).sum()
}

fn clean_below(dir: &Path, depth: usize) -> usize {
    let mut removed = clean_in(dir);
    let Ok(entries) = fs_err::read_dir(dir) else { return removed };
    if depth > 0 {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            removed += clean_below(&entry.path(), depth - 1);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 20 0:27 /outer /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn limits_that_are_off_for_one_reason_are_told_at_once() {
        let off = |controller, reason: &str| (controller, reason.to_owned());
        let notes =
            missing_notes(&[off(Controller::Memory, "no"), off(Controller::Cpu, "no"), off(Controller::Pids, "no")]);
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("the memory, cpu and pids limits are off: no; instead memory holds"),
            "{}",
            notes[0]
        );
        let notes = missing_notes(&[off(Controller::Memory, "a"), off(Controller::Pids, "b")]);
        assert_eq!(notes.len(), 2);
        assert_eq!(notes[1], "the pids limit is off: b; instead pids hold for its user inside, not for root");
    }

    #[test]
    fn hybrid_machines_have_their_controllers_in_version_1() {
        let found = parse_hierarchies(HYBRID, "4:memory:/a/b\n2:cpu,cpuacct:/outer/c\n1:name=systemd:/\n0::/d\n");
        let own: Vec<_> = found.iter().map(|h| (h.version, h.own.to_str().unwrap())).collect();
        assert_eq!(
            own,
            [
                (1, "/sys/fs/cgroup/memory/a/b"),
                (1, "/sys/fs/cgroup/cpu,cpuacct/c"),
                (1, "/sys/fs/cgroup/systemd/"),
                (2, "/sys/fs/cgroup/unified/d")
            ]
        );
        assert!(find_parent(&found, Controller::Pids).unwrap_err().contains("hands down its controller"));
        assert!(find_parent(&[], Controller::Pids).unwrap_err().contains("no control group hierarchy"));
    }

    /// A tree as version 2 has it, of ordinary files.
    fn delegated(name: &str) -> (PathBuf, Hierarchy) {
        let mount = std::env::temp_dir().join(format!("hoist-cgroup-{name}-{}", std::process::id()));
        let own = mount.join("user/session");
        fs_err::create_dir_all(&own).unwrap();
        for (dir, controllers) in [("", "cpu memory pids"), ("user", "memory pids"), ("user/session", "")] {
            fs_err::write(mount.join(dir).join("cgroup.subtree_control"), controllers).unwrap();
            fs_err::write(mount.join(dir).join("cgroup.procs"), "").unwrap();
        }
        (mount.clone(), Hierarchy { version: 2, own, mount, controllers: Vec::new() })
    }

    #[test]
    fn version_2_uses_the_nearest_group_that_hands_the_controller_down() {
        let (mount, hierarchy) = delegated("nearest");
        let found = |controller| find_parent(std::slice::from_ref(&hierarchy), controller).unwrap();
        assert_eq!(found(Controller::Memory), (2, mount.join("user")));
        assert_eq!(found(Controller::Cpu), (2, mount.clone()));
        fs_err::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn limits_become_the_files_of_each_version() {
        let limits = Limits { memory_bytes: Some(1 << 20), cpus: Some(1.5), pids: Some(9), ..Limits::default() };
        assert_eq!(settings(1, Controller::Cpu, &limits, true)[1], ("cpu.cfs_quota_us", "150000".to_owned()));
        assert_eq!(settings(2, Controller::Cpu, &limits, true), [("cpu.max", "150000 100000".to_owned())]);
        assert_eq!(settings(2, Controller::Memory, &limits, true)[1], ("memory.swap.max", "0".to_owned()));
        assert_eq!(settings(2, Controller::Pids, &limits, true), [("pids.max", "10".to_owned())]);
        assert_eq!(quota_micros(f64::NAN.max(0.0)), 1000, "the kernel takes no less");
    }

    #[test]
    fn only_groups_of_dead_owners_are_stale() {
        assert!(!is_stale(&own_name().unwrap()));
        assert!(is_stale("hoist-4194305-1"));
        for foreign in ["hoist", "hoist-", "hoist-1", "hoist-x-1", "docker-4194305-1"] {
            assert!(!is_stale(foreign), "{foreign}");
        }
    }
}
