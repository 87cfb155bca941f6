//! `launch.toml`: labels, processes and slices of one buildpack.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::error::{DocumentError, parse_toml, write_toml};
use crate::legacy_bom::BomEntry;

const DOCUMENT: &str = "launch.toml";

/// An image label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Files of the app that become one layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Globs of Go's `filepath.Match`, relative to the app or absolute within it.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// A process as a buildpack declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessEntry {
    /// Its name: `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Executable and the arguments that are always passed; one element below API 0.9.
    pub command: Command,
    /// Arguments that a user may replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Whether it starts without a shell; below API 0.9 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<bool>,
    /// Whether the image starts it unless told otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Where it starts; the app directory unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Execution environments it is for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

/// A command as a list (API 0.9 and newer) or as one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// `["python", "-m", "app"]`.
    List(Vec<String>),
    /// `"python -m app"`.
    Text(String),
}

impl Default for Command {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Command {
    /// The elements; a text is one element.
    pub fn entries(&self) -> Vec<String> {
        match self {
            Self::List(entries) => entries.clone(),
            Self::Text(text) => vec![text.clone()],
        }
    }
}

/// `launch.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchToml {
    /// The deprecated bill of materials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bom: Vec<BomEntry>,
    /// Labels for the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessEntry>,
    /// Slices of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

impl LaunchToml {
    /// Reads `launch.toml` by the rules of the buildpack's API.
    pub fn parse(text: &str, api: ApiVersion) -> Result<Self, DocumentError> {
        let launch: Self = parse_toml(DOCUMENT, text)?;
        let mut defaults = 0;
        let mut kinds = BTreeSet::new();
        for (at, process) in launch.processes.iter().enumerate() {
            check_process(process, at, api)?;
            defaults += usize::from(process.default);
            if !kinds.insert(&process.kind) {
                let message = format!("process type `{}` is there twice", process.kind);
                let fix = "give each process of a buildpack a type of its own";
                return Err(DocumentError::invalid(DOCUMENT, format!("processes[{at}].type"), message, fix));
            }
        }
        if defaults > 1 {
            let fix = "keep `default = true` on one process";
            return Err(DocumentError::invalid(DOCUMENT, "processes", "more than one process is the default", fix));
        }
        let mut keys = BTreeSet::new();
        for (at, label) in launch.labels.iter().enumerate() {
            if !keys.insert(&label.key) {
                let message = format!("label `{}` is there twice", label.key);
                return Err(DocumentError::invalid(
                    DOCUMENT,
                    format!("labels[{at}].key"),
                    message,
                    "remove one of them",
                ));
            }
        }
        check_slices(&launch.slices)?;
        Ok(launch)
    }

    /// Writes `launch.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml(DOCUMENT, self)
    }
}

/// Each slice is a layer of the image, and container engines stop at 127 layers.
const MAX_SLICES: usize = 100;
/// More than anyone writes: each pattern is held against each file of the app.
const MAX_PATTERNS: usize = 4096;

fn check_slices(slices: &[Slice]) -> Result<(), DocumentError> {
    let fix = "put more patterns into one slice";
    if slices.len() > MAX_SLICES {
        let message = format!("there are {}, and an image cannot have more than {MAX_SLICES}", slices.len());
        return Err(DocumentError::invalid(DOCUMENT, "slices", message, fix));
    }
    let patterns: usize = slices.iter().map(|slice| slice.paths.len()).sum();
    if patterns > MAX_PATTERNS {
        let message = format!("they have {patterns} patterns, and {MAX_PATTERNS} are the most");
        return Err(DocumentError::invalid(DOCUMENT, "slices", message, "name folders in place of files"));
    }
    Ok(())
}

fn check_process(process: &ProcessEntry, at: usize, api: ApiVersion) -> Result<(), DocumentError> {
    let field = |name: &str| format!("processes[{at}].{name}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if process.kind.is_empty() || !process.kind.chars().all(allowed) || matches!(process.kind.as_str(), "." | "..") {
        let message = format!("`{}` is not a process type", process.kind);
        return Err(DocumentError::invalid(DOCUMENT, field("type"), message, "use letters, digits, `.`, `_` and `-`"));
    }
    let entries = process.command.entries();
    if entries.first().is_none_or(String::is_empty) {
        return Err(DocumentError::invalid(DOCUMENT, field("command"), "is empty", "name an executable"));
    }
    match (&process.command, api.at_least(9)) {
        (Command::Text(text), true) => {
            let fix = format!("write command = [\"{}\"]", text.split_whitespace().collect::<Vec<_>>().join("\", \""));
            Err(DocumentError::invalid(
                DOCUMENT,
                field("command"),
                format!("must be a list in buildpack API {api}"),
                fix,
            ))
        }
        (Command::List(_), false) => {
            let message = format!("must be a text in buildpack API {api}");
            Err(DocumentError::invalid(DOCUMENT, field("command"), message, "write command = \"…\" and args = […]"))
        }
        (_, true) if process.direct.is_some() => {
            let message = format!("is not supported in buildpack API {api}");
            Err(DocumentError::invalid(DOCUMENT, field("direct"), message, "remove it: every process is direct"))
        }
        _ => Ok(()),
    }
}
