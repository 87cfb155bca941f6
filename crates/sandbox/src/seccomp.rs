//! The system call filter: what programs use is allowed, what reaches for the host is refused, what nobody knows does not exist.
//!
//! Two filters, and the one installed last wins where both refuse (`seccomp(2)`): the first allows a list and answers ENOSYS to all else, so
//! that a C library that tries a call newer than the list falls back to an older one; the second answers EPERM where a call, or certain
//! arguments of an allowed one, would be an attempt to get out. Another calling convention than the native one (i386 on x86_64) kills the
//! process; x32 numbers are in no list. `clone3` hides its flags behind a pointer, which no filter can read: ENOSYS makes libraries use `clone`.

use std::collections::BTreeMap;
use std::io;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::syscalls::{ALLOWED, REFUSED};

/// All flags of `clone(2)` and `unshare(2)` that make a namespace, CLONE_NEWTIME included.
const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWTIME,
];
/// Socket families that stay: local, the two internets, and netlink, from which programs learn of their interfaces.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Terminal requests that put words into another's mouth (CVE-2017-5226).
const TERMINAL_INJECTIONS: [libc::Ioctl; 2] = [libc::TIOCSTI, 0x541c /* TIOCLINUX */];
/// Personalities that programs ask for: Linux, Linux on 32 bits, both with UNAME26, and the question itself.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Installs both filters in this process, for good.
pub(crate) fn install() -> io::Result<()> {
    for program in [allowing()?, refusing()?] {
        seccompiler::apply_filter(&program).map_err(invalid)?;
    }
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn architecture() -> io::Result<TargetArch> {
    std::env::consts::ARCH.try_into().map_err(invalid)
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

fn allowing() -> io::Result<BpfProgram> {
    let rules = ALLOWED.iter().chain(REFUSED).map(|number| (*number, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, errno(libc::ENOSYS), SeccompAction::Allow, architecture()?);
    filter.map_err(invalid)?.try_into().map_err(invalid)
}

fn refusing() -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        rules.entry(libc::SYS_clone).or_default().push(rule(&[(0, SeccompCmpOp::MaskedEq(flag), flag)])?);
    }
    let other_families: Vec<_> = FAMILIES.iter().map(|f| (0, SeccompCmpOp::Ne, u64::from(f.unsigned_abs()))).collect();
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![rule(&other_families)?]);
    }
    for request in TERMINAL_INJECTIONS {
        rules.entry(libc::SYS_ioctl).or_default().push(rule(&[(1, SeccompCmpOp::Eq, request)])?);
    }
    let other_personalities: Vec<_> = PERSONALITIES.iter().map(|p| (0, SeccompCmpOp::Ne, *p)).collect();
    rules.insert(libc::SYS_personality, vec![rule(&other_personalities)?]);
    for call in making_nodes() {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            let is_kind = SeccompCmpOp::MaskedEq(u64::from(libc::S_IFMT));
            rules.entry(call.0).or_default().push(rule(&[(call.1, is_kind, u64::from(kind))])?);
        }
    }
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), architecture()?);
    filter.map_err(invalid)?.try_into().map_err(invalid)
}

/// Calls that make device nodes, with the argument that says so.
fn making_nodes() -> Vec<(i64, u8)> {
    vec![
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
        (libc::SYS_mknodat, 2),
    ]
}

/// True where all of (argument, comparison, value) are; the kernel looks at the lower 32 bits of each of these arguments.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> io::Result<SeccompRule> {
    let conditions = conditions
        .iter()
        .map(|(argument, comparison, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, comparison.clone(), *value)
        })
        .collect::<Result<_, _>>()
        .map_err(invalid)?;
    SeccompRule::new(conditions).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let both: Vec<_> = ALLOWED.iter().filter(|call| REFUSED.contains(call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn both_filters_fit_the_kernels_limit() {
        for program in [allowing().unwrap(), refusing().unwrap()] {
            assert!(program.len() < 4096, "{}", program.len());
        }
    }

    #[test]
    fn what_reaches_for_the_host_is_refused() {
        let dangerous = [libc::SYS_mount, libc::SYS_bpf, libc::SYS_ptrace, libc::SYS_keyctl, libc::SYS_setns];
        for call in dangerous.into_iter().chain([libc::SYS_io_uring_setup, libc::SYS_userfaultfd, libc::SYS_unshare]) {
            assert!(!ALLOWED.contains(&call) && REFUSED.contains(&call), "{call}");
        }
        assert!(
            !ALLOWED.contains(&libc::SYS_clone3) && !REFUSED.contains(&libc::SYS_clone3),
            "clone3 must look absent"
        );
    }
}
