//! Pid 1 inside: builds the root, gives up all privileges, starts the process, reaps what it leaves behind and passes signals on.
//!
//! Order of the descent, each step for a reason: the parent's death is watched before anything else; the mounts need the capabilities of
//! the namespace; the control groups hold before the process runs; capabilities and system calls go last, in pid 1 itself, so that nothing
//! inside has more than the process has.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid};

use crate::cgroup::{Doors, Held};
use crate::spec::{Network, Spec};
use crate::user::Mapping;
use crate::wire::{self, Failure, Message, Order, Step};
use crate::{confine, network, program, root, sys};

/// What pid 1 knows.
pub(crate) struct Inside<'a> {
    pub(crate) order: &'a Order,
    pub(crate) socket: &'a UnixStream,
    pub(crate) ids: Mapping,
    /// Which limits control groups keep.
    pub(crate) held: Held,
}

/// What becomes the process's standard streams.
pub(crate) struct Streams {
    /// What it reads; `None` for nothing.
    pub(crate) stdin: Option<OwnedFd>,
    /// Where the controlling side of its terminal goes, where it has one.
    pub(crate) console: Option<UnixStream>,
    /// Where standard output and standard error go otherwise.
    pub(crate) output: [OwnedFd; 2],
}

/// Pid 1 from its first instruction to its last.
pub(crate) fn main(inside: &Inside<'_>, streams: Streams, gate: UnixStream, doors: Doors) -> ! {
    let code = match descend(inside, streams, gate, doors) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = wire::send(inside.socket, &Message::Failed(failure));
            1
        }
    };
    // Nothing of the monitor's copy of the program may run here, not even exit handlers.
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

fn descend(inside: &Inside<'_>, streams: Streams, mut gate: UnixStream, doors: Doors) -> Result<(), Failure> {
    let (order, spec) = (inside.order, &inside.order.spec);
    let prepare = |action: &str| Failure::at(Step::Prepare, action, "");
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).map_err(prepare("watching its parent"))?;
    // The caller's mask is its own affair.
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    // Fails at the end of file if the monitor died before that.
    pass(&mut gate)?;
    if order.pasta.is_some() {
        network::make_interface();
        gate.write_all(&[1]).map_err(prepare("answering the monitor"))?;
    }
    let controller = root::enter(order)?;
    nix::unistd::sethostname(&spec.hostname).map_err(|e| Failure::at(Step::Namespace, "host name", "")(e.into()))?;
    if spec.network != Network::Host {
        sys::loopback_up().map_err(Failure::at(Step::Network, "loopback", ""))?;
    }
    take_streams(spec, streams, controller).map_err(prepare("opening its streams"))?;
    confine::own_streams(spec.process.user);
    // Here, so that what the kernel needed for the mounts is not the process's.
    doors.enter()?;
    pass(&mut gate)?;
    confine::set_resource_limits(spec, inside.held, inside.ids).map_err(Failure::at(
        Step::Limit,
        "resources",
        "setrlimit",
    ))?;
    confine::become_user(spec, inside.ids)?;
    // The change of ids had cleared the order to die with the monitor; if it died in between, its end of the gate is closed.
    if sys::is_readable(gate.as_fd()) {
        return Err(prepare("waiting for the monitor")(io::ErrorKind::UnexpectedEof.into()));
    }
    drop(gate);
    let program = program::resolve(spec)?;
    start(spec, inside.socket, &program)
}

/// Waits for the monitor.
fn pass(gate: &mut UnixStream) -> Result<(), Failure> {
    gate.read_exact(&mut [0]).map_err(Failure::at(Step::Prepare, "waiting for the monitor", ""))
}

/// Makes the three standard streams: a terminal, whose controlling side goes to the caller, or the input and the pipes.
fn take_streams(spec: &Spec, streams: Streams, controller: Option<OwnedFd>) -> io::Result<()> {
    if let (Some(size), Some(controller), Some(console)) = (spec.process.terminal, controller, streams.console) {
        sys::set_window_size(controller.as_fd(), size)?;
        let terminal = sys::open_terminal(controller.as_fd())?;
        wire::send_fds(&console, 0, &[controller.as_fd()])?;
        nix::unistd::dup2_stdin(&terminal)?;
        nix::unistd::dup2_stdout(&terminal)?;
        return Ok(nix::unistd::dup2_stderr(&terminal)?);
    }
    let stdin = match streams.stdin {
        Some(fd) => fd,
        None => fs_err::File::open("/dev/null")?.into_parts().0.into(),
    };
    let [stdout, stderr] = streams.output;
    nix::unistd::dup2_stdin(&stdin)?;
    nix::unistd::dup2_stdout(&stdout)?;
    Ok(nix::unistd::dup2_stderr(&stderr)?)
}

