//! `project.toml`, the project descriptor: what the source of an app says of its build. extensions/project-descriptor.md, schemas 0.1 to 0.3.
//!
//! Schema 0.3 is not written down; it is what pack reads, 0.2 with `exec-env`. A file that names no schema is of 0.1, whose tables have other
//! names. Keys that the schema does not have are warnings: other tools keep tables of their own in the file. Knows no files: patterns and
//! locations are handed on as they stand.

mod schema;
mod script;

use serde::Deserialize;
use toml::Spanned;

use crate::builder_config::ConfigWarning;
use crate::error::{DocumentError, Lines, parse_toml};
use crate::project_metadata::{ProjectMetadata, ProjectSource};
pub use script::InlineScript;

const DOCUMENT: &str = "project.toml";

/// `project.toml`, checked, in one form for all schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectDescriptor {
    /// The builder to build with.
    pub builder: Option<String>,
    /// Which files of the source are built.
    pub files: ProjectFiles,
    /// The buildpacks instead of the builder's order; none for that order.
    pub group: Vec<ProjectBuildpack>,
    /// Buildpacks before each group of the builder's order.
    pub pre: Vec<ProjectBuildpack>,
    /// Buildpacks behind each group of the builder's order.
    pub post: Vec<ProjectBuildpack>,
    /// Variables for the build.
    pub env: Vec<ProjectVariable>,
    /// The version of the project, as it declares it.
    pub version: Option<String>,
    /// Where its source is.
    pub source_url: Option<String>,
    /// What works, but is probably not meant.
    pub warnings: Vec<ConfigWarning>,
}

/// Which files of the source are built, by patterns as `.gitignore` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProjectFiles {
    /// All of them.
    #[default]
    All,
    /// Those alone that match.
    Include(Vec<String>),
    /// All but those that match.
    Exclude(Vec<String>),
}

/// A buildpack of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectBuildpack {
    /// Where it comes from.
    pub source: ProjectBuildpackSource,
    /// Execution environments that it is for; empty means all.
    pub exec_env: Vec<String>,
    /// Line of the file, from 1.
    pub line: usize,
}

/// Where a buildpack of a group comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectBuildpackSource {
    /// As it would be written after `--buildpack`: `id`, `id@version`, a path, a URI, `from=builder`.
    Locator(String),
    /// From the file itself.
    Script(InlineScript),
}

/// A variable for the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Execution environments that it is for; empty means all.
    pub exec_env: Vec<String>,
}

#[derive(Default, Deserialize)]
struct RawVersion {
    #[serde(default, rename = "_")]
    underscore: RawVersionTable,
}

#[derive(Default, Deserialize)]
struct RawVersionTable {
    #[serde(rename = "schema-version")]
    schema_version: Option<Spanned<String>>,
}

/// Schema 0.1.
#[derive(Deserialize)]
struct RawOld {
    #[serde(default)]
    project: RawProject,
    #[serde(default)]
    build: RawBuildpacks<Vec<Spanned<RawVariable>>>,
}

/// Schemas 0.2 and 0.3.
#[derive(Deserialize)]
struct RawNew {
    #[serde(default, rename = "_")]
    project: RawProject,
    #[serde(default)]
    io: RawIo,
}

#[derive(Default, Deserialize)]
struct RawIo {
    #[serde(default)]
    buildpacks: RawBuildpacks<RawEnv>,
}

/// `[project]`, later `[_]`. What is not used is read to be checked.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawProject {
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "name")]
    _name: Option<String>,
    version: Option<String>,
    #[serde(rename = "authors")]
    _authors: Vec<String>,
    #[serde(rename = "documentation-url")]
    _documentation_url: Option<String>,
    source_url: Option<String>,
    licenses: Vec<Spanned<RawLicense>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLicense {
    #[serde(rename = "type")]
    kind: String,
    uri: String,
}

/// `[build]`, later `[io.buildpacks]`, where `env` is something else.
#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "E: Default + Deserialize<'de>"))]
struct RawBuildpacks<E> {
    builder: Option<String>,
    include: Option<Spanned<Vec<String>>>,
    exclude: Option<Vec<String>>,
    /// Schema 0.1.
    buildpacks: Vec<Spanned<RawBuildpack>>,
    /// From 0.2 on.
    group: Vec<Spanned<RawBuildpack>>,
    pre: RawGroup,
    post: RawGroup,
    env: E,
    build: RawBuild,
}

