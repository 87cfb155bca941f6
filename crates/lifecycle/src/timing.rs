//! Tells the reporter when a phase begins and ends.

use std::time::Instant;

use hoist_events::{Event, Phase, Reporter};

use crate::layer_events::elapsed_ms;

pub(crate) fn timed<T, E>(reporter: &dyn Reporter, phase: Phase, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    reporter.report(&Event::PhaseStarted { phase });
    let started = Instant::now();
    let done = work()?;
    reporter.report(&Event::PhaseFinished { phase, elapsed_ms: elapsed_ms(started) });
    Ok(done)
}
