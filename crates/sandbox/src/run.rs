//! The calling side of a run: starts the child, hears its output, watches clock, limits and cancellation, and waits until all is gone.
//!
//! Knows the child only by its messages ([`crate::wire`]). Works with any number of threads, since all that happens between fork and exec
//! is the standard library's own `posix_spawn`.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::{Exit, ExitStatus, OutputSink};
use crate::forward::Forwarder;
use crate::network::NAME_SERVER;
use crate::spec::{Network, Process, Spec, Stdin};
use crate::sys;
use crate::wire::{self, Failure, Message, Order, Usage};

/// The name by which a child knows that it is one.
pub(crate) const CHILD_NAME: &str = "hoist-sandbox-child";
/// How long the monitor may take to kill and clean up before it is killed itself.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a process to its end. Blocks; output, timeout and cancellation are handled on the calling thread.
///
/// # Errors
/// When the process could not be started, or its output not be passed on. What the process does wrong is in [`Exit`].
pub fn run(spec: &Spec, output: &mut dyn OutputSink, cancel: &Cancel) -> Result<Exit, SandboxError> {
    check(spec)?;
    let (forwarder, connector) = Forwarder::start(&spec.network, output)?.unzip();
    let mut session = Session::start(spec, connector.as_ref())?;
    // Only the connector may hold its end, so that the forwarder notices if it dies.
    drop(connector);
    let watched = session.watch(spec, output, cancel);
    let vanished = session.finish();
    drop(forwarder);
    watched?;
    session.into_exit(spec, &vanished)
}

fn check(spec: &Spec) -> Result<(), SandboxError> {
    use std::os::unix::ffi::OsStrExt;

    if spec.process.args.is_empty() {
        return Err(SandboxError::EmptyCommand);
    }
    let count = spec.root.lower_dirs.len();
    if !(1..=crate::root::LAYERS_MAX).contains(&count) {
        return Err(SandboxError::LayerCount { count, max: crate::root::LAYERS_MAX });
    }
    let zero = |bytes: &[u8]| bytes.contains(&0);
    if spec.process.args.iter().any(|arg| zero(arg.as_bytes())) {
        return Err(SandboxError::ZeroByte { what: "an argument".to_owned() });
    }
    match spec.process.env.iter().find(|(key, value)| zero(key.as_bytes()) || zero(value.as_bytes())) {
        Some((key, _)) => {
            Err(SandboxError::ZeroByte { what: format!("the variable {}", key.to_string_lossy().replace('\0', "\\0")) })
        }
        None => Ok(()),
    }
}

fn prepare(action: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Prepare { action, source }
}

/// Why we ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Timeout,
    Output,
    Cancelled,
    SinkFailed,
}

struct Session {
    child: Child,
    socket: UnixStream,
    pipes: [Option<File>; 2],
    born: Instant,
    started: Option<Instant>,
    wait_status: Option<(i32, Duration)>,
    usage: Option<Usage>,
    stopped: Option<Stopped>,
    failure: Option<Failure>,
    received_bytes: u64,
    notes: Vec<String>,
}

