//! Which buildpacks a build is to have, instead of those of its builder's order or around them.

use std::path::PathBuf;

use hoist_debian::masked;
use hoist_spec::ProjectBuildpackSource;

/// Which buildpacks are tried. What is empty leaves the builder's order as it is.
#[derive(Debug, Clone, Default)]
pub struct BuildpackChoice {
    /// One group instead of the builder's order; `from=builder` in it stands for that order.
    pub group: Vec<WantedBuildpack>,
    /// Before each group of the builder's order.
    pub pre: Vec<WantedBuildpack>,
    /// Behind each group of the builder's order.
    pub post: Vec<WantedBuildpack>,
    /// Whether the builder's system buildpacks are left out.
    pub without_system: bool,
}

/// A buildpack that is asked for.
#[derive(Debug, Clone)]
pub struct WantedBuildpack {
    pub(crate) source: ProjectBuildpackSource,
    pub(crate) asked: Asked,
}

/// Who asks for a buildpack: where its relative paths start, and what it may reach.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// An option of the command: `--buildpack`.
    Option(&'static str),
    /// A project descriptor that the user named.
    Descriptor { path: PathBuf, line: usize },
    /// The project descriptor of the source. Whoever wrote it is not asked on this machine: it reaches nothing outside of the source.
    Source { path: PathBuf, line: usize },
}

impl WantedBuildpack {
    /// The buildpack that is called `locator` behind the option of this name.
    pub fn of_option(option: &'static str, locator: impl Into<String>) -> Self {
        Self { source: ProjectBuildpackSource::Locator(locator.into()), asked: Asked::Option(option) }
    }

    /// What is asked for, where: `--buildpack ./x`, `project.toml, line 7`.
    pub(crate) fn place(&self) -> String {
        match (&self.asked, &self.source) {
            (Asked::Option(option), ProjectBuildpackSource::Locator(locator)) => {
                format!("{option} {}", masked(locator))
            }
            (Asked::Option(option), ProjectBuildpackSource::Script(_)) => (*option).to_owned(),
            (Asked::Descriptor { path, line } | Asked::Source { path, line }, _) => {
                format!("{}, line {line}", path.display())
            }
        }
    }
}

impl BuildpackChoice {
    /// Whether buildpacks are to stand around an order that is not taken.
    pub(crate) fn has_idle_sides(&self) -> bool {
        let sides = self.pre.len() + self.post.len();
        !self.group.is_empty() && sides > 0
    }

    /// Whether the builder's order stays as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.pre.is_empty() && self.post.is_empty() && !self.without_system
    }
}
