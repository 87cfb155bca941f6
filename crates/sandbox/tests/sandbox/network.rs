//! Networks: none, the host's, and a private one with published ports.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use hoist_sandbox::{Cancel, ExitStatus, Network, OutputSink, Protocol, Publish, SandboxError};

use crate::room::{self, Room, error, four_parts};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("without_network_there_is_loopback_alone", As::Both, none),
    ("the_hosts_network_and_names_can_be_given", As::Both, host),
    ("published_ports_carry_both_ways", As::Both, published),
    ("published_ports_lead_inside_on_a_busy_machine", As::Both, busy),
    ("published_ports_carry_datagrams_and_answers", As::Both, datagrams),
    ("connections_that_nobody_takes_do_not_delay_the_end", As::Both, deaf),
    ("a_port_that_is_taken_is_named", As::Both, taken),
    ("a_private_network_without_pasta_says_so", As::Both, no_way_out),
    ("a_private_network_leads_out_through_pasta", As::Root, way_out),
    ("a_pasta_that_fails_is_quoted", As::Both, failing_pasta),
    ("a_failure_inside_does_not_wait_for_pasta", As::Both, slow_pasta),
];

fn none(room: &Room) {
    let interfaces = room.ok(&["interfaces"]);
    assert_eq!(interfaces.lines().skip(2).count(), 1, "{interfaces}");
    assert_eq!(room.ok(&["loopback"]), "done\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert_eq!(room.ok(&["dial", &listener.local_addr().unwrap().to_string()]), "ECONNREFUSED\n");
    assert!(room.ok(&["cat", "/etc/hosts"]).contains("127.0.1.1\thoist\n"));
}

fn host(room: &Room) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(room::ok(&room.on_host_network(&["dial", &address])), "done\n");
    for path in ["/etc/hosts", "/etc/resolv.conf"] {
        let given = std::fs::read_to_string(path).unwrap();
        assert_eq!(room::ok(&room.on_host_network(&["cat", path])), given, "{path}");
        let refused = room::ok(&room.on_host_network(&["append", path]));
        assert!(["EROFS\n", "EACCES\n"].contains(&&*refused), "{refused}");
    }
}

/// Tells of the address and of the first output.
struct Watcher {
    addresses: Vec<SocketAddr>,
    ready: Sender<Vec<SocketAddr>>,
}

impl OutputSink for Watcher {
    fn stdout(&mut self, _: &[u8]) -> io::Result<()> {
        self.ready.send(self.addresses.clone()).map_err(io::Error::other)
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn published(&mut self, _: &Publish, address: SocketAddr) {
        self.addresses.push(address);
    }
}

fn publish(host_port: u16, container_port: u16) -> Publish {
    Publish { protocol: Protocol::Tcp, host_ip: Ipv4Addr::LOCALHOST.into(), host_port, container_port }
}

/// Runs something that serves, and `talk`s to it at its addresses, until that returns.
fn serving(room: &Room, args: &[&str], publish: Vec<Publish>, talk: impl FnOnce(&[SocketAddr])) -> Duration {
    let mut spec = room.spec(args);
    spec.network = Network::Private { publish };
    let (ready, is_ready) = channel();
    let cancel = Cancel::new().unwrap();
    std::thread::scope(|scope| {
        let stop = cancel.clone();
        let running = scope.spawn(move || {
            let mut watcher = Watcher { addresses: Vec::new(), ready };
            hoist_sandbox::run(&spec, &mut watcher, &cancel)
        });
        talk(&is_ready.recv_timeout(Duration::from_secs(10)).unwrap());
        stop.cancel();
        let begun = std::time::Instant::now();
        assert_eq!(running.join().unwrap().unwrap().status, ExitStatus::Cancelled);
        begun.elapsed()
    })
}

/// What lends sockets of the inner network starts beside pid 1, before or after that has closed itself up.
fn busy(room: &Room) {
    let answered = |address: SocketAddr| -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"a")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| answer)
    };
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                serving(room, &["serve", "8080"], vec![publish(0, 8080)], |addresses| {
                    let begun = std::time::Instant::now();
                    // Until the program inside listens.
                    while answered(addresses[0]).unwrap_or_default() != b"A" {
                        assert!(begun.elapsed() < Duration::from_secs(20), "the port leads nowhere");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
            });
        }
    });
}

fn datagrams(room: &Room) {
    for address in ["127.0.0.1:5000", "[::1]:5000"] {
        let published = vec![Publish { protocol: Protocol::Udp, ..publish(0, 5000) }];
        serving(room, &["serve-datagrams", address], published, |addresses| {
            let clients = [(); 3].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            for (number, client) in clients.iter().enumerate() {
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                client.send_to(format!("hello {number}").as_bytes(), addresses[0]).unwrap();
            }
            let mut buffer = [0; 2000];
            for (number, client) in clients.iter().enumerate() {
                let (count, from) = client.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..count], from), (format!("HELLO {number}").as_bytes(), addresses[0]), "{address}");
            }
            clients[1].send_to(&[b'x'; 1500], addresses[0]).unwrap();
            assert_eq!(clients[1].recv_from(&mut buffer).unwrap().0, 1500, "a conversation goes on");
        });
    }
}

