//! One run as its caller sees it: the child that was started, its output and input, the clock, the limits and the cancellation.
//!
//! Everything is heard and carried on the calling thread, in one loop; nothing here blocks for longer than until the next thing happens.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::{Exit, ExitStatus, OutputSink};
use crate::input::{Input, Source};
use crate::monitors::Monitor;
use crate::run::prepare;
use crate::screen::Screen;
use crate::spec::Spec;
use crate::sys;
use crate::wire::{self, Failure, Given, Message, Order, Usage};

/// How long the monitor may take to kill and clean up before it is killed itself.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether the user's terminal is ours again.
const FOREGROUND_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes that are read from the process at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces of one stream in a row, so that a flood on it starves neither the other nor the clock.
const PIECES: usize = 4;
/// At the end: more than the largest pipe that a process can make for itself (`fs.pipe-max-size`).
const LAST_PIECES: usize = 64;

/// Why we ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Timeout,
    Output,
    Cancelled,
    SinkFailed,
}

/// What has happened, as far as it must not be tried without knowing.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    message: bool,
    console: bool,
    input: bool,
}

pub(crate) struct Session<'m> {
    monitor: &'m mut Monitor,
    pipes: [Option<File>; 2],
    buffer: Vec<u8>,
    /// Where the controlling side of the process's terminal comes from; `None` once it is here, and without a terminal.
    console: Option<UnixStream>,
    input: Option<Input>,
    has_terminal: bool,
    born: Instant,
    started: Option<Instant>,
    wait_status: Option<(i32, Duration)>,
    usage: Option<Usage>,
    /// Whether the monitor says that it waits for the next order.
    stays: bool,
    stopped: Option<Stopped>,
    failure: Option<Failure>,
    received_bytes: u64,
    notes: Vec<String>,
}

impl<'m> Session<'m> {
    pub(crate) fn start(
        spec: &Spec,
        connector: Option<&UnixStream>,
        monitor: &'m mut Monitor,
        may_stay: bool,
    ) -> Result<Self, SandboxError> {
        let (stdout, stdout_end) = output_pipe().map_err(prepare("making a pipe for its output"))?;
        let (stderr, stderr_end) = output_pipe().map_err(prepare("making a pipe for its errors"))?;
        let source = Source::open(&spec.process).map_err(prepare("taking its input"))?;
        let console = spec.process.terminal.map(|_| UnixStream::pair()).transpose();
        let (console, console_end) = console.map_err(prepare("making a socket pair"))?.unzip();
        let given = Given {
            stdin: source.theirs.as_ref().map(AsFd::as_fd),
            connector: connector.map(AsFd::as_fd),
            console: console_end.as_ref().map(AsFd::as_fd),
            output: [stdout_end.as_fd(), stderr_end.as_fd()],
        };
        // A child that is gone already shows itself in `watch`, with its status: not here as a broken pipe.
        let order = Order::new(spec, may_stay);
        let sent = wire::send_given(&monitor.socket, given).and_then(|()| wire::send(&monitor.socket, &order));
        let session = Self {
            monitor,
            pipes: [Some(stdout), Some(stderr)],
            buffer: vec![0; PIECE_BYTES],
            console,
            input: source.input,
            has_terminal: spec.process.terminal.is_some(),
            born: Instant::now(),
            started: None,
            wait_status: None,
            usage: None,
            stays: false,
            stopped: None,
            failure: None,
            received_bytes: 0,
            notes: Vec::new(),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Other => Err(prepare("writing its order")(error)),
            _ => Ok(session),
        }
    }

