//! Conda environments: reads locks and lists, chooses packages, and installs them, in this process, with the rattler crates.
//!
//! It knows folders and addresses; buildpacks, layers and images are known above.

#![forbid(unsafe_code)]
// conda writes the ends of its names in small letters, and compares them so.
#![allow(clippy::case_sensitive_file_extension_comparisons)]

mod archives;
mod change;
mod client;
mod engine;
mod error;
mod lock;
mod own_channel;
mod package_list;
mod settings;
mod unpack;
mod virtual_packages;

pub use client::Network;
pub use engine::{Engine, Package, Solution, Task, installed, look_at_spec};
pub use error::{CondaError, Unreachable};
pub use lock::{LockError, Locked, read_lock};
pub use own_channel::vendored;
pub use package_list::PackageList;
pub use rattler_conda_types::GenericVirtualPackage;
pub use settings::{Login, ResolvedChannel, Settings, UnknownChannel, mask};
pub use virtual_packages::{BadOverride, virtual_packages};
