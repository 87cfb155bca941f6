//! Fetches over HTTP.
use std::path::PathBuf;

/// How to fetch.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// Certificates to trust besides those of the system: a PEM file (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// A folder of PEM files (`SSL_CERT_DIR`).
    pub ca_dir: Option<PathBuf>,
    /// A proxy for everything; none means what the environment says (`http_proxy`, `https_proxy`, `no_proxy`).
    pub proxy: Option<String>,
}

/// Fetches files from mirrors. Cheap to clone; may be used from several threads.
#[derive(Debug, Clone)]
pub struct Fetcher {
    options: FetchOptions,
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not there.
    #[error("{url} is not there (status {status})")]
    Missing {
        /// The address.
        url: String,
        /// 404 or 410.
        status: u16,
    },
}

impl FetchOptions {
    /// As the environment says: `SSL_CERT_FILE`, `SSL_CERT_DIR`, proxies.
    pub fn from_environment() -> Self {
        unimplemented!()
    }
}

impl Fetcher {
    /// A fetcher; does nothing yet.
    pub fn new(options: FetchOptions) -> Self {
        Self { options }
    }
}
