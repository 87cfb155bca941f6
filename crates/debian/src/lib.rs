//! Signed indexes, dependency resolution, fetching and unpacking of Debian packages; knows no images, no CNB.
//!
//! The way of the data: [`read_apt_sources`] says where the machine's Debian mirror is, [`sources_for`] derives the sources of any
//! suite from it, [`Index::load`] fetches and verifies what the mirror offers, [`resolve()`] chooses packages, [`fetch_packages`] brings
//! them into a [`DebCache`], and [`Deb`] or [`unpack_into`] read what is inside. Everything that comes from outside is bounded,
//! and nothing is believed before a signature or a hash was checked.
#![forbid(unsafe_code)]

mod abandoned;
mod accepted;
mod apt_conf;
mod control;
mod deb;
mod elf;
mod environment;
mod fetch;
mod index;
mod index_cache;
mod keyring;
mod lock;
mod packages;
mod relation;
mod release;
mod resolve;
mod resolver;
mod sha256;
mod sources;
mod store;
mod unpack;
mod version;

pub use apt_conf::{AptSettings, read_apt_settings};
pub use control::{ControlError, Paragraph, parse_paragraphs};
pub use deb::{Deb, DebError, Entry, EntryKind};
pub use elf::{Elf, ElfError, read_elf, with_rpath};
pub use environment::native_architecture;
pub use fetch::{FetchError, FetchOptions, Fetcher, masked};
pub use index::{Index, IndexError, IndexRequest, ReleaseInfo};
pub use index_cache::PartError;
pub use keyring::{Keyring, KeyringError};
pub use lock::LockedPackage;
pub use packages::Package;
pub use relation::{Alternative, Dependency, RelationError, VersionConstraint, VersionOperator, parse_dependencies};
pub use release::ReleaseError;
pub use resolve::{Installed, Resolution, ResolveError, ResolveRequest, resolve};
pub use sha256::{Sha256, hex};
pub use sources::{
    Mirror, SignedBy, Source, SourcesError, parse_source_lines, read_apt_sources, shareable_lines, sources_for,
};
pub use store::{DebCache, PackageFile, fetch_each, fetch_packages};
pub use unpack::{UnpackError, UnpackOptions, Unpacked, unpack_into};
pub use version::{Version, VersionError};
