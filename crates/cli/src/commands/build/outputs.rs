//! The options that say what a build leaves, and where.

use std::path::PathBuf;

use clap::Args;
use hoist_image::Reference;
use hoist_platform::BuildRequest;

use crate::context::Context;
use crate::failure::Failure;

/// What a build leaves.
#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// Further names of the image
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Folder to write report.toml to (names and id of the image); without it none is written
    #[arg(long, value_name = "DIR")]
    report_output_dir: Option<PathBuf>,
}

impl OutputOptions {
    /// Writes them into the request; `image` is the name that was typed first.
    pub(crate) fn apply(&self, _context: &Context, image: &str, request: &mut BuildRequest) -> Result<(), Failure> {
        let names = std::iter::once(image).chain(self.tags.iter().map(String::as_str));
        request.names = names.map(str::parse::<Reference>).collect::<Result<_, _>>()?;
        request.report_dir.clone_from(&self.report_output_dir);
        Ok(())
    }
}
