//! What would be built and why, and what is wrong, without building.

use std::path::Path;

use hoist_events::{Event, Reporter};
use hoist_sandbox::User;
use hoist_service::{
    DependencyError, InputRequest, Layout, Manager, Owner, StageError, StageRequest, Staged, resolve_input, stage,
};
use serde::Serialize;

use crate::builder::BUILD_USER;
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
    /// The package manager that it belongs to: `pip`, `uv`, `poetry`, …
    pub manager: Option<&'static str>,
    /// The Python that would be taken, and who asks for it.
    pub python: Option<Chosen>,
    /// Packages of Debian that would be brought, as relations (`curl (= 8.14.1-2)`), each with the place that asks for it.
    pub deb_packages: Vec<Chosen>,
    /// Processors from `planqk.json`.
    pub cpus: Option<f64>,
    /// Memory from `planqk.json`, in bytes.
    pub memory_bytes: Option<u64>,
    /// Files in the app.
    pub files: usize,
    /// Their bytes.
    pub total_bytes: u64,
    /// What is wrong or odd, the worst first.
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
    /// Whether it keeps the app from being built or from working.
    pub severity: Severity,
    /// The kind of problem in a word or two that stay the same over versions (`include-missing`).
    pub code: &'static str,
    /// What was seen and why it is wrong.
    pub message: String,
    /// What to do: each of them helps.
    pub fixes: Vec<String>,
    /// Where in the source.
    #[serde(flatten)]
    pub place: Option<SourcePlace>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A build would refuse it, or the image would not work.
    Error,
    /// Probably not meant.
    Warning,
}

/// A place in the source. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// Path below the source.
    pub file: String,
    /// The line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The first column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The column behind the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<usize>,
}

/// What the builder's buildpacks would say of a staged app, from its files alone.
#[derive(Debug, Clone, Default)]
pub struct Foresight {
    /// The Python that would be taken, and why.
    pub python: Option<Chosen>,
    /// The file whose packages would be installed, by whom, and why.
    pub dependencies: Option<Chosen>,
    /// The package manager that it belongs to.
    pub manager: Option<&'static str>,
    /// Packages of Debian that are asked for, and where.
    pub deb_packages: Vec<Chosen>,
    /// What they would refuse or warn of.
    pub problems: Vec<Problem>,
    /// What is wrong when the app does not name the process that its image starts with. A service has one of its own.
    pub missing_process: Option<Problem>,
    /// The day whose packages an old app may have been written for, where they are chosen anew at each build.
    pub suggested_day: Option<String>,
}

/// Asks the buildpacks: the staged app, the variables of the build, the suite of the base. This crate does not know which buildpacks there are.
pub type Foresee = fn(app_dir: &Path, variables: &[(String, String)], suite: &str) -> Foresight;

/// Asks the buildpacks about the process alone.
pub type NamesProcess = fn(app_dir: &Path, variables: &[(String, String)]) -> bool;

impl Problem {
    /// Something that keeps the app from being built or from working.
    pub fn fatal(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), fixes: vec![fix.into()], place: None }
    }

    /// Something that is probably not meant.
    pub fn odd(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::fatal(code, message, fix) }
    }

    /// The same, in a file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.place = Some(SourcePlace { file: file.into(), line: None, column: None, end_column: None });
        self
    }

    /// Dependency files that cannot be chosen between, or read.
    fn of_dependencies(error: &DependencyError) -> Self {
        let (code, file, line) = match error {
            DependencyError::TwoManagers { first, .. } => ("managers-ambiguous", Some(first.clone()), None),
            DependencyError::NotThere { .. } => ("manager-file-missing", None, None),
            DependencyError::Yaml { file, line, .. } => ("file-malformed", Some(file.clone()), Some(*line)),
            DependencyError::MissingInclude { file, line, .. } => ("include-missing", Some(file.clone()), Some(*line)),
            DependencyError::Lift { path, .. } => ("file-unreadable", Some(path.display().to_string()), None),
        };
        let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        let place = file.map(|file| SourcePlace { file, line, column: None, end_column: None });
        Self { place, ..Self::fatal(code, format!("{error}{cause}"), error.hint()) }
    }

    /// Whether it keeps the app from being built or from working.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl LocalEngine {
    /// Stages the source into a place of its own and looks at it. Nothing is built, and nothing of the source is executed.
    pub fn check(&self, request: &BuildRequest) -> Result<CheckReport, PlatformError> {
        let request = &self.with_project(request)?;
        let scratch = self.store().scratch("check")?;
        let new_dir = |name: &str| {
            let dir = scratch.path().join(name);
            let made = fs_err::create_dir(&dir);
            made.map(|()| dir).map_err(|source| PlatformError::scratch("make the staging folder", source))
        };
        let reporter = WithoutChoices(self.reporter());
        let mut app_dir = new_dir("app")?;
        // Files that cannot be chosen between, or read, are a problem like others: the app is looked at as it stands.
        let (staged, unusable) = match stage_source(request, &app_dir, BUILD_USER, &reporter) {
            Err(StageError::Dependencies(error)) => {
                app_dir = new_dir("as-it-stands")?;
                (stage_as(request, false, &app_dir, BUILD_USER, &reporter)?, Some(error))
            }
            staged => (staged?, None),
        };
        let mut variables = staged.build_env.clone();
        variables.retain(|(name, _)| !request.env.iter().any(|(wanted, _)| wanted == name));
        variables.extend(request.env.iter().cloned());
        let mut foresight = self.foresee(&app_dir, &variables);
        if let Some(own) = unusable.map(|error| Problem::of_dependencies(&error)) {
            // The buildpacks may have said the same, and at more length.
            match foresight.problems.iter_mut().find(|one| one.is_fatal() && one.code == own.code) {
                Some(said) => said.fixes.extend(own.fixes),
                None => foresight.problems.push(own),
            }
        }
        Ok(report(&staged, &variables, foresight))
    }
}

