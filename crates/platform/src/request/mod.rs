//! What a caller asks for: builds, runs and jobs, as plain data.

mod build;
mod run;
mod volume;

pub use build::{BuildNetwork, BuildRequest};
pub use run::{JobRequest, JobSource, RunInput, RunNetwork, RunRequest};
pub use volume::Volume;
