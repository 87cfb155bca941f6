//! Staging: the source becomes an app in a directory of its own.

use std::path::{Path, PathBuf};

use hoist_events::Reporter;

use crate::{
    Contract, ContractChoice, DefaultInput, Dependencies, DependencyError, Layout, Limits, Manager, PlanqkJson,
    PlanqkJsonError, Signature,
};

/// What is to be staged.
#[derive(Debug, Clone)]
pub struct StageRequest<'a> {
    /// A folder or a zip archive. Only read.
    pub source: &'a Path,
    /// An existing, empty directory that becomes the app.
    pub app_dir: &'a Path,
    /// The contract, where the user forces it.
    pub contract: Option<Contract>,
    /// What declares the dependencies, where the user says so (`--dependencies FILE`).
    pub dependencies: Option<Manager>,
    /// The bounds.
    pub limits: Limits,
}

/// A source that was staged, and what it is.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The app.
    pub app_dir: PathBuf,
    /// A name for it that image references take: from `planqk.json`, else from the folder or archive.
    pub name: String,
    /// What it looks like.
    pub layout: Layout,
    /// The contract; none for an app that is no service.
    pub contract: Option<ContractChoice>,
    /// The parameters of `run`, where its text could be read.
    pub signature: Option<Signature>,
    /// `planqk.json`.
    pub manifest: Option<PlanqkJson>,
    /// What declares the dependencies.
    pub dependencies: Option<Dependencies>,
    /// `input/data.json` and `input/params.json` of a service. They are not part of the app: an input changes without a build, and often
    /// holds tokens that have no place in an image.
    pub default_input: DefaultInput,
    /// Variables for the buildpacks (`/platform/env`): `HOIST_CONTRACT`, `HOIST_PYTHON_VERSION` and its origin, `HOIST_LAUNCH_ENV`.
    pub build_env: Vec<(String, String)>,
    /// Files in the app.
    pub files: usize,
    /// Their bytes.
    pub total_bytes: u64,
}

/// Copies the source into [`StageRequest::app_dir`]; choices and oddities go to `reporter`.
pub fn stage(request: &StageRequest<'_>, reporter: &dyn Reporter) -> Result<Staged, StageError> {
    let _ = (request, reporter);
    todo!()
}

/// A source that cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The dependency files cannot be used.
    #[error(transparent)]
    Dependencies(#[from] DependencyError),
    /// `planqk.json` cannot be used.
    #[error(transparent)]
    Manifest(#[from] PlanqkJsonError),
}
