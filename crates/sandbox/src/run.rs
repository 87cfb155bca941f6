//! The calling side of a run.

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::{Exit, OutputSink};
use crate::spec::Spec;

/// Continues as the sandbox's child if this process was started as one, and returns otherwise. First line of every `main`.
pub fn main_if_child() {}

/// Runs a process to its end. Blocks; output, timeout and cancellation are handled on the calling thread.
pub fn run(spec: &Spec, _output: &mut dyn OutputSink, _cancel: &Cancel) -> Result<Exit, SandboxError> {
    if spec.process.args.is_empty() {
        return Err(SandboxError::EmptyCommand);
    }
    Err(SandboxError::ChildVanished { status: "not connected yet".to_owned() })
}
