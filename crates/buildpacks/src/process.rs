//! The one module that reads the process environment and starts processes.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
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
    run_heard(command, &mut |_| {})
}

/// More of a process's output is read and thrown away: a build script may print without end.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// Runs to the end with both outputs caught, and hands on each line of standard error as it comes.
pub(crate) fn run_heard(command: &mut Command, heard: &mut dyn FnMut(&str)) -> io::Result<ProcessOutput> {
    let mut child = start(command)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = std::thread::scope(|scope| {
        let other = scope.spawn(|| stdout.map_or(Ok(Vec::new()), |pipe| read_all(pipe, &mut |_| {})));
        let stderr = stderr.map_or(Ok(Vec::new()), |pipe| read_all(pipe, heard));
        match other.join() {
            Ok(stdout) => (stdout, stderr),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    Ok(ProcessOutput { status: child.wait()?, stdout: stdout?, stderr: stderr? })
}

/// Everything a pipe gives, up to the limit, line by line.
fn read_all(pipe: impl Read, heard: &mut dyn FnMut(&str)) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(pipe);
    let mut all = Vec::new();
    loop {
        let start = all.len();
        let room = MAX_OUTPUT_BYTES.saturating_sub(start as u64);
        if room == 0 {
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(all);
        }
        if (&mut reader).take(room).read_until(b'\n', &mut all)? == 0 {
            return Ok(all);
        }
        heard(String::from_utf8_lossy(&all[start..]).trim_end());
    }
}

/// Starts with both outputs caught.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_as_they_come_and_an_endless_output_is_cut() {
        let environment = Environment::from([("PATH".into(), own_environment()["PATH"].clone())]);
        let mut lines = Vec::new();
        let mut shell = command("sh", &environment);
        let output = run_heard(shell.args(["-c", "echo out; echo one >&2; echo two >&2"]), &mut |line| {
            lines.push(line.to_owned());
        });
        let output = output.unwrap();
        assert_eq!((lines, output.stdout), (vec!["one".to_owned(), "two".to_owned()], b"out\n".to_vec()));
        let mut shell = command("sh", &environment);
        let output = run(shell.args(["-c", "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2"])).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (16 << 20, 16 << 20));
        assert!(output.status.success());
    }
}
