//! Why a base cannot be had.

use hoist_debian::{FetchError, IndexError, KeyringError, ResolveError, SourcesError};
use hoist_image::{LayerError, StoreError};

use crate::stage::StageError;

/// Why a base cannot be had. Each says what was being done; its source says what was seen.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// No mirror is known.
    #[error("looking for a Debian mirror")]
    Sources {
        /// Why.
        source: SourcesError,
    },
    /// The keys cannot be read.
    #[error("reading the keys that sign Debian's indexes")]
    Keyring {
        /// Why.
        source: KeyringError,
    },
    /// The index cannot be had.
    #[error("looking up the packages of {suite}")]
    Index {
        /// Which suite.
        suite: String,
        /// Why.
        source: Box<IndexError>,
    },
    /// No choice of packages.
    #[error("choosing the packages of a base from {suite}")]
    Resolve {
        /// Which suite.
        suite: String,
        /// Why.
        source: Box<ResolveError>,
    },
    /// A package cannot be fetched.
    #[error("fetching the packages of a base")]
    Fetch {
        /// Why.
        source: FetchError,
    },
    /// A package of a lock is gone.
    #[error("{}", gone(package, version, now.as_ref(), *others))]
    Gone {
        /// Its name.
        package: String,
        /// The version that the lock names.
        version: String,
        /// What the mirror has of it now, newest first, each with its suite; none where its index cannot be had either.
        now: Option<Vec<String>>,
        /// How many others of the lock the mirror's index does not have any more.
        others: usize,
        /// What the mirror answered.
        source: Box<FetchError>,
    },
    /// A lock is of another kind of processor.
    #[error("the lock names packages for {found}, and the base is to run on {wanted}")]
    OtherArchitecture {
        /// What it is of.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It was not wanted any more (Ctrl-C).
    #[error("making the base was stopped")]
    Stopped,
    /// A package cannot be unpacked.
    #[error("unpacking the package {package}")]
    Unpack {
        /// Which.
        package: String,
        /// Why.
        source: StageError,
    },
    /// A package's control file is wrong.
    #[error("reading the control file of the package {package}: {problem}")]
    Control {
        /// Which.
        package: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A layer cannot be made.
    #[error("making a layer of the base")]
    Layer {
        /// Why.
        source: LayerError,
    },
    /// An image's configuration cannot be made.
    #[error("writing the configuration of a base image: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// The store cannot be used.
    #[error("keeping the base in the store")]
    Store {
        /// Why.
        source: StoreError,
    },
}

fn gone(package: &str, version: &str, now: Option<&Vec<String>>, others: usize) -> String {
    let mut text = format!("fetching {package} {version} of the base lock: the mirror has it no more");
    match now {
        Some(now) if now.is_empty() => text.push_str(", nor any other version"),
        Some(now) => text = format!("{text}, but {}", now.join(", ")),
        None => {}
    }
    match others {
        0 => text,
        1 => format!("{text}; one more package of the lock is gone from its index"),
        count => format!("{text}; {count} more packages of the lock are gone from its index"),
    }
}

impl BaseError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Sources { source } => source.hint(),
            Self::Keyring { source } => source.hint(),
            Self::Index { source, .. } => source.hint(),
            Self::Resolve { source, .. } => source.hint(),
            Self::Fetch { source } => source.hint(),
            Self::Gone { .. } => {
                "lock today's packages with `hoist base lock --update`, or name a mirror that keeps old ones (a snapshot) with --mirror ADDRESS".into()
            }
            Self::OtherArchitecture { .. } => "make a lock on a machine of this kind with `hoist base lock`".into(),
            Self::Stopped => "run the command again".into(),
            Self::Unpack { source: StageError::Deb(source), .. } => source.hint(),
            Self::Unpack { source: StageError::Write { source, .. }, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                "the disk is full: free some space (`hoist system prune`) and run the command again".into()
            }
            Self::Unpack { .. } => "make the store's folder writable".into(),
            Self::Control { .. } => "the package is damaged or hostile: do not use the mirror that it came from".into(),
            Self::Layer { source } => source.hint(),
            Self::Configuration { .. } => "report this with the lock (`hoist base lock`)".into(),
            Self::Store { source } => source.hint(),
        }
    }
}
