//! What the machine says of conda: `.condarc` files, variables (`CONDA_*`, `BP_CONDA_*`), and what a channel's name means by it. Pure but for
//! channels in the app's own folder.
//!
//! No address is written down here: a name that no setting knows is below rattler's own channel alias.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hoist_environment::{Node, SyntaxError, is_variable, parse};
use rattler_conda_types::{Channel, ChannelConfig};
use rattler_networking::Authentication;
use url::Url;

use crate::own_channel;

/// Where packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What stands before the name of a channel.
    pub channel_alias: Option<String>,
    /// What `defaults` means.
    pub default_channels: Vec<String>,
    /// Where a channel of this name lies: the address before the name.
    pub custom_channels: BTreeMap<String, String>,
    /// Names that stand for several channels.
    pub custom_multichannels: BTreeMap<String, Vec<String>>,
    /// The whole addresses of a channel, tried in this order.
    pub mirrored_channels: BTreeMap<String, Vec<String>>,
    /// The channels of an environment that names none.
    pub channels: Vec<String>,
    /// Whether a package may come from another channel than the first one that has it.
    pub any_channel: bool,
    /// Whether certificates are not looked at (`ssl_verify: false`).
    pub insecure: bool,
    /// A bundle of certificates (`ssl_verify: /path`).
    pub ca_bundle: Option<PathBuf>,
    /// `CONDA_OVERRIDE_CUDA=12.4` and the like: `cuda` and `12.4`.
    pub overrides: BTreeMap<String, String>,
    /// Who asks which host.
    pub logins: Vec<Login>,
    /// The app's folder, from which a channel like `./channel` is found.
    pub root_dir: Option<PathBuf>,
}

/// Who asks a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The host, without a port.
    pub host: String,
    /// The user, or none when the secret is a token of conda's or a bearer token.
    pub user: Option<String>,
    /// The password or token.
    pub secret: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, ****)", self.host)
    }
}

impl Login {
    pub(crate) fn authentication(&self) -> Authentication {
        match &self.user {
            Some(user) => Authentication::BasicHTTP { username: user.clone(), password: self.secret.clone() },
            None => Authentication::CondaToken(self.secret.clone()),
        }
    }
}

