//! How registries are reached: what the machine and the user say of them, gathered before anybody is asked.
//!
//! The module of the registry client that reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::registry::error::RegistryError;

/// Where docker and podman keep certificates of registries, by the registry's name.
const CERTIFICATE_DIRS: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];
const PROXY_NAMES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Registries (`HOST[:PORT]`) whose certificate is not checked, and that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// Where images are looked for before their own registry: `HOST[:PORT][/PREFIX]` by the registry's name; `*` for every registry.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Proxy variables, as they stand in the environment.
    pub proxies: BTreeMap<String, String>,
    /// Certificates to trust in place of the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Folders with a folder for each registry: `*.crt` are trusted, `*.cert` with `*.key` say who asks.
    pub certificate_dirs: Vec<PathBuf>,
    /// Where credentials are.
    pub keys: KeyPlaces,
    /// How long a registry may take.
    pub times: RegistryTimes,
}

/// Where credentials are, in the order in which they are looked for.
#[derive(Clone, Default)]
pub struct KeyPlaces {
    /// `CNB_REGISTRY_AUTH`: a JSON object from registries to values of the header `Authorization`.
    pub registry_auth: Option<String>,
    /// Files as `docker login` and `podman login` write them; the first that has the registry counts.
    pub files: Vec<PathBuf>,
    /// Where credential helpers are looked for (`PATH`).
    pub path: Option<OsString>,
}

impl std::fmt::Debug for KeyPlaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPlaces").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How long a registry may take, and how often it is asked again.
#[derive(Debug, Clone, Copy)]
pub struct RegistryTimes {
    /// For the whole of a small question.
    pub question: Duration,
    /// For a single read or write of a transfer.
    pub silence: Duration,
    /// For a credential helper.
    pub helper: Duration,
    /// How often something is tried in all before it counts as failed.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each.
    pub pause: Duration,
    /// The longest wait that a registry may ask for.
    pub longest_pause: Duration,
}

impl Default for RegistryTimes {
    fn default() -> Self {
        Self {
            question: Duration::from_mins(5),
            silence: Duration::from_mins(1),
            helper: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_millis(300),
            longest_pause: Duration::from_mins(1),
        }
    }
}

impl Default for RegistrySettings {
    /// As on a machine that says nothing of registries.
    fn default() -> Self {
        Self { certificate_dirs: Vec::new(), ..Self::from_environment(&|_| None) }
    }
}

