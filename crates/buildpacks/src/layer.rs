//! A layer folder and its `<layer>.toml` (CNB specification, buildpack.md, "Layer Types" and "Environment").

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// A layer of the running buildpack.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: String,
    dir: PathBuf,
    toml_path: PathBuf,
}

/// Who sees the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LayerTypes {
    /// Later buildpacks.
    pub build: bool,
    /// The app image.
    pub launch: bool,
    /// The next build of this image.
    pub cache: bool,
}

/// When a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentScope {
    /// `env/`: while building and at launch.
    All,
    /// `env.build/`.
    Build,
    /// `env.launch/`.
    Launch,
}

/// How a variable is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentChange {
    /// Set, whatever it was.
    Override,
    /// Set when not set already.
    Default,
    /// Put before what is there, with a separator.
    Prepend(&'static str),
    /// Put after what is there, with a separator.
    Append(&'static str),
}

/// Formats of software bills of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SbomFormat {
    /// CycloneDX JSON.
    CycloneDx,
    /// SPDX JSON.
    Spdx,
}

#[derive(Serialize)]
struct Document<'a, M> {
    types: LayerTypes,
    metadata: &'a M,
}

impl Layer {
    pub(crate) fn at(layers_dir: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), dir: layers_dir.join(name), toml_path: layers_dir.join(format!("{name}.toml")) }
    }

    /// The layer's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the layer's content was restored (or made before).
    pub fn has_content(&self) -> bool {
        self.dir.is_dir()
    }

    /// The metadata of the last build, when there is any of the wanted shape.
    pub fn metadata<M: DeserializeOwned>(&self) -> Option<M> {
        let text = fs::read_to_string(&self.toml_path).ok()?;
        let mut document: toml::Table = text.parse().ok()?;
        document.remove("metadata")?.try_into().ok()
    }

    /// Removes content and metadata, so that the layer is made anew.
    pub fn clear(&self) -> Result<(), Failure> {
        self.remove().map_err(|error| Failure::io(format!("clearing the layer `{}`", self.name), &error))
    }

    fn remove(&self) -> std::io::Result<()> {
        if self.dir.is_dir() {
            fs::remove_dir_all(&self.dir)?;
        }
        if self.toml_path.is_file() {
            fs::remove_file(&self.toml_path)?;
        }
        Ok(())
    }

    /// Makes the folder if it is not there.
    pub fn create(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.dir).map_err(|error| Failure::io(format!("making the layer `{}`", self.name), &error))
    }

    /// Writes `<layer>.toml`.
    pub fn write(&self, types: LayerTypes, metadata: &impl Serialize) -> Result<(), Failure> {
        let doing = || format!("writing the metadata of the layer `{}`", self.name);
        let text = toml::to_string(&Document { types, metadata }).map_err(|error| Failure::io(doing(), &error))?;
        write_if_changed(&self.toml_path, text.as_bytes()).map_err(|error| Failure::io(doing(), &error))
    }

    /// Leaves the reason why the layer is made anew where hoist's lifecycle looks for it (`build --explain`). A reason that cannot be written is
    /// lost; it never fails a build.
    pub fn explain(&self, reasons: &[String]) {
        let _ = fs::write(self.dir.with_file_name(format!("{}.why", self.name)), format!("{}\n", reasons.join("; ")));
    }

    /// Lets the layer change a variable.
    pub fn set_variable(
        &self,
        scope: EnvironmentScope,
        name: &str,
        change: EnvironmentChange,
        value: &str,
    ) -> Result<(), Failure> {
        let folder = self.dir.join(match scope {
            EnvironmentScope::All => "env",
            EnvironmentScope::Build => "env.build",
            EnvironmentScope::Launch => "env.launch",
        });
        let (suffix, separator) = match change {
            EnvironmentChange::Override => ("override", None),
            EnvironmentChange::Default => ("default", None),
            EnvironmentChange::Prepend(separator) => ("prepend", Some(separator)),
            EnvironmentChange::Append(separator) => ("append", Some(separator)),
        };
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&folder)?;
            write_if_changed(&folder.join(format!("{name}.{suffix}")), value.as_bytes())?;
            separator.map_or(Ok(()), |text| write_if_changed(&folder.join(format!("{name}.delim")), text.as_bytes()))
        };
        write().map_err(|error| Failure::io(format!("setting {name} in the layer `{}`", self.name), &error))
    }

    fn sbom_path(&self, format: SbomFormat) -> PathBuf {
        let suffix = match format {
            SbomFormat::CycloneDx => "sbom.cdx.json",
            SbomFormat::Spdx => "sbom.spdx.json",
        };
        self.dir.with_file_name(format!("{}.{suffix}", self.name))
    }

    /// Whether software bills of materials of all formats are beside it.
    pub fn has_sbom(&self) -> bool {
        [SbomFormat::CycloneDx, SbomFormat::Spdx].into_iter().all(|format| self.sbom_path(format).is_file())
    }

    /// Writes the layer's software bill of materials beside it.
    pub fn write_sbom(&self, format: SbomFormat, json: &str) -> Result<(), Failure> {
        write_if_changed(&self.sbom_path(format), json.as_bytes())
            .map_err(|error| Failure::io(format!("writing the bill of materials of the layer `{}`", self.name), &error))
    }
}

/// Writes only what differs, so that an overlay's upper directory holds only what changed.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes)
}

/// Those of `one` that `other` lacks: what is asked for now and was not before, or the other way round; for the reasons of a miss.
pub(crate) fn missing(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().filter(|name| !other.contains(name)).cloned().collect()
}
