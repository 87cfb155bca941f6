//! `analyzed.toml`: what is known of the previous image and the run image before the build begins.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_json, parse_toml, write_toml};
use crate::labels::{LifecycleMetadata, json_to_toml, table_to_json};
use crate::target::ImageTarget;

/// An image by its digest or id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentifier {
    /// Digest reference, or id.
    pub reference: String,
}

/// The `[run-image]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzedRunImage {
    /// Digest reference, or id.
    #[serde(default)]
    pub reference: String,
    /// Its name as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether extensions change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// What it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ImageTarget>,
}

/// `analyzed.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Analyzed {
    /// The previous image, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageIdentifier>,
    /// The build image, where extensions may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_image: Option<ImageIdentifier>,
    /// The run image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_image: Option<AnalyzedRunImage>,
    /// The previous image's lifecycle metadata, in TOML.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// Fields of the label that have another name in TOML than in JSON.
const TOML_AND_JSON: [(&str, &str); 2] = [("run-image", "runImage"), ("top-layer", "topLayer")];

/// Gives the fields of the label the other names, and the metadata of layers too.
fn rename_fields(value: &mut serde_json::Value, names: &[(&str, &str); 2]) {
    let to_json = names[0].1 == TOML_AND_JSON[0].1;
    let (from, to) = if to_json { ("metadata", "data") } else { ("data", "metadata") };
    let rename = |value: &mut serde_json::Value, from: &str, to: &str| {
        if let Some(map) = value.as_object_mut()
            && let Some(field) = map.remove(from)
        {
            map.insert(to.to_owned(), field);
        }
    };
    let [run_image, top_layer] = names;
    rename(value, run_image.0, run_image.1);
    if let Some(run_image) = value.get_mut(run_image.1) {
        rename(run_image, top_layer.0, top_layer.1);
    }
    if let Some(stack) = value.get_mut("stack") {
        rename(stack, run_image.0, run_image.1);
    }
    for buildpack in value.get_mut("buildpacks").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        let layers = buildpack.get_mut("layers").and_then(serde_json::Value::as_object_mut);
        for layer in layers.into_iter().flat_map(serde_json::Map::values_mut) {
            rename(layer, from, to);
        }
    }
}

impl Analyzed {
    /// Reads `analyzed.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("analyzed.toml", text)
    }

    /// The previous image's label, which stands in `metadata` with the names that TOML has for its fields.
    pub fn lifecycle_metadata(&self) -> Result<LifecycleMetadata, DocumentError> {
        let mut value = table_to_json(&self.metadata);
        rename_fields(&mut value, &TOML_AND_JSON);
        parse_json("metadata of analyzed.toml", &value.to_string())
    }

    /// Puts the label there.
    pub fn set_lifecycle_metadata(&mut self, metadata: &LifecycleMetadata) -> Result<(), DocumentError> {
        let mut value: serde_json::Value = parse_json("metadata of analyzed.toml", &metadata.to_label()?)?;
        rename_fields(&mut value, &TOML_AND_JSON.map(|(toml, json)| (json, toml)));
        self.metadata = match json_to_toml(&value) {
            Some(toml::Value::Table(table)) => table,
            _ => toml::Table::new(),
        };
        Ok(())
    }

    /// Writes `analyzed.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("analyzed.toml", self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the analyzer of the Go lifecycle writes it.
    const OF_GO: &str = r#"[image]
  reference = "/layout/app@sha256:d2"

[metadata]

  [[metadata.app]]
    sha = "sha256:a"

  [[metadata.buildpacks]]
    key = "test/count"
    version = "1.0.0"
    [metadata.buildpacks.layers]
      [metadata.buildpacks.layers.kept]
        sha = "sha256:k"
        build = false
        launch = true
        cache = false
        [metadata.buildpacks.layers.kept.metadata]
          key = "value"
  [metadata.config]
    sha = "sha256:c"
  [metadata.launcher]
    sha = "sha256:l"
  [metadata.process-types]
    sha = ""
  [metadata.run-image]
    top-layer = "sha256:t"
    reference = "r"
    image = "run"
  [metadata.stack]
    [metadata.stack.run-image]
      image = "run"
"#;

    #[test]
    fn the_previous_image_s_label_is_read_from_the_go_lifecycle_and_written_for_it() {
        let analyzed = Analyzed::parse(OF_GO).unwrap();
        let metadata = analyzed.lifecycle_metadata().unwrap();
        assert_eq!(metadata.buildpack("test/count").unwrap().layers["kept"].data.as_ref().unwrap()["key"], "value");
        assert_eq!((metadata.run_image.top_layer.as_str(), metadata.run_image.image.as_str()), ("sha256:t", "run"));
        assert_eq!(metadata.stack.as_ref().unwrap().run_image.image, "run");
        let mut written = Analyzed { metadata: toml::Table::new(), ..analyzed.clone() };
        written.set_lifecycle_metadata(&metadata).unwrap();
        assert_eq!(Analyzed::parse(&written.write().unwrap()).unwrap(), analyzed);
        assert_eq!(Analyzed::default().lifecycle_metadata().unwrap(), LifecycleMetadata::default());
    }
}
