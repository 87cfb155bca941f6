//! Build, run, jobs and builders on the local machine: the engine that the commands call.
//!
//! ```text
//! source ─stage→ app ─lifecycle→ image ─import check→ names
//!                 │ buildpacks run in the sandbox, on the builder
//! image ─sandbox→ exit          service ─build, input→ job ─collect→ result
//! ```
//!
//! This crate knows everything below it and puts it together; it knows neither the terminal nor which buildpacks there are (the binary hands
//! them in as [`BuilderParts`]).
#![forbid(unsafe_code)]

mod attest;
mod bill;
mod bindings;
mod bounded;
mod build;
mod builder;
mod buildpackage;
mod bundle;
mod check;
mod chosen;
mod contract;
mod create;
mod download_caches;
mod engine;
mod error;
mod host;
mod import_check;
mod job;
mod keep;
mod lock;
mod lookup;
mod module;
mod named_builder;
mod os_packages;
mod output;
mod place;
mod private_cache;
mod process;
mod project;
mod rebase;
mod rebuild;
mod request;
mod run;
mod runner;
mod sboms;
mod supplies;

pub use attest::{AttachedReport, Attest, AttestError, AttestKey, AttestPublicKey, attest_places, open_envelope};
pub use bill::BillFormat;
pub use build::{BuiltService, Dependency, Offer, PlanReport, Requirement, TriedBuildpack, TriedGroup, rfc3339};
pub use builder::{Builder, BuilderParts, BuildpackFiles, default_builder_toml, order_of};
pub use buildpackage::{
    BuildpackPlace, InspectedBuildpack, NewBuildpack, PackageError, PackageOutput, PackageRequest, PackageSource,
    Packaged, PackagedOutput, PulledBuildpack, ScaffoldError, machine_arch,
};
pub use bundle::{BundleContents, BundleError, Bundled, BundledImage, BundledPackage, inspect_bundle};
pub use check::{CheckReport, Chosen, Foresee, Foresight, NamesProcess, Parameter, Problem, Severity, SourcePlace};
pub use chosen::ChosenError;
pub use create::{BuilderError, BuilderRequest, CreatedBuilder, LifecycleError};
pub use engine::{BaseChoice, EngineSettings, LocalEngine};
pub use error::{Fault, PlatformError};
pub use host::{CondaSettings, HostTrust};
pub use job::JobReport;
pub use lookup::PullPolicy;
pub use module::{ModuleError, ModuleKind};
pub use named_builder::InspectedBuilder;
pub use os_packages::{ChangedPackage, OnePackage, PackageChanges};
pub use place::{Place, PlaceError, Placed, PlacesError, Sent, docker_daemon, write_places};
pub use project::ProjectError;
pub use rebase::{RebaseRequest, Rebased};
pub use rebuild::Rebuilt;
pub use request::{
    BuildCache, BuildLimits, BuildNetwork, BuildRequest, BuildpackChoice, JobRequest, JobSource, RunImageMirrors,
    RunInput, RunNetwork, RunRequest, Volume, WantedBuildpack,
};
pub use sboms::{SbomDocument, SbomsError};