impl Session {
    fn start(spec: &Spec, connector: Option<&UnixStream>) -> Result<Self, SandboxError> {
        let (socket, theirs) = UnixStream::pair().map_err(prepare("making a socket pair"))?;
        let (stdout, stdout_end) = io::pipe().map_err(prepare("making a pipe for its output"))?;
        let (stderr, stderr_end) = io::pipe().map_err(prepare("making a pipe for its errors"))?;
        let stdin = stdin_fd(&spec.process.stdin).map_err(prepare("keeping its input"))?;
        let pipes = [File::from(OwnedFd::from(stdout)), File::from(OwnedFd::from(stderr))];
        for pipe in &pipes {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|e| prepare("reading without waiting")(e.into()))?;
        }
        let born = Instant::now();
        // The one place where this crate starts a program: ourselves.
        #[allow(clippy::disallowed_methods)]
        let child = Command::new(own_program())
            .arg0(CHILD_NAME)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stdout_end)
            .stderr(stderr_end)
            .spawn()
            .map_err(|source| SandboxError::Reexec { source })?;
        let order = Order::new(spec);
        let session = Self {
            child,
            socket,
            pipes: pipes.map(Some),
            born,
            started: None,
            wait_status: None,
            usage: None,
            stopped: None,
            failure: None,
            received_bytes: 0,
            notes: Vec::new(),
        };
        // A child that is gone already shows itself in `watch`, with its status: not here as a broken pipe.
        let sent = wire::send_fd(&session.socket, 0, stdin.as_ref().map(AsFd::as_fd))
            .and_then(|()| wire::send_fd(&session.socket, 1, connector.map(AsFd::as_fd)));
        match sent.and_then(|()| wire::send(&session.socket, &order)) {
            Err(error) if error.kind() == io::ErrorKind::Other => Err(prepare("writing its order")(error)),
            _ => Ok(session),
        }
    }

    /// Until the child's side of the socket is closed: everything inside is gone then.
    fn watch(&mut self, spec: &Spec, output: &mut dyn OutputSink, cancel: &Cancel) -> Result<(), SandboxError> {
        let mut sink_error = None;
        let mut deadline = spec.limits.timeout.map(|timeout| self.born + timeout);
        let mut kill_by = None;
        loop {
            let ready = self.wait(cancel, kill_by.or(deadline))?;
            if self.stopped.is_none() && cancel.is_cancelled() {
                self.stop(Stopped::Cancelled);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                self.stop(Stopped::Timeout);
            }
            if kill_by.is_some_and(|kill_by| now >= kill_by) {
                // The monitor itself hangs: pid 1 dies with it (PDEATHSIG).
                let _ = self.child.kill();
            }
            if let Err(error) = self.read_output(spec, output) {
                sink_error.get_or_insert(error);
                self.stop(Stopped::SinkFailed);
            }
            if ready {
                match wire::receive(&self.socket) {
                    Ok(Some(message)) => {
                        if matches!(message, Message::Started) {
                            deadline = spec.limits.timeout.map(|timeout| Instant::now() + timeout);
                        }
                        self.hear(message, output);
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            if self.stopped.is_some() && kill_by.is_none() {
                kill_by = Some(Instant::now() + CLEANUP_PATIENCE);
            }
        }
        if self.stopped != Some(Stopped::SinkFailed)
            && let Err(error) = self.read_output(spec, output)
        {
            sink_error.get_or_insert(error);
        }
        sink_error.map_or(Ok(()), |source| Err(SandboxError::Output { source }))
    }

    /// Waits for anything to happen; whether the socket has something to say.
    fn wait(&self, cancel: &Cancel, deadline: Option<Instant>) -> Result<bool, SandboxError> {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.pipes.iter().flatten().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        if self.stopped.is_none() {
            fds.push(PollFd::new(cancel.as_fd(), PollFlags::POLLIN));
        }
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(fds[0].any().unwrap_or(false)),
            Err(errno) => Err(prepare("waiting for the sandbox")(errno.into())),
        }
    }

    fn hear(&mut self, message: Message, output: &mut dyn OutputSink) {
        match message {
            Message::Note(text) => {
                output.note(&text);
                self.notes.push(text);
            }
            Message::Started => self.started = Some(Instant::now()),
            Message::Failed(failure) => self.failure = Some(failure),
            Message::Ended { status, wall_micros } => {
                self.wait_status = Some((status, Duration::from_micros(wall_micros)));
            }
            Message::Finished(usage) => self.usage = Some(usage),
        }
    }

    /// Tells the monitor to kill everything, once.
    fn stop(&mut self, why: Stopped) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Passes on what the pipes hold, up to the limit.
    fn read_output(&mut self, spec: &Spec, output: &mut dyn OutputSink) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        for index in 0..self.pipes.len() {
            // At most a pipe's capacity at a time, so that a flood on one stream starves neither the other nor the clock.
            for _ in 0..4 {
                let Some(pipe) = &mut self.pipes[index] else { break };
                let count = match pipe.read(&mut buffer) {
                    Ok(0) => {
                        self.pipes[index] = None;
                        break;
                    }
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                if matches!(self.stopped, Some(Stopped::Output | Stopped::SinkFailed)) {
                    continue;
                }
                let left = spec.limits.output_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.received_bytes));
                let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
                self.received_bytes += passed as u64;
                if index == 0 {
                    output.stdout(&buffer[..passed])?;
                } else {
                    output.stderr(&buffer[..passed])?;
                }
                if passed < count {
                    self.stop(Stopped::Output);
                }
            }
        }
        Ok(())
    }

    /// Lets go of the socket and reaps the monitor; how it ended.
    fn finish(&mut self) -> String {
        let _ = self.socket.shutdown(Shutdown::Both);
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    fn into_exit(self, spec: &Spec, monitor: &str) -> Result<Exit, SandboxError> {
        if let (Some(failure), None) = (self.failure, self.stopped) {
            return Err(failure.into_error(spec));
        }
        let usage = self.usage.unwrap_or_default();
        let status = match (self.stopped, self.wait_status, self.started) {
            // It ended by itself before our order to stop could reach it.
            (Some(Stopped::Timeout | Stopped::Cancelled) | None, Some((status, _)), _) => exit_status(status, usage),
            (Some(Stopped::Timeout), ..) => ExitStatus::TimedOut,
            (Some(Stopped::Cancelled), ..) => ExitStatus::Cancelled,
            (Some(Stopped::Output | Stopped::SinkFailed), ..) => ExitStatus::OutputLimit,
            (None, None, Some(_)) if usage.out_of_memory => ExitStatus::OutOfMemory,
            (None, None, Some(_)) => ExitStatus::Signaled(nix::libc::SIGKILL),
            (None, None, None) => return Err(SandboxError::ChildVanished { status: monitor.to_owned() }),
        };
        let start = self.started.unwrap_or(self.born);
        Ok(Exit {
            status,
            wall: self.wait_status.map_or_else(|| start.elapsed(), |(_, wall)| wall),
            cpu: Duration::from_micros(usage.cpu_micros),
            peak_memory_bytes: usage.peak_memory_bytes,
            notes: self.notes,
        })
    }
}

