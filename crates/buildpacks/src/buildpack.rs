//! What a buildpack of this crate is: a name, a detect and a build. One value of each stands in the list in `shipped.rs`.

use crate::context::{BuildContext, DetectContext};
use crate::failure::Failure;
use crate::shipped::ShippedFile;

/// One buildpack. Implementations hold no state: everything comes in with the context.
pub trait Buildpack: Sync {
    /// The id, as in `buildpack.toml`, for example `hoist/pip`.
    fn id(&self) -> &'static str;

    /// A short name for people, as in `buildpack.toml`.
    fn name(&self) -> &'static str;

    /// One sentence, as in `buildpack.toml`.
    fn description(&self) -> &'static str;

    /// Decides whether this buildpack has something to do for the app. What is returned becomes the build plan.
    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure>;

    /// Does it. Layers, processes and labels are left through the context.
    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure>;

    /// Files that lie beside `buildpack.toml` in the buildpack's folder (found again below [`crate::Context::buildpack_dir`]).
    fn files(&self) -> Vec<ShippedFile> {
        Vec::new()
    }
}

/// The answer of detect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// The buildpack wants to take part, with these plan entries (none is allowed).
    Pass {
        /// What it offers to other buildpacks.
        provides: Vec<Provide>,
        /// What it needs from itself or from others.
        requires: Vec<Require>,
    },
    /// It has nothing to do here (exit code 100); the lines say why and what would change that.
    Fail {
        /// Lines for people.
        reasons: Vec<String>,
    },
}

impl Detection {
    /// Takes part and neither provides nor requires anything.
    pub fn pass() -> Self {
        Self::Pass { provides: Vec::new(), requires: Vec::new() }
    }

    /// Does not take part, with one line that says why.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self::Fail { reasons: vec![reason.into()] }
    }
}

/// A `[[provides]]` entry of the build plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provide {
    /// The name of the dependency, for example `python`.
    pub name: String,
}

impl Provide {
    /// Provides `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// A `[[requires]]` entry of the build plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Require {
    /// The name of the dependency, for example `python`.
    pub name: String,
    /// Free metadata for whoever provides it (`build`, `launch`, `version`, `version-source` by custom).
    pub metadata: toml::Table,
}

impl Eq for Require {}

impl Require {
    /// Requires `name`, without metadata.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), metadata: toml::Table::new() }
    }

    /// Adds one metadata value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }
}
