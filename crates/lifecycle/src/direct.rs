//! The runner of a lifecycle that is in the build container itself: a buildpack is a child process, as the Go lifecycle starts it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use hoist_events::Stream;

use crate::runner::{BuildpackCall, BuildpackExit, Runner, RunnerError};

/// Starts buildpacks as children of this process, in its root file system.
pub(crate) struct DirectRunner {
    /// The user that they become for good, where that is not the user of this process.
    pub(crate) user: Option<(u32, u32)>,
}

impl Runner for DirectRunner {
    #[allow(clippy::disallowed_methods, reason = "this module starts these processes")]
    fn run(
        &self,
        call: &BuildpackCall,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        let mut command = Command::new(&call.program);
        command.args(&call.args).current_dir(&call.working_dir).env_clear().envs(call.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid); // without the groups of this process, too
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            // A buildpack without a program that runs here is a buildpack that fails.
            Err(error) => {
                return Ok(BuildpackExit::Killed {
                    reason: format!("{} cannot be started: {error}", call.program.display()),
                });
            }
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = Mutex::new(output);
        std::thread::scope(|scope| {
            scope.spawn(|| forward(stderr, Stream::Stderr, &output));
            forward(stdout, Stream::Stdout, &output);
        });
        let failed = |source| RunnerError {
            action: format!("waiting for {}", call.full_name()),
            hint: None,
            source: Box::new(source),
        };
        child.wait().map(end).map_err(failed)
    }
}

fn end(status: ExitStatus) -> BuildpackExit {
    match (status.code(), status.signal()) {
        (Some(code), _) => BuildpackExit::Exited(code),
        (None, signal) => BuildpackExit::Killed { reason: format!("signal {} ended it", signal.unwrap_or_default()) },
    }
}

/// What hears a process.
type Output<'a> = &'a mut (dyn FnMut(Stream, &[u8]) + Send);

/// Hands on what a process writes, until it closes the stream.
fn forward(from: Option<impl Read>, stream: Stream, output: &Mutex<Output<'_>>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 16 << 10];
    // A pipe that cannot be read any more is a pipe that is closed.
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        (output.lock().unwrap_or_else(PoisonError::into_inner))(stream, &buffer[..count]);
    }
}
