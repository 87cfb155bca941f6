//! The host's trust: what the machine is configured with (proxies, extra CA certificates, package index settings), gathered once so
//! that a build trusts what its host trusts. It reaches buildpacks as service bindings and variables, and never an image.
//!
//! This is the module of the crate that reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Configuration files of pip are small; a larger one is not one.
const MAX_PIP_CONF_BYTES: u64 = 1 << 20;
/// CA bundles of machines are below a megabyte.
const MAX_CA_BYTES: u64 = 16 << 20;

/// What the machine is configured with.
#[derive(Debug, Clone, Default)]
pub struct HostTrust {
    /// Proxy variables (`HTTPS_PROXY`, `no_proxy`, …) as they stand in the environment.
    pub proxies: BTreeMap<String, String>,
    /// The CA bundle that the host's programs use (PEM), where one is configured or found.
    pub ca_bundle: Option<PathBuf>,
    /// pip's settings from its configuration files and variables, as `PIP_<NAME>`, and uv's as `UV_<NAME>`; variables win.
    pub index_settings: BTreeMap<String, String>,
    /// The certificate and key (PEM, one file) with which pip tells an index who asks (`PIP_CLIENT_CERT`).
    pub client_certificate: Option<PathBuf>,
    /// conda's `.condarc` files, the later ones winning, and variables (`CONDA_CHANNEL_ALIAS`, `CONDA_OVERRIDE_CUDA`, …).
    pub conda: CondaSettings,
    /// Folders of the host that the settings name (`find-links`); they are shown to the build read-only at the same path.
    pub local_index_dirs: Vec<PathBuf>,
}

/// What the machine says of conda.
#[derive(Debug, Clone, Default)]
pub struct CondaSettings {
    /// The texts of the machine's and the user's file.
    pub files: Vec<String>,
    /// Variables.
    pub variables: BTreeMap<String, String>,
}

/// Where conda looks for settings of the machine.
const SYSTEM_CONDARC: [&str; 4] =
    ["/etc/conda/.condarc", "/etc/conda/condarc", "/opt/conda/.condarc", "/var/lib/conda/.condarc"];
const CONDA_NAMES: [&str; 9] = [
    "CONDA_CHANNEL_ALIAS",
    "CONDA_CHANNELS",
    "CONDA_DEFAULT_CHANNELS",
    "CONDA_CHANNEL_PRIORITY",
    "CONDA_SSL_VERIFY",
    "CONDA_OVERRIDE_CUDA",
    "CONDA_OVERRIDE_GLIBC",
    "CONDA_OVERRIDE_LINUX",
    "CONDA_OVERRIDE_ARCHSPEC",
];
/// Settings of conda are small.
const MAX_CONDARC_BYTES: u64 = 1 << 20;

const PROXY_NAMES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];
/// Settings of pip that say where packages come from and how they are reached. Others (target folders, verbosity) are the
/// user's own business and would break a build.
const PIP_NAMES: [&str; 14] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_PROXY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_PRE",
    "PIP_ONLY_BINARY",
    "PIP_NO_BINARY",
    "PIP_PREFER_BINARY",
    "PIP_CLIENT_CERT",
];
const UV_NAMES: [&str; 11] = [
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_NATIVE_TLS",
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
];
const CA_NAMES: [&str; 4] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"];
/// Where distributions keep the bundle of all CAs that the machine trusts (Debian, Fedora, openSUSE, Alpine).
const CA_PATHS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl HostTrust {
    /// Reads the environment and pip's configuration files of this machine.
    #[allow(clippy::disallowed_methods)] // the module that owns the environment
    pub fn of_this_machine() -> Self {
        Self::from_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The same from any environment, for tests.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut proxies = BTreeMap::new();
        for name in PROXY_NAMES {
            if let Some(value) = variable(name) {
                proxies.insert(name.to_owned(), value);
            }
        }
        let mut settings = BTreeMap::new();
        for path in pip_configuration_paths(variable) {
            if let Some(text) = read_bounded(&path, MAX_PIP_CONF_BYTES) {
                merge_pip_configuration(&mut settings, &text);
            }
        }
        for name in PIP_NAMES.iter().chain(&UV_NAMES) {
            if let Some(value) = variable(name) {
                settings.insert((*name).to_owned(), value);
            }
        }
        let ca_bundle = CA_NAMES
            .iter()
            .filter_map(|name| variable(name))
            .chain(settings.get("PIP_CERT").cloned())
            .chain(CA_PATHS.iter().map(|&path| path.to_owned()))
            .map(PathBuf::from)
            .find(|path| fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= MAX_CA_BYTES));
        let client_certificate = variable("SSL_CLIENT_CERT")
            .or_else(|| settings.remove("PIP_CLIENT_CERT"))
            .map(PathBuf::from)
            .filter(|path| fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= MAX_CA_BYTES));
        settings.remove("PIP_CLIENT_CERT");
        settings.retain(|name, _| PIP_NAMES.contains(&name.as_str()) || UV_NAMES.contains(&name.as_str()));
        let mut local_index_dirs = keep_reachable_find_links(&mut settings);
        let conda = CondaSettings::from_environment(variable);
        local_index_dirs.extend(conda.local_dirs());
        local_index_dirs.sort();
        local_index_dirs.dedup();
        Self { proxies, ca_bundle, index_settings: settings, client_certificate, conda, local_index_dirs }
    }
}

