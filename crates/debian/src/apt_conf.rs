//! Apt's settings.
use std::path::Path;

/// What of apt's configuration concerns hoist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSettings {
    /// `Acquire::Check-Valid-Until`, true unless the machine says otherwise.
    pub check_valid_until: bool,
    /// `Acquire::http::Proxy`.
    pub http_proxy: Option<String>,
}

/// Reads `etc/apt/apt.conf` and `etc/apt/apt.conf.d` below a root. What cannot be read counts as not there.
pub fn read_apt_settings(root: &Path) -> AptSettings {
    let _ = root;
    unimplemented!()
}
