//! Environment variables as the specification modifies them: files named `<variable>[.<operation>]`, and the path variables that
//! follow from the folders of a layer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Folders of a build layer and the variables they are put in front of.
pub const BUILD_PATHS: &[(&str, &[&str])] = &[
    ("bin", &["PATH"]),
    ("lib", &["LD_LIBRARY_PATH", "LIBRARY_PATH"]),
    ("include", &["CPATH"]),
    ("pkgconfig", &["PKG_CONFIG_PATH"]),
];

/// Folders of a launch layer and the variables they are put in front of.
pub const LAUNCH_PATHS: &[(&str, &[&str])] = &[("bin", &["PATH"]), ("lib", &["LD_LIBRARY_PATH"])];

/// Variables of the lifecycle's own environment that buildpacks see, beside the path variables.
pub const BUILD_PASSED: &[&str] = &[
    "CNB_STACK_ID",
    "HOSTNAME",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Variables that the launcher takes out of the app's environment.
pub const LAUNCH_REMOVED: &[&str] =
    &["CNB_LAYERS_DIR", "CNB_APP_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE"];

/// The variables by which programs are told whom to trust: OpenSSL's first, then those of programs that look elsewhere (requests, curl, pip, the SDK of AWS,
/// gRPC, git, Node). No part of the specification: launcher and buildpacks say the same by them.
pub const CERTIFICATE_VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
];

/// What a file in an environment directory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `.append`: behind what is there.
    Append,
    /// `.prepend`: in front of what is there.
    Prepend,
    /// `.default`: only where nothing is there.
    Default,
    /// `.override`, and a file without a suffix.
    Override,
}

/// One change of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modification {
    /// The variable.
    pub name: OsString,
    /// What to do.
    pub operation: Operation,
    /// The file's content, as it is.
    pub value: OsString,
    /// What stands between two values; empty unless there is a `.delim` file.
    pub delimiter: OsString,
}

/// The files of one environment directory, by name. A file with an unknown suffix says nothing; one without a suffix does what
/// `unsuffixed` says (override in layers, default in `/cnb/build-config/env`).
pub fn parse_environment_dir(files: &BTreeMap<OsString, Vec<u8>>, unsuffixed: Operation) -> Vec<Modification> {
    let mut modifications = Vec::new();
    for (file, value) in files {
        let bytes = file.as_bytes();
        let point = bytes.iter().position(|byte| *byte == b'.');
        let (name, suffix) = point.map_or((bytes, None), |at| (&bytes[..at], Some(&bytes[at + 1..])));
        let operation = match suffix {
            None => unsuffixed,
            Some(b"append") => Operation::Append,
            Some(b"prepend") => Operation::Prepend,
            Some(b"default") => Operation::Default,
            Some(b"override") => Operation::Override,
            Some(_) => continue,
        };
        let mut delimiter_file = OsString::from_vec(name.to_vec());
        delimiter_file.push(".delim");
        let delimiter = files.get(&delimiter_file).cloned().unwrap_or_default();
        // No variable can be called so, or hold that.
        if name.is_empty() || name.contains(&b'=') || value.contains(&0) || delimiter.contains(&0) {
            continue;
        }
        modifications.push(Modification {
            name: OsString::from_vec(name.to_vec()),
            operation,
            value: OsString::from_vec(value.clone()),
            delimiter: OsString::from_vec(delimiter),
        });
    }
    modifications
}

/// A set of environment variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// No variable.
    pub fn new() -> Self {
        Self::default()
    }

    /// These variables; of several with one name the last counts.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Its value.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Sets it.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes it away.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.0.remove(name.as_ref());
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// All variables, by name.
    pub fn into_variables(self) -> Vec<(OsString, OsString)> {
        self.0.into_iter().collect()
    }

    /// Puts a value in front of what is there.
    pub fn prepend(&mut self, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let mut new = value.to_owned();
        if let Some(old) = self.0.get(name).filter(|old| !old.is_empty()) {
            new.push(delimiter);
            new.push(old);
        }
        self.0.insert(name.to_owned(), new);
    }

    /// Does what a file of an environment directory says.
    pub fn apply(&mut self, modification: &Modification) {
        let Modification { name, operation, value, delimiter } = modification;
        let old = self.0.get(name).filter(|old| !old.is_empty()).cloned();
        match (operation, old) {
            (Operation::Override, _) | (Operation::Default | Operation::Append, None) => {
                self.0.insert(name.clone(), value.clone());
            }
            (Operation::Default, Some(_)) => {}
            (Operation::Append, Some(mut new)) => {
                new.push(delimiter);
                new.push(value);
                self.0.insert(name.clone(), new);
            }
            (Operation::Prepend, _) => self.prepend(name, value, delimiter),
        }
    }

    /// Puts a layer's folders in front of the path variables. `exists` tells which of `bin`, `lib`, … the layer has; `paths` is
    /// [`BUILD_PATHS`] or [`LAUNCH_PATHS`].
    pub fn add_layer_paths(&mut self, layer_dir: &Path, paths: &[(&str, &[&str])], exists: &dyn Fn(&str) -> bool) {
        for (folder, variables) in paths {
            if exists(folder) {
                for variable in *variables {
                    self.prepend(OsStr::new(variable), layer_dir.join(folder).as_os_str(), OsStr::new(":"));
                }
            }
        }
    }

    /// Sets a variable of `/platform/env`: put in front of path variables, in place of others.
    pub fn set_from_platform(&mut self, name: &OsStr, value: &OsStr) {
        let is_path = BUILD_PATHS.iter().any(|(_, variables)| variables.iter().any(|variable| name == *variable));
        if is_path {
            self.prepend(name, value, OsStr::new(":"));
        } else {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }
}
