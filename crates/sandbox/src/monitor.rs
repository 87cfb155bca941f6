//! The child of the caller, outside of all namespaces: makes control groups and pid 1, maps its ids, and kills and cleans up whatever happens.
//!
//! It lives as long as pid 1, or serves one run after another: each has a pid 1, namespaces and control groups of its own, and what the monitor
//! held of one (descriptors) is closed before the next. The end of the caller's side of the socket (also when the caller was killed) is the order to kill. If the
//! monitor itself is killed, the kernel kills pid 1 (PDEATHSIG), and with it everything inside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::cgroup::{Birth, Cgroups, Known};
use crate::network::Pasta;
use crate::spec::Network;
use crate::wire::{self, Failure, Given, Message, Order, Step, Usage};
use crate::{init, network, sys, user};

/// Continues as the sandbox's child if this process was started as one, and returns otherwise. First line of every `main`.
///
/// Must come before any thread exists: what follows forks.
pub fn main_if_child() {
    if std::env::args_os().next().is_some_and(|name| name == crate::monitors::CHILD_NAME) {
        let code = i32::from(serve().is_err());
        // The child has nothing to return to: the rest of main belongs to the caller's program.
        #[allow(clippy::exit)]
        std::process::exit(code);
    }
}

/// Takes the order and sees it through. What fails inside is told to the caller; an error here means that there is no caller.
fn serve() -> io::Result<()> {
    sys::close_from(3)?;
    // Otherwise a number: the program was executed by descriptor.
    nix::sys::prctl::set_name(c"hoist-sandbox")?;
    // Above the numbers that pass to the process, and gone at the next exec.
    let socket = fcntl(io::stdin().as_fd(), FcntlArg::F_DUPFD_CLOEXEC(10))?;
    // SAFETY: fcntl has just made this descriptor.
    let socket = UnixStream::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(socket) });
    close_standard_streams()?;
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    // Whoever started hoist may have ignored it, and then nobody's end could be waited for (`wait(2)`).
    // SAFETY: the default action installs no handler.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    // Away from the caller's terminal, so that Ctrl-C reaches the caller alone, which then decides.
    nix::unistd::setsid()?;
    let known = Known::default();
    while let Some(given) = wire::receive_given(&socket)? {
        let Some(order) = wire::receive::<Order>(&socket)? else { break };
        if !serve_one(&order, &socket, given, &known)? {
            break;
        }
    }
    Ok(())
}

/// One run; whether another may follow.
fn serve_one(order: &Order, socket: &UnixStream, given: Given<OwnedFd>, known: &Known) -> io::Result<bool> {
    // The connector and `pasta` are processes of the host, whose end is not waited for: they go with this one.
    let mut stays = order.stay && given.connector.is_none() && order.pasta.is_none();
    let mut usage = Usage::default();
    let made = Cgroups::create(order, known, &mut |note| drop(wire::send(socket, &Message::Note(note))));
    let result = made.and_then(|cgroups| {
        let result = supervise(order, socket, given, &cgroups);
        usage = cgroups.usage();
        stays &= cgroups.remove();
        result
    });
    match result {
        Ok(own) => {
            usage.cpu_micros = own.cpu_micros;
            usage.peak_memory_bytes = usage.peak_memory_bytes.max(own.peak_memory_bytes);
        }
        Err(failure) => {
            stays = false;
            wire::send(socket, &Message::Failed(failure))?;
        }
    }
    wire::send(socket, &Message::Finished { usage, stays })?;
    Ok(stays)
}

