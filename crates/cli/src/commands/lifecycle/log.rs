//! What a phase says: "Logs (info)" on stdout, "Logs (warnings, errors)" on stderr; a buildpack's streams as they are.

use std::io::Write;

use hoist_events::{DetectOutcome, Event, LayerAction, Phase, Reporter, Stream};

use super::GENERAL;
use crate::failure::Failure;

/// How much a phase says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes events as lines.
pub(super) struct PhaseLog {
    pub(super) level: Level,
    /// Whether several phases speak here.
    pub(super) headings: bool,
}

impl PhaseLog {
    /// Platform.md, "Experimental Features": one is used only if the platform wants it.
    pub(super) fn experimental(&self, feature: &str, mode: Option<&str>) -> Result<(), Failure> {
        match mode {
            Some("silent" | "quiet") => Ok(()),
            Some("warn") => {
                self.warn(&format!("{feature} is an experimental feature of the platform specification"), None);
                Ok(())
            }
            _ => {
                let text = format!("{feature} is an experimental feature of the platform specification");
                Err(Failure::coded(text, "say that it is wanted: CNB_EXPERIMENTAL_MODE=warn, or silent", GENERAL))
            }
        }
    }

    /// What is said of an event on stdout.
    fn info(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::PhaseStarted { phase } if self.headings => format!("===> {}", heading(*phase)?),
            Event::Step { text } => text.clone(),
            Event::Layer { buildpack, layer, action, reason, destination, .. } => {
                let name = buildpack.as_ref().map_or_else(|| layer.clone(), |buildpack| format!("{buildpack}:{layer}"));
                let done = match action {
                    LayerAction::Made if destination.cache && !destination.image => "Caching layer",
                    LayerAction::Made => "Adding layer",
                    LayerAction::Reused => "Reusing layer",
                    LayerAction::Restored | LayerAction::Shared => "Restoring layer",
                    LayerAction::Dropped => "Leaving out layer",
                };
                let reason = if self.level == Level::Debug { format!(" ({reason})") } else { String::new() };
                format!("{done} '{name}'{reason}")
            }
            Event::ImageWritten { reference, image_id, .. } if !reference.is_empty() => {
                let id = image_id.strip_prefix("sha256:").unwrap_or(image_id);
                format!("*** Image ({}): {reference}", id.get(..12).unwrap_or(id))
            }
            Event::Detected { buildpack, outcome, .. } if self.level == Level::Debug => {
                let outcome = match outcome {
                    DetectOutcome::Pass => "pass".to_owned(),
                    DetectOutcome::Fail => "fail".to_owned(),
                    DetectOutcome::Error { code } => format!("err ({code})"),
                };
                format!("{outcome}: {buildpack}")
            }
            _ => return None,
        })
    }
}

fn heading(phase: Phase) -> Option<&'static str> {
    Some(match phase {
        Phase::Analyze => "ANALYZING",
        Phase::Detect => "DETECTING",
        Phase::Restore => "RESTORING",
        Phase::Build => "BUILDING",
        Phase::Export => "EXPORTING",
        _ => return None,
    })
}

impl Reporter for PhaseLog {
    fn report(&self, event: &Event) {
        // A platform that has closed its end of the log wants to hear no more.
        let _ = match event {
            Event::Output { stream: Stream::Stdout, line, .. } => writeln!(std::io::stdout().lock(), "{line}"),
            Event::Output { line, .. } => writeln!(std::io::stderr().lock(), "{line}"),
            Event::Warning { text, hint } if self.level <= Level::Warn => {
                let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                writeln!(std::io::stderr().lock(), "Warning: {text}{hint}")
            }
            _ if self.level <= Level::Info => match self.info(event) {
                Some(line) => writeln!(std::io::stdout().lock(), "{line}"),
                None => Ok(()),
            },
            _ => Ok(()),
        };
    }
}
