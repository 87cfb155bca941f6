//! The monitors of one caller, as the caller sees them: processes of our own binary that wait for orders.
//!
//! To start one costs as much as half of a run: our binary is executed and its addresses are set. So those who run one process after another
//! keep them. A monitor that serves several runs has no more rights than one that serves one, and no run finds anything of another: each has
//! its own pid 1, namespaces, mounts and control groups, and is over when all of these are gone. A monitor whose run did not end by itself
//! (a limit, a cancellation, anything that failed) serves no other.

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::{Exit, OutputSink};
use crate::run::{check, prepare, run_with};
use crate::spec::Spec;
use crate::sys;

/// The name by which a child knows that it is one.
pub(crate) const CHILD_NAME: &str = "hoist-sandbox-child";

/// Runs processes one after another, or several at once, with monitors that stay for the next run. They go with it.
#[derive(Debug, Default)]
pub struct Monitors {
    idle: Mutex<Vec<Monitor>>,
}

impl Monitors {
    /// Runs a process to its end, as [`crate::run()`] does.
    ///
    /// # Errors
    /// As [`crate::run()`].
    pub fn run(&self, spec: &Spec, output: &mut dyn OutputSink, cancel: &Cancel) -> Result<Exit, SandboxError> {
        check(spec)?;
        let mut monitor = match self.take() {
            Some(monitor) => monitor,
            None => Monitor::start()?,
        };
        let (exit, stays) = run_with(&mut monitor, true, spec, output, cancel)?;
        if stays {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(monitor);
        }
        Ok(exit)
    }

    /// One that waits. Those that somebody ended meanwhile are let go.
    fn take(&self) -> Option<Monitor> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // It says nothing before it has an order: all that there could be to read is the end.
        std::iter::from_fn(|| idle.pop()).find(|monitor| !sys::is_readable(monitor.socket.as_fd()))
    }
}

impl Drop for Monitors {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        // All of them end at the same time, and are then waited for.
        for monitor in idle.iter() {
            let _ = monitor.socket.shutdown(Shutdown::Both);
        }
        idle.clear();
    }
}

/// A monitor that waits for an order, or serves one.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) child: Child,
    pub(crate) socket: UnixStream,
}

impl Monitor {
    pub(crate) fn start() -> Result<Self, SandboxError> {
        let (socket, theirs) = UnixStream::pair().map_err(prepare("making a socket pair"))?;
        // The one place where this crate starts a program: ourselves.
        #[allow(clippy::disallowed_methods)]
        let child = Command::new(own_program())
            .arg0(CHILD_NAME)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| SandboxError::Reexec { source })?;
        Ok(Self { child, socket })
    }

    /// Lets go of the socket, by which it ends, and reaps it; how it ended.
    pub(crate) fn end(&mut self) -> String {
        let _ = self.socket.shutdown(Shutdown::Both);
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Our own binary: where we may, by a read-only mount of it that exists nowhere but here, so that nobody who gets hold of the file inside
/// (CVE-2019-5736) can write to it.
pub(crate) fn own_program() -> String {
    static READ_ONLY: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let mount = READ_ONLY.get_or_init(|| {
        let mount = sys::clone_tree(Path::new("/proc/self/exe"), 0).ok()?;
        sys::set_attributes(&mount, sys::READ_ONLY, 0).ok()?;
        Some(mount)
    });
    match mount {
        Some(mount) => format!("/proc/self/fd/{}", mount.as_raw_fd()),
        None => "/proc/self/exe".to_owned(),
    }
}
