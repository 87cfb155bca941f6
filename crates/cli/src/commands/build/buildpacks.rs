//! The options that say which buildpacks are tried: the same for `build` and `plan`.

use clap::Args;
use hoist_image::Reference;
use hoist_platform::{BuildRequest, BuildpackChoice, RunImageMirrors, WantedBuildpack};

use crate::context::Context;
use crate::failure::Failure;
use crate::settings::Key;

/// Which buildpacks are tried.
#[derive(Debug, Args)]
pub(crate) struct BuildpackOptions {
    /// Builder to build with; otherwise the project descriptor's, otherwise hoist's own
    #[arg(short = 'B', long, value_name = "NAME")]
    builder: Option<String>,
    /// Buildpack to use instead of the builder's order: ID or ID@VERSION of the builder, a folder, a .tgz or .cnb, its address, or an image of the
    /// store; from=builder stands for the builder's order
    #[arg(short, long = "buildpack", value_name = "BUILDPACK", value_delimiter = ',')]
    buildpacks: Vec<String>,
    /// Buildpack to try before each group of the builder's order; of several the last stands first, as pack has it
    #[arg(long = "pre-buildpack", value_name = "BUILDPACK")]
    pre: Vec<String>,
    /// Buildpack to try after each group of the builder's order
    #[arg(long = "post-buildpack", value_name = "BUILDPACK")]
    post: Vec<String>,
    /// Leave out the builder's system buildpacks
    #[arg(long)]
    disable_system_buildpacks: bool,
    /// As pack has it; hoist runs no image extensions and says so
    #[arg(long = "extension", value_name = "EXTENSION", hide = true)]
    extensions: Vec<String>,
}

impl BuildpackOptions {
    /// Writes them into the request.
    pub(crate) fn apply(&self, context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        if let Some(extension) = self.extensions.first() {
            return Err(Failure::usage(
                format!("cannot run the image extension {extension}: hoist runs buildpacks only"),
                "take a builder whose build and run images have what the extension would add (--builder, --run-image), and leave --extension out",
            ));
        }
        request.default_builder = context.settings.get(Key::DefaultBuilder).map(str::parse::<Reference>).transpose()?;
        request.run_image_mirrors = RunImageMirrors(context.settings.run_image_mirrors().clone());
        request.builder = self.builder.as_deref().map(str::parse::<Reference>).transpose()?;
        let wanted = |option, names: &[String]| {
            names.iter().map(|name| WantedBuildpack::of_option(option, name.clone())).collect::<Vec<_>>()
        };
        request.buildpacks = BuildpackChoice {
            group: wanted("--buildpack", &self.buildpacks),
            pre: wanted("--pre-buildpack", &self.pre),
            post: wanted("--post-buildpack", &self.post),
            without_system: self.disable_system_buildpacks,
        };
        Ok(())
    }
}
