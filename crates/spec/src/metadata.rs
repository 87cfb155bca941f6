//! `<layers>/config/metadata.toml`: what build leaves for export, and what the launcher reads in the app image.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::error::{DocumentError, parse_toml};
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

    /// Writes `metadata.toml` as the Go lifecycle does, letter by letter: it is a layer of the image, whose diffID is then the same.
    pub fn write(&self) -> String {
        let mut text = Text::default();
        if self.processes.is_empty() {
            text.list("", "processes", &[]);
        }
        text.optional("", "buildpack-default-process-type", self.buildpack_default_process_type.as_deref());
        for buildpack in &self.buildpacks {
            text.table("buildpacks");
            text.string("  ", "id", &buildpack.id);
            text.string("  ", "version", &buildpack.version);
            text.string("  ", "api", &buildpack.api.to_string());
            text.optional("  ", "homepage", buildpack.homepage.as_deref());
        }
        for label in &self.labels {
            text.table("labels");
            text.string("  ", "key", &label.key);
            text.string("  ", "value", &label.value);
        }
        for process in &self.processes {
            text.process(process);
        }
        for slice in &self.slices {
            text.table("slices");
            text.list("  ", "paths", &slice.paths);
        }
        text.0
    }

    /// The process of this type.
    pub fn process(&self, kind: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.kind == kind)
    }
}

/// TOML in the form of Go's encoder: keys of tables indented, an empty line before each table.
#[derive(Default)]
struct Text(String);

impl Text {
    fn table(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}[[{name}]]");
    }

    fn line(&mut self, indent: &str, key: &str, value: &str) {
        let _ = writeln!(self.0, "{indent}{key} = {value}");
    }

    fn string(&mut self, indent: &str, key: &str, value: &str) {
        self.line(indent, key, &quoted(value, Escapes::Toml));
    }

    fn optional(&mut self, indent: &str, key: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.string(indent, key, value);
        }
    }

    fn list(&mut self, indent: &str, key: &str, values: &[String]) {
        self.line(indent, key, &list(values, Escapes::Toml));
    }

    fn process(&mut self, process: &Process) {
        self.table("processes");
        self.string("  ", "type", &process.kind);
        let command = match &process.command {
            Command::List(entries) => list(entries, Escapes::Json),
            Command::Text(text) => quoted(text, Escapes::Json),
        };
        self.line("  ", "command", &command);
        if !process.args.is_empty() {
            self.list("  ", "args", &process.args);
        }
        self.line("  ", "direct", &process.direct.to_string());
        if process.default {
            self.line("  ", "default", "true");
        }
        self.string("  ", "buildpack-id", &process.buildpack_id);
        self.optional("  ", "working-dir", process.working_dir.as_deref());
        if !process.exec_env.is_empty() {
            self.list("  ", "exec-env", &process.exec_env);
        }
    }
}

/// Which characters are escaped: the Go lifecycle writes commands with its JSON encoder, which also escapes those of HTML.
#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    Toml,
    Json,
}

fn list(values: &[String], escapes: Escapes) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value, escapes)).collect();
    format!("[{}]", values.join(", "))
}

fn quoted(value: &str, escapes: Escapes) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\0'..='\u{1f}' | '\u{7f}' => text.push_str(&escaped(c)),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes == Escapes::Json => text.push_str(&escaped(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}