impl HostTrust {
    /// Folders with packages beside the index, in the order in which they are named.
    pub(crate) fn link_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        for name in ["PIP_FIND_LINKS", "UV_FIND_LINKS"] {
            let words = self.index_settings.get(name).map(String::as_str).unwrap_or_default();
            for word in words.split([' ', ',', '\n', '\t']) {
                let dir = PathBuf::from(word.strip_prefix("file://").unwrap_or(word));
                if self.local_index_dirs.contains(&dir) && !dirs.contains(&dir) {
                    dirs.push(dir);
                }
            }
        }
        dirs
    }
}

impl CondaSettings {
    fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut paths: Vec<PathBuf> = SYSTEM_CONDARC.iter().map(PathBuf::from).collect();
        if let Some(home) = variable("HOME").map(PathBuf::from) {
            let config_dir = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
            paths.extend([config_dir.join("conda/.condarc"), home.join(".conda/.condarc"), home.join(".condarc")]);
        }
        paths.extend(variable("CONDARC").map(PathBuf::from));
        let files = paths.iter().filter_map(|path| read_bounded(path, MAX_CONDARC_BYTES)).collect();
        let named = |name: &&str| Some(((*name).to_owned(), variable(name)?));
        Self { files, variables: CONDA_NAMES.iter().filter_map(named).collect() }
    }

    /// Folders that are channels: every whole path of a folder that the settings name. Certificates are the business of the host's bundle.
    fn local_dirs(&self) -> Vec<PathBuf> {
        let texts = self.files.iter().chain(self.variables.values());
        let words = texts.flat_map(|text| text.split(|c: char| c.is_whitespace() || "\"',[]{}".contains(c)));
        let paths = words.map(|word| word.strip_prefix("file://").unwrap_or(word)).filter(|word| word.len() > 1);
        paths.map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir()).collect()
    }
}

/// Later files win: system, then user, then `PIP_CONFIG_FILE`, as pip reads them.
fn pip_configuration_paths(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/etc/pip.conf")];
    if let Some(home) = variable("HOME") {
        let home = Path::new(&home);
        paths.push(home.join(".pip/pip.conf"));
        let config_dir = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        paths.push(config_dir.join("pip/pip.conf"));
    }
    match variable("PIP_CONFIG_FILE") {
        Some(path) if path == "/dev/null" => return Vec::new(),
        Some(path) => paths.push(PathBuf::from(path)),
        None => {}
    }
    paths
}

/// Takes over `[global]` and then `[install]` of a pip.conf: `index-url = …` becomes `PIP_INDEX_URL`; indented lines go on with the
/// value before them, as in Python's configparser.
fn merge_pip_configuration(settings: &mut BTreeMap<String, String>, text: &str) {
    for wanted in ["global", "install"] {
        let mut section = "";
        let mut open: Option<String> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with(';') {
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim();
                open = None;
            } else if section == wanted && line.starts_with([' ', '\t']) && open.is_some() {
                let name = open.clone().unwrap_or_default();
                let value = settings.entry(name).or_default();
                if !value.is_empty() {
                    value.push(' ');
                }
                value.push_str(trimmed);
            } else if section == wanted
                && let Some((key, value)) = trimmed.split_once(['=', ':'])
            {
                let name = format!("PIP_{}", key.trim().replace('-', "_").to_uppercase());
                settings.insert(name.clone(), value.trim().to_owned());
                open = Some(name);
            }
        }
    }
}

