//! What runs and jobs are asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use hoist_image::Reference;
use hoist_sandbox::{Limits, Publish, WindowSize};
use hoist_service::InputArgument;

use crate::request::{BuildRequest, Volume};

/// The network of a run or a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// Its own, with a way out where pasta is installed.
    Private,
    /// The host's.
    Host,
    /// Loopback of its own, nothing else.
    None,
}

impl FromStr for RunNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(format!("{text:?} is no network of a run: there are private, host and none")),
        }
    }
}

/// Input of a service, as typed.
#[derive(Debug, Clone, Default)]
pub struct RunInput {
    /// `data`.
    pub data: Option<InputArgument>,
    /// `params`.
    pub params: Option<InputArgument>,
}

/// A run of an image.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Name or id.
    pub image: String,
    /// Process type; the image's default where there is none.
    pub process: Option<String>,
    /// A program in place of the image's entry point.
    pub entrypoint: Option<String>,
    /// Arguments of the process, in place of the image's own.
    pub args: Vec<OsString>,
    /// Variables; later ones win.
    pub env: Vec<(String, String)>,
    /// What of the host it sees.
    pub volumes: Vec<Volume>,
    /// Ports that lead inside.
    pub publish: Vec<Publish>,
    /// Its name; two runs of one name cannot be at once.
    pub name: Option<String>,
    /// What it may use up.
    pub limits: Limits,
    /// Its network; otherwise private where there is a way out, else the host's.
    pub network: Option<RunNetwork>,
    /// Whether the process reads what hoist reads, where no service's input is given.
    pub stdin: bool,
    /// Size of the process's terminal, where it is to have one.
    pub terminal: Option<WindowSize>,
    /// Input, for services.
    pub input: RunInput,
}

/// What a job executes.
#[derive(Debug, Clone)]
pub enum JobSource {
    /// A folder or zip, built first.
    Service(Box<BuildRequest>),
    /// An image that was built before.
    Image(Reference),
}

/// A job.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// What to execute.
    pub source: JobSource,
    /// Its input; what is not given comes from `input_dir`, then from the service itself.
    pub input: RunInput,
    /// Folder of `data.json`, `params.json` and other keys.
    pub input_dir: Option<PathBuf>,
    /// Variables of the process; later ones win.
    pub env: Vec<(String, String)>,
    /// What it may use up; `planqk.json` says the rest.
    pub limits: Limits,
    /// Its network, as for runs.
    pub network: Option<RunNetwork>,
    /// Whether the image stays.
    pub keep: bool,
    /// Where files of the result go; otherwise they are only named.
    pub output_dir: Option<PathBuf>,
}
