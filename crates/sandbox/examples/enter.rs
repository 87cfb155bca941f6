//! `enter [-u UID:GID] [-n host|none|private] [-p HOST:INSIDE] [-m BYTES] [-c CPUS] [-l PIDS] [-t SECONDS] LOWER[:LOWER…] PROGRAM [ARG…]`: runs a program in a root made of these directories.
//! With ENTER_VERBOSE in the environment it says when the program had started and how it ended.
#![allow(clippy::print_stderr, clippy::exit, clippy::expect_used)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use hoist_sandbox::{
    Cancel, Limits, Network, OutputSink, Process, Protocol, Publish, Root, Spec, Stdin, User, main_if_child, run,
};

struct Terminal {
    born: Instant,
    /// Whether the time of the start and the end of the run are told on standard error.
    is_verbose: bool,
}

impl OutputSink for Terminal {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stdout().write_all(bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }

    fn started(&mut self) {
        if self.is_verbose {
            eprintln!("started after {:.3} ms", self.born.elapsed().as_secs_f64() * 1000.0);
        }
    }

    fn note(&mut self, text: &str) {
        eprintln!("note: {text}");
    }
}

fn main() {
    main_if_child();
    let mut terminal = Terminal { born: Instant::now(), is_verbose: std::env::var_os("ENTER_VERBOSE").is_some() };
    let mut args: std::collections::VecDeque<String> = std::env::args().skip(1).collect();
    let (mut user, mut network, mut publish) = (User { uid: 1001, gid: 1000 }, Network::None, Vec::new());
    let mut limits = Limits::default();
    while args.front().is_some_and(|arg| arg.starts_with('-')) {
        let (option, value) = (args.pop_front().expect("option"), args.pop_front().expect("value of an option"));
        match option.as_str() {
            "-u" => {
                let (uid, gid) = value.split_once(':').expect("UID:GID");
                user = User { uid: uid.parse().expect("uid"), gid: gid.parse().expect("gid") };
            }
            "-m" => limits.memory_bytes = value.parse().ok(),
            "-c" => limits.cpus = value.parse().ok(),
            "-l" => limits.pids = value.parse().ok(),
            "-t" => limits.timeout = value.parse().ok().map(std::time::Duration::from_secs_f64),
            "-n" if value == "host" => network = Network::Host,
            "-n" if value == "private" => network = Network::Private { publish: Vec::new() },
            "-p" => {
                let (host, inside) = value.split_once(':').expect("HOST:INSIDE");
                publish.push(Publish {
                    protocol: Protocol::Tcp,
                    host_ip: std::net::Ipv4Addr::LOCALHOST.into(),
                    host_port: host.parse().expect("port"),
                    container_port: inside.parse().expect("port"),
                });
                network = Network::Private { publish: publish.clone() };
            }
            _ => {}
        }
    }
    let lower_dirs = args.pop_front().expect("LOWER").split(':').map(PathBuf::from).collect();
    let mut process = Process::new(args, user);
    process.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    process.stdin = Stdin::Inherit;
    let mut spec = Spec::new(Root { lower_dirs, upper: None, read_only: false }, process);
    spec.network = network;
    spec.limits = limits;
    let cancel = Cancel::new().expect("eventfd");
    match run(&spec, &mut terminal, &cancel) {
        Ok(exit) => {
            if terminal.is_verbose {
                eprintln!("{exit:?}");
            }
            std::process::exit(exit.status.code())
        }
        Err(error) => {
            eprintln!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
            eprintln!("{}", error.hint().unwrap_or_default());
            std::process::exit(error.shell_code().map_or(3, i32::from))
        }
    }
}