/// `find-links` may name folders of the host: those that exist are shown to the build, those that do not are left out (pip itself
/// only warns of them).
fn keep_reachable_find_links(settings: &mut BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for name in ["PIP_FIND_LINKS", "UV_FIND_LINKS"] {
        let Some(value) = settings.remove(name) else { continue };
        let separators: &[char] = if name.starts_with("UV") { &[',', ' '] } else { &[' ', '\n', '\t'] };
        let mut kept = Vec::new();
        for place in value.split(separators).filter(|place| !place.is_empty()) {
            let local = place.strip_prefix("file://").unwrap_or(place);
            if place.contains("://") && local == place {
                kept.push(place.to_owned());
            } else if Path::new(local).is_absolute() && Path::new(local).is_dir() {
                dirs.push(PathBuf::from(local));
                kept.push(place.to_owned());
            }
        }
        if !kept.is_empty() {
            settings.insert(name.to_owned(), kept.join(if name.starts_with("UV") { "," } else { " " }));
        }
    }
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Whether it is a setting that a machine gives to its builds.
pub(crate) fn is_index_setting(name: &str) -> bool {
    PIP_NAMES.contains(&name) || UV_NAMES.contains(&name)
}

fn read_bounded(path: &Path, most_bytes: u64) -> Option<String> {
    let data = fs::metadata(path).ok()?;
    if !data.is_file() || data.len() > most_bytes {
        return None;
    }
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(text: &str) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        merge_pip_configuration(&mut settings, text);
        settings
    }

    #[test]
    fn pip_configuration_is_read_as_pip_reads_it() {
        let settings = settings_of(
            "[install]\nno-index = true\n[global]\nindex-url = https://index.invalid/simple\n# a comment\nextra-index-url =\n    https://a.invalid\n    https://b.invalid\n[freeze]\ntimeout = 10\n",
        );
        assert_eq!(settings["PIP_INDEX_URL"], "https://index.invalid/simple");
        assert_eq!(settings["PIP_EXTRA_INDEX_URL"], "https://a.invalid https://b.invalid");
        assert_eq!(settings["PIP_NO_INDEX"], "true");
        assert!(!settings.contains_key("PIP_TIMEOUT"));
    }

    #[test]
    fn a_variable_wins_over_a_file_and_settings_of_no_concern_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pip.conf");
        fs::write(&file, "[global]\nindex-url = https://file.invalid\ntarget = /somewhere\n").unwrap();
        let trust = HostTrust::from_environment(&|name| match name {
            "PIP_CONFIG_FILE" => Some(file.display().to_string()),
            "PIP_INDEX_URL" => Some("https://variable.invalid".into()),
            "https_proxy" => Some("http://proxy.invalid:3128".into()),
            _ => None,
        });
        assert_eq!(trust.index_settings["PIP_INDEX_URL"], "https://variable.invalid");
        assert!(!trust.index_settings.contains_key("PIP_TARGET"));
        assert_eq!(trust.proxies["https_proxy"], "http://proxy.invalid:3128");
    }

    #[test]
    fn find_links_folders_that_exist_are_kept_and_others_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let links = format!("{} /not/there/at/all https://links.invalid/x", dir.path().display());
        let trust = HostTrust::from_environment(&|name| match name {
            "PIP_FIND_LINKS" => Some(links.clone()),
            "PIP_CONFIG_FILE" => Some("/dev/null".into()),
            _ => None,
        });
        assert_eq!(trust.local_index_dirs, [dir.path()]);
        assert_eq!(trust.index_settings["PIP_FIND_LINKS"], format!("{} https://links.invalid/x", dir.path().display()));
    }

    #[test]
    fn the_settings_of_conda_are_read_and_folders_that_are_channels_are_shown_to_the_build() {
        let home = tempfile::tempdir().unwrap();
        let channel = tempfile::tempdir().unwrap();
        let text = format!("channels:\n  - file://{}\n  - /not/there\n", channel.path().display());
        fs::write(home.path().join(".condarc"), &text).unwrap();
        let trust = HostTrust::from_environment(&|name| match name {
            "HOME" => Some(home.path().display().to_string()),
            "CONDA_OVERRIDE_CUDA" => Some("12.4".into()),
            "CONDA_EXE" => Some("/opt/x".into()),
            _ => None,
        });
        assert_eq!(trust.conda.files.last(), Some(&text));
        assert_eq!(trust.conda.variables.len(), 1);
        assert_eq!(trust.local_index_dirs, [channel.path()]);
    }

    #[test]
    fn a_clients_certificate_is_a_file_and_no_setting() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, client) = (dir.path().join("pip.conf"), dir.path().join("client.pem"));
        fs::write(&conf, format!("[global]\nclient-cert = {}\n", client.display())).unwrap();
        let of =
            || HostTrust::from_environment(&|name| (name == "PIP_CONFIG_FILE").then(|| conf.display().to_string()));
        assert_eq!(of().client_certificate, None, "it is not there");
        fs::write(&client, "KEY").unwrap();
        assert_eq!(of().client_certificate, Some(client));
        assert!(!of().index_settings.contains_key("PIP_CLIENT_CERT"));
    }

    #[test]
    fn the_configured_ca_bundle_is_taken_before_the_usual_ones() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("ca.pem");
        fs::write(&bundle, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let trust = HostTrust::from_environment(&|name| match name {
            "SSL_CERT_FILE" => Some(bundle.display().to_string()),
            _ => None,
        });
        assert_eq!(trust.ca_bundle, Some(bundle));
    }
}
