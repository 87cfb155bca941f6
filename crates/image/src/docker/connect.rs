//! Connections for the HTTP client: unix sockets and plain TCP, with a bound for every read and write, and an ear for Ctrl-C.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use crate::docker::address::DockerAddress;

/// How often the stop sign is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(200);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Asks whether somebody wants no more.
#[derive(Clone, Default)]
pub(super) struct StopSign(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl StopSign {
    pub(super) fn new(is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_up)))
    }

    pub(super) fn is_up(&self) -> bool {
        self.0.as_ref().is_some_and(|is_up| is_up())
    }
}

/// Does its work and what has to be done around it.
type Wrap = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// What happens around the opening of a connection.
#[derive(Clone, Default)]
pub(super) struct Around(Option<Arc<Wrap>>);

impl Around {
    pub(super) fn new(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(around)))
    }

    fn open(&self, address: &DockerAddress) -> io::Result<Socket> {
        let Some(around) = &self.0 else { return open(address) };
        let mut opened = None;
        around(&mut || opened = Some(open(address)));
        opened.unwrap_or_else(|| Err(io::ErrorKind::PermissionDenied.into()))
    }
}

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Around")
    }
}

impl std::fmt::Debug for StopSign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StopSign")
    }
}

/// Opens connections to one daemon, whatever the address in the request is.
#[derive(Debug)]
pub(super) struct DaemonConnector {
    pub(super) address: DockerAddress,
    pub(super) stop: StopSign,
    pub(super) around: Around,
}

impl Connector<()> for DaemonConnector {
    type Out = DaemonTransport;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<DaemonTransport>, Error> {
        let failed = |error| Error::Other(Box::new(NoConnection(error)));
        // Rights that are taken for an instant are not handed to a thread that may outlive it.
        let socket = match &self.around.0 {
            Some(_) => self.around.open(&self.address).map_err(failed)?,
            None => patiently_open(&self.address, &self.stop)?,
        };
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(DaemonTransport { socket, buffers, stop: self.stop.clone() }))
    }
}

/// Tells a failed connection from one that failed later.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(super) struct NoConnection(pub(super) io::Error);

/// The connector knows where to connect to; names in addresses are not looked up.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        found.push(([127, 0, 0, 1], 0).into());
        Ok(found)
    }
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Opens a connection in a thread of its own: a name that is looked up and a machine that does not answer cannot be interrupted, but whoever
/// waits for them can go.
fn patiently_open(address: &DockerAddress, stop: &StopSign) -> Result<Socket, Error> {
    let (sender, opened) = mpsc::sync_channel(1);
    let to = address.clone();
    std::thread::spawn(move || {
        let _ = sender.send(open(&to)); // unless nobody waits any more
    });
    loop {
        match opened.recv_timeout(TICK) {
            Ok(socket) => return socket.map_err(|error| Error::Other(Box::new(NoConnection(error)))),
            Err(RecvTimeoutError::Timeout) if !stop.is_up() => {}
            Err(_) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
        }
    }
}

fn open(address: &DockerAddress) -> io::Result<Socket> {
    match address {
        DockerAddress::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        DockerAddress::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
            for one in (host.trim_matches(['[', ']']), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&one, CONNECT) {
                    Ok(stream) => return Ok(Socket::Tcp(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

impl Socket {
    fn limit_read(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(Some(limit)),
            Self::Tcp(stream) => stream.set_read_timeout(Some(limit)),
        }
    }

    fn limit_write(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_write_timeout(Some(limit)),
            Self::Tcp(stream) => stream.set_write_timeout(Some(limit)),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
}

/// One connection.
pub(super) struct DaemonTransport {
    socket: Socket,
    buffers: LazyBuffers,
    stop: StopSign,
}

impl std::fmt::Debug for DaemonTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonTransport").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Transport for DaemonTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut sent = 0;
        while sent < amount {
            let bytes = &self.buffers.output()[sent..amount];
            sent += patiently(&self.stop, timeout, |tick| {
                self.socket.limit_write(tick)?;
                match self.socket.write(bytes) {
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    other => other,
                }
            })?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let into = self.buffers.input_append_buf();
        let read = patiently(&self.stop, timeout.for_read(), |tick| {
            self.socket.limit_read(tick)?;
            self.socket.read(into)
        })?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// A connection serves one request: a new one costs nothing on this machine.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// Tries in short pieces until something moved, the time is up or nobody wants it any more.
fn patiently(
    stop: &StopSign,
    timeout: NextTimeout,
    mut work: impl FnMut(Duration) -> io::Result<usize>,
) -> Result<usize, Error> {
    let (started, limit) = (Instant::now(), *timeout.after);
    loop {
        if stop.is_up() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        match work(left.min(TICK).max(Duration::from_millis(1))) {
            Ok(count) => return Ok(count),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

    use super::*;

    /// A socket whose queue is full makes whoever connects wait.
    #[test]
    fn a_daemon_that_does_not_take_connections_is_not_waited_for_after_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let sign = Arc::clone(&stopped);
        let stop = StopSign::new(move || sign.swap(true, Ordering::SeqCst));
        let started = Instant::now();
        patiently_open(&DockerAddress::Unix(path), &stop).unwrap_err();
        assert!(
            stopped.load(Ordering::SeqCst) && started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}
