//! `creator`: analyze, detect, restore, build and export in one process, with the documents of the phases between them.

use hoist_events::Reporter;

use crate::in_place::analyzer::analyze;
use crate::in_place::exporter::export_image;
use crate::in_place::images::{ImagePhaseInputs, Passage};
use crate::in_place::restorer::restore;
use crate::in_place::{PhaseError, PhaseInputs, run_builder, run_detector};
use crate::place::ImagePlace;

/// The phase `creator`. What the buildpacks are told stands in `calls`, what concerns the images in `inputs`.
///
/// Buildpacks are children of this process. They see neither its environment nor its connections, and where `calls.user` is set they run as
/// that user and cannot look into this process.
pub fn run_creator(
    inputs: &ImagePhaseInputs,
    calls: &PhaseInputs,
    place: &ImagePlace,
    reporter: &dyn Reporter,
) -> Result<(), PhaseError> {
    let passage = Passage::open()?;
    analyze(inputs, place, &passage, reporter)?;
    for member in run_detector(calls, reporter)?.group {
        reporter.step(&format!("{} {}", member.id, member.version));
    }
    restore(inputs, &passage, reporter)?;
    run_builder(calls, reporter)?;
    export_image(inputs, place, &passage, reporter)
}
