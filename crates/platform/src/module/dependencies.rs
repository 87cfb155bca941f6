//! What a folder's buildpack consists of: a `package.toml` beside its `buildpack.toml` names it, as pack takes it with `build --buildpack FOLDER`.

use std::path::Path;

use hoist_spec::{ModuleConfig, PackageConfig};

use super::{Location, Module, ModuleError, Modules, folder};
use crate::buildpackage::MAX_CONFIG_BYTES;

const DOCUMENT: &str = "package.toml";

impl Modules<'_> {
    /// What a location stands for, as [`Modules::find`]; of a folder also the dependencies that its package.toml names.
    pub(crate) fn find_with_dependencies(&self, wanted: &ModuleConfig) -> Result<Vec<Module>, ModuleError> {
        let mut found = self.find(wanted)?;
        if let Location::Folder(dir) = self.location(wanted)?
            && !folder::is_layout(&dir)
            && dir.join(DOCUMENT).is_file()
        {
            found.extend(self.dependencies(wanted, &dir)?);
        }
        Ok(found)
    }

    fn dependencies(&self, wanted: &ModuleConfig, dir: &Path) -> Result<Vec<Module>, ModuleError> {
        let path = dir.join(DOCUMENT);
        let bytes = folder::read_document(&wanted.location, dir, DOCUMENT, MAX_CONFIG_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| ModuleError::Encoding { location: wanted.location.clone(), document: DOCUMENT.to_owned() })?;
        let config =
            PackageConfig::parse(&text).map_err(|source| ModuleError::PackageConfig { path: path.clone(), source })?;
        let below = self.below(dir);
        let mut found = Vec::new();
        for dependency in &config.dependencies {
            let failed = |source| ModuleError::Dependency {
                path: path.clone(),
                line: dependency.line,
                source: Box::new(source),
            };
            found.extend(below.find(dependency).map_err(failed)?);
        }
        Ok(found)
    }
}
