//! The system call filter: what programs use is allowed, what reaches for the host is refused, what nobody knows does not exist.
//!
//! Refused is EPERM, unknown is ENOSYS, so that a C library that tries a call newer than the list falls back to an older one. Another calling
//! convention than the native one (i386 on x86_64) kills the process; x32 numbers are in no list. `clone3` hides its flags behind a pointer,
//! which no filter can read: ENOSYS makes libraries use `clone`.
//!
//! The program is a search tree over ranges of numbers: the kernel runs a new filter once for every system call that there is (to know
//! which it can skip), and a list of 400 comparisons costs a start 2 ms in all; this costs 0.1 ms.

use std::collections::BTreeMap;
use std::io;

use nix::libc;
use seccompiler::{BpfProgram, sock_filter};

use crate::syscalls::{ALLOWED, REFUSED};

/// All flags of `clone(2)` that make a namespace.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
/// Socket families that stay: local, the two internets, and netlink, from which programs learn of their interfaces.
const FAMILIES: [u32; 4] = [libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
/// Terminal requests that put words into another's mouth (CVE-2017-5226): TIOCSTI and TIOCLINUX.
const TERMINAL_INJECTIONS: [u32; 2] = [0x5412, 0x541c];
/// Personalities that programs ask for: Linux, Linux on 32 bits, both with UNAME26, and the question itself.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// What `mknod` may not make: character and block devices.
const DEVICES: [u32; 2] = [libc::S_IFCHR, libc::S_IFBLK];

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Allow,
    Refuse,
    Absent,
    /// Allowed if the lower half of this argument passes.
    If(u32, Test),
}

/// A question about 32 bits of an argument. (The kernel reads no more of these arguments.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    OneOf(&'static [u32]),
    /// After masking.
    NoneOf(u32, &'static [u32]),
    NoBits(u32),
}

/// Installs the filter in this process, for good.
pub(crate) fn install() -> io::Result<()> {
    seccompiler::apply_filter(&program()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// The rule of every call that exists, by number.
fn rules() -> BTreeMap<u32, Rule> {
    let number = |call: &i64| u32::try_from(*call).unwrap_or(u32::MAX);
    let mut rules: BTreeMap<u32, Rule> = ALLOWED.iter().map(|call| (number(call), Rule::Allow)).collect();
    rules.extend(REFUSED.iter().map(|call| (number(call), Rule::Refuse)));
    let devices = Test::NoneOf(libc::S_IFMT, &DEVICES);
    let conditions = [
        (libc::SYS_clone, 0, Test::NoBits(NAMESPACES.cast_unsigned())),
        (libc::SYS_socket, 0, Test::OneOf(&FAMILIES)),
        (libc::SYS_socketpair, 0, Test::OneOf(&FAMILIES)),
        (libc::SYS_ioctl, 1, Test::NoneOf(u32::MAX, &TERMINAL_INJECTIONS)),
        (libc::SYS_personality, 0, Test::OneOf(&PERSONALITIES)),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1, devices),
        (libc::SYS_mknodat, 2, devices),
    ];
    rules.extend(conditions.iter().map(|(call, argument, test)| (number(call), Rule::If(*argument, *test))));
    rules
}

/// Rules as ranges: each holds from its number to the next one's.
fn ranges() -> Vec<(u32, Rule)> {
    let mut ranges = vec![(0, Rule::Absent)];
    let mut push = |start: u32, rule: Rule| match ranges.last_mut() {
        Some((_, last)) if *last == rule => {}
        Some(last) if last.0 == start => last.1 = rule,
        _ => ranges.push((start, rule)),
    };
    let mut next = 0;
    for (number, rule) in rules() {
        if number > next {
            push(next, Rule::Absent);
        }
        push(number, rule);
        next = number + 1;
    }
    push(next, Rule::Absent);
    ranges
}

fn program() -> BpfProgram {
    // Offsets of `arch` and `nr` in struct seccomp_data.
    let mut program = vec![load(4), jump(libc::BPF_JEQ, AUDIT_ARCH, 1, 0), answer(KILL), load(0)];
    program.extend(tree(&ranges()));
    program
}

/// Searches for the number in the accumulator; every path ends in an answer.
fn tree(ranges: &[(u32, Rule)]) -> BpfProgram {
    if let [(_, rule)] = ranges {
        return leaf(*rule);
    }
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let (start, left, right) = (from[0].0, tree(below), tree(from));
    let mut program = if let Ok(distance) = u8::try_from(left.len()) {
        vec![jump(libc::BPF_JGE, start, distance, 0)]
    } else {
        // A conditional jump reaches no further than 255.
        let distance = u32::try_from(left.len()).unwrap_or(u32::MAX);
        vec![jump(libc::BPF_JGE, start, 0, 1), instruction(libc::BPF_JMP | libc::BPF_JA, distance, 0, 0)]
    };
    program.extend(left);
    program.extend(right);
    program
}

fn leaf(rule: Rule) -> BpfProgram {
    let (argument, test) = match rule {
        Rule::Allow => return vec![answer(ALLOW)],
        Rule::Refuse => return vec![answer(REFUSE)],
        Rule::Absent => return vec![answer(ABSENT)],
        Rule::If(argument, test) => (argument, test),
    };
    // The lower half of an argument, on a little-endian machine.
    let mut program = vec![load(16 + 8 * argument)];
    let (values, found, otherwise) = match test {
        Test::OneOf(values) => (values, ALLOW, REFUSE),
        Test::NoneOf(mask, values) => {
            program.push(instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, 0, 0));
            (values, REFUSE, ALLOW)
        }
        Test::NoBits(mask) => {
            program.extend([jump(libc::BPF_JSET, mask, 0, 1), answer(REFUSE), answer(ALLOW)]);
            return program;
        }
    };
    for value in values {
        program.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer(found)]);
    }
    program.push(answer(otherwise));
    program
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn jump(comparison: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, value, if_true, if_false)
}