/// From the clone of pid 1 to its end.
fn supervise(order: &Order, socket: &UnixStream, given: Given<OwnedFd>, cgroups: &Cgroups) -> Result<Usage, Failure> {
    let (gate, mut gate_end) = UnixStream::pair().map_err(Failure::at(Step::Prepare, "making a socket pair", ""))?;
    let ids = user::Mapping::choose(order.spec.process.user);
    let mut namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    if order.spec.network != Network::Host {
        namespaces |= libc::CLONE_NEWNET;
    }
    let mut doors = cgroups.doors()?;
    // SAFETY: the standard library has started no thread, and `main_if_child` comes before any other code.
    let (pid, mapped) = unsafe { clone(namespaces, ids, &mut doors.birth) }?;
    let sys::Cloned::Parent(pid) = pid else {
        drop((gate_end, given.connector));
        let console = given.console.map(UnixStream::from);
        let streams = init::Streams { stdin: given.stdin, console, output: given.output };
        init::main(&init::Inside { order, socket, ids: mapped, held: cgroups.held }, streams, gate, doors);
    };
    // So that the pipes end with the last process inside.
    drop((gate, given.stdin, given.console, given.output));
    let mut pasta = None;
    let released = release(pid, mapped, doors.birth.as_ref(), &mut gate_end).and_then(|()| {
        given.connector.map_or(Ok(()), |channel| network::start_connector(pid, mapped, channel))?;
        if matches!(order.spec.network, Network::Private { .. }) {
            pasta = let_out(order, socket, pid, &mut gate_end);
        }
        // A pid 1 that has died already has told its reason.
        let _ = gate_end.write_all(&[2]);
        Ok(())
    });
    if released.is_err() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let begun = Instant::now();
    let result = wait(socket, pid).map_err(Failure::at(Step::Prepare, "waiting for pid 1", ""));
    // Until here, so that pid 1 sees by it whether this process lives.
    drop(gate_end);
    drop(pasta);
    released?;
    let (status, usage, killed) = result?;
    if !order.spec.init && !killed {
        let wall_micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        // A caller that is gone needs no answer.
        let _ = wire::send(socket, &Message::Ended { status, wall_micros });
    }
    Ok(usage)
}

/// Clones pid 1, in its control group of version 2 where it can be; `birth` remains where it still has to be moved there.
///
/// # Safety
/// As [`sys::clone_into`].
unsafe fn clone(
    namespaces: i32,
    ids: user::Mapping,
    birth: &mut Option<Birth>,
) -> Result<(sys::Cloned, user::Mapping), Failure> {
    if let Some(inside) = birth {
        // SAFETY: passed on. What fails for the group's sake says so when the process is moved.
        if let Ok(cloned) = unsafe { user::clone_mapped(namespaces, ids, Some(inside.group.as_fd())) } {
            *birth = None;
            return Ok(cloned);
        }
    }
    // SAFETY: passed on.
    unsafe { user::clone_mapped(namespaces, ids, None) }
}

/// Maps ids, lets pid 1 build its root, and moves it into a control group that it was not born in meanwhile.
fn release(pid: i32, ids: user::Mapping, birth: Option<&Birth>, gate: &mut UnixStream) -> Result<(), Failure> {
    ids.write(pid).map_err(Failure::at(Step::UserNamespace, "", ""))?;
    // A pid 1 that has died already has told its reason.
    let _ = gate.write_all(&[1]);
    birth.map_or(Ok(()), |birth| birth.admit(pid))
}

/// Opens the way out of a private network, or says why there is none.
fn let_out(order: &Order, socket: &UnixStream, pid: i32, gate: &mut UnixStream) -> Option<Pasta> {
    let started = match &order.pasta {
        Some(program) => {
            // Pid 1 has made the interface, or is dead.
            let _ = gate.read(&mut [0]);
            Pasta::start(program, pid, [gate.as_fd(), socket.as_fd()])
        }
        None => Err("pasta is not installed (Debian package passt)".to_owned()),
    };
    started.unwrap_or_else(|reason| {
        // A caller that is gone needs no note.
        let _ = wire::send(socket, &Message::Note(format!("the private network has no way out: {reason}")));
        None
    })
}

/// The socket has a number of its own, and nothing is said to anyone else.
fn close_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Until pid 1 has ended, by itself or because the caller's end of the socket closed: its status, what it used, and which it was.
fn wait(socket: &UnixStream, pid: i32) -> io::Result<(i32, Usage, bool)> {
    let ended = sys::pidfd(pid)?;
    loop {
        let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN), PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        if fds[0].any().unwrap_or(true) {
            return reap(pid).map(|(status, usage)| (status, usage, false));
        }
        let mut byte = [0];
        let mut reader = socket;
        if fds[1].any().unwrap_or(false) && !matches!(reader.read(&mut byte), Ok(1..)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            return reap(pid).map(|(status, usage)| (status, usage, true));
        }
    }
}

/// Waits for pid 1: when it is reaped, the kernel has killed and reaped all else in its pid namespace.
fn reap(pid: i32) -> io::Result<(i32, Usage)> {
    let mut status = 0;
    // SAFETY: plain data, filled by the call.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live data of the right type.
        match unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut used) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            _ => break,
        }
    }
    let micros = |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0);
    let usage = Usage {
        cpu_micros: micros(used.ru_utime) + micros(used.ru_stime),
        peak_memory_bytes: u64::try_from(used.ru_maxrss).unwrap_or(0) * 1024,
        out_of_memory: false,
    };
    Ok((status, usage))
}
