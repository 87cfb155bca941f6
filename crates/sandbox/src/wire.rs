//! What parent and child say to each other over their socket.
//!
//! ```text
//! caller                      monitor (host)                 init (pid 1 inside)
//!   | -- descriptors, Order ---> |                                |
//!   |                            | -- clone, id maps, cgroups --> |
//!   | <----------------------------- Note*, Started or Failed --- |
//!   | <----------------------------- Ended --------------------- |
//!   | <-- Finished ------------- |
//! ```
//!
//! A message is its length (four bytes, little endian) and JSON. The end of the caller's side of the socket is the order to kill everything. After
//! `Finished` the caller may send the next order, where it says so.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::spec::Spec;

/// Longest message: 6 MiB of arguments and variables, of which JSON may make four times as much where they are no text.
const MESSAGE_MAX: usize = 32 << 20;

/// Most descriptors in one message.
const DESCRIPTORS_MAX: usize = 5;

/// What the child has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) spec: Spec,
    /// The program that lets a private network out, where there is one.
    pub(crate) pasta: Option<PathBuf>,
    /// Text of /etc/resolv.conf where it is not the host's.
    pub(crate) resolv_conf: Option<String>,
    /// Whether other orders may follow.
    pub(crate) stay: bool,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Something is less than asked for.
    Note(String),
    /// The process runs.
    Started,
    /// Nothing was started.
    Failed(Failure),
    /// The process ended.
    Ended {
        /// As `wait(2)` has it.
        status: i32,
        /// Since its start.
        wall_micros: u64,
    },
    /// Everything is gone. The last message of each run.
    Finished {
        /// What was used up.
        usage: Usage,
        /// Whether the monitor waits for the next order.
        stays: bool,
    },
}

/// What was used up.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_micros: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) out_of_memory: bool,
}

/// Which step of the descent failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Prepare,
    UserNamespace,
    Namespace,
    Layer,
    Overlay,
    MountSource,
    MountTarget,
    Mount,
    WorkingDirectory,
    CommandNotFound,
    NotExecutable,
    Confine,
    Limit,
    Network,
}

/// A failed step, in a form that crosses the socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// What was being done or with what, as the error's fields need it.
    pub(crate) what: String,
    #[serde(with = "crate::bytes::path")]
    pub(crate) path: PathBuf,
    pub(crate) errno: i32,
}

impl Failure {
    /// For `map_err`: remembers what failed and where.
    pub(crate) fn at(
        step: Step,
        what: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> Box<dyn FnOnce(io::Error) -> Self> {
        let (what, path) = (what.into(), path.into());
        Box::new(move |error| Self { step, what, path, errno: error.raw_os_error().unwrap_or(nix::libc::EIO) })
    }

    /// As the caller sees it.
    pub(crate) fn into_error(self, spec: &Spec) -> SandboxError {
        let Self { step, what, path, errno } = self;
        let source = io::Error::from_raw_os_error(errno);
        let command = || spec.process.args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
        match step {
            Step::UserNamespace => SandboxError::UserNamespace { source },
            Step::Namespace => SandboxError::Namespace { namespace: what, source },
            Step::Layer => SandboxError::Layer { path, source },
            Step::Overlay => SandboxError::Overlay {
                layers: spec.root.lower_dirs.len(),
                upper: spec.root.upper.as_ref().map(|upper| upper.upper_dir.clone()),
                source,
            },
            Step::MountSource => SandboxError::MountSource { path, source },
            Step::MountTarget => SandboxError::MountTarget { target: path, source },
            Step::Mount => SandboxError::Mount { what, target: path, source },
            Step::WorkingDirectory => SandboxError::WorkingDirectory { command: command(), cwd: path, source },
            Step::CommandNotFound => SandboxError::CommandNotFound {
                command: command(),
                searched: (!command().contains('/')).then_some(what),
            },
            Step::NotExecutable => SandboxError::NotExecutable { path, source },
            Step::Prepare | Step::Confine => SandboxError::Confine { action: what, source },
            Step::Limit => SandboxError::Limit { what, path, source },
            Step::Network => SandboxError::Network { action: what, source },
        }
    }
}

/// Writes one message.
pub(crate) fn send(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    socket.write_all(&frame)
}

/// Reads one message; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(io::Error::from_raw_os_error(nix::libc::EMSGSIZE));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(io::Error::other)
}

/// Sends one byte with these descriptors, [`DESCRIPTORS_MAX`] at most.
pub(crate) fn send_fds(socket: &UnixStream, byte: u8, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[byte])], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives what [`send_fds`] sent; `None` at the end.
pub(crate) fn receive_fds(socket: &UnixStream) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([i32; DESCRIPTORS_MAX]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let (count, mut fds) = (message.bytes, Vec::new());
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for us.
            fds.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok((count > 0).then_some((byte[0], fds)))
}

/// Descriptors that go to the child with its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<F> {
    /// What the process reads; `None` for nothing.
    pub(crate) stdin: Option<F>,
    /// The channel of the connector, where ports are published.
    pub(crate) connector: Option<F>,
    /// Where pid 1 sends the controlling side of the process's terminal, where it has one.
    pub(crate) console: Option<F>,
    /// Where its standard output and standard error go, unless it has a terminal.
    pub(crate) output: [F; 2],
}

/// Sends them, the optional ones told apart by the bits of one byte.
pub(crate) fn send_given(socket: &UnixStream, given: Given<BorrowedFd<'_>>) -> io::Result<()> {
    let slots = [given.stdin, given.connector, given.console];
    let bits = slots.iter().enumerate().map(|(bit, slot)| u8::from(slot.is_some()) << bit).sum();
    let fds: Vec<BorrowedFd<'_>> = slots.into_iter().flatten().chain(given.output).collect();
    send_fds(socket, bits, &fds)
}

/// Receives them; `None` at the end.
pub(crate) fn receive_given(socket: &UnixStream) -> io::Result<Option<Given<OwnedFd>>> {
    let Some((bits, fds)) = receive_fds(socket)? else { return Ok(None) };
    let mut fds = fds.into_iter();
    let mut slot = |bit: u8| if bits & (1 << bit) == 0 { None } else { fds.next() };
    let (stdin, connector, console) = (slot(0), slot(1), slot(2));
    match (fds.next(), fds.next()) {
        (Some(stdout), Some(stderr)) => Ok(Some(Given { stdin, connector, console, output: [stdout, stderr] })),
        _ => Err(io::Error::from_raw_os_error(nix::libc::EBADMSG)),
    }
}
