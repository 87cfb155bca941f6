//! The host's pip settings as settings of uv: environment (`PIP_*`, `UV_*`), the `pip` binding (`settings.json`, `pip.conf`), and what
//! of the build's environment an installer may see. Pure, apart from asking whether a find-links folder exists.

use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::credentials::{Login, add_logins, netrc, of_netrc, of_pypirc};
pub(crate) use super::masking::mask_credentials;
use super::masking::{Secrets, is_secret};
use super::origins::Origins;
use crate::as_of::AsOf;
use crate::context::{Context, Environment, parse_switch};
use crate::offline::is_offline;

/// Variables that would bend an installer away from the layer, or the interpreter away from itself.
const FORBIDDEN: &[&str] = &[
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_PYTHON",
    "PIP_CACHE_DIR",
    "PIP_NO_CACHE_DIR",
    "PIP_REQUIREMENT",
    "PIP_REPORT",
    "PIP_DRY_RUN",
    "PIP_LOG",
    "PIP_COMPILE",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_BREAK_SYSTEM_PACKAGES",
    "UV_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_COMPILE_BYTECODE",
    "UV_LINK_MODE",
    "UV_CONFIG_FILE",
    "UV_WORKING_DIR",
    "UV_OFFLINE",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
];

/// The installers' environment: everything of the build that is not dangerous, with pip's settings translated for uv.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What pip gets.
    pub(crate) pip: Environment,
    /// What uv gets.
    pub(crate) uv: Environment,
    /// Which packages come as wheels: uv has no variables for it.
    pub(crate) binaries: Binaries,
    /// Whether no index may be asked: uv has no variable for it either.
    pub(crate) no_index: bool,
    /// The day that packages are taken of.
    pub(crate) as_of: Option<AsOf>,
    /// Where the addresses of indexes were said.
    pub(crate) origins: Origins,
    /// What no output may show.
    pub(crate) secrets: Secrets,
    /// Whether no connection may be tried: pip has no way of its own to know.
    pub(crate) is_offline: bool,
    /// Who asks which host.
    logins: Vec<Login>,
}

/// Variables with addresses of indexes.
const INDEXES: [&str; 6] =
    ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"];

/// Up to when packages were uploaded.
pub(crate) const NEWEST: &str = "UV_EXCLUDE_NEWER";

/// How uv chooses among indexes.
pub(super) const STRATEGY: &str = "UV_INDEX_STRATEGY";

/// Of all indexes the best version, as pip does.
pub(super) const PIPS_STRATEGY: &str = "unsafe-best-match";

/// `deny` while the shared folder can be written.
const SOURCE_BUILDS_VARIABLE: &str = "HOIST_SOURCE_BUILDS";

/// Whether no code of others may run now, because what it leaves would reach other apps.
pub(crate) fn denies_source_builds(context: &Context) -> bool {
    context.variable(SOURCE_BUILDS_VARIABLE) == Some("deny")
}

