//! The phases that call buildpacks, as another platform runs them: inside the build container, on its own file system, with the documents
//! of platform.md between them ("detector", "builder").
//!
//! Below: the phases that know images, and all of them in one process.

mod analyzer;
mod creator;
mod error;
mod exporter;
mod images;
mod rebaser;
mod restorer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_events::Reporter;
use hoist_spec::{
    Analyzed, ApiVersion, BuildMetadata, Command, Distribution, DocumentError, Group, ImageTarget, Order, Plan,
    SystemToml,
};

use crate::build::{Built, GroupToBuild, Made, build_group};
use crate::buildpacks::{Buildpack, Buildpacks};
use crate::counters::Counters;
use crate::detect::{detect_group, group_buildpack};
use crate::direct::DirectRunner;
use crate::sbom::SbomFile;
use crate::setup::{BuildRoot, BuildUser, Directories, Site};

pub use analyzer::run_analyzer;
pub use creator::run_creator;
pub use error::PhaseError;
pub use exporter::run_exporter;
pub use images::ImagePhaseInputs;
pub use rebaser::{RebaserInputs, run_rebaser};
pub use restorer::run_restorer;

/// The inputs that platform.md names for detector and builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseInputs {
    /// `<analyzed>`.
    pub analyzed_path: PathBuf,
    /// `<app>`.
    pub app_dir: PathBuf,
    /// `<build-config>`.
    pub build_config_dir: PathBuf,
    /// `<buildpacks>`.
    pub buildpacks_dir: PathBuf,
    /// `<group>`.
    pub group_path: PathBuf,
    /// `<layers>`.
    pub layers_dir: PathBuf,
    /// `<order>`.
    pub order_path: PathBuf,
    /// `<plan>`.
    pub plan_path: PathBuf,
    /// `<platform>`.
    pub platform_dir: PathBuf,
    /// `<system>`.
    pub system_path: PathBuf,
    /// `CNB_EXEC_ENV`.
    pub exec_env: String,
    /// `CNB_PLATFORM_API`.
    pub platform_api: ApiVersion,
    /// The lifecycle's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The user that buildpacks become, where that is not the user of this process.
    pub user: Option<(u32, u32)>,
}

/// More files in `<platform>/env` than anyone has variables.
const MAX_VARIABLES: usize = 4096;

/// The phase `detector`: writes `<group>` and `<plan>`.
pub fn run_detector(inputs: &PhaseInputs, reporter: &dyn Reporter) -> Result<Group, PhaseError> {
    let order = read_document(&inputs.order_path, Order::parse)?;
    if !order.order_extensions.is_empty() {
        reporter.warn("image extensions are not supported, and those of the order are left out", None);
    }
    let order = match read_optional(&inputs.system_path, SystemToml::parse)? {
        Some(system) if inputs.platform_api.at_least(15) => system.system.around(&order.order),
        _ => order.order,
    };
    let buildpacks = read_buildpacks(inputs)?;
    let target = read_target(inputs)?;
    let scratch = scratch_dir()?;
    let runner = DirectRunner { user: inputs.user };
    let site = site(inputs, &runner, reporter, scratch.path())?;
    let (group, plan) = detect_group(&site, &target, &order, &buildpacks)?;
    let group = Group { group: group.iter().map(group_buildpack).collect(), ..Group::default() };
    write_document(&inputs.group_path, group.write())?;
    write_document(&inputs.plan_path, plan.write())?;
    Ok(group)
}

/// The phase `builder`: runs the group's buildpacks, and writes `<layers>/config/metadata.toml` and the SBOM documents for the exporter.
pub fn run_builder(inputs: &PhaseInputs, reporter: &dyn Reporter) -> Result<(), PhaseError> {
    let group = read_document(&inputs.group_path, Group::parse)?;
    let plan = read_document(&inputs.plan_path, Plan::parse)?;
    let all = read_buildpacks(inputs)?;
    let buildpacks = group.group.iter().map(|member| {
        let buildpack = member.full_name();
        member.api.require_buildpack().map_err(|source| PhaseError::BuildpackApi { buildpack, source })?;
        let (group, dir) = (inputs.group_path.clone(), inputs.buildpacks_dir.clone());
        let missing = || PhaseError::NoBuildpack { buildpack: member.full_name(), group, dir };
        all.get(&member.id, &member.version).cloned().ok_or_else(missing)
    });
    let buildpacks: Vec<Buildpack> = buildpacks.collect::<Result<_, _>>()?;
    let target = read_target(inputs)?;
    let sbom_dir = inputs.layers_dir.join("sbom");
    remove_dir(&sbom_dir)?;
    // There in any case, because platforms copy it.
    make_dir(&sbom_dir)?;
    let scratch = scratch_dir()?;
    let runner = DirectRunner { user: inputs.user };
    let site = site(inputs, &runner, reporter, scratch.path())?;
    for buildpack in &buildpacks {
        make_dir(&site.buildpack_layers_dir(&buildpack.descriptor.buildpack.id))?;
    }
    let (buildpacks, plan, layers) = (&buildpacks, &plan, &BTreeMap::new());
    let group = GroupToBuild { buildpacks, plan, target: &target, layers, restored_dirs: &[] };
    let Made { metadata, sboms, .. } = build_group(&site, &group)?;
    for sbom in &sboms {
        write_sbom(&sbom_dir, sbom)?;
    }
    let metadata = for_platform(metadata, inputs.platform_api);
    write_file(&inputs.layers_dir.join("config/metadata.toml"), metadata.write().as_bytes())
}

