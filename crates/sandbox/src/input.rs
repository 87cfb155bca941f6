//! What a process reads: how the caller's standard input, or bytes, reach it.
//!
//! A descriptor of a file of the host is no mere stream of bytes: through `/proc/self/fd/0` it can be opened again, for writing where the user may;
//! from a directory every path can be opened; a terminal can be written to and set. So only pipes and sockets are passed on as they are. The
//! rest is carried by the caller into a pipe, or into the terminal of the process, as much at a time as fits; what of a file was carried and
//! not read is given back at the end, so that the next program of a shell script goes on where this one stopped.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::PollFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::spec::{Process, Stdin};
use crate::sys;

/// Carried at once.
const PIECE_BYTES: usize = 64 << 10;
/// Ends the input of a terminal that is in its usual mode (`VEOF`, Ctrl-D).
const END_OF_TRANSMISSION: u8 = 4;

/// Where a process's input comes from.
#[derive(Debug)]
pub(crate) struct Source {
    /// What the process gets as descriptor 0; `None` for nothing, or where it has a terminal.
    pub(crate) theirs: Option<OwnedFd>,
    /// What the caller has to carry.
    pub(crate) input: Option<Input>,
}

/// Input that the caller carries.
#[derive(Debug)]
pub(crate) struct Input {
    from: File,
    /// A terminal: read only while it is ours, since reading in the background stops a process (SIGTTIN).
    is_terminal: bool,
    /// Not known before the process's terminal is; nothing after the end.
    to: Option<File>,
    to_terminal: bool,
    pending: Vec<u8>,
    /// For a regular file: the other end of the pipe, which knows what was not read.
    unread: Option<OwnedFd>,
}

impl Source {
    /// For this process.
    pub(crate) fn open(process: &Process) -> io::Result<Self> {
        let to_terminal = process.terminal.is_some();
        let from = match &process.stdin {
            Stdin::Null => return Ok(Self { theirs: None, input: None }),
            Stdin::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
            Stdin::Bytes(bytes) => {
                let file = in_memory(bytes)?;
                if !to_terminal {
                    return Ok(Self { theirs: Some(file.into()), input: None });
                }
                file.into()
            }
        };
        let about = nix::sys::stat::fstat(&from)?;
        let kind = about.st_mode & libc::S_IFMT;
        if kind == libc::S_IFCHR && about.st_rdev == nix::sys::stat::makedev(1, 3) {
            return Ok(Self { theirs: None, input: None });
        }
        if !to_terminal && matches!(kind, libc::S_IFIFO | libc::S_IFSOCK) {
            return Ok(Self { theirs: Some(from), input: None });
        }
        let is_terminal = nix::unistd::isatty(&from).unwrap_or(false);
        let from = File::from(from);
        let mut input = Input { from, is_terminal, to: None, to_terminal, pending: Vec::new(), unread: None };
        if to_terminal {
            return Ok(Self { theirs: None, input: Some(input) });
        }
        let (theirs, ours) = io::pipe()?;
        let ours = File::from(OwnedFd::from(ours));
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        input.to = Some(ours);
        if kind == libc::S_IFREG {
            input.unread = Some(theirs.as_fd().try_clone_to_owned()?);
        }
        Ok(Self { theirs: Some(theirs.into()), input: Some(input) })
    }
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

impl Input {
    /// Carries into a terminal, by its controlling side, which must not block.
    pub(crate) fn lead_to(&mut self, controller: File) {
        self.to = Some(controller);
    }

    /// What to wait for: input, or room for what was read already; `None` where neither is of use now.
    pub(crate) fn awaited(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let to = self.to.as_ref()?;
        if !self.pending.is_empty() {
            return Some((to.as_fd(), PollFlags::POLLOUT));
        }
        (!self.is_in_background()).then(|| (self.from.as_fd(), PollFlags::POLLIN))
    }

    /// Whether there is more to carry, but the terminal is somebody else's for now.
    pub(crate) fn is_in_background(&self) -> bool {
        self.is_terminal
            && self.to.is_some()
            && nix::unistd::tcgetpgrp(&self.from).is_ok_and(|group| group != nix::unistd::getpgrp())
    }

    /// Carries a piece. To be called when what is [`Self::awaited`] is ready.
    pub(crate) fn carry(&mut self) {
        let Some(to) = &mut self.to else { return };
        if self.pending.is_empty() {
            self.pending.resize(PIECE_BYTES, 0);
            let read = self.from.read(&mut self.pending);
            self.pending.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
                // The end; or a directory, or a terminal that is gone: nothing more comes.
                Ok(0) | Err(_) => {
                    if self.to_terminal {
                        let _ = to.write(&[END_OF_TRANSMISSION]);
                    }
                    self.to = None;
                    return;
                }
            }
        }
        match to.write(&self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // Nobody reads any more.
            Err(_) => self.to = None,
        }
    }

    /// Puts a file back to where the process stopped reading.
    pub(crate) fn give_back(mut self) {
        let Some(pipe) = &self.unread else { return };
        let unread = sys::unread_bytes(pipe.as_fd()).unwrap_or(0) + i64::try_from(self.pending.len()).unwrap_or(0);
        if unread > 0 {
            // What cannot be moved back stays read, as with any program that reads ahead.
            let _ = self.from.seek(SeekFrom::Current(-unread));
        }
    }
}
