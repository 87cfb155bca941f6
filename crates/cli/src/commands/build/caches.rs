//! The options that say what of earlier builds is used, and what is left for later ones.

use clap::Args;
use hoist_platform::BuildRequest;

use crate::context::Context;
use crate::failure::Failure;

/// What of earlier builds is used.
#[derive(Debug, Args)]
pub(crate) struct CacheOptions {
    /// Begin without the layers of earlier builds of this image
    #[arg(long)]
    clear_cache: bool,
}

impl CacheOptions {
    /// Writes them into the request.
    #[allow(clippy::unnecessary_wraps)] // the groups of options have one form
    pub(crate) fn apply(&self, _context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        request.clear_cache = self.clear_cache;
        Ok(())
    }
}
