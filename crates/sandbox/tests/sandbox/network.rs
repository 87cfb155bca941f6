//! Networks: none, the host's, and a private one with published ports.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use hoist_sandbox::{Cancel, ExitStatus, Network, OutputSink, Publish, SandboxError};

use crate::room::{self, Room, error, four_parts};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("without_network_there_is_loopback_alone", As::Both, none),
    ("the_hosts_network_and_names_can_be_given", As::Both, host),
    ("published_ports_carry_both_ways", As::Both, published),
    ("a_port_that_is_taken_is_named", As::Both, taken),
    ("a_private_network_without_pasta_says_so", As::Both, no_way_out),
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
    Publish { host_ip: Ipv4Addr::LOCALHOST.into(), host_port, container_port }
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
    assert_eq!(
        four_parts(&failed),
        format!(
            "cannot publish port {address} of this machine: Address already in use (os error 98)\n\
             hint: choose another port with `-p`, or stop what listens there: `ss -ltnp`"
        )
    );
}

fn no_way_out(room: &Room) {
    let mut spec = room.spec(&["loopback"]);
    spec.network = Network::Private { publish: Vec::new() };
    let ran = room::run(&spec);
    assert_eq!(ran.stdout, "done\n");
    assert_eq!(ran.exit.notes, ["the private network has no way out: pasta is not installed (Debian package passt)"]);
}
