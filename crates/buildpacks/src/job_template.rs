//! `hoist/job-template`: a service becomes an image whose process `job` calls its `run` function.
//!
//! A service is an app with a `planqk.json` or a `src/program.py`, or a job template with user code in `app/user_code` (`app/user-code`).
//! The runner (`runner/hoist_runner`, standard library only) goes into a layer of its own. What runs: in the PlanQK layout hoist's runner; in
//! a job template the template's own program, where it has one (`app/__main__.py`, or what its Procfile starts), because the template is the
//! author's runner; hoist's runner else. `HOIST_JOB_RUNNER=hoist` or `=template` decides otherwise. The process is called `job`, and is the
//! default one unless a Procfile names another.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{Sha256, hex};
use serde::{Deserialize, Serialize};

use crate::buildpack::{Buildpack, Detection, Require};
use crate::bytecode;
use crate::context::{BuildContext, Context, DetectContext, LaunchProcess};
use crate::failure::Failure;
use crate::install::interpreter::Interpreter;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes};
use crate::procfile;
use crate::run_environment;
use crate::shipped::ShippedFile;

const LAYER: &str = "runner";
const PROCESS: &str = "job";
const RUNNER_VARIABLE: &str = "HOIST_JOB_RUNNER";
/// What staging says of the service.
const CONTRACT_VARIABLE: &str = "HOIST_CONTRACT";
/// The parameters of `run`, as JSON.
const PARAMETERS_VARIABLE: &str = "HOIST_PARAMETERS";
const LAUNCH_ENV_VARIABLE: &str = "HOIST_LAUNCH_ENV";

/// Variables that an app may not set through its `environment.yml`: they would change whose code runs, not how.
const FORBIDDEN: &[&str] =
    &["PATH", "PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "HOIST_CONTRACT", "ENTRY_POINT"];

macro_rules! runner {
    ($($name:literal),+) => {
        &[$(ShippedFile {
            path: concat!("runner/hoist_runner/", $name),
            bytes: include_bytes!(concat!("../runner/hoist_runner/", $name)),
            mode: 0o644,
        }),+]
    };
}

/// The runner's files, as they lie beside `buildpack.toml`.
const RUNNER: &[ShippedFile] = runner!(
    "__init__.py",
    "__main__.py",
    "call.py",
    "check.py",
    "convert.py",
    "diagnosis.py",
    "distributions.py",
    "entry.py",
    "inputs.py",
    "job.py",
    "libraries.txt",
    "static_check.py",
    "values.py"
);

/// The buildpack.
pub(crate) struct JobTemplate;

/// What a service looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    PlanQk,
    /// With the folder of the user code.
    Template(&'static str),
}

impl Service {
    fn of(context: &Context) -> Option<Self> {
        let has = |path: &str| context.app_file(path).is_some();
        for dir in ["app/user_code", "app/user-code"] {
            if has(&format!("{dir}/src/program.py")) || has(&format!("{dir}/planqk.json")) {
                return Some(Self::Template(dir));
            }
        }
        (has("src/program.py") || has("planqk.json")).then_some(Self::PlanQk)
    }

    fn entry_point(self) -> &'static str {
        match self {
            Self::PlanQk => "src.program:run",
            Self::Template("app/user_code") => "app.user_code.src.program:run",
            // A folder with a dash is no module name.
            Self::Template(_) => "app/user-code/src/program.py:run",
        }
    }
}

