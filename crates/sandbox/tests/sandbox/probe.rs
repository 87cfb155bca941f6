//! What runs inside: does one thing that a test asks for and prints how it went. An attempt prints the name of its error or `done`.

use std::ffi::CStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

pub(crate) fn main(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["say", out, err] => {
            println!("{out}");
            eprintln!("{err}");
        }
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap()),
        ["env"] => std::env::vars_os().for_each(|(key, value)| println!("{}={}", key.display(), value.display())),
        ["cat", path] => copy_out(&mut std::fs::File::open(path).unwrap()),
        ["input"] => copy_out(&mut std::io::stdin()),
        ["ls", path] => list(path),
        ["write", path, text] => report(std::fs::write(path, text)),
        ["read", path] => report(std::fs::read(path)),
        ["remove", path] => report(std::fs::remove_file(path)),
        ["append", path] => report(std::fs::OpenOptions::new().write(true).open(path).map(drop)),
        ["link", path] => report(std::fs::read_link(path)),
        ["ids"] => ids(),
        ["take", count] => {
            let mut bytes = vec![0; count.parse().unwrap()];
            println!("{}", nix::unistd::read(std::io::stdin(), &mut bytes).unwrap());
        }
        ["fill", path, pieces] => report(fill(path, pieces.parse().unwrap())),
        ["pour", count] => pour(count.parse().unwrap()),
        ["ignored"] => print_status("SigIgn"),
        ["realtime"] => {
            unsafe { libc::signal(40, libc::SIG_IGN) };
            attempt_quietly(unsafe { libc::kill(1, 40) });
            std::thread::sleep(Duration::from_millis(50));
            println!("still here");
        }
        ["signal-init", number] => {
            attempt_quietly(unsafe { libc::kill(1, number.parse().unwrap()) });
            std::thread::sleep(Duration::from_secs(1000));
        }
        ["terminal"] => terminal(),
        ["serve-datagrams", address] => serve_datagrams(address),
        ["deaf", port] => {
            let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
            println!("listening");
            std::thread::sleep(Duration::from_secs(1000));
        }
        ["sleep"] => std::thread::sleep(Duration::from_secs(1000)),
        ["sleep-announced", path] => {
            std::fs::write(path, "here").unwrap();
            std::thread::sleep(Duration::from_secs(1000));
        }
        ["abort"] => std::process::abort(),
        ["flood"] => flood(),
        ["eat", bytes] => eat(bytes.parse().unwrap()),
        ["fork", count] => fork(count.parse().unwrap()),
        ["spin", millis] => spin(Duration::from_millis(millis.parse().unwrap())),
        ["orphan"] => orphan(),
        ["zombies"] => zombies(),
        ["kill", pid] => attempt(unsafe { libc::kill(pid.parse().unwrap(), 0) }.into()),
        ["syscalls"] => syscalls(),
        ["limits"] => limits(),
        ["interfaces"] => print!("{}", std::fs::read_to_string("/proc/net/dev").unwrap()),
        ["loopback"] => loopback(),
        ["abstract", name] => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            report(UnixStream::connect_addr(&address).map(drop));
        }
        ["serve", port] => serve(port.parse().unwrap()),
        ["dial", address] => report(TcpStream::connect(address).map(drop)),
        ["hostname"] => println!("{}", nix::unistd::gethostname().unwrap().display()),
        _ => return ExitCode::from(99),
    }
    ExitCode::SUCCESS
}

fn copy_out(from: &mut dyn Read) {
    std::io::copy(from, &mut std::io::stdout()).unwrap();
}

fn report<T>(result: std::io::Result<T>) {
    match result {
        Ok(_) => println!("done"),
        Err(error) => println!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

fn attempt(result: i64) {
    if result < 0 { println!("{:?}", Errno::last()) } else { println!("done") }
}

fn attempt_quietly(result: i32) {
    assert_eq!(result, 0, "{}", Errno::last());
}

fn print_status(field: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with(field)) {
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// Writes so many MiB into a file.
fn fill(path: &str, pieces: usize) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let piece = vec![1; 1 << 20];
    for _ in 0..pieces {
        file.write_all(&piece)?;
    }
    Ok(())
}

/// Enlarges the pipe of its output, fills it and goes.
fn pour(count: usize) {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::io::stdout());
    assert!(unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, 1 << 20) } > 0, "{}", Errno::last());
    println!();
    std::thread::sleep(Duration::from_millis(100));
    std::io::stdout().write_all(&vec![b'x'; count]).unwrap();
}

