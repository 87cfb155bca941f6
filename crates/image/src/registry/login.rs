//! Credential helpers (`docker-credential-NAME`): programs of the user's own that are asked for one registry, within a time and a length.
//!
//! The module of the registry client that starts processes.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::registry::error::RegistryError;
use crate::registry::keys::Secret;
use crate::stop::{StopSign, TICK};

/// What a helper says has some hundred bytes; tokens of clouds have some thousand.
const MAX_OUTPUT_BYTES: u64 = 256 << 10;
/// By which helpers say that they have nothing for a registry.
const NOTHING: &str = "credentials not found";

/// A helper to be asked.
pub(super) struct Helper<'a> {
    pub(super) name: &'a str,
    pub(super) path: Option<&'a OsStr>,
    pub(super) limit: Duration,
    pub(super) stop: &'a StopSign,
}

/// What a helper says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Key { user: String, secret: Secret },
    Nothing,
}

#[derive(Deserialize)]
struct Output {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helper<'_> {
    pub(super) fn ask(&self, registry: &str) -> Result<Said, RegistryError> {
        let program = self.program()?;
        #[allow(clippy::disallowed_methods)] // the module that starts processes
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| self.failed(format!("it cannot be started: {error}")))?;
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(registry.as_bytes()); // one that reads nothing says nothing either
        }
        let outcome = self.listen(&mut child);
        let (bytes, success) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        if !success {
            let said = String::from_utf8_lossy(&bytes).to_lowercase();
            if said.contains(NOTHING) {
                return Ok(Said::Nothing);
            }
            return Err(self.failed("it failed".to_owned()));
        }
        let output: Output = serde_json::from_slice(&bytes)
            .map_err(|_| self.failed("what it says is no JSON with Username and Secret".to_owned()))?;
        if output.user.is_empty() && output.secret.is_empty() {
            return Ok(Said::Nothing);
        }
        Ok(Said::Key { user: output.user, secret: Secret::new(output.secret) })
    }

    /// Everything that it says and whether it ended well, in time.
    fn listen(&self, child: &mut Child) -> Result<(Vec<u8>, bool), RegistryError> {
        let started = Instant::now();
        let (sender, said) = mpsc::sync_channel(1);
        if let Some(output) = child.stdout.take() {
            // What it started itself may keep the pipe open: this thread is not waited for longer than the helper may take.
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let read = output.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes);
                let _ = sender.send(read); // unless nobody waits any more
            });
        }
        let bytes = loop {
            match said.recv_timeout(TICK) {
                Ok(bytes) => break bytes,
                Err(RecvTimeoutError::Timeout) => self.go_on(started)?,
                Err(RecvTimeoutError::Disconnected) => break Err(io::ErrorKind::BrokenPipe.into()),
            }
        };
        let bytes = bytes.map_err(|error| self.failed(format!("its output cannot be read: {error}")))?;
        if bytes.len() as u64 > MAX_OUTPUT_BYTES {
            return Err(self.failed(format!("it says more than {MAX_OUTPUT_BYTES} bytes")));
        }
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok((bytes, status.success())),
                Ok(None) => self.go_on(started)?,
                Err(error) => return Err(self.failed(format!("its end cannot be seen: {error}"))),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn go_on(&self, started: Instant) -> Result<(), RegistryError> {
        if self.stop.is_up() {
            return Err(RegistryError::Stopped { doing: format!("asking the credential helper `{}`", self.name) });
        }
        if started.elapsed() >= self.limit {
            return Err(self.failed(format!("it has said nothing for {} seconds", self.limit.as_secs())));
        }
        Ok(())
    }

    /// A name of a file alone, never a path: the name stands in a document.
    fn program(&self) -> Result<PathBuf, RegistryError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if self.name.is_empty() || !self.name.bytes().all(is_plain) {
            return Err(self.failed("its name is no name of a program".to_owned()));
        }
        let file = format!("docker-credential-{}", self.name);
        let dirs = self.path.map(std::env::split_paths).into_iter().flatten();
        let found = dirs.map(|dir| dir.join(&file)).find(|path| path.is_file());
        found.ok_or_else(|| self.failed(format!("there is no program {file} in PATH")))
    }

    fn failed(&self, problem: String) -> RegistryError {
        RegistryError::Helper { name: self.name.chars().take(60).collect(), problem }
    }
}

/// Ends a helper and what it started.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL); // gone already
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fs_err as fs;

    use super::*;

    fn asked(script: &str, limit: Duration) -> Result<Said, RegistryError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker-credential-test");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([dir.path(), "/bin".as_ref(), "/usr/bin".as_ref()]).unwrap();
        Helper { name: "test", path: Some(&path), limit, stop: &StopSign::default() }.ask("r.example")
    }

    #[test]
    fn a_helper_is_told_the_registry_and_gives_a_user_and_a_secret() {
        let script =
            r#"read registry; echo "{\"ServerURL\":\"$registry\",\"Username\":\"$1-$registry\",\"Secret\":\"s\"}""#;
        let said = asked(script, Duration::from_secs(20)).unwrap();
        assert_eq!(said, Said::Key { user: "get-r.example".to_owned(), secret: Secret::new("s") });
        let nothing =
            asked("echo 'credentials not found in native keychain'; exit 1", Duration::from_secs(20)).unwrap();
        assert_eq!(nothing, Said::Nothing);
    }

    #[test]
    fn a_helper_that_fails_talks_too_much_or_hangs_is_named_and_what_it_said_is_not_shown() {
        let started = Instant::now();
        for (script, said) in [
            ("echo SECRET; exit 3", "it failed"),
            ("echo SECRET", "what it says is no JSON with Username and Secret"),
            ("exec cat /dev/zero", "it says more than 262144 bytes"),
            ("exec sleep 60", "it has said nothing for 1 seconds"),
            ("sleep 60 & echo {}; exec 1>&-; sleep 60", "it has said nothing for 1 seconds"),
        ] {
            let error = asked(script, Duration::from_secs(1)).unwrap_err();
            assert_eq!(error.to_string(), format!("asking the credential helper `docker-credential-test`: {said}"));
            assert!(error.hint().contains("docker-credential-test"), "{}", error.hint());
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        let helper = Helper { name: "../x", path: None, limit: Duration::from_secs(1), stop: &StopSign::default() };
        assert!(helper.ask("r").unwrap_err().to_string().contains("no name of a program"));
        let helper = Helper { name: "x", path: None, limit: Duration::from_secs(1), stop: &StopSign::default() };
        assert!(helper.ask("r").unwrap_err().to_string().ends_with("there is no program docker-credential-x in PATH"));
    }
}
