//! Locks with conda's packages: `conda-lock.yml` and `pixi.lock`, read by rattler's own reader.

use rattler_conda_types::Subdir;
use rattler_lock::{LockFile, PypiPackageData};

use crate::engine::{Solution, hex};
use crate::error::chain;

/// Locks of large projects for all systems have some megabytes.
const MAX_BYTES: usize = 64 << 20;

/// What is locked for this machine's system.
#[derive(Debug, Clone, Default)]
pub struct Locked {
    /// Conda's packages.
    pub solution: Solution,
    /// Requirements of pip: `name==version`, with a hash where the lock has one.
    pub pip: Vec<String>,
}

/// A lock that is of no use here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Syntax(String),
    /// It has no environment of this name.
    #[error("it has no environment `{wanted}`")]
    Environment {
        /// Which was looked for.
        wanted: String,
        /// Which there are.
        has: Vec<String>,
    },
    /// It was made for other systems.
    #[error("it locks nothing for {wanted}")]
    Platform {
        /// This machine's.
        wanted: String,
        /// Which there are.
        has: Vec<String>,
    },
    /// A package is to be built from a source folder.
    #[error("{0} is locked as sources to be built, not as a package")]
    Source(String),
}

/// Reads the text of a lock.
pub fn read_lock(text: &str, environment: &str) -> Result<Locked, LockError> {
    if text.len() > MAX_BYTES {
        return Err(LockError::Syntax(format!("it is larger than {MAX_BYTES} bytes")));
    }
    let lock = LockFile::from_str_with_base_directory(text, None).map_err(|error| LockError::Syntax(chain(&error)))?;
    let found = lock.environment(environment).ok_or_else(|| LockError::Environment {
        wanted: environment.to_owned(),
        has: lock.environments().map(|(name, _)| name.to_owned()).collect(),
    })?;
    let here = Subdir::current();
    let platform = found.platforms().find(|platform| Some(platform.subdir()) == here);
    let platform = platform.ok_or_else(|| LockError::Platform {
        wanted: here.map(|here| here.to_string()).unwrap_or_default(),
        has: found.platforms().map(|platform| platform.subdir().to_string()).collect(),
    })?;
    for package in found.conda_packages(platform).into_iter().flatten() {
        if package.as_source().is_some() {
            return Err(LockError::Source(package.name().as_normalized().to_owned()));
        }
    }
    let records = found.conda_repodata_records(platform).map_err(|error| LockError::Syntax(chain(&error)))?;
    let mut pip = Vec::new();
    for package in found.pypi_packages(platform).into_iter().flatten() {
        match package {
            PypiPackageData::Distribution(one) => {
                let hash = one.hash.as_ref().and_then(|hash| hash.sha256().copied());
                let hash = hash.map(|hash| format!(" --hash=sha256:{}", hex(&hash))).unwrap_or_default();
                pip.push(format!("{}=={}{hash}", one.name, one.version));
            }
            // Where a folder of the app is meant, its location is a path.
            PypiPackageData::Source(one) => return Err(LockError::Source(one.name.to_string())),
        }
    }
    pip.sort();
    Ok(Locked { solution: Solution::new(records.unwrap_or_default()), pip })
}
