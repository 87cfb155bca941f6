//! What a caller asks for: builds, runs and jobs, as plain data.

mod build;
mod buildpacks;
mod caches;
mod mirrors;
mod run;
mod volume;

pub use build::{BuildLimits, BuildNetwork, BuildRequest};
pub(crate) use buildpacks::Asked;
pub use buildpacks::{BuildpackChoice, WantedBuildpack};
pub use caches::BuildCache;
pub use mirrors::RunImageMirrors;
pub use run::{JobRequest, JobSource, RunInput, RunNetwork, RunRequest};
pub use volume::Volume;