fn exit_status(wait_status: i32, usage: Usage) -> ExitStatus {
    let status = <std::process::ExitStatus as std::os::unix::process::ExitStatusExt>::from_raw(wait_status);
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    match status.code() {
        Some(0) => ExitStatus::Exited(0),
        _ if usage.out_of_memory => ExitStatus::OutOfMemory,
        Some(code) => ExitStatus::Exited(code),
        None => ExitStatus::Signaled(signal.unwrap_or(nix::libc::SIGKILL)),
    }
}

/// Our own binary: where we may, by a read-only mount of it that exists nowhere but here, so that nobody who gets hold of the file inside
/// (CVE-2019-5736) can write to it.
fn own_program() -> String {
    static READ_ONLY: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let mount = READ_ONLY.get_or_init(|| {
        let mount = sys::clone_tree(Path::new("/proc/self/exe"), 0).ok()?;
        sys::set_attributes(&mount, sys::READ_ONLY, 0).ok()?;
        Some(mount)
    });
    match mount {
        Some(mount) => format!("/proc/self/fd/{}", mount.as_raw_fd()),
        None => "/proc/self/exe".to_owned(),
    }
}

/// What the process will read, as a descriptor to send; `None` for `/dev/null`, which the child opens inside.
fn stdin_fd(stdin: &Stdin) -> io::Result<Option<OwnedFd>> {
    match stdin {
        Stdin::Null => Ok(None),
        Stdin::Inherit => io::stdin().as_fd().try_clone_to_owned().map(Some),
        Stdin::Bytes(bytes) => {
            let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
            file.write_all(bytes)?;
            file.rewind()?;
            Ok(Some(file.into()))
        }
    }
}

impl Order {
    fn new(spec: &Spec) -> Self {
        let pasta =
            if matches!(spec.network, Network::Private { .. }) { crate::capabilities::find_pasta() } else { None };
        let host_names = || fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let resolv_conf = pasta.is_some().then(|| inner_resolv_conf(&host_names()));
        // The input goes by descriptor; it may be large.
        let process = Process {
            args: spec.process.args.clone(),
            env: spec.process.env.clone(),
            cwd: spec.process.cwd.clone(),
            user: spec.process.user,
            stdin: Stdin::Null,
        };
        let (root, mounts, hostname) = (spec.root.clone(), spec.mounts.clone(), spec.hostname.clone());
        let spec = Spec {
            root,
            mounts,
            process,
            hostname,
            network: spec.network.clone(),
            limits: spec.limits.clone(),
            ..*spec
        };
        Self { spec, pasta, resolv_conf }
    }
}

/// The host's search domains and options with the inner name server.
fn inner_resolv_conf(host: &str) -> String {
    let kept = host.lines().filter(|line| ["search", "domain", "options"].iter().any(|word| line.starts_with(word)));
    kept.fold(format!("nameserver {NAME_SERVER}\n"), |text, line| text + line + "\n")
}