/// Passes on what is not in the report anyway.
struct WithoutChoices<'a>(&'a dyn Reporter);

impl Reporter for WithoutChoices<'_> {
    fn report(&self, event: &Event) {
        if !matches!(event, Event::Choice { .. }) {
            self.0.report(event);
        }
    }
}

/// Stages the source of a build; see [`stage`]. The app belongs to the build user, who may change it; for an ordinary user everything is theirs.
pub(crate) fn stage_source(
    request: &BuildRequest,
    app_dir: &Path,
    user: User,
    reporter: &dyn Reporter,
) -> Result<Staged, StageError> {
    stage_as(request, true, app_dir, user, reporter)
}

fn stage_as(
    request: &BuildRequest,
    lift: bool,
    app_dir: &Path,
    user: User,
    reporter: &dyn Reporter,
) -> Result<Staged, StageError> {
    let request = StageRequest {
        source: &request.source,
        app_dir,
        contract: request.contract,
        dependencies: request.dependencies,
        manager: manager_of(&request.env),
        lift,
        selection: request.selection.clone(),
        owner: nix::unistd::geteuid().is_root().then_some(Owner { uid: user.uid, gid: user.gid }),
        limits: hoist_service::Limits::default(),
    };
    stage(&request, reporter)
}

/// The manager that a variable of the build names, for the choice between several files.
fn manager_of(variables: &[(String, String)]) -> Option<Manager> {
    let named = |wanted: &str| variables.iter().rev().find(|(name, _)| name == wanted);
    let (_, word) = named("BP_PYTHON_PACKAGE_MANAGER").or_else(|| named("HOIST_PACKAGE_MANAGER"))?;
    Manager::of_word(word)
}

fn report(staged: &Staged, variables: &[(String, String)], foresight: Foresight) -> CheckReport {
    let parameters = staged.signature.iter().flat_map(|signature| &signature.parameters);
    let resources = staged.manifest.as_ref().map(|manifest| &manifest.resources);
    let leads = staged.dependencies.as_ref().map(|found| found.file.display().to_string());
    let reason = staged.dependencies.as_ref().and_then(|found| found.reason.clone());
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
        dependencies: leads.or_else(|| Some(foresight.dependencies.as_ref()?.value.clone())),
        dependencies_reason: reason.or_else(|| Some(foresight.dependencies.as_ref()?.reason.clone())),
        manager: foresight.manager,
        problems: problems(staged, variables, &foresight),
        python: foresight.python,
        deb_packages: foresight.deb_packages,
        cpus: resources.and_then(|resources| resources.cpu),
        memory_bytes: resources.and_then(hoist_service::Resources::memory_bytes),
        files: staged.files,
        total_bytes: staged.total_bytes,
    }
}

fn problems(staged: &Staged, variables: &[(String, String)], foresight: &Foresight) -> Vec<Problem> {
    let mut problems = foresight.problems.clone();
    if staged.layout.is_service() {
        let program = staged.layout.user_code_dir().join("src/program.py");
        let elsewhere = variables.iter().any(|(name, _)| name == "ENTRY_POINT" || name == "ENTRYPOINT");
        let defines_run = staged.signature.is_some() || staged.imports_run || elsewhere;
        if staged.app_dir.join(&program).is_file() && !defines_run {
            let program = program.display().to_string();
            let message = format!("{program} has no function run at its left margin");
            problems.push(Problem::fatal("run-missing", message, "add: def run(data, params): …").in_file(program));
        }
        let input = InputRequest { defaults: staged.default_input.clone(), ..InputRequest::default() };
        if let Err(error) = resolve_input(&input, &mut std::io::empty()) {
            problems.push(Problem::fatal("input", error.to_string(), error.hint()));
        }
        problems.extend(gpus(staged).map(|(text, hint)| Problem::odd("gpu", text, hint).in_file("planqk.json")));
    } else {
        problems.extend(foresight.missing_process.clone());
    }
    problems.sort_by_key(|problem| problem.severity);
    problems
}

