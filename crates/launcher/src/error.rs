//! What can go wrong before the process runs, and the exit codes of the specification.

use std::path::PathBuf;

use hoist_spec::{ApiError, DocumentError};
use thiserror::Error;

/// The process was not started.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error("CNB_PLATFORM_API is not set")]
    NoPlatformApi,
    #[error("reading CNB_PLATFORM_API")]
    PlatformApi {
        #[source]
        source: ApiError,
    },
    #[error("reading the API of buildpack {buildpack}")]
    BuildpackApi {
        buildpack: String,
        #[source]
        source: ApiError,
    },
    #[error("reading {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("reading {}", .path.display())]
    Metadata {
        path: PathBuf,
        #[source]
        source: Box<DocumentError>,
    },
    #[error("there is no process `{wanted}` in this image")]
    UnknownProcess { wanted: String, known: Vec<String> },
    #[error("process `{wanted}` is not for the execution environment `{exec_env}`")]
    ExecEnv { wanted: String, exec_env: String },
    #[error("no command was given, and the image has no default process")]
    NoCommand { known: Vec<String> },
    #[error("process `{process}` has no command")]
    EmptyCommand { process: String },
    #[error("going to {}", .dir.display())]
    Directory {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("running {}", .path.display())]
    ExecD {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} failed: {how}", .path.display())]
    ExecDFailed { path: PathBuf, how: String },
    #[error("reading what {} wrote: {problem}", .path.display())]
    ExecDOutput { path: PathBuf, problem: String },
    #[error("`{program}` is not found in PATH={path}")]
    NotFound { program: String, path: String },
    #[error("starting {}", .program.display())]
    Exec {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl LaunchError {
    /// platform.md: 11 and 12 for incompatible APIs, 80 to 89 for the launcher.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoPlatformApi | Self::PlatformApi { .. } => 11,
            Self::BuildpackApi { .. } => 12,
            _ => 82,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPlatformApi => "run the image with the environment that it was built with".to_owned(),
            Self::PlatformApi { source } | Self::BuildpackApi { source, .. } => source.hint(),
            Self::UnknownProcess { known, .. } | Self::NoCommand { known } if !known.is_empty() => {
                format!("it has: {}; or give a command", known.join(", "))
            }
            Self::UnknownProcess { .. } | Self::NoCommand { .. } => "give a command".to_owned(),
            Self::ExecEnv { .. } => "set CNB_EXEC_ENV to one that the process is for".to_owned(),
            Self::Exec { program, source } if program.ends_with("bash") && is_missing(source) => {
                "the image has no bash; write `--` before the command to start it without a shell".to_owned()
            }
            _ => return None,
        })
    }

    /// The whole chain in one line, and what to do.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("launcher: {self}");
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        if let Some(hint) = self.hint() {
            text.push_str("\nlauncher: ");
            text.push_str(&hint);
        }
        text
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}