/// Collects the settings of a build.
pub(crate) fn settings(context: &Context) -> Settings {
    let mut environment = context.environment.clone();
    let mut origins = Origins::of_variables(&environment, &INDEXES);
    for binding in context.bindings.of_type("pip").chain(context.bindings.of_type("pypi")) {
        let from_json = binding.text("settings.json").map(|text| parse_json_settings(&text)).unwrap_or_default();
        let from_conf = binding.text("pip.conf").map(|text| parse_pip_conf(&text)).unwrap_or_default();
        // `settings.json` is how hoist brings what its machine says.
        let machine = from_json.into_iter().map(|pair| (pair, "the machine's settings of pip and uv".to_owned()));
        let conf = format!("pip.conf of the binding `{}`", binding.name);
        for ((name, value), who) in machine.chain(from_conf.into_iter().map(|pair| (pair, conf.clone()))) {
            if INDEXES.contains(&name.as_str()) && !environment.contains_key(&name) {
                origins.push(&value, &format!("{name}, in {who}"));
            }
            environment.entry(name).or_insert_with(|| value.into());
        }
        // The host's own path to it means nothing here.
        if let Some(path) = binding.path("client.pem") {
            environment.insert("PIP_CLIENT_CERT".into(), path.into());
        }
    }
    let logins = logins(context);
    for name in INDEXES {
        if let Some(value) = environment.get_mut(name) {
            *value = add_logins(&value.to_string_lossy(), &logins).into();
        }
    }
    drop_missing_certificates(&mut environment);
    if let Some(path) = context.bindings.authorities() {
        environment.entry("SSL_CERT_FILE".into()).or_insert_with(|| path.clone().into());
        environment.entry("PIP_CERT".into()).or_insert_with(|| path.into());
    }
    // Compilers and their kin that came as packages find their libraries by it; where it could change what runs beside the shared cache, it goes.
    let may_load = |name: &str| name == "LD_LIBRARY_PATH" && !denies_source_builds(context);
    environment.retain(|name, _| may_load(name) || !FORBIDDEN.contains(&name.as_str()) && !name.starts_with("PYTHON"));
    keep_existing_find_links(&mut environment);
    environment.insert("PIP_CONFIG_FILE".into(), "/dev/null".into());
    environment.insert("PIP_DISABLE_PIP_VERSION_CHECK".into(), "1".into());
    environment.insert("PIP_NO_INPUT".into(), "1".into());
    environment.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    let mut uv = environment.clone();
    uv.retain(|name, _| !name.starts_with("PIP_"));
    for (name, value) in translate(&environment) {
        uv.entry(name).or_insert_with(|| value.into());
    }
    // A day that is none is refused before anything is installed.
    let as_of = AsOf::of(context).ok().flatten();
    if let Some(as_of) = &as_of {
        uv.insert(NEWEST.into(), as_of.end().into());
    }
    if is_offline(context) {
        uv.insert("UV_OFFLINE".into(), "1".into());
    }
    environment.retain(|name, _| !name.starts_with("UV_"));
    let binaries = Binaries::of(&environment);
    let is_on = |text: &str| parse_switch(text) == Some(true);
    let no_index = environment.get("PIP_NO_INDEX").and_then(|value| value.to_str()).is_some_and(is_on);
    let secrets = secrets(&uv, &logins);
    let is_offline = is_offline(context);
    Settings { pip: environment, uv, binaries, no_index, as_of, origins, secrets, is_offline, logins }
}

/// The passwords of logins, of addresses, and of variables whose names say that they hold one.
fn secrets(environment: &Environment, logins: &[Login]) -> Secrets {
    let mut secrets = Secrets::default();
    for login in logins {
        secrets.push(&login.password);
    }
    for (name, value) in environment {
        let Some(value) = value.to_str() else { continue };
        if is_secret(name) {
            secrets.push(value);
        }
        secrets.push_of_addresses(value);
    }
    secrets
}

/// The logins of bindings of type `pypirc`, `netrc`, `pip` and `pypi`.
fn logins(context: &Context) -> Vec<Login> {
    let mut found = Vec::new();
    for binding in ["pypirc", "netrc", "pip", "pypi"].into_iter().flat_map(|kind| context.bindings.of_type(kind)) {
        for name in [".pypirc", "pypirc"] {
            found.extend(binding.text(name).map(|text| of_pypirc(&text)).unwrap_or_default());
        }
        for name in [".netrc", "netrc"] {
            found.extend(binding.text(name).map(|text| of_netrc(&text)).unwrap_or_default());
        }
    }
    found
}

/// `settings.json`: an object of names and strings.
fn parse_json_settings(text: &str) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(map)) = serde_json::from_str(text) else { return Vec::new() };
    map.into_iter()
        .filter(|(name, _)| name.starts_with("PIP_") || name.starts_with("UV_"))
        .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

/// `pip.conf`: the options of `[global]` and `[install]`, as the variables that pip reads for them.
fn parse_pip_conf(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut wanted = false;
    for line in text.lines() {
        let line_trimmed = line.trim();
        if line_trimmed.is_empty() || line_trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line_trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            wanted = matches!(section.trim(), "global" | "install");
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = found.last_mut().filter(|_| wanted) {
                value.push(' ');
                value.push_str(line_trimmed);
            }
        } else if let Some((key, value)) = line_trimmed.split_once(['=', ':']).filter(|_| wanted) {
            let name = format!("PIP_{}", key.trim().to_uppercase().replace('-', "_"));
            found.push((name, value.trim().to_owned()));
        }
    }
    found
}

