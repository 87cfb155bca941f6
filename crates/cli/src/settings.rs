//! Settings of hoist and where they come from: flag, then `HOIST_*` variable, then the configuration file, then the machine.
//!
//! This is the module of the binary that reads the environment.

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use file::ConfigFile;

/// A setting that `hoist config` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Where layers, images and caches are kept.
    Store,
    /// The Debian mirror that bases and interpreters are made from.
    Mirror,
    /// The mirror of Debian's security updates.
    SecurityMirror,
    /// The Debian suite of the base.
    Suite,
    /// The keyring that indexes are verified with.
    Keyring,
    /// The network of builds.
    BuildNetwork,
    /// The network of running images and jobs.
    RunNetwork,
    /// The builder of builds that name none.
    DefaultBuilder,
    /// When images are fetched before a build.
    PullPolicy,
    /// Registries whose certificates are not checked.
    InsecureRegistries,
}

impl Key {
    /// All of them, in the order in which they are listed.
    pub(crate) const ALL: [Self; 10] = [
        Self::Store,
        Self::Mirror,
        Self::SecurityMirror,
        Self::Suite,
        Self::Keyring,
        Self::BuildNetwork,
        Self::RunNetwork,
        Self::DefaultBuilder,
        Self::PullPolicy,
        Self::InsecureRegistries,
    ];

    /// As written in the file and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Mirror => "mirror",
            Self::SecurityMirror => "security-mirror",
            Self::Suite => "suite",
            Self::Keyring => "keyring",
            Self::BuildNetwork => "build-network",
            Self::RunNetwork => "run-network",
            Self::DefaultBuilder => "default-builder",
            Self::PullPolicy => "pull-policy",
            Self::InsecureRegistries => "insecure-registries",
        }
    }

    /// What it means, in a line.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Store => "folder of layers, images and caches",
            Self::Mirror => "Debian mirror to make bases from; otherwise the one of this machine's apt sources",
            Self::SecurityMirror => {
                "mirror of Debian's security updates; otherwise the one of this machine's apt sources"
            }
            Self::Suite => "Debian suite of the base (default trixie)",
            Self::Keyring => {
                "keyring to verify Debian's indexes with; otherwise the host's, otherwise the one shipped with hoist"
            }
            Self::BuildNetwork => "network of builds: host (default) or none",
            Self::RunNetwork => {
                "network of runs and jobs: private, host or none (default: private where pasta is installed, else host)"
            }
            Self::DefaultBuilder => "builder of builds that name none (default: hoist's own)",
            Self::PullPolicy => {
                "when builders, run images and buildpacks are fetched from their registries: always, if-not-present (default) or never"
            }
            Self::InsecureRegistries => {
                "registries (HOST or HOST:PORT, commas between) whose certificate is not checked and that may speak without TLS"
            }
        }
    }

    fn variable(self) -> String {
        format!("HOIST_{}", self.name().replace('-', "_").to_uppercase())
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// Why a setting could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// The file exists and cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {path} is not valid: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
    },
    /// The key is none.
    #[error("there is no setting {name:?}; the settings are {}", known_names())]
    UnknownKey {
        /// As typed.
        name: String,
    },
    /// The value does not fit the key.
    #[error("{key} cannot be {value:?}: {reason}")]
    BadValue {
        /// The setting.
        key: &'static str,
        /// As typed.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The file cannot be written.
    #[error("cannot write the configuration file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Neither `HOME` nor a setting says where to keep things.
    #[error("cannot tell where to keep images: neither HOME nor HOIST_STORE is set")]
    NoHome,
}

impl SettingsError {
    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Read { .. } | Self::Parse { .. } => "mend or remove the file, then: hoist config list".into(),
            Self::UnknownKey { .. } | Self::BadValue { .. } => "see what each one means: hoist config list".into(),
            Self::Write { path, .. } => format!("make {} writable, or name another: HOIST_CONFIG=FILE", path.display()),
            Self::NoHome => "name a folder: hoist --store DIR …".into(),
        }
    }
}

fn known_names() -> String {
    Key::ALL.map(Key::name).join(", ")
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of this command.
    Flag,
    /// A `HOIST_*` variable.
    Variable,
    /// The configuration file.
    File,
    /// Hoist's own choice.
    Default,
}

impl Origin {
    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Variable => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// The settings that are in force for this command.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<Key, (String, Origin)>,
    run_image_mirrors: BTreeMap<String, Vec<String>>,
    registry_mirrors: BTreeMap<String, Vec<String>>,
    config_path: Option<PathBuf>,
}

