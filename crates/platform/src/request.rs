//! What a caller asks for: builds, runs and jobs, as plain data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use hoist_image::Reference;
use hoist_sandbox::{Limits, Publish, WindowSize};
use hoist_service::{Contract, InputArgument, Manager};

/// The network of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildNetwork {
    /// The host's: packages have to come from somewhere.
    #[default]
    Host,
    /// None: everything must be in the caches.
    None,
}

impl FromStr for BuildNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(format!("{text:?} is no network of a build: there are host and none")),
        }
    }
}

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

/// A folder or file of the host that a run sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// On the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
    /// Whether the run may not write there.
    pub read_only: bool,
}

impl FromStr for Volume {
    type Err = String;

    /// `HOST:CONTAINER[:ro|:rw]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no volume: {why}; write HOST:CONTAINER or HOST:CONTAINER:ro");
        let mut parts = text.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else { return Err(wrong("a : is missing")) };
        let read_only = match parts.next() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(other) => return Err(wrong(&format!("{other:?} is neither ro nor rw"))),
        };
        if parts.next().is_some() {
            return Err(wrong("it has too many parts"));
        }
        if !target.starts_with('/') || target.split('/').any(|part| part == "..") || target.trim_matches('/').is_empty()
        {
            return Err(wrong("the place inside must be an absolute path below /"));
        }
        Ok(Self { source: PathBuf::from(source), target: PathBuf::from(target), read_only })
    }
}

/// A build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Folder or zip; only read.
    pub source: PathBuf,
    /// The builder to build with; none for hoist's own.
    pub builder: Option<Reference>,
    /// What the image is to be called; the first one also names the caches. Without any, the service's own name does, and the image
    /// has none.
    pub names: Vec<Reference>,
    /// Variables for the buildpacks; later ones win.
    pub env: Vec<(String, String)>,
    /// The process to start with, instead of the one a buildpack proposes.
    pub default_process: Option<String>,
    /// Whether the layers of earlier builds are left out.
    pub clear_cache: bool,
    /// The network of buildpacks.
    pub network: BuildNetwork,
    /// The service contract, where it is forced.
    pub contract: Option<Contract>,
    /// What declares the dependencies, where it is forced.
    pub dependencies: Option<Manager>,
    /// Whether a service's entry point is imported once after the build.
    pub import_check: bool,
    /// Folder for `report.toml`; made if it does not exist.
    pub report_dir: Option<PathBuf>,
}

impl BuildRequest {
    /// A build of `source` with nothing special.
    pub fn new(source: PathBuf) -> Self {
        Self {
            source,
            builder: None,
            names: Vec::new(),
            env: Vec::new(),
            default_process: None,
            clear_cache: false,
            network: BuildNetwork::Host,
            contract: None,
            dependencies: None,
            import_check: true,
            report_dir: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_two_paths_and_a_mode() {
        let volume: Volume = "./data:/data:ro".parse().unwrap();
        assert_eq!(volume, Volume { source: "./data".into(), target: "/data".into(), read_only: true });
        assert!("/a:/b".parse::<Volume>().is_ok_and(|volume| !volume.read_only));
        for wrong in ["/a", "/a:b", "/a:/", "/a:/b/../c", "/a:/b:rx", "/a:/b:ro:x"] {
            let error = wrong.parse::<Volume>().unwrap_err();
            assert!(error.contains("write HOST:CONTAINER"), "{wrong}: {error}");
        }
    }
}
