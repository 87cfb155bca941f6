//! Credentials of registries: what `docker login` and `podman login` keep, what credential helpers say, what a platform gives.
//!
//! A secret is a type of its own that shows nothing, and no error has the content of a file or the output of a helper in it.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fs_err as fs;
use serde::Deserialize;

use crate::registry::error::RegistryError;
use crate::registry::login::{Helper, Said};
use crate::registry::settings::{KeyPlaces, RegistryTimes};
use crate::stop::StopSign;

/// Files of credentials are small.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The user under whose name helpers give an identity token.
const TOKEN_USER: &str = "<token>";

/// What must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For a request, and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password.
    Basic { user: String, password: Secret },
    /// A token that a token service gives others for.
    Identity(Secret),
    /// A token that the registry itself takes.
    Bearer(Secret),
}

impl Key {
    /// The value of the header for who asks by name.
    pub(super) fn basic_header(&self) -> Option<Secret> {
        match self {
            Self::Basic { user, password } => {
                let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()));
                Some(Secret::new(format!("Basic {pair}")))
            }
            _ => None,
        }
    }

    /// Everything that must not appear in anybody's words.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Basic { password, .. } => {
                let pair =
                    self.basic_header().and_then(|header| header.0.split_once(' ').map(|(_, pair)| Secret::new(pair)));
                std::iter::once(password.clone()).chain(pair).collect()
            }
            Self::Identity(token) | Self::Bearer(token) => vec![token.clone()],
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(default, rename = "registrytoken")]
    registry_token: Option<String>,
}

/// Who asks that registry for that repository.
pub(super) fn find_key(
    places: &KeyPlaces,
    times: &RegistryTimes,
    stop: &StopSign,
    registry: &str,
    repository: &str,
) -> Result<Key, RegistryError> {
    if let Some(text) = &places.registry_auth
        && let Some(key) = from_header_map(text, registry)?
    {
        return Ok(key);
    }
    for path in &places.files {
        let Some(file) = read(path)? else { continue };
        let names = names(registry, repository);
        let helper = names.iter().find_map(|name| file.cred_helpers.get(name)).or(file.creds_store.as_ref());
        if let Some(helper) = helper {
            let helper = Helper { name: helper, path: places.path.as_deref(), limit: times.helper, stop };
            match helper.ask(registry)? {
                Said::Key { user, secret } if user == TOKEN_USER => return Ok(Key::Identity(secret)),
                Said::Key { user, secret } => return Ok(Key::Basic { user, password: secret }),
                Said::Nothing => {}
            }
        }
        let entries: BTreeMap<&str, &Entry> = file.auths.iter().map(|(name, entry)| (bare(name), entry)).collect();
        for name in names {
            let Some(entry) = entries.get(name.as_str()) else { continue };
            let wrong =
                |problem: &str| RegistryError::Keys { path: path.clone(), problem: format!("{name}: {problem}") };
            if let Some(key) = of_entry(entry).map_err(wrong)? {
                return Ok(key);
            }
        }
    }
    Ok(Key::Anonymous)
}

/// By what a repository may be known, the nearest first: podman keeps credentials of parts of a registry, too.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let whole = format!("{registry}/{repository}");
    let mut names = vec![whole.clone()];
    let mut rest = whole.as_str();
    while let Some((parent, _)) = rest.rsplit_once('/') {
        names.push(parent.to_owned());
        rest = parent;
    }
    names
}

/// Docker once wrote addresses: `https://host/v1/`.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let name = name.trim_end_matches('/');
    name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name)
}

