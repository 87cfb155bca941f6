//! Becoming the process: directly, or through one bash that sources the profile scripts of old buildpacks.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoist_spec::Environment;

use crate::error::LaunchError;
use crate::layers::{entries, in_rounds};
use crate::process::Choice;

const BASH: &str = "/bin/bash";

/// Replaces the launcher by the process; comes back only with an error.
pub(crate) fn become_process(
    choice: &Choice,
    variables: Environment,
    layers: &[Vec<PathBuf>],
    name: &Path,
    app_dir: &Path,
) -> Result<Infallible, LaunchError> {
    if !choice.direct {
        let script = script(choice, layers, app_dir)?;
        let mut args: Vec<OsString> = vec!["-c".into(), script.into(), name.into(), choice.command.clone()];
        args.extend(choice.args.iter().cloned());
        return exec(Path::new(BASH), OsStr::new("bash"), &args, variables);
    }
    let program = look_up(&choice.command, variables.get("PATH").unwrap_or_default(), &choice.working_dir)?;
    std::env::set_current_dir(&choice.working_dir)
        .map_err(|source| LaunchError::Directory { dir: choice.working_dir.clone(), source })?;
    exec(&program, &choice.command, &choice.args, variables)
}

#[allow(clippy::disallowed_methods, reason = "this module becomes the process")]
fn exec(program: &Path, name: &OsStr, args: &[OsString], variables: Environment) -> Result<Infallible, LaunchError> {
    let mut command = Command::new(program);
    command.arg0(name).args(args).env_clear().envs(variables.into_variables());
    Err(LaunchError::Exec { program: program.to_owned(), source: command.exec() })
}

/// Finds an executable as `execvp` would; a relative path with a slash is relative to the working directory.
fn look_up(command: &OsStr, path: &OsStr, working_dir: &Path) -> Result<PathBuf, LaunchError> {
    if command.to_string_lossy().contains('/') {
        return Ok(working_dir.join(command));
    }
    let is_executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let found =
        std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(command)).find(is_executable);
    found.ok_or_else(|| LaunchError::NotFound {
        program: command.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
    })
}

/// What bash is to do: source the profile scripts, go to the working directory, and become the process. Arguments of a buildpack's
/// process are words in which variables are expanded; a command without arguments, or a user's, is a script of its own.
fn script(choice: &Choice, layers: &[Vec<PathBuf>], app_dir: &Path) -> Result<String, LaunchError> {
    let mut script = String::new();
    for dir in in_rounds(layers, "profile.d", choice.kind.as_deref()) {
        for file in entries(&dir, false)? {
            let _ = writeln!(script, "source {}", quote(&file));
        }
    }
    let profile = app_dir.join(".profile");
    if profile.is_file() {
        let _ = writeln!(script, "source {}", quote(&profile));
    }
    let _ = writeln!(script, "cd {}", quote(&choice.working_dir));
    if choice.args.is_empty() || !choice.from_buildpack {
        script.push_str("exec bash -c \"$@\"");
        return Ok(script);
    }
    let mut words = String::from("\"$(eval echo \\\"$0\\\")\"");
    for number in 1..=choice.args.len() {
        let _ = write!(words, " \"$(eval echo \\\"${{{number}}}\\\")\"");
    }
    let _ = write!(script, "exec bash -c '{words}' \"${{@:1}}\"");
    Ok(script)
}

/// A path in single quotes for the shell.
fn quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
