//! Connections to a daemon: unix sockets and plain TCP, one for each request.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector};

use crate::docker::address::DockerAddress;
use crate::stop::{StopSign, beside};
use crate::transport::{NoConnection, Patient, Pipe, open_tcp};

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

/// Opens connections to one daemon, whatever the address in the request is.
#[derive(Debug)]
pub(super) struct DaemonConnector {
    pub(super) address: DockerAddress,
    pub(super) stop: StopSign,
    pub(super) around: Around,
}

impl Connector<()> for DaemonConnector {
    type Out = Patient<Socket>;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        // Rights that are taken for an instant are not handed to a thread that may outlive it.
        let socket = match &self.around.0 {
            Some(_) => self.around.open(&self.address),
            None => patiently_open(&self.address, &self.stop),
        };
        let socket = socket.map_err(|error| Error::Other(Box::new(NoConnection(error))))?;
        Ok(Some(Patient::new(socket, details.config, &self.stop)))
    }
}

#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A name that is looked up and a machine that does not answer cannot be interrupted.
fn patiently_open(address: &DockerAddress, stop: &StopSign) -> io::Result<Socket> {
    let to = address.clone();
    beside(stop, move || open(&to))
}

fn open(address: &DockerAddress) -> io::Result<Socket> {
    match address {
        DockerAddress::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        DockerAddress::Tcp { host, port } => open_tcp(host, *port).map(Socket::Tcp),
    }
}

impl Pipe for Socket {
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
            Self::Tcp(stream) => Read::read(stream, into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => Write::write(stream, bytes),
        }
    }

    /// A connection serves one request: a new one costs nothing on this machine.
    fn is_open(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

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
