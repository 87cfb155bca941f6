//! What comes out of a job: the result as JSON text, or an error with a code and a sentence.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::scanner::Block;
use crate::{Contract, JobError, JsonError, JsonText, Scanned};

/// A result file of the second generation is read up to this size; further files are only listed.
const RESULT_BYTES: u64 = 256 << 20;
/// More files than this are no result but an accident.
const MAX_FILES: usize = 10_000;

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
    /// Its path below the output directory.
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

/// A result that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is longer than the scanner keeps.
    #[error("the result is longer than allowed ({bytes} bytes and more)")]
    TooLong {
        /// How much had come.
        bytes: u64,
    },
    /// The output directory cannot be read.
    #[error("reading the results in {}", path.display())]
    Read {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are too many files.
    #[error("the job left more than {MAX_FILES} files in {}", path.display())]
    TooManyFiles {
        /// The output directory.
        path: PathBuf,
    },
}

impl ResultError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Json(_) => {
                "return numbers, texts, lists and dicts from run, and let hoist's runner write them; NaN and Infinity are not JSON"
            }
            Self::TooLong { .. } => "return less, or write files (contract G2)",
            Self::Read { .. } => "run the job again; if it stays, look at the disk",
            Self::TooManyFiles { .. } => "pack them into one archive",
        }
    }
}

/// Puts together what stdout (G1) or `output_dir` (G2) has. `last_line` is the last line on stderr that was not empty: for a program that
/// ended without an answer of its own it is the end of the traceback, and becomes the detail of the error.
pub fn collect(
    contract: Contract,
    scanned: Scanned,
    output_dir: Option<&Path>,
    exit: JobExit,
    last_line: Option<&str>,
) -> Result<JobResult, ResultError> {
    let mut files = Vec::new();
    let answer = match (contract, output_dir) {
        (Contract::G2, Some(dir)) => {
            files = list_files(dir)?;
            match answer_of_files(&mut files, exit)? {
                None => answer_of_stdout(&scanned, exit)?,
                answer => answer,
            }
        }
        _ => answer_of_stdout(&scanned, exit)?,
    };
    let is_error = |announced: Option<Block>| announced == Some(Block::Error) || exit != JobExit::Code(0);
    let outcome = match (answer, exit) {
        (Some((announced, json)), JobExit::Code(_)) if !is_error(announced) => Outcome::Value(Some(json)),
        (Some((_, json)), JobExit::Code(code)) => Outcome::Error(error_of_answer(&json, code, last_line)),
        (None, JobExit::Code(0)) => Outcome::Value(None),
        (_, exit) => Outcome::Error(error_of_exit(exit, last_line)),
    };
    Ok(JobResult { outcome, files, interim: scanned.interim, exit, warnings: scanned.warnings })
}

type Answer = Option<(Option<Block>, JsonText)>;