/// pip's variables in uv's words. Lists that pip separates by spaces are uv's with spaces or commas.
fn translate(environment: &Environment) -> Vec<(String, String)> {
    let get =
        |name: &str| environment.get(name).and_then(|value| value.to_str()).map(str::trim).filter(|v| !v.is_empty());
    let mut result: Vec<(String, String)> = Vec::new();
    // An older name of the same setting of uv's own wins as well.
    let default_index = if get("UV_INDEX_URL").is_some() { "UV_INDEX_URL" } else { "UV_DEFAULT_INDEX" };
    let same = [
        ("PIP_INDEX_URL", default_index),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_CERT", "SSL_CERT_FILE"),
        ("PIP_CLIENT_CERT", "SSL_CLIENT_CERT"),
        ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
        ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"),
        ("PIP_TIMEOUT", "UV_HTTP_TIMEOUT"),
        ("PIP_RETRIES", "UV_HTTP_RETRIES"),
        ("PIP_CONSTRAINT", "UV_CONSTRAINT"),
        ("PIP_KEYRING_PROVIDER", "UV_KEYRING_PROVIDER"),
        ("PIP_PROXY", "ALL_PROXY"),
    ];
    for (pip, uv) in same {
        if let Some(value) = get(pip) {
            result.push((uv.into(), value.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    // Poetry's credentials for a source by its name.
    for (name, value) in environment {
        if let (Some(rest), Some(value)) = (name.strip_prefix("POETRY_HTTP_BASIC_"), value.to_str()) {
            result.push((format!("UV_INDEX_{rest}"), value.to_owned()));
        }
    }
    // Who names more indexes in pip's words means pip's choice among them.
    if get("PIP_EXTRA_INDEX_URL").is_some() && get("UV_INDEX").is_none() && get("UV_EXTRA_INDEX_URL").is_none() {
        result.push((STRATEGY.into(), PIPS_STRATEGY.into()));
    }
    if let Some(links) = get("PIP_FIND_LINKS") {
        result.push(("UV_FIND_LINKS".into(), links.split_whitespace().collect::<Vec<_>>().join(",")));
    }
    let switches = [("PIP_PRE", "UV_PRERELEASE", "allow"), ("PIP_REQUIRE_HASHES", "UV_REQUIRE_HASHES", "1")];
    for (pip, uv, value) in switches {
        if get(pip).and_then(parse_switch) == Some(true) {
            result.push((uv.into(), value.into()));
        }
    }
    result
}

/// A certificate file that does not exist in the build would make every installer trust nobody.
fn drop_missing_certificates(environment: &mut Environment) {
    let names = [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "PIP_CLIENT_CERT",
        "SSL_CLIENT_CERT",
    ];
    for name in names {
        if environment.get(name).is_some_and(|path| !Path::new(path).exists()) {
            environment.remove(name);
        }
    }
}

/// Folders of the host that were not brought into the build are no find-links here.
fn keep_existing_find_links(environment: &mut Environment) {
    for name in ["PIP_FIND_LINKS", "UV_FIND_LINKS"] {
        let Some(value) = environment.remove(name) else { continue };
        let value = value.to_string_lossy().into_owned();
        let kept: Vec<&str> = value
            .split([' ', ',', '\n', '\t'])
            .filter(|link| !link.is_empty())
            .filter(|link| {
                let local = link.strip_prefix("file://").unwrap_or(link);
                local.contains("://") || Path::new(local).exists()
            })
            .collect();
        if !kept.is_empty() {
            let separator = if name.starts_with("PIP") { " " } else { "," };
            environment.insert(name.into(), kept.join(separator).into());
        }
    }
}

impl Settings {
    /// The same for what is locked, where nothing is chosen and so the day of the choice does not matter.
    #[must_use]
    pub(crate) fn without_day(mut self) -> Self {
        self.as_of = None;
        self.uv.remove(NEWEST);
        self
    }

    /// An address of an index of the project, with who asks its host.
    pub(crate) fn with_login(&self, address: &str) -> String {
        add_logins(address, &self.logins)
    }

    /// Writes who asks which host where git and pip look for it: `.netrc` of the home folder that installers are given.
    pub(crate) fn write_netrc(&self, home: &Path) -> std::io::Result<()> {
        let text = netrc(&self.logins);
        if text.is_empty() {
            return Ok(());
        }
        let path = home.join(".netrc");
        fs_err::write(&path, text)?;
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
    }

    /// What of the settings can change which files are installed, one per line, credentials taken out, for the cache key.
    pub(crate) fn fingerprint(&self) -> String {
        let matters = [
            "UV_DEFAULT_INDEX",
            "UV_INDEX",
            "UV_INDEX_URL",
            "UV_EXTRA_INDEX_URL",
            "UV_FIND_LINKS",
            "UV_PRERELEASE",
            "UV_RESOLUTION",
            NEWEST,
            "UV_CONSTRAINT",
            "UV_OVERRIDE",
            STRATEGY,
            "UV_TORCH_BACKEND",
            "UV_NO_BINARY",
            "UV_NO_BINARY_PACKAGE",
            "UV_NO_BUILD",
            "UV_NO_BUILD_PACKAGE",
            "UV_REQUIRE_HASHES",
            "SETUPTOOLS_SCM_PRETEND_VERSION",
            "UV_DYNAMIC_VERSIONING_BYPASS",
            "PDM_BUILD_SCM_VERSION",
            "PBR_VERSION",
        ];
        let line = |name: &&str| {
            let value = self.uv.get(*name)?;
            Some(format!("{name}={}", mask_credentials(&value.to_string_lossy())))
        };
        let mut lines: Vec<String> = matters.iter().filter_map(line).chain(self.binaries.fingerprint()).collect();
        lines.extend(self.no_index.then(|| "PIP_NO_INDEX=1".to_owned()));
        lines.join("\n")
    }

    /// Files that the settings name and whose content decides what is chosen; relative ones lie in the app.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let lists = ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT"];
        let values = lists.iter().filter_map(|name| self.uv.get(*name)?.to_str());
        values.flat_map(str::split_whitespace).map(PathBuf::from).collect()
    }

    /// Folders that the settings have looked into for packages; relative ones lie in the app.
    pub(crate) fn link_folders(&self) -> Vec<PathBuf> {
        let value = self.uv.get("UV_FIND_LINKS").map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let local = |link: &str| {
            let path = link.strip_prefix("file://").unwrap_or(link);
            (!path.is_empty() && !path.contains("://")).then(|| PathBuf::from(path))
        };
        value.split([',', ' ']).filter_map(local).collect()
    }

    /// The setting that has something built from source, whatever the requirements are.
    pub(crate) fn source_build(&self) -> Option<String> {
        let own = ["UV_NO_BINARY", "UV_NO_BINARY_PACKAGE"].into_iter().find(|name| self.uv.contains_key(*name));
        self.binaries.source_build().or_else(|| own.map(|name| format!("{name} is set")))
    }
}

/// An address without who asks for it.
pub(crate) fn without_login(url: &str) -> String {
    mask_credentials(url).replace("://***@", "://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bindings;

    #[test]
    fn pip_settings_become_uv_settings() {
        let conf = "# c\n[global]\nindex-url = https://i/simple\nextra-index-url = https://a\n    https://b\ntrusted-host: h\n[list]\nformat=json\n[install]\nno-index = true\npre = yes\nclient-cert = /c.pem\n";
        let mut environment: Environment = parse_pip_conf(conf).into_iter().map(|(k, v)| (k, v.into())).collect();
        environment.insert("POETRY_HTTP_BASIC_OWN_PASSWORD".into(), "p".into());
        let mut got = translate(&environment);
        got.sort();
        let wanted = [
            ("SSL_CLIENT_CERT", "/c.pem"),
            ("UV_DEFAULT_INDEX", "https://i/simple"),
            ("UV_INDEX", "https://a https://b"),
            ("UV_INDEX_OWN_PASSWORD", "p"),
            ("UV_INDEX_STRATEGY", "unsafe-best-match"),
            ("UV_INSECURE_HOST", "h"),
            ("UV_PRERELEASE", "allow"),
        ];
        assert_eq!(got, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn the_choice_among_indexes_is_pips_where_pip_was_told_of_them_and_nobody_said_another() {
        let strategy = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
            let settings = settings(&context(environment, Bindings::default()));
            settings.uv.get(STRATEGY).map(|value| value.to_string_lossy().into_owned())
        };
        let extra = ("PIP_EXTRA_INDEX_URL", "https://e/simple");
        assert_eq!(strategy(&[extra]).as_deref(), Some("unsafe-best-match"));
        assert_eq!(strategy(&[extra, (STRATEGY, "first-index")]).as_deref(), Some("first-index"));
        assert_eq!(strategy(&[extra, ("UV_INDEX", "https://u/simple")]), None);
        assert_eq!(strategy(&[("PIP_INDEX_URL", "https://i/simple")]), None);
    }

    #[test]
    fn hostile_variables_do_not_reach_the_installer() {
        let mut environment = Environment::new();
        for name in [
            "PIP_TARGET",
            "UV_PYTHON",
            "PYTHONPATH",
            "VIRTUAL_ENV",
            "LD_PRELOAD",
            "UV_CACHE_DIR",
            "PYTHONHOME",
            "LD_LIBRARY_PATH",
        ] {
            environment.insert(name.into(), "/evil".into());
        }
        environment.insert("MY_TOKEN".into(), "kept".into());
        environment.insert(SOURCE_BUILDS_VARIABLE.into(), "deny".into());
        environment.insert("SSL_CERT_FILE".into(), "/does/not/exist".into());
        environment.insert("PIP_FIND_LINKS".into(), "/does/not/exist https://links/".into());
        let settings = settings(&context(environment, Bindings::default()));
        let names: Vec<&str> = settings.uv.keys().map(String::as_str).collect();
        assert_eq!(names, [SOURCE_BUILDS_VARIABLE, "LANG", "MY_TOKEN", "UV_FIND_LINKS"]);
        assert_eq!(settings.uv["UV_FIND_LINKS"], "https://links/");
        assert!(!settings.pip.contains_key("PIP_TARGET"));
    }

    #[test]
    fn a_clients_certificate_comes_with_the_binding() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("type", "pip"),
            ("client.pem", "KEY"),
            (
                "settings.json",
                r#"{"PIP_CLIENT_CERT": "/home/me/client.pem", "PIP_NO_BINARY": "lxml", "PIP_NO_INDEX": "true"}"#,
            ),
        ] {
            fs_err::create_dir_all(dir.path().join("pip")).unwrap();
            fs_err::write(dir.path().join("pip").join(name), text).unwrap();
        }
        let settings = settings(&context(Environment::new(), Bindings::read(dir.path())));
        let path = dir.path().join("pip/client.pem");
        assert_eq!(settings.uv["SSL_CLIENT_CERT"], path);
        assert_eq!(settings.pip["PIP_CLIENT_CERT"], path);
        assert_eq!(settings.source_build().as_deref(), Some("PIP_NO_BINARY is lxml"));
        assert!(settings.fingerprint().ends_with("PIP_NO_BINARY=lxml\nPIP_NO_INDEX=1"), "{}", settings.fingerprint());
        assert!(settings.no_index);
    }

    #[test]
    fn files_that_settings_name_are_known() {
        let environment = Environment::from([("PIP_CONSTRAINT".into(), "limits.txt /etc/more.txt".into())]);
        let settings = settings(&context(environment, Bindings::default()));
        assert_eq!(settings.files(), [PathBuf::from("limits.txt"), PathBuf::from("/etc/more.txt")]);
    }

    fn context(environment: Environment, bindings: Bindings) -> Context {
        let root = || PathBuf::from("/");
        Context {
            buildpack_dir: root(),
            app_dir: root(),
            platform_dir: root(),
            root_dir: root(),
            environment,
            bindings,
        }
    }
}
