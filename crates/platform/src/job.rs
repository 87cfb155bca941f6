//! A job: stage, build, run with input, collect the result, remove what was temporary.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use hoist_events::{Event, Phase, Reporter, Stream};
use hoist_image::{Image, ImageId};
use hoist_sandbox::{Exit, ExitStatus, Limits, OutputSink, Process, Spec};
use hoist_service::{
    Contract, DefaultInput, InputArgument, InputRequest, JobExit, JobResult, JsonText, Outcome, ResultScanner,
    Signature, WrittenInput, collect, resolve_input, write_input,
};

use crate::build::Purpose;
use crate::check::gpus;
use crate::contract::ImageContract;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::output::LineSink;
use crate::process::{Overrides, process_of};
use crate::request::{BuildRequest, JobRequest, JobSource, RunInput};
use crate::runner::bind;

/// A result is read into memory; what is larger belongs into files.
const MAX_RESULT_BYTES: usize = 64 << 20;
/// What a job may print in all.
const MAX_OUTPUT_BYTES: u64 = 1 << 30;
/// Against fork bombs; numeric libraries start a few threads for each processor.
const PIDS_LIMIT: u64 = 4096;

/// What a job came to.
#[derive(Debug)]
pub struct JobReport {
    /// Its result.
    pub result: JobResult,
    /// The image that it ran in; gone unless it was kept.
    pub image_id: ImageId,
    /// How long the build took; none where there was nothing to build.
    pub build_time: Option<Duration>,
    /// How long the process ran.
    pub run_time: Duration,
    /// The most memory it used.
    pub peak_memory_bytes: u64,
    /// What to do about a failure, where that is known.
    pub hint: Option<String>,
    /// Whether the input was refused before the service's function was called.
    pub wrong_input: bool,
}

/// What is executed, whether it was built for this job or was there before.
struct Executable {
    image: Image,
    contract: Contract,
    signature: Option<Signature>,
    defaults: DefaultInput,
    limits: Limits,
    build_time: Option<Duration>,
    /// Whether the image was made for this job alone, and goes with it.
    temporary: bool,
}

impl LocalEngine {
    /// Executes a job and waits for its end. The service's logs go to the reporter as they come.
    pub fn run_job(&self, request: &JobRequest) -> Result<JobReport, PlatformError> {
        let request = &JobRequest { input: read_input_early(request)?, ..request.clone() };
        // Nothing of the image is pruned between its build and its run, although it has no name.
        let _lease = self.store().lease()?;
        let executable = self.executable(request)?;
        let report = self.execute(request, &executable);
        if executable.temporary {
            self.phase(Phase::Clean, || Ok(self.store().remove_unnamed(executable.image.id()).map(|_| ())?))?;
        }
        report
    }

    fn executable(&self, request: &JobRequest) -> Result<Executable, PlatformError> {
        match &request.source {
            JobSource::Service(build) => self.built_executable(build, request.keep),
            JobSource::Image(reference) => {
                let image = self.store().image(&reference.to_string())?;
                let about = ImageContract::of(&image);
                let contract =
                    about.contract.ok_or_else(|| PlatformError::NotAService { what: reference.to_string() })?;
                Ok(Executable {
                    image,
                    contract,
                    signature: about.signature,
                    defaults: DefaultInput::default(),
                    limits: Limits { cpus: about.cpus, memory_bytes: about.memory_bytes, ..Limits::default() },
                    build_time: None,
                    temporary: false,
                })
            }
        }
    }

    fn built_executable(&self, request: &BuildRequest, keep: bool) -> Result<Executable, PlatformError> {
        let built = self.build_for(Purpose::Job { keep }, request)?;
        let resources = built.staged.manifest.as_ref().map(|manifest| &manifest.resources);
        let contract = built.staged.contract.as_ref().map(|choice| choice.contract);
        if let Some((text, hint)) = gpus(&built.staged) {
            self.reporter().warn(&text, Some(hint));
        }
        let Some(contract) = contract else {
            return Err(PlatformError::NotAService { what: request.source.display().to_string() });
        };
        Ok(Executable {
            contract,
            signature: built.staged.signature.clone(),
            defaults: built.staged.default_input.clone(),
            limits: Limits {
                cpus: resources.and_then(|resources| resources.cpu),
                memory_bytes: resources.and_then(hoist_service::Resources::memory_bytes),
                ..Limits::default()
            },
            build_time: Some(built.elapsed),
            temporary: !keep,
            image: built.image,
        })
    }

