//! What goes into a job: arguments, defaults, checks, and the files that the program finds.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Contract, JsonError, JsonText, Signature};

/// `--data` or `--params` as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputArgument {
    /// A file.
    File(PathBuf),
    /// `-`.
    Stdin,
    /// JSON itself.
    Inline(String),
}

/// The input files that a service brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultInput {
    /// `input/data.json`.
    pub data: Option<Vec<u8>>,
    /// `input/params.json`.
    pub params: Option<Vec<u8>>,
}

/// Everything that may say what the input is. `data` and `params` win over `input_dir`, which wins over `defaults`.
#[derive(Debug, Clone, Default)]
pub struct InputRequest<'a> {
    /// `--data`.
    pub data: Option<InputArgument>,
    /// `--params`.
    pub params: Option<InputArgument>,
    /// `--input DIR`: `data.json`, `params.json`, for G2 any `<key>.json` or `<key>.txt`.
    pub input_dir: Option<&'a Path>,
    /// Of the service.
    pub defaults: DefaultInput,
}

/// The input of a job, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// What `data` is.
    pub data: Option<JsonText>,
    /// What `params` is.
    pub params: Option<JsonText>,
    /// Further keys (G2).
    pub extra: Vec<(String, JsonText)>,
}

/// A directory of the host that the job sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Whether the job may not write there.
    pub read_only: bool,
}

/// Files that were written for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenInput {
    /// What to mount.
    pub mounts: Vec<Mount>,
    /// What to set.
    pub env: Vec<(String, String)>,
    /// Where the program writes its results (G2), on the host; give it to the run user.
    pub output_dir: Option<PathBuf>,
}

/// Reads and checks the input. `stdin` is read only if an argument is `-`.
pub fn resolve_input(request: &InputRequest<'_>, stdin: &mut dyn Read) -> Result<Input, InputError> {
    let _ = (request, stdin);
    todo!()
}

/// Writes `input` into the empty directory `dir` as `contract` wants it.
pub fn write_input(
    input: &Input,
    contract: Contract,
    signature: Option<&Signature>,
    dir: &Path,
) -> Result<WrittenInput, InputError> {
    let _ = (input, contract, signature, dir);
    todo!()
}

/// An input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}
