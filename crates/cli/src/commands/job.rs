//! `hoist job run`: stages, builds and runs a service, prints its result, and removes what was temporary.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hoist_image::{Reference, StoreError};
use hoist_platform::{JobReport, JobRequest, JobSource, RunInput};
use hoist_service::{InputArgument, Outcome, ResultFile};
use serde_json::{Value, json};

use crate::commands::build::{BuildOptions, SourceOptions};
use crate::commands::run::{RunOptions, Unset, parse_duration, parse_size, read_env_files};
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};

/// Run a service from its folder, zip or image to its result
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    Run(Box<JobRunArgs>),
}

/// Build a service, run it with its input, print the result on stdout, and clean up
#[derive(Debug, Args)]
struct JobRunArgs {
    /// Folder or zip of a service, or the name of an image that was built before
    source: String,
    /// The service's data: a file, JSON, or - for standard input; otherwise its input/data.json
    #[arg(long, value_name = "FILE|JSON|-")]
    data: Option<String>,
    /// The service's params: a file, JSON, or - for standard input; otherwise its input/params.json
    #[arg(long, value_name = "FILE|JSON|-")]
    params: Option<String>,
    /// Folder with data.json, params.json and any further keys
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// Folder to put the files of the result into
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Keep the image, under the service's name
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    run: RunOptions,
    /// Variable for the build, NAME=VALUE
    #[arg(long = "build-env", value_name = "NAME[=VALUE]")]
    build_env: Vec<String>,
    #[command(flatten)]
    build: JobBuildOptions,
}

/// The build options of a job; `-e` belongs to its process.
#[derive(Debug, Args)]
struct JobBuildOptions {
    /// Python to use, such as 3.11; otherwise what the service asks for, otherwise the base's own
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// Take packages as the index had them on that day: 2022-06-01, or an instant as 2022-06-01T12:00:00Z
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// Which file's dependencies to take, where the service has several (requirements.txt, environment.yml, …)
    #[arg(long, value_name = "FILE")]
    dependencies: Option<String>,
    /// How the service is called: G1, run(data, params), or G2, run with named and typed parameters; otherwise seen from the layout
    #[arg(long, value_name = "G1|G2")]
    contract: Option<hoist_service::Contract>,
    /// Build on exactly the base of this lock, which `hoist base lock` writes; otherwise on the base that is there
    #[arg(long, value_name = "FILE")]
    locked: Option<PathBuf>,
    /// Network of the build: host (what fetches packages needs it) or none
    #[arg(long, value_name = "NETWORK")]
    build_network: Option<hoist_platform::BuildNetwork>,
    /// Build without trying any connection: everything comes from the store and its caches, or from the bundle
    #[arg(long)]
    offline: bool,
    /// Build from this file, which `hoist bundle` made; no connection is tried then
    #[arg(long, value_name = "FILE", requires = "offline", conflicts_with = "locked")]
    bundle: Option<PathBuf>,
    /// Longest time that one buildpack may take: 90s, 10m, 1h; otherwise four hours
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    build_timeout: Option<Duration>,
    /// Most memory that one buildpack may use: 512M, 2G; otherwise all there is
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    build_memory: Option<u64>,
    /// Do not try the service's import after the build
    #[arg(long)]
    no_import_check: bool,
    #[command(flatten)]
    source: SourceOptions,
}

impl JobArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let JobCommand::Run(args) = self.command;
        args.run(context)
    }
}

