//! Tells the reporter when a phase begins and ends.

use std::time::Instant;

use hoist_events::{Event, Phase, Reporter};

pub(crate) fn timed<T, E>(reporter: &dyn Reporter, phase: Phase, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    reporter.report(&Event::PhaseStarted { phase });
    let started = Instant::now();
    let done = work()?;
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    reporter.report(&Event::PhaseFinished { phase, elapsed_ms });
    Ok(done)
}
