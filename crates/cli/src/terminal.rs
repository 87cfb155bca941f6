//! Draws events for a person: progress bars on a terminal, plain lines elsewhere. All of it goes to stderr; stdout is for data.
//!
//! Knows how things look and nothing of what they mean.

use std::collections::{HashMap, VecDeque};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hoist_events::{DetectOutcome, Event, LayerAction, Phase, Reporter, Stream, TransferId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::harmless;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings, errors and the app's own output.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// Every layer and every decision.
    Verbose,
}

/// The reporter of the command line.
pub(crate) struct Terminal {
    verbosity: Verbosity,
    color: bool,
    /// Whether each line begins with the time.
    timestamps: bool,
    bars: MultiProgress,
    transfers: Mutex<HashMap<TransferId, (ProgressBar, String)>>,
    /// What the last buildpack said while nothing was to be shown, for [`Terminal::tell_failure`].
    held: Mutex<Held>,
    interactive: bool,
}

/// The last lines of one buildpack.
#[derive(Debug, Default)]
struct Held {
    source: String,
    lines: VecDeque<String>,
}

/// More than the longest page of a failure.
const HELD_LINES: usize = 200;

impl Held {
    fn keep(&mut self, source: &str, line: &str) {
        if self.source != source {
            source.clone_into(&mut self.source);
            self.lines.clear();
        }
        if self.lines.len() == HELD_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// From the last line that begins with `Error`; everything where there is none.
    fn page(&mut self) -> Vec<String> {
        let lines = Vec::from(std::mem::take(&mut self.lines));
        let start = lines.iter().rposition(|line| line.trim_start().starts_with("Error")).unwrap_or(0);
        lines[start..].to_vec()
    }
}

impl Terminal {
    /// Writes to stderr; bars only where a person looks.
    pub(crate) fn new(verbosity: Verbosity, color: bool, timestamps: bool) -> Self {
        let interactive = std::io::stderr().is_terminal();
        let target = if interactive && verbosity > Verbosity::Quiet {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            verbosity,
            color,
            timestamps,
            bars: MultiProgress::with_draw_target(target),
            transfers: Mutex::default(),
            held: Mutex::default(),
            interactive,
        }
    }

    /// Shows what a failed buildpack said, where that was kept quiet.
    pub(crate) fn tell_failure(&self) {
        for line in self.held.lock().unwrap_or_else(PoisonError::into_inner).page() {
            self.line(&format!("  {line}"));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| {
            let mut stderr = std::io::stderr().lock();
            // A reader that went away is no reason to stop the work.
            let _ = if self.timestamps { writeln!(stderr, "{} {text}", now()) } else { writeln!(stderr, "{text}") };
        });
    }

    fn say(&self, at_least: Verbosity, text: &str) {
        if self.verbosity >= at_least {
            self.line(text);
        }
    }

    fn transfer_started(&self, id: TransferId, what: &str, total_bytes: Option<u64>) {
        let bar = match total_bytes {
            Some(total) => ProgressBar::new(total)
                .with_style(style("  {msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")),
            None => ProgressBar::new_spinner().with_style(style("  {spinner} {msg} {bytes}")),
        };
        let bar = self.bars.add(bar);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.lock_transfers().insert(id, (bar, what.to_owned()));
    }

    fn transfer_finished(&self, id: TransferId, done_bytes: u64) {
        let Some((bar, what)) = self.lock_transfers().remove(&id) else { return };
        let elapsed = bar.elapsed();
        bar.finish_and_clear();
        self.bars.remove(&bar);
        if !self.interactive || self.verbosity == Verbosity::Verbose {
            let text = format!("  {what}: {} in {:.1} s", bytes(done_bytes), elapsed.as_secs_f64());
            self.say(Verbosity::Normal, &text);
        }
    }

    fn lock_transfers(&self) -> std::sync::MutexGuard<'_, HashMap<TransferId, (ProgressBar, String)>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layer(&self, buildpack: Option<&str>, layer: &str, action: LayerAction, reason: &str, size: Option<u64>) {
        let verb = match action {
            LayerAction::Made => "made",
            LayerAction::Reused => "reused",
            LayerAction::Restored => "restored",
            LayerAction::Shared => "taken over",
            LayerAction::Dropped => "dropped",
        };
        let owner = buildpack.map_or_else(String::new, |id| format!("{id}:"));
        let size = size.map_or_else(String::new, |size| format!(", {}", bytes(size)));
        self.say(Verbosity::Verbose, &harmless(&format!("  layer {owner}{layer} {verb}: {reason}{size}")));
    }
}