fn read(path: &Path) -> Result<Option<File>, RegistryError> {
    let wrong = |problem: String| RegistryError::Keys { path: path.to_owned(), problem };
    match fs::metadata(path) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(wrong(error.to_string())),
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return Err(wrong(format!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let at = |error: serde_json::Error| {
        wrong(format!("it is no such document (line {}, column {})", error.line(), error.column()))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(at)
}

fn of_entry(entry: &Entry) -> Result<Option<Key>, &'static str> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&entry.identity_token) {
        return Ok(Some(Key::Identity(Secret(token))));
    }
    if let Some(token) = given(&entry.registry_token) {
        return Ok(Some(Key::Bearer(Secret(token))));
    }
    if let Some(pair) = given(&entry.auth) {
        return of_pair(&pair).map(Some);
    }
    match (given(&entry.username), given(&entry.password)) {
        (Some(user), Some(password)) => Ok(Some(Key::Basic { user, password: Secret(password) })),
        _ => Ok(None), // docker leaves an empty entry where a helper has the credentials
    }
}

/// `user:password`, base64.
fn of_pair(pair: &str) -> Result<Key, &'static str> {
    let bytes = BASE64_STANDARD.decode(pair.trim()).map_err(|_| "its `auth` is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "its `auth` is not text")?;
    let (user, password) = text.split_once(':').ok_or("its `auth` is not a user and a password")?;
    Ok(Key::Basic { user: user.to_owned(), password: Secret::new(password.trim_end_matches('\0')) })
}

/// `CNB_REGISTRY_AUTH`, as the Go lifecycle reads it.
fn from_header_map(text: &str, registry: &str) -> Result<Option<Key>, RegistryError> {
    let wrong = |problem: &str| RegistryError::Keys { path: "CNB_REGISTRY_AUTH".into(), problem: problem.to_owned() };
    let map: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|_| wrong("it is not a JSON object from registries to values of the header Authorization"))?;
    let found = map.iter().find(|(name, _)| bare(name) == registry).map(|(_, value)| value.trim());
    let Some(value) = found.filter(|value| !value.is_empty()) else { return Ok(None) };
    let (kind, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim();
    match kind.to_ascii_lowercase().as_str() {
        "basic" => of_pair(rest).map(Some).map_err(|_| wrong("behind `Basic` stands no base64 of user:password")),
        "bearer" if !rest.is_empty() => Ok(Some(Key::Bearer(Secret::new(rest)))),
        "x-identity" if !rest.is_empty() => Ok(Some(Key::Identity(Secret::new(rest)))),
        _ => Err(wrong("a value begins neither with Basic nor with Bearer nor with X-Identity")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(places: &KeyPlaces, registry: &str, repository: &str) -> Result<Key, RegistryError> {
        find_key(places, &RegistryTimes::default(), &StopSign::default(), registry, repository)
    }

    fn basic(user: &str, password: &str) -> Key {
        Key::Basic { user: user.to_owned(), password: Secret::new(password) }
    }

    #[test]
    fn what_docker_and_podman_keep_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (docker, podman) = (dir.path().join("config.json"), dir.path().join("auth.json"));
        let auth = |pair: &str| BASE64_STANDARD.encode(pair);
        let text = format!(
            r#"{{"auths":{{"https://old.example/v1/":{{"auth":"{}"}},"e.example":{{}},"i.example":{{"auth":"{}","identitytoken":"idt"}},"u.example":{{"username":"u","password":"p:q"}}}}}}"#,
            auth("me:secret"),
            auth("x:"),
        );
        fs::write(&docker, text).unwrap();
        let text = format!(
            r#"{{"auths":{{"r.example/team":{{"auth":"{}"}},"r.example":{{"auth":"{}"}}}}}}"#,
            auth("team:1"),
            auth("all:2")
        );
        fs::write(&podman, text).unwrap();
        let places =
            KeyPlaces { files: vec![dir.path().join("not-there"), docker.clone(), podman], ..KeyPlaces::default() };
        for (registry, repository, expected) in [
            ("old.example", "a", basic("me", "secret")),
            ("e.example", "a", Key::Anonymous),
            ("i.example", "a", Key::Identity(Secret::new("idt"))),
            ("u.example", "a", basic("u", "p:q")),
            ("r.example", "team/app", basic("team", "1")),
            ("r.example", "teams", basic("all", "2")),
            ("other.example", "a", Key::Anonymous),
        ] {
            assert_eq!(key(&places, registry, repository).unwrap(), expected, "{registry}/{repository}");
        }
        fs::write(&docker, r#"{"auths":{"a.example":{"auth":"SECRET"#).unwrap();
        let error = key(&places, "a.example", "a").unwrap_err();
        let shown = format!(
            "reading credentials of registries in `{}`: it is no such document (line 1, column 37)",
            docker.display()
        );
        assert_eq!(error.to_string(), shown);
        fs::write(&docker, r#"{"auths":{"a.example":{"auth":"SECRET!"}}}"#).unwrap();
        let error = key(&places, "a.example", "a").unwrap_err();
        assert!(error.to_string().ends_with("a.example: its `auth` is not base64"), "{error}");
        assert!(error.hint().contains("log in again"), "{}", error.hint());
    }

    #[test]
    fn the_variable_of_the_specification_wins() {
        let pair = BASE64_STANDARD.encode("me:secret");
        let text = format!(r#"{{"a.example":"Basic {pair}","b.example":"bearer tok","c.example":"X-Identity id"}}"#);
        let places = KeyPlaces { registry_auth: Some(text), ..KeyPlaces::default() };
        assert_eq!(key(&places, "a.example", "x").unwrap(), basic("me", "secret"));
        assert_eq!(key(&places, "b.example", "x").unwrap(), Key::Bearer(Secret::new("tok")));
        assert_eq!(key(&places, "c.example", "x").unwrap(), Key::Identity(Secret::new("id")));
        assert_eq!(key(&places, "d.example", "x").unwrap(), Key::Anonymous);
        for wrong in ["SECRET", r#"["SECRET"]"#, r#"{"a.example":"SECRET"}"#, r#"{"a.example":"Basic SECRET!"}"#] {
            let places = KeyPlaces { registry_auth: Some(wrong.to_owned()), ..KeyPlaces::default() };
            let error = key(&places, "a.example", "x").unwrap_err();
            assert!(
                error.to_string().starts_with("reading credentials of registries in `CNB_REGISTRY_AUTH`: "),
                "{error}"
            );
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn secrets_show_nothing() {
        let key = basic("me", "secret");
        assert_eq!(format!("{key:?}"), "Basic { user: \"me\", password: *** }");
        assert_eq!(key.secrets().len(), 2);
        assert_eq!(key.basic_header().unwrap().reveal(), "Basic bWU6c2VjcmV0");
    }
}
