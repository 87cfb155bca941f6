//! What can go wrong with a docker daemon, and what to do next.

use std::io;

use crate::archive_write::SaveError;
use crate::error::StoreError;
use crate::load::LoadError;

/// Something with a docker daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The address cannot be used.
    #[error("reading the docker daemon's address `{text}`: {problem}")]
    Address {
        /// As it was given, without a password.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Docker's context cannot be used.
    #[error("looking for the docker context `{context}`: {problem}")]
    Context {
        /// Its name.
        context: String,
        /// What is wrong.
        problem: String,
    },
    /// Nobody answers.
    #[error("connecting to the docker daemon at {address}")]
    Connect {
        /// Where.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else answers.
    #[error("{doing}: what answers at {address} is no docker daemon: {seen}")]
    NotDocker {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
        /// What it said.
        seen: String,
    },
    /// The daemon has no such image.
    #[error("{doing}: the docker daemon has no image `{name}`")]
    NoImage {
        /// What was being done.
        doing: String,
        /// The image.
        name: String,
    },
    /// The daemon says no.
    #[error("{doing}: the docker daemon says: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Its words.
        message: String,
    },
    /// The daemon did not answer in time.
    #[error("{doing}: the docker daemon at {address} did not answer in time")]
    Silent {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
    },
    /// The connection broke off.
    #[error("{doing}: the connection to the docker daemon broke off")]
    Broken {
        /// What was being done.
        doing: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// An answer is longer than any daemon's.
    #[error("{doing}: the docker daemon's answer is longer than the {limit_bytes} bytes that it may have")]
    TooLong {
        /// What was being done.
        doing: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// Somebody wants no more (Ctrl-C).
    #[error("{doing}: stopped")]
    Stopped {
        /// What was being done.
        doing: String,
    },
    /// The image cannot be read from the store.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// What the daemon sent cannot be stored.
    #[error("storing what the docker daemon sent")]
    Load(#[source] LoadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DockerError {
    /// Whether the command or the daemon's place is wrong, and not the machine.
    pub fn is_of_the_caller(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Context { .. } | Self::NoImage { .. })
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Address { text, .. } if text.starts_with("ssh://") => {
                "let ssh bring the socket here: `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST`, then DOCKER_HOST=unix:///tmp/docker.sock"
                    .to_owned()
            }
            Self::Address { .. } => {
                "set DOCKER_HOST=unix:///var/run/docker.sock (or tcp://HOST:PORT, without TLS), or unset it".to_owned()
            }
            Self::Context { .. } => {
                "see what there is: `docker context ls`; or name the daemon's socket: DOCKER_HOST=unix:///…".to_owned()
            }
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "start the daemon, or say where it is: DOCKER_HOST=unix:///path/of/docker.sock; hoist needs none to build and run".to_owned(),
                io::ErrorKind::PermissionDenied => "become a member of the socket's group (`docker`, usually) and log in again, or run as root".to_owned(),
                io::ErrorKind::ConnectionRefused => "the socket is there, but nobody listens: start the daemon (`systemctl start docker`)".to_owned(),
                _ => "see whether the daemon runs: `docker version`".to_owned(),
            },
            Self::NotDocker { .. } => "look at DOCKER_HOST: it must lead to the API of a docker daemon".to_owned(),
            Self::NoImage { .. } => "see what the daemon has: `docker image ls`".to_owned(),
            Self::Refused { message, .. } if message.contains("no space left") => {
                "the daemon's disk is full: `docker system df`, `docker system prune`".to_owned()
            }
            Self::Refused { .. } => "the daemon's own log says more (`journalctl -u docker`)".to_owned(),
            Self::Silent { .. } => "see whether the daemon is well: `docker version`; then try again".to_owned(),
            Self::Broken { .. } | Self::TooLong { .. } => {
                "see whether the daemon still runs, and its log (`journalctl -u docker`); then try again".to_owned()
            }
            Self::Stopped { .. } => "run the command again".to_owned(),
            Self::Save(error) => error.hint(),
            Self::Load(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}
