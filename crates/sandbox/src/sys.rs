//! System calls that `nix` does not wrap: the mount calls by descriptor (Linux 5.2 to 5.12), `openat2`, `clone` with namespaces.
//!
//! Each wrapper owns the descriptor that it returns and turns -1 into the error of the call. Knows nothing of what they are used for.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc::{self, c_int, c_long};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::spec::WindowSize;

/// Everything below is bind mounted too.
pub(crate) const RECURSIVE: u32 = 0x8000;
/// Mount attributes for [`set_attributes`] and [`new_mount`].
pub(crate) const READ_ONLY: u64 = 0x1;
pub(crate) const NO_SUID: u64 = 0x2;
pub(crate) const NO_DEV: u64 = 0x4;
pub(crate) const NO_EXEC: u64 = 0x8;

const EMPTY_PATH: u32 = 0x1000;
const OPEN_TREE_CLONE: u32 = 1;
const CLOEXEC: u32 = 0o2_000_000;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
/// From F_EMPTY_PATH and T_EMPTY_PATH of `move_mount(2)`.
const MOVE_BY_DESCRIPTORS: u32 = 0x4 | 0x40;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_IN_ROOT: u64 = 0x10;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the call that returned it has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path as the kernel takes it.
pub(crate) fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn c_path(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

/// Whether a read would not block now.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

/// A detached copy of the mount at `path` (with all below it where `flags` is [`RECURSIVE`]).
pub(crate) fn clone_tree(path: &Path, flags: u32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: a valid string and plain numbers.
    owned(unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | CLOEXEC | flags)
    })
}

/// As [`clone_tree`], of what `fd` points to.
pub(crate) fn clone_tree_of(fd: impl AsFd, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: a live descriptor, an empty string and plain numbers.
    owned(unsafe {
        let flags = OPEN_TREE_CLONE | CLOEXEC | EMPTY_PATH | flags;
        libc::syscall(libc::SYS_open_tree, fd.as_fd().as_raw_fd(), c"".as_ptr(), flags)
    })
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Adds attributes to a mount and, where `flags` is [`RECURSIVE`], to all below it.
pub(crate) fn set_attributes(mount: impl AsFd, attributes: u64, flags: u32) -> io::Result<()> {
    let attributes = MountAttributes { set: attributes, clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: a live descriptor, an empty string and a structure of the size given.
    let result = unsafe {
        let size = size_of::<MountAttributes>();
        let (fd, flags) = (mount.as_fd().as_raw_fd(), EMPTY_PATH | flags);
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attributes, size)
    };
    check(result).map(drop)
}

/// Puts a detached mount on what `target` points to.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    // SAFETY: live descriptors and empty strings.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), MOVE_BY_DESCRIPTORS) })
        .map(drop)
}

/// A new, detached file system, configured with `options` (an empty value is a flag).
pub(crate) fn new_mount(kind: &str, options: &[(&str, &str)], attributes: u64) -> io::Result<OwnedFd> {
    let kind = c_string(kind.as_bytes())?;
    // SAFETY: a valid string.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) })?;
    let configure = |command: u32, key: Option<&str>, value: Option<&str>| {
        let (key, value) =
            (key.map(|k| c_string(k.as_bytes())).transpose()?, value.map(|v| c_string(v.as_bytes())).transpose()?);
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        // SAFETY: a live descriptor, and strings that outlive the call or null pointers where the command takes none.
        check(unsafe {
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, pointer(&key), pointer(&value), 0)
        })
    };
    for (key, value) in options {
        if value.is_empty() {
            configure(FSCONFIG_SET_FLAG, Some(key), None)?;
        } else {
            configure(FSCONFIG_SET_STRING, Some(key), Some(value))?;
        }
    }
    configure(FSCONFIG_CMD_CREATE, None, None)?;
    // SAFETY: a live descriptor and plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, attributes) })
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How often a path is looked up again while other processes of the machine rename or mount: each time costs microseconds.
const LOOKUPS: usize = 1000;

/// Opens `path` as if `root` were `/`: neither `..` nor a symlink leads out of it (`openat2(2)`, RESOLVE_IN_ROOT).
pub(crate) fn open_in_root(root: impl AsFd, path: &Path, flags: c_int) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = u64::try_from(flags | libc::O_CLOEXEC).map_err(io::Error::other)?;
    let how = OpenHow { flags, mode: 0, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    let mut left = LOOKUPS;
    loop {
        // SAFETY: a live descriptor, a valid string and a structure of the size given.
        let opened = owned(unsafe {
            let size = size_of::<OpenHow>();
            libc::syscall(libc::SYS_openat2, root.as_fd().as_raw_fd(), path.as_ptr(), &raw const how, size)
        });
        match opened {
            // A rename or mount anywhere on the machine makes the kernel unsure of a `..` (openat2(2), EAGAIN): it asks to try again.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && left > 0 => left -= 1,
            other => return other,
        }
    }
}

/// Opens a file to look at it, but not through a link of /proc, which may lead out of the root (`/proc/self/exe` is hoist itself).
pub(crate) fn open_without_magic(path: &Path) -> io::Result<std::fs::File> {
    let path = c_path(path)?;
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK).unsigned_abs().into();
    let how = OpenHow { flags, mode: 0, resolve: RESOLVE_NO_MAGICLINKS };
    // SAFETY: a valid string and a structure of the size given.
    let opened = owned(unsafe {
        let size = size_of::<OpenHow>();
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size)
    });
    opened.map(std::fs::File::from)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called where no owner of such a descriptor exists: right after exec, or right before.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Makes every descriptor from `first` on vanish at the next exec.
