//! The caller's side of the network: listens on published ports and copies bytes to and from sockets of the inner network.
//!
//! One thread listens for all ports; each connection has two that copy. All end with the run: [`Forwarder`] shuts every socket down when
//! dropped, and waits for the threads.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockaddrStorage, connect};

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::OutputSink;
use crate::network::{WANT_V4, WANT_V6};
use crate::spec::{Network, Publish};
use crate::wire;

/// Connections at once, over all ports of a run; more are refused.
const CONNECTIONS_MAX: usize = 512;

/// Ports of the host that lead inside, for as long as this lives.
pub(crate) struct Forwarder {
    stop: Cancel,
    open: Arc<Connections>,
    listener: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Connections {
    connector: Mutex<UnixStream>,
    /// Both ends of every connection, to be shut down.
    streams: Mutex<Vec<(usize, TcpStream, TcpStream)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked has left a list of streams, which is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Forwarder {
    /// Listens on what is published; the forwarder and the connector's end of its channel, or nothing where nothing is published.
    pub(crate) fn start(
        network: &Network,
        output: &mut dyn OutputSink,
    ) -> Result<Option<(Self, UnixStream)>, SandboxError> {
        let Network::Private { publish } = network else { return Ok(None) };
        if publish.is_empty() {
            return Ok(None);
        }
        let mut listeners = Vec::new();
        for port in publish {
            let address = SocketAddr::new(port.host_ip, port.host_port);
            let failed = |source| SandboxError::Publish { address, source };
            let listener = TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            output.published(port, listener.local_addr().map_err(failed)?);
            listeners.push((listener, *port));
        }
        let failed = |source| SandboxError::Network { action: "starting the forwarder".to_owned(), source };
        let (channel, connector_end) = UnixStream::pair().map_err(failed)?;
        let open = Arc::new(Connections {
            connector: Mutex::new(channel),
            streams: Mutex::default(),
            threads: Mutex::default(),
            next: AtomicUsize::new(0),
        });
        let stop = Cancel::new().map_err(failed)?;
        let (theirs, stopped) = (Arc::clone(&open), stop.clone());
        let thread = std::thread::Builder::new().name("hoist-ports".to_owned());
        let listener = thread.spawn(move || listen(&listeners, &theirs, &stopped)).map_err(failed)?;
        Ok(Some((Self { stop, open, listener: Some(listener) }, connector_end)))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.cancel();
        // Wakes a thread that waits for the connector.
        let _ = lock_channel_shutdown(&self.open);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        for (_, outer, inner) in lock(&self.open.streams).drain(..) {
            let _ = outer.shutdown(Shutdown::Both);
            let _ = inner.shutdown(Shutdown::Both);
        }
        let threads: Vec<_> = lock(&self.open.threads).drain(..).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// The connector answers at once or is dead, so its lock is never held for long.
fn lock_channel_shutdown(open: &Connections) -> io::Result<()> {
    lock(&open.connector).shutdown(Shutdown::Both)
}

fn listen(listeners: &[(TcpListener, Publish)], open: &Arc<Connections>, stop: &Cancel) {
    while !stop.is_cancelled() {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        fds.extend(listeners.iter().map(|(listener, _)| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        for (listener, port) in listeners {
            match listener.accept() {
                Ok((outer, _)) => join_up(outer, port.container_port, open),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Out of descriptors, most likely: those of connections that end come back.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }
}

/// Connects one accepted connection; if that fails, dropping it tells the client.
fn join_up(outer: TcpStream, port: u16, open: &Arc<Connections>) {
    lock(&open.threads).retain(|thread| !thread.is_finished());
    if lock(&open.streams).len() >= CONNECTIONS_MAX {
        return;
    }
    let shared = Arc::clone(open);
    let thread = std::thread::Builder::new().name("hoist-port".to_owned()).spawn(move || {
        let Ok(inner) = dial(port, &shared) else { return };
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let _ = carry(id, &outer, &inner, &shared);
        lock(&shared.streams).retain(|(other, ..)| *other != id);
    });
    if let Ok(thread) = thread {
        lock(&open.threads).push(thread);
    }
}

/// A connection to a port inside, by IPv4 or else by IPv6.
fn dial(port: u16, open: &Connections) -> io::Result<TcpStream> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    dial_address(WANT_V4, v4, open)
        .or_else(|_| dial_address(WANT_V6, SocketAddr::from((Ipv6Addr::LOCALHOST, port)), open))
}

fn dial_address(family: u8, address: SocketAddr, open: &Connections) -> io::Result<TcpStream> {
    let socket: OwnedFd = {
        let channel = lock(&open.connector);
        wire::send_fd(&channel, family, None)?;
        wire::receive_fd(&channel)?.and_then(|(_, fd)| fd).ok_or(io::ErrorKind::NotConnected)?
    };
    match connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(nix::errno::Errno::EINPROGRESS) => {
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::from(5_000_u16))?;
        }
        Err(errno) => return Err(errno.into()),
    }
    let stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    // Neither refused nor answered within the time: `peer_addr` knows.
    stream.peer_addr()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn carry(id: usize, outer: &TcpStream, inner: &TcpStream, open: &Connections) -> io::Result<()> {
    for stream in [outer, inner] {
        stream.set_nonblocking(false)?;
        let _ = stream.set_nodelay(true);
    }
    lock(&open.streams).push((id, outer.try_clone()?, inner.try_clone()?));
    let (from, to) = (outer.try_clone()?, inner.try_clone()?);
    let inward = std::thread::Builder::new().name("hoist-port-in".to_owned()).spawn(move || copy(&from, &to))?;
    copy(inner, outer);
    let _ = inward.join();
    Ok(())
}

/// Copies until the end, and passes the end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    // Nobody listens there any more: the sender should know.
                    let _ = from.shutdown(Shutdown::Both);
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
