//! Where the images of a phase are: OCI layouts in a directory, or a docker daemon. Here a registry will fit in.

use std::collections::BTreeMap;

use hoist_image::{Compression, Daemon, DockerError, Image, LoadLimits, Looked, Reference, ReferenceError, Store};

use hoist_spec::ImageTarget;

use crate::analyze::target_of;
use crate::layout::{self, LayoutDir, LayoutError};

/// Where images are.
#[derive(Debug)]
pub enum ImagePlace {
    /// In folders, each with an OCI layout.
    Layout(LayoutDir),
    /// In a docker daemon.
    Daemon(Daemon),
}

/// An image cannot be looked at, fetched or written.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// In a layout directory.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// In a daemon.
    #[error(transparent)]
    Daemon(#[from] Box<DockerError>),
    /// A document names an image with a text that is no name.
    #[error("reading the name of an image in a document")]
    Reference(#[from] ReferenceError),
}

impl PlaceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layout(error) => error.hint(),
            Self::Daemon(error) => Some(error.hint()),
            Self::Reference(error) => Some(error.hint()),
        }
    }
}

impl From<DockerError> for PlaceError {
    fn from(error: DockerError) -> Self {
        Self::Daemon(Box::new(error))
    }
}

/// An image as its configuration describes it; its layers were not fetched.
pub(crate) struct Seen {
    /// How `analyzed.toml` names it.
    pub(crate) reference: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
}

/// Where an image went.
pub(crate) struct Written {
    pub(crate) tags: Vec<String>,
    /// What a daemon calls it.
    pub(crate) image_id: Option<String>,
}

impl Seen {
    /// What it is made for.
    pub(crate) fn target(&self) -> ImageTarget {
        let label = |key: &str| self.labels.get(key).map(String::as_str);
        target_of(&label, &self.os, &self.architecture, &self.variant)
    }
}

impl ImagePlace {
    /// Looks at an image; none where there is none.
    pub(crate) fn look(&self, name: &Reference) -> Result<Option<Seen>, PlaceError> {
        match self {
            Self::Layout(dir) => Ok(layout::look(&dir.path(name))?),
            Self::Daemon(daemon) => {
                let found = match daemon.look(&name.to_string())? {
                    // The beginning of an id looks like a name without a tag.
                    None if is_id(name) => daemon.look(name.repository())?,
                    found => found,
                };
                Ok(found.map(seen))
            }
        }
    }

    /// Brings the image that a document names by `reference` into the store; none where there is none.
    pub(crate) fn fetch(&self, store: &Store, reference: &str) -> Result<Option<Image>, PlaceError> {
        match self {
            Self::Layout(_) => Ok(layout::open(store, &layout::path_of(reference))?),
            Self::Daemon(daemon) => {
                reference.parse::<Reference>()?;
                match daemon.pull(store, reference, &[], LoadLimits::default()) {
                    Ok(pulled) => Ok(Some(pulled.image)),
                    Err(DockerError::NoImage { .. }) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Writes an image to all of `names`.
    pub(crate) fn write(&self, image: &Image, names: &[Reference]) -> Result<Written, PlaceError> {
        match self {
            Self::Layout(dir) => {
                let mut tags = Vec::new();
                for name in names {
                    let path = dir.path(name);
                    layout::write(image, &path, std::slice::from_ref(name), Compression::Gzip)?;
                    tags.push(path.display().to_string());
                }
                Ok(Written { tags, image_id: None })
            }
            Self::Daemon(daemon) => {
                let pushed = daemon.push(image, names, &mut |_| {})?;
                let tags = names.iter().map(ToString::to_string).collect();
                Ok(Written { tags, image_id: Some(bare(&pushed.id)) })
            }
        }
    }

    /// Where an image would be, for a message that it is not there.
    pub(crate) fn absence(&self, name: &str) -> String {
        match self {
            Self::Layout(dir) => {
                let path = name.parse().map_or_else(|_| layout::path_of(name), |name| dir.path(&name));
                format!("there is no OCI layout in {}", path.display())
            }
            Self::Daemon(daemon) => format!("the docker daemon at {} does not have it", daemon.address()),
        }
    }

    /// How `run-image.image` of `analyzed.toml` names an image.
    pub(crate) fn name(&self, name: &Reference) -> String {
        match self {
            Self::Layout(dir) => dir.path(name).display().to_string(),
            Self::Daemon(_) => name.to_string(),
        }
    }
}

fn seen(found: Looked) -> Seen {
    let Looked { id, labels, os, architecture, variant, .. } = found;
    Seen { reference: bare(&id), labels, os, architecture, variant }
}

/// Documents have ids of a daemon without the algorithm, as the Go lifecycle writes them.
fn bare(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).to_owned()
}

fn is_id(name: &Reference) -> bool {
    let digits = name.repository();
    let plain = name.registry().is_none() && name.tag() == Some("latest") && name.digest().is_none();
    plain && (12..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name without a registry is one of Docker's.
pub(crate) fn registry(name: &Reference) -> &str {
    match name.registry() {
        None | Some("docker.io") => "index.docker.io",
        Some(registry) => registry,
    }
}

/// Whether two names stand for the same image.
pub(crate) fn same_name(one: &Reference, other: &Reference) -> bool {
    let repository = |name: &Reference| match name.repository().strip_prefix("library/") {
        Some(short) if registry(name) == "index.docker.io" => short.to_owned(),
        _ => name.repository().to_owned(),
    };
    let parts =
        |name: &Reference| (registry(name).to_owned(), repository(name), name.tag().map(str::to_owned), name.digest());
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_docker_s_registry_are_the_same_with_and_without_it() {
        let same = |one: &str, other: &str| same_name(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("acme/run", "docker.io/acme/run:latest"));
        assert!(same("run:1", "index.docker.io/library/run:1"));
        assert!(!same("run:1", "run:2"));
        assert!(!same("a.test/library/run", "a.test/run"));
    }
}
