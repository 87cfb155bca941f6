//! What of a machine's settings goes into a bundle, and comes out of it: where packages come from decides what is found in the caches. Who asks for them
//! stays where it is, and so do proxies and certificates: nothing is asked for.

use std::collections::BTreeMap;

use hoist_debian::Source;

use super::document::Trust;
use crate::host::{CondaSettings, HostTrust, is_index_setting};

/// Settings that say how an index is reached.
const OF_THE_WAY: [&str; 3] = ["PIP_PROXY", "PIP_CLIENT_CERT", "PIP_CERT"];

impl Trust {
    pub(super) fn of(host: &HostTrust, sources: &[Source], keyring: &[u8]) -> Self {
        let plain = |pairs: &BTreeMap<String, String>| {
            pairs
                .iter()
                .filter(|(name, _)| !OF_THE_WAY.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), without_logins(value)))
                .collect()
        };
        Self {
            sources: sources.iter().map(Source::without_login).collect(),
            keyring: hex(keyring),
            link_dirs: host.link_dirs().iter().map(|dir| dir.display().to_string()).collect(),
            index_settings: plain(&host.index_settings),
            conda_files: host.conda.files.iter().map(|text| without_logins(text)).collect(),
            conda_variables: plain(&host.conda.variables),
        }
    }

    /// What a machine with nothing but the bundle trusts.
    pub(super) fn host(&self) -> HostTrust {
        let mut index_settings = self.index_settings.clone();
        index_settings.retain(|name, _| is_index_setting(name));
        HostTrust {
            index_settings,
            conda: CondaSettings { files: self.conda_files.clone(), variables: self.conda_variables.clone() },
            ..HostTrust::default()
        }
    }

    /// None where it is no keyring that could be written so.
    pub(super) fn keyring(&self) -> Option<Vec<u8>> {
        let digits = self.keyring.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = digits.as_chunks::<2>();
        rest.is_empty().then(|| pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect())?
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A text in which addresses may stand, without who asks: `https://me:secret@host/t/token/x` → `https://host/x`.
fn without_logins(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        plain.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>)`,".contains(c)).unwrap_or(after.len());
        let (address, remaining) = after.split_at(end);
        let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        plain.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
        match path.strip_prefix("/t/").and_then(|path| path.split_once('/')) {
            Some((_, path)) => {
                plain.push('/');
                plain.push_str(path);
            }
            None => plain.push_str(path),
        }
        rest = remaining;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_packages_is_in_no_bundle() {
        let mut host = HostTrust::default();
        host.index_settings.insert("PIP_INDEX_URL".into(), "https://me:s3cret@h/simple https://x@i/s".into());
        host.index_settings.insert("PIP_PROXY".into(), "http://u:s3cret@proxy".into());
        host.proxies.insert("HTTPS_PROXY".into(), "http://u:s3cret@proxy".into());
        host.conda
            .files
            .push("channel_alias: https://a:s3cret@c/t/tk-s3cret/x\nchannels: [\"https://u:s3cret@d/y\"]\n".into());
        host.conda.variables.insert("CONDA_CHANNEL_ALIAS".into(), "https://c/t/tk-s3cret/x".into());
        let source = Source {
            uri: "http://u:s3cret@mirror/debian".into(),
            suite: "trixie".into(),
            components: vec!["main".into()],
            signed_by: hoist_debian::SignedBy::Default,
            architectures: Vec::new(),
            check_valid_until: true,
            optional: false,
        };
        let trust = Trust::of(&host, &[source], b"\x00\xffk");
        let text = serde_json::to_string(&trust).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(trust.index_settings["PIP_INDEX_URL"], "https://h/simple https://i/s");
        assert_eq!(trust.conda_files[0], "channel_alias: https://c/x\nchannels: [\"https://d/y\"]\n");
        assert_eq!(trust.sources[0].uri, "http://mirror/debian");
        assert_eq!(trust.keyring().unwrap(), b"\x00\xffk");
        assert!(trust.host().proxies.is_empty());
        assert_eq!(Trust { keyring: "0".into(), ..trust.clone() }.keyring(), None);
        assert_eq!(Trust { keyring: "0g".into(), ..trust }.keyring(), None);
    }

    #[test]
    fn settings_that_no_machine_gives_to_a_build_come_out_of_no_bundle() {
        let mut trust = Trust::default();
        trust.index_settings.insert("PIP_TARGET".into(), "/x".into());
        trust.index_settings.insert("UV_INDEX".into(), "https://h".into());
        assert_eq!(trust.host().index_settings.into_keys().collect::<Vec<_>>(), ["UV_INDEX"]);
    }
}
