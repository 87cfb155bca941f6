//! Joins the user's terminal to the one that a process has inside (`hoist run -it`): raw while the process runs, so that every key reaches it,
//! and as it was before at every end, whether the process ended, the time was up, a signal came or hoist itself failed.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use hoist_sandbox::{Screen, WindowSize};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::failure::{Code, Failure};

/// What terminals have where nobody says otherwise.
const USUAL_SIZE: WindowSize = WindowSize { rows: 24, columns: 80 };

/// The terminal's settings before it was made raw.
static SAVED: OnceLock<libc::termios> = OnceLock::new();
static IS_RAW: AtomicBool = AtomicBool::new(false);
static RESIZED_FD: AtomicI32 = AtomicI32::new(-1);

/// The user's terminal while a process has one inside; dropping it makes it as it was.
pub(crate) struct Attached {
    /// The terminal that shows the output, where one does.
    screen: Option<Screen>,
    /// Whether keys go to the process.
    takes_keys: bool,
}

impl Attached {
    /// For a process that gets a terminal; with `takes_keys` standard input must be one.
    pub(crate) fn open(takes_keys: bool) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::new(error, None, Code::Hoist);
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        let screen = if takes_keys {
            if !stdin.is_terminal() {
                return Err(Failure::usage(
                    "-i and -t together need a terminal, and standard input is none",
                    "leave -t out where the input comes from a pipe or a file",
                ));
            }
            Some(Screen::new(stdin.as_fd()).map_err(|error| failed(&error))?)
        } else if stdout.is_terminal() {
            Some(Screen::new(stdout.as_fd()).map_err(|error| failed(&error))?)
        } else {
            None
        };
        if let Some(screen) = &screen {
            RESIZED_FD.store(screen.raw_fd(), Ordering::SeqCst);
            let action = SigAction::new(SigHandler::Handler(on_resize), SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: the handler calls nothing but write(2), which is async-signal-safe (signal-safety(7)).
            unsafe { sigaction(Signal::SIGWINCH, &action) }.map_err(|error| failed(&error))?;
        }
        Ok(Self { screen, takes_keys })
    }

    /// The size of the terminal that shows the output.
    pub(crate) fn size(&self) -> WindowSize {
        let size = self.screen.as_ref().and_then(|screen| screen.size().ok());
        size.filter(|size| size.rows > 0 && size.columns > 0).unwrap_or(USUAL_SIZE)
    }

    /// The terminal that shows the output.
    pub(crate) fn screen(&self) -> Option<&Screen> {
        self.screen.as_ref()
    }

    /// Hands every key to the process from here on. Not before it runs: until then Ctrl-C is hoist's.
    pub(crate) fn take_keys(&self) {
        let stdin = std::io::stdin();
        let Some(mut settings) = self.takes_keys.then(|| tcgetattr(&stdin).ok()).flatten() else { return };
        SAVED.get_or_init(|| settings.clone().into());
        cfmakeraw(&mut settings);
        IS_RAW.store(true, Ordering::SeqCst);
        // A terminal that refuses stays as it is, and is typed into by lines.
        let _ = tcsetattr(&stdin, SetArg::TCSADRAIN, &settings);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: restoring the default installs no handler; the descriptor of the old one is about to be closed.
        let _ = unsafe { nix::sys::signal::signal(Signal::SIGWINCH, SigHandler::SigDfl) };
        RESIZED_FD.store(-1, Ordering::SeqCst);
        restore();
    }
}

/// Makes the terminal as it was, if it is raw. May be called from a signal handler.
pub(crate) fn restore() {
    if IS_RAW.swap(false, Ordering::SeqCst)
        && let Some(saved) = SAVED.get()
    {
        // SAFETY: tcsetattr(3) is async-signal-safe; the settings live as long as the process.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, saved) };
    }
}

extern "C" fn on_resize(_signal: i32) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: write(2) of eight bytes to an eventfd, or to no descriptor at all, which changes nothing.
    unsafe { libc::write(RESIZED_FD.load(Ordering::SeqCst), one.as_ptr().cast(), one.len()) };
}
