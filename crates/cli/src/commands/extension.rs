//! `hoist extension`: image extensions, as far as they are packed; hoist does not run them yet.

use clap::{Args, Subcommand};
use hoist_platform::ModuleKind;

use crate::commands::package::PackageArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Image extensions of builders
#[derive(Debug, Args)]
pub(crate) struct ExtensionArgs {
    #[command(subcommand)]
    command: ExtensionCommand,
}

#[derive(Debug, Subcommand)]
enum ExtensionCommand {
    /// Make a package of an extension, as an image or a .cnb file
    Package(PackageArgs),
}

impl ExtensionArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            ExtensionCommand::Package(args) => args.run(context, ModuleKind::Extension),
        }
    }
}
