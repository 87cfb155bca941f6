//! The child's side of the network: the connector, which lends the caller sockets of the inner network, and `pasta`, which lets out.
//!
//! A socket belongs to the network namespace in which it was made, whoever holds it. So a process of ours that has entered the namespace
//! makes sockets and hands them to the caller, which connects them to published ports; neither root nor a bridge is needed.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::ForkResult;

use crate::sys;
use crate::user::Mapping;
use crate::wire::{self, Failure, Step};

/// Where names are asked for inside a network with a way out; `pasta` passes that on to the host's own resolver.
pub(crate) const NAME_SERVER: &str = "169.254.1.1";
/// The interface that leads out.
const INTERFACE: &CStr = c"eth0";
/// How long `pasta` may take to configure the network.
const PASTA_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_micros(300);

/// Asks the connector for a socket of this family, for connections.
pub(crate) const WANT_V4: u8 = 4;
/// See [`WANT_V4`].
pub(crate) const WANT_V6: u8 = 6;
/// Added to either, asks for one for datagrams.
pub(crate) const WANT_DATAGRAMS: u8 = 0x80;

/// Starts the connector for the namespaces of `pid`. It ends with its channel, or with the monitor.
pub(crate) fn start_connector(pid: i32, ids: Mapping, channel: OwnedFd) -> Result<(), Failure> {
    let at = |action: &str| Failure::at(Step::Network, action, "");
    // Opened while pid 1 still waits: later it lets nobody look at it, and whoever is in its user namespace is nobody to the kernel here.
    let open = |name: &str| {
        let file = fs_err::File::open(format!("/proc/{pid}/ns/{name}")).map(|file| file.into_parts().0);
        file.map_err(at("opening a namespace for the connector"))
    };
    let user = if ids == Mapping::None { None } else { Some(open("user")?) };
    let net = open("net")?;
    // SAFETY: one thread.
    match unsafe { nix::unistd::fork() }.map_err(|e| at("starting the connector")(e.into()))? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            let serve = || -> io::Result<()> {
                sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
                if let Some(user) = user {
                    setns(user, CloneFlags::CLONE_NEWUSER)?;
                }
                setns(net, CloneFlags::CLONE_NEWNET)?;
                lend_sockets(channel)
            };
            let code = i32::from(serve().is_err());
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Makes a socket for each byte that asks for one.
fn lend_sockets(channel: OwnedFd) -> io::Result<()> {
    // Descriptor 0 is the only one kept: neither the pipes of the process nor the monitor's socket may be held open from here.
    nix::unistd::dup2_stdin(&channel)?;
    std::mem::forget(channel);
    sys::close_from(1)?;
    // SAFETY: descriptor 0 is the channel, and nothing else in this process uses it.
    let channel = UnixStream::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(0) });
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    while let Some((wanted, _)) = wire::receive_fds(&channel)? {
        let family = if wanted & !WANT_DATAGRAMS == WANT_V6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let kind = if wanted & WANT_DATAGRAMS == 0 { SockType::Stream } else { SockType::Datagram };
        let made = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None);
        let fds: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
        wire::send_fds(&channel, 0, &fds)?;
    }
    Ok(())
}

/// Makes the interface in the network namespace of this process, before `pasta` attaches to it. Where that fails, `pasta` says why.
pub(crate) fn make_interface() {
    let _ = sys::make_tap(INTERFACE);
}

/// A running `pasta`, stopped on drop.
pub(crate) struct Pasta {
    child: Child,
    stderr: File,
}

impl Pasta {
    /// Starts it for the network of `pid` and waits until that has a route; nothing if one of `ends` says that nobody needs it any more. The
    /// error is the reason why there is no way out.
    pub(crate) fn start(program: &Path, pid: i32, ends: [BorrowedFd<'_>; 2]) -> Result<Option<Self>, String> {
        let mut pasta =
            Self::spawn(program, pid).map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let begun = Instant::now();
        while !has_route(pid) {
            if let Ok(Some(status)) = pasta.child.try_wait() {
                return Err(format!("{} ended ({status}): {}", program.display(), pasta.last_words()));
            }
            if begun.elapsed() > PASTA_PATIENCE {
                return Err(format!("{} made no route within {} s", program.display(), PASTA_PATIENCE.as_secs()));
            }
            let mut fds = ends.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            if !matches!(ppoll(&mut fds, Some(LOOK.into()), None), Ok(0) | Err(nix::errno::Errno::EINTR)) {
                return Ok(None);
            }
        }
        Ok(Some(pasta))
    }

    fn spawn(program: &Path, pid: i32) -> io::Result<Self> {
        let (stderr, theirs) = io::pipe()?;
        let theirs = OwnedFd::from(theirs);
        // What nobody reads must not hold it up.
        fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // The one program of the host that is started: found by the caller, absolute.
        #[allow(clippy::disallowed_methods)]
        let mut command = Command::new(program);
        command.args(["--config-net", "--quiet", "--foreground", "--no-map-gw"]);
        command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--dns-forward", NAME_SERVER]);
        command.arg("--ns-ifname").arg(OsStr::from_bytes(INTERFACE.to_bytes()));
        if nix::unistd::geteuid().is_root() {
            // It would change to nobody, who may not enter the namespaces; it gives up root by entering them.
            command.args(["--runas", "0:0"]);
        }
        command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs);
        // SAFETY: one system call with plain numbers, between fork and exec.
        unsafe { command.pre_exec(|| sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)) };
        Ok(Self { child: command.spawn()?, stderr: File::from(OwnedFd::from(stderr)) })
    }

    /// What it said before it ended.
    fn last_words(&mut self) -> String {
        let mut text = Vec::new();
        let _ = (&mut self.stderr).take(4096).read_to_end(&mut text);
        String::from_utf8_lossy(&text).lines().filter(|line| !line.contains("syslog")).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the network namespace of a process has a route to everywhere.
fn has_route(pid: i32) -> bool {
    // A new namespace has few routes: one read takes them all.
    let mut buffer = [0; 8192];
    let mut read = |file: &str| {
        let count = fs_err::File::open(format!("/proc/{pid}/net/{file}"))
            .and_then(|mut file| file.read(&mut buffer))
            .unwrap_or(0);
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let v4 = read("route").lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let anywhere = "0".repeat(32);
    let is_default = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.first() == Some(&anywhere.as_str()) && fields.get(1) == Some(&"00") && fields.last() != Some(&"lo")
    };
    v4 || read("ipv6_route").lines().any(is_default)
}
