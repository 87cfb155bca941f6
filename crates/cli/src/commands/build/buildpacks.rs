//! The options that say which buildpacks are tried: the same for `build` and `plan`.

use clap::Args;
use hoist_image::Reference;
use hoist_platform::BuildRequest;

use crate::context::Context;
use crate::failure::Failure;

/// Which buildpacks are tried.
#[derive(Debug, Args)]
pub(crate) struct BuildpackOptions {
    /// Builder to build with; hoist's own without one
    #[arg(short = 'B', long, value_name = "NAME")]
    builder: Option<String>,
}

impl BuildpackOptions {
    /// Writes them into the request.
    pub(crate) fn apply(&self, _context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        request.builder = self.builder.as_deref().map(str::parse::<Reference>).transpose()?;
        Ok(())
    }
}
