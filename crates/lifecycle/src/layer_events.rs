//! What the phases say of layers, for `--verbose` and `--explain`.

use std::time::Instant;

use hoist_events::{Destination, Event, LayerAction};

use crate::setup::Site;

/// Says what became of a layer of the build before.
pub(crate) fn report(
    site: &Site<'_>,
    buildpack: &str,
    layer: &str,
    action: LayerAction,
    reason: String,
    size_bytes: Option<u64>,
) {
    Told { buildpack, layer, action, reason, size_bytes, destination: Destination::default(), started: None }
        .report(site);
}

/// What is said of a layer.
pub(crate) struct Told<'a> {
    /// The buildpack's id; empty for layers of hoist's own.
    pub(crate) buildpack: &'a str,
    pub(crate) layer: &'a str,
    pub(crate) action: LayerAction,
    pub(crate) reason: String,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) destination: Destination,
    /// When its making began.
    pub(crate) started: Option<Instant>,
}

impl Told<'_> {
    pub(crate) fn report(self, site: &Site<'_>) {
        site.reporter.report(&Event::Layer {
            buildpack: (!self.buildpack.is_empty()).then(|| self.buildpack.to_owned()),
            layer: self.layer.to_owned(),
            action: self.action,
            reason: self.reason,
            size_bytes: self.size_bytes,
            destination: self.destination,
            elapsed_ms: self.started.map(elapsed_ms),
        });
    }
}

/// Milliseconds since then.
pub(crate) fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