/// A channel's name that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no channel: {why}")]
pub struct UnknownChannel {
    /// As it was written, without credentials.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A channel as it was written, and all places where it may be.
#[derive(Debug, Clone)]
pub struct ResolvedChannel {
    /// As it was written, without credentials.
    pub name: String,
    /// The first one that answers is taken.
    pub places: Vec<Channel>,
    /// A hash of what it has, where it lies in the app and changes with it.
    pub own_digest: Option<String>,
}

impl Settings {
    /// Takes over what a `.condarc` says; files that are merged later win.
    pub fn merge(&mut self, text: &str) -> Result<(), SyntaxError> {
        let members = match parse(text)? {
            None => return Ok(()),
            Some(Node::Map(_, members)) => members,
            Some(other) => return Err(SyntaxError::new(other.line(), "it is no mapping of settings")),
        };
        for (key, value) in members {
            let texts = |value: Node| -> Result<Vec<String>, SyntaxError> {
                Ok(value.texts(&key.text)?.into_iter().map(|one| one.text).collect())
            };
            match key.text.as_str() {
                "channel_alias" => self.channel_alias = texts(value)?.pop(),
                "default_channels" => self.default_channels = texts(value)?,
                "channels" => self.channels = texts(value)?,
                "channel_priority" => {
                    self.any_channel = texts(value)?.pop().is_some_and(|word| is_false(&word) || word == "disabled");
                }
                "ssl_verify" => self.verify(&texts(value)?.pop().unwrap_or_default()),
                "custom_channels" => {
                    for (name, value) in members_of(value)? {
                        self.custom_channels
                            .insert(name, value.texts(&key.text)?.pop().map_or_else(String::new, |one| one.text));
                    }
                }
                "custom_multichannels" => {
                    for (name, value) in members_of(value)? {
                        self.custom_multichannels.insert(name, texts(value)?);
                    }
                }
                "mirrored_channels" => {
                    for (name, value) in members_of(value)? {
                        self.mirrored_channels.insert(name, texts(value)?);
                    }
                }
                "override_virtual_packages" => {
                    for (name, value) in members_of(value)? {
                        let version = texts(value)?.pop().unwrap_or_default();
                        self.overrides.insert(name.trim_start_matches('_').to_lowercase(), version);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes over variables; they win over files.
    pub fn merge_variables<'a>(&mut self, variables: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in variables {
            let value = value.trim();
            let list = || value.split([',', ' ', '&']).filter(|one| !one.is_empty()).map(str::to_owned).collect();
            if let Some(what) = name.strip_prefix("CONDA_OVERRIDE_").or(name.strip_prefix("BP_CONDA_OVERRIDE_")) {
                self.overrides.insert(what.to_lowercase(), value.to_owned());
                continue;
            }
            if value.is_empty() || !is_variable(name) {
                continue;
            }
            match name.strip_prefix("BP_").unwrap_or(name) {
                "CONDA_CHANNEL_ALIAS" => self.channel_alias = Some(value.to_owned()),
                "CONDA_DEFAULT_CHANNELS" => self.default_channels = list(),
                "CONDA_CHANNELS" => self.channels = list(),
                "CONDA_CHANNEL_PRIORITY" => self.any_channel = is_false(value) || value == "disabled",
                "CONDA_SSL_VERIFY" => self.verify(value),
                _ => {}
            }
        }
    }

    fn verify(&mut self, value: &str) {
        self.insecure = is_false(value);
        let is_path = value.starts_with('/');
        self.ca_bundle = is_path.then(|| PathBuf::from(value));
    }

    /// Where the channels of these names are, `defaults` and other names for several taken apart. Credentials in addresses become logins.
    pub fn resolve(&mut self, name: &str) -> Result<Vec<ResolvedChannel>, UnknownChannel> {
        let several = match name {
            "defaults" if !self.default_channels.is_empty() => Some(self.default_channels.clone()),
            // What Anaconda's own defaults are called below any alias.
            "defaults" => Some(vec!["main".to_owned(), "r".to_owned()]),
            name => self.custom_multichannels.get(name).cloned(),
        };
        match several {
            Some(names) => names.iter().filter(|inner| *inner != name).map(|inner| self.resolve_one(inner)).collect(),
            None => self.resolve_one(name).map(|one| vec![one]),
        }
    }

    fn resolve_one(&mut self, name: &str) -> Result<ResolvedChannel, UnknownChannel> {
        let written = name.trim_end_matches('/');
        let addresses = match self.mirrored_channels.get(written) {
            Some(mirrors) if !mirrors.is_empty() => mirrors.clone(),
            _ => vec![self.address(written)],
        };
        let mut places = Vec::new();
        let mut own_digest = None;
        for address in addresses {
            if is_relative(&address) {
                let unknown = |why| UnknownChannel { name: mask(name), why };
                let dir = own_channel::dir(self.root_dir.as_deref(), &address).map_err(unknown)?;
                own_digest = Some(own_channel::digest(&dir));
                places.push(self.place(&dir.display().to_string(), name)?);
            } else {
                places.push(self.place(&address, name)?);
            }
        }
        Ok(ResolvedChannel { name: mask(written), places, own_digest })
    }

    /// `custom_channels` knows the longest part of the name, or the alias stands before it.
    fn address(&self, name: &str) -> String {
        if name.contains("://") || name.starts_with('/') || is_relative(name) {
            return name.to_owned();
        }
        let mut part = name;
        loop {
            if let Some(before) = self.custom_channels.get(part) {
                return format!("{}/{name}", before.trim_end_matches('/'));
            }
            match part.rsplit_once('/') {
                Some((shorter, _)) => part = shorter,
                None => break,
            }
        }
        match &self.channel_alias {
            Some(alias) => format!("{}/{name}", alias.trim_end_matches('/')),
            None => name.to_owned(),
        }
    }

    fn place(&mut self, address: &str, name: &str) -> Result<Channel, UnknownChannel> {
        let unknown = |why: String| UnknownChannel { name: mask(name), why };
        let config = ChannelConfig::default_with_root_dir(PathBuf::from("/"));
        if address.starts_with('/') || !address.contains("://") {
            return Channel::from_str(address, &config).map_err(|error| unknown(error.to_string()));
        }
        let mut url = Url::parse(address).map_err(|error| unknown(error.to_string()))?;
        if !["http", "https", "file"].contains(&url.scheme()) {
            return Err(unknown(format!("{}:// is not fetched from here", url.scheme())));
        }
        self.take_login(&mut url);
        Channel::from_str(url.as_str(), &config).map_err(|error| unknown(error.to_string()))
    }

    /// An address of an archive without who asks, which is kept as a login.
    pub fn without_login(&mut self, address: &str) -> String {
        let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
        self.take_login(&mut url);
        url.to_string()
    }

    /// Addresses of channels are written into the environment; who asks is not.
    pub(crate) fn take_login(&mut self, url: &mut Url) {
        let Some(host) = url.host_str().map(str::to_owned) else { return };
        if !url.username().is_empty() {
            let (user, secret) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
            self.add_login(Login { host: host.clone(), user: Some(user), secret });
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        let path = url.path().to_owned();
        if let Some((token, rest)) = path.strip_prefix("/t/").and_then(|rest| rest.split_once('/')) {
            self.add_login(Login { host, user: None, secret: token.to_owned() });
            url.set_path(&format!("/{rest}"));
        }
    }

    /// A list may name the same user on each line.
    fn add_login(&mut self, login: Login) {
        if !self.logins.contains(&login) {
            self.logins.push(login);
        }
    }
}

/// A path from the app's folder, or from somebody's home: what conda takes for one.
fn is_relative(address: &str) -> bool {
    address.starts_with(['.', '~'])
}

fn members_of(value: Node) -> Result<Vec<(String, Node)>, SyntaxError> {
    match value {
        node if node.is_null() => Ok(Vec::new()),
        Node::Map(_, members) => Ok(members.into_iter().map(|(key, value)| (key.text, value)).collect()),
        other => Err(SyntaxError::new(other.line(), "a mapping of names is wanted here")),
    }
}

fn is_false(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0")
}

/// `%40` is `@`: what user names in addresses are written with.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            plain.push(byte);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// A text in which addresses may stand, without who asks: `https://me:secret@host/t/token/x` → `https://****@host/t/****/x`.
pub fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>)`".contains(c)).unwrap_or(after.len());
        let (address, remaining) = after.split_at(end);
        let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        match host.rsplit_once('@') {
            Some((_, host)) => {
                masked.push_str("****@");
                masked.push_str(host);
            }
            None => masked.push_str(host),
        }
        match path.strip_prefix("/t/").and_then(|path| path.split_once('/')) {
            Some((_, path)) => {
                masked.push_str("/t/****/");
                masked.push_str(path);
            }
            None => masked.push_str(path),
        }
        rest = remaining;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(settings: &mut Settings, name: &str) -> Vec<String> {
        let found = settings.resolve(name).unwrap();
        found.iter().flat_map(|one| one.places.iter().map(|place| place.base_url.to_string())).collect()
    }

    #[test]
    fn a_name_is_looked_up_in_the_machines_settings() {
        let mut settings = Settings::default();
        let condarc = "channel_alias: https://mirror.invalid/conda\ndefault_channels:\n  - https://mirror.invalid/main\n  - r\ncustom_channels:\n  ours: https://ours.invalid/c\ncustom_multichannels:\n  both: [a, ours]\nmirrored_channels:\n  bio: [https://one.invalid/bio, https://two.invalid/bio]\nchannel_priority: disabled\nssl_verify: false\n";
        settings.merge(condarc).unwrap();
        assert_eq!(places(&mut settings, "conda-forge"), ["https://mirror.invalid/conda/conda-forge/"]);
        assert_eq!(
            places(&mut settings, "defaults"),
            ["https://mirror.invalid/main/", "https://mirror.invalid/conda/r/"]
        );
        assert_eq!(places(&mut settings, "ours/label/dev"), ["https://ours.invalid/c/ours/label/dev/"]);
        assert_eq!(places(&mut settings, "both").len(), 2);
        assert_eq!(places(&mut settings, "bio"), ["https://one.invalid/bio/", "https://two.invalid/bio/"]);
        assert_eq!(places(&mut settings, "/srv/channel"), ["file:///srv/channel/"]);
        assert!(settings.any_channel && settings.insecure);
        settings.merge_variables(
            [("BP_CONDA_CHANNEL_ALIAS", "https://other.invalid"), ("CONDA_OVERRIDE_CUDA", "12.4")].into_iter(),
        );
        assert_eq!(places(&mut settings, "x"), ["https://other.invalid/x/"]);
        assert_eq!(settings.overrides["cuda"], "12.4");
    }

    #[test]
    fn who_asks_is_kept_apart_from_the_address() {
        let mut settings = Settings::default();
        assert_eq!(places(&mut settings, "https://me:a%40b@c.invalid/x"), ["https://c.invalid/x/"]);
        assert_eq!(places(&mut settings, "https://c.invalid/t/tk-1/x"), ["https://c.invalid/x/"]);
        assert_eq!(
            settings.logins[0],
            Login { host: "c.invalid".into(), user: Some("me".into()), secret: "a@b".into() }
        );
        assert_eq!(settings.logins[1].secret, "tk-1");
        assert!(!format!("{settings:?}").contains("tk-1"));
        assert_eq!(mask("at https://me:pw@h/t/tok/x, y"), "at https://****@h/t/****/x, y");
        assert!(settings.resolve("./here").unwrap_err().to_string().contains("whole path"), "no app is there");
        assert!(settings.resolve("ftp://h/x").unwrap_err().to_string().contains("ftp://"));
    }
}