/// Says what its terminal is, takes a line, waits for another size and then for the end.
fn terminal() {
    let signals = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGWINCH);
    signals.thread_block().unwrap();
    let interrupts = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGINT);
    interrupts.thread_block().unwrap();
    let size = || {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        assert_eq!(unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &raw mut size) }, 0);
        (size.ws_row, size.ws_col)
    };
    let is_terminal = [0, 1, 2].map(|fd| unsafe { libc::isatty(fd) } == 1);
    println!("terminals {} {} {}", is_terminal[0], is_terminal[1], is_terminal[2]);
    println!("{} ", std::fs::read_link("/proc/self/fd/0").unwrap().display());
    // The size of the user's terminal comes with the terminal itself or a moment later.
    while size() != (30, 90) {
        signals.wait().unwrap();
    }
    println!("size 30 90");
    print!("by name ");
    report(std::fs::OpenOptions::new().write(true).open("/dev/tty").map(drop));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("said {:?}", line.trim_end());
    while size() == (30, 90) {
        signals.wait().unwrap();
    }
    println!("size {} {}", size().0, size().1);
    interrupts.wait().unwrap();
    for word in ["interrupted", "going", "gone"] {
        println!("{word}");
        std::thread::sleep(Duration::from_millis(3));
    }
    std::process::exit(9);
}

/// Answers every datagram in capitals.
fn serve_datagrams(address: &str) {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    println!("listening");
    let mut buffer = [0; 2000];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..count].to_ascii_uppercase(), from).unwrap();
    }
}

fn list(path: &str) {
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        println!("{}", name.display());
    }
}

fn ids() {
    println!("uid {} {}", nix::unistd::getuid(), nix::unistd::geteuid());
    println!("gid {} {}", nix::unistd::getgid(), nix::unistd::getegid());
    for field in ["Cap", "NoNewPrivs", "Seccomp:"] {
        print_status(field);
    }
}

fn flood() {
    let line = [b'x'; 4096];
    while std::io::stdout().write_all(&line).is_ok() {}
}

fn eat(bytes: usize) {
    let mut eaten = Vec::new();
    while eaten.len() * (1 << 20) < bytes {
        eaten.push(vec![1_u8; 1 << 20]);
    }
    println!("ate {}", eaten.len());
}

/// Forks so many sleepers, or until it cannot; says how many.
fn fork(count: usize) {
    for made in 0..count {
        match unsafe { libc::fork() } {
            0 => std::thread::sleep(Duration::from_secs(1000)),
            -1 => return println!("{made} {:?}", Errno::last()),
            _ => {}
        }
    }
    println!("{count} done");
}

fn spin(time: Duration) {
    let begun = std::time::Instant::now();
    let mut turns = 0_u64;
    while begun.elapsed() < time {
        turns = std::hint::black_box(turns + 1);
    }
}

/// Leaves a grandchild behind that holds the output open.
fn orphan() {
    if unsafe { libc::fork() } == 0 {
        std::thread::sleep(Duration::from_secs(1000));
    }
    println!("leaving");
}

/// Makes orphans that end at once, and counts zombies a moment later.
fn zombies() {
    for _ in 0..5 {
        if unsafe { libc::fork() } == 0 {
            unsafe { libc::fork() };
            unsafe { libc::_exit(0) };
        }
    }
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    std::thread::sleep(Duration::from_millis(100));
    let state = |name: std::ffi::OsString| {
        std::fs::read_to_string(format!("/proc/{}/stat", name.display())).unwrap_or_default()
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| state(entry.file_name()));
    println!("{} zombies", all.filter(|stat| stat.contains(") Z ")).count());
}

fn limits() {
    for (name, resource) in [("core", libc::RLIMIT_CORE), ("nofile", libc::RLIMIT_NOFILE)] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        unsafe { libc::getrlimit(resource, &raw mut limit) };
        println!("{name} {} {}", limit.rlim_cur, limit.rlim_max);
    }
}

fn loopback() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    report(TcpStream::connect(listener.local_addr().unwrap()).map(drop));
}

/// Answers every connection with what it sent, in capitals.
fn serve(port: u16) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    println!("listening");
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        stream.write_all(&text.to_ascii_uppercase()).unwrap();
    }
}