    fn execute(&self, request: &JobRequest, executable: &Executable) -> Result<JobReport, PlatformError> {
        let run_root = self.run_root(&executable.image)?;
        let overrides = Overrides { env: &request.env, ..Overrides::default() };
        let mut process = process_of(&executable.image, &overrides)?;
        let input = self.write_job_input(request, executable, run_root.scratch_dir(), &mut process)?;
        let mut spec = Spec::new(run_root.root.clone(), process);
        spec.mounts = input.mounts.iter().map(|mount| bind(&mount.source, &mount.target, mount.read_only)).collect();
        spec.limits = limits(&request.limits, &executable.limits);
        spec.network = self.network(request.network, &[])?;
        "job".clone_into(&mut spec.hostname);
        let mut sink = JobSink {
            scanner: ResultScanner::new(MAX_RESULT_BYTES),
            logs: LineSink::of_job("app", self.reporter()),
            reporter: self.reporter(),
        };
        let exit = self.phase(Phase::Run, || Ok(hoist_sandbox::run(&spec, &mut sink, self.cancel())?))?;
        if exit.status == ExitStatus::Cancelled {
            return Err(PlatformError::Cancelled);
        }
        let reporter = sink.reporter;
        let scanned = sink.scanner.finish(&mut |line| log_line(reporter, line));
        let seen = sink.logs.finish();
        let last_line = seen.tail.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty());
        let last_line = seen.verdict.as_ref().map(|verdict| verdict.error.as_str()).or(last_line);
        let output_dir = input.output_dir.as_deref();
        let wrong_input = seen.verdict.as_ref().is_some_and(|verdict| verdict.wrong_input);
        let result = self.phase(Phase::Collect, || {
            let mut result = collect(executable.contract, scanned, output_dir, job_exit(&exit), last_line)?;
            if let (true, Outcome::Error(error)) = (wrong_input, &mut result.outcome) {
                "input".clone_into(&mut error.code);
            }
            if let Some(dir) = &request.output_dir {
                take_files(&mut result, dir)?;
            }
            Ok(result)
        })?;
        Ok(JobReport {
            wrong_input,
            hint: hint(&result, &spec.limits).or_else(|| seen.verdict.and_then(|verdict| verdict.hint)),
            result,
            image_id: executable.image.id(),
            build_time: executable.build_time,
            run_time: exit.wall,
            peak_memory_bytes: exit.peak_memory_bytes,
        })
    }

    fn write_job_input(
        &self,
        request: &JobRequest,
        executable: &Executable,
        scratch_dir: &Path,
        process: &mut Process,
    ) -> Result<WrittenInput, PlatformError> {
        let wanted = InputRequest {
            data: request.input.data.clone(),
            params: request.input.params.clone(),
            input_dir: request.input_dir.as_deref(),
            defaults: executable.defaults.clone(),
        };
        let input = resolve_input(&wanted, &mut std::io::empty())?;
        if executable.contract == Contract::G1 && !input.extra.is_empty() {
            let keys: Vec<&str> = input.extra.iter().map(|(key, _)| key.as_str()).collect();
            let text = format!("a service of the first generation gets data and params, and not {}", keys.join(", "));
            self.reporter().warn(&text, Some("put them into data, or choose the other generation: --contract G2"));
        }
        let dir = scratch_dir.join("input");
        fs::create_dir(&dir).map_err(|source| PlatformError::scratch("make the folder of the input", source))?;
        let written = write_input(&input, executable.contract, executable.signature.as_ref(), &dir)?;
        if let Some(dir) = &written.output_dir {
            self.give_to(dir, process.user)?;
        }
        for (name, value) in &written.env {
            if !request.env.iter().any(|(known, _)| known == name) {
                process.env.push((name.into(), value.into()));
            }
        }
        Ok(written)
    }

    /// Reports the beginning and the end of a phase around `work`.
    pub(crate) fn phase<T>(
        &self,
        phase: Phase,
        work: impl FnOnce() -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        self.reporter().report(&Event::PhaseStarted { phase });
        let started = Instant::now();
        let value = work()?;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.reporter().report(&Event::PhaseFinished { phase, elapsed_ms });
        Ok(value)
    }
}