/// Deprecated: `[[io.buildpacks.env.build]]`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEnv {
    build: Vec<Spanned<RawVariable>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawBuild {
    env: Option<Vec<Spanned<RawVariable>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGroup {
    group: Vec<Spanned<RawBuildpack>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawBuildpack {
    id: String,
    version: String,
    uri: String,
    script: Option<script::RawScript>,
    exec_env: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawVariable {
    name: String,
    value: String,
    exec_env: Vec<String>,
}

/// The schemas that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Schema {
    V01,
    V02,
    V03,
}

impl ProjectDescriptor {
    /// Reads `project.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = Lines::of(text);
        let mut found = Self::default();
        let schema = found.read_schema(text, &lines)?;
        let (project, env) = if schema == Schema::V01 {
            let RawOld { project, build: raw } = parse_toml(DOCUMENT, text)?;
            found.read_files(&lines, &raw)?;
            found.read_groups(&lines, schema, raw.buildpacks, raw.pre, raw.post)?;
            found.builder = raw.builder;
            (project, raw.env)
        } else {
            let RawNew { project, io: RawIo { buildpacks: raw } } = parse_toml(DOCUMENT, text)?;
            found.read_files(&lines, &raw)?;
            found.read_groups(&lines, schema, raw.group, raw.pre, raw.post)?;
            found.builder = raw.builder;
            (project, found.new_env(&lines, schema, raw.build.env, raw.env))
        };
        found.builder = found.builder.filter(|builder| !builder.is_empty());
        found.env = env.into_iter().map(|entry| variable(&lines, schema, entry)).collect::<Result<_, _>>()?;
        check_licenses(&lines, &project.licenses)?;
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        found.version = filled(project.version);
        found.source_url = filled(project.source_url);
        for (key, line) in schema::unknown_keys(text, &lines, schema)? {
            let (text, fix) = schema::explain(&key, line, schema);
            found.warn(text, fix);
        }
        Ok(found)
    }

    /// Leaves out what is not for this execution environment.
    pub fn retain_exec_env(&mut self, exec_env: &str) {
        let fits = |list: &[String]| list.is_empty() || list.iter().any(|entry| entry == "*" || entry == exec_env);
        for group in [&mut self.group, &mut self.pre, &mut self.post] {
            group.retain(|buildpack| fits(&buildpack.exec_env));
        }
        self.env.retain(|variable| fits(&variable.exec_env));
    }

    /// What the image's label says of the project.
    pub fn metadata(&self) -> ProjectMetadata {
        if self.version.is_none() && self.source_url.is_none() {
            return ProjectMetadata::default();
        }
        let table = |name: &str, value: &Option<String>| {
            value.iter().map(|value| (name.to_owned(), toml::Value::String(value.clone()))).collect()
        };
        ProjectMetadata {
            source: Some(ProjectSource {
                kind: Some("project".to_owned()),
                version: table("declared", &self.version),
                metadata: table("url", &self.source_url),
            }),
        }
    }

    fn warn(&mut self, text: impl Into<String>, fix: impl Into<String>) {
        self.warnings.push(ConfigWarning { text: text.into(), fix: fix.into() });
    }

    fn read_schema(&mut self, text: &str, lines: &Lines) -> Result<Schema, DocumentError> {
        let raw: RawVersion = parse_toml(DOCUMENT, text)?;
        let Some(version) = raw.underscore.schema_version.filter(|version| !version.as_ref().is_empty()) else {
            self.warn(
                "no schema-version is declared, so it is read as schema 0.1",
                "add [_] with schema-version = \"0.2\"; its tables are [_] and [io.buildpacks]",
            );
            return Ok(Schema::V01);
        };
        match version.as_ref().as_str() {
            "0.1" => Ok(Schema::V01),
            "0.2" => Ok(Schema::V02),
            "0.3" => Ok(Schema::V03),
            other => {
                let at = format!("line {}, _.schema-version", lines.line_of(version.span().start));
                let message = format!("`{other}` is no schema that hoist reads");
                Err(DocumentError::invalid(DOCUMENT, at, message, "write \"0.2\" (or \"0.1\", \"0.3\")"))
            }
        }
    }

    fn read_files<E>(&mut self, lines: &Lines, raw: &RawBuildpacks<E>) -> Result<(), DocumentError> {
        self.files = match (&raw.include, &raw.exclude) {
            (Some(include), Some(_)) => {
                let at = format!("line {}, include", lines.line_of(include.span().start));
                let fix = "keep one of them: include takes nothing but what matches, exclude all but what matches";
                return Err(DocumentError::invalid(DOCUMENT, at, "both include and exclude are given", fix));
            }
            (Some(include), None) if !include.as_ref().is_empty() => ProjectFiles::Include(include.as_ref().clone()),
            (None, Some(exclude)) if !exclude.is_empty() => ProjectFiles::Exclude(exclude.clone()),
            _ => ProjectFiles::All,
        };
        Ok(())
    }

    fn read_groups(
        &mut self,
        lines: &Lines,
        schema: Schema,
        group: Vec<Spanned<RawBuildpack>>,
        pre: RawGroup,
        post: RawGroup,
    ) -> Result<(), DocumentError> {
        self.group = buildpacks(lines, schema, group)?;
        self.pre = buildpacks(lines, schema, pre.group)?;
        self.post = buildpacks(lines, schema, post.group)?;
        Ok(())
    }

    /// Schema 0.2 had its variables in another place at first.
    fn new_env(
        &mut self,
        lines: &Lines,
        schema: Schema,
        env: Option<Vec<Spanned<RawVariable>>>,
        deprecated: RawEnv,
    ) -> Vec<Spanned<RawVariable>> {
        match (env, deprecated.build) {
            (None, build) if schema == Schema::V02 && !build.is_empty() => {
                let line = lines.line_of(build[0].span().start);
                self.warn(
                    format!("line {line}: [[io.buildpacks.env.build]] is deprecated"),
                    "write [[io.buildpacks.build.env]]",
                );
                build
            }
            (env, _) => env.unwrap_or_default(),
        }
    }
}

fn check_licenses(lines: &Lines, licenses: &[Spanned<RawLicense>]) -> Result<(), DocumentError> {
    match licenses.iter().find(|license| license.as_ref().kind.is_empty() && license.as_ref().uri.is_empty()) {
        Some(license) => {
            let at = format!("line {}, licenses", lines.line_of(license.span().start));
            let fix = "add type = \"Apache-2.0\", for example, or the uri of its text";
            Err(DocumentError::invalid(DOCUMENT, at, "a license has neither type nor uri", fix))
        }
        None => Ok(()),
    }
}

fn buildpacks(
    lines: &Lines,
    schema: Schema,
    raw: Vec<Spanned<RawBuildpack>>,
) -> Result<Vec<ProjectBuildpack>, DocumentError> {
    raw.into_iter()
        .map(|entry| {
            let line = lines.line_of(entry.span().start);
            let RawBuildpack { id, version, uri, script, exec_env } = entry.into_inner();
            let wrong = |message: String, fix: &str| {
                Err(DocumentError::invalid(DOCUMENT, format!("line {line}, buildpack"), message, fix))
            };
            let source = match (script, uri.is_empty(), id.is_empty()) {
                (Some(_), false, _) => {
                    return wrong(format!("both a uri ({uri}) and a script are given"), "keep one of them");
                }
                (Some(script), true, _) => ProjectBuildpackSource::Script(script.check(line, id, version)?),
                (None, false, _) if !version.is_empty() => {
                    let message = format!("both a uri ({uri}) and a version ({version}) are given");
                    return wrong(message, "remove the version: what is at the uri has its own");
                }
                (None, false, _) => ProjectBuildpackSource::Locator(uri),
                (None, true, true) => {
                    return wrong(
                        "it has neither an id nor a uri".to_owned(),
                        "add id = \"…\", the buildpack of the builder, or uri = \"…\", where it is",
                    );
                }
                (None, true, false) if version.is_empty() => ProjectBuildpackSource::Locator(id),
                (None, true, false) => ProjectBuildpackSource::Locator(format!("{id}@{version}")),
            };
            let exec_env = if schema >= Schema::V03 { exec_env } else { Vec::new() };
            Ok(ProjectBuildpack { source, exec_env, line })
        })
        .collect()
}

fn variable(lines: &Lines, schema: Schema, entry: Spanned<RawVariable>) -> Result<ProjectVariable, DocumentError> {
    let line = lines.line_of(entry.span().start);
    let RawVariable { name, value, exec_env } = entry.into_inner();
    if name.is_empty() || name.contains(['/', '\0', '=']) || matches!(name.as_str(), "." | "..") {
        let message = format!("`{name}` cannot be the name of a variable");
        let fix = "name the variable, for example BP_LOG_LEVEL";
        return Err(DocumentError::invalid(DOCUMENT, format!("line {line}, env"), message, fix));
    }
    let exec_env = if schema >= Schema::V03 { exec_env } else { Vec::new() };
    Ok(ProjectVariable { name, value, exec_env })
}

#[cfg(test)]
mod tests;