/// Tries every way out by system call that the kernel offers; one line for each: its name and how it went.
fn syscalls() {
    const ROOT: &CStr = c"/";
    let none = std::ptr::null::<u8>();
    let buffer = [0_u8; 256];
    let at = buffer.as_ptr();
    let tries: Vec<(&str, i64, [i64; 5])> = vec![
        ("mount", libc::SYS_mount, [ROOT.as_ptr() as i64, c"/srv".as_ptr() as i64, 0, 4096, 0]),
        ("mount-proc", libc::SYS_mount, [c"p".as_ptr() as i64, c"/srv".as_ptr() as i64, c"proc".as_ptr() as i64, 0, 0]),
        ("umount", libc::SYS_umount2, [c"/proc".as_ptr() as i64, 2, 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [c"tmpfs".as_ptr() as i64, 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [-100, ROOT.as_ptr() as i64, 1, 0, 0]),
        ("move_mount", libc::SYS_move_mount, [-1, none as i64, -1, none as i64, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [-100, ROOT.as_ptr() as i64, 0, at as i64, 32]),
        ("pivot_root", libc::SYS_pivot_root, [ROOT.as_ptr() as i64, ROOT.as_ptr() as i64, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [c"/srv".as_ptr() as i64, 0, 0, 0, 0]),
        ("unshare-user", libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0]),
        ("unshare-mount", libc::SYS_unshare, [i64::from(libc::CLONE_NEWNS), 0, 0, 0, 0]),
        ("clone-user", libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [at as i64, 88, 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), 1, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, at as i64, 0, at as i64, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, [c"user".as_ptr() as i64, c"k".as_ptr() as i64, at as i64, 1, -3]),
        ("request_key", libc::SYS_request_key, [c"user".as_ptr() as i64, c"k".as_ptr() as i64, 0, -3, 0]),
        ("bpf", libc::SYS_bpf, [0, at as i64, 72, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [at as i64, 0, -1, -1, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [4, at as i64, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [c"/srv".as_ptr() as i64, 0, 0, 0, 0]),
        ("init_module", libc::SYS_init_module, [at as i64, 1, at as i64, 0, 0]),
        ("finit_module", libc::SYS_finit_module, [0, at as i64, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-100, at as i64, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [3, at as i64, 16, 0, 0]),
        ("sethostname", libc::SYS_sethostname, [c"x".as_ptr() as i64, 1, 0, 0, 0]),
        ("settimeofday", libc::SYS_settimeofday, [at as i64, 0, 0, 0, 0]),
        ("acct", libc::SYS_acct, [0, 0, 0, 0, 0]),
        ("quotactl", libc::SYS_quotactl, [0, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, [0, 0, 0, 0, 0]),
        (
            "mknod-null",
            libc::SYS_mknodat,
            [-100, c"/tmp/null".as_ptr() as i64, i64::from(libc::S_IFCHR | 0o666), 0x103, 0],
        ),
        (
            "mknod-disk",
            libc::SYS_mknodat,
            [-100, c"/tmp/disk".as_ptr() as i64, i64::from(libc::S_IFBLK | 0o666), 0x800, 0],
        ),
        ("vsock", libc::SYS_socket, [40, 1, 0, 0, 0]),
        ("packet", libc::SYS_socket, [17, 3, 0, 0, 0]),
        ("raw", libc::SYS_socket, [2, 3, 1, 0, 0]),
        ("tiocsti", libc::SYS_ioctl, [0, 0x5412, c"x".as_ptr() as i64, 0, 0]),
        ("tiocsti-high", libc::SYS_ioctl, [0, 0x1_0000_5412, c"x".as_ptr() as i64, 0, 0]),
        ("setuid-0", libc::SYS_setresuid, [0, 0, 0, 0, 0]),
        ("personality", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0]),
        ("future-call", 4_000, [0; 5]),
        #[cfg(target_arch = "x86_64")]
        ("x32-getpid", 0x4000_0000 + libc::SYS_getpid, [0; 5]),
        #[cfg(target_arch = "x86_64")]
        ("iopl", libc::SYS_iopl, [3, 0, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("modify_ldt", libc::SYS_modify_ldt, [0, 0, 0, 0, 0]),
    ];
    for (name, call, [a, b, c, d, e]) in tries {
        print!("{name} ");
        // Arguments that would be refused even without a filter, or do no harm.
        attempt(unsafe { libc::syscall(call, a, b, c, d, e, 0_i64) });
    }
}
