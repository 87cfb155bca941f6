//! The one place of this crate that reads the environment and the clock.
#![allow(clippy::disallowed_methods)] // it owns them

use std::time::SystemTime;

/// An environment variable, unless it is empty or not UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The time, for marking files as used.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970, for Valid-Until.
pub(crate) fn now_secs() -> i64 {
    now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX))
}

/// Debian's name of the architecture that this program was built for: `amd64`, `arm64`.
pub const fn native_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else if cfg!(target_arch = "powerpc64") {
        "ppc64el"
    } else if cfg!(target_arch = "s390x") {
        "s390x"
    } else {
        "i386"
    }
}
