//! The Python that a build has: told by the hoist/python buildpack through variables, or found on `PATH` when another buildpack brings it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::context::{Context, Environment};
use crate::failure::Failure;
use crate::process;

/// Variables that hoist/python sets for later buildpacks.
pub(crate) const EXECUTABLE_VARIABLE: &str = "HOIST_INTERPRETER";
pub(crate) const VERSION_VARIABLE: &str = "HOIST_INTERPRETER_VERSION";
pub(crate) const IDENTITY_VARIABLE: &str = "HOIST_INTERPRETER_IDENTITY";
pub(crate) const REASON_VARIABLE: &str = "HOIST_INTERPRETER_REASON";
pub(crate) const PIP_WHEEL_VARIABLE: &str = "HOIST_PIP_WHEEL";

/// An interpreter.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    pub(crate) executable: PathBuf,
    /// `3.13.5`.
    pub(crate) version: String,
    /// What must be the same for an environment to stay valid.
    pub(crate) identity: String,
    /// Why it is this version, when known.
    pub(crate) reason: Option<String>,
    /// The wheel of pip that comes with it.
    pub(super) pip_wheel: Option<PathBuf>,
}

impl Interpreter {
    pub(crate) fn find(context: &Context) -> Result<Self, Failure> {
        let variable = |name| context.variable(name).map(str::to_owned);
        if let (Some(executable), Some(version)) = (variable(EXECUTABLE_VARIABLE), variable(VERSION_VARIABLE)) {
            let identity = variable(IDENTITY_VARIABLE).unwrap_or_else(|| version.clone());
            let pip_wheel = variable(PIP_WHEEL_VARIABLE).map(PathBuf::from);
            let reason = variable(REASON_VARIABLE);
            return Ok(Self { executable: executable.into(), version, identity, reason, pip_wheel });
        }
        Self::on_path(context)
    }

    /// One that this build unpacked, and that nothing but pip is run with.
    pub(crate) fn of_debian(executable: PathBuf, version: &str, pip_wheel: Option<PathBuf>) -> Self {
        Self { executable, version: version.to_owned(), identity: version.to_owned(), reason: None, pip_wheel }
    }

    fn on_path(context: &Context) -> Result<Self, Failure> {
        let none = || {
            Failure::new(
                "looking for the Python to install into",
                "no `python3` on PATH",
                "an environment needs an interpreter, and no buildpack before this one brought one",
                "put hoist/python (or another Python buildpack) before hoist/pip in the order",
            )
        };
        let path = context.environment.get("PATH").cloned().unwrap_or_default();
        let executable =
            std::env::split_paths(&path).map(|dir| dir.join("python3")).find(|file| file.is_file()).ok_or_else(none)?;
        let program = "import sys; print('.'.join(map(str, sys.version_info[:3])), sys.executable)";
        let mut command = process::command(&executable, &Environment::new());
        let output = process::run(command.args(["-I", "-S", "-c", program]))
            .map_err(|error| Failure::io("asking Python its version", &error))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (version, real) = text.split_once(' ').ok_or_else(none)?;
        let executable = PathBuf::from(real);
        let identity = format!("{version} at {}", executable.display());
        Ok(Self { executable, version: version.to_owned(), identity, reason: None, pip_wheel: None })
    }

    /// `3.13`.
    pub(crate) fn minor_version(&self) -> String {
        self.version.split('.').take(2).collect::<Vec<_>>().join(".")
    }

    /// `cpython-313`, the tag in the names of bytecode files.
    pub(crate) fn cache_tag(&self) -> String {
        format!("cpython-{}", self.minor_version().replace('.', ""))
    }

    /// pip run by this interpreter, with its settings; arguments are still to be added.
    pub(crate) fn pip(&self, settings: &Environment, home: &Path) -> Command {
        self.pip_for(&self.executable, settings, home)
    }

    /// pip for an environment of this interpreter, given by its `python`.
    pub(crate) fn pip_for(&self, python: &Path, settings: &Environment, home: &Path) -> Command {
        let mut environment = settings.clone();
        environment.insert("HOME".into(), home.into());
        environment.insert("TMPDIR".into(), home.into());
        environment.insert("SOURCE_DATE_EPOCH".into(), "315532801".into());
        let Some(wheel) = &self.pip_wheel else {
            // pip is among the interpreter's own packages, and works on the environment from outside.
            let mut command = process::command(&self.executable, &environment);
            command.args([OsStr::new("-m"), OsStr::new("pip"), OsStr::new("--python")]).arg(python);
            return command;
        };
        let mut command = process::command(python, &environment);
        command.arg(wheel.join("pip"));
        command
    }
}
