//! The configuration file: a text for each setting, and tables of the mirrors of run images and of registries. It is written as a whole.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fs_err as fs;

use super::SettingsError;

/// The table of [`ConfigFile::run_image_mirrors`].
const MIRRORS: &str = "run-image-mirrors";
/// The table of [`ConfigFile::registry_mirrors`].
const REGISTRY_MIRRORS: &str = "registry-mirrors";

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    /// By name; whether there is such a setting is not looked at.
    pub(super) values: BTreeMap<String, String>,
    /// Further names of run images, by their names.
    pub(super) run_image_mirrors: BTreeMap<String, Vec<String>>,
    /// Where images are looked for before their own registry, by the registry.
    pub(super) registry_mirrors: BTreeMap<String, Vec<String>>,
}

impl ConfigFile {
    /// Reads it; empty where it is not there.
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(SettingsError::Read { path: path.to_owned(), source }),
        };
        let bad = |reason: String| SettingsError::Parse { path: path.to_owned(), reason };
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| bad(error.to_string().trim().to_owned()))?;
        let mut file = Self::default();
        for (name, value) in table {
            match value {
                toml::Value::String(value) => _ = file.values.insert(name, value),
                value if name == MIRRORS => {
                    let wrong = |_| bad(format!("{MIRRORS} is not a table with a list of names for each run image"));
                    file.run_image_mirrors = value.try_into().map_err(wrong)?;
                }
                value if name == REGISTRY_MIRRORS => {
                    let wrong =
                        |_| bad(format!("{REGISTRY_MIRRORS} is not a table with a list of mirrors for each registry"));
                    file.registry_mirrors = value.try_into().map_err(wrong)?;
                }
                other => {
                    return Err(bad(format!(
                        "{name} is a {}, but every setting is a text in quotes",
                        other.type_str()
                    )));
                }
            }
        }
        Ok(file)
    }

    /// Puts it in the place of what is there.
    pub(super) fn write(&self, path: &Path) -> Result<(), SettingsError> {
        let mut table: toml::Table =
            self.values.iter().map(|(name, value)| (name.clone(), toml::Value::String(value.clone()))).collect();
        for (title, mirrors) in [(MIRRORS, &self.run_image_mirrors), (REGISTRY_MIRRORS, &self.registry_mirrors)] {
            if !mirrors.is_empty() {
                let mirrors = mirrors.iter().map(|(name, all)| (name.clone(), all.clone().into()));
                table.insert(title.to_owned(), toml::Value::Table(mirrors.collect()));
            }
        }
        let failed = |source| SettingsError::Write { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(table.to_string().as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