/// What the user typed is looked at, and standard input read, before anything is built: a build takes longer than a look.
fn read_input_early(request: &JobRequest) -> Result<RunInput, PlatformError> {
    let wanted = InputRequest {
        data: request.input.data.clone(),
        params: request.input.params.clone(),
        input_dir: request.input_dir.as_deref(),
        defaults: DefaultInput::default(),
    };
    let read = resolve_input(&wanted, &mut std::io::stdin().lock())?;
    let kept = |typed: &Option<InputArgument>, text: &Option<JsonText>| match (typed, text) {
        (Some(InputArgument::Stdin), Some(text)) => Some(InputArgument::Inline(text.as_str().to_owned())),
        _ => typed.clone(),
    };
    Ok(RunInput { data: kept(&request.input.data, &read.data), params: kept(&request.input.params, &read.params) })
}

/// The caller's limits, and where there are none the service's own.
fn limits(wanted: &Limits, own: &Limits) -> Limits {
    Limits {
        memory_bytes: wanted.memory_bytes.or(own.memory_bytes),
        cpus: wanted.cpus.or(own.cpus),
        pids: wanted.pids.or(Some(PIDS_LIMIT)),
        timeout: wanted.timeout,
        output_bytes: wanted.output_bytes.or(Some(MAX_OUTPUT_BYTES)),
    }
}

fn job_exit(exit: &Exit) -> JobExit {
    match exit.status {
        ExitStatus::Exited(code) => JobExit::Code(code),
        ExitStatus::Signaled(signal) => JobExit::Signal(signal),
        ExitStatus::TimedOut => JobExit::TimedOut,
        ExitStatus::OutOfMemory => JobExit::OutOfMemory,
        ExitStatus::OutputLimit => JobExit::OutputLimit,
        ExitStatus::Cancelled => JobExit::Cancelled,
    }
}

fn hint(result: &JobResult, limits: &Limits) -> Option<String> {
    if !matches!(result.outcome, Outcome::Error(_)) {
        return None;
    }
    match result.exit {
        JobExit::OutOfMemory => {
            let now = limits.memory_bytes.map_or_else(String::new, |bytes| format!(" (now {} MB)", bytes >> 20));
            Some(format!("give it more memory{now}: --memory 4G, or resources.memory in planqk.json"))
        }
        JobExit::TimedOut => Some("give it more time: --timeout 1h".to_owned()),
        JobExit::OutputLimit => Some("let it print less; large results belong into files".to_owned()),
        _ => None,
    }
}

/// Moves result files out of what is temporary.
fn take_files(result: &mut JobResult, dir: &Path) -> Result<(), PlatformError> {
    let failed = |source| PlatformError::scratch(format!("write the result files to {}", dir.display()), source);
    fs::create_dir_all(dir).map_err(failed)?;
    for file in &mut result.files {
        let target: PathBuf = dir.join(&file.name);
        fs::create_dir_all(target.parent().unwrap_or(dir)).map_err(failed)?;
        fs::copy(&file.path, &target).map_err(failed)?;
        file.path = target;
    }
    Ok(())
}

fn log_line(reporter: &dyn Reporter, line: &str) {
    reporter.report(&Event::Output { source: "app".to_owned(), stream: Stream::Stdout, line: line.to_owned() });
}

/// Splits stdout into logs and result; stderr is all logs.
struct JobSink<'a> {
    scanner: ResultScanner,
    logs: LineSink<'a>,
    reporter: &'a dyn Reporter,
}

impl OutputSink for JobSink<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let reporter = self.reporter;
        self.scanner.feed(bytes, &mut |line| log_line(reporter, line));
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.logs.stderr(bytes)
    }

    fn note(&mut self, text: &str) {
        self.logs.note(text);
    }
}

#[cfg(test)]
mod tests {
    use hoist_service::ResultFile;

    use super::*;

    #[test]
    fn result_files_keep_their_folders() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("plots")).unwrap();
        let path = from.path().join("plots/a.svg");
        fs::write(&path, "<svg/>").unwrap();
        let file = ResultFile { name: "plots/a.svg".into(), path, size_bytes: 6 };
        let mut result = JobResult {
            outcome: Outcome::Value(None),
            files: vec![file],
            interim: Vec::new(),
            exit: JobExit::Code(0),
            warnings: Vec::new(),
        };
        let dir = to.path().join("new/out");
        take_files(&mut result, &dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join("plots/a.svg")).unwrap(), "<svg/>");
        assert_eq!(result.files[0].path, dir.join("plots/a.svg"));
    }
}