impl Settings {
    /// Reads the file and the variables of this machine; `flags` are those of the command, which win.
    #[allow(clippy::disallowed_methods)] // the module that owns the environment
    pub(crate) fn load(flags: &[(Key, Option<String>)]) -> Result<Self, SettingsError> {
        let mut settings = Self::from_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        for (key, value) in flags {
            if let Some(value) = value {
                settings.values.insert(*key, (checked(*key, value)?, Origin::Flag));
            }
        }
        Ok(settings)
    }

    fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let config_path = config_path(variable);
        let mut values = BTreeMap::new();
        let (mut run_image_mirrors, mut registry_mirrors) = (BTreeMap::new(), BTreeMap::new());
        if let Some(path) = &config_path {
            let file = ConfigFile::read(path)?;
            (run_image_mirrors, registry_mirrors) = (file.run_image_mirrors, file.registry_mirrors);
            for (name, value) in file.values {
                let key = Key::parse(&name).ok_or_else(|| SettingsError::Parse {
                    path: path.clone(),
                    reason: format!("there is no setting {name:?}; the settings are {}", known_names()),
                })?;
                values.insert(key, (checked(key, &value)?, Origin::File));
            }
        }
        for key in Key::ALL {
            if let Some(value) = variable(&key.variable()) {
                values.insert(key, (checked(key, &value)?, Origin::Variable));
            }
        }
        if !values.contains_key(&Key::Store) {
            let place = default_store(variable).ok_or(SettingsError::NoHome)?;
            return Ok(Self { values, run_image_mirrors, registry_mirrors, config_path }.with_default_store(&place));
        }
        Ok(Self { values, run_image_mirrors, registry_mirrors, config_path })
    }

    fn with_default_store(mut self, place: &Path) -> Self {
        self.values.insert(Key::Store, (place.display().to_string(), Origin::Default));
        self
    }

    /// The value of a setting.
    pub(crate) fn get(&self, key: Key) -> Option<&str> {
        self.values.get(&key).map(|(value, _)| value.as_str())
    }

    /// The value and where it came from.
    pub(crate) fn get_with_origin(&self, key: Key) -> Option<(&str, Origin)> {
        self.values.get(&key).map(|(value, origin)| (value.as_str(), *origin))
    }

    /// The folder of the store.
    pub(crate) fn store_dir(&self) -> PathBuf {
        self.get(Key::Store).map_or_else(|| PathBuf::from("hoist-store"), PathBuf::from)
    }

    /// Further names of run images, by their names; the file alone has them.
    pub(crate) fn run_image_mirrors(&self) -> &BTreeMap<String, Vec<String>> {
        &self.run_image_mirrors
    }

    /// Where images are looked for before their own registry, by the registry; the file alone has them.
    pub(crate) fn registry_mirrors(&self) -> &BTreeMap<String, Vec<String>> {
        &self.registry_mirrors
    }

    /// The configuration file, whether or not it exists.
    pub(crate) fn config_path(&self) -> Option<&Path> {
        self.config_path.as_deref()
    }
}

/// Writes (`Some`) or removes (`None`) a setting in the file, keeping the others; the file is replaced as a whole.
pub(crate) fn write_setting(path: &Path, name: &str, value: Option<&str>) -> Result<(), SettingsError> {
    let key = Key::parse(name).ok_or_else(|| SettingsError::UnknownKey { name: name.to_owned() })?;
    let mut file = ConfigFile::read(path)?;
    match value {
        Some(value) => _ = file.values.insert(name.to_owned(), checked(key, value)?),
        None => _ = file.values.remove(name),
    }
    file.write(path)
}

/// Writes the mirrors of a run image into the file, keeping everything else; without any the run image goes.
pub(crate) fn write_run_image_mirrors(path: &Path, run_image: &str, mirrors: Vec<String>) -> Result<(), SettingsError> {
    let mut file = ConfigFile::read(path)?;
    if mirrors.is_empty() {
        file.run_image_mirrors.remove(run_image);
    } else {
        file.run_image_mirrors.insert(run_image.to_owned(), mirrors);
    }
    file.write(path)
}

/// Writes the mirrors of a registry into the file, keeping everything else; without any the registry goes.
pub(crate) fn write_registry_mirrors(path: &Path, registry: &str, mirrors: Vec<String>) -> Result<(), SettingsError> {
    let mut file = ConfigFile::read(path)?;
    if mirrors.is_empty() {
        file.registry_mirrors.remove(registry);
    } else {
        file.registry_mirrors.insert(registry.to_owned(), mirrors);
    }
    file.write(path)
}

