//! What would be built and why, and what is wrong, without building.

use hoist_events::Reporter;
use hoist_service::{InputRequest, Layout, Manager, StageError, StageRequest, Staged, resolve_input, stage};
use serde::Serialize;

use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::BuildRequest;

/// What was found. Serialised as it is for `hoist check --json`.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The name that it would get.
    pub name: String,
    /// `service`, `job template` or `app`.
    pub layout: &'static str,
    /// The contract and why it is that one; none for an app.
    pub contract: Option<Chosen>,
    /// The entry point; none for an app.
    pub entry_point: Option<&'static str>,
    /// The parameters of `run` with their annotations.
    pub parameters: Vec<Parameter>,
    /// What declares the dependencies, as a file name.
    pub dependencies: Option<String>,
    /// Why that one leads, where there was a choice.
    pub dependencies_reason: Option<String>,
    /// The Python that is asked for and where.
    pub python: Option<Chosen>,
    /// Processors from `planqk.json`.
    pub cpus: Option<f64>,
    /// Memory from `planqk.json`, in bytes.
    pub memory_bytes: Option<u64>,
    /// Files in the app.
    pub files: usize,
    /// Their bytes.
    pub total_bytes: u64,
    /// What is wrong or odd.
    pub problems: Vec<Problem>,
}

/// Something that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// What.
    pub value: String,
    /// Why, or where it is asked for.
    pub reason: String,
}

/// A parameter of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its annotation as written.
    pub annotation: Option<String>,
}

/// Something that is wrong or odd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it keeps the service from working.
    pub fatal: bool,
    /// What was seen and why it is wrong.
    pub text: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    fn fatal(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { fatal: true, text: text.into(), hint: hint.into() }
    }

    fn odd(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { fatal: false, text: text.into(), hint: hint.into() }
    }
}

impl LocalEngine {
    /// Stages the source into a place of its own and looks at it. Nothing is built, and nothing of the source is executed.
    pub fn check(&self, request: &BuildRequest) -> Result<CheckReport, PlatformError> {
        let scratch = self.store().scratch("check")?;
        let app_dir = scratch.path().join("app");
        fs_err::create_dir(&app_dir).map_err(|source| PlatformError::scratch("make the staging folder", source))?;
        let staged = stage_source(request, &app_dir, self.reporter())?;
        Ok(report(&staged))
    }
}

/// Stages the source of a build; see [`stage`].
pub(crate) fn stage_source(
    request: &BuildRequest,
    app_dir: &std::path::Path,
    reporter: &dyn Reporter,
) -> Result<Staged, StageError> {
    let request = StageRequest {
        source: &request.source,
        app_dir,
        contract: request.contract,
        dependencies: request.dependencies,
        lift: true,
        limits: hoist_service::Limits::default(),
    };
    stage(&request, reporter)
}

fn report(staged: &Staged) -> CheckReport {
    let python = staged.dependencies.as_ref().and_then(|dependencies| dependencies.python.clone());
    let parameters = staged.signature.iter().flat_map(|signature| &signature.parameters);
    let resources = staged.manifest.as_ref().map(|manifest| &manifest.resources);
    CheckReport {
        name: staged.name.clone(),
        layout: match staged.layout {
            Layout::PlanQk => "service",
            Layout::JobTemplate { .. } => "job template",
            Layout::App => "app",
        },
        contract: staged
            .contract
            .as_ref()
            .map(|choice| Chosen { value: choice.contract.to_string(), reason: choice.reason.clone() }),
        entry_point: staged.layout.entry_point(),
        parameters: parameters
            .map(|(name, annotation)| Parameter { name: name.clone(), annotation: annotation.clone() })
            .collect(),
        dependencies: staged.dependencies.as_ref().map(|found| found.file.display().to_string()),
        dependencies_reason: staged.dependencies.as_ref().and_then(|found| found.reason.clone()),
        python: python.map(|request| Chosen { value: request.version, reason: request.origin }),
        cpus: resources.and_then(|resources| resources.cpu),
        memory_bytes: resources.and_then(hoist_service::Resources::memory_bytes),
        files: staged.files,
        total_bytes: staged.total_bytes,
        problems: problems(staged),
    }
}

fn problems(staged: &Staged) -> Vec<Problem> {
    let mut problems = Vec::new();
    if staged.layout.is_service() {
        let program = staged.layout.user_code_dir().join("src/program.py");
        if !staged.app_dir.join(&program).is_file() {
            problems.push(Problem::fatal(
                format!("there is no {}, where the platform looks for run(data, params)", program.display()),
                "make it, or begin from a template: hoist init NEW-FOLDER",
            ));
        } else if staged.signature.is_none() {
            problems.push(Problem::fatal(
                format!("{} defines no function run at its left margin", program.display()),
                "add: def run(data, params): …",
            ));
        }
        let input = InputRequest { defaults: staged.default_input.clone(), ..InputRequest::default() };
        if let Err(error) = resolve_input(&input, &mut std::io::empty()) {
            problems.push(Problem::fatal(error.to_string(), error.hint()));
        }
    } else if staged.dependencies.is_none() && !staged.app_dir.join("Procfile").is_file() {
        problems.push(Problem::odd(
            "nothing says how this app is started: there is neither a Procfile nor src/program.py",
            "add a Procfile with a line such as: web: python main.py",
        ));
    }
    if let Some(found) = &staged.dependencies
        && found.manager != Manager::Pip
    {
        problems.push(Problem::fatal(
            format!("{} leads, and hoist has no buildpack for it yet", found.file.display()),
            "declare the dependencies in a requirements.txt beside it and choose that: --dependencies requirements.txt",
        ));
    }
    problems
}