/// Starts the process and stays with it.
fn start(spec: &Spec, socket: &UnixStream, program: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| Failure::at(Step::NotExecutable, "", path);
    let command = Command::new(spec, program).map_err(failed(program))?;
    let born = Instant::now();
    // All signals wait from here on, so that none is lost between fork and the first wait; the process gets an empty mask.
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(|e| failed(program)(e.into()))?;
    if !spec.init {
        sys::close_from_on_exec(3).map_err(failed(program))?;
        let started = wire::send(socket, &Message::Started);
        return started.and_then(|()| Err(command.exec())).map_err(failed(program));
    }
    let (result, result_end) = io::pipe().map_err(failed(program))?;
    // SAFETY: one thread; the child only calls the kernel.
    match unsafe { nix::unistd::fork() }.map_err(|e| failed(program)(e.into()))? {
        ForkResult::Child => {
            let errno = command.exec().raw_os_error().unwrap_or(libc::EIO);
            let _ = nix::unistd::write(&result_end, &errno.to_le_bytes());
            // SAFETY: ends the process.
            unsafe { libc::_exit(127) }
        }
        ForkResult::Parent { child } => {
            drop(result_end);
            let mut errno = [0; 4];
            let mut result = File::from(OwnedFd::from(result));
            if result.read_exact(&mut errno).is_ok() {
                return Err(failed(program)(io::Error::from_raw_os_error(i32::from_le_bytes(errno))));
            }
            drop(command);
            let ended = wire::send(socket, &Message::Started).and_then(|()| {
                release_streams()?;
                stay(child)
            });
            let _ = ended
                .and_then(|status| wire::send(socket, &Message::Ended { status, wall_micros: micros(born.elapsed()) }));
            Ok(())
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Pid 1 keeps neither input nor output open.
fn release_streams() -> io::Result<()> {
    for fd in 0..3 {
        nix::unistd::close(fd)?;
    }
    Ok(())
}

/// Reaps until the process has ended; the wait status. What else runs then dies with pid 1.
fn stay(process: Pid) -> io::Result<i32> {
    let signals = SigSet::all();
    loop {
        while let Some((pid, status)) = reap_one()? {
            if pid == process {
                return Ok(status);
            }
        }
        let mut number = 0;
        // SAFETY: pointers to live data.
        match unsafe { libc::sigwait(signals.as_ref(), &raw mut number) } {
            0 if number == libc::SIGCHLD => {}
            // SAFETY: plain numbers. Any number: real-time signals have no names.
            0 => drop(unsafe { libc::kill(process.as_raw(), number) }),
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

fn reap_one() -> io::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    // SAFETY: a pointer to live data.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Some((Pid::from_raw(pid), status))),
    }
}

/// What exec needs, made before fork so that nothing is allocated after it.
struct Command {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    has_terminal: bool,
}

/// What a process may be started with as ignored, which an exec would keep: the monitor's own, and those that shells and supervisors ignore.
const RESTORED: [Signal; 11] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGPIPE,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

impl Command {
    fn new(spec: &Spec, program: &Path) -> io::Result<Self> {
        let args = spec.process.args.iter().map(|arg| sys::c_string(arg.as_bytes())).collect::<io::Result<_>>()?;
        let env = spec.process.env.iter().map(|(key, value)| {
            let mut entry = key.as_bytes().to_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            sys::c_string(&entry)
        });
        let program = sys::c_string(program.as_os_str().as_bytes())?;
        Ok(Self { program, args, env: env.collect::<io::Result<_>>()?, has_terminal: spec.process.terminal.is_some() })
    }

    /// Becomes the program; returns only the reason why not.
    fn exec(&self) -> io::Error {
        for ignored in RESTORED {
            // SAFETY: the default action installs no handler.
            let _ = unsafe { signal(ignored, SigHandler::SigDfl) };
        }
        let _ = nix::unistd::setsid();
        if self.has_terminal
            && let Err(error) = sys::control_terminal()
        {
            return error;
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
        match nix::unistd::execve(&self.program, &self.args, &self.env) {
            Ok(never) => match never {},
            Err(errno) => errno.into(),
        }
    }
}
