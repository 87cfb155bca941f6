//! `hoist build --explain`: what became of each layer and why, and where the time went. Made of the events of the build.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use hoist_events::{Destination, Event, LayerAction, Phase, Reporter};
use serde::Serialize;

use crate::failure::harmless;
use crate::terminal::bytes;

/// Hears what a build says of its layers and times, and hands everything on.
pub(crate) struct Listener {
    next: Arc<dyn Reporter>,
    heard: Mutex<Explanation>,
}

impl Listener {
    pub(crate) fn new(next: Arc<dyn Reporter>) -> Self {
        Self { next, heard: Mutex::default() }
    }

    /// What was heard so far.
    pub(crate) fn explanation(&self) -> Explanation {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reporter for Listener {
    fn report(&self, event: &Event) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).hear(event);
        self.next.report(event);
    }
}

/// Where the time and the bytes of a build went. Serialised as it is for `--json`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Explanation {
    phases: Vec<PhaseTime>,
    layers: Vec<LayerStory>,
}

#[derive(Debug, Clone, Serialize)]
struct PhaseTime {
    phase: Phase,
    /// None where the build failed in it.
    elapsed_ms: Option<u64>,
    /// Detect programs run at the same time: their times add up to more than the phase's.
    buildpacks: Vec<BuildpackTime>,
}

#[derive(Debug, Clone, Serialize)]
struct BuildpackTime {
    buildpack: String,
    elapsed_ms: u64,
}

/// A layer, from the cache to the image.
#[derive(Debug, Clone, Serialize)]
struct LayerStory {
    /// None for layers of hoist's own.
    buildpack: Option<String>,
    layer: String,
    /// What became of it at last.
    action: LayerAction,
    /// Whether its buildpack found its content: from this image's cache, or from the build of another image.
    found: Option<LayerAction>,
    reason: String,
    /// Of a layer that was made in parts, the parts that were made.
    size_bytes: Option<u64>,
    #[serde(flatten)]
    destination: Destination,
    elapsed_ms: Option<u64>,
}

impl Explanation {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted { phase } => {
                self.phases.push(PhaseTime { phase: *phase, elapsed_ms: None, buildpacks: Vec::new() });
            }
            Event::PhaseFinished { phase, elapsed_ms } => {
                if let Some(known) = self.phases.iter_mut().rfind(|known| known.phase == *phase) {
                    known.elapsed_ms = Some(*elapsed_ms);
                }
            }
            Event::BuildpackFinished { buildpack, phase, elapsed_ms } => {
                if let Some(known) = self.phases.iter_mut().rfind(|known| known.phase == *phase) {
                    known.buildpacks.push(BuildpackTime { buildpack: buildpack.clone(), elapsed_ms: *elapsed_ms });
                }
            }
            Event::Layer { buildpack, layer, action, reason, size_bytes, destination, elapsed_ms } => {
                self.hear_layer(LayerStory {
                    buildpack: buildpack.clone(),
                    layer: layer.clone(),
                    action: *action,
                    found: matches!(action, LayerAction::Restored | LayerAction::Shared).then_some(*action),
                    reason: reason.clone(),
                    size_bytes: *size_bytes,
                    destination: *destination,
                    elapsed_ms: *elapsed_ms,
                });
            }
            _ => {}
        }
    }

    /// What is said of a layer later goes on with its story.
    fn hear_layer(&mut self, new: LayerStory) {
        let same = |known: &&mut LayerStory| known.buildpack == new.buildpack && known.layer == new.layer;
        let Some(known) = self.layers.iter_mut().find(same) else {
            self.layers.push(new);
            return;
        };
        let reason = match (known.action, new.action) {
            // What was found and then reused is explained by what was said last; what was dropped says why it was made.
            (LayerAction::Dropped, LayerAction::Made) => format!("{}; {}", known.reason, new.reason),
            // Gone from the image, and the cache had it: the first reason is the better one.
            (LayerAction::Dropped, LayerAction::Dropped) => known.reason.clone(),
            _ => new.reason.clone(),
        };
        *known = LayerStory { found: known.found, reason, ..new };
    }

    /// A table for a person.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("time\n");
        for phase in &self.phases {
            let time = phase.elapsed_ms.map_or_else(|| "failed".to_owned(), milliseconds);
            let mut line = format!("  {:<9}{time:>9}", name(phase.phase));
            let shown =
                phase.buildpacks.iter().map(|one| format!("{} {}", one.buildpack, milliseconds(one.elapsed_ms)));
            let shown = shown.collect::<Vec<_>>().join(", ");
            if !shown.is_empty() {
                let _ = write!(line, "  {shown}");
            }
            let _ = writeln!(text, "{line}");
        }
        if self.layers.is_empty() {
            return text;
        }
        text.push_str("layers\n");
        let names: Vec<String> = self.layers.iter().map(LayerStory::name).collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for (layer, name) in self.layers.iter().zip(&names) {
            let size = layer.size_bytes.map(bytes).unwrap_or_default();
            let time = layer.elapsed_ms.map(milliseconds).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {name:<width$}  {:<8}  {size:>9} {time:>8}  {:<12}  {}",
                layer.verb(),
                layer.places(),
                harmless(&layer.reason)
            );
        }
        let _ = writeln!(text, "sum\n  {}", self.sum());
        text
    }

    fn sum(&self) -> String {
        let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for layer in &self.layers {
            let sum = sums.entry(layer.verb()).or_default();
            sum.0 += 1;
            sum.1 += layer.size_bytes.unwrap_or_default();
        }
        let parts = sums.iter().map(|(verb, (count, size))| format!("{count} {verb} ({})", bytes(*size)));
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl LayerStory {
    fn name(&self) -> String {
        match &self.buildpack {
            Some(buildpack) => harmless(&format!("{buildpack}:{}", self.layer)),
            None => self.layer.clone(),
        }
    }

    fn verb(&self) -> &'static str {
        match (self.action, self.found) {
            (LayerAction::Made, Some(_)) => "changed",
            (LayerAction::Made, None) => "made",
            (LayerAction::Reused, Some(LayerAction::Shared)) | (LayerAction::Shared, _) => "shared",
            (LayerAction::Reused, _) => "reused",
            (LayerAction::Restored, _) => "restored",
            (LayerAction::Dropped, _) => "dropped",
        }
    }

    fn places(&self) -> &'static str {
        match (self.destination.image, self.destination.cache) {
            (true, true) => "image, cache",
            (true, false) => "image",
            (false, true) => "cache",
            (false, false) => "",
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Stage => "stage",
        Phase::Base => "base",
        Phase::Analyze => "analyze",
        Phase::Detect => "detect",
        Phase::Restore => "restore",
        Phase::Build => "build",
        Phase::Export => "export",
        Phase::Verify => "verify",
        Phase::Run => "run",
        Phase::Collect => "collect",
        Phase::Clean => "clean",
    }
}

