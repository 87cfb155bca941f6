//! What a caller asks for: builds, runs and jobs, as plain data.

mod build;
mod caches;
mod run;
mod volume;

pub use build::{BuildNetwork, BuildRequest};
pub use caches::BuildCache;
pub use run::{JobRequest, JobSource, RunInput, RunNetwork, RunRequest};
pub use volume::Volume;