    /// Until the monitor has said its last word, or its side of the socket is closed: everything inside is gone then.
    pub(crate) fn watch(
        &mut self,
        spec: &Spec,
        output: &mut dyn OutputSink,
        cancel: &Cancel,
    ) -> Result<(), SandboxError> {
        let mut sink_error = None;
        let mut deadline = spec.limits.timeout.map(|timeout| self.born + timeout);
        let mut kill_by = None;
        loop {
            let ready = self.wait(cancel, output.screen(), kill_by.or(deadline))?;
            if self.stopped.is_none() && cancel.is_cancelled() {
                self.stop(Stopped::Cancelled);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                self.stop(Stopped::Timeout);
            }
            if kill_by.is_some_and(|kill_by| now >= kill_by) {
                // The monitor itself hangs: pid 1 dies with it (PDEATHSIG).
                let _ = self.monitor.child.kill();
                kill_by = Some(now + CLEANUP_PATIENCE);
            }
            if ready.message {
                match wire::receive(&self.monitor.socket) {
                    Ok(Some(message)) => {
                        if matches!(message, Message::Started) {
                            deadline = spec.limits.timeout.map(|timeout| Instant::now() + timeout);
                        }
                        self.hear(message, output);
                        if self.usage.is_some() {
                            break;
                        }
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            self.serve_terminal(ready, output.screen());
            if !self.is_early()
                && let Err(error) = self.read_output(spec, output, PIECES)
            {
                sink_error.get_or_insert(error);
                self.stop(Stopped::SinkFailed);
            }
            if self.stopped.is_some() && kill_by.is_none() {
                kill_by = Some(Instant::now() + CLEANUP_PATIENCE);
            }
        }
        // Whoever wrote is dead; what the pipes hold is left to be read.
        if self.stopped != Some(Stopped::SinkFailed)
            && let Err(error) = self.read_output(spec, output, LAST_PIECES)
        {
            sink_error.get_or_insert(error);
        }
        sink_error.map_or(Ok(()), |source| Err(SandboxError::Output { source }))
    }

    /// Waits for anything to happen.
    fn wait(
        &self,
        cancel: &Cancel,
        screen: Option<&Screen>,
        mut deadline: Option<Instant>,
    ) -> Result<Ready, SandboxError> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(self.monitor.socket.as_fd())];
        let console = self.console.as_ref().map(|console| {
            fds.push(readable(console.as_fd()));
            fds.len() - 1
        });
        let awaited = self.input.as_ref().filter(|_| self.started.is_some()).and_then(Input::awaited);
        let input = awaited.map(|(fd, flags)| {
            fds.push(PollFd::new(fd, flags));
            fds.len() - 1
        });
        if !self.is_early() {
            fds.extend(self.pipes.iter().flatten().map(|pipe| readable(pipe.as_fd())));
        }
        if self.stopped.is_none() {
            fds.push(readable(cancel.as_fd()));
            fds.extend(screen.filter(|_| self.started.is_some()).map(|screen| readable(screen.flag())));
        }
        if self.input.as_ref().is_some_and(Input::is_in_background) {
            let look = Instant::now() + FOREGROUND_INTERVAL;
            deadline = Some(deadline.map_or(look, |deadline| deadline.min(look)));
        }
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut fds, timeout) {
            Ok(_) => {
                let is_ready = |at: usize| fds[at].any().unwrap_or(false);
                Ok(Ready {
                    message: is_ready(0),
                    console: console.is_some_and(is_ready),
                    input: input.is_some_and(is_ready),
                })
            }
            Err(nix::errno::Errno::EINTR) => Ok(Ready::default()),
            Err(errno) => Err(prepare("waiting for the sandbox")(errno.into())),
        }
    }

    fn hear(&mut self, message: Message, output: &mut dyn OutputSink) {
        match message {
            Message::Note(text) => {
                output.note(&text);
                self.notes.push(text);
            }
            Message::Started => {
                self.started = Some(Instant::now());
                output.started();
            }
            Message::Failed(failure) => self.failure = Some(failure),
            Message::Ended { status, wall_micros } => {
                self.wait_status = Some((status, Duration::from_micros(wall_micros)));
            }
            Message::Finished { usage, stays } => (self.usage, self.stays) = (Some(usage), stays),
        }
    }

