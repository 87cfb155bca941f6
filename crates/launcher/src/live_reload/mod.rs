//! Live reload: starts a process, and starts it anew when sources of the app change. For work on an app, not for its users.
//!
//! It is the first process of its container: signals are passed on, orphans are reaped. A process that ends by itself is started again with the next
//! change, so that a typing error does not end the container; one that was told to end ends this, too. What is a source, `watch` says.

mod watch;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use crate::programs::say;
use watch::{Sources, Watch};

/// Editors and `git checkout` write several files: this long nothing may have changed before anything is started.
const QUIET: Duration = Duration::from_millis(150);
/// How long a process may take to end before it is made to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Signals that are for the process.
const PASSED_ON: [i32; 8] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];
/// Those of them that mean the end.
const ENDING: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Runs the command until it is told to end; answers its exit code then.
pub(crate) fn run(command: &[OsString]) -> ExitCode {
    match supervise(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("live reload: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn supervise(command: &[OsString]) -> io::Result<u8> {
    let dir = std::env::current_dir()?;
    let signals = Signals::new()?;
    let mut sources = Sources::read(&dir);
    let mut watch = Watch::new(&dir);
    say(&format!("live reload: {} below {} are watched{}", sources.counted(), dir.display(), watch.way()));
    let mut child = Some(Child::start(command)?);
    let mut is_ending = false;
    loop {
        let events = wait(&signals, &watch)?;
        for signal in &events.signals {
            if *signal == libc::SIGCHLD {
                for (pid, status) in reaped() {
                    if child.as_ref().is_some_and(|child| child.pid == pid) {
                        child = None;
                        if is_ending {
                            return Ok(code(status));
                        }
                        say(&format!("live reload: the process ended ({status}); it is started with the next change"));
                    }
                }
                continue;
            }
            is_ending |= ENDING.contains(signal);
            match &child {
                Some(child) => child.signal(*signal),
                None if is_ending => return Ok(code_of_signal(*signal)),
                None => {}
            }
        }
        if !events.has_changed || is_ending {
            continue;
        }
        watch.settle(QUIET);
        let now = Sources::read(&dir);
        // Folders may be new where no source is, yet.
        watch.follow(&dir);
        let Some(changed) = now.first_change_since(&sources) else { continue };
        say(&format!("live reload: {changed}, starting anew"));
        sources = now;
        if let Some(child) = child.take() {
            let heard = child.end(&signals)?;
            if let Some(signal) = heard.iter().find(|signal| ENDING.contains(signal)) {
                return Ok(code_of_signal(*signal));
            }
        }
        child = Some(Child::start(command)?);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}

fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

/// The process, in a group of its own, so that what a shell started ends with it.
struct Child {
    pid: i32,
}

impl Child {
    #[allow(clippy::disallowed_methods, reason = "this module starts the process")]
    fn start(command: &[OsString]) -> io::Result<Self> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no command is given");
        let (program, arguments) = command.split_first().ok_or_else(none)?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        // SAFETY: the closure runs between fork and exec and makes one async-signal-safe call on a mask of its own.
        unsafe {
            command.pre_exec(|| set_mask(libc::SIG_SETMASK, &[]));
        }
        let failed = |error| io::Error::other(format!("starting {}: {error}", program.to_string_lossy()));
        let child = command.spawn().map_err(failed)?;
        Ok(Self { pid: i32::try_from(child.id()).map_err(io::Error::other)? })
    }

    fn signal(&self, signal: i32) {
        // SAFETY: numbers alone; the group is the child's, which is not reaped yet.
        unsafe {
            libc::kill(-self.pid, signal);
        }
    }

    /// Ends it and all of its group, and waits for it. Answers the signals that came meanwhile.
    fn end(self, signals: &Signals) -> io::Result<Vec<i32>> {
        let mut heard = Vec::new();
        self.signal(libc::SIGTERM);
        let mut deadline = Instant::now() + PATIENCE;
        let mut is_gone = false;
        while !is_gone {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                say("live reload: the process does not end, and is killed");
                self.signal(libc::SIGKILL);
                deadline = Instant::now() + PATIENCE;
            }
            poll(&[signals.fd.as_raw_fd()], left.min(Duration::from_millis(100)))?;
            heard.extend(signals.take());
            is_gone = reaped().iter().any(|(pid, _)| *pid == self.pid);
        }
        // Workers that outlive their master hold its port.
        self.signal(libc::SIGKILL);
        Ok(heard)
    }
}

/// All children that ended, and orphans that were left to this process.
fn reaped() -> Vec<(i32, ExitStatus)> {
    let mut found = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: writes a number to where it may.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return found;
        }
        found.push((pid, ExitStatus::from_raw(status)));
    }
}

/// The signals of this process, as a file.
struct Signals {
    fd: OwnedFd,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let all: Vec<i32> = PASSED_ON.into_iter().chain([libc::SIGCHLD]).collect();
        set_mask(libc::SIG_BLOCK, &all)?;
        let set = mask(&all);
        // SAFETY: a set of its own and plain numbers.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave it, and nobody else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    fn take(&self) -> Vec<i32> {
        let mut found = Vec::new();
        loop {
            let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
            // SAFETY: the buffer is as long as it is said to be.
            let count = unsafe { libc::read(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let is_whole = usize::try_from(count).is_ok_and(|count| count == buffer.len());
            // The number of the signal is the first field.
            let Some(number) = buffer.first_chunk::<4>().filter(|_| is_whole) else { return found };
            found.extend(i32::try_from(u32::from_ne_bytes(*number)));
        }
    }
}

fn mask(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call makes the set, the others add to it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn set_mask(how: i32, signals: &[i32]) -> io::Result<()> {
    let set = mask(signals);
    // SAFETY: a set of its own; the old one is not asked for.
    match unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

struct Events {
    signals: Vec<i32>,
    has_changed: bool,
}

fn wait(signals: &Signals, watch: &Watch) -> io::Result<Events> {
    let fds: Vec<i32> = std::iter::once(signals.fd.as_raw_fd()).chain(watch.fd()).collect();
    poll(&fds, watch.longest_wait())?;
    let signals = signals.take();
    // Where files are looked at from time to time, each round is one.
    Ok(Events { has_changed: watch.take() || (watch.fd().is_none() && signals.is_empty()), signals })
}

/// Waits until one of them can be read.
fn poll(fds: &[i32], longest: Duration) -> io::Result<()> {
    let mut fds: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    let timeout = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: an array of the length that is said.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    let error = io::Error::last_os_error();
    if count < 0 && error.kind() != io::ErrorKind::Interrupted { Err(error) } else { Ok(()) }
}
