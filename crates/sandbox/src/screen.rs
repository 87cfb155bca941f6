//! The user's own terminal, as far as a process with a terminal has to know of it: its size, and that it changed.
//!
//! Whoever owns that terminal switches it to raw and back, and catches SIGWINCH; here is only the flag that its handler raises.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::spec::WindowSize;
use crate::sys;

/// A terminal whose size is followed.
#[derive(Debug)]
pub struct Screen {
    terminal: OwnedFd,
    resized: EventFd,
}

impl Screen {
    /// The terminal of this descriptor.
    pub fn new(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let resized = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { terminal: terminal.try_clone_to_owned()?, resized })
    }

    /// Its size now.
    pub fn size(&self) -> io::Result<WindowSize> {
        sys::window_size(self.terminal.as_fd())
    }

    /// Says that its size is another one.
    pub fn resized(&self) {
        // The only failure is a counter at its maximum, and then the flag is up.
        let _ = self.resized.write(1);
    }

    /// The descriptor of the flag, to `write` eight bytes to from a handler of SIGWINCH.
    pub fn raw_fd(&self) -> i32 {
        self.resized.as_raw_fd()
    }

    /// Readable once the size is another one.
    pub(crate) fn flag(&self) -> BorrowedFd<'_> {
        self.resized.as_fd()
    }

    /// The new size, if it is another one since this was last asked.
    pub(crate) fn take_size(&self) -> Option<WindowSize> {
        self.resized.read().ok()?;
        self.size().ok()
    }
}