impl Buildpack for JobTemplate {
    fn id(&self) -> &'static str {
        "hoist/job-template"
    }

    fn name(&self) -> &'static str {
        "Hoist job template"
    }

    fn description(&self) -> &'static str {
        "Runs the run function of a service: inputs in, result out"
    }

    fn files(&self) -> Vec<ShippedFile> {
        RUNNER.to_vec()
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(match Service::of(context.common) {
            None => Detection::fail("this is no service: there is neither a planqk.json nor a src/program.py"),
            Some(_) => Detection::Pass {
                provides: Vec::new(),
                requires: vec![Require::new("python").with("build", true).with("launch", true)],
            },
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let common = context.common;
        let Some(service) = Service::of(common) else { return Ok(()) };
        let settings = Settings::of(common, service)?;
        check_program(common, service, &settings.entry_point)?;
        let layer = context.layer(LAYER);
        install(context, &layer, &settings)?;
        let (command, said) = own_program(common, service)?.unwrap_or_else(|| {
            let python = ["python", "-m", "hoist_runner"].map(str::to_owned).to_vec();
            (python, format!("hoist's runner calls {}", settings.entry_point))
        });
        context.output.step(format!("{PROCESS}: {said} (contract {})", settings.contract.as_deref().unwrap_or("G1")));
        let procfile = procfile::read(common)?;
        if procfile.is_none() {
            run_environment::prepare_certificates(context)?;
        }
        let has_default = procfile.is_some_and(|procfile| procfile.default_entry().is_some());
        context.add_process(LaunchProcess {
            kind: PROCESS.to_owned(),
            command,
            args: Vec::new(),
            default: !has_default,
            working_dir: None,
        });
        context.add_label("io.hoist.service.entry-point", settings.entry_point.clone());
        if let Some(contract) = settings.contract {
            context.add_label("io.hoist.service.contract", contract);
        }
        if let Some(parameters) = common.variable(PARAMETERS_VARIABLE) {
            context.add_label("io.hoist.service.parameters", parameters.to_owned());
        }
        for (name, value) in resources(common, service) {
            context.add_label(name, value);
        }
        Ok(())
    }
}

/// Whether the service's files say what is to be run.
pub(crate) fn foresee(context: &Context) -> Result<(), Failure> {
    let Some(service) = Service::of(context) else { return Ok(()) };
    check_program(context, service, entry_point(context, service))?;
    variables(context)?;
    own_program(context, service).map(|_| ())
}

/// What the user names, else what the layout has.
fn entry_point(context: &Context, service: Service) -> &str {
    let named = context.variable("ENTRY_POINT").or_else(|| context.variable("ENTRYPOINT"));
    named.unwrap_or(service.entry_point())
}

/// What the layer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    runner: String,
    interpreter: String,
    entry_point: String,
    contract: Option<String>,
    variables: Vec<(String, String)>,
}

impl Settings {
    fn of(context: &Context, service: Service) -> Result<Self, Failure> {
        let mut digest = Sha256::new();
        for file in RUNNER {
            digest.update(file.path);
            digest.update(file.bytes);
        }
        Ok(Self {
            runner: hex(&digest.finalize()),
            interpreter: Interpreter::find(context)?.identity,
            entry_point: entry_point(context, service).to_owned(),
            contract: context.variable(CONTRACT_VARIABLE).map(str::to_owned),
            variables: variables(context)?,
        })
    }
}

/// The default limits of a job, from `planqk.json`, as labels. What is no sensible number is left out: staging has said so already.
fn resources(context: &Context, service: Service) -> Vec<(&'static str, String)> {
    let path = match service {
        Service::PlanQk => PathBuf::from("planqk.json"),
        Service::Template(dir) => Path::new(dir).join("planqk.json"),
    };
    let text = context.app_file(&path).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let manifest: serde_json::Value =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or(serde_json::Value::Null);
    let number = |name: &str, most: f64| {
        let number = manifest["resources"][name].as_f64();
        number.filter(|number| *number > 0.0 && *number <= most)
    };
    let cpus = number("cpu", 1024.0).map(|cpus| ("io.hoist.service.cpus", cpus.to_string()));
    // GB are read as GiB, as the platform's own client sends them.
    let memory = number("memory", 65536.0).map(|gigabytes| {
        ("io.hoist.service.memory-bytes", format!("{:.0}", (gigabytes * f64::from(1_u32 << 30)).floor()))
    });
    cpus.into_iter().chain(memory).collect()
}

/// The `variables:` of an `environment.yml`, as staging hands them on.
fn variables(context: &Context) -> Result<Vec<(String, String)>, Failure> {
    let Some(text) = context.variable(LAUNCH_ENV_VARIABLE) else { return Ok(Vec::new()) };
    let doing = "setting the variables of environment.yml";
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| Failure::io(doing, &error))?;
    let mut found = Vec::new();
    for (name, value) in map {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || FORBIDDEN.contains(&name.as_str()) {
            return Err(Failure::new(
                doing,
                format!("it sets {name:?}"),
                "that is no variable that a service may set",
                "remove it from `variables:`",
            ));
        }
        found.push((name, value.as_str().unwrap_or_default().to_owned()));
    }
    found.sort();
    Ok(found)
}

