//! The Cloud Native Buildpacks documents, labels and environment rules: parse and write, no I/O.
//!
//! One file for each document, with the names of the specification (buildpack.md, platform.md, distribution.md of Buildpack API 0.7
//! to 0.12 and Platform API 0.7 to 0.15). Knows no files, no images, no processes: text in, types out, and back.
#![forbid(unsafe_code)]

mod analyzed;
mod api;
mod build_toml;
mod builder_config;
mod builder_labels;
mod buildpack_toml;
mod cache_metadata;
mod detection_order;
mod environment;
mod error;
mod extension_toml;
mod group;
mod labels;
mod launch_toml;
mod layer_toml;
mod legacy_bom;
mod lifecycle_toml;
mod metadata;
mod order;
mod package_config;
mod plan;
mod project_metadata;
mod project_toml;
mod report;
mod resolve;
mod run_toml;
mod store_toml;
mod system_toml;
mod target;

pub use analyzed::{Analyzed, AnalyzedRunImage, ImageIdentifier};
pub use api::{ApiError, ApiVersion};
pub use build_toml::{BuildToml, Unmet};
pub use builder_config::{BuildEnv, BuilderConfig, ConfigGroup, ConfigWarning, LifecycleConfig, ModuleConfig, Suffix};
pub use builder_labels::{
    ApiRange, BUILDER_METADATA_LABEL, BUILDPACK_LAYERS_LABEL, BUILDPACK_ORDER_LABEL, BUILDPACKAGE_METADATA_LABEL,
    BuilderLifecycle, BuilderMetadata, BuilderStack, BuildpackLayerInfo, BuildpackLayersLabel, BuildpackageMetadata,
    CreatedBy, EXTENSION_LAYERS_LABEL, EXTENSION_ORDER_LABEL, LabelLicense, LifecycleApis, ModuleInfo, SYSTEM_LABEL,
    parse_order_label, write_order_label,
};
pub use buildpack_toml::{BuildpackDescriptor, BuildpackInfo, License, Stack, escape_id, merge_stacks};
pub use cache_metadata::{CACHE_METADATA_LABEL, CacheMetadata};
pub use detection_order::{DetectionNode, detection_tree};
pub use environment::{
    BUILD_PASSED, BUILD_PATHS, CERTIFICATE_VARIABLES, Environment, LAUNCH_PATHS, LAUNCH_REMOVED, Modification,
    Operation, parse_environment_dir,
};
pub use error::DocumentError;
pub use extension_toml::ExtensionDescriptor;
pub use group::{Group, GroupBuildpack};
pub use labels::{
    BASE_ID_LABEL, BUILD_METADATA_LABEL, BuildLabel, BuildpackLayers, DISTRO_NAME_LABEL, DISTRO_VERSION_LABEL,
    EXEC_ENV_LABEL, LIFECYCLE_METADATA_LABEL, LabelBuildpack, LabelProcess, LauncherRecord, LayerRecord, LayerSha,
    LifecycleMetadata, MIXINS_LABEL, REBASABLE_LABEL, RunImageRecord, STACK_ID_LABEL, SplitLayer, SplitPart,
    StoreRecord, table_to_json,
};
pub use launch_toml::{Command, Label, LaunchToml, ProcessEntry, Slice};
pub use layer_toml::{LayerToml, LayerTypes};
pub use legacy_bom::{BomEntry, LegacyBom};
pub use metadata::{BuildMetadata, MetadataBuildpack, Process};
pub use order::{GroupEntry, Order, OrderError, OrderGroup, flatten_order};
pub use package_config::PackageConfig;
pub use plan::{BuildPlan, BuildpackPlan, Plan, PlanEntry, PlanSections, Provide, Provider, Require};
pub use project_metadata::{PROJECT_METADATA_LABEL, ProjectMetadata, ProjectSource};
pub use project_toml::{
    InlineScript, ProjectBuildpack, ProjectBuildpackSource, ProjectDescriptor, ProjectFiles, ProjectVariable,
};
pub use report::{ImageReport, OutputReport, Report};
pub use resolve::{Candidate, Resolution, ResolveError, resolve_plan};
pub use run_toml::{RunImage, RunToml, StackToml};
pub use store_toml::StoreToml;
pub use system_toml::{System, SystemBuildpacks, SystemToml};
pub use target::{Distribution, ImageTarget, Target, TargetError};
