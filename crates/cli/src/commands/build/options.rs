//! The options that `build`, `plan`, `job run` and `check` share: what the build is given of the app and of this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hoist_events::Reporter;
use hoist_platform::{BuildNetwork, BuildRequest, LocalEngine};
use hoist_service::Contract;

use super::SourceOptions;
use crate::commands::run::{Unset, parse_duration, parse_size, read_env_files};
use crate::context::Context;
use crate::engine::{self, BuildOn};
use crate::failure::Failure;
use crate::settings::Key;

/// The options that `build`, `job run` and `check` share.
#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// Variable for the build, NAME=VALUE, or NAME to take it from here (empty if there is none)
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// File with a variable in each line, in the same forms; a line that begins with # is a comment
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Python to use, such as 3.11; otherwise what the app asks for, otherwise the base's own
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Option<String>,
    /// Take packages as the index had them on that day: 2022-06-01, or an instant as 2022-06-01T12:00:00Z
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
    /// Which file's dependencies to take, where the app has several (requirements.txt, environment.yml, …)
    #[arg(long, value_name = "FILE")]
    pub(crate) dependencies: Option<String>,
    /// How a service is called: G1, run(data, params), or G2, run with named and typed parameters; otherwise seen from the layout
    #[arg(long, value_name = "G1|G2")]
    pub(crate) contract: Option<Contract>,
    /// Build on exactly the base of this lock, which `hoist base lock` writes; otherwise on the base that is there
    #[arg(long, value_name = "FILE")]
    pub(crate) locked: Option<PathBuf>,
    /// Network of the build: host (what fetches packages needs it) or none
    #[arg(long = "network", visible_alias = "build-network", value_name = "NETWORK")]
    pub(crate) network: Option<BuildNetwork>,
    /// Try no connection: everything comes from the store and its caches, or from the bundle
    #[arg(long)]
    pub(crate) offline: bool,
    /// Build from this file, which `hoist bundle` made; no connection is tried then
    #[arg(long, value_name = "FILE", requires = "offline", conflicts_with = "locked")]
    pub(crate) bundle: Option<PathBuf>,
    /// Longest time that one buildpack may take: 90s, 10m, 1h; otherwise four hours
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) build_timeout: Option<Duration>,
    /// Most memory that one buildpack may use: 512M, 2G; otherwise all there is
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) build_memory: Option<u64>,
    /// Do not try the service's import after the build
    #[arg(long)]
    pub(crate) no_import_check: bool,
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

impl BuildOptions {
    /// The engine that builds what these options say.
    pub(crate) fn open(&self, context: &Context) -> Result<LocalEngine, Failure> {
        self.open_heard(context, Arc::clone(&context.reporter))
    }

    /// The same, with a reporter of one's own.
    pub(crate) fn open_heard(&self, context: &Context, reporter: Arc<dyn Reporter>) -> Result<LocalEngine, Failure> {
        let on = BuildOn { locked: self.locked.as_deref(), offline: self.offline, bundle: self.bundle.as_deref() };
        engine::open_for(context, &on, reporter)
    }

    /// The request that the options make, for the source at `path`.
    pub(crate) fn request(&self, context: &Context, path: PathBuf) -> Result<BuildRequest, Failure> {
        let mut request = BuildRequest::new(path);
        self.source.apply(&mut request);
        request.env = read_env_files(&self.env_file, &self.env, Unset::Empty)?;
        if let Some(python) = &self.python {
            request.env.push(("BP_CPYTHON_VERSION".to_owned(), python.clone()));
        }
        if let Some(day) = &self.as_of {
            request.env.push(("BP_AS_OF".to_owned(), day.clone()));
        }
        request.dependencies = self.dependencies.as_deref().map(engine::parse_manager).transpose()?;
        request.contract = self.contract;
        request.import_check = !self.no_import_check;
        request.network = match self.network {
            Some(network) => network,
            None if context.settings.get(Key::BuildNetwork) == Some("none") => BuildNetwork::None,
            None => BuildNetwork::Host,
        };
        request.limits.timeout = self.build_timeout.unwrap_or(request.limits.timeout);
        request.limits.memory_bytes = self.build_memory;
        Ok(request)
    }
}