impl RegistrySettings {
    /// As this machine is configured.
    #[allow(clippy::disallowed_methods)] // the module that owns the environment
    pub fn of_this_machine() -> Self {
        Self::from_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same for any environment.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let named = |name: &&str| Some(((*name).to_owned(), variable(name)?));
        let home = variable("HOME").map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".config")));
        let mut certificate_dirs: Vec<PathBuf> = CERTIFICATE_DIRS.iter().map(PathBuf::from).collect();
        certificate_dirs
            .extend(config.iter().flat_map(|dir| [dir.join("docker/certs.d"), dir.join("containers/certs.d")]));
        Self {
            insecure: list(variable("CNB_INSECURE_REGISTRIES").as_deref()),
            mirrors: BTreeMap::new(),
            proxies: PROXY_NAMES.iter().filter_map(named).collect(),
            ca_file: variable("SSL_CERT_FILE").map(PathBuf::from),
            certificate_dirs,
            keys: KeyPlaces {
                registry_auth: variable("CNB_REGISTRY_AUTH"),
                files: key_files(variable, home.as_deref(), config.as_deref()),
                path: variable("PATH").map(OsString::from),
            },
            times: RegistryTimes::default(),
        }
    }

    /// Whether a registry was said to be insecure.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.insecure.iter().any(|one| one == host || one == without_port)
    }

    /// Where a repository of a registry is looked for besides, in order: host and repository.
    pub(super) fn mirrors_of(&self, registry: &str, repository: &str) -> Result<Vec<(String, String)>, RegistryError> {
        let named = self.mirrors.get(registry).or_else(|| self.mirrors.get("*"));
        let mut found = Vec::new();
        for mirror in named.into_iter().flatten() {
            let (host, prefix) = parse_mirror(mirror)?;
            let inside = if prefix.is_empty() { repository.to_owned() } else { format!("{prefix}/{repository}") };
            found.push((host, inside));
        }
        Ok(found)
    }

    /// Whether the mirrors can be used, before one is needed.
    pub fn check(&self) -> Result<(), RegistryError> {
        for mirror in self.mirrors.values().flatten() {
            parse_mirror(mirror)?;
        }
        for host in &self.insecure {
            if !is_host(host) {
                return Err(RegistryError::Settings {
                    what: format!("the insecure registry `{host}`"),
                    problem: "it is not HOST or HOST:PORT".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The proxy for an address, as the variables say; none for this machine itself and for what `NO_PROXY` lists.
    pub(super) fn proxy_of(&self, secure: bool, host: &str, port: u16) -> Option<&str> {
        let get = |upper: &str, lower: &str| self.proxies.get(upper).or_else(|| self.proxies.get(lower));
        let own = if secure { get("HTTPS_PROXY", "https_proxy") } else { get("HTTP_PROXY", "http_proxy") };
        let proxy = own.or_else(|| get("ALL_PROXY", "all_proxy"))?;
        let excepted = get("NO_PROXY", "no_proxy").is_some_and(|list| is_excepted(list, host, port));
        (!excepted && !is_loopback(host)).then_some(proxy.as_str())
    }
}

fn key_files(variable: &dyn Fn(&str) -> Option<String>, home: Option<&Path>, config: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files.extend(variable("REGISTRY_AUTH_FILE").map(PathBuf::from));
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home?.join(".docker")));
    files.extend(docker.map(|dir| dir.join("config.json")));
    files.extend(variable("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("containers/auth.json")));
    files.extend(config.map(|dir| dir.join("containers/auth.json")));
    files
}

/// Names between commas.
fn list(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn parse_mirror(text: &str) -> Result<(String, String), RegistryError> {
    let wrong = || RegistryError::Settings {
        what: format!("the mirror `{}`", shown(text)),
        problem: "it is not HOST[:PORT] or HOST[:PORT]/PREFIX".to_owned(),
    };
    let rest = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fine = is_host(host) && (prefix.is_empty() || format!("{host}/{prefix}").parse::<crate::Reference>().is_ok());
    if fine { Ok((host.to_owned(), prefix.to_owned())) } else { Err(wrong()) }
}

/// Without the part before an `@`, where people put passwords.
fn shown(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

fn is_host(text: &str) -> bool {
    !text.contains('/') && format!("{text}/x").parse::<crate::Reference>().is_ok() && text.chars().any(|c| c != '.')
}

/// Whether a host is this machine: what listens there may speak without TLS, as docker has it.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `NO_PROXY`, as Go and curl read it: names with what lies below them, addresses, networks, `*`.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split([',', ' ']).map(str::trim).filter(|one| !one.is_empty()).any(|one| {
        if one == "*" {
            return true;
        }
        let (name, wanted_port) = match one.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
            _ => (one, None),
        };
        if wanted_port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        let below = host.strip_suffix(&name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        !name.is_empty() && (below || is_in_network(&host, &name))
    })
}

fn is_in_network(host: &str, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(address), Ok(base), Ok(bits)) =
        (host.parse::<std::net::Ipv4Addr>(), base.parse::<std::net::Ipv4Addr>(), bits.parse::<u32>())
    else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
    bits <= 32 && u32::from(address) & mask == u32::from(base) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> RegistrySettings {
        RegistrySettings::from_environment(&|name| {
            variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn credentials_are_looked_for_where_docker_and_podman_keep_them() {
        let found = settings(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u"), ("REGISTRY_AUTH_FILE", "/a.json")]);
        let expected =
            ["/a.json", "/h/.docker/config.json", "/run/u/containers/auth.json", "/h/.config/containers/auth.json"];
        assert_eq!(found.keys.files, expected.map(PathBuf::from));
        let found = settings(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("CNB_REGISTRY_AUTH", "{\"secret\":1}")]);
        assert_eq!(found.keys.files[0], Path::new("/d/config.json"));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn a_proxy_is_taken_but_for_what_is_excepted_and_this_machine() {
        let found = settings(&[
            ("HTTPS_PROXY", "http://p:1"),
            ("http_proxy", "http://q:2"),
            ("NO_PROXY", "corp.example, .lab:5000,10.1.0.0/16"),
        ]);
        for (secure, host, port, proxy) in [
            (true, "r.example", 443, Some("http://p:1")),
            (false, "r.example", 80, Some("http://q:2")),
            (true, "r.corp.example", 443, None),
            (true, "corp.example", 443, None),
            (true, "notcorp.example", 443, Some("http://p:1")),
            (true, "a.lab", 5000, None),
            (true, "a.lab", 443, Some("http://p:1")),
            (true, "10.1.2.3", 443, None),
            (true, "10.2.2.3", 443, Some("http://p:1")),
            (false, "localhost", 5000, None),
            (false, "127.0.0.1", 5000, None),
            (false, "[::1]", 5000, None),
        ] {
            assert_eq!(found.proxy_of(secure, host, port), proxy, "{host}:{port}");
        }
        assert_eq!(settings(&[("HTTPS_PROXY", "http://p"), ("no_proxy", "*")]).proxy_of(true, "r.example", 443), None);
    }

    #[test]
    fn mirrors_have_a_prefix_or_none_and_what_is_no_mirror_is_named() {
        let mut found = settings(&[("CNB_INSECURE_REGISTRIES", "a.example:5000, b.example")]);
        assert!(
            found.is_insecure("a.example:5000") && found.is_insecure("b.example:99") && !found.is_insecure("a.example")
        );
        found.mirrors.insert("r.example".into(), vec!["m.example:5000".into(), "https://n.example/proxy/r".into()]);
        let mirrors = found.mirrors_of("r.example", "a/b").unwrap();
        let expected = [("m.example:5000", "a/b"), ("n.example", "proxy/r/a/b")];
        assert_eq!(mirrors, expected.map(|(host, repository)| (host.to_owned(), repository.to_owned())));
        found.mirrors.insert("*".into(), vec!["http://me:secret@m.example".into()]);
        let error = found.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading the settings of registries: the mirror `m.example`: it is not HOST[:PORT] or HOST[:PORT]/PREFIX"
        );
        assert!(error.hint().contains("hoist config"));
    }
}