/// Makes the layer, unless it is there as it should be.
fn install(context: &BuildContext<'_>, layer: &Layer, settings: &Settings) -> Result<(), Failure> {
    let types = LayerTypes { build: false, launch: true, cache: true };
    if layer.has_content() && layer.metadata::<Settings>().as_ref() == Some(settings) {
        return layer.write(types, settings);
    }
    layer.clear()?;
    layer.create()?;
    let mut sources = Vec::new();
    for file in RUNNER {
        let path = layer.dir().join(Path::new(file.path).strip_prefix("runner").unwrap_or(Path::new(file.path)));
        write_file(&path, file.bytes)?;
        if path.extension().is_some_and(|extension| extension == "py") {
            sources.push(path);
        }
    }
    compile(context, &sources)?;
    let launch = EnvironmentScope::Launch;
    layer.set_variable(launch, "ENTRY_POINT", EnvironmentChange::Default, &settings.entry_point)?;
    layer.set_variable(launch, "PYTHONPATH", EnvironmentChange::Append(":"), &layer.dir().display().to_string())?;
    if let Some(contract) = &settings.contract {
        layer.set_variable(launch, CONTRACT_VARIABLE, EnvironmentChange::Default, contract)?;
    }
    for (name, value) in &settings.variables {
        layer.set_variable(launch, name, EnvironmentChange::Default, value)?;
    }
    layer.write(types, settings)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, bytes)
    };
    write().map_err(|error| Failure::io("writing the runner", &error))
}

/// Without bytecode every job would compile the runner again.
fn compile(context: &BuildContext<'_>, sources: &[PathBuf]) -> Result<(), Failure> {
    let interpreter = Interpreter::find(context.common)?;
    bytecode::compile(&interpreter.executable, sources)
        .map(|_| ())
        .map_err(|error| Failure::io("compiling the runner", &error))
}

/// A `planqk.json` alone is no service yet.
fn check_program(context: &Context, service: Service, entry_point: &str) -> Result<(), Failure> {
    let dir = match service {
        Service::PlanQk => "",
        Service::Template(dir) => dir,
    };
    let program = Path::new(dir).join("src/program.py");
    let default = entry_point == service.entry_point();
    if !default || context.app_file(&program).is_some() || procfile::read(context)?.is_some() {
        return Ok(());
    }
    Err(Failure::new(
        "looking for the service's program",
        format!("there is no {}", program.display()),
        "a service is called through its function run(data, params)",
        format!("write {}, or set ENTRY_POINT=package.module:function for the build", program.display()),
    ))
}

/// The template's own program: its command and a sentence about it.
fn own_program(context: &Context, service: Service) -> Result<Option<(Vec<String>, String)>, Failure> {
    let wanted = context.variable(RUNNER_VARIABLE);
    let doing = "choosing what runs the job";
    match (wanted, service) {
        (Some("hoist"), _) | (None, Service::PlanQk) => return Ok(None),
        (None | Some("template"), _) => {}
        (Some(other), _) => {
            return Err(Failure::new(
                doing,
                format!("{RUNNER_VARIABLE} is {other}"),
                "there are `hoist` and `template`",
                format!("set {RUNNER_VARIABLE}=hoist"),
            ));
        }
    }
    let choose = format!("{RUNNER_VARIABLE}=hoist takes hoist's runner");
    if let Some(procfile) = procfile::read(context)?
        && let Some(entry) = procfile.default_entry()
    {
        let command = procfile::command_of(entry)?;
        let assignments = command.environment.iter().map(|(name, value)| format!("{name}={value}"));
        // Assignments belong to the Procfile's own process; `env` sets them here.
        let argv = if command.environment.is_empty() {
            command.argv
        } else {
            std::iter::once("env".to_owned()).chain(assignments).chain(command.argv).collect()
        };
        return Ok(Some((argv, format!("the template's own program runs ({}); {choose}", entry.command))));
    }
    if context.app_file("app/__main__.py").is_some() {
        let argv = ["python", "-m", "app"].map(str::to_owned).to_vec();
        return Ok(Some((argv, format!("the template's own program runs (python -m app); {choose}"))));
    }
    if wanted == Some("template") {
        return Err(Failure::new(
            doing,
            "there is neither a Procfile nor an app/__main__.py",
            "the template has no program of its own",
            format!("leave {RUNNER_VARIABLE} out"),
        ));
    }
    Ok(None)
}

#[cfg(test)]
#[path = "job_template_tests.rs"]
mod tests;
