//! `hoist run -it`, used as a person would, through a real terminal.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use support::{example, hoist, run};

/// An image of a service, built once for all tests of this file.
fn image() -> &'static str {
    static IMAGE: OnceLock<&str> = OnceLock::new();
    IMAGE.get_or_init(|| {
        run(hoist().args(["build", "test/terminal", "--path"]).arg(example("sum"))).ok();
        "test/terminal"
    })
}

/// A terminal with hoist in it.
struct Desk {
    keyboard: File,
    terminal: OwnedFd,
    seen: String,
    hoist: Child,
}

impl Desk {
    /// Starts a Python program in the image, with options of `hoist run`.
    fn python(options: &[&str], program: &str) -> Self {
        let image = image();
        let size = nix::pty::Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(&size, None).expect("a terminal");
        let mut command: Command = hoist();
        command.arg("run").args(options).args(["--entrypoint", "launcher", image, "--", "--", "python", "-c", program]);
        let stream = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let hoist = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("hoist starts");
        Self { keyboard: pair.master.into(), terminal: pair.slave, seen: String::new(), hoist }
    }

    /// Reads until this is seen, and forgets it.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.seen.contains(text) {
            let ended = self.hoist.try_wait().expect("hoist's status");
            assert!(begun.elapsed() < Duration::from_secs(20), "{text:?} is not in {:?}; hoist: {ended:?}", self.seen);
            if poll(&mut [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)], 100_u16).expect("poll") > 0 {
                let mut piece = [0; 1000];
                let count = self.keyboard.read(&mut piece).expect("output");
                self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        }
        self.seen = self.seen.split_once(text).expect("it is there").1.to_owned();
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typing");
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).expect("settings").local_flags.contains(LocalFlags::ICANON)
    }

    fn signal(&self, signal: Signal) {
        kill(nix::unistd::Pid::from_raw(self.hoist.id().try_into().expect("a process id")), signal).expect("a signal");
    }

    /// Waits for hoist's end; the terminal must be as it was.
    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.hoist.try_wait().expect("hoist's status") {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end: {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(code), "{:?}", self.seen);
        assert!(!self.is_raw(), "the terminal was left raw");
    }
}

#[test]
fn keys_sizes_and_the_terminal_s_name_reach_the_process() {
    let program = "
import os, signal, sys, time
sizes = []
signal.signal(signal.SIGWINCH, lambda *_: sizes.append(os.get_terminal_size()))
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty(), os.ttyname(0), os.environ['TERM'])
print('size', *os.get_terminal_size()[::-1])
print('you said', input('name? ').upper())
while not sizes:
    time.sleep(0.01)
print('size', *sizes[-1][::-1])
sys.exit(5)
";
    let mut desk = Desk::python(&["-it", "-e", "TERM=vt100"], program);
    desk.expect("True True True /dev/pts/0 vt100\r\n");
    desk.expect("size 30 90\r\n");
    desk.expect("name? ");
    assert!(desk.is_raw(), "every key goes to the process");
    desk.type_in("ada\r");
    desk.expect("ada\r\nyou said ADA\r\n");
    let size = libc::winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: a live descriptor and a structure of the type that the request takes.
    assert_eq!(unsafe { libc::ioctl(desk.keyboard.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    // The kernel tells the terminal's own session, which hoist is not in here.
    desk.signal(Signal::SIGWINCH);
    desk.expect("size 50 132\r\n");
    desk.ends_with(5);
}

#[test]
fn the_terminal_is_as_it_was_at_every_end() {
    // In short sleeps: a signal just before a long one is noticed only after it.
    let program = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.02)";
    let mut typed = Desk::python(&["-it"], program);
    typed.expect("ready\r\n");
    assert!(typed.is_raw(), "it is raw before anything is shown");
    typed.type_in("\u{3}");
    typed.expect("KeyboardInterrupt");
    typed.ends_with(130);

    let mut late = Desk::python(&["-it", "--timeout", "1"], program);
    late.expect("ready\r\n");
    late.expect("the time was up");
    late.ends_with(124);

    let mut stopped = Desk::python(&["-it"], program);
    stopped.expect("ready\r\n");
    stopped.signal(Signal::SIGTERM);
    stopped.ends_with(130);

    Desk::python(&["-it", "--process", "nope"], program).ends_with(2);
}

#[test]
fn without_i_nothing_that_is_typed_is_taken() {
    let mut desk = Desk::python(&[], "import sys; print(repr(sys.stdin.read()), sys.stdin.isatty())");
    desk.expect("'' False\r\n");
    desk.ends_with(0);
}

#[test]
fn i_and_t_need_a_terminal() {
    let said = run(hoist().args(["run", "-it", image()])).code(2);
    let text = "-i and -t together need a terminal, and standard input is none";
    assert!(said.stderr.contains(text) && said.stderr.contains("leave -t out"), "{}", said.stderr);
    let mut command = hoist();
    command.args(["run", "-t", "--entrypoint", "launcher", image(), "--", "--", "tty"]);
    assert_eq!(run(&mut command).ok().stdout, "/dev/pts/0\r\n", "a terminal for the output alone");
}
