//! Where an image goes besides the store: registries, files and folders for other tools, and a docker daemon.
//!
//! The store always has the image; a place gets a copy. Places do not depend on each other: where one fails the others are written all the same, and
//! the error says which have the image.

mod error;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hoist_image::{Daemon, DockerError, Reference, Registries};
use hoist_sandbox::Cancel;
use serde::Serialize;

use crate::attest::AttachedReport;
use crate::create::BuilderError;

pub use error::{PlaceError, PlacesError};
pub use write::write_places;

/// A place for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The docker daemon, under the image's own names.
    Docker,
    /// The docker daemon, under this name.
    DockerName(Reference),
    /// A folder with an OCI layout; an older layout there is replaced.
    OciDir(PathBuf),
    /// An OCI layout in a tar.
    OciArchive(PathBuf),
    /// What `docker save` writes.
    DockerArchive(PathBuf),
    /// A registry, under this name.
    Registry(Reference),
}

/// The forms that a place has on the command line.
const PLACE_FORMS: &str =
    "HOST/NAME of a registry, docker, docker-daemon:NAME, oci-dir:DIR, oci-archive:FILE or docker-archive:FILE";

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "docker" {
            return Ok(Self::Docker);
        }
        let wrong = |why: &str| Err(format!("{text:?} is no place for an image: {why}; there are {PLACE_FORMS}"));
        let in_registry = text.strip_prefix("docker://").or_else(|| of_registry(text).then_some(text));
        if let Some(name) = in_registry {
            return match name.parse::<Reference>() {
                Ok(name) if name.registry().is_none() => wrong("no registry stands before the name"),
                Ok(name) if name.digest().is_some() => wrong("a digest is no name that a registry gives"),
                Ok(name) => Ok(Self::Registry(name)),
                Err(error) => wrong(&error.to_string()),
            };
        }
        let Some((kind, rest)) = text.split_once(':') else { return wrong("it says not what is there") };
        if rest.is_empty() {
            return wrong("nothing stands behind the colon");
        }
        match kind {
            "docker-daemon" => match rest.parse::<Reference>() {
                Ok(name) if name.tag().is_some() => Ok(Self::DockerName(name)),
                Ok(_) => wrong("a digest is no name that a daemon gives"),
                Err(error) => wrong(&error.to_string()),
            },
            "oci-dir" | "oci" => Ok(Self::OciDir(rest.into())),
            "oci-archive" => Ok(Self::OciArchive(rest.into())),
            "docker-archive" => Ok(Self::DockerArchive(rest.into())),
            "docker" => wrong("the daemon is docker or docker-daemon:NAME, and a registry docker://HOST/NAME"),
            other => wrong(&format!("{other} is no kind of place")),
        }
    }
}

/// Whether a text begins with a host, as names of registries do: `HOST/…`, with a dot, a port, or as `localhost`.
fn of_registry(text: &str) -> bool {
    let kinds = ["docker-daemon", "oci-dir", "oci", "oci-archive", "docker-archive", "docker"];
    let is_kind = text.split_once(':').is_some_and(|(kind, _)| kinds.contains(&kind));
    !is_kind && !text.starts_with(['.', '/']) && text.parse::<Reference>().is_ok_and(|name| name.registry().is_some())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker => f.write_str("docker"),
            Self::DockerName(name) => write!(f, "docker-daemon:{name}"),
            Self::OciDir(path) => write!(f, "oci-dir:{}", path.display()),
            Self::OciArchive(path) => write!(f, "oci-archive:{}", path.display()),
            Self::DockerArchive(path) => write!(f, "docker-archive:{}", path.display()),
            Self::Registry(name) => write!(f, "{name}"),
        }
    }
}

/// An image is at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// The place, as it was named.
    pub output: String,
    /// The names that the image has there.
    pub names: Vec<String>,
    /// Its identity there, where that is not a file: the image's id, or with containerd's storage the digest of a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it was there already, so that nothing was written.
    pub unchanged: bool,
    /// What a daemon was sent.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    /// What is attested of it there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<AttachedReport>,
}

/// What was sent, and what needed not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Bytes in all.
    pub sent_bytes: u64,
    /// Layers.
    pub sent_layers: usize,
    /// Layers that were there.
    pub layers_there: usize,
    /// Layers that a registry took from another of its repositories.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub mounted_layers: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls
fn is_none_of_them(count: &usize) -> bool {
    *count == 0
}

/// The docker daemon of this machine; Ctrl-C ends its work.
pub fn docker_daemon(cancel: &Cancel) -> Result<Daemon, DockerError> {
    let cancel = cancel.clone();
    Ok(Daemon::of_this_machine()?.stop_when(move || cancel.is_cancelled()))
}

/// What can be known before a long build: whether the daemon is there at all, and whether a registry will take the image.
pub(crate) fn check_places(places: &[Place], registries: &Registries, cancel: &Cancel) -> Result<(), PlaceError> {
    for place in places {
        if let Place::Registry(name) = place {
            registries.check_push(name)?;
        }
    }
    if places.iter().any(|place| matches!(place, Place::Docker | Place::DockerName(_))) {
        docker_daemon(cancel)?.ping()?;
    }
    Ok(())
}

impl BuilderError {
    /// The image is not in the store; the docker daemon is asked whether it has it.
    pub(crate) fn no_image(what: &'static str, name: String) -> Self {
        let in_docker = docker_has(&name);
        Self::NoImage { what, name, in_docker }
    }
}

/// How an image that the store lacks comes there.
pub(crate) fn how_to_bring(name: &str, in_docker: bool) -> String {
    if in_docker {
        return format!("the docker daemon has it; bring it into the store: hoist image pull docker-daemon:{name}");
    }
    if name.parse::<Reference>().is_ok_and(|name| name.registry().is_some()) {
        return format!("bring it into the store: hoist image pull {name}");
    }
    format!("bring it into the store: hoist image load FILE (an archive of {name})")
}

/// Whether the docker daemon has that image, for advice: nobody waits long for it, and where there is no daemon it has none.
pub(crate) fn docker_has(name: &str) -> bool {
    let question = std::time::Duration::from_secs(2);
    let times = hoist_image::DaemonTimes { question, ..hoist_image::DaemonTimes::default() };
    Daemon::of_this_machine().and_then(|daemon| daemon.within(times).has(name)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("docker", "docker"),
            ("docker-daemon:a/b", "docker-daemon:a/b:latest"),
            ("oci:out", "oci-dir:out"),
            ("oci-dir:/a:b", "oci-dir:/a:b"),
            ("oci-archive:x.tar", "oci-archive:x.tar"),
            ("docker-archive:x.tar", "docker-archive:x.tar"),
            ("registry.example:5000/a/b:1", "registry.example:5000/a/b:1"),
            ("docker://registry.example/a", "registry.example/a:latest"),
            ("localhost/a", "localhost/a:latest"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), shown);
        }
        for (text, said) in [
            ("out", "it says not what is there"),
            ("oci-dir:", "nothing stands behind the colon"),
            ("tar:x", "tar is no kind of place"),
            ("docker://x", "no registry stands before the name"),
            ("docker:x", "a registry docker://HOST/NAME"),
            ("./out/x", "it says not what is there"),
            ("docker-daemon:Bell", "upper-case"),
        ] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains(said) && error.contains(PLACE_FORMS), "{text}: {error}");
        }
    }
}
