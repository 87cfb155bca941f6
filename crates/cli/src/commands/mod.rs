//! The commands, one file each: arguments, help, and the lines that call the library.

pub(crate) mod attest_options;
pub(crate) mod base;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod buildpack;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod extension;
pub(crate) mod image;
mod image_attestations;
pub(crate) mod image_transfer;
mod image_verify;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod job;
pub(crate) mod lifecycle;
mod listing;
pub(crate) mod package;
pub(crate) mod plan;
pub(crate) mod rebase;
pub(crate) mod registry_options;
mod remote;
pub(crate) mod run;
pub(crate) mod sbom;
pub(crate) mod system;
