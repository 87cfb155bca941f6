//! The options that say what the image is like.

use clap::Args;
use hoist_platform::BuildRequest;

use crate::context::Context;
use crate::failure::Failure;

/// What the image is like.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// Process that the image starts with; otherwise the one that a buildpack proposes
    #[arg(short = 'D', long, value_name = "TYPE")]
    default_process: Option<String>,
}

impl ImageOptions {
    /// Writes them into the request.
    #[allow(clippy::unnecessary_wraps)] // the groups of options have one form
    pub(crate) fn apply(&self, _context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        request.default_process.clone_from(&self.default_process);
        Ok(())
    }
}
