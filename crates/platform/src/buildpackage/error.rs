//! Why no package was made of a buildpack.

use std::path::PathBuf;

use hoist_image::{LayerError, SaveError};
use hoist_spec::DocumentError;
use thiserror::Error;

use crate::module::{ModuleError, ModuleKind};

/// Why no package was made of a buildpack.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("reading {}", path.display())]
    Config {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// The file is for the other command.
    #[error("{} is for a package of {}, and one of {} was asked for", path.display(), seen.with_article(), wanted.with_article())]
    WrongConfig {
        /// Which.
        path: PathBuf,
        /// What it has.
        seen: ModuleKind,
        /// What was asked for.
        wanted: ModuleKind,
    },
    /// A buildpack cannot be had.
    #[error("{doing} {place}")]
    Module {
        /// `packaging`, `inspecting`, `fetching`.
        doing: &'static str,
        /// The line that names it, or what was typed.
        place: String,
        /// Why not.
        source: Box<ModuleError>,
    },
    /// It is one already.
    #[error("packaging `{location}`: it is a package already")]
    IsPackage {
        /// As written.
        location: String,
    },
    /// An extension where a buildpack was asked for, or the other way round.
    #[error("packaging `{location}`: it is {}, and {} was asked for", seen.with_article(), wanted.with_article())]
    Kind {
        /// As written.
        location: String,
        /// What it is.
        seen: ModuleKind,
        /// What it was to be.
        wanted: ModuleKind,
    },
    /// Two different modules of one name.
    #[error("{module} comes from `{first}` and from `{second}`, and they are different")]
    Twice {
        /// `id@version`.
        module: String,
        /// The one place.
        first: String,
        /// The other place.
        second: String,
    },
    /// The order names what is not there.
    #[error("the order of {composite} names {wanted}, which is not in the package")]
    Missing {
        /// The composite.
        composite: String,
        /// What it names.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A dependency that no order names.
    #[error("{module} is in no order of {main} or of what it consists of")]
    Unused {
        /// The dependency.
        module: String,
        /// The main buildpack.
        main: String,
    },
    /// No image has a stack that all of them support.
    #[error("the buildpacks of {main} have no stack in common: {module} supports {stacks}")]
    Stacks {
        /// The main buildpack.
        main: String,
        /// The first that does not fit to those before.
        module: String,
        /// What it supports.
        stacks: String,
    },
    /// No image is a target of all of them.
    #[error(
        "the buildpacks of {main} have no target in common: {module} is made for {targets}, the others for {others}"
    )]
    Targets {
        /// The main buildpack.
        main: String,
        /// The first that does not fit to those before.
        module: String,
        /// What it is made for.
        targets: String,
        /// What those before have in common.
        others: String,
    },
    /// A part that is not made for what the package is to be for.
    #[error("a package for {target} was asked for, and {module} is made for {targets}")]
    NotForTarget {
        /// As asked for.
        target: String,
        /// The buildpack.
        module: String,
        /// What it is made for.
        targets: String,
    },
    /// Packages for Windows.
    #[error("a package for {target} cannot be made: hoist makes packages for linux")]
    System {
        /// As asked for.
        target: String,
    },
    /// An image has one target.
    #[error("an image is made for one target, and {count} were asked for")]
    SeveralTargets {
        /// How many.
        count: usize,
    },
    /// None of the targets is this machine.
    #[error("none of the targets {targets} is {machine}, and the images of the store are for this machine")]
    OtherMachine {
        /// What there is.
        targets: String,
        /// `linux/amd64`.
        machine: String,
    },
    /// Something is to stay out of the flattened layer that is not in the package.
    #[error("{module} is to stay out of the common layer, and is not in the package")]
    Exclude {
        /// As typed.
        module: String,
        /// What there is.
        known: String,
    },
    /// The id is no name of an image.
    #[error("{module} cannot be kept under its own name")]
    Name {
        /// `id@version`.
        module: String,
        /// Why not.
        source: hoist_image::ReferenceError,
    },
    /// The layer cannot be made.
    #[error("putting the buildpacks into one layer")]
    Layer {
        /// Why not.
        source: LayerError,
    },
    /// The file cannot be written.
    #[error("writing the package {}", path.display())]
    Save {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: Box<SaveError>,
    },
}

impl PackageError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "name a file that is there with --config, or the buildpack's folder with --path".into(),
            Self::Config { source, .. } => source.hint().unwrap_or_default(),
            Self::WrongConfig { seen, .. } | Self::Kind { seen, .. } => format!("hoist {} package …", seen.word()),
            Self::Module { source, .. } => source.hint(),
            Self::IsPackage { .. } => {
                "use it as it is; a composite of it is made with an [[order]] in a buildpack.toml and [[dependencies]] in package.toml"
                    .into()
            }
            Self::Twice { .. } => "keep one of them, or give one another version in its buildpack.toml".into(),
            Self::Missing { wanted, known, .. } => {
                format!("add a [[dependencies]] with the uri of {wanted} to package.toml, or correct the order; there is {known}")
            }
            Self::Unused { .. } => "remove it from the [[dependencies]], or name it in an order".into(),
            Self::Stacks { .. } => "let all of them support one stack, or \"*\"".into(),
            Self::Targets { .. } => "let the [[targets]] of all of them have one in common".into(),
            Self::NotForTarget { .. } => "ask for another --target, or for a version of it that is made for this one".into(),
            Self::System { .. } => "ask for --target linux/amd64, for example".into(),
            Self::SeveralTargets { .. } => "name one --target, or make a file for each: --format file".into(),
            Self::OtherMachine { .. } => "make files, one for each target: --format file".into(),
            Self::Exclude { known, .. } => format!("there is {known}"),
            Self::Name { .. } => "name it yourself: --tag NAME".into(),
            Self::Layer { source } => source.hint(),
            Self::Save { source, .. } => source.hint(),
        }
    }

    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Module { source, .. } => source.is_of_the_machine(),
            Self::Layer { .. } => true,
            Self::Save { source, .. } => !source.is_of_the_place(),
            _ => false,
        }
    }
}
