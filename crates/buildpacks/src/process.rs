//! The one module that reads the process environment and starts processes.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Output as ProcessOutput, Stdio};

use crate::context::Environment;

/// The environment of this process.
pub(crate) fn own_environment() -> Environment {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

/// The arguments of this process.
pub(crate) fn own_arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// A command with exactly the given environment, reading nothing.
#[allow(clippy::disallowed_methods)] // this is the module that owns process starting
pub(crate) fn command(program: impl Into<OsString>, environment: &Environment) -> Command {
    let mut command = Command::new(program.into());
    command.env_clear().envs(environment.iter()).stdin(Stdio::null());
    command
}

/// Runs to the end with both outputs caught.
pub(crate) fn run(command: &mut Command) -> io::Result<ProcessOutput> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()
}

/// Starts with both outputs caught.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}
