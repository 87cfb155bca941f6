//! Everything that happens in hoist, as one closed enum, and the [`Reporter`] that hears it.
//!
//! Libraries never print. They report an [`Event`]; the terminal draws it, a server streams it as a JSON line, a log carries it. Knows
//! nothing of what any event is about: the fields are plain data.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A step of the way from a source folder to a result, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The app or service is copied from its folder or archive.
    Stage,
    /// The build and run images are made or found.
    Base,
    /// The previous image and the run image are looked at.
    Analyze,
    /// Buildpacks say whether they apply.
    Detect,
    /// Cached layers are brought back.
    Restore,
    /// Buildpacks make their layers.
    Build,
    /// Layers become an image.
    Export,
    /// The finished image is tried once without network.
    Verify,
    /// The image runs.
    Run,
    /// The result of a job is read.
    Collect,
    /// What was temporary goes away.
    Clean,
}

/// Which of a process's two streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a buildpack answered to detect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum DetectOutcome {
    /// Exit code 0: it takes part.
    Pass,
    /// Exit code 100: it does not apply.
    Fail,
    /// Any other exit code, or no answer in time.
    Error {
        /// The exit code, or -1 where the process was killed.
        code: i32,
    },
}

/// What became of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerAction {
    /// Its content was written in this build.
    Made,
    /// It is in the image again, unread.
    Reused,
    /// It was brought back from the cache for the buildpack to use.
    Restored,
    /// It was brought back from the cache of another image's build.
    Shared,
    /// It is no longer part of the image.
    Dropped,
}

/// Where a layer goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Into the image.
    pub image: bool,
    /// To the next build.
    pub cache: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// A phase ended well.
    PhaseFinished {
        /// Which.
        phase: Phase,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// Something is being done that a person may want to know of.
    Step {
        /// What, in the present tense, without a full stop.
        text: String,
    },
    /// Hoist chose between several possibilities.
    Choice {
        /// What had to be chosen: `python version`, `dependency file`.
        what: String,
        /// What was taken.
        chosen: String,
        /// Why, and how to choose otherwise.
        reason: String,
    },
    /// Something that works but is probably not meant.
    Warning {
        /// What was seen and why it matters.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A transfer or another long piece of work with a known unit begins.
    TransferStarted {
        /// Names this transfer in the following events.
        id: TransferId,
        /// What is moved: `Debian packages`, `layer sha256:12ab…`.
        what: String,
        /// How much there is in bytes, where that is known.
        total_bytes: Option<u64>,
    },
    /// More of a transfer is done.
    TransferProgressed {
        /// Which transfer.
        id: TransferId,
        /// Bytes done so far, from the beginning.
        done_bytes: u64,
    },
    /// A transfer ended, well or not.
    TransferFinished {
        /// Which transfer.
        id: TransferId,
        /// Bytes done in all.
        done_bytes: u64,
    },
    /// A buildpack answered to detect.
    Detected {
        /// `id@version`.
        buildpack: String,
        /// Whether its group may go on without it.
        optional: bool,
        /// Its answer.
        #[serde(flatten)]
        outcome: DetectOutcome,
    },
    /// A line that a buildpack or an app wrote, without its line end.
    Output {
        /// Who wrote it: a buildpack's `id`, or `app`.
        source: String,
        /// Where to.
        stream: Stream,
        /// The line; bytes that are not UTF-8 are replaced.
        line: String,
    },
    /// What became of a layer, and why.
    Layer {
        /// The buildpack's id; none for layers of hoist's own (app, launcher, config).
        buildpack: Option<String>,
        /// The layer's name.
        layer: String,
        /// What was done.
        action: LayerAction,
        /// Why.
        reason: String,
        /// Size of its uncompressed archive in bytes, where known without reading it.
        size_bytes: Option<u64>,
        /// Where it goes.
        #[serde(flatten)]
        destination: Destination,
        /// How long making it took, in milliseconds, where it was made.
        elapsed_ms: Option<u64>,
    },
    /// A buildpack's program ended well.
    BuildpackFinished {
        /// `id@version`.
        buildpack: String,
        /// Detect or build.
        phase: Phase,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// An image stands in the store.
    ImageWritten {
        /// Its name; empty where it has none, being there for one job alone.
        reference: String,
        /// Digest of its configuration, `sha256:…`.
        image_id: String,
        /// Number of layers in all.
        layers: usize,
        /// How many of them were there before.
        reused: usize,
    },
}

/// Names a transfer among the events of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TransferId(u64);

impl TransferId {
    /// A number that no other transfer of this process has.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Hears events. Called from any thread; must not block for long.
pub trait Reporter: Send + Sync {
    /// Hears one event.
    fn report(&self, event: &Event);

    /// Says what is being done.
    fn step(&self, text: &str) {
        self.report(&Event::Step { text: text.to_owned() });
    }

    /// Says that something works but is probably not meant, and what to do about it.
    fn warn(&self, text: &str, hint: Option<&str>) {
        self.report(&Event::Warning { text: text.to_owned(), hint: hint.map(str::to_owned) });
    }
}

/// Hears everything and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullReporter;

impl Reporter for NullReporter {
    fn report(&self, _event: &Event) {}
}

/// Keeps all events, for tests and for answers in JSON.
#[derive(Debug, Default)]
pub struct RecordingReporter(std::sync::Mutex<Vec<Event>>);

impl RecordingReporter {
    /// All events so far, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Reporter for RecordingReporter {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object_named_by_its_kind() {
        let event = Event::Detected {
            buildpack: "hoist/pip@0.1.0".into(),
            optional: true,
            outcome: DetectOutcome::Error { code: 3 },
        };
        let recorder = RecordingReporter::default();
        recorder.report(&event);
        assert_eq!(recorder.events(), vec![event]);
        let phase = Event::PhaseStarted { phase: Phase::Detect };
        assert_ne!(recorder.events(), vec![phase]);
        assert_ne!(TransferId::next(), TransferId::next());
    }
}
