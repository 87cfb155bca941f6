//! Published ports for datagrams: each client of a port gets a socket of the inner network, so that answers find back to it.
//!
//! One thread carries for all ports and clients. As with any datagrams, what cannot be passed on at once is lost.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockaddrStorage, connect};

use crate::cancel::Cancel;
use crate::forward::Lender;
use crate::network::{WANT_DATAGRAMS, WANT_V4, WANT_V6};

/// Clients at once, over all ports of a run; the one that was silent longest makes room for another.
const CLIENTS_MAX: usize = 512;
/// A client that was silent for so long is forgotten (what the kernel's own address translation allows a conversation).
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// Datagrams of one socket in a row.
const BURST: usize = 64;
/// No datagram is longer.
const DATAGRAM_MAX_BYTES: usize = 64 << 10;

/// One client of one port.
struct Client {
    address: SocketAddr,
    /// Which of the published ports it talks to.
    port_index: usize,
    inner: UdpSocket,
    /// Until it was answered: what it said last, should only the other internet be listened on inside.
    unanswered: Option<Vec<u8>>,
    is_v6: bool,
    spoke: Instant,
}

/// Carries until `stop` is raised; each port with the one inside that it leads to.
pub(crate) fn carry(ports: &[(UdpSocket, u16)], lender: &Lender, stop: &Cancel) {
    let mut clients: Vec<Client> = Vec::new();
    let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
    while !stop.is_cancelled() {
        let Some(ready) = wait(ports, &clients, stop) else { continue };
        let (ready_ports, ready_clients) = ready.split_at(ports.len());
        for (client, _) in clients.iter_mut().zip(ready_clients).filter(|(_, ready)| **ready) {
            let (outer, port) = &ports[client.port_index];
            client.answer(outer, *port, lender, &mut buffer);
        }
        for (port_index, ((outer, port), _)) in
            ports.iter().zip(ready_ports).enumerate().filter(|(_, (_, ready))| **ready)
        {
            for _ in 0..BURST {
                // An error is of an answer that found nobody; the next datagram is a new one.
                let Ok((count, address)) = outer.recv_from(&mut buffer) else { break };
                let known =
                    clients.iter().position(|client| client.address == address && client.port_index == port_index);
                let client = match known {
                    Some(at) => &mut clients[at],
                    None => match Client::open(address, port_index, *port, lender) {
                        Ok(client) => admit(&mut clients, client),
                        Err(_) => continue,
                    },
                };
                client.say(&buffer[..count]);
            }
        }
        clients.retain(|client| client.spoke.elapsed() < SILENCE_MAX);
    }
}

/// Which sockets have something to say: of the ports, then of the clients.
fn wait(ports: &[(UdpSocket, u16)], clients: &[Client], stop: &Cancel) -> Option<Vec<bool>> {
    let mut fds = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    fds.extend(ports.iter().map(|(outer, _)| PollFd::new(outer.as_fd(), PollFlags::POLLIN)));
    fds.extend(clients.iter().map(|client| PollFd::new(client.inner.as_fd(), PollFlags::POLLIN)));
    let timeout = if clients.is_empty() { PollTimeout::NONE } else { PollTimeout::from(u16::MAX) };
    poll(&mut fds, timeout).ok()?;
    Some(fds[1..].iter().map(|fd| fd.any().unwrap_or(false)).collect())
}

fn admit(clients: &mut Vec<Client>, client: Client) -> &mut Client {
    if clients.len() >= CLIENTS_MAX
        && let Some((oldest, _)) = clients.iter().enumerate().min_by_key(|(_, client)| client.spoke)
    {
        clients.swap_remove(oldest);
    }
    clients.push(client);
    let last = clients.len() - 1;
    &mut clients[last]
}

impl Client {
    fn open(address: SocketAddr, port_index: usize, port: u16, lender: &Lender) -> io::Result<Self> {
        let inner = dial(port, false, lender)?;
        Ok(Self { address, port_index, inner, unanswered: Some(Vec::new()), is_v6: false, spoke: Instant::now() })
    }

    /// Passes one datagram in.
    fn say(&mut self, datagram: &[u8]) {
        self.spoke = Instant::now();
        if let Some(unanswered) = &mut self.unanswered {
            unanswered.clear();
            unanswered.extend_from_slice(datagram);
        }
        // The first call may tell of an earlier refusal instead of sending.
        if self.inner.send(datagram).is_err() {
            let _ = self.inner.send(datagram);
        }
    }

    /// Passes out what came from inside.
    fn answer(&mut self, outer: &UdpSocket, port: u16, lender: &Lender, buffer: &mut [u8]) {
        for _ in 0..BURST {
            match self.inner.recv(buffer) {
                Ok(count) => {
                    self.spoke = Instant::now();
                    self.unanswered = None;
                    let _ = outer.send_to(&buffer[..count], self.address);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !self.is_v6 => {
                    self.try_v6(port, lender);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Nobody listens on IPv4: says it again on IPv6.
    fn try_v6(&mut self, port: u16, lender: &Lender) {
        let (Some(unanswered), Ok(inner)) = (&self.unanswered, dial(port, true, lender)) else { return };
        let _ = inner.send(unanswered);
        (self.inner, self.is_v6) = (inner, true);
    }
}

fn dial(port: u16, is_v6: bool, lender: &Lender) -> io::Result<UdpSocket> {
    let (family, address) = if is_v6 {
        (WANT_V6, SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
    } else {
        (WANT_V4, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    let socket = lender.lend(family | WANT_DATAGRAMS)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(socket))
}