/// Platforms older than API 0.10 know a command as one text; the rest of a list then goes to the arguments.
fn for_platform(mut metadata: BuildMetadata, platform_api: ApiVersion) -> BuildMetadata {
    if platform_api.at_least(10) {
        return metadata;
    }
    for process in &mut metadata.processes {
        let mut entries = process.command.entries().into_iter();
        process.command = Command::Text(entries.next().unwrap_or_default());
        process.args = entries.chain(std::mem::take(&mut process.args)).collect();
    }
    metadata
}

fn site<'a>(
    inputs: &PhaseInputs,
    runner: &'a DirectRunner,
    reporter: &'a dyn Reporter,
    scratch_dir: &Path,
) -> Result<Site<'a>, PhaseError> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (uid, gid) = inputs.user.unwrap_or(own);
    let root = PathBuf::from("/");
    Ok(Site {
        runner,
        reporter,
        root: BuildRoot { upper_dir: root.clone(), lower_dirs: vec![root] },
        scratch_dir: scratch_dir.to_owned(),
        user: BuildUser { uid, gid, chown: false },
        directories: Directories {
            app_dir: inputs.app_dir.clone(),
            layers_dir: inputs.layers_dir.clone(),
            platform_dir: inputs.platform_dir.clone(),
            buildpacks_dir: inputs.buildpacks_dir.clone(),
            build_config_dir: inputs.build_config_dir.clone(),
            exchange_dir: None,
        },
        environment: inputs.environment.clone(),
        platform_env: read_platform_env(&inputs.platform_dir.join("env"))?,
        exec_env: inputs.exec_env.clone(),
        platform_api: inputs.platform_api,
        counters: Counters::default(),
    })
}

/// Where plans are exchanged with buildpacks.
pub(crate) fn scratch_dir() -> Result<tempfile::TempDir, PhaseError> {
    tempfile::tempdir().map_err(|source| PhaseError::Io {
        action: "making a temporary directory in",
        path: std::env::temp_dir(),
        source,
    })
}

fn read_buildpacks(inputs: &PhaseInputs) -> Result<Buildpacks, PhaseError> {
    Buildpacks::read(&[PathBuf::from("/")], &inputs.buildpacks_dir).map_err(PhaseError::Buildpacks)
}

/// What the run image is made for, as far as `<analyzed>` says it; the rest is that of the build image, which is the same.
fn read_target(inputs: &PhaseInputs) -> Result<ImageTarget, PhaseError> {
    let analyzed = read_optional(&inputs.analyzed_path, Analyzed::parse)?.unwrap_or_default();
    let mut target = analyzed.run_image.and_then(|image| image.target).unwrap_or_default();
    if target.os.is_empty() {
        "linux".clone_into(&mut target.os);
    }
    if target.arch.is_empty() {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        arch.clone_into(&mut target.arch);
    }
    if target.distro.is_none() {
        target.distro =
            fs::read_to_string("/etc/os-release").ok().and_then(|text| Distribution::parse_os_release(&text));
    }
    Ok(target)
}

/// The user's variables: links are followed, because Kubernetes mounts secrets as links.
fn read_platform_env(dir: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, PhaseError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PhaseError::Io { action: "reading", path, source }
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(dir)(error)),
    };
    let mut variables = BTreeMap::new();
    for entry in entries.take(MAX_VARIABLES) {
        let path = entry.map_err(failed(dir))?.path();
        if path.is_file() {
            let value = fs::read(&path).map_err(failed(&path))?;
            variables.insert(path.file_name().unwrap_or_default().to_owned(), value);
        }
    }
    Ok(variables)
}

pub(crate) fn read_document<T>(path: &Path, parse: fn(&str) -> Result<T, DocumentError>) -> Result<T, PhaseError> {
    let text = fs::read_to_string(path).map_err(|source| io("reading", path, source))?;
    parse(&text).map_err(|source| PhaseError::Document { path: path.to_owned(), source: Box::new(source) })
}

pub(crate) fn read_optional<T>(
    path: &Path,
    parse: fn(&str) -> Result<T, DocumentError>,
) -> Result<Option<T>, PhaseError> {
    if path.exists() { read_document(path, parse).map(Some) } else { Ok(None) }
}

pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> PhaseError {
    PhaseError::Io { action, path: path.to_owned(), source }
}

pub(crate) fn write_document(path: &Path, text: Result<String, DocumentError>) -> Result<(), PhaseError> {
    let text = text.map_err(|source| PhaseError::Document { path: path.to_owned(), source: Box::new(source) })?;
    write_file(path, text.as_bytes())
}

/// Writes a file of mode 0644, in directories of mode 0755 that are made where they are missing.
fn write_file(path: &Path, content: &[u8]) -> Result<(), PhaseError> {
    path.parent().map_or(Ok(()), make_dir)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let written = options.open(path).and_then(|mut file| std::io::Write::write_all(&mut file, content));
    written.map_err(|source| io("writing", path, source))
}

fn make_dir(dir: &Path) -> Result<(), PhaseError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(dir).map_err(|source| io("making", dir, source))
}

pub(crate) fn remove_dir(dir: &Path) -> Result<(), PhaseError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("removing", dir, error)),
        _ => Ok(()),
    }
}

impl Built {
    /// Writes the SBOM documents of the build as `<layers>/sbom` has them: `launch/…`, `build/…`, `cache/…`.
    pub fn write_sboms(&self, sbom_dir: &Path) -> Result<(), PhaseError> {
        make_dir(sbom_dir)?;
        self.sboms.iter().try_for_each(|sbom| write_sbom(sbom_dir, sbom))
    }
}

fn write_sbom(sbom_dir: &Path, sbom: &SbomFile) -> Result<(), PhaseError> {
    let path = sbom_dir.join(sbom.kind.dir_name()).join(&sbom.path);
    let content = sbom.read(&path).map_err(PhaseError::Sbom)?;
    write_file(&path, &content)
}
