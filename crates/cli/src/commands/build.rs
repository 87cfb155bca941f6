//! `hoist build`: an app or service to an image.

use std::path::PathBuf;

use clap::Args;
use hoist_image::Reference;
use hoist_platform::{BuildNetwork, BuildRequest};
use hoist_service::Contract;
use serde_json::json;

use crate::commands::run::read_env_files;
use crate::context::Context;
use crate::engine;
use crate::failure::Failure;
use crate::settings::Key;

/// Build an app or a service into an image
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Name of the image
    image: String,
    /// Folder or zip of the app
    #[arg(short, long, default_value = ".", value_name = "DIR|ZIP")]
    path: PathBuf,
    /// Builder to build with; hoist's own without one
    #[arg(short = 'B', long, value_name = "NAME")]
    builder: Option<String>,
    /// Further names of the image
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// Process that the image starts with; otherwise the one that a buildpack proposes
    #[arg(short = 'D', long, value_name = "TYPE")]
    default_process: Option<String>,
    /// Begin without the layers of earlier builds of this image
    #[arg(long)]
    clear_cache: bool,
    /// Folder to write report.toml to (names and id of the image); without it none is written
    #[arg(long, value_name = "DIR")]
    report_output_dir: Option<PathBuf>,
    #[command(flatten)]
    how: BuildOptions,
}

/// The options that `build`, `job run` and `check` share.
#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// Variable for the build, NAME=VALUE, or NAME to take it from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// File with a variable in each line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Python to use, such as 3.11; otherwise what the app asks for, otherwise the base's own
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Option<String>,
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
    #[arg(long = "build-network", value_name = "NETWORK")]
    pub(crate) network: Option<BuildNetwork>,
    /// Do not try the service's import after the build
    #[arg(long)]
    pub(crate) no_import_check: bool,
}

impl BuildOptions {
    /// The request that the options make, for the source at `path`.
    pub(crate) fn request(&self, context: &Context, path: PathBuf) -> Result<BuildRequest, Failure> {
        let mut request = BuildRequest::new(path);
        request.env = read_env_files(&self.env_file, &self.env)?;
        if let Some(python) = &self.python {
            request.env.push(("BP_CPYTHON_VERSION".to_owned(), python.clone()));
        }
        request.dependencies = self.dependencies.as_deref().map(engine::parse_manager).transpose()?;
        request.contract = self.contract;
        request.import_check = !self.no_import_check;
        request.network = match self.network {
            Some(network) => network,
            None if context.settings.get(Key::BuildNetwork) == Some("none") => BuildNetwork::None,
            None => BuildNetwork::Host,
        };
        Ok(request)
    }
}

impl BuildArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let names: Result<Vec<Reference>, _> =
            std::iter::once(&self.image).chain(&self.tags).map(|name| name.parse::<Reference>()).collect();
        let mut request = self.how.request(context, self.path)?;
        request.names = names?;
        request.builder = self.builder.as_deref().map(str::parse::<Reference>).transpose()?;
        request.default_process = self.default_process;
        request.clear_cache = self.clear_cache;
        request.report_dir = self.report_output_dir;
        let built = engine::open_on(context, self.how.locked.as_deref())?.build(&request)?;
        if context.json {
            return context.print_json(&json!({
                "image": self.image,
                "image_id": built.image.id().to_string(),
                "names": request.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "layers": built.image.diff_ids().len(),
                "reused_layers": built.reused_layers,
                "elapsed_ms": built.elapsed.as_millis(),
            }));
        }
        context.print(&format!("{}\n", built.image.id()))
    }
}