fn answer(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn decide(arch: u32, number: u32, args: [u32; 3]) -> u32 {
        let program = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let code = u32::from(step.code);
            let branch = |condition: bool| usize::from(if condition { step.jt } else { step.jf });
            match code & 0x07 {
                libc::BPF_LD => {
                    accumulator = match step.k {
                        0 => number,
                        4 => arch,
                        offset => args[((offset - 16) / 8) as usize],
                    }
                }
                libc::BPF_ALU => accumulator &= step.k,
                libc::BPF_RET => return step.k,
                _ => {
                    at += match code & 0xf0 {
                        libc::BPF_JA => step.k as usize,
                        libc::BPF_JEQ => branch(accumulator == step.k),
                        libc::BPF_JGE => branch(accumulator >= step.k),
                        _ => branch(accumulator & step.k != 0),
                    }
                }
            }
        }
    }

    fn native(call: i64, args: [u32; 3]) -> u32 {
        decide(AUDIT_ARCH, u32::try_from(call).unwrap(), args)
    }

    #[test]
    fn every_number_gets_its_rule() {
        let rules = rules();
        for number in 0..2000 {
            let expected = match rules.get(&number) {
                None => ABSENT,
                Some(Rule::Allow) => ALLOW,
                Some(Rule::Refuse) => REFUSE,
                Some(_) => continue,
            };
            assert_eq!(decide(AUDIT_ARCH, number, [0; 3]), expected, "{number}");
        }
    }

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let both: Vec<_> = ALLOWED.iter().filter(|call| REFUSED.contains(call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }

    #[test]
    fn what_reaches_for_the_host_is_refused() {
        let dangerous = [libc::SYS_mount, libc::SYS_bpf, libc::SYS_ptrace, libc::SYS_keyctl, libc::SYS_setns];
        for call in dangerous.into_iter().chain([libc::SYS_io_uring_setup, libc::SYS_userfaultfd, libc::SYS_unshare]) {
            assert_eq!(native(call, [0; 3]), REFUSE, "{call}");
        }
        assert_eq!(native(libc::SYS_clone3, [0; 3]), ABSENT, "its flags cannot be read, so it must look absent");
    }

    #[test]
    fn arguments_decide_where_a_call_has_two_faces() {
        let sigchld = libc::SIGCHLD.cast_unsigned();
        assert_eq!(native(libc::SYS_clone, [sigchld, 0, 0]), ALLOW);
        assert_eq!(native(libc::SYS_clone, [libc::CLONE_NEWUSER.cast_unsigned() | sigchld, 0, 0]), REFUSE);
        assert_eq!(native(libc::SYS_ioctl, [0, 0x5412, 0]), REFUSE, "TIOCSTI");
        assert_eq!(native(libc::SYS_ioctl, [0, 0x5401, 0]), ALLOW, "TCGETS");
        assert_eq!(native(libc::SYS_socket, [libc::AF_VSOCK.cast_unsigned(), 0, 0]), REFUSE);
        assert_eq!(native(libc::SYS_socket, [libc::AF_INET.cast_unsigned(), 0, 0]), ALLOW);
        assert_eq!(native(libc::SYS_mknodat, [0, 0, libc::S_IFCHR | 0o600]), REFUSE);
        assert_eq!(native(libc::SYS_mknodat, [0, 0, libc::S_IFIFO | 0o600]), ALLOW);
        assert_eq!(native(libc::SYS_personality, [0x0040_0000, 0, 0]), REFUSE, "ADDR_NO_RANDOMIZE");
    }

    #[test]
    fn another_calling_convention_is_killed() {
        assert_eq!(decide(0x4000_0003, 1, [0; 3]), KILL, "i386");
        assert_eq!(native(0x4000_0000 + libc::SYS_getpid, [0; 3]), ABSENT, "x32");
    }

    #[test]
    fn the_program_is_short() {
        assert!(program().len() < 400, "{}", program().len());
    }
}