pub(crate) fn close_from_on_exec(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: plain numbers; no descriptor is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Which side of a [`clone_into`] this is.
pub(crate) enum Cloned {
    /// The caller, with the child's process id.
    Parent(i32),
    /// The child.
    Child,
}

/// What `clone3(2)` takes, as its second version has it (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into new namespaces and, where one is given, into a control group of version 2.
///
/// # Safety
/// The process must have one thread: the child inherits no other, whatever locks they hold.
pub(crate) unsafe fn clone_into(namespaces: c_int, group: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let pid = match group {
        None => {
            let flags = c_long::from(namespaces | libc::SIGCHLD);
            // SAFETY: no new stack and no thread-local storage is given, so this is fork(2) with namespaces; see this function's own
            // condition.
            check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?
        }
        Some(group) => {
            let arguments = CloneArguments {
                flags: u64::from(namespaces.unsigned_abs()) | CLONE_INTO_CGROUP,
                exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
                cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
                ..CloneArguments::default()
            };
            // SAFETY: as above; a structure of the size given.
            check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) })?
        }
    };
    Ok(if pid == 0 { Cloned::Child } else { Cloned::Parent(i32::try_from(pid).map_err(io::Error::other)?) })
}

/// A descriptor that is readable once the process has ended.
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Gives up the old root for good: `/` becomes what `root` points to, and nothing else stays reachable by path.
pub(crate) fn pivot(root: impl AsFd) -> io::Result<()> {
    // SAFETY: live descriptor; valid strings.
    unsafe {
        check(libc::syscall(libc::SYS_fchdir, root.as_fd().as_raw_fd()))?;
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check(libc::syscall(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH))?;
        check(libc::syscall(libc::SYS_chdir, c"/".as_ptr()))?;
    }
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// This process, with sets of 64 bits (`_LINUX_CAPABILITY_VERSION_3`).
const OWN_CAPABILITIES: CapabilityHeader = CapabilityHeader { version: 0x2008_0522, pid: 0 };

/// Whether this process has a capability now, by its number.
pub(crate) fn has_capability(number: u32) -> bool {
    let (mut header, mut sets) = (OWN_CAPABILITIES, [CapabilitySets::default(); 2]);
    // SAFETY: a header and two halves, as this version of the call takes and fills them.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    let half = sets.get(number as usize / 32).map_or(0, |half| half.effective);
    check(result).is_ok() && half & (1 << (number % 32)) != 0
}

/// Gives up all capabilities, for good: the effective, permitted and inheritable ones, and with those the ambient ones (`capabilities(7)`).
pub(crate) fn drop_capabilities() -> io::Result<()> {
    let (mut header, none) = (OWN_CAPABILITIES, [CapabilitySets::default(); 2]);
    // SAFETY: a header and two halves, as this version of the call takes them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) }).map(drop)
}

/// Empties the bounding set: what no exec can give any more.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // The last capability of this kernel was the one before; there is always one.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `prctl` with one number.
pub(crate) fn prctl(option: c_int, value: u64) -> io::Result<()> {
    // SAFETY: only options that take one number are used in this crate.
    check(c_long::from(unsafe { libc::prctl(option, value, 0, 0, 0) })).map(drop)
}

/// Brings up the loopback interface of the network namespace that this process is in.
pub(crate) fn loopback_up() -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = interface_request(c"lo");
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: a live descriptor and a structure of the type that the request takes.
    check(c_long::from(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })).map(drop)
}

/// Makes a virtual Ethernet interface in this network namespace, for a program to attach to. It stays until the namespace goes: an interface
/// that goes with its last program makes that program wait for the kernel's grace periods at its end, 30 ms of them.
pub(crate) fn make_tap(name: &CStr) -> io::Result<()> {
    let device = fs_err::File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: a live descriptor and a structure of the type that the request takes.
    check(c_long::from(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }))?;
    // SAFETY: a live descriptor and a number.
    check(c_long::from(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETPERSIST, 1) })).map(drop)
}

fn interface_request(name: &CStr) -> libc::ifreq {
    // SAFETY: plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let last = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..last].iter_mut().zip(name.to_bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// Rows and columns of a terminal.
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> io::Result<WindowSize> {
    // SAFETY: plain data.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: a live descriptor and a structure of the type that the request fills.
    check(c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }))?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Gives a terminal another size; what runs in its foreground hears of it (SIGWINCH).
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: a live descriptor and a structure of the type that the request takes.
    check(c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })).map(drop)
}

/// The terminal behind a pseudoterminal's controlling side: by descriptor, since a path could lead elsewhere.
pub(crate) fn open_terminal(controller: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let locked: c_int = 0;
    // SAFETY: a live descriptor and a number of the type that the request takes.
    check(c_long::from(unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a live descriptor and plain flags; the request makes a descriptor.
    owned(c_long::from(unsafe { libc::ioctl(controller.as_raw_fd(), libc::TIOCGPTPEER, flags) }))
}

/// Makes standard input the controlling terminal of this session.
pub(crate) fn control_terminal() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(c_long::from(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })).map(drop)
}

/// How many bytes a pipe holds.
pub(crate) fn unread_bytes(pipe: BorrowedFd<'_>) -> io::Result<i64> {
    let mut count: c_int = 0;
    // SAFETY: a live descriptor and a number of the type that the request fills.
    check(c_long::from(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) }))?;
    Ok(count.into())
}
