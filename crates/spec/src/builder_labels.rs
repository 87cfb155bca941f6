//! Labels of a builder and of a buildpackage: `io.buildpacks.builder.metadata`, `io.buildpacks.buildpack.layers`,
//! `io.buildpacks.buildpack.order`, `io.buildpacks.buildpackage.metadata`, all JSON, as `pack` writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::buildpack_toml::{BuildpackInfo, License, Stack};
use crate::error::{DocumentError, parse_json, write_json};
use crate::order::OrderGroup;
use crate::run_toml::RunImage;
use crate::target::Target;

/// Label with [`BuilderMetadata`].
pub const BUILDER_METADATA_LABEL: &str = "io.buildpacks.builder.metadata";
/// Label with [`BuildpackLayersLabel`].
pub const BUILDPACK_LAYERS_LABEL: &str = "io.buildpacks.buildpack.layers";
/// Label with the image extensions, in the form of [`BuildpackLayersLabel`].
pub const EXTENSION_LAYERS_LABEL: &str = "io.buildpacks.extension.layers";
/// Label with the system buildpacks.
pub const SYSTEM_LABEL: &str = "io.buildpacks.buildpack.system";
/// Label with the order, a list of [`OrderGroup`].
pub const BUILDPACK_ORDER_LABEL: &str = "io.buildpacks.buildpack.order";
/// Label with the order of image extensions.
pub const EXTENSION_ORDER_LABEL: &str = "io.buildpacks.buildpack.order-extensions";
/// Label with [`BuildpackageMetadata`].
pub const BUILDPACKAGE_METADATA_LABEL: &str = "io.buildpacks.buildpackage.metadata";

/// Who a buildpack or an image extension is, as the metadata of builders and packages says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModuleInfo {
    /// Its id.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// What to find it by.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Execution environments it supports; empty means all.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
    /// Its licences.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<LabelLicense>,
    /// Whether user variables stay out of its environment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clear_env: bool,
}

/// A licence in a label, where pack writes its keys with capitals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelLicense {
    /// SPDX expression.
    #[serde(default, rename = "Type", alias = "type")]
    pub kind: String,
    /// Where its text is.
    #[serde(default, rename = "URI", alias = "uri")]
    pub uri: String,
}

impl From<&BuildpackInfo> for ModuleInfo {
    fn from(info: &BuildpackInfo) -> Self {
        let license = |license: &License| LabelLicense {
            kind: license.kind.clone().unwrap_or_default(),
            uri: license.uri.clone().unwrap_or_default(),
        };
        Self {
            id: info.id.clone(),
            name: info.name.clone(),
            version: info.version.clone(),
            description: info.description.clone(),
            homepage: info.homepage.clone(),
            keywords: info.keywords.clone(),
            exec_env: info.exec_env.clone(),
            licenses: info.licenses.iter().map(license).collect(),
            clear_env: info.clear_env,
        }
    }
}

/// The deprecated `stack` key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuilderStack {
    /// Its run image.
    #[serde(default)]
    pub run_image: RunImage,
}

/// The lifecycle of a builder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderLifecycle {
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The oldest of each, for tools of before there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<OldApis>,
    /// The APIs it speaks.
    #[serde(default)]
    pub apis: LifecycleApis,
}

/// One version of each API (deprecated).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldApis {
    /// Buildpack API.
    #[serde(default)]
    pub buildpack: Option<ApiVersion>,
    /// Platform API.
    #[serde(default)]
    pub platform: Option<ApiVersion>,
}

/// The APIs of a lifecycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleApis {
    /// Buildpack API.
    #[serde(default)]
    pub buildpack: ApiRange,
    /// Platform API.
    #[serde(default)]
    pub platform: ApiRange,
}

/// Versions of one API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRange {
    /// Still spoken, not to be used.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub deprecated: Vec<ApiVersion>,
    /// Spoken.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub supported: Vec<ApiVersion>,
}

