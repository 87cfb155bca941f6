//! Labels of an app image: `io.buildpacks.lifecycle.metadata` and `io.buildpacks.build.metadata`, both JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::ApiVersion;
use crate::builder_labels::BuilderStack;
use crate::error::{DocumentError, parse_json, write_json};
use crate::layer_toml::{LayerToml, LayerTypes};
use crate::metadata::BuildMetadata;
use crate::run_toml::RunImage;
use crate::store_toml::StoreToml;

/// Label with [`LifecycleMetadata`].
pub const LIFECYCLE_METADATA_LABEL: &str = "io.buildpacks.lifecycle.metadata";
/// Label with [`BuildLabel`].
pub const BUILD_METADATA_LABEL: &str = "io.buildpacks.build.metadata";
/// Label with the execution environment (Platform API 0.15).
pub const EXEC_ENV_LABEL: &str = "io.buildpacks.exec-env";
/// Label that says whether a run image keeps its ABI.
pub const REBASABLE_LABEL: &str = "io.buildpacks.rebasable";
/// Label with the stack id (deprecated).
pub const STACK_ID_LABEL: &str = "io.buildpacks.stack.id";
/// Label with the mixins of a base image, a list in JSON (deprecated).
pub const MIXINS_LABEL: &str = "io.buildpacks.stack.mixins";
/// Label with the target id of a base image.
pub const BASE_ID_LABEL: &str = "io.buildpacks.base.id";
/// Label with the distribution of a base image.
pub const DISTRO_NAME_LABEL: &str = "io.buildpacks.base.distro.name";
/// Label with the distribution's version of a base image.
pub const DISTRO_VERSION_LABEL: &str = "io.buildpacks.base.distro.version";

/// A layer by its diffID.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSha {
    /// `sha256:…`.
    pub sha: String,
}

/// What hoist knows of a layer that stands in the image as several OCI layers. Other platforms ignore it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitLayer {
    /// The OCI layers, lowest first.
    pub layers: Vec<SplitPart>,
}

/// One OCI layer of a split layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPart {
    /// Which group of files: `distribution:numpy`, `bucket:03`, `base`.
    pub group: String,
    /// `sha256:…`.
    pub sha: String,
}

/// A buildpack's layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// DiffID; for a split layer a digest over the list in `hoist`; empty for a layer that is not in the image.
    #[serde(default)]
    pub sha: String,
    /// The buildpack's metadata.
    #[serde(default)]
    pub data: Option<serde_json::Value>,
    /// Later buildpacks see it.
    #[serde(default)]
    pub build: bool,
    /// It is in the app image.
    #[serde(default)]
    pub launch: bool,
    /// The next build gets its content back.
    #[serde(default)]
    pub cache: bool,
    /// Only for layers that hoist split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hoist: Option<SplitLayer>,
}

impl LayerRecord {
    /// What it is for.
    pub fn types(&self) -> LayerTypes {
        LayerTypes { launch: self.launch, build: self.build, cache: self.cache }
    }

    /// The record of a layer with this content metadata.
    pub fn new(sha: String, layer: &LayerToml) -> Self {
        let types = layer.types();
        let data = (!layer.metadata.is_empty()).then(|| table_to_json(&layer.metadata));
        Self { sha, data, build: types.build, launch: types.launch, cache: types.cache, hoist: None }
    }

    /// `<layer>.toml` as it is restored: with the buildpack's metadata and without types.
    pub fn to_restored_toml(&self) -> LayerToml {
        let metadata = match self.data.as_ref().and_then(json_to_toml) {
            Some(toml::Value::Table(table)) => table,
            _ => toml::Table::new(),
        };
        LayerToml { types: None, metadata }
    }
}

/// The layers of one buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackLayers {
    /// The buildpack's id.
    pub key: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Its layers by name.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub layers: BTreeMap<String, LayerRecord>,
    /// Its `store.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreRecord>,
}

/// A `store.toml` in JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// Its metadata.
    #[serde(default)]
    pub metadata: Option<serde_json::Value>,
}

impl StoreRecord {
    /// From `store.toml`.
    pub fn new(store: &StoreToml) -> Self {
        Self { metadata: Some(table_to_json(&store.metadata)) }
    }

    /// To `store.toml`.
    pub fn to_toml(&self) -> StoreToml {
        match self.metadata.as_ref().and_then(json_to_toml) {
            Some(toml::Value::Table(metadata)) => StoreToml { metadata },
            _ => StoreToml::default(),
        }
    }
}

/// The run image below an app image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunImageRecord {
    /// DiffID of its topmost layer.
    #[serde(default)]
    pub top_layer: String,
    /// Digest that names it.
    #[serde(default)]
    pub reference: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Other names of the same image.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