impl Reporter for Terminal {
    fn report(&self, event: &Event) {
        match event {
            Event::PhaseStarted { phase } => self.say(Verbosity::Verbose, &self.paint("1", phase_title(*phase))),
            Event::PhaseFinished { phase, elapsed_ms } => {
                // Whatever fails after a phase that ended well is no failure of its buildpacks.
                self.held.lock().unwrap_or_else(PoisonError::into_inner).lines.clear();
                self.say(Verbosity::Verbose, &format!("  {} took {elapsed_ms} ms", phase_title(*phase).to_lowercase()));
            }
            Event::Step { text } => {
                self.say(Verbosity::Normal, &format!("{} {}", self.paint("36", "·"), harmless(text)));
            }
            Event::Choice { what, chosen, reason } => {
                let text = harmless(&format!("{what}: {chosen} ({reason})"));
                self.say(Verbosity::Normal, &format!("{} {text}", self.paint("36", "·")));
            }
            Event::Warning { text, hint } => {
                self.line(&format!("{} {}", self.paint("33", "warning:"), harmless(text)));
                if let Some(hint) = hint {
                    self.line(&format!("         {}", harmless(hint)));
                }
            }
            Event::TransferStarted { id, what, total_bytes } => self.transfer_started(*id, what, *total_bytes),
            Event::TransferProgressed { id, done_bytes } => {
                if let Some((bar, _)) = self.lock_transfers().get(id) {
                    bar.set_position(*done_bytes);
                }
            }
            Event::TransferFinished { id, done_bytes } => self.transfer_finished(*id, *done_bytes),
            Event::Detected { buildpack, outcome, .. } => {
                let answer = match outcome {
                    DetectOutcome::Pass => "takes part".to_owned(),
                    DetectOutcome::Fail => "does not apply".to_owned(),
                    DetectOutcome::Error { code } => format!("failed with code {code}"),
                };
                self.say(Verbosity::Verbose, &format!("  {buildpack} {answer}"));
            }
            Event::Output { source, stream, line } => {
                let app = source == "app";
                if !app && self.verbosity == Verbosity::Quiet {
                    self.held.lock().unwrap_or_else(PoisonError::into_inner).keep(source, line);
                    return;
                }
                let least = if app || *stream == Stream::Stderr { Verbosity::Quiet } else { Verbosity::Normal };
                let text = match (app, self.color) {
                    (true, _) => line.clone(),
                    (false, true) => format!("  {line}"),
                    (false, false) => format!("  {}", without_colors(line)),
                };
                self.say(least, &text);
            }
            Event::BuildpackFinished { .. } => {}
            Event::Layer { buildpack, layer, action, reason, size_bytes, .. } => {
                self.layer(buildpack.as_deref(), layer, *action, reason, *size_bytes);
            }
            Event::ImageWritten { reference, image_id, layers, reused } => {
                let id = image_id.trim_start_matches("sha256:").get(..12).unwrap_or(image_id);
                let before = match reused {
                    0 => "all new".to_owned(),
                    _ if reused >= layers => "all there before".to_owned(),
                    1 => "1 of them there before".to_owned(),
                    _ => format!("{reused} of them there before"),
                };
                let name = if reference.is_empty() { "for this job" } else { reference };
                let text = format!("image {name} ({id}): {}, {before}", counted(*layers, "layer"));
                self.say(Verbosity::Normal, &format!("{} {text}", self.paint("32", "·")));
            }
        }
    }
}

/// Writes each event as one line of JSON to stderr, for programs that follow along (`--events json`).
pub(crate) struct JsonLines;

impl Reporter for JsonLines {
    fn report(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}

/// The time of day, as RFC 3339 writes it, with milliseconds.
#[allow(clippy::disallowed_methods)] // a time for people
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let text = hoist_platform::rfc3339(i64::try_from(now.as_secs()).unwrap_or_default());
    format!("{}.{:03}Z", text.trim_end_matches('Z'), now.subsec_millis())
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// A line without the escape sequences that set colours (and move the cursor): `ESC [`, parameters, one final letter. Buildpacks write
/// them whether or not a terminal is there.
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("\x1b[") {
        plain.push_str(&rest[..start]);
        let sequence = &rest[start + 2..];
        let end = sequence.find(|letter: char| ('@'..='~').contains(&letter)).map_or(sequence.len(), |at| at + 1);
        rest = &sequence[end..];
    }
    plain.push_str(rest);
    plain
}

fn phase_title(phase: Phase) -> &'static str {
    match phase {
        Phase::Stage => "STAGING",
        Phase::Base => "BASE",
        Phase::Analyze => "ANALYZING",
        Phase::Detect => "DETECTING",
        Phase::Restore => "RESTORING",
        Phase::Build => "BUILDING",
        Phase::Export => "EXPORTING",
        Phase::Verify => "VERIFYING",
        Phase::Run => "RUNNING",
        Phase::Collect => "COLLECTING",
        Phase::Clean => "CLEANING UP",
    }
}

/// A number of things for a person: `1 layer`, `2 layers`.
pub(crate) fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A number of bytes for a person: `0 B`, `1.5 kB`, `12.0 MB` (powers of 1000).
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    #[allow(clippy::cast_precision_loss)] // shown with one digit
    let mut value = count as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_quiet_build_the_page_of_the_failure_is_kept() {
        let mut held = Held::default();
        held.keep("a", "Error while doing something");
        for line in ["B", "  working", "Error while choosing", "  seen  x"] {
            held.keep("b", line);
        }
        assert_eq!(held.page(), ["Error while choosing", "  seen  x"]);
        assert_eq!(held.page(), [""; 0]);
    }

    #[test]
    fn colours_of_a_buildpack_go_where_no_terminal_is() {
        assert_eq!(without_colors("\x1b[34m\x1b[1mPaketo\x1b[0m\x1b[34;2;3m é \x1b[0m5"), "Paketo é 5");
        assert_eq!(without_colors("a\x1b[2K"), "a");
        assert_eq!(without_colors("cut short\x1b[3"), "cut short");
        assert_eq!(without_colors("\x1b alone"), "\x1b alone");
    }

    #[test]
    fn one_thing_is_one_thing() {
        assert_eq!((counted(1, "layer"), counted(0, "layer")), ("1 layer".to_owned(), "0 layers".to_owned()));
    }

    #[test]
    fn sizes_read_as_a_person_would_write_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1500), "1.5 kB");
        assert_eq!(bytes(12_000_000), "12.0 MB");
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }
}
