//! Why no builder was made, or why one cannot be used.

use std::path::PathBuf;

use hoist_spec::DocumentError;
use thiserror::Error;

use super::lifecycle::LifecycleError;
use crate::module::ModuleError;

/// Why no builder was made.
#[derive(Debug, Error)]
pub enum BuilderError {
    /// The registry of an image.
    #[error(transparent)]
    Registry(#[from] hoist_image::RegistryError),
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
    /// A buildpack cannot be had.
    #[error("{}, line {line}", path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// The line that names it.
        line: usize,
        /// Why not.
        source: Box<ModuleError>,
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
    /// Two modules whose names differ in `/` and `_` alone.
    #[error("{module} and {other} would both lie in {folder}: the specification writes `/` of an id as `_`")]
    OneFolder {
        /// `id@version`.
        module: String,
        /// `id@version` of the other one.
        other: String,
        /// The folder below that of all buildpacks.
        folder: String,
    },
    /// The order names what the builder does not have.
    #[error("{}: {place}: {problem}", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// The line, or the composite that names it.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to write.
        fix: String,
    },
    /// A buildpack is for other systems.
    #[error("{module} is made for {wanted}, but the build image {image} is {seen}")]
    Target {
        /// `id@version`.
        module: String,
        /// What it says.
        wanted: String,
        /// The build image.
        image: String,
        /// What that is.
        seen: String,
    },
    /// The image is not in the store.
    #[error("the {what} {name} is not in the store")]
    NoImage {
        /// `build image`, `run image` or `builder`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Whether the docker daemon has it.
        in_docker: bool,
    },
    /// The image cannot be built on.
    #[error("the {what} {name} does not say as whom buildpacks run: {problem}")]
    NoUser {
        /// `build image` or `builder`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Which variable, and what is wrong with it.
        problem: String,
    },
    /// The image is no builder.
    #[error("{name} is no builder: {problem}")]
    NotABuilder {
        /// Its name.
        name: String,
        /// What it lacks.
        problem: String,
    },
    /// The lifecycle that is to be in it cannot be had.
    #[error("{}, line {line}, lifecycle", path.display())]
    Lifecycle {
        /// The file.
        path: PathBuf,
        /// The line of the table.
        line: usize,
        /// Why not.
        source: Box<LifecycleError>,
    },
    /// A buildpack that the builder's own lifecycle cannot run.
    #[error("{module} is written for Buildpack API {api}, and lifecycle {version} has {supported}")]
    Api {
        /// `id@version`.
        module: String,
        /// What it is written for.
        api: String,
        /// The lifecycle.
        version: String,
        /// What that speaks.
        supported: String,
    },
    /// The file and an image speak of two stacks.
    #[error("the stack of builder.toml is {wanted}, and that of the {what} {name} is {seen}")]
    Stack {
        /// As the file says.
        wanted: String,
        /// `build image` or `run image`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What it says.
        seen: String,
    },
    /// A buildpack is for other stacks.
    #[error("{module} is made for the stacks {stacks}, and the build image {image} has {seen}")]
    OtherStack {
        /// `id@version`.
        module: String,
        /// What it says.
        stacks: String,
        /// The build image.
        image: String,
        /// Its stack.
        seen: String,
    },
    /// A buildpack wants more than the build image has.
    #[error("{module} needs mixins that the build image {image} does not have: {missing}")]
    Mixins {
        /// `id@version`.
        module: String,
        /// The build image.
        image: String,
        /// Which.
        missing: String,
    },
    /// The build image is none of the targets.
    #[error("the builder is to be for {targets}, but the build image {image} is {seen}")]
    OtherTarget {
        /// As asked for.
        targets: String,
        /// The build image.
        image: String,
        /// What that is.
        seen: String,
    },
    /// More than one target.
    #[error("a builder is made for one target, and {count} were asked for")]
    SeveralTargets {
        /// How many.
        count: usize,
    },
    /// What is to share a layer is not there.
    #[error("{module} is to share a layer with others, {problem}")]
    Flatten {
        /// As typed.
        module: String,
        /// What is wrong with that.
        problem: String,
        /// What to write.
        fix: String,
    },
    /// Buildpacks cannot be put into one layer.
    #[error("putting several buildpacks into one layer")]
    FlattenLayer {
        /// Why not.
        source: hoist_image::LayerError,
    },
    /// A lock, and a builder that is made already.
    #[error("a lock says on which base hoist's own builder is made, and {name} is made already")]
    Locked {
        /// The builder.
        name: String,
    },
}

impl BuilderError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("name a file that is there with --config".to_owned()),
            Self::Config { source, .. } => source.hint(),
            Self::Registry(error) => Some(error.hint()),
            Self::Module { source, .. } => Some(source.hint()),
            Self::Twice { .. } => {
                Some("keep one of them, or give one another version in its buildpack.toml".to_owned())
            }
            Self::OneFolder { .. } => {
                Some("give one of them another id, or another version, in its buildpack.toml".to_owned())
            }
            Self::Target { .. } => Some("use another build image, or the buildpack made for this one".to_owned()),
            Self::NoImage { name, in_docker, .. } => Some(crate::place::how_to_bring(name, *in_docker)),
            Self::NoUser { .. } => Some(
                "its configuration must have CNB_USER_ID and CNB_GROUP_ID as variables, neither of them 0".to_owned(),
            ),
            Self::NotABuilder { .. } => Some("make one: hoist builder create NAME --config builder.toml".to_owned()),
            Self::Lifecycle { source, .. } => Some(source.hint()),
            Self::Api { .. } => Some("take another lifecycle, or leave [lifecycle] out: hoist has its own".to_owned()),
            Self::Stack { .. } => {
                Some("remove the id from [stack], which is deprecated, or take another image".to_owned())
            }
            Self::OtherStack { .. } => {
                Some("use another build image, or a buildpack with [[targets]] in place of [[stacks]]".to_owned())
            }
            Self::Mixins { .. } => Some("use a build image that has them".to_owned()),
            Self::OtherTarget { .. } => {
                Some("take a build image that is made for it, and a machine of that processor".to_owned())
            }
            Self::SeveralTargets { .. } => Some("name the --target of the build image, or none".to_owned()),
            Self::Order { fix, .. } | Self::Flatten { fix, .. } => Some(fix.clone()),
            Self::FlattenLayer { source } => Some(source.hint()),
            Self::Locked { .. } => Some(
                "choose the base, make the builder again, and build without --locked: hoist base make --locked FILE"
                    .to_owned(),
            ),
        }
    }
}

impl BuilderError {
    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Module { source, .. } => source.is_of_the_machine(),
            Self::Lifecycle { source, .. } => source.is_of_the_machine(),
            Self::Registry(error) => !error.is_of_the_caller(),
            Self::FlattenLayer { .. } => true,
            _ => false,
        }
    }
}
