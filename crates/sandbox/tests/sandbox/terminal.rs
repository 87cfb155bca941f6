//! A process with a terminal of its own, used through a real one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hoist_sandbox::{Cancel, Exit, ExitStatus, Limits, OutputSink, Screen, Spec, Stdin, WindowSize};
use nix::libc;
use nix::pty::Winsize;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::room::Room;
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_terminal_of_its_own_takes_words_sizes_and_ctrl_c", As::Both, conversation),
    ("what_a_terminal_shows_last_is_not_lost", As::Both, last_words),
    ("a_terminal_without_input_shows_output", As::Both, output_alone),
    ("the_clock_ends_a_process_with_a_terminal", As::Both, timeout),
    ("bytes_are_typed_into_a_terminal", As::Both, bytes),
];

/// A person's terminal: the screen and keyboard, and what programs see of it.
struct Desk {
    keyboard: File,
    seen: String,
    terminal: OwnedFd,
}

impl Desk {
    /// In raw mode, as the terminal of a person is while a process with a terminal runs; standard input of this test.
    fn new() -> Self {
        let size = Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(&size, None).unwrap();
        let mut settings = tcgetattr(&pair.slave).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings).unwrap();
        nix::unistd::dup2_stdin(&pair.slave).unwrap();
        Self { keyboard: pair.master.into(), seen: String::new(), terminal: pair.slave }
    }

    fn sink(&self) -> Shown {
        Shown {
            screen: Screen::new(self.terminal.as_fd()).unwrap(),
            terminal: self.terminal.try_clone().unwrap().into(),
            runs: false,
        }
    }

    /// Reads until this is seen, and forgets it.
    fn expect(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.seen.contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{text:?} is not in {:?}", self.seen);
            let mut fds = [nix::poll::PollFd::new(self.keyboard.as_fd(), nix::poll::PollFlags::POLLIN)];
            if nix::poll::poll(&mut fds, 100_u16).unwrap() > 0 {
                let mut piece = [0; 1000];
                let count = self.keyboard.read(&mut piece).unwrap();
                self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        }
        self.seen = self.seen.split_once(text).unwrap().1.to_owned();
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let raw = std::os::fd::AsRawFd::as_raw_fd(&self.keyboard);
        assert_eq!(unsafe { libc::ioctl(raw, libc::TIOCSWINSZ, &raw const size) }, 0);
    }
}

/// Shows output on the terminal.
struct Shown {
    screen: Screen,
    terminal: File,
    runs: bool,
}

impl OutputSink for Shown {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(self.runs, "shown before it was said to run: a user could type before the terminal is raw");
        self.terminal.write_all(bytes)
    }

    fn started(&mut self) {
        self.runs = true;
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn screen(&self) -> Option<&Screen> {
        Some(&self.screen)
    }
}

fn with_terminal(room: &Room, args: &[&str]) -> Spec {
    let mut spec = room.spec(args);
    spec.process.stdin = Stdin::Inherit;
    spec.process.terminal = Some(WindowSize { rows: 24, columns: 80 });
    spec
}

fn conversation(room: &Room) {
    let spec = with_terminal(room, &["terminal"]);
    let mut desk = Desk::new();
    let mut sink = desk.sink();
    let resized = nix::unistd::dup(unsafe { std::os::fd::BorrowedFd::borrow_raw(sink.screen.raw_fd()) }).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| hoist_sandbox::run(&spec, &mut sink, &Cancel::new().unwrap()));
        desk.expect("terminals true true true\r\n");
        desk.expect("/dev/pts/0 \r\n");
        desk.expect("size 30 90\r\n");
        desk.expect("by name done\r\n");
        desk.type_in("hello there\r");
        desk.expect("hello there\r\n");
        desk.expect("said \"hello there\"\r\n");
        desk.resize(50, 132);
        nix::unistd::write(&resized, &1_u64.to_ne_bytes()).unwrap();
        desk.expect("size 50 132\r\n");
        desk.type_in("\u{3}");
        desk.expect("^Cinterrupted\r\ngoing\r\ngone\r\n");
        assert_eq!(running.join().unwrap().unwrap().status, ExitStatus::Exited(9));
    });
}

fn shown(spec: &Spec) -> (Exit, String) {
    let mut output = (Vec::new(), Vec::new());
    let exit = hoist_sandbox::run(spec, &mut output, &Cancel::new().unwrap()).unwrap();
    assert_eq!(output.1, b"");
    (exit, String::from_utf8_lossy(&output.0).into_owned())
}

fn last_words(room: &Room) {
    let mut spec = with_terminal(room, &["say", &"x".repeat(3000), "narration"]);
    spec.process.stdin = Stdin::Null;
    for init in [true, false] {
        spec.init = init;
        let (exit, text) = shown(&spec);
        assert!(exit.success(), "{exit:?}");
        assert_eq!(text, format!("{}\r\nnarration\r\n", "x".repeat(3000)));
    }
}

fn output_alone(room: &Room) {
    let mut spec = with_terminal(room, &["link", "/proc/self/fd/0"]);
    spec.process.stdin = Stdin::Null;
    assert_eq!(shown(&spec).1, "done\r\n");
    spec.process.args = ["probe", "probe", "ls", "/proc/self/fd"].map(Into::into).to_vec();
    assert_eq!(shown(&spec).1, "0\r\n1\r\n2\r\n3\r\n", "no descriptor of the machinery is left inside");
}

fn timeout(room: &Room) {
    let mut spec = with_terminal(room, &["sleep"]);
    spec.process.stdin = Stdin::Null;
    spec.limits = Limits { timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    assert_eq!(shown(&spec).0.status, ExitStatus::TimedOut);
}

fn bytes(room: &Room) {
    let mut spec = with_terminal(room, &["input"]);
    spec.process.stdin = Stdin::Bytes(b"one\ntwo\n".to_vec());
    let (exit, text) = shown(&spec);
    assert!(exit.success(), "{exit:?}");
    // What is typed is shown, and what is read is written again.
    assert_eq!(text.matches("one\r\n").count(), 2, "{text:?}");
    assert_eq!(text.matches("two\r\n").count(), 2, "{text:?}");
}
