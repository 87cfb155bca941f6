//! Hoist's own buildpacks: ordinary processes that speak the Cloud Native Buildpacks specification (Buildpack API 0.10).
//!
//! The hoist binary is every one of them: in a builder image, `/cnb/buildpacks/<id>/<version>/bin/{detect,build}` are links to it,
//! and [`main_if_buildpack`] sees from its own name which buildpack and which phase is wanted. What a builder must hold is said by
//! [`shipped()`] and [`default_order`].
//!
//! This crate does not know images, stores, sandboxes or the lifecycle: all it sees are directories and environment variables.

#![forbid(unsafe_code)]

mod archive;
mod as_of;
mod binding;
mod buildpack;
mod bytecode;
#[cfg(feature = "conda")]
mod conda;
mod context;
mod deb_packages;
mod dependencies;
mod django;
mod encoding;
mod entry;
mod failure;
mod foresee;
#[doc(hidden)]
pub mod fuzzed;
mod image_settings;
mod install;
mod job_template;
mod keep;
mod layer;
mod manifest;
mod offline;
mod output;
mod pdm;
mod pep440;
mod pep508;
mod pip;
mod pipenv;
mod place;
mod poetry;
mod process;
mod procfile;
mod procfile_command;
mod procfile_grammar;
mod procfile_programs;
mod propose;
mod pylock;
mod pyproject;
mod python;
mod python_json;
mod run_environment;
mod sbom;
mod shipped;
mod uv_lock;

pub use binding::{Binding, Bindings};
pub use buildpack::{Buildpack, Detection, Provide, Require};
pub use context::{BuildContext, Context, DetectContext, Environment, LaunchProcess};
pub use encoding::{DecodeError, decode_text};
pub use entry::{Phase, main_if_buildpack, run_phase};
pub use failure::{EXIT_NEEDS_SOURCE_BUILD, Failure, Page, Warning};
pub use foresee::{Foresight, Packages, foresee, names_process};
pub use layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes, SbomFormat};
pub use output::Output;
pub use place::{Place, place_of};
pub use shipped::{OrderEntry, ShippedBuildpack, ShippedFile, default_order, shipped};
