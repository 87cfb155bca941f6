//! What a phase of a buildpack gets: the CNB specification's directories, variables and bindings (buildpack.md, "Detection" and "Build").

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::binding::Bindings;
use crate::failure::Failure;
use crate::layer::{Layer, LayerTypes};
use crate::output::Output;

/// Names the folder that the builds of a machine share.
pub(crate) const CACHE_VARIABLE: &str = "HOIST_CACHE_DIR";

/// Names conda's part of that folder where it can only be read.
pub(crate) const CONDA_CACHE_VARIABLE: &str = "HOIST_CONDA_CACHE";
/// Names the folder with uv where that can only be read.
pub(crate) const UV_BIN_VARIABLE: &str = "HOIST_UV_BIN";
/// Names the image that a build takes place in, where that cache is seen: what is kept of what ran in it counts for it alone.
pub(crate) const BUILD_IMAGE_VARIABLE: &str = "HOIST_BUILD_IMAGE";

/// Environment variables. Names that are not Unicode are dropped at the door.
pub type Environment = BTreeMap<String, OsString>;

/// What both phases know.
#[derive(Debug, Clone)]
pub struct Context {
    /// The buildpack's own folder, with its `buildpack.toml`.
    pub buildpack_dir: PathBuf,
    /// The app (`/workspace`).
    pub app_dir: PathBuf,
    /// The platform folder (`/platform`), with `env/` and `bindings/`.
    pub platform_dir: PathBuf,
    /// The root of the build image: `/`, or another folder in tests.
    pub root_dir: PathBuf,
    /// The process environment, with the platform's `env/` laid over it.
    pub environment: Environment,
    /// The service bindings.
    pub bindings: Bindings,
}

/// What detect gets.
pub struct DetectContext<'a> {
    /// Folders, variables, bindings.
    pub common: &'a Context,
    /// Where lines for people go.
    pub output: &'a Output,
}

/// What build gets and leaves behind.
pub struct BuildContext<'a> {
    /// Folders, variables, bindings.
    pub common: &'a Context,
    /// Where lines for people go.
    pub output: &'a Output,
    /// The buildpack's layers folder (`/layers/hoist_pip`).
    pub layers_dir: PathBuf,
    /// The entries of the build plan that this buildpack is to fulfil: name and metadata.
    pub plan: Vec<(String, toml::Table)>,
    pub(crate) processes: Vec<LaunchProcess>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) unmet: Vec<String>,
}

/// A process of `launch.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchProcess {
    /// Its type, for example `web`.
    pub kind: String,
    /// The program and the arguments that can't be replaced.
    pub command: Vec<String>,
    /// Arguments that a user may replace.
    pub args: Vec<String>,
    /// Whether it is what the image runs by default.
    pub default: bool,
    /// Where it runs, when not in the app.
    pub working_dir: Option<String>,
}

/// What people, pip and Paketo's buildpacks write for on and off, in whatever case.
pub(crate) fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Some(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

impl Context {
    /// A variable as text, when it is set, not empty, and Unicode.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).and_then(|value| value.to_str()).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The same of what the user gave this build, not of what the builder has for every build.
    pub fn variable_of_this_build(&self, name: &str) -> Option<String> {
        let text = fs_err::read_to_string(self.platform_dir.join("env").join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A setting that is on or off; none where it is not set. What is neither is refused.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, Failure> {
        let Some(text) = self.variable(name) else { return Ok(None) };
        parse_switch(text).map(Some).ok_or_else(|| {
            Failure::new(
                "reading the settings of the build",
                format!("{name}={text}"),
                "it is neither true nor false",
                format!("set {name}=true or {name}=false, or do not set it"),
            )
        })
    }

    /// Whether hoist builds, and not another platform with hoist's buildpacks: it tells its own whether strangers' code may run.
    pub(crate) fn is_built_by_hoist(&self) -> bool {
        self.variable("HOIST_SOURCE_BUILDS").is_some()
    }

    /// The folder `name` of the cache that builds share (`HOIST_CACHE_DIR`), or else of this build's own.
    pub(crate) fn cache_dir(&self, own: &Path, name: &str) -> PathBuf {
        self.variable(CACHE_VARIABLE).map_or_else(|| own.to_owned(), PathBuf::from).join(name)
    }

    /// A file of the app, when it is there as a regular file inside of the app (links are followed as long as they stay inside).
    pub fn app_file(&self, relative: impl AsRef<Path>) -> Option<PathBuf> {
        let root = fs_err::canonicalize(&self.app_dir).ok()?;
        let path = fs_err::canonicalize(root.join(relative)).ok()?;
        (path.starts_with(&root) && path.is_file()).then_some(path)
    }
}

impl BuildContext<'_> {
    /// A layer of this buildpack, as it was restored or new.
    pub fn layer(&self, name: &str) -> Layer {
        Layer::at(&self.layers_dir, name)
    }

    /// Adds a process to the image.
    pub fn add_process(&mut self, process: LaunchProcess) {
        self.processes.push(process);
    }

    /// Adds a label to the image.
    pub fn add_label(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.labels.push((key.into(), value.into()));
    }

    /// The folder `name` of the cache that builds share, or else a layer of this image's own that only later builds see.
    pub(crate) fn download_cache(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = if let Some(shared) = self.common.variable(CACHE_VARIABLE) {
            PathBuf::from(shared).join(name)
        } else {
            let layer = self.layer("cache");
            layer.create()?;
            self.keep_download_cache()?;
            layer.dir().to_owned()
        };
        fs_err::create_dir_all(&dir).map_err(|error| Failure::io("using the cache of packages", &error))?;
        Ok(dir)
    }

    /// Keeps that layer: a restored one stays only when its types are written again.
    pub(crate) fn keep_download_cache(&self) -> Result<(), Failure> {
        let layer = self.layer("cache");
        if layer.has_content() {
            layer.write(LayerTypes { build: false, launch: false, cache: true }, &toml::Table::new())?;
        }
        Ok(())
    }

    /// Leaves a plan entry to later buildpacks.
    pub fn leave_unmet(&mut self, name: impl Into<String>) {
        self.unmet.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_turn_every_setting_on_and_off() {
        let context = |text: &str| Context {
            buildpack_dir: "/".into(),
            app_dir: "/".into(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: Environment::from([("SETTING".to_owned(), text.into())]),
            bindings: Bindings::default(),
        };
        for text in ["1", "true", "Yes", " ON ", "y", "T"] {
            assert_eq!(context(text).switch("SETTING").unwrap(), Some(true), "{text}");
        }
        for text in ["0", "False", "no", "off", "N", "f"] {
            assert_eq!(context(text).switch("SETTING").unwrap(), Some(false), "{text}");
        }
        assert_eq!(context(" ").switch("SETTING").unwrap(), None);
        assert_eq!(
            context("maybe").switch("SETTING").unwrap_err().to_string(),
            "Error while reading the settings of the build\n  seen  SETTING=maybe\n  why   it is neither true nor false\n  do    set SETTING=true or SETTING=false, or do not set it\n"
        );
    }
}
