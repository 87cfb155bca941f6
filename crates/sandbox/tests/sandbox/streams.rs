//! What a process reads and how it is started: neither a file nor a habit of the caller's may get inside.

use std::io::{self, Read, Seek, Write};
use std::time::Duration;

use hoist_sandbox::{Cancel, ExitStatus, Limits, OutputSink, SandboxError, Stdin};
use nix::libc;

use crate::room::{self, Room, error, four_parts};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_file_as_input_can_be_read_and_no_more", As::Both, file),
    ("what_was_not_read_of_a_file_is_given_back", As::Both, given_back),
    ("a_pipe_as_input_is_passed_on", As::Both, pipe),
    ("a_directory_as_input_opens_nothing", As::Both, directory),
    ("a_large_pipe_is_read_to_its_end", As::Both, large_pipe),
    ("signals_that_the_caller_ignores_work_inside", As::Both, ignored_signals),
    ("pid_1_passes_any_signal_on", As::Both, any_signal),
    ("directories_in_memory_are_bounded_without_control_groups", As::Both, memory),
    ("too_large_an_environment_is_told", As::Both, environment),
];

/// Runs the probe with this as the standard input of hoist.
fn with_input(room: &Room, file: &std::fs::File, args: &[&str]) -> String {
    nix::unistd::dup2_stdin(file).unwrap();
    let mut spec = room.spec(args);
    spec.process.stdin = Stdin::Inherit;
    room::ok(&spec)
}

fn file(room: &Room) {
    let path = room.host_dir("data").join("precious");
    std::fs::write(&path, vec![b'p'; 200_000]).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let open = || std::fs::File::open(&path).unwrap();
    assert_eq!(with_input(room, &open(), &["input"]).len(), 200_000);
    std::fs::write(&path, "precious").unwrap();
    for way in ["/proc/self/fd/0", "/dev/stdin"] {
        with_input(room, &open(), &["write", way, "overwritten"]);
        with_input(room, &open(), &["append", way]);
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious", "the file of the host was changed");
}

fn given_back(room: &Room) {
    for bytes in [1000, 500_000] {
        let path = room.host_dir("data").join("list");
        std::fs::write(&path, vec![b'x'; bytes]).unwrap();
        let mut file = std::fs::File::open(&path).unwrap();
        assert_eq!(with_input(room, &file, &["say", "nothing read", ""]), "nothing read\n");
        assert_eq!(file.stream_position().unwrap(), 0, "of {bytes}");
        assert_eq!(with_input(room, &file, &["take", "10"]), "10\n");
        assert_eq!(file.stream_position().unwrap(), 10, "of {bytes}");
        assert_eq!(with_input(room, &file, &["input"]).len(), bytes - 10);
        assert_eq!(file.stream_position().unwrap(), bytes as u64);
    }
}

fn pipe(room: &Room) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"0123456789rest").unwrap();
    drop(writer);
    let mut file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    assert_eq!(with_input(room, &file, &["take", "10"]), "10\n");
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest", "nothing is read ahead");
}

fn directory(room: &Room) {
    let secret = room.host_dir("secret");
    std::fs::write(secret.join("key"), "secret").unwrap();
    let dir = std::fs::File::open(&secret).unwrap();
    assert_eq!(with_input(room, &dir, &["read", "/proc/self/fd/0/key"]), "ENOTDIR\n");
    assert_eq!(with_input(room, &dir, &["input"]), "");
}

/// Looks away for a moment, so that the pipe is full when the process ends.
#[derive(Default)]
struct Slow {
    bytes: usize,
}

impl OutputSink for Slow {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        self.bytes += bytes.len();
        Ok(())
    }

    fn stderr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn large_pipe(room: &Room) {
    let mut sink = Slow::default();
    let exit = hoist_sandbox::run(&room.spec(&["pour", "900000"]), &mut sink, &Cancel::new().unwrap()).unwrap();
    assert_eq!((exit.status, sink.bytes), (ExitStatus::Exited(0), 900_001));
}

fn ignored_signals(room: &Room) {
    for signal in [libc::SIGCHLD, libc::SIGUSR1, libc::SIGTERM, libc::SIGTTOU, libc::SIGTSTP] {
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    assert_eq!(room.probe(&["exit", "7"]).status(), ExitStatus::Exited(7));
    let text = room.ok(&["ignored"]);
    let ignored = u64::from_str_radix(text.trim().rsplit(' ').next().unwrap(), 16).unwrap();
    // The probe's own runtime ignores SIGPIPE; above 31 are those that the C library keeps for itself.
    assert_eq!(ignored & 0x7fff_ffff, 1 << (libc::SIGPIPE - 1), "{text}");
}

fn any_signal(room: &Room) {
    assert_eq!(room.ok(&["realtime"]), "still here\n");
    assert_eq!(room.probe(&["signal-init", "15"]).status(), ExitStatus::Signaled(15));
}

fn memory(room: &Room) {
    let mut spec = room.spec(&[]);
    spec.use_cgroups = false;
    spec.limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
    for place in ["/tmp/x", "/dev/shm/x", "/srv/x"] {
        std::fs::set_permissions(room.root_dir().join("srv"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        spec.process.args = ["probe", "probe", "fill", place, "100"].map(Into::into).to_vec();
        assert_eq!(room::ok(&spec), "ENOSPC\n", "{place}");
    }
}

fn environment(room: &Room) {
    let hint = "hint: its arguments and variables are too large for the kernel (128 KiB each, about 2 MiB together): give large data as a \
                file, with `-v` or, to a service, with `--data FILE`";
    let mut spec = room.spec(&["env"]);
    for bytes in [200 << 10, 7 << 20] {
        spec.process.env.push(("LARGE".into(), "x".repeat(bytes).into()));
        let failed = error(&spec);
        assert!(matches!(failed, SandboxError::NotExecutable { .. }), "{failed:?}");
        assert!(four_parts(&failed).ends_with(hint), "{}", four_parts(&failed));
    }
}