/// Who made a builder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBy {
    /// `Pack CLI`, `hoist`.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// The label `io.buildpacks.builder.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuilderMetadata {
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it holds.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub buildpacks: Vec<ModuleInfo>,
    /// Image extensions that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<ModuleInfo>>,
    /// Its run image, the old way.
    #[serde(default)]
    pub stack: BuilderStack,
    /// The lifecycle inside it.
    #[serde(default)]
    pub lifecycle: BuilderLifecycle,
    /// Who made it.
    #[serde(default)]
    pub created_by: CreatedBy,
    /// Its run images.
    #[serde(default, deserialize_with = "crate::error::null_as_default", alias = "images")]
    pub images: Vec<RunImage>,
}

impl BuilderMetadata {
    /// Reads the label.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_json(BUILDER_METADATA_LABEL, text)
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(BUILDER_METADATA_LABEL, self)
    }

    /// Its run images, whichever way they are written.
    pub fn run_images(&self) -> Vec<RunImage> {
        if self.images.is_empty() && !self.stack.run_image.image.is_empty() {
            return vec![self.stack.run_image.clone()];
        }
        self.images.clone()
    }
}

/// A buildpack in the label `io.buildpacks.buildpack.layers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildpackLayerInfo {
    /// The Buildpack API it speaks.
    pub api: ApiVersion,
    /// Stacks it supports (deprecated).
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
    /// Targets it supports.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// A composite's order.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<OrderGroup>,
    /// The layer that it is in.
    #[serde(rename = "layerDiffID", default)]
    pub layer_diff_id: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The label `io.buildpacks.buildpack.layers`: id → version → where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildpackLayersLabel(pub BTreeMap<String, BTreeMap<String, BuildpackLayerInfo>>);

impl BuildpackLayersLabel {
    /// Reads the label.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        Ok(parse_json::<Option<_>>(BUILDPACK_LAYERS_LABEL, text)?.unwrap_or_default())
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(BUILDPACK_LAYERS_LABEL, self)
    }
}

/// Reads one of the labels with an order, [`BUILDPACK_ORDER_LABEL`] or [`EXTENSION_ORDER_LABEL`]. `pack` writes `null` for an order
/// without groups, which the order of extensions mostly is.
pub fn parse_order_label(label: &'static str, text: &str) -> Result<Vec<OrderGroup>, DocumentError> {
    Ok(parse_json::<Option<_>>(label, text)?.unwrap_or_default())
}

/// The text of the label `io.buildpacks.buildpack.order`.
pub fn write_order_label(order: &[OrderGroup]) -> Result<String, DocumentError> {
    write_json(BUILDPACK_ORDER_LABEL, &order)
}

/// The label `io.buildpacks.buildpackage.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildpackageMetadata {
    /// Its main buildpack.
    #[serde(flatten)]
    pub info: ModuleInfo,
    /// Stacks that all of it supports (deprecated).
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub stacks: Vec<Stack>,
}

impl BuildpackageMetadata {
    /// Reads the label.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_json(BUILDPACKAGE_METADATA_LABEL, text)
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(BUILDPACKAGE_METADATA_LABEL, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_that_pack_writes_for_no_order_is_an_order_without_groups() {
        assert_eq!(parse_order_label(EXTENSION_ORDER_LABEL, "null").unwrap(), []);
        assert_eq!(BuildpackLayersLabel::parse("null").unwrap(), BuildpackLayersLabel::default());
        let error = parse_order_label(EXTENSION_ORDER_LABEL, "{}").unwrap_err().to_string();
        assert!(error.contains(EXTENSION_ORDER_LABEL), "{error}");
    }

    #[test]
    fn the_metadata_of_a_builder_made_by_pack_is_read() {
        let text = r#"{"description":"","buildpacks":[{"id":"a","version":"1"}],"extensions":null,
            "stack":{"runImage":{"image":"","mirrors":null}},"lifecycle":{"version":"0.21.17","api":{"buildpack":"0.7","platform":"0.7"},
            "apis":{"buildpack":{"deprecated":[],"supported":["0.7"]},"platform":{"deprecated":null,"supported":["0.15"]}}},
            "createdBy":{"name":"Pack CLI","version":"0.40.5"},"images":[{"image":"acme/run:1","mirrors":null}]}"#;
        let metadata = BuilderMetadata::parse(text).unwrap();
        assert_eq!(metadata.run_images().iter().map(|image| image.image.as_str()).collect::<Vec<_>>(), ["acme/run:1"]);
        assert_eq!(metadata.created_by.name, "Pack CLI");
    }
}
