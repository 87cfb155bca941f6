//! The caller's side of the network: listens on published ports and copies bytes to and from sockets of the inner network.
//!
//! One thread listens for all ports; each connection has two that copy. Datagrams have a thread of their own ([`crate::datagrams`]). All end
//! with the run: [`Forwarder`] shuts every socket down when dropped, and waits for the threads.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
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
use crate::spec::{Network, Protocol, Publish};
use crate::{datagrams, wire};

/// Connections at once, over all ports of a run; more are refused.
const CONNECTIONS_MAX: usize = 512;

/// Ports of the host that lead inside, for as long as this lives.
pub(crate) struct Forwarder {
    open: Arc<Connections>,
    threads: Vec<JoinHandle<()>>,
}

/// Lends sockets of the inner network, by asking the connector.
pub(crate) struct Lender(Mutex<UnixStream>);

impl Lender {
    /// A socket of the kind wanted (see [`crate::network::WANT_V4`]).
    pub(crate) fn lend(&self, wanted: u8) -> io::Result<OwnedFd> {
        let channel = lock(&self.0);
        wire::send_fds(&channel, wanted, &[])?;
        let answer = wire::receive_fds(&channel)?;
        answer.and_then(|(_, fds)| fds.into_iter().next()).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Wakes whoever waits for the connector. It answers at once or is dead, so the lock is never held for long.
    fn close(&self) {
        let _ = lock(&self.0).shutdown(Shutdown::Both);
    }
}

/// What the threads share.
struct Connections {
    lender: Lender,
    stop: Cancel,
    /// Both ends of every connection, to be shut down.
    streams: Mutex<Vec<(usize, TcpStream, TcpStream)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked has left a list of streams, which is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is listened on.
#[derive(Default)]
struct Listeners {
    connections: Vec<(TcpListener, u16)>,
    datagrams: Vec<(UdpSocket, u16)>,
}

impl Listeners {
    fn open(publish: &[Publish], output: &mut dyn OutputSink) -> Result<Self, SandboxError> {
        let mut listeners = Self::default();
        for port in publish {
            let address = listeners.add(port).map_err(|source| SandboxError::Publish {
                address: SocketAddr::new(port.host_ip, port.host_port),
                protocol: port.protocol,
                source,
            })?;
            output.published(port, address);
        }
        Ok(listeners)
    }

    fn add(&mut self, port: &Publish) -> io::Result<SocketAddr> {
        let address = (port.host_ip, port.host_port);
        match port.protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr();
                self.connections.push((listener, port.container_port));
                address
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr();
                self.datagrams.push((socket, port.container_port));
                address
            }
        }
    }
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
        let Listeners { connections, datagrams } = Listeners::open(publish, output)?;
        let failed = |source| SandboxError::Network { action: "starting the forwarder".to_owned(), source };
        let (channel, connector_end) = UnixStream::pair().map_err(failed)?;
        let open = Arc::new(Connections {
            lender: Lender(Mutex::new(channel)),
            stop: Cancel::new().map_err(failed)?,
            streams: Mutex::default(),
            threads: Mutex::default(),
            next: AtomicUsize::new(0),
        });
        let mut forwarder = Self { open, threads: Vec::new() };
        let open = Arc::clone(&forwarder.open);
        if !connections.is_empty() {
            forwarder.spawn("hoist-ports", move || listen(&connections, &open)).map_err(failed)?;
        }
        let open = Arc::clone(&forwarder.open);
        if !datagrams.is_empty() {
            let carry = move || datagrams::carry(&datagrams, &open.lender, &open.stop);
            forwarder.spawn("hoist-datagrams", carry).map_err(failed)?;
        }
        Ok(Some((forwarder, connector_end)))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.open.stop.cancel();
        self.open.lender.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
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

fn listen(listeners: &[(TcpListener, u16)], open: &Arc<Connections>) {
    let stop = &open.stop;
    while !stop.is_cancelled() {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        fds.extend(listeners.iter().map(|(listener, _)| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            continue;
        }
        for (listener, port) in listeners {
            match listener.accept() {
                Ok((outer, _)) => join_up(outer, *port, open),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Out of descriptors, most likely: those of connections that end come back.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }
}

/// Connects one accepted connection; if that fails, dropping it tells the client.
fn join_up(outer: TcpStream, port: u16, open: &Arc<Connections>) {
    // Each connection has one of these, from before it is dialled on.
    let mut threads = lock(&open.threads);
    threads.retain(|thread| !thread.is_finished());
    if threads.len() >= CONNECTIONS_MAX {
        return;
    }
    let shared = Arc::clone(open);
    let thread = std::thread::Builder::new().name("hoist-port".to_owned()).spawn(move || {
        let Ok(inner) = dial(port, &shared) else { return };
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let _ = carry(id, &outer, &inner, &shared);
        lock(&shared.streams).retain(|(other, ..)| *other != id);
    });
    threads.extend(thread);
}

/// A connection to a port inside, by IPv4 or else by IPv6.
fn dial(port: u16, open: &Connections) -> io::Result<TcpStream> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    dial_address(WANT_V4, v4, open)
        .or_else(|_| dial_address(WANT_V6, SocketAddr::from((Ipv6Addr::LOCALHOST, port)), open))
}

fn dial_address(family: u8, address: SocketAddr, open: &Connections) -> io::Result<TcpStream> {
    let socket = open.lender.lend(family)?;
    match connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(nix::errno::Errno::EINPROGRESS) => {
            let mut fds =
                [PollFd::new(socket.as_fd(), PollFlags::POLLOUT), PollFd::new(open.stop.as_fd(), PollFlags::POLLIN)];
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
    if open.stop.is_cancelled() {
        // Perhaps too late to be shut down with the others.
        return Ok(());
    }
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
