//! The project descriptor of a build: found, read, and brought together with what the caller asks for, which wins.
//!
//! The one that lies in the source may be a stranger's, as the source itself; the one that the caller names is as good as an option.

use std::path::PathBuf;

use hoist_events::Event;
use hoist_image::ReferenceError;
use hoist_service::{Limits, SelectedFiles, read_source_text};
use hoist_spec::{DocumentError, ProjectBuildpack, ProjectDescriptor, ProjectFiles};
use thiserror::Error;

use crate::bounded::read_text;
use crate::builder::is_own_builder;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{Asked, BuildRequest, WantedBuildpack};

const FILE: &str = "project.toml";
/// Larger than any descriptor.
const MAX_BYTES: u64 = 4 << 20;

/// Why a project descriptor cannot be used.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The file cannot be read.
    #[error("reading the project descriptor {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("reading the project descriptor {}", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: Box<DocumentError>,
    },
    /// The file is no text.
    #[error("reading the project descriptor {}: line {line} is not UTF-8", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
    },
    /// The builder that it names is no name.
    #[error("the project descriptor {} names the builder `{builder}`", path.display())]
    Builder {
        /// Which.
        path: PathBuf,
        /// As written.
        builder: String,
        /// What is wrong with it.
        source: Box<ReferenceError>,
    },
}

impl ProjectError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "name a file that is there: --descriptor FILE".to_owned(),
            Self::NotText { .. } => "save it as UTF-8".to_owned(),
            Self::Document { source, .. } => source.hint().unwrap_or_default(),
            Self::Builder { source, .. } => source.hint(),
        }
    }
}

/// A descriptor and where it was found.
struct Project {
    path: PathBuf,
    descriptor: ProjectDescriptor,
    /// Whether it was found in the source, and not named by the caller.
    found: bool,
}

impl LocalEngine {
    /// The request with what the project descriptor adds to it.
    pub(crate) fn with_project(&self, request: &BuildRequest) -> Result<BuildRequest, PlatformError> {
        let mut request = request.clone();
        self.take_from_bundle(&mut request)?;
        if let Some(mut project) = self.read_project(&request)? {
            project.descriptor.retain_exec_env(&request.exec_env);
            project.apply(&mut request)?;
        }
        request.builder = request.builder.take().or_else(|| request.default_builder.clone());
        // Hoist's own builder is asked for by its name, too.
        if request.builder.as_ref().is_some_and(is_own_builder) {
            request.builder = None;
        }
        Ok(request)
    }

    fn read_project(&self, request: &BuildRequest) -> Result<Option<Project>, PlatformError> {
        let (path, text) = match &request.descriptor {
            Some(path) => {
                let failed = |source| ProjectError::Read { path: path.clone(), source };
                (path.clone(), read_text(path, MAX_BYTES).map_err(failed)?)
            }
            None => match read_source_text(&request.source, FILE, &Limits::default())? {
                Some(text) => (request.source.join(FILE), text),
                None => return Ok(None),
            },
        };
        // What is no UTF-8 was replaced when the source was read.
        if let Some(at) = text.lines().position(|line| line.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(ProjectError::NotText { path, line: at + 1 }.into());
        }
        let parsed = ProjectDescriptor::parse(&text);
        let wrong = |source| ProjectError::Document { path: path.clone(), source: Box::new(source) };
        let descriptor = parsed.map_err(wrong)?;
        let found = request.descriptor.is_none();
        self.reporter().report(&Event::Choice {
            what: "project descriptor".to_owned(),
            chosen: path.display().to_string(),
            reason: if found { "the app has it" } else { "--descriptor names it" }.to_owned(),
        });
        for warning in &descriptor.warnings {
            self.reporter().warn(&format!("{}: {}", path.display(), warning.text), Some(&warning.fix));
        }
        Ok(Some(Project { path, descriptor, found }))
    }
}

impl Project {
    /// What the caller says wins: options over the descriptor, each list as a whole, variables one by one.
    fn apply(self, request: &mut BuildRequest) -> Result<(), ProjectError> {
        if request.builder.is_none()
            && let Some(builder) = &self.descriptor.builder
        {
            let wrong = |source| {
                let (path, builder) = (self.path.clone(), builder.clone());
                ProjectError::Builder { path, builder, source: Box::new(source) }
            };
            request.builder = Some(builder.parse().map_err(wrong)?);
        }
        let choice = &mut request.buildpacks;
        for (list, declared) in [
            (&mut choice.group, &self.descriptor.group),
            (&mut choice.pre, &self.descriptor.pre),
            (&mut choice.post, &self.descriptor.post),
        ] {
            if list.is_empty() {
                list.extend(declared.iter().map(|buildpack| self.wanted(buildpack)));
            }
        }
        let env = self.descriptor.env.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
        request.env = env.chain(std::mem::take(&mut request.env)).collect();
        if request.selection.files == SelectedFiles::All {
            request.selection.files = match &self.descriptor.files {
                ProjectFiles::All => SelectedFiles::All,
                ProjectFiles::Include(patterns) => SelectedFiles::Include(patterns.clone()),
                ProjectFiles::Exclude(patterns) => SelectedFiles::Exclude(patterns.clone()),
            };
        }
        if request.project.source.is_none() {
            request.project = self.descriptor.metadata();
        }
        Ok(())
    }

    fn wanted(&self, buildpack: &ProjectBuildpack) -> WantedBuildpack {
        let (path, line) = (self.path.clone(), buildpack.line);
        let asked = if self.found { Asked::Source { path, line } } else { Asked::Descriptor { path, line } };
        WantedBuildpack { source: buildpack.source.clone(), asked }
    }
}
