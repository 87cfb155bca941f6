//! Why a place did not get its image.

use hoist_image::{DockerError, RegistryError, SaveError};

use crate::error::Fault;

/// One place failed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file or folder.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The docker daemon.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl PlaceError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Save(error) => error.hint(),
            Self::Docker(error) => error.hint(),
            Self::Registry(error) => error.hint(),
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Save(error) if error.is_of_the_place() => Fault::Usage,
            Self::Docker(error) if error.is_of_the_caller() => Fault::Usage,
            Self::Registry(error) if error.is_of_the_caller() => Fault::Usage,
            _ => Fault::Machine,
        }
    }
}

/// Some places did not get the image. The store has it, and so have the others.
#[derive(Debug, thiserror::Error)]
#[error("{image} is in the store{}, but not in {}", and_in(.written), .others.iter().fold(.failed.clone(), |all, (place, why)| format!("{all}, and not in {place} ({why})")))]
pub struct PlacesError {
    /// The image: its name, or its id.
    pub image: String,
    /// The places that have it.
    pub written: Vec<String>,
    /// The first that has not.
    pub failed: String,
    /// Why not.
    #[source]
    pub source: Box<PlaceError>,
    /// Further places that have it not, each with the reason.
    pub others: Vec<(String, String)>,
}

fn and_in(written: &[String]) -> String {
    written.iter().fold(String::new(), |all, place| format!("{all} and in {place}"))
}

impl PlacesError {
    /// What to do next.
    pub fn hint(&self) -> String {
        format!("{}; then, without a build: hoist image push {} {}", self.source.hint(), self.image, self.failed)
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.source.fault()
    }
}
