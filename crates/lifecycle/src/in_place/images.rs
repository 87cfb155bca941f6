//! What the phases that know images share: their inputs, a temporary store, and what they read of a build that took place elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hoist_events::Reporter;
use hoist_image::{Image, Reference, Store};
use hoist_spec::{ApiVersion, DocumentError, Group, RunImage, RunToml, StackToml};

use crate::counters::Counters;
use crate::direct::DirectRunner;
use crate::in_place::{PhaseError, read_document, read_optional, scratch_dir};
use crate::place::{ImagePlace, PlaceError, registry};
use crate::setup::{BuildRoot, BuildUser, Directories, Setup, Site};

/// The specification's codes for errors of a phase.
pub(super) const ANALYZE: i32 = 32;
pub(super) const RESTORE: i32 = 42;
pub(super) const EXPORT: i32 = 62;
pub(super) const REBASE: i32 = 72;

/// What `analyzer`, `restorer`, `exporter` and `creator` are told, as platform.md names it.
#[derive(Debug, Clone)]
pub struct ImagePhaseInputs {
    /// `<analyzed>`.
    pub analyzed_path: PathBuf,
    /// `<app>`.
    pub app_dir: PathBuf,
    /// `<cache-dir>`.
    pub cache_dir: Option<PathBuf>,
    /// `<group>`.
    pub group_path: PathBuf,
    /// `<image>`: where the app image goes; the first one is the previous image too, unless there is another.
    pub images: Vec<Reference>,
    /// `<launch-cache>`.
    pub launch_cache_dir: Option<PathBuf>,
    /// `<launcher>`.
    pub launcher_path: PathBuf,
    /// `<launcher-sbom>`.
    pub launcher_sbom_dir: PathBuf,
    /// `<layers>`.
    pub layers_dir: PathBuf,
    /// `<previous-image>`.
    pub previous_image: Option<Reference>,
    /// `<process-type>`.
    pub process_type: Option<String>,
    /// `<project-metadata>`.
    pub project_metadata_path: PathBuf,
    /// `<report>`.
    pub report_path: PathBuf,
    /// `<run>`, or `<stack>` below Platform API 0.12.
    pub run_path: PathBuf,
    /// `<run-image>`.
    pub run_image: Option<Reference>,
    /// `<skip-layers>`, which the creator calls `<skip-restore>`.
    pub skip_layers: bool,
    /// `<uid>` and `<gid>`: the owner of the files in the image.
    pub user: (u32, u32),
    /// `SOURCE_DATE_EPOCH`, as the image's configuration has it.
    pub created: Option<String>,
    /// The version of this lifecycle, for the label.
    pub version: String,
    /// `CNB_EXEC_ENV`.
    pub exec_env: String,
    /// `CNB_PLATFORM_API`.
    pub platform_api: ApiVersion,
}

/// A store through which layers pass on their way into an image or out of one; it goes away with the phase.
pub(super) struct Passage {
    dir: tempfile::TempDir,
    pub(super) store: Store,
}

impl Passage {
    pub(super) fn open() -> Result<Self, PhaseError> {
        let dir = scratch_dir()?;
        let store = Store::open_temporary(dir.path().join("store")).map_err(PhaseError::Store)?;
        Ok(Self { dir, store })
    }

    /// The container that the phase is in, as whoever runs it.
    pub(super) fn setup<'a>(&'a self, inputs: &ImagePhaseInputs, reporter: &'a dyn Reporter) -> Setup<'a> {
        let root = PathBuf::from("/");
        let (uid, gid) = inputs.user;
        let site = Site {
            runner: &DirectRunner { user: None },
            reporter,
            root: BuildRoot { upper_dir: root.clone(), lower_dirs: vec![root] },
            scratch_dir: self.dir.path().to_owned(),
            user: BuildUser { uid, gid, chown: false },
            directories: Directories {
                app_dir: inputs.app_dir.clone(),
                layers_dir: inputs.layers_dir.clone(),
                exchange_dir: None,
                ..Directories::default()
            },
            environment: Vec::new(),
            platform_env: BTreeMap::new(),
            exec_env: inputs.exec_env.clone(),
            platform_api: inputs.platform_api,
            counters: Counters::default(),
        };
        Setup { site, store: &self.store }
    }
}

/// What `<run>` or `<stack>` says of run images.
pub(super) fn run_images(inputs: &ImagePhaseInputs) -> Result<Vec<RunImage>, PhaseError> {
    if inputs.platform_api.at_least(12) {
        return Ok(read_optional(&inputs.run_path, RunToml::parse)?.unwrap_or_default().images);
    }
    let stack = read_optional(&inputs.run_path, StackToml::parse)?;
    Ok(stack.map(|stack| stack.run_image).into_iter().collect())
}

/// The image and its mirrors.
pub(super) fn names_of(image: &RunImage) -> impl Iterator<Item = Reference> + '_ {
    std::iter::once(&image.image).chain(&image.mirrors).filter_map(|name| name.parse().ok())
}

/// Platform.md, "Run Image Resolution": those of the registry that the app image goes to come first.
pub(super) fn by_registry(image: &RunImage, target: Option<&Reference>) -> Vec<Reference> {
    let mut names: Vec<Reference> = names_of(image).collect();
    names.sort_by_key(|name| target.is_some_and(|target| registry(target) != registry(name)));
    names
}

pub(super) fn fetch(place: &ImagePlace, store: &Store, reference: &str, code: i32) -> Result<Image, PhaseError> {
    let missing = || PhaseError::MissingImage { name: reference.to_owned(), place: place.absence(reference), code };
    place.fetch(store, reference).map_err(failed(code))?.ok_or_else(missing)
}

pub(super) fn read_group(inputs: &ImagePhaseInputs) -> Result<Group, PhaseError> {
    let group = read_document(&inputs.group_path, Group::parse)?;
    for member in &group.group {
        let buildpack = member.full_name();
        member.api.require_buildpack().map_err(|source| PhaseError::BuildpackApi { buildpack, source })?;
    }
    Ok(group)
}

pub(super) fn failed(code: i32) -> impl Fn(PlaceError) -> PhaseError {
    move |source| PhaseError::Image { code, source: Box::new(source) }
}

pub(super) fn document_error(path: &Path) -> impl Fn(DocumentError) -> PhaseError {
    let path = path.to_owned();
    move |source| PhaseError::Document { path: path.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_image_of_the_app_image_s_registry_is_taken_first() {
        let image = RunImage {
            image: "one.test/run".into(),
            mirrors: vec!["two.test/run".into(), "run".into(), "NOT A NAME".into()],
        };
        let first = |target: &str| by_registry(&image, Some(&target.parse().unwrap()))[0].to_string();
        assert_eq!(first("two.test/app"), "two.test/run:latest");
        assert_eq!(first("app"), "run:latest");
        assert_eq!(first("three.test/app"), "one.test/run:latest");
        assert_eq!(by_registry(&image, None).len(), 3);
    }
}
