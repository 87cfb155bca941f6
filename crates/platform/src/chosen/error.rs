//! Why the buildpacks that a build asks for cannot be had.

use hoist_image::StoreError;
use thiserror::Error;

use crate::module::ModuleError;
use crate::place::how_to_bring;

/// Why the buildpacks that a build asks for cannot be had. `place` is the option or the line that asks.
#[derive(Debug, Error)]
pub enum ChosenError {
    /// Nothing is named.
    #[error("{place}: no buildpack is named")]
    Nothing {
        /// Where.
        place: String,
    },
    /// It cannot be read.
    #[error("{place}")]
    Module {
        /// Where.
        place: String,
        /// Why not.
        source: Box<ModuleError>,
    },
    /// It is nowhere.
    #[error(
        "{place}: `{wanted}` is neither a file or folder, nor a buildpack of the builder, nor an image of the store"
    )]
    Unknown {
        /// Where.
        place: String,
        /// As written.
        wanted: String,
        /// The builder's buildpacks.
        known: Vec<String>,
        /// Whether the docker daemon has an image of that name.
        in_docker: bool,
    },
    /// The builder does not have it.
    #[error("{place}: the builder has no buildpack {wanted}")]
    NotInBuilder {
        /// Where.
        place: String,
        /// Its id and version.
        wanted: String,
        /// The builder's buildpacks.
        known: Vec<String>,
    },
    /// The builder has it more than once.
    #[error("{place}: the builder has {} versions of {id}: {}", versions.len(), versions.join(", "))]
    Versions {
        /// Where.
        place: String,
        /// Its id.
        id: String,
        /// Which.
        versions: Vec<String>,
    },
    /// A registry of buildpacks.
    #[error("{place}: hoist does not ask registries of buildpacks")]
    Registry {
        /// Where.
        place: String,
    },
    /// An image extension.
    #[error("{place}: {module} is an image extension, and no buildpack")]
    Extension {
        /// Where.
        place: String,
        /// Its id and version.
        module: String,
    },
    /// The builder's order twice in one group.
    #[error("{place}: the builder's own order can stand in a group once")]
    BuilderTwice {
        /// Where.
        place: String,
    },
    /// Two different ones of one name.
    #[error("{module} comes from `{first}` and from `{second}`, and they are different")]
    Twice {
        /// `id@version`.
        module: String,
        /// The one place.
        first: String,
        /// The other place.
        second: String,
    },
    /// A part of a composite is missing.
    #[error("{place}: {composite} consists of {part}, which neither comes with it nor is in the builder")]
    Part {
        /// Where.
        place: String,
        /// `id@version` of the composite.
        composite: String,
        /// `id@version` of the part.
        part: String,
    },
    /// There is nothing to try.
    #[error("the builder {builder} has no order, so no buildpack would be tried")]
    NoOrder {
        /// Its name.
        builder: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChosenError {
    /// What to do next.
    pub fn hint(&self) -> String {
        let has = |known: &[String]| match known {
            [] => "the builder has no buildpacks".to_owned(),
            known => format!("the builder has {}", known.join(", ")),
        };
        match self {
            Self::Nothing { .. } => "name one: --buildpack ID@VERSION, a folder, an archive or a package".to_owned(),
            Self::Module { source, .. } => source.hint(),
            Self::Unknown { wanted, in_docker: true, .. } => how_to_bring(wanted, true),
            Self::Unknown { known, .. } => {
                format!(
                    "{}; or name a folder, an archive or a package. Registries of buildpacks are not asked",
                    has(known)
                )
            }
            Self::NotInBuilder { known, .. } => has(known),
            Self::Versions { id, versions, .. } => {
                format!("name one of them: {id}@{}", versions.last().map_or("", String::as_str))
            }
            Self::Registry { .. } => {
                "fetch its package and name the file, or load it (hoist image load FILE) and name the image".to_owned()
            }
            Self::Extension { .. } => "leave it out: hoist runs no image extensions".to_owned(),
            Self::BuilderTwice { .. } => "write from=builder once".to_owned(),
            Self::Twice { .. } => "keep one of them, or give one another version in its buildpack.toml".to_owned(),
            Self::Part { part, .. } => {
                let id = part.split('@').next().unwrap_or(part);
                format!("name a package that has it, or {id} itself with a further --buildpack")
            }
            Self::NoOrder { .. } => "name the buildpacks: --buildpack ID, or choose another builder".to_owned(),
            Self::Store(error) => error.hint(),
        }
    }

    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Module { source, .. } => source.is_of_the_machine(),
            Self::Store(_) => true,
            _ => false,
        }
    }
}
