//! Bundles: all that the build of an app needs, in one file, for machines without a network.
//!
//! ```text
//! app ─build, empty cache→ what was fetched ─build, no network→ the same image ─pack→ app.bundle
//! app.bundle ─verify→ images, a cache of its own ─build, no network→ the same image
//! ```
//!
//! A bundle is a tar of four files: its mark (the format, and the digest of what follows), `bundle.json` (what it is, and the digest of everything else),
//! `images.tar` (an OCI archive) and `cache.tar.zst` (files by their digests). Whoever made it is not trusted: see [`open`] and docs/adr/0052.

mod collect;
mod document;
mod error;
mod file;
mod make;
mod open;
mod trust;

pub use document::{BundleContents, BundledImage, BundledPackage};
pub use error::BundleError;
pub use file::inspect_bundle;
pub use make::Bundled;

/// Kind of the records that keep the images of bundles.
pub(crate) const RECORD: &str = "bundle";
