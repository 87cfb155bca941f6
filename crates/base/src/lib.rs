//! Build and run images made from Debian packages, without Debian's tools.
//!
//! ```text
//! BaseRequest ─resolve_lock→ BaseLock ─fetch→ .deb files ─stage→ Tree (+ what scripts would have made) ─→ layers ─→ Base
//! ```
//!
//! [`ensure_base`] finds the two images of a base in the store, or makes them: from a [`BaseLock`] where one is given, else from the
//! signed indexes of the Debian mirror. Knows nothing of buildpacks beyond the user ids and the labels that the CNB spec asks of base
//! images.
#![forbid(unsafe_code)]

mod accounts;
mod certificates;
mod dpkg;
mod error;
mod images;
mod ldcache;
mod lock;
mod make;
mod mirroring;
mod packages;
mod paths;
mod request;
mod skeleton;
#[cfg(test)]
mod smoke;
mod stage;
mod tree;

pub use error::BaseError;
pub use lock::{BaseLock, LockError, LockedSuite, parse_lock, read_lock, write_lock};
pub use mirroring::Mirroring;
pub use request::{Base, BaseRequest, ensure_base, find_base, resolve_lock};
pub use stage::StageError;

/// The user that buildpacks run as.
pub const BUILD_UID: u32 = 1001;
/// The user that apps run as.
pub const RUN_UID: u32 = 1002;
/// The group of both.
pub const GID: u32 = 1000;
/// The suite that a base is made of where nobody says otherwise.
pub const DEFAULT_SUITE: &str = "trixie";
