//! Which files of a source the caller wants: the patterns of a project descriptor, and the ignore files of other tools when asked for.

use super::ignore::{Dialect, Ignore, Reading};

/// Which files of a source are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// By patterns.
    pub files: SelectedFiles,
    /// By what the source itself has for other tools.
    pub ignore_files: Vec<IgnoreFile>,
}

/// Files chosen by patterns as `.gitignore` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SelectedFiles {
    /// All of them.
    #[default]
    All,
    /// Those alone that match.
    Include(Vec<String>),
    /// All but those that match.
    Exclude(Vec<String>),
}

/// The ignore files of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreFile {
    /// `.gitignore` of every folder, as git reads them.
    Git,
    /// `.dockerignore` at the root, as Docker reads it.
    Docker,
}

impl IgnoreFile {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Git => ".gitignore",
            Self::Docker => ".dockerignore",
        }
    }
}

impl Selection {
    /// Whether the ignore files of this tool are asked for.
    pub(super) fn asks_for(&self, file: IgnoreFile) -> bool {
        self.ignore_files.contains(&file)
    }

    /// Adds the patterns to `ignore`.
    pub(super) fn add_to(&self, ignore: &mut Ignore) {
        match &self.files {
            SelectedFiles::All => {}
            SelectedFiles::Include(patterns) => ignore.add(&patterns.join("\n"), Dialect::Git, Reading::Include),
            SelectedFiles::Exclude(patterns) => ignore.add(&patterns.join("\n"), Dialect::Git, Reading::Exclude),
        }
    }
}
