//! Which dependency file leads, and how it is lifted to the root where the buildpacks look.

use std::path::PathBuf;

use serde::Serialize;

/// A way to declare dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// `requirements.txt`.
    Pip,
    /// `environment.yml` or `environment.yaml`.
    Conda,
    /// `poetry.lock` with `pyproject.toml`.
    Poetry,
    /// `uv.lock` with `pyproject.toml`.
    Uv,
    /// `pdm.lock` with `pyproject.toml`.
    Pdm,
    /// `Pipfile` with or without `Pipfile.lock`.
    Pipenv,
    /// `pylock.toml`.
    Pylock,
    /// `pyproject.toml` alone.
    Pyproject,
}

/// The Python that the source asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonRequest {
    /// A version (`3.11`) or PEP 440 specifiers (`>=3.9,<3.12`).
    pub version: String,
    /// Where it stands: `environment.yml line 5`.
    pub origin: String,
}

/// What was found of dependencies and what leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// What leads.
    pub manager: Manager,
    /// The leading file as the user has it, relative to the source's root.
    pub file: PathBuf,
    /// Why it leads, where there was a choice.
    pub reason: Option<String>,
    /// The Python that it asks for.
    pub python: Option<PythonRequest>,
    /// `variables:` of an `environment.yml`: they belong to the environment of the running image.
    pub variables: Vec<(String, String)>,
}

/// Dependency files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// Two managers and no rule that says which leads.
    #[error("both {first} and {second} declare dependencies, and nothing says which leads")]
    TwoManagers {
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
}