    /// Whoever shows a terminal is to know that the process runs before there is something to show.
    fn is_early(&self) -> bool {
        self.has_terminal && self.started.is_none()
    }

    /// Tells the monitor to kill everything, once.
    fn stop(&mut self, why: Stopped) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            let _ = self.monitor.socket.shutdown(Shutdown::Write);
        }
    }

    /// Takes the process's terminal when it comes, carries what was typed, and passes a new size on.
    fn serve_terminal(&mut self, ready: Ready, screen: Option<&Screen>) {
        if ready.console
            && let Some(console) = self.console.take()
            && let Ok(Some((_, fds))) = wire::receive_fds(&console)
            && let Some(controller) = fds.into_iter().next()
        {
            self.take_controller(controller.into(), screen);
        }
        if ready.input
            && let Some(input) = &mut self.input
        {
            input.carry();
        }
        if let (Some(size), Some(controller)) = (screen.and_then(Screen::take_size), &self.pipes[0]) {
            let _ = sys::set_window_size(controller.as_fd(), size);
        }
    }

    /// From here on output is what the terminal shows.
    fn take_controller(&mut self, controller: File, screen: Option<&Screen>) {
        if fcntl(&controller, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_err() {
            return;
        }
        if let (Some(input), Ok(writer)) = (&mut self.input, controller.try_clone()) {
            input.lead_to(writer);
        }
        if let Some(size) = screen.and_then(|screen| screen.size().ok()) {
            let _ = sys::set_window_size(controller.as_fd(), size);
        }
        self.pipes[0] = Some(controller);
    }

    /// Passes on what the pipes hold, up to the limit.
    fn read_output(&mut self, spec: &Spec, output: &mut dyn OutputSink, pieces: usize) -> io::Result<()> {
        for index in 0..self.pipes.len() {
            for _ in 0..pieces {
                let Some(pipe) = &mut self.pipes[index] else { break };
                let count = match pipe.read(&mut self.buffer) {
                    // A terminal whose last user is gone says EIO.
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => 0,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                if count == 0 {
                    self.pipes[index] = None;
                    break;
                }
                if matches!(self.stopped, Some(Stopped::Output | Stopped::SinkFailed)) {
                    continue;
                }
                let left = spec.limits.output_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.received_bytes));
                let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
                self.received_bytes += passed as u64;
                if index == 0 {
                    output.stdout(&self.buffer[..passed])?;
                } else {
                    output.stderr(&self.buffer[..passed])?;
                }
                if passed < count {
                    self.stop(Stopped::Output);
                }
            }
        }
        Ok(())
    }

    /// Gives back what was not read, and ends the monitor unless it serves other runs: whether it does, or else how it ended.
    pub(crate) fn finish(&mut self) -> (bool, String) {
        if let Some(input) = self.input.take() {
            input.give_back();
        }
        let as_ordered = self.wait_status.is_some() && self.stopped.is_none() && self.failure.is_none();
        if self.stays && as_ordered { (true, String::new()) } else { (false, self.monitor.end()) }
    }

    pub(crate) fn into_exit(self, spec: &Spec, monitor: &str) -> Result<Exit, SandboxError> {
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
            (None, None, Some(_)) => ExitStatus::Signaled(libc::SIGKILL),
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

/// The end to read from, without waiting, and the end to write to.
fn output_pipe() -> io::Result<(File, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    let reader = File::from(OwnedFd::from(reader));
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

fn exit_status(wait_status: i32, usage: Usage) -> ExitStatus {
    let status = <std::process::ExitStatus as std::os::unix::process::ExitStatusExt>::from_raw(wait_status);
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    match status.code() {
        Some(0) => ExitStatus::Exited(0),
        _ if usage.out_of_memory => ExitStatus::OutOfMemory,
        Some(code) => ExitStatus::Exited(code),
        None => ExitStatus::Signaled(signal.unwrap_or(libc::SIGKILL)),
    }
}
