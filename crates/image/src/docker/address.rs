//! Where the daemon is: `DOCKER_HOST`, docker's contexts, the usual places.
//!
//! The module of this crate that reads the environment.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use serde::Deserialize;

use crate::digest::Digest;
use crate::docker::error::DockerError;

/// Where a daemon listens if nothing else is said.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// Docker's own configuration files are small.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// Where a docker daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// Plain HTTP over TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for DockerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl FromStr for DockerAddress {
    type Err = DockerError;

    /// `unix:///path` or `tcp://host:port`, as `DOCKER_HOST` has them.
    fn from_str(text: &str) -> Result<Self, DockerError> {
        let wrong = |problem: &str| DockerError::Address { text: without_user(text), problem: problem.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(wrong("the path of the socket must be absolute"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.starts_with("ssh://") {
            return Err(wrong("hoist speaks to daemons over a socket, not over ssh"));
        }
        let Some(rest) = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) else {
            return Err(wrong("it begins neither with unix:// nor with tcp://"));
        };
        let authority = rest.trim_end_matches('/');
        if authority.contains(['/', '@', '?', '#']) {
            return Err(wrong("it is not tcp://HOST:PORT"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("its port is not a number"))?)
            }
            _ => (authority, 2375),
        };
        if host.is_empty() {
            return Err(wrong("it is not tcp://HOST:PORT"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

/// An address without the part before an `@`, where people put passwords.
fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
        _ => text.to_owned(),
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    #[serde(default)]
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: Option<String>,
}

impl DockerAddress {
    /// The daemon that `docker` would speak to: `DOCKER_HOST`, then docker's current context, then the usual socket, then the one of a
    /// daemon without root.
    #[allow(clippy::disallowed_methods)] // the module that owns the environment
    pub fn of_this_machine() -> Result<Self, DockerError> {
        Self::from_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same for any environment.
    pub(super) fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, DockerError> {
        let named = match variable("DOCKER_HOST") {
            Some(host) => Some(host),
            None => context_host(variable)?,
        };
        if let Some(named) = named {
            let address: Self = named.parse()?;
            if matches!(address, Self::Tcp { .. }) && variable("DOCKER_TLS_VERIFY").is_some() {
                let problem = "DOCKER_TLS_VERIFY is set, and hoist speaks to daemons without TLS alone".to_owned();
                return Err(DockerError::Address { text: address.to_string(), problem });
            }
            return Ok(address);
        }
        let usual = PathBuf::from(USUAL_SOCKET);
        let own = variable("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("docker.sock"));
        match own {
            Some(own) if !usual.exists() && own.exists() => Ok(Self::Unix(own)),
            _ => Ok(Self::Unix(usual)),
        }
    }
}

/// The address that docker's current context has; none for the default one.
fn context_host(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, DockerError> {
    let dir = variable("DOCKER_CONFIG").map(PathBuf::from);
    let Some(dir) = dir.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker"))) else {
        return Ok(None);
    };
    let chosen = match variable("DOCKER_CONTEXT") {
        Some(context) => Some(context),
        // What else is in that file, credentials among it, is none of our business; one that cannot be read is docker's.
        None => read::<ConfigFile>(&dir.join("config.json")).ok().flatten().and_then(|config| config.current_context),
    };
    let Some(context) = chosen.filter(|context| !context.is_empty() && context != "default") else { return Ok(None) };
    let path = dir.join("contexts/meta").join(Digest::of(context.as_bytes()).hex()).join("meta.json");
    let wrong = |problem| DockerError::Context { context: context.clone(), problem };
    let file = read::<ContextFile>(&path).map_err(wrong)?;
    let file = file.ok_or_else(|| wrong(format!("there is no {}", path.display())))?;
    let host = file.endpoints.docker.and_then(|endpoint| endpoint.host).filter(|host| !host.is_empty());
    Ok(Some(host.ok_or_else(|| wrong(format!("{} names no host", path.display())))?))
}

/// A document of docker's; nothing where it is not there. The error never shows the content.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if metadata.len() > MAX_DOCUMENT_BYTES => return Err(format!("{} is too long", path.display())),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        format!("{} is not what docker writes (line {}, column {})", path.display(), error.line(), error.column())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_dockers() {
        for (text, shown) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://box", "tcp://box:2375"),
            ("http://[::1]:99/", "tcp://[::1]:99"),
        ] {
            assert_eq!(text.parse::<DockerAddress>().unwrap().to_string(), shown);
        }
        for (text, said) in [
            ("ssh://me@box", "`ssh://***@box`: hoist speaks to daemons over a socket, not over ssh"),
            ("unix://x.sock", "must be absolute"),
            ("npipe:////./pipe/x", "neither with unix:// nor with tcp://"),
            ("tcp://me:secret@box:1", "`tcp://***@box:1`: it is not tcp://HOST:PORT"),
            ("tcp://box:x", "port is not a number"),
            ("tcp://", "it is not tcp://HOST:PORT"),
        ] {
            let error = text.parse::<DockerAddress>().unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
            assert!(error.hint().contains("DOCKER_HOST"), "{}", error.hint());
        }
        assert!("ssh://x".parse::<DockerAddress>().unwrap_err().hint().contains("ssh -NL"));
    }

    #[test]
    fn the_environment_then_the_context_then_the_usual_places_say_where_the_daemon_is() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        let asked = |more: &[(&str, &str)]| {
            let more: Vec<(String, String)> = more.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            let home = home.clone();
            DockerAddress::from_environment(&move |name| match name {
                "HOME" => Some(home.clone()),
                name => more.iter().find(|(one, _)| one == name).map(|(_, value)| value.clone()),
            })
        };
        let meta = dir.path().join(".docker/contexts/meta").join(Digest::of(b"desk").hex());
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Name":"desk","Endpoints":{"docker":{"Host":"unix:///desk.sock"}}}"#)
            .unwrap();
        fs::write(dir.path().join(".docker/config.json"), r#"{"auths":{"x":{"auth":"c2VjcmV0"}}}"#).unwrap();
        assert_ne!(asked(&[]).unwrap().to_string(), "unix:///desk.sock");
        assert_eq!(asked(&[("DOCKER_CONTEXT", "desk")]).unwrap().to_string(), "unix:///desk.sock");
        fs::write(dir.path().join(".docker/config.json"), r#"{"currentContext":"desk"}"#).unwrap();
        assert_eq!(asked(&[]).unwrap().to_string(), "unix:///desk.sock");
        assert_eq!(asked(&[("DOCKER_HOST", "unix:///a.sock")]).unwrap().to_string(), "unix:///a.sock");
        let error = asked(&[("DOCKER_CONTEXT", "gone")]).unwrap_err();
        assert!(error.to_string().starts_with("looking for the docker context `gone`: there is no "), "{error}");
        assert!(error.hint().contains("docker context ls"));
        let error = asked(&[("DOCKER_HOST", "tcp://box:2376"), ("DOCKER_TLS_VERIFY", "1")]).unwrap_err();
        assert!(error.to_string().contains("without TLS"), "{error}");
        let own = dir.path().join("docker.sock");
        fs::write(&own, "").unwrap();
        fs::write(dir.path().join(".docker/config.json"), "not json {\"auth\":\"secret\"}").unwrap();
        let found = asked(&[("XDG_RUNTIME_DIR", dir.path().to_str().unwrap())]).unwrap();
        let usual = Path::new(USUAL_SOCKET);
        assert_eq!(found, DockerAddress::Unix(if usual.exists() { usual.to_owned() } else { own }));
    }
}
