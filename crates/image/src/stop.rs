//! Work that somebody may want no more (Ctrl-C): whatever waits asks for that in short turns.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the stop sign is looked at while nothing comes.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// Asks whether somebody wants no more.
#[derive(Clone, Default)]
pub(crate) struct StopSign(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl StopSign {
    pub(crate) fn new(is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_up)))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.as_ref().is_some_and(|is_up| is_up())
    }

    /// Waits so long; false where nobody wants that any more.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let started = Instant::now();
        loop {
            if self.is_up() {
                return false;
            }
            let left = time.saturating_sub(started.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

impl std::fmt::Debug for StopSign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StopSign")
    }
}

/// Does in a thread of its own what cannot be interrupted, such as looking a name up: whoever waits for it can go.
pub(crate) fn beside<T: Send + 'static>(
    stop: &StopSign,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = sender.send(work()); // unless nobody waits any more
    });
    loop {
        match done.recv_timeout(TICK) {
            Ok(done) => return done,
            Err(RecvTimeoutError::Timeout) if !stop.is_up() => {}
            Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}
