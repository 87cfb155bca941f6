//! How work with a registry goes on: several transfers at once, pauses that grow, progress that is told.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hoist_events::{Event, Reporter, TransferId};

use crate::registry::settings::RegistryTimes;

/// How many blobs are on their way at once.
pub(super) const TRANSFERS: usize = 4;
/// Every piece would be an event of its own; a megabyte is enough.
const TOLD_BYTES: i64 = 1 << 20;

/// Does `work` for every item, several at once. The first error ends it: `halt` tells the others.
pub(super) fn for_each<T: Sync, E: Send>(
    items: &[T],
    halt: &AtomicBool,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..TRANSFERS.min(items.len()) {
            scope.spawn(|| {
                while !halt.load(Ordering::Relaxed) {
                    let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if let Err(error) = work(item) {
                        // The first is the reason; the others are told to end after it is kept.
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        halt.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The wait before the next attempt (`attempt` counts from 1): it doubles, and differs from everybody else's.
pub(super) fn pause(times: &RegistryTimes, attempt: u32) -> Duration {
    let longest = times.longest_pause.min(Duration::from_secs(20));
    let whole = times.pause.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest);
    let dice = RandomState::new().hash_one(attempt) % 1000;
    whole / 2 + whole.mul_f64(f64::from(u32::try_from(dice).unwrap_or(0)) / 2000.0)
}

/// `Retry-After` in seconds; a date is a guess that the growing pauses make as well.
pub(super) fn parse_retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Bytes on their way, told as one transfer.
pub(super) struct Meter<'a> {
    reporter: &'a dyn Reporter,
    id: TransferId,
    done: AtomicI64,
    told: AtomicI64,
}

impl<'a> Meter<'a> {
    pub(super) fn start(reporter: &'a dyn Reporter, what: String, total_bytes: Option<u64>) -> Self {
        let id = TransferId::next();
        reporter.report(&Event::TransferStarted { id, what, total_bytes });
        Self { reporter, id, done: AtomicI64::new(0), told: AtomicI64::new(0) }
    }

    /// So much more; less than nothing where something has to be sent again.
    pub(super) fn add(&self, bytes: i64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let told = self.told.load(Ordering::Relaxed);
        if done >= told + TOLD_BYTES
            && self.told.compare_exchange(told, done, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.reporter.report(&Event::TransferProgressed { id: self.id, done_bytes: done.unsigned_abs() });
        }
    }

    /// As much as was done.
    pub(super) fn add_bytes(&self, bytes: u64) {
        self.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let done_bytes = u64::try_from(self.done.load(Ordering::Relaxed)).unwrap_or(0);
        self.reporter.report(&Event::TransferFinished { id: self.id, done_bytes });
    }
}

#[cfg(test)]
mod tests {
    use hoist_events::RecordingReporter;

    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let times = RegistryTimes { pause: Duration::from_millis(100), ..RegistryTimes::default() };
        for (attempt, longest) in [(1, 100), (2, 200), (3, 400), (40, 20_000)] {
            let one = pause(&times, attempt).as_millis();
            assert!(one >= longest / 2 && one <= longest, "{attempt}: {one}");
        }
        assert_eq!(parse_retry_after(" 3 "), Some(Duration::from_secs(3)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..1000).collect();
        let outcome = for_each(&items, &AtomicBool::new(false), |item| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item == 5 { Err("five") } else { Ok(()) }
        });
        assert_eq!(outcome, Err("five"));
        assert!(done.load(Ordering::Relaxed) < 900);
        assert_eq!(for_each(&items, &AtomicBool::new(false), |_| Ok::<(), ()>(())), Ok(()));
    }

    #[test]
    fn progress_is_told_by_the_megabyte() {
        let heard = RecordingReporter::default();
        let meter = Meter::start(&heard, "x".into(), None);
        (0..1000).for_each(|_| meter.add_bytes(4096));
        drop(meter);
        let events = heard.events();
        assert!(matches!(events.last(), Some(Event::TransferFinished { done_bytes: 4_096_000, .. })), "{events:?}");
        assert!((3..=6).contains(&events.len()), "{events:?}");
    }
}
