//! Where packages come from on this machine, gathered in one value.

use std::path::{Path, PathBuf};

use hoist_debian::{FetchOptions, Fetcher, Keyring, Mirror, Source, read_apt_settings, read_apt_sources, sources_for};

use crate::error::BaseError;

/// Where packages come from.
#[derive(Debug, Clone)]
pub struct Mirroring {
    /// The sources of the machine ([`hoist_debian::read_apt_sources`]).
    pub machine: Vec<Source>,
    /// A mirror in their place.
    pub mirror: Option<Mirror>,
    /// Whose signatures are believed.
    pub keyring: Keyring,
    /// How to fetch.
    pub fetcher: Fetcher,
    /// Where indexes and packages are kept; may be shared by all of a machine's stores.
    pub cache_dir: PathBuf,
}

impl Mirroring {
    /// As the machine with this root is set up (`/`, but for tests): its apt sources, keys, proxy and certificates; or `mirror`.
    pub fn of_machine(root: &Path, mirror: Option<Mirror>, cache_dir: &Path) -> Result<Self, BaseError> {
        let machine = match read_apt_sources(root) {
            Ok(machine) => machine,
            // Whoever names a mirror need not have apt at all.
            Err(_) if mirror.is_some() => Vec::new(),
            Err(source) => return Err(BaseError::Sources { source }),
        };
        let debian = sources_for(crate::DEFAULT_SUITE, &machine, None).unwrap_or_default();
        let keyring = Keyring::for_sources(root, &debian).map_err(|source| BaseError::Keyring { source })?;
        let mut options = FetchOptions::from_environment();
        options.proxy = read_apt_settings(root).http_proxy;
        Ok(Self { machine, mirror, keyring, fetcher: Fetcher::new(options), cache_dir: cache_dir.to_owned() })
    }

    /// The sources of a suite.
    pub fn sources(&self, suite: &str) -> Result<Vec<Source>, BaseError> {
        sources_for(suite, &self.machine, self.mirror.as_ref()).map_err(|source| BaseError::Sources { source })
    }

    /// What a process elsewhere needs to find any suite on the same mirror ([`hoist_debian::sources_for`] with these as the machine's).
    pub fn portable_sources(&self) -> Result<Vec<Source>, BaseError> {
        match &self.mirror {
            Some(mirror) => Ok(mirror.sources()),
            None => self.sources("stable"),
        }
    }
}