/// `12 ms`, `1.5 s`.
fn milliseconds(count: u64) -> String {
    match count {
        0 => "<1 ms".to_owned(),
        1..1000 => format!("{count} ms"),
        #[allow(clippy::cast_precision_loss)] // shown with one digit
        _ => format!("{:.1} s", count as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use hoist_events::NullReporter;

    use super::*;

    #[test]
    fn a_layers_story_goes_from_the_cache_to_the_image() {
        let listener = Listener::new(Arc::new(NullReporter));
        let layer = |name: &str, action, reason: &str, image: bool| Event::Layer {
            buildpack: Some("a/b".to_owned()),
            layer: name.to_owned(),
            action,
            reason: reason.to_owned(),
            size_bytes: Some(1500),
            destination: Destination { image, cache: image },
            elapsed_ms: (action == LayerAction::Made).then_some(20),
        };
        listener.report(&Event::PhaseStarted { phase: Phase::Build });
        let (buildpack, phase) = ("a/b@1".to_owned(), Phase::Build);
        listener.report(&Event::BuildpackFinished { buildpack, phase, elapsed_ms: 1200 });
        listener.report(&Event::PhaseFinished { phase: Phase::Build, elapsed_ms: 1300 });
        listener.report(&layer("one", LayerAction::Restored, "it is cached", false));
        listener.report(&layer("two", LayerAction::Dropped, "it is not in the cache", false));
        listener.report(&layer("three", LayerAction::Shared, "another build made it", false));
        listener.report(&layer("one", LayerAction::Made, "the build touched 1 of its files", true));
        listener.report(&layer("two", LayerAction::Made, "its content was not there", true));
        listener.report(&layer("three", LayerAction::Reused, "the build did not touch it", true));
        listener.report(&layer("four", LayerAction::Dropped, "no buildpack made it", false));
        let text = listener.explanation().text();
        assert_eq!(
            text,
            "time
  build        1.3 s  a/b@1 1.2 s
layers
  a/b:one    changed      1.5 kB    20 ms  image, cache  the build touched 1 of its files
  a/b:two    made         1.5 kB    20 ms  image, cache  it is not in the cache; its content was not there
  a/b:three  shared       1.5 kB           image, cache  the build did not touch it
  a/b:four   dropped      1.5 kB                         no buildpack made it
sum
  1 changed (1.5 kB), 1 dropped (1.5 kB), 1 made (1.5 kB), 1 shared (1.5 kB)
"
        );
        listener.report(&Event::PhaseStarted { phase: Phase::Export });
        assert!(
            listener.explanation().text().contains("\n  export      failed\n"),
            "{}",
            listener.explanation().text()
        );
        let json = serde_json::to_value(listener.explanation()).unwrap();
        assert_eq!((&json["layers"][0]["found"], &json["layers"][0]["image"]), (&"restored".into(), &true.into()));
        assert_eq!(json["phases"][0]["buildpacks"][0]["elapsed_ms"], 1200);
    }
}
