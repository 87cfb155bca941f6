//! Tries the entry point of a service in the finished image, without network, so that a missing module fails the build and not the job.
//!
//! Importing costs as much as the service's heaviest library, so it is done once for each environment and set of import statements:
//! a first, static look (no code of the service runs) tells whether anything changed that an import could notice.

use hoist_image::{Digest, Image};
use hoist_sandbox::{ExitStatus, Limits, Network, Spec};
use hoist_spec::{LIFECYCLE_METADATA_LABEL, LifecycleMetadata};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::process::{Overrides, process_of};
use crate::runner::reason;

const RECORD_KIND: &str = "import-check";
/// The buildpack that brings the runner.
const RUNNER: &str = "hoist/job-template";
/// Importing large libraries from a cold disk takes tens of seconds.
const TIMEOUT: Duration = Duration::from_mins(5);
const MEMORY_BYTES: u64 = 8 << 30;
const OUTPUT_BYTES: u64 = 16 << 20;
/// Environments and import statements that passed, kept for each name.
const MAX_PASSED: usize = 16;

/// What passed before, for one image name.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Passed {
    /// The image that was tried last.
    image: String,
    /// Digests of environment and import statements together, the newest last.
    keys: Vec<String>,
}

/// The answer of the runner, a line of JSON on stdout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdict {
    ok: bool,
    /// `import_error` for an exception of the code that was imported.
    kind: String,
    message: String,
    hint: String,
    line_to_add: Option<String>,
    evidence: Option<String>,
    fingerprint: Option<String>,
    /// Something that keeps the import from nothing, but a later call from working.
    warning: Option<String>,
}

/// Whether hoist's own runner is in the image: other buildpacks have job templates of their own, which only they can call.
pub(crate) fn has_runner(image: &Image) -> bool {
    lifecycle_metadata(image).is_some_and(|metadata| metadata.buildpack(RUNNER).is_some())
}

fn lifecycle_metadata(image: &Image) -> Option<LifecycleMetadata> {
    let labels = image.config().config().as_ref()?.labels().as_ref()?;
    LifecycleMetadata::parse(labels.get(LIFECYCLE_METADATA_LABEL)?).ok()
}

impl LocalEngine {
    /// Fails where the entry point of the service in `image` cannot be imported. `name` names what was tried before; `day` is asked for the day
    /// whose packages an old service may have been written for.
    pub(crate) fn check_import(
        &self,
        image: &Image,
        name: &str,
        day: impl FnOnce() -> Option<String>,
    ) -> Result<(), PlatformError> {
        let mut passed: Passed = self.store().record(RECORD_KIND, name)?.unwrap_or_default();
        let id = image.id().to_string();
        if passed.image == id {
            return Ok(());
        }
        let first = self.ask(image, "--check-static")?;
        if !first.ok {
            return Err(failure(&first, None));
        }
        if let Some(text) = &first.warning {
            let hint = Some(first.hint.as_str()).filter(|hint| !hint.is_empty());
            self.reporter().warn(text, hint);
        }
        let key = first.fingerprint.as_deref().map(|imports| environment_key(image, imports));
        if key.as_ref().is_none_or(|key| !passed.keys.contains(key)) {
            self.reporter().step("trying the import of the service once, without network");
            let full = self.ask(image, "--check")?;
            if !full.ok {
                let day = if full.kind == "import_error" { day() } else { None };
                return Err(failure(&full, day.as_deref()));
            }
        }
        if let Some(key) = key {
            passed.keys.retain(|known| *known != key);
            passed.keys.push(key);
            let surplus = passed.keys.len().saturating_sub(MAX_PASSED);
            passed.keys.drain(..surplus);
        }
        passed.image = id;
        self.store().put_record(RECORD_KIND, name, &passed, &[])?;
        Ok(())
    }

    fn ask(&self, image: &Image, mode: &str) -> Result<Verdict, PlatformError> {
        let run_root = self.run_root(image)?;
        let args: Vec<OsString> =
            ["--", "python", "-m", "hoist_runner", mode].into_iter().map(OsString::from).collect();
        let overrides = Overrides { entrypoint: Some("/cnb/lifecycle/launcher"), args: &args, ..Overrides::default() };
        let mut spec = Spec::new(run_root.root.clone(), process_of(image, &overrides)?);
        spec.network = Network::None;
        spec.limits = Limits {
            timeout: Some(TIMEOUT),
            memory_bytes: Some(MEMORY_BYTES),
            output_bytes: Some(OUTPUT_BYTES),
            ..Limits::default()
        };
        let mut output = (Vec::new(), Vec::new());
        let exit = hoist_sandbox::run(&spec, &mut output, self.cancel())?;
        let said = String::from_utf8_lossy(&output.0);
        let verdict = said.lines().rev().find_map(|line| serde_json::from_str::<Verdict>(line).ok());
        match (verdict, exit.status) {
            (_, ExitStatus::Cancelled) => Err(PlatformError::Cancelled),
            (Some(verdict), _) => Ok(verdict),
            (None, status) => Err(PlatformError::ImportCheck {
                message: format!(
                    "importing the service ended without an answer: {}\n{}",
                    reason(status, &spec.limits),
                    last_lines(&output.1)
                ),
                hint: "import it by hand to see more: hoist build --no-import-check NAME, then hoist run --entrypoint launcher NAME -- -- python -X faulthandler -m hoist_runner --check".to_owned(),
            }),
        }
    }
}

/// Digest of everything below the app and of the app's import statements.
fn environment_key(image: &Image, imports: &str) -> String {
    let environment = lifecycle_metadata(image).map(|metadata| (metadata.run_image.top_layer, metadata.buildpacks));
    let text = serde_json::to_string(&environment).unwrap_or_default();
    Digest::of(format!("{text}\n{imports}").as_bytes()).to_string()
}

fn failure(verdict: &Verdict, day: Option<&str>) -> PlatformError {
    let mut message = format!("the service was built, but it would not start: {}", verdict.message);
    if let Some(evidence) = &verdict.evidence {
        message.push('\n');
        message.push_str(evidence.trim_end());
    }
    let mut hint = match &verdict.line_to_add {
        Some(line) if !verdict.hint.contains(line.as_str()) => {
            format!("{}\nadd this line to requirements.txt: {line}", verdict.hint)
        }
        _ => verdict.hint.clone(),
    };
    if let Some(day) = day {
        let _ = write!(
            hint,
            "\nthe newest file of the service is of {day}: try the packages of that day, which it was written for: --as-of {day}"
        );
    }
    PlatformError::ImportCheck { message, hint: hint.trim().to_owned() }
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_named_with_the_line_to_add() {
        let verdict = Verdict {
            message: "the module cv2 is not installed (src/program.py line 3)".into(),
            hint: "cv2 comes with opencv-python-headless".into(),
            line_to_add: Some("opencv-python-headless".into()),
            ..Verdict::default()
        };
        let error = failure(&verdict, None);
        assert_eq!(
            error.to_string(),
            "the service was built, but it would not start: the module cv2 is not installed (src/program.py line 3)"
        );
        assert_eq!(error.hint(), "cv2 comes with opencv-python-headless");
        let old = failure(
            &Verdict { kind: "import_error".into(), hint: "look".into(), ..Verdict::default() },
            Some("2022-06-01"),
        );
        assert!(old.hint().starts_with("look\n") && old.hint().ends_with("--as-of 2022-06-01"), "{}", old.hint());
        let error = failure(&Verdict { line_to_add: Some("numpy".into()), ..verdict }, None);
        assert!(error.hint().ends_with("\nadd this line to requirements.txt: numpy"), "{}", error.hint());
    }
}
