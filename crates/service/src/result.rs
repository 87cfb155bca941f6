//! What comes out of a job.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Contract, JobError, JsonError, JsonText, Scanned};

/// How the process of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobExit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// It wanted more memory than it may have.
    OutOfMemory,
    /// It wrote more than it may.
    OutputLimit,
    /// Its owner stopped it.
    Cancelled,
}

/// What a job answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The result as it was written; none where `run` returned None.
    Value(Option<JsonText>),
    /// The service answered with an error, or ended with one.
    Error(JobError),
}

/// A file that a job left (G2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResultFile {
    /// Its name.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
    /// How large.
    pub size_bytes: u64,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobResult {
    /// The answer.
    pub outcome: Outcome,
    /// Further files.
    pub files: Vec<ResultFile>,
    /// Interim results.
    pub interim: Vec<JsonText>,
    /// How the process ended.
    pub exit: JobExit,
    /// Oddities to warn about.
    pub warnings: Vec<String>,
}

/// Puts together what stdout (G1) or `output_dir` (G2) has.
pub fn collect(
    contract: Contract,
    scanned: Scanned,
    output_dir: Option<&Path>,
    exit: JobExit,
) -> Result<JobResult, ResultError> {
    let _ = (contract, scanned, output_dir, exit);
    todo!()
}

/// A result that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}
