//! An inline buildpack: a script in the project descriptor that takes the place of `bin/build`.

use serde::Deserialize;

use super::DOCUMENT;
use crate::api::ApiVersion;
use crate::buildpack_toml::{BuildpackDescriptor, BuildpackInfo, Stack, check_identity};
use crate::error::DocumentError;

const DEFAULT_SHELL: &str = "/bin/sh";
const DEFAULT_VERSION: &str = "0.0.0";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawScript {
    api: String,
    inline: String,
    shell: String,
}

/// A buildpack that is a script in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineScript {
    /// Its id.
    pub id: String,
    /// Its version; 0.0.0 where none is given.
    pub version: String,
    /// The Buildpack API that it speaks.
    pub api: ApiVersion,
    /// The program that runs it, with an argument of its own where it has one.
    pub shell: String,
    /// The script.
    pub inline: String,
}

impl RawScript {
    pub(super) fn check(self, line: usize, id: String, version: String) -> Result<InlineScript, DocumentError> {
        let place = |key: &str| format!("line {line}, script{key}");
        let wrong = |key: &str, message: &str, fix: &str| DocumentError::invalid(DOCUMENT, place(key), message, fix);
        if id.is_empty() {
            return Err(wrong("", "a script needs the id of the buildpack that it is", "add id = \"my/script\""));
        }
        if self.inline.is_empty() {
            let fix = "add inline = \"\"\"…\"\"\", the script that builds";
            return Err(wrong(".inline", "there is no script in it", fix));
        }
        if self.api.is_empty() {
            let fix = format!("add api = \"{}\"", ApiVersion::NEWEST_BUILDPACK);
            return Err(wrong(".api", "it does not say which Buildpack API it speaks", &fix));
        }
        let api = self.api.parse().and_then(ApiVersion::require_buildpack);
        let api: ApiVersion = api.map_err(|error| wrong(".api", &error.to_string(), &error.hint()))?;
        let shell = if self.shell.is_empty() { DEFAULT_SHELL.to_owned() } else { self.shell };
        if !shell.starts_with('/') || shell.contains(['\n', '\r', '\0']) {
            let message = format!("`{shell}` is no program of the builder");
            return Err(wrong(".shell", &message, "write its absolute path, for example /bin/bash"));
        }
        let version = if version.is_empty() { DEFAULT_VERSION.to_owned() } else { version };
        let script = InlineScript { id, version, api, shell, inline: self.inline };
        check_identity(DOCUMENT, &place(""), api, &script.info())?;
        Ok(script)
    }
}

impl InlineScript {
    fn info(&self) -> BuildpackInfo {
        BuildpackInfo { id: self.id.clone(), version: self.version.clone(), ..BuildpackInfo::default() }
    }

    /// `buildpack.toml` of the buildpack that it stands for, which is for every system.
    pub fn buildpack_toml(&self) -> Result<String, DocumentError> {
        let stacks = vec![Stack { id: "*".to_owned(), mixins: Vec::new() }];
        BuildpackDescriptor {
            api: self.api,
            buildpack: self.info(),
            stacks,
            targets: Vec::new(),
            order: Vec::new(),
            metadata: toml::Table::new(),
        }
        .write()
    }

    /// `bin/detect` and `bin/build`: it always applies.
    pub fn programs(&self) -> [(&'static str, String); 2] {
        [
            ("bin/detect", format!("#!{}\n\nexit 0\n", self.shell)),
            ("bin/build", format!("#!{}\n\n{}\n", self.shell, self.inline)),
        ]
    }
}
