//! `hoist completion`: the completion script of a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::context::Context;
use crate::failure::Failure;

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

impl CompletionArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "hoist", &mut script);
        context.print(&String::from_utf8_lossy(&script))
    }
}
