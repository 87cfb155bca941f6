//! What can go wrong with a registry, and what to do next.

use std::io;
use std::path::PathBuf;

use crate::archive_write::SaveError;
use crate::error::StoreError;
use crate::load::LoadError;

/// Something with a registry failed. Addresses in it are without their query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name says no registry.
    #[error("{doing}: `{name}` names no registry")]
    NoHost {
        /// What was being done.
        doing: String,
        /// The name.
        name: String,
    },
    /// An image is pushed under a name.
    #[error("pushing to `{name}`: a digest is no name that an image can get")]
    NoTag {
        /// What was given.
        name: String,
    },
    /// A setting cannot be used.
    #[error("reading the settings of registries: {what}: {problem}")]
    Settings {
        /// Which.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// Credentials cannot be read.
    #[error("reading credentials of registries in `{}`: {problem}", .path.display())]
    Keys {
        /// The file or the variable.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A credential helper is of no help.
    #[error("asking the credential helper `docker-credential-{name}`: {problem}")]
    Helper {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Nobody answers.
    #[error("{doing}: connecting to {address}")]
    Connect {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection with TLS comes about.
    #[error("{doing}: {address} and hoist cannot agree on TLS: {problem}")]
    Tls {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// The registry did not answer in time.
    #[error("{doing}: {address} did not answer in time")]
    Silent {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
    },
    /// The connection broke off.
    #[error("{doing}: the connection to {address} broke off")]
    Broken {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Who asks may not.
    #[error("{doing}: {registry} does not allow it to {who} ({message})")]
    Denied {
        /// What was being done.
        doing: String,
        /// The registry, or its token service.
        registry: String,
        /// Who asked: the user, or nobody in particular.
        who: String,
        /// Its words.
        message: String,
    },
    /// It is not there.
    #[error("{doing}: {registry} has no {what}")]
    Missing {
        /// What was being done.
        doing: String,
        /// The registry.
        registry: String,
        /// What.
        what: String,
    },
    /// The registry says no.
    #[error("{doing}: {registry} says: {message} (status {status})")]
    Refused {
        /// What was being done.
        doing: String,
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The registry wants to be left alone for longer than is waited.
    #[error(
        "{doing}: {registry} is asked too much and wants nothing for {wait_secs} seconds; {limit_secs} are waited at most"
    )]
    Busy {
        /// What was being done.
        doing: String,
        /// The registry.
        registry: String,
        /// How long it wants.
        wait_secs: u64,
        /// How long is waited.
        limit_secs: u64,
    },
    /// Somebody else answers.
    #[error("{doing}: what answers at {address} does not speak as a registry: {seen}")]
    NotARegistry {
        /// What was being done.
        doing: String,
        /// Where.
        address: String,
        /// What it said.
        seen: String,
    },
    /// There is no image for the machine that is wanted.
    #[error("pulling `{name}`: it is not for {wanted}, but for {}", list(.there))]
    Platform {
        /// The image.
        name: String,
        /// The platform that was asked for.
        wanted: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// It is no image.
    #[error("pulling `{name}`: {problem}")]
    NotAnImage {
        /// What was asked for.
        name: String,
        /// What it is.
        problem: String,
    },
    /// What came is not what it should be.
    #[error("{doing}: {what} should be {expected} and is {seen}")]
    Content {
        /// What was being done.
        doing: String,
        /// What.
        what: String,
        /// Digest or length that it should have.
        expected: String,
        /// Digest or length that it has.
        seen: String,
    },
    /// More came, or was announced, than may.
    #[error("{doing}: {what} is longer than the {limit_bytes} bytes that are allowed")]
    TooLarge {
        /// What was being done.
        doing: String,
        /// What.
        what: String,
        /// How much is allowed.
        limit_bytes: u64,
    },
    /// The registry removes images alone, and the image has other names.
    #[error("{doing}: {registry} removes images and no single names, and other tags stand for {digest}: {}", .others.join(", "))]
    OtherNames {
        /// What was being done.
        doing: String,
        /// The registry.
        registry: String,
        /// The image's digest.
        digest: crate::digest::Digest,
        /// The other tags.
        others: Vec<String>,
    },
    /// The registry removes nothing.
    #[error("{doing}: {registry} does not remove images for those who ask this way")]
    NoRemoval {
        /// What was being done.
        doing: String,
        /// The registry.
        registry: String,
    },
    /// What is attached to an image is in no order.
    #[error("{doing}: {what}: {problem}")]
    Attachments {
        /// What was being done.
        doing: String,
        /// The tag, or the manifest.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody wants no more (Ctrl-C).
    #[error("{doing}: stopped")]
    Stopped {
        /// What was being done.
        doing: String,
    },
    /// The image cannot be read from the store.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// What the registry sent cannot be stored.
    #[error("{doing}")]
    Load {
        /// What was being done.
        doing: String,
        /// Why not.
        #[source]
        source: Box<LoadError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(there: &[String]) -> String {
    if there.is_empty() { "no machine that it names".to_owned() } else { there.join(", ") }
}

impl RegistryError {
    /// Whether the command, the name or a setting is wrong, and neither the machine nor the network.
    pub fn is_of_the_caller(&self) -> bool {
        matches!(
            self,
            Self::NoHost { .. }
                | Self::NoTag { .. }
                | Self::Settings { .. }
                | Self::Keys { .. }
                | Self::Denied { .. }
                | Self::Missing { .. }
                | Self::Platform { .. }
                | Self::NotAnImage { .. }
                | Self::OtherNames { .. }
                | Self::NoRemoval { .. }
        )
    }

    /// Whether the same may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // A name that nobody knows is not known a second later either.
            Self::Connect { source, .. } => !source.to_string().contains("failed to lookup address"),
            Self::Silent { .. } | Self::Broken { .. } => true,
            _ => false,
        }
    }

    /// Whether another place that has the same may be asked.
    pub(super) fn lets_others_be_asked(&self) -> bool {
        !matches!(
            self,
            Self::Stopped { .. } | Self::Store(_) | Self::Load { .. } | Self::Keys { .. } | Self::Settings { .. }
        )
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoHost { name, .. } => format!("write the registry before it: HOST/{name} or HOST:PORT/{name}; hoist adds none by itself"),
            Self::NoTag { .. } => "name it by a tag: HOST/NAME:TAG".to_owned(),
            Self::Settings { .. } => "correct it: hoist config list; a mirror is HOST[:PORT][/PREFIX], an insecure registry HOST[:PORT]".to_owned(),
            Self::Keys { path, .. } if path.as_os_str() == "CNB_REGISTRY_AUTH" => {
                r#"write it as {"HOST": "Basic BASE64"} or {"HOST": "Bearer TOKEN"}, or unset it"#.to_owned()
            }
            Self::Keys { path, .. } => format!("correct {}, or remove it and log in again: docker login HOST, podman login HOST", path.display()),
            Self::Helper { name, .. } => format!("try it: echo HOST | docker-credential-{name} get; or log in without it: take `credsStore` and `credHelpers` out of docker's config.json"),
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => "nobody listens there: look at host and port; behind a proxy set HTTPS_PROXY".to_owned(),
                _ => "look at the name of the registry and at the network; behind a proxy set HTTPS_PROXY".to_owned(),
            },
            Self::Tls { address, problem, .. } if problem.contains("without TLS") => {
                format!("if that is meant, say so: --insecure-registry {}", host_of(address))
            }
            Self::Tls { .. } => "name the certificates of your registry in SSL_CERT_FILE, or put them into /etc/docker/certs.d/HOST/ca.crt; a client's own are client.cert and client.key there".to_owned(),
            Self::Silent { .. } | Self::Broken { .. } | Self::Stopped { .. } => "run the command again: what has come or gone already is not sent again".to_owned(),
            Self::Denied { who, registry, .. } if who == NOBODY => format!("log in first: docker login {registry} (or podman login); or give CNB_REGISTRY_AUTH"),
            Self::Denied { .. } => "look at the name, and whether this user may read or write it; log in again: docker login HOST".to_owned(),
            Self::Missing { .. } => "look at name and tag; a registry says this also of what it does not show to who asks: docker login HOST".to_owned(),
            Self::Refused { status: 413, .. } => "a proxy in front of the registry takes no requests of that length: its limit has to be raised there".to_owned(),
            Self::Refused { status, .. } if *status >= 500 => "the registry has a problem of its own: try again later, its log says more".to_owned(),
            Self::Refused { .. } => "the registry's own log says more".to_owned(),
            Self::Busy { .. } => "try again later; who is logged in may ask more often: docker login HOST".to_owned(),
            Self::NotARegistry { .. } => "look at host and port of the name; a proxy's page of its own looks like this, too".to_owned(),
            Self::Platform { .. } => "choose one of those: hoist image pull --platform OS/ARCH NAME".to_owned(),
            Self::NotAnImage { .. } => "look at the name: helm charts, signatures and other documents lie in registries, too".to_owned(),
            Self::Content { .. } => "the registry or what lies between changed it: do not use it; try again, or ask who runs the registry".to_owned(),
            Self::TooLarge { doing, .. } if doing.contains("attach") => {
                "do not use it: whoever wrote it there, or the registry, lies about its length".to_owned()
            }
            Self::TooLarge { .. } => "if you trust it, allow more: hoist image pull --max-size 200G NAME".to_owned(),
            Self::OtherNames { digest, .. } => format!("to remove the image with all its names, name it by its digest: hoist image rm --remote HOST/NAME@{digest}"),
            Self::NoRemoval { .. } => "removal is a setting of the registry's own: ask who runs it, or use its own page".to_owned(),
            Self::Attachments { problem, .. } if problem.starts_with("somebody else") => {
                "run the command again when the others have ended: what is attached already is not attached again".to_owned()
            }
            Self::Attachments { .. } => "look who wrote it; removed from the registry, it is made anew".to_owned(),
            Self::Save(error) => error.hint(),
            Self::Load { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Who asks without credentials.
pub(super) const NOBODY: &str = "anybody";

fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
