//! Ctrl-C and termination: the first signal cancels the work, which then cleans up; a second one ends the process at once.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use hoist_sandbox::Cancel;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::failure::{Code, Failure};

static CANCEL_FD: AtomicI32 = AtomicI32::new(-1);
static SIGNALLED: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicBool = AtomicBool::new(false);

/// Raises `cancel` on SIGINT, SIGTERM and SIGHUP. To be called once, before any thread is started. With `told` the person at the terminal hears
/// that the signal was heard, because cleaning up takes a moment.
pub(crate) fn cancel_on_signals(cancel: &Cancel, told: bool) -> Result<(), Failure> {
    TOLD.store(told, Ordering::SeqCst);
    CANCEL_FD.store(cancel.raw_fd(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler calls nothing but write(2), tcsetattr(3) and _exit(2), which are async-signal-safe (signal-safety(7)).
        unsafe { sigaction(signal, &action) }.map_err(|error| Failure::new(&error, None, Code::Hoist))?;
    }
    Ok(())
}

extern "C" fn on_signal(_signal: i32) {
    if SIGNALLED.swap(true, Ordering::SeqCst) {
        crate::attach::restore();
        // SAFETY: _exit(2) is async-signal-safe; what is left behind is found by the next prune.
        unsafe { nix::libc::_exit(130) };
    }
    let one = 1_u64.to_ne_bytes();
    // SAFETY: write(2) of eight bytes to an eventfd that lives as long as the process; a failure can only mean it is up already.
    unsafe { nix::libc::write(CANCEL_FD.load(Ordering::SeqCst), one.as_ptr().cast(), one.len()) };
    if TOLD.load(Ordering::SeqCst) {
        let text = b"\nstopping; Ctrl-C once more ends at once\n";
        // SAFETY: write(2) of a static text; if nobody reads it, nothing is lost.
        unsafe { nix::libc::write(2, text.as_ptr().cast(), text.len()) };
    }
}
