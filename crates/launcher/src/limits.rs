//! What the container may use: control groups of version 2 and 1, each with all groups above it that can be seen, else the machine's memory.

use std::path::{Path, PathBuf};

/// Version 1 says "none" with the largest number of pages.
const NO_MEMORY_LIMIT: u64 = 1 << 60;

/// Nothing where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Thousandths of a processor.
    pub(crate) milli_processors: Option<u64>,
    /// Of memory: the limit, or what the machine has.
    pub(crate) memory_bytes: Option<u64>,
}

/// Reads them below a root, which is `/` but in tests. What cannot be read is no limit.
pub(crate) fn read(root: &Path) -> Limits {
    let groups = text(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    let mut limits = Limits { milli_processors: None, memory_bytes: machine_memory(root) };
    let mut add = |processors: Option<u64>, memory: Option<u64>| {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        limits.milli_processors = least(limits.milli_processors, processors);
        limits.memory_bytes = least(limits.memory_bytes, memory.filter(|bytes| *bytes < NO_MEMORY_LIMIT));
    };
    for dir in dirs(&mount, group(&groups, "")) {
        let number = |name: &str| text(&dir.join(name)).and_then(|text| text.trim().parse().ok());
        add(text(&dir.join("cpu.max")).and_then(|text| quota(&text)), number("memory.max"));
    }
    for (controller, folders) in [("cpu", ["cpu", "cpu,cpuacct"]), ("memory", ["memory", "memory"])] {
        for folder in folders {
            for dir in dirs(&mount.join(folder), group(&groups, controller)) {
                let number = |name: &str| text(&dir.join(name)).and_then(|text| text.trim().parse::<i64>().ok());
                let pair = number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us"));
                let processors = pair.and_then(|(quota, period)| milli(quota, period));
                add(processors, number("memory.limit_in_bytes").and_then(|bytes| bytes.try_into().ok()));
            }
        }
    }
    limits
}

#[allow(
    clippy::disallowed_methods,
    reason = "a file that cannot be read is no limit; fs_err would be one more dependency"
)]
fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The path of this process's group: lines are `number:controllers:path`, and version 2 has no controllers.
fn group<'a>(groups: &'a str, controller: &str) -> &'a str {
    let of_line = |line: &'a str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    };
    groups.lines().find_map(of_line).unwrap_or("/")
}

/// The group's folder and those above it. In a container the path may be that outside, of which nothing is there.
fn dirs(mount: &Path, group: &str) -> Vec<PathBuf> {
    let group = Path::new(group.trim_start_matches('/'));
    if group.components().any(|part| part.as_os_str() == "..") {
        return vec![mount.to_owned()];
    }
    group.ancestors().map(|path| mount.join(path)).collect()
}

/// `150000 100000`, or `max 100000`.
fn quota(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    milli(quota.parse().ok()?, period.parse().ok()?)
}

fn milli(quota: i64, period: i64) -> Option<u64> {
    let (quota, period) = (u64::try_from(quota).ok()?, u64::try_from(period).ok()?);
    quota.checked_mul(1000)?.checked_div(period).filter(|_| quota > 0)
}

/// `MemTotal:       16318480 kB`.
fn machine_memory(root: &Path) -> Option<u64> {
    let about = text(&root.join("proc/meminfo"))?;
    let kib: u64 =
        about.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // files of a test
mod tests {
    use super::*;

    fn limits(files: &[(&str, &str)]) -> Limits {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(dir.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");

    #[test]
    fn version_2_counts_with_the_groups_above() {
        let found = limits(&[
            MACHINE,
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/app/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/memory.max", "1048576\n"),
        ]);
        assert_eq!(found, Limits { milli_processors: Some(1500), memory_bytes: Some(1 << 20) });
        // As a container with a namespace of its own sees it.
        let found = limits(&[MACHINE, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "50000 100000\n")]);
        assert_eq!(found, Limits { milli_processors: Some(500), memory_bytes: Some(2 << 20) });
    }

    #[test]
    fn version_1_has_a_folder_for_each_controller_and_paths_that_are_not_there() {
        let found = limits(&[
            MACHINE,
            ("proc/self/cgroup", "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
        ]);
        assert_eq!(found, Limits { milli_processors: Some(2000), memory_bytes: Some(1 << 20) });
        let found = limits(&[
            MACHINE,
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(found, Limits { milli_processors: None, memory_bytes: Some(2 << 20) });
    }

    #[test]
    fn nonsense_is_no_limit() {
        for (path, text) in [
            ("sys/fs/cgroup/cpu.max", "0 0"),
            ("sys/fs/cgroup/cpu.max", "many"),
            ("sys/fs/cgroup/memory.max", "-1"),
            ("proc/meminfo", "MemTotal: much"),
            ("proc/self/cgroup", "0::/../../etc"),
        ] {
            assert_eq!(limits(&[(path, text)]), Limits { milli_processors: None, memory_bytes: None }, "{text}");
        }
    }
}
