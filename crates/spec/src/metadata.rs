//! `<layers>/config/metadata.toml`: what build leaves for export, and what the launcher reads in the app image.

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::error::{DocumentError, parse_toml, write_toml};
use crate::launch_toml::{Command, Label, Slice};

/// A process of the app image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its name: `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Executable and the arguments that are always passed.
    pub command: Command,
    /// Arguments that a user may replace.
    #[serde(default)]
    pub args: Vec<String>,
    /// Whether it starts without a shell.
    #[serde(default)]
    pub direct: bool,
    /// Whether its buildpack declared it the default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Which buildpack declared it.
    #[serde(default, rename = "buildpack-id", alias = "buildpackID")]
    pub buildpack_id: String,
    /// Where it starts; the app directory unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Execution environments it is for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

impl Process {
    /// Whether it may be started in this execution environment.
    pub fn supports_exec_env(&self, exec_env: &str) -> bool {
        self.exec_env.is_empty() || self.exec_env.iter().any(|entry| entry == "*" || entry == exec_env)
    }
}

/// A buildpack of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataBuildpack {
    /// Its id.
    pub id: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The Buildpack API it speaks.
    pub api: ApiVersion,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
}

/// `metadata.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildMetadata {
    /// The process that the buildpacks want started; the last one declared with `default = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_default_process_type: Option<String>,
    /// Buildpacks in group order.
    #[serde(default)]
    pub buildpacks: Vec<MetadataBuildpack>,
    /// Labels for the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Processes, the last definition of each type.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// Slices of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

impl BuildMetadata {
    /// Reads `metadata.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("metadata.toml", text)
    }

    /// Writes `metadata.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("metadata.toml", self)
    }

    /// The process of this type.
    pub fn process(&self, kind: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.kind == kind)
    }
}