impl JobRunArgs {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let request = JobRequest {
            source: self.source(context)?,
            input: RunInput {
                data: self.data.as_deref().map(InputArgument::parse),
                params: self.params.as_deref().map(InputArgument::parse),
            },
            input_dir: self.input,
            env: read_env_files(&self.run.env_file, &self.run.env, Unset::LeftOut)?,
            limits: self.run.limits(),
            network: self.run.network(context)?,
            keep: self.keep,
            output_dir: self.output,
        };
        let on = engine::BuildOn {
            locked: self.build.locked.as_deref(),
            offline: self.build.offline,
            bundle: self.build.bundle.as_deref(),
        };
        let reporter = std::sync::Arc::clone(&context.reporter);
        let report = engine::open_for(context, &on, reporter)?.run_job(&request)?;
        answer(context, &report, request.output_dir.is_some())
    }

    /// What exists on disk is a service; anything else must be an image.
    fn source(&self, context: &Context) -> Result<JobSource, Failure> {
        let path = PathBuf::from(&self.source);
        let zip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        let looks_like_path = zip || self.source.starts_with(['.', '/']);
        if !path.exists() && !looks_like_path {
            return self.image(context);
        }
        let options = BuildOptions {
            env: self.build_env.clone(),
            env_file: Vec::new(),
            python: self.build.python.clone(),
            as_of: self.build.as_of.clone(),
            dependencies: self.build.dependencies.clone(),
            contract: self.build.contract,
            locked: self.build.locked.clone(),
            network: self.build.build_network,
            offline: self.build.offline,
            bundle: self.build.bundle.clone(),
            build_timeout: self.build.build_timeout,
            build_memory: self.build.build_memory,
            no_import_check: self.build.no_import_check,
            source: self.build.source.clone(),
        };
        Ok(JobSource::Service(Box::new(options.request(context, path)?)))
    }

    fn image(&self, context: &Context) -> Result<JobSource, Failure> {
        let store = engine::open_store(context)?;
        let id = store.resolve(&self.source).map_err(|error| match error {
            StoreError::UnknownImage { .. } => Failure::usage(
                format!("{} is neither a folder, nor a zip, nor an image in the store", self.source),
                "hoist job run DIR, or see the images: hoist image ls",
            ),
            other => other.into(),
        })?;
        let reference = match self.source.parse::<Reference>() {
            Ok(reference) if store.find_image(&reference)?.is_some() => reference,
            _ => format!("image@{id}").parse()?, // an id, or its beginning
        };
        Ok(JobSource::Image(reference))
    }
}

fn answer(context: &Context, report: &JobReport, files_kept: bool) -> Result<(), Failure> {
    for warning in &report.result.warnings {
        context.reporter.warn(warning, None);
    }
    if context.json {
        context.print_json(&full_answer(report, files_kept))?;
    }
    match &report.result.outcome {
        Outcome::Value(value) => {
            if !context.json {
                if let Some(value) = value {
                    context.print(&format!("{}\n", value.as_str().trim_end()))?;
                }
                for file in &report.result.files {
                    let text = if files_kept {
                        format!("result file {} ({} bytes)", file.path.display(), file.size_bytes)
                    } else {
                        format!("the job left {} ({} bytes); --output DIR keeps such files", file.name, file.size_bytes)
                    };
                    context.reporter.step(&text);
                }
            }
            Ok(())
        }
        Outcome::Error(_) if context.json => {
            let code = if report.wrong_input { Code::Usage } else { Code::App };
            Err(Failure::of_process(code.number()))
        }
        Outcome::Error(error) if report.wrong_input => Err(Failure::usage(
            format!("the service cannot take this input: {}", error.detail),
            report.hint.clone().unwrap_or_else(|| "correct the input and run the job again".to_owned()),
        )),
        Outcome::Error(error) => {
            Err(Failure::app(format!("the job failed ({}): {}", error.code, error.detail), report.hint.clone()))
        }
    }
}

fn full_answer(report: &JobReport, files_kept: bool) -> Value {
    let (result, error) = match &report.result.outcome {
        Outcome::Value(value) => (value.as_ref().and_then(|text| serde_json::from_str(text.as_str()).ok()), None),
        Outcome::Error(error) => (None::<Value>, Some(json!({"code": error.code, "detail": error.detail}))),
    };
    let file = |file: &ResultFile| json!({"name": file.name, "path": files_kept.then_some(&file.path), "size_bytes": file.size_bytes});
    let files: Vec<Value> = report.result.files.iter().map(file).collect();
    json!({
        "status": if error.is_none() { "SUCCEEDED" } else { "FAILED" },
        "result": result,
        "error": error,
        "files": files,
        "interim": report.result.interim,
        "exit": report.result.exit,
        "warnings": report.result.warnings,
        "image_id": report.image_id.to_string(),
        "build_ms": report.build_time.map(|time| time.as_millis()),
        "run_ms": report.run_time.as_millis(),
        "peak_memory_bytes": report.peak_memory_bytes,
    })
}
