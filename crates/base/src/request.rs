//! Finds a base in the store or makes it.
use std::path::PathBuf;

use hoist_debian::{Fetcher, IndexError, Keyring, Mirror, Source};
use hoist_events::Reporter;

use crate::lock::BaseLock;

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

/// Which base.
#[derive(Debug, Clone)]
pub struct BaseRequest {
    /// `trixie`
    pub suite: String,
    /// `amd64`
    pub architecture: String,
    /// More packages for the run image (and so for the build image).
    pub run_packages: Vec<String>,
    /// More packages for the build image alone.
    pub build_packages: Vec<String>,
    /// Make exactly this one, without any index.
    pub lock: Option<BaseLock>,
    /// True to look for newer packages although the base is there.
    pub update: bool,
}

/// A base in the store.
#[derive(Debug, Clone)]
pub struct Base {
    /// Id (configuration digest, `sha256:…`) of the image that apps run on.
    pub run_image: String,
    /// Id of the image that buildpacks run in; its lowest layers are those of the run image.
    pub build_image: String,
    /// What both are made of.
    pub lock: BaseLock,
}

/// Why a base cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The index cannot be had.
    #[error("the packages of {suite} cannot be looked up")]
    Index {
        /// Which suite.
        suite: String,
        /// Why.
        source: IndexError,
    },
}

/// The base that was made before for this request, without network and without reading layers.
pub fn find_base(request: &BaseRequest) -> Result<Option<Base>, BaseError> {
    let _ = request;
    unimplemented!()
}

/// Chooses the packages of a base, and fetches none of them.
pub fn resolve_lock(request: &BaseRequest, mirroring: &Mirroring, reporter: &dyn Reporter) -> Result<BaseLock, BaseError> {
    let _ = (request, mirroring, reporter);
    unimplemented!()
}

/// Finds the base or makes it.
pub fn ensure_base(request: &BaseRequest, mirroring: &dyn Fn() -> Result<Mirroring, BaseError>, reporter: &dyn Reporter) -> Result<Base, BaseError> {
    let _ = (request, mirroring, reporter);
    unimplemented!()
}
