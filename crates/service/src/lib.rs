//! The service contract: what a service looks like, how it is staged, what goes in and what comes out.
//!
//! The way of the data: [`stage`] copies a folder or an archive into an empty directory and says what it is ([`Staged`]);
//! [`resolve_input`] and [`write_input`] make the files that a job reads; [`ResultScanner`] separates log lines from the result while the job
//! runs; [`collect`] makes a [`JobResult`] of it. [`Job`] is the record of one execution and its states.
//!
//! Files are read and written only where staging, inputs and results need it. Knows nothing of images, buildpacks, sandboxes or the
//! terminal: it reports [`hoist_events::Event`]s and returns values.
#![forbid(unsafe_code)]

mod contract;
mod dependencies;
mod input;
mod job;
mod json;
mod layout;
mod limits;
mod planqk_json;
mod result;
mod scanner;
mod staging;
mod templates;

pub use contract::{Contract, ContractChoice, Signature};
pub use dependencies::{Dependencies, DependencyError, Manager, PythonRequest};
pub use input::{
    DefaultInput, Input, InputArgument, InputError, InputRequest, Mount, WrittenInput, resolve_input, write_input,
};
pub use job::{Job, JobError, JobStatus, TransitionError};
pub use json::{JsonError, JsonText};
pub use layout::Layout;
pub use limits::Limits;
pub use planqk_json::{Gpu, PlanqkJson, PlanqkJsonError, Resources};
pub use result::{JobExit, JobResult, Outcome, ResultError, ResultFile, collect};
pub use scanner::{Block, ResultScanner, Scanned};
pub use staging::{
    IgnoreFile, Owner, SelectedFiles, Selection, StageError, StageRequest, Staged, read_source_text, stage,
};
pub use templates::{Template, TemplateFile, templates};
