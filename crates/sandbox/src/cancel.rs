//! A flag that stops a run from another thread or a signal handler.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Cloneable; all clones are one flag. Once cancelled it stays so.
#[derive(Debug, Clone)]
pub struct Cancel {
    event: Arc<EventFd>,
}

impl Cancel {
    /// A flag that nobody has raised yet.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { event: Arc::new(event) })
    }

    /// Raises the flag: running processes are killed at once. One `write`, so it may be called from a signal handler.
    pub fn cancel(&self) {
        // The only failure is a counter at its maximum, and then the flag is up.
        let _ = self.event.write(1);
    }

    /// Whether the flag is up.
    pub fn is_cancelled(&self) -> bool {
        crate::sys::is_readable(self.event.as_fd())
    }

    /// The descriptor of the flag (readable once it is up), to `write` eight bytes to from a signal handler.
    pub fn raw_fd(&self) -> i32 {
        self.event.as_raw_fd()
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
