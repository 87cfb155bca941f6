//! The options that say what of the source is built: the project descriptor and ignore files; the same for `build`, `plan`, `job run` and `check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hoist_platform::BuildRequest;
use hoist_service::IgnoreFile;

/// What of the source is built.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceOptions {
    /// Project descriptor; otherwise the app's own project.toml, where it has one
    #[arg(short, long, value_name = "FILE")]
    descriptor: Option<PathBuf>,
    /// Leave out what the app's .gitignore or .dockerignore says
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    ignore: Vec<IgnoreKind>,
}

/// Ignore files of other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IgnoreKind {
    /// .gitignore of each folder, as git reads them
    Gitignore,
    /// .dockerignore at the root, as Docker reads it
    Dockerignore,
}

impl SourceOptions {
    /// Writes them into the request.
    pub(crate) fn apply(&self, request: &mut BuildRequest) {
        request.descriptor.clone_from(&self.descriptor);
        request.selection.ignore_files = self
            .ignore
            .iter()
            .map(|kind| match kind {
                IgnoreKind::Gitignore => IgnoreFile::Git,
                IgnoreKind::Dockerignore => IgnoreFile::Docker,
            })
            .collect();
    }
}
