//! `exec.d` programs: each runs before the process and writes variables to file descriptor 3, as TOML.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoist_spec::Environment;

use crate::error::LaunchError;
use crate::layers::{entries, in_rounds};
use crate::programs::Program;

/// The file descriptor that the specification names.
const OUTPUT_FD: i32 = 3;
/// More variables than any process is started with.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// Runs those of all layers, then those for this process type: two rounds, each "firstly, in order of `/bin/build` execution", then by layer,
/// then by name.
pub(crate) fn run_all(
    variables: &mut Environment,
    buildpacks: &[Vec<PathBuf>],
    kind: Option<&str>,
) -> Result<(), LaunchError> {
    for dir in in_rounds(buildpacks, "exec.d", kind) {
        for program in entries(&dir, false)? {
            let Some(own) = Program::linked(&program) else {
                run(variables, &program)?;
                continue;
            };
            for (name, value) in own.variables(variables) {
                variables.set(name, value);
            }
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "this module starts these processes")]
fn run(variables: &mut Environment, program: &Path) -> Result<(), LaunchError> {
    let failed = |source| LaunchError::ExecD { path: program.to_owned(), source };
    let (mut reader, writer) = std::io::pipe().map_err(failed)?;
    let writer = OwnedFd::from(writer);
    let mut command = Command::new(program);
    command.env_clear().envs(variables.iter());
    let fd = writer.as_raw_fd();
    // SAFETY: the closure runs between fork and exec and only makes two async-signal-safe system calls; `fd` is open until after the
    // child was started, because `writer` is dropped below.
    unsafe {
        command.pre_exec(move || {
            let done = if fd == OUTPUT_FD { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, OUTPUT_FD) };
            if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    drop(command);
    drop(writer);
    let mut output = Vec::new();
    let read = reader.by_ref().take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut output);
    // A program that writes on must not wait for a reader for ever.
    drop(reader);
    let status = child.wait().map_err(failed)?;
    let wrong = |problem: String| LaunchError::ExecDOutput { path: program.to_owned(), problem };
    read.map_err(|error| wrong(error.to_string()))?;
    if output.len() as u64 > MAX_OUTPUT_BYTES {
        return Err(wrong(format!("it is more than {} MiB", MAX_OUTPUT_BYTES >> 20)));
    }
    if !status.success() {
        return Err(LaunchError::ExecDFailed { path: program.to_owned(), how: status.to_string() });
    }
    let output = String::from_utf8(output).map_err(|error| wrong(error.to_string()))?;
    let table: toml::Table = toml::from_str(&output).map_err(|error| wrong(error.message().to_owned()))?;
    for (name, value) in table {
        let toml::Value::String(value) = value else { return Err(wrong(format!("`{name}` is not a string"))) };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(wrong(format!("`{name}` cannot be a variable")));
        }
        variables.set(name, value);
    }
    Ok(())
}
