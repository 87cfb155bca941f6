//! Why a buildpack or an extension cannot be had.

use std::io;
use std::path::PathBuf;

use hoist_debian::FetchError;
use hoist_image::{LayerError, LoadError, ReferenceError, RegistryError, StoreError};
use hoist_spec::DocumentError;
use thiserror::Error;

use crate::place::how_to_bring;

/// Why a buildpack or an extension cannot be had.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// Nothing is there.
    #[error("finding the buildpack `{location}`: there is nothing at {}", path.display())]
    NoPath {
        /// As written.
        location: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The store has no such image.
    #[error("finding the buildpack `{name}`: it is neither a file nor an image of the store")]
    NoImage {
        /// As written.
        name: String,
        /// Images of the store that are called almost so.
        similar: Vec<String>,
        /// Whether the docker daemon has it.
        in_docker: bool,
    },
    /// Not the name of an image.
    #[error("finding the buildpack `{location}`")]
    Reference {
        /// As written.
        location: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A place that hoist cannot ask.
    #[error("finding the buildpack `{location}`: hoist does not ask {what} yet")]
    Unsupported {
        /// As written.
        location: String,
        /// What it is.
        what: &'static str,
    },
    /// A path of the source's own descriptor that leads out of the source.
    #[error("finding the buildpack `{location}`: it lies outside of the app, and the app itself asks for it")]
    Outside {
        /// As written.
        location: String,
    },
    /// The source's own descriptor asks for something to be fetched.
    #[error("finding the buildpack `{location}`: it would have to be fetched, and the build has no network")]
    Offline {
        /// As written.
        location: String,
    },
    /// A buildpack of a builder, where there is none yet.
    #[error(
        "finding the buildpack `{location}`: this means a buildpack of the builder that an app is built with, and there is none here"
    )]
    OfABuilder {
        /// As written.
        location: String,
    },
    /// Hoist has no such buildpack of its own.
    #[error("finding the buildpack `{id}`: hoist has none of that id")]
    NotShipped {
        /// As asked for.
        id: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It cannot be fetched.
    #[error("fetching the buildpack {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        source: Box<FetchError>,
    },
    /// A file cannot be read or written.
    #[error("reading the buildpack `{location}`: {action}")]
    Io {
        /// As written.
        location: String,
        /// What was being done.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Neither a buildpack nor a package.
    #[error(
        "reading the buildpack `{location}`: it has neither buildpack.toml nor extension.toml at its root, nor is it a package"
    )]
    NotAModule {
        /// As written.
        location: String,
    },
    /// The descriptor is no text.
    #[error("reading the buildpack `{location}`: {document} is not UTF-8")]
    Encoding {
        /// As written.
        location: String,
        /// Which document.
        document: String,
    },
    /// The descriptor is wrong.
    #[error("reading the buildpack `{location}`")]
    Descriptor {
        /// As written.
        location: String,
        /// What is wrong.
        source: DocumentError,
    },
    /// The package.toml beside a buildpack is wrong.
    #[error("reading {}", path.display())]
    PackageConfig {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// What a package.toml names cannot be had.
    #[error("{}, line {line}", path.display())]
    Dependency {
        /// Which package.toml.
        path: PathBuf,
        /// The line that names it.
        line: usize,
        /// Why not.
        source: Box<ModuleError>,
    },
    /// A component without its programs.
    #[error("reading the buildpack `{location}`: {module} has no {program}, and it is not a composite")]
    NoProgram {
        /// As written.
        location: String,
        /// Its id and version.
        module: String,
        /// What is missing.
        program: &'static str,
    },
    /// A composite that says what it is made for.
    #[error("reading the buildpack `{location}`: {module} has an order, and [[targets]] besides")]
    OrderAndTargets {
        /// As written.
        location: String,
        /// Its id and version.
        module: String,
    },
    /// Its files cannot be a layer.
    #[error("reading the buildpack `{location}`")]
    Layer {
        /// As written.
        location: String,
        /// Why not.
        source: LayerError,
    },
    /// The package cannot be loaded.
    #[error("reading the package `{location}`")]
    Package {
        /// As written.
        location: String,
        /// Why not.
        source: Box<LoadError>,
    },
    /// A package is one image.
    #[error("reading the package `{location}`: it holds {count} images for this machine, and must hold one")]
    NotOne {
        /// As written.
        location: String,
        /// How many.
        count: usize,
    },
    /// The image is no package.
    #[error("reading the package `{location}`: its image has no label {label}")]
    NotAPackage {
        /// As written.
        location: String,
        /// Which label.
        label: &'static str,
    },
    /// A label and the layers do not belong together.
    #[error("reading the package `{location}`: {problem}")]
    Label {
        /// As written.
        location: String,
        /// What does not fit.
        problem: String,
    },
    /// Something else is there.
    #[error("reading the buildpack `{location}`: its {what} is {seen}, but {wanted} was asked for")]
    Other {
        /// As written.
        location: String,
        /// `id` or `version`.
        what: &'static str,
        /// As asked for.
        wanted: String,
        /// As found.
        seen: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl ModuleError {
    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Dependency { source, .. } => source.is_of_the_machine(),
            Self::Registry(error) => !error.is_of_the_caller(),
            _ => matches!(self, Self::Fetch { .. } | Self::Io { .. } | Self::Store(_)),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoPath { .. } => {
                "correct the path; relative ones start where hoist is called, those of a file at its folder".to_owned()
            }
            Self::NoImage { name, similar, in_docker } if *in_docker || similar.is_empty() => how_to_bring(name, *in_docker),
            Self::NoImage { name, similar, .. } => {
                let first = &similar[0];
                format!("the store has {}; name one of them, or let it be one: hoist image tag {first} {name}", similar.join(", "))
            }
            Self::Reference { source, .. } => source.hint(),
            Self::Unsupported { .. } => {
                "fetch the buildpack as a file and name that, or load it (hoist image load FILE) and name the image: docker://NAME"
                    .to_owned()
            }
            Self::Outside { .. } => {
                "name the descriptor yourself if you trust it: --descriptor project.toml; or name the buildpack: --buildpack PATH"
                    .to_owned()
            }
            Self::Offline { .. } => "fetch it and name the file: --buildpack FILE".to_owned(),
            Self::OfABuilder { .. } => "name the place that it comes from: a folder, a file, docker://NAME".to_owned(),
            Self::NotShipped { known, .. } => format!("hoist has {}", known.join(", ")),
            Self::Fetch { source, .. } => {
                format!("{}; or fetch it yourself and name the file", source.hint())
            }
            Self::Io { .. } => "look for a full disk and for the permissions of the file".to_owned(),
            Self::NotAModule { .. } => {
                "name the folder (or a tar of its content, without a top folder) that holds buildpack.toml".to_owned()
            }
            Self::Encoding { document, .. } => format!("save {document} as UTF-8"),
            Self::Descriptor { source, .. } | Self::PackageConfig { source, .. } => source.hint().unwrap_or_default(),
            Self::Dependency { source, .. } => source.hint(),
            Self::NoProgram { program, .. } => {
                format!("add {program}, executable; or an [[order]] to buildpack.toml, if others do the work")
            }
            Self::OrderAndTargets { .. } => {
                "remove [[targets]] from buildpack.toml: a composite is for what its parts are for; package.toml may have them"
                    .to_owned()
            }
            Self::Layer { source, .. } => source.hint(),
            Self::Package { source, .. } => source.hint(),
            Self::NotOne { .. } | Self::NotAPackage { .. } => "make packages with pack buildpack package".to_owned(),
            Self::Label { .. } => "the package was made by no usual tool, or was changed: make it again".to_owned(),
            Self::Other { what, seen, .. } => format!("write {what} = \"{seen}\", or another location"),
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
        }
    }
}