fn checked(key: Key, value: &str) -> Result<String, SettingsError> {
    let bad = |reason| Err(SettingsError::BadValue { key: key.name(), value: value.to_owned(), reason });
    match key {
        Key::Mirror | Key::SecurityMirror
            if !["http://", "https://", "file:///"].iter().any(|scheme| value.starts_with(scheme)) =>
        {
            bad("a mirror is an address that begins with http://, https:// or file:///")
        }
        Key::Suite if value.is_empty() || !value.chars().all(|c| c.is_ascii_alphanumeric() || "-./".contains(c)) => {
            bad("a suite is a name such as trixie")
        }
        Key::BuildNetwork if !["host", "none"].contains(&value) => bad("it is host or none"),
        Key::RunNetwork if !["host", "none", "private"].contains(&value) => bad("it is private, host or none"),
        Key::PullPolicy if !["always", "if-not-present", "never"].contains(&value) => {
            bad("it is always, if-not-present or never")
        }
        Key::InsecureRegistries if !value.split(',').all(|host| is_registry(host.trim())) => {
            bad("it is HOST or HOST:PORT, with commas between several")
        }
        Key::DefaultBuilder if value.parse::<hoist_image::Reference>().is_err() => {
            bad("a builder is the name of an image, such as acme/builder:1")
        }
        _ => Ok(value.to_owned()),
    }
}

/// `HOST` or `HOST:PORT`.
pub(crate) fn is_registry(text: &str) -> bool {
    !text.contains('/') && format!("{text}/x").parse::<hoist_image::Reference>().is_ok()
}

fn config_path(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if let Some(path) = variable("HOIST_CONFIG") {
        return Some(PathBuf::from(path));
    }
    let dir = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".config")))?;
    Some(dir.join("hoist/config.toml"))
}

/// `/var/lib/hoist` for root, `$XDG_DATA_HOME/hoist` for anyone else.
fn default_store(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/hoist"));
    }
    let data_dir = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".local/share")))?;
    Some(data_dir.join("hoist"))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_variable_wins_over_the_file_and_the_file_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hoist/config.toml");
        write_setting(&path, "suite", Some("bookworm")).unwrap();
        write_setting(&path, "mirror", Some("http://mirror.invalid/debian")).unwrap();
        let environment = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some(dir.path().display().to_string()),
            "HOIST_SUITE" => Some("forky".to_owned()),
            "HOME" => Some("/nowhere".to_owned()),
            _ => None,
        };
        let settings = Settings::from_environment(&environment).unwrap();
        assert_eq!(settings.get_with_origin(Key::Suite), Some(("forky", Origin::Variable)));
        assert_eq!(settings.get(Key::Mirror), Some("http://mirror.invalid/debian"));
        write_run_image_mirrors(&path, "acme/run", vec!["a/run".into(), "b/run".into()]).unwrap();
        write_setting(&path, "mirror", None).unwrap();
        let mirrors = Settings::from_environment(&environment).unwrap().run_image_mirrors;
        assert_eq!(mirrors["acme/run"], ["a/run", "b/run"]);
        write_run_image_mirrors(&path, "acme/run", Vec::new()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "suite = \"bookworm\"\n");
        assert_eq!(Settings::from_environment(&environment).unwrap().get(Key::Mirror), None);
    }

    #[test]
    fn what_is_not_a_setting_is_named_with_those_that_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let error = write_setting(&path, "miror", Some("x")).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no setting \"miror\"; the settings are store, mirror, security-mirror, suite, keyring, build-network, run-network, default-builder, pull-policy, insecure-registries"
        );
        let error = write_setting(&path, "run-network", Some("bridge")).unwrap_err().to_string();
        assert_eq!(error, "run-network cannot be \"bridge\": it is private, host or none");
        assert!(!path.exists(), "nothing was written");
        fs::write(&path, "run-image-mirrors = 1\n").unwrap();
        let error = write_setting(&path, "suite", Some("trixie")).unwrap_err().to_string();
        assert!(error.ends_with("run-image-mirrors is not a table with a list of names for each run image"), "{error}");
        fs::write(&path, "suite = 13\n").unwrap();
        let error = write_setting(&path, "suite", Some("trixie")).unwrap_err().to_string();
        assert!(error.ends_with("suite is a integer, but every setting is a text in quotes"), "{error}");
    }
}