fn answer_of_stdout(scanned: &Scanned, exit: JobExit) -> Result<Answer, ResultError> {
    if let Some(bytes) = scanned.too_long_bytes {
        return Err(ResultError::TooLong { bytes: bytes as u64 });
    }
    let Some((block, text)) = &scanned.result else { return Ok(None) };
    match JsonText::parse("the result", text.trim_end()) {
        Ok(json) => Ok(Some((Some(*block), json))),
        // A program that was stopped in the middle of its result did not write bad JSON.
        Err(_) if !matches!(exit, JobExit::Code(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes `output.json` or `output.txt` out of the files. `output.txt` holds a JSON scalar, or text.
fn answer_of_files(files: &mut Vec<ResultFile>, exit: JobExit) -> Result<Answer, ResultError> {
    for name in ["output.json", "output.txt"] {
        let Some(at) = files.iter().position(|file| file.name == name) else { continue };
        let file = files.remove(at);
        if file.size_bytes > RESULT_BYTES {
            return Err(ResultError::TooLong { bytes: file.size_bytes });
        }
        let bytes = fs::read(&file.path).map_err(|source| ResultError::Read { path: file.path.clone(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        return match JsonText::parse(name, &text) {
            Ok(json) => Ok(Some((None, json))),
            Err(_) if name == "output.txt" => {
                let quoted = serde_json::Value::from(text.as_ref()).to_string();
                Ok(Some((None, JsonText::parse(name, &quoted)?)))
            }
            // A program that was stopped in the middle of its result did not write bad JSON.
            Err(_) if !matches!(exit, JobExit::Code(_)) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    Ok(None)
}

/// The regular files below `dir`; links are not followed and not listed.
fn list_files(dir: &Path) -> Result<Vec<ResultFile>, ResultError> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(false).max_depth(32).sort_by_file_name() {
        let read = |error: walkdir::Error| ResultError::Read {
            path: error.path().unwrap_or(dir).to_owned(),
            source: error.into(),
        };
        let entry = entry.map_err(read)?;
        if !entry.file_type().is_file() {
            continue;
        }
        if files.len() >= MAX_FILES {
            return Err(ResultError::TooManyFiles { path: dir.to_owned() });
        }
        let size_bytes = entry.metadata().map_err(read)?.len();
        let name = entry.path().strip_prefix(dir).unwrap_or(entry.path()).to_string_lossy().into_owned();
        files.push(ResultFile { name, path: entry.into_path(), size_bytes });
    }
    Ok(files)
}

/// `{"code", "detail"}` (ErrorResponse) or `{"title", "detail"}` (RFC 7807).
fn error_of_answer(json: &JsonText, code: i32, last_line: Option<&str>) -> JobError {
    let value = json.value();
    let text = |key: &str| match value.get(key) {
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match (text("code").or_else(|| text("title")), text("detail")) {
        (Some(code), Some(detail)) => JobError { code, detail },
        (Some(code), None) => JobError { detail: code.clone(), code },
        (None, Some(detail)) => JobError { code: "error".to_owned(), detail },
        (None, None) if code == 0 => JobError { code: "error".to_owned(), detail: json.as_str().to_owned() },
        (None, None) => error_of_exit(JobExit::Code(code), last_line),
    }
}

fn error_of_exit(exit: JobExit, last_line: Option<&str>) -> JobError {
    let (code, detail) = match exit {
        JobExit::Code(code) => (
            "exception",
            last_line.map_or_else(|| format!("the program ended with exit code {code}"), |line| line.trim().to_owned()),
        ),
        JobExit::Signal(signal) => ("signal", format!("the program was ended by signal {signal}")),
        JobExit::TimedOut => ("timeout", "the program took longer than allowed".to_owned()),
        JobExit::OutOfMemory => ("out_of_memory", "the program wanted more memory than it may have".to_owned()),
        JobExit::OutputLimit => ("output_limit", "the program wrote more than it may".to_owned()),
        JobExit::Cancelled => ("cancelled", "the job was cancelled".to_owned()),
    };
    JobError { code: code.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(block: Block, text: &str) -> Scanned {
        Scanned { result: Some((block, text.to_owned())), ..Scanned::default() }
    }

    fn outcome(scanned: Scanned, exit: JobExit) -> Outcome {
        collect(Contract::G1, scanned, None, exit, Some("ValueError: no")).unwrap().outcome
    }

    #[test]
    fn exit_code_and_marker_say_whether_it_is_an_error() {
        let value = outcome(scanned(Block::Result, "{\"a\": 1.10}\n"), JobExit::Code(0));
        assert!(matches!(value, Outcome::Value(Some(json)) if json.as_str() == "{\"a\": 1.10}"));
        let error = |code: &str, detail: &str| Outcome::Error(JobError { code: code.into(), detail: detail.into() });
        assert_eq!(
            outcome(scanned(Block::Result, "{\"code\": \"42\", \"detail\": \"d\"}"), JobExit::Code(1)),
            error("42", "d")
        );
        assert_eq!(
            outcome(scanned(Block::Error, "{\"code\": 42, \"detail\": \"d\"}"), JobExit::Code(0)),
            error("42", "d")
        );
        assert_eq!(outcome(Scanned::default(), JobExit::Code(0)), Outcome::Value(None));
        assert_eq!(outcome(Scanned::default(), JobExit::Code(1)), error("exception", "ValueError: no"));
        assert!(
            matches!(outcome(scanned(Block::Result, "{\"a\": "), JobExit::TimedOut), Outcome::Error(e) if e.code == "timeout")
        );
    }

    #[test]
    fn a_result_that_is_not_json_names_the_place() {
        let error = collect(Contract::G1, scanned(Block::Result, "{\n  \"a\": NaN\n}"), None, JobExit::Code(0), None)
            .unwrap_err();
        assert!(error.to_string().starts_with("the result is not JSON: line 2, column 8: JSON has no NaN"), "{error}");
    }

    #[test]
    fn files_of_the_second_generation_are_the_result() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("output.txt"), "3").unwrap();
        fs::create_dir(dir.path().join("plots")).unwrap();
        fs::write(dir.path().join("plots/a.svg"), "<svg/>").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let result = collect(Contract::G2, Scanned::default(), Some(dir.path()), JobExit::Code(0), None).unwrap();
        assert!(matches!(result.outcome, Outcome::Value(Some(json)) if json.as_str() == "3"));
        assert_eq!(result.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["plots/a.svg"]);
        fs::write(
            dir.path().join("output.json"),
            "{\"type\": \"about:blank\", \"status\": 500, \"title\": \"KeyError\", \"detail\": \"'x'\"}",
        )
        .unwrap();
        let result = collect(Contract::G2, Scanned::default(), Some(dir.path()), JobExit::Code(1), None).unwrap();
        assert_eq!(result.outcome, Outcome::Error(JobError { code: "KeyError".into(), detail: "'x'".into() }));
        fs::write(dir.path().join("output.json"), "{\"a\": ").unwrap();
        let half = |exit| collect(Contract::G2, Scanned::default(), Some(dir.path()), exit, None);
        assert!(matches!(half(JobExit::TimedOut).unwrap().outcome, Outcome::Error(error) if error.code == "timeout"));
        assert!(matches!(half(JobExit::Code(0)), Err(ResultError::Json(_))));
    }
}
