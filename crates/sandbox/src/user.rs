//! Who the process is: user namespaces and id maps.
//!
//! An ordinary user gets one id inside, mapped to their own: this needs neither `newuidmap` nor subordinate ids. Root gets a namespace in
//! which every id is itself, so that trees keep their owners while capabilities are worth nothing outside; where that is forbidden and
//! root is whole, none. See docs/adr.

use std::io;
use std::os::fd::BorrowedFd;

use nix::libc;
use nix::unistd::{getegid, geteuid};

use crate::spec::User;
use crate::sys::{self, Cloned};
use crate::wire::{Failure, Step};

/// Numbers of capabilities (`linux/capability.h`).
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_SYS_ADMIN: u32 = 21;

/// How ids inside relate to ids outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// One id of each kind: (inside, outside).
    Single { uid: (u32, u32), gid: (u32, u32) },
    /// Every id that exists here is itself.
    Identity,
    /// No user namespace.
    None,
}

impl Mapping {
    /// What this process may do.
    pub(crate) fn choose(user: User) -> Self {
        if geteuid().is_root() && sys::has_capability(CAP_SETUID) && sys::has_capability(CAP_SETGID) {
            Self::Identity
        } else {
            Self::Single { uid: (user.uid, geteuid().as_raw()), gid: (user.gid, getegid().as_raw()) }
        }
    }

    /// Writes the maps of a process that has just been cloned.
    pub(crate) fn write(self, pid: i32) -> io::Result<()> {
        let line = |(inside, outside): (u32, u32)| format!("{inside} {outside} 1\n");
        let (uid_map, gid_map) = match self {
            Self::None => return Ok(()),
            Self::Single { uid, gid } => {
                fs_err::write(format!("/proc/{pid}/setgroups"), "deny")?;
                (line(uid), line(gid))
            }
            Self::Identity => (identity("uid_map")?, identity("gid_map")?),
        };
        fs_err::write(format!("/proc/{pid}/gid_map"), gid_map)?;
        fs_err::write(format!("/proc/{pid}/uid_map"), uid_map)
    }

    /// Whether group lists may be set inside.
    pub(crate) fn may_set_groups(self) -> bool {
        !matches!(self, Self::Single { .. })
    }
}

/// Every range of ids that exists in our own namespace, mapped to itself.
fn identity(map: &str) -> io::Result<String> {
    let own = fs_err::read_to_string(format!("/proc/self/{map}"))?;
    let ranges = own.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let (first, count) = (numbers.next()?, numbers.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    });
    Ok(ranges.collect())
}

/// Clones pid 1 into the namespaces, a user namespace and, where one is given, a control group; without the user namespace where it is forbidden
/// and root can do without.
///
/// # Safety
/// As [`sys::clone_into`].
pub(crate) unsafe fn clone_mapped(
    namespaces: i32,
    ids: Mapping,
    group: Option<BorrowedFd<'_>>,
) -> Result<(Cloned, Mapping), Failure> {
    // SAFETY: passed on.
    let first = unsafe { sys::clone_into(namespaces | libc::CLONE_NEWUSER, group) };
    match first {
        Ok(cloned) => Ok((cloned, ids)),
        Err(_) if sys::has_capability(CAP_SYS_ADMIN) => {
            // SAFETY: passed on.
            let second = unsafe { sys::clone_into(namespaces, group) };
            second.map(|cloned| (cloned, Mapping::None)).map_err(Failure::at(Step::Namespace, "mount and pid", ""))
        }
        Err(error) => Err(Failure::at(Step::UserNamespace, "", "")(error)),
    }
}
