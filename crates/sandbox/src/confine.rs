//! Gives up what a process must not have: resources, ids, capabilities, new privileges, system calls.

use std::io;

use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::cgroup::Held;
use crate::spec::{Spec, User};
use crate::user::Mapping;
use crate::wire::{Failure, Step};
use crate::{seccomp, sys};

/// Enough for servers, few enough for programs that close all that there could be.
const OPEN_FILES: u64 = 65_536;

/// No core dumps (the host's core pattern may be a program outside), a sane number of descriptors.
///
/// Where a control group does not keep a limit, what the kernel offers for single processes holds instead.
pub(crate) fn set_resource_limits(spec: &Spec, held: Held, ids: Mapping) -> io::Result<()> {
    let limits = &spec.limits;
    if let (Some(bytes), false) = (limits.memory_bytes, held.memory) {
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes)?;
    }
    if let (Some(pids), false, true) = (limits.pids, held.pids, ids != Mapping::None) {
        // Counted for each user namespace since Linux 5.14: what the user runs elsewhere does not count. Pid 1 does.
        let pids = pids.saturating_add(u64::from(spec.init));
        setrlimit(Resource::RLIMIT_NPROC, pids, pids)?;
    }
    if let (Some(cpus), false) = (limits.cpus, held.cpu) {
        keep_on_processors(cpus)?;
    }
    // Not 0: the kernel passes a core to a pattern that is a program whatever the limit, but for this one value (`do_coredump`). To a file it
    // writes nothing below a page.
    setrlimit(Resource::RLIMIT_CORE, 1, 1)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = hard.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    Ok(())
}

/// Keeps this process, and what it starts, on the first so many of the processors that it may use.
fn keep_on_processors(cpus: f64) -> io::Result<()> {
    let this = nix::unistd::Pid::from_raw(0);
    let (allowed, mut kept, mut count) = (sched_getaffinity(this)?, CpuSet::new(), 0.0);
    for processor in 0..CpuSet::count() {
        if count < cpus && allowed.is_set(processor)? {
            kept.set(processor)?;
            count += 1.0;
        }
    }
    Ok(sched_setaffinity(this, &kept)?)
}

/// Gives the pipes, or the terminal, to the user, so that `/dev/stdout` can be opened by name.
pub(crate) fn own_streams(user: User) {
    for fd in [1, 2] {
        // SAFETY: plain numbers. Without it only opening by name fails, so the result is of no interest.
        let _ = unsafe { libc::fchown(fd, user.uid, user.gid) };
    }
}

/// Becomes the user, for good and with nothing else.
pub(crate) fn become_user(spec: &Spec, ids: Mapping) -> Result<(), Failure> {
    let at = |action: &str| Failure::at(Step::Confine, action, "");
    let user = spec.process.user;
    sys::empty_bounding_set().map_err(at("dropping the capability bounding set"))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if ids.may_set_groups() {
        setgroups(&[gid]).map_err(|e| at("leaving its groups")(e.into()))?;
    }
    setresgid(gid, gid, gid).map_err(|e| at("changing the group")(e.into()))?;
    setresuid(uid, uid, uid).map_err(|e| at("changing the user")(e.into()))?;
    // A change of ids clears it.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).map_err(at("watching its parent"))?;
    sys::drop_capabilities().map_err(at("dropping capabilities"))?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(at("forbidding new privileges"))?;
    // Nobody inside may trace pid 1 or look at its descriptors.
    sys::prctl(libc::PR_SET_DUMPABLE, 0).map_err(at("hiding pid 1"))?;
    seccomp::install().map_err(at("installing the system call filter"))
}