impl RunImageRecord {
    /// Its names, as `run.toml` has them.
    pub fn run_image(&self) -> RunImage {
        RunImage { image: self.image.clone(), mirrors: self.mirrors.clone() }
    }
}

/// The label `io.buildpacks.lifecycle.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LifecycleMetadata {
    /// Slices of the app, lowest first.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub app: Vec<LayerSha>,
    /// The SBOM layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<LayerSha>,
    /// Layers of the buildpacks, in group order.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub buildpacks: Vec<BuildpackLayers>,
    /// The layer with `config/metadata.toml`.
    #[serde(default)]
    pub config: LayerSha,
    /// The layer with the launcher.
    #[serde(default)]
    pub launcher: LayerSha,
    /// The layer with the links to the launcher.
    #[serde(default, rename = "process-types")]
    pub process_types: LayerSha,
    /// The run image below it.
    #[serde(default, rename = "runImage")]
    pub run_image: RunImageRecord,
    /// The names of the run image once more, where platforms older than API 0.12 look for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<BuilderStack>,
    /// The execution environment that the image is for.
    #[serde(default, rename = "exec-env", skip_serializing_if = "String::is_empty")]
    pub exec_env: String,
}

impl LifecycleMetadata {
    /// Reads the label.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_json(LIFECYCLE_METADATA_LABEL, text)
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(LIFECYCLE_METADATA_LABEL, self)
    }

    /// What is known of a buildpack's layers.
    pub fn buildpack(&self, id: &str) -> Option<&BuildpackLayers> {
        self.buildpacks.iter().find(|buildpack| buildpack.key == id)
    }
}

/// A buildpack in [`BuildLabel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelBuildpack {
    /// Its id.
    pub id: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// The Buildpack API it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiVersion>,
}

/// A process in [`BuildLabel`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelProcess {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its command: a list, or one text below Platform API 0.10.
    pub command: crate::launch_toml::Command,
    /// Its arguments.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub args: Vec<String>,
    /// Whether it starts without a shell.
    #[serde(default)]
    pub direct: bool,
    /// Whether its buildpack declared it the default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Which buildpack declared it.
    #[serde(default, rename = "buildpackID")]
    pub buildpack_id: String,
    /// Where it starts.
    #[serde(default, rename = "working-dir", skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Execution environments it is for.
    #[serde(
        default,
        deserialize_with = "crate::error::null_as_default",
        rename = "exec-env",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exec_env: Vec<String>,
}

/// Which launcher is in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherRecord {
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// The label `io.buildpacks.build.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildLabel {
    /// The group.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub buildpacks: Vec<LabelBuildpack>,
    /// The launcher.
    #[serde(default)]
    pub launcher: LauncherRecord,
    /// The processes.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub processes: Vec<LabelProcess>,
    /// The process that the buildpacks want started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_default_process_type: Option<String>,
}

impl BuildLabel {
    /// The label for what a build left.
    pub fn new(metadata: &BuildMetadata, launcher_version: &str) -> Self {
        let buildpacks = metadata.buildpacks.iter().map(|buildpack| LabelBuildpack {
            id: buildpack.id.clone(),
            version: buildpack.version.clone(),
            homepage: buildpack.homepage.clone(),
            api: Some(buildpack.api),
        });
        let processes = metadata.processes.iter().map(|process| LabelProcess {
            kind: process.kind.clone(),
            command: process.command.clone(),
            args: process.args.clone(),
            direct: process.direct,
            default: process.default,
            buildpack_id: process.buildpack_id.clone(),
            working_dir: process.working_dir.clone(),
            exec_env: process.exec_env.clone(),
        });
        Self {
            buildpacks: buildpacks.collect(),
            launcher: LauncherRecord { version: launcher_version.to_owned() },
            processes: processes.collect(),
            buildpack_default_process_type: metadata.buildpack_default_process_type.clone(),
        }
    }

    /// Reads the label.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_json(BUILD_METADATA_LABEL, text)
    }

    /// The label's text.
    pub fn to_label(&self) -> Result<String, DocumentError> {
        write_json(BUILD_METADATA_LABEL, self)
    }
}

/// A TOML table in JSON; dates become text.
pub fn table_to_json(table: &toml::Table) -> serde_json::Value {
    serde_json::Value::Object(table.iter().map(|(key, value)| (key.clone(), toml_to_json(value))).collect())
}

fn toml_to_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.iter().map(toml_to_json).collect(),
        toml::Value::Table(table) => table_to_json(table),
    }
}

pub(crate) fn json_to_toml(value: &serde_json::Value) -> Option<toml::Value> {
    use serde_json::Value;
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(json_to_toml).collect()),
        Value::Object(map) => toml::Value::Table(
            map.iter().filter_map(|(key, value)| Some((key.clone(), json_to_toml(value)?))).collect(),
        ),
    })
}