fn deaf(room: &Room) {
    let took = serving(room, &["deaf", "8080"], vec![publish(0, 8080)], |addresses| {
        // More than wait in the queue of a listener: the rest is being connected when the run ends.
        let waiting: Vec<_> = (0..200).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(100));
        drop(waiting);
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
}

fn published(room: &Room) {
    let mut spec = room.spec(&["serve", "8080"]);
    spec.network = Network::Private { publish: vec![publish(0, 8080), publish(0, 9999)] };
    let (ready, is_ready) = channel();
    let cancel = Cancel::new().unwrap();
    let text = vec![b'a'; 3_000_000];
    std::thread::scope(|scope| {
        let stop = cancel.clone();
        let running = scope.spawn(move || {
            let mut watcher = Watcher { addresses: Vec::new(), ready };
            hoist_sandbox::run(&spec, &mut watcher, &cancel)
        });
        let addresses = is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
        let mut first = TcpStream::connect(addresses[0]).unwrap();
        let copy = first.try_clone().unwrap();
        scope.spawn({
            let text = &text;
            move || {
                (&copy).write_all(text).unwrap();
                copy.shutdown(Shutdown::Write).unwrap();
            }
        });
        let mut answer = Vec::new();
        first.read_to_end(&mut answer).unwrap();
        assert!(answer == vec![b'A'; text.len()], "{} bytes came back", answer.len());
        let mut nobody = TcpStream::connect(addresses[1]).unwrap();
        let mut rest = Vec::new();
        assert_eq!(nobody.read_to_end(&mut rest).unwrap_or(0), 0, "nobody listens on 9999 inside");
        // One that stays open must not delay the end.
        let _idle = TcpStream::connect(addresses[0]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stop.cancel();
        let exit = running.join().unwrap().unwrap();
        assert_eq!(exit.status, ExitStatus::Cancelled);
        assert!(TcpStream::connect(addresses[0]).is_err(), "the port is free again");
    });
}

fn taken(room: &Room) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut spec = room.spec(&["exit", "0"]);
    spec.network = Network::Private { publish: vec![publish(address.port(), 80)] };
    let failed = error(&spec);
    assert!(matches!(failed, SandboxError::Publish { .. }));
    let text = |address: SocketAddr, protocol: &str, options: &str| {
        format!(
            "cannot publish port {address}/{protocol} of this machine: Address already in use (os error 98)\n\
             hint: choose another port with `-p`, or stop what listens there: `ss {options}`"
        )
    };
    assert_eq!(four_parts(&failed), text(address, "tcp", "-ltnp"));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let port = Publish { protocol: Protocol::Udp, ..publish(address.port(), 80) };
    spec.network = Network::Private { publish: vec![port] };
    assert_eq!(four_parts(&error(&spec)), text(address, "udp", "-lunp"));
}

fn no_way_out(room: &Room) {
    let mut spec = room.spec(&["loopback"]);
    spec.network = Network::Private { publish: Vec::new() };
    let ran = room::run(&spec);
    assert_eq!(ran.stdout, "done\n");
    assert_eq!(ran.exit.notes, ["the private network has no way out: pasta is not installed (Debian package passt)"]);
}

/// The one test that needs a program of the machine: pasta (Debian package passt).
fn way_out(room: &Room) {
    // SAFETY: this test's process has one thread.
    unsafe { std::env::set_var("PATH", "/usr/local/bin:/usr/bin:/bin") };
    let mut spec = room.spec(&["cat", "/proc/net/route"]);
    spec.network = Network::Private { publish: Vec::new() };
    let ran = room::run(&spec);
    assert!(ran.exit.notes.is_empty(), "{:?}", ran.exit.notes);
    let is_default = |line: &str| line.starts_with("eth0\t00000000\t");
    assert!(ran.stdout.lines().any(is_default), "there from the first instruction on: {}", ran.stdout);
    spec.process.args = ["probe", "probe", "cat", "/etc/resolv.conf"].map(Into::into).to_vec();
    assert!(room::ok(&spec).starts_with("nameserver 169.254.1.1\n"));
}

/// A program that is found in place of pasta.
fn fake_pasta(room: &Room, script: &str) {
    let dir = room.host_dir("programs");
    std::fs::write(dir.join("pasta"), format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(dir.join("pasta"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // SAFETY: this test's process has one thread.
    unsafe { std::env::set_var("PATH", dir) };
}

fn failing_pasta(room: &Room) {
    fake_pasta(room, "echo no such device >&2; exit 3");
    let mut spec = room.spec(&["loopback"]);
    spec.network = Network::Private { publish: Vec::new() };
    let ran = room::run(&spec);
    assert_eq!((&*ran.stdout, ran.exit.notes.len()), ("done\n", 1));
    let note = &ran.exit.notes[0];
    assert!(note.ends_with("/pasta ended (exit status: 3): no such device"), "{note}");
}

fn slow_pasta(room: &Room) {
    fake_pasta(room, "exec /bin/sleep 100");
    let mut spec = room.spec(&["loopback"]);
    spec.network = Network::Private { publish: Vec::new() };
    spec.mounts = vec![room::bind(&room.root_dir(), "relative", true)];
    let begun = std::time::Instant::now();
    assert!(matches!(error(&spec), SandboxError::MountTarget { .. }));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