/// What is said of an image without a process that other buildpacks made: they may mean it.
pub(crate) const NO_PROCESS: &str = "nothing says how this app is started, so the image has no default process";
/// What to do about it.
pub(crate) const NO_PROCESS_HINT: &str =
    "add a Procfile with a line such as web: python main.py, or name a command: hoist run IMAGE -- python main.py";

/// A wish for graphics processors, which the sandbox does not pass on, and what to do.
pub(crate) fn gpus(staged: &Staged) -> Option<(String, &'static str)> {
    let count = staged.manifest.as_ref().map_or(0, |manifest| manifest.resources.gpus());
    let text = match count {
        0 => return None,
        1 => "planqk.json asks for a graphics processor, and a job has none here".to_owned(),
        count => format!("planqk.json asks for {count} graphics processors, and a job has none here"),
    };
    Some((text, "let the program fall back to the processor, or remove resources.gpu"))
}

#[cfg(test)]
mod tests {
    use hoist_events::NullReporter;

    use super::*;

    fn checked(files: &[(&str, &str)], env: &[(&str, &str)], foresight: Foresight) -> CheckReport {
        let (source, app) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = source.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let staged =
            stage_source(&BuildRequest::new(source.path().to_owned()), app.path(), BUILD_USER, &NullReporter).unwrap();
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        report(&staged, &env, foresight)
    }

    fn texts(report: &CheckReport) -> Vec<&str> {
        report.problems.iter().map(|problem| problem.message.as_str()).collect()
    }

    #[test]
    fn an_app_without_a_process_is_named_whether_or_not_it_has_dependencies() {
        for files in [&[("main.py", "")][..], &[("main.py", ""), ("requirements.txt", "flask\n")]] {
            let missing = Some(Problem::fatal("process-missing", "no process", "write web: python main.py"));
            let foresight = Foresight { missing_process: missing, ..Foresight::default() };
            assert_eq!(texts(&checked(files, &[], foresight)), ["no process"]);
        }
        assert!(checked(&[("main.py", "")], &[], Foresight::default()).problems.is_empty());
    }

    #[test]
    fn a_service_without_run_is_refused_unless_run_comes_from_elsewhere() {
        let of = |program: &str, env: &[(&str, &str)]| {
            checked(&[("src/program.py", program)], env, Foresight::default()).problems.len()
        };
        assert_eq!(of("def start(): ...\n", &[]), 1);
        assert_eq!(of("from .solver import run\n", &[]), 0);
        assert_eq!(of("def start(): ...\n", &[("ENTRY_POINT", "src.program:start")]), 0);
    }

    #[test]
    fn a_problem_is_written_as_editors_read_it() {
        let mut problem = Problem::odd("gpu", "a", "b");
        let plain = serde_json::json!({"severity": "warning", "code": "gpu", "message": "a", "fixes": ["b"]});
        assert_eq!(serde_json::to_value(&problem).unwrap(), plain);
        problem.place = Some(SourcePlace { file: "f".into(), line: Some(3), column: Some(1), end_column: Some(4) });
        let value = serde_json::to_value(&problem).unwrap();
        assert_eq!((&value["file"], &value["line"], &value["end_column"]), (&"f".into(), &3.into(), &4.into()));
    }

    #[test]
    fn what_buildpacks_foresee_is_told_with_the_worst_first() {
        let foresight = Foresight {
            python: Some(Chosen { value: "3.11".into(), reason: ".python-version says 3.11".into() }),
            problems: vec![Problem::odd("x", "a", "b"), Problem::fatal("y", "c", "d")],
            missing_process: Some(Problem::fatal("z", "never told of a service", "")),
            ..Foresight::default()
        };
        let gpu = "{\"resources\": {\"gpu\": {\"type\": \"NVIDIA_TESLA_T4\", \"count\": 2}}}";
        let files = [("src/program.py", "def run(data): ..."), ("planqk.json", gpu), ("input/data.json", "{")];
        let report = checked(&files, &[], foresight);
        assert_eq!(report.python.as_ref().unwrap().value, "3.11");
        assert_eq!(texts(&report)[0], "c");
        assert!(texts(&report)[1].starts_with("input/data.json is not JSON: line 1"));
        assert_eq!(texts(&report)[2..], ["a", "planqk.json asks for 2 graphics processors, and a job has none here"]);
    }
}
