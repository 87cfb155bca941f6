//! `WEB_CONCURRENCY`, which servers take for their number of workers: by what the container may use, as Heroku counts.
//!
//! Two for each processor and one more, but no more than have 256 MiB each. Where the container is not limited in processors, those of a machine that
//! it probably shares count up to four.

use std::ffi::OsString;
use std::path::Path;

use hoist_spec::Environment;

use crate::limits::{self, Limits};

const NAME: &str = "WEB_CONCURRENCY";
/// What one worker is reckoned with.
const WORKER_BYTES: u64 = 256 << 20;
/// Of a machine that nobody divided.
const MAX_UNLIMITED_PROCESSORS: u64 = 4;

/// The variable, unless it is set.
pub(crate) fn variables(environment: &Environment) -> Vec<(&'static str, OsString)> {
    if environment.get(NAME).is_some_and(|value| !value.is_empty()) {
        return Vec::new();
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = workers(limits::read(Path::new("/")), processors as u64);
    vec![(NAME, workers.to_string().into())]
}

fn workers(limits: Limits, processors: u64) -> u64 {
    let processors = match limits.milli_processors {
        Some(limit) => limit.div_ceil(1000).min(processors),
        None => processors.min(MAX_UNLIMITED_PROCESSORS),
    };
    let by_memory = limits.memory_bytes.map_or(u64::MAX, |bytes| bytes / WORKER_BYTES);
    (2 * processors + 1).min(by_memory).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_processors_and_memory_and_there_is_one_at_least() {
        let limits = |milli_processors, memory_mib: Option<u64>| Limits {
            milli_processors,
            memory_bytes: memory_mib.map(|mib| mib << 20),
        };
        for (limits, processors, wanted) in [
            (limits(Some(500), Some(512)), 16, 2),
            (limits(Some(1000), Some(2048)), 16, 3),
            (limits(Some(1500), None), 16, 5),
            (limits(Some(8000), Some(1024)), 16, 4),
            (limits(Some(8000), None), 2, 5),
            (limits(None, Some(100)), 16, 1),
            (limits(None, None), 64, 9),
            (limits(None, Some(65536)), 1, 3),
        ] {
            assert_eq!(workers(limits, processors), wanted, "{limits:?} on {processors}");
        }
    }

    #[test]
    fn a_number_that_the_container_is_given_stays() {
        let given = |value: &str| Environment::from_variables([(NAME.into(), value.into())]);
        assert_eq!(variables(&given("7")), Vec::new());
        assert_eq!(variables(&given("")).len(), 1);
    }
}
