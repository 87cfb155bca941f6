//! Analyze: what is known before the build begins, namely the previous image, the run image and the build cache.
//!
//! platform.md, "analyzer". Reads no layer.

use std::path::Path;

use hoist_events::{Event, Phase};
use hoist_image::{Image, StoreError};
use hoist_spec::{
    BASE_ID_LABEL, DISTRO_NAME_LABEL, DISTRO_VERSION_LABEL, Distribution, DocumentError, ImageTarget,
    LIFECYCLE_METADATA_LABEL, LifecycleMetadata, RunImage, STACK_ID_LABEL,
};

use crate::cache::{CacheRecord, SharedLayers, SharedRecord};
use crate::cache_error::CacheError;
use crate::cache_folder::CacheFolder;
use crate::portable_cache::{OpenCache, PortableCache};
use crate::setup::Setup;
use crate::timing::timed;
use crate::tree::Tree;

/// Larger than any real `/etc/os-release`.
const MAX_OS_RELEASE_BYTES: u64 = 64 << 10;

/// What a build starts from.
pub struct AnalyzeRequest {
    /// The image of the same name that the build before made.
    pub previous: Option<Image>,
    /// The image that the app image is put on.
    pub run_image: Image,
    /// Its names, for the label.
    pub run_image_names: RunImage,
    /// Names the build cache among those in the store: usually the image's name. None for a build without a cache.
    pub cache_key: Option<String>,
    /// A cache that takes the place of the record's layers. The record then only keeps what hoist made itself.
    pub portable_cache: Option<PortableCache>,
    /// A folder that keeps the layers of the image, as the Go lifecycle does it beside a daemon.
    pub launch_cache: Option<CacheFolder>,
    /// Layers that the builds of different images share.
    pub shared: Option<SharedLayers>,
}

/// The first phase is done.
pub struct Analyzed {
    pub(crate) run_image: Image,
    pub(crate) run_image_names: RunImage,
    /// What names it uniquely, for the label.
    pub(crate) run_image_reference: String,
    pub(crate) target: ImageTarget,
    pub(crate) cache_key: Option<String>,
    pub(crate) shared_layers: Option<SharedLayers>,
    pub(crate) before: Before,
}

/// What is there of earlier builds.
#[derive(Default)]
pub(crate) struct Before {
    /// The label of the previous image.
    pub(crate) previous: Option<LifecycleMetadata>,
    /// The build cache.
    pub(crate) cache: CacheRecord,
    /// Where its layers are, if not in the store alone.
    pub(crate) portable: Option<OpenCache>,
    /// Where the layers of the previous image are, if not in the store alone.
    pub(crate) launch_cache: Option<CacheFolder>,
    /// What other images' builds left.
    pub(crate) shared: SharedRecord,
}

impl Analyzed {
    /// What the run image is made for.
    pub fn target(&self) -> &ImageTarget {
        &self.target
    }

    /// What is known of the previous image's layers.
    pub fn previous(&self) -> Option<&LifecycleMetadata> {
        self.before.previous.as_ref()
    }
}

/// Analyze failed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The build cache cannot be read.
    #[error("reading the build cache `{key}`")]
    Cache {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A cache outside of the store cannot be brought into it.
    #[error("reading the build cache")]
    Portable(#[source] CacheError),
}

impl AnalyzeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cache { .. } => Some("build once with --clear-cache".to_owned()),
            Self::Portable(error) => error.hint(),
        }
    }
}

/// Whether the build user may write to what is cached: the layers of another user are as good as none.
fn is_the_users(setup: &Setup<'_>, record: &CacheRecord) -> bool {
    let user = (setup.user.uid, setup.user.gid);
    let Some(owner) = record.owner.filter(|owner| *owner != user) else { return true };
    let text = format!("what is cached belongs to {}:{}, and this build is {}:{}'s", owner.0, owner.1, user.0, user.1);
    setup.reporter.report(&Event::Warning { text, hint: Some("everything is made anew".to_owned()) });
    false
}

/// Looks at the previous image, the run image and the cache.
pub fn analyze(setup: &Setup<'_>, request: AnalyzeRequest) -> Result<Analyzed, AnalyzeError> {
    timed(setup.reporter, Phase::Analyze, || look(setup, request))
}

/// As [`analyze`], for a phase that comes later and has to know the same.
pub(crate) fn look(setup: &Setup<'_>, request: AnalyzeRequest) -> Result<Analyzed, AnalyzeError> {
    let previous = request.previous.as_ref().and_then(|image| read_previous(setup, image));
    let mut cache = match &request.cache_key {
        None => CacheRecord::default(),
        Some(key) => {
            let found = CacheRecord::read(setup.store, key);
            let found = found.map_err(|source| AnalyzeError::Cache { key: key.clone(), source })?;
            found.filter(|record| is_the_users(setup, record)).unwrap_or_default()
        }
    };
    let portable = request.portable_cache.map(|place| OpenCache::open(setup, place)).transpose();
    let portable = portable.map_err(AnalyzeError::Portable)?;
    if let Some(open) = &portable {
        cache.buildpacks.clone_from(&open.buildpacks);
        cache.sbom.clone_from(&open.sbom);
    }
    let shared = match &request.shared {
        Some(shared) if shared.take => SharedRecord::read(setup.store, shared)
            .map_err(|source| AnalyzeError::Cache { key: shared.key.clone(), source })?,
        _ => SharedRecord::default(),
    };
    Ok(Analyzed {
        target: image_target(&request.run_image),
        run_image_reference: request.run_image.id().to_string(),
        run_image: request.run_image,
        run_image_names: request.run_image_names,
        cache_key: request.cache_key,
        shared_layers: request.shared,
        before: Before { previous, cache, portable, launch_cache: request.launch_cache, shared },
    })
}

/// What is known of the previous image's layers. platform.md lets one with an unreadable label be treated as none; and of one that was made for
/// another execution environment the platform SHOULD NOT restore layers (buildpack.md, "Execution Environments").
fn read_previous(setup: &Setup<'_>, image: &Image) -> Option<LifecycleMetadata> {
    match previous_metadata(image) {
        Ok(Some(metadata)) if !metadata.exec_env.is_empty() && metadata.exec_env != setup.exec_env => None,
        Ok(metadata) => metadata,
        Err(error) => {
            let hint = Some("it is built as if there were no previous image".to_owned());
            let text = format!("the previous image's label cannot be used: {error}");
            setup.reporter.report(&Event::Warning { text, hint });
            None
        }
    }
}

fn previous_metadata(image: &Image) -> Result<Option<LifecycleMetadata>, DocumentError> {
    label(image, LIFECYCLE_METADATA_LABEL).map(LifecycleMetadata::parse).transpose()
}

pub(crate) fn label<'a>(image: &'a Image, key: &str) -> Option<&'a str> {
    let labels = image.config().config().as_ref()?.labels().as_ref()?;
    labels.get(key).map(String::as_str)
}

/// What an image is made for, from its configuration and labels. "If target distribution data is missing, it will be inferred from
/// `/etc/os-release`".
pub fn image_target(image: &Image) -> ImageTarget {
    let target = target_of_config(image);
    ImageTarget { distro: target.distro.or_else(|| os_release(image)), ..target }
}

/// What an image is made for, without a look at its files.
pub(crate) fn target_of_config(image: &Image) -> ImageTarget {
    let config = image.config();
    let labels = config.config().as_ref().and_then(|config| config.labels().as_ref());
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let variant = config.variant().as_deref().unwrap_or_default();
    target_of(&label, &config.os().to_string(), &config.architecture().to_string(), variant)
}

/// What an image with these labels is made for.
pub(crate) fn target_of<'a>(
    label: &dyn Fn(&str) -> Option<&'a str>,
    os: &str,
    architecture: &str,
    variant: &str,
) -> ImageTarget {
    let labelled = label(DISTRO_NAME_LABEL).map(|name| Distribution {
        name: name.to_owned(),
        version: label(DISTRO_VERSION_LABEL).unwrap_or_default().to_owned(),
    });
    let bionic = || {
        let is_bionic = label(STACK_ID_LABEL) == Some("io.buildpacks.stacks.bionic");
        is_bionic.then(|| Distribution { name: "ubuntu".into(), version: "18.04".into() })
    };
    ImageTarget {
        id: label(BASE_ID_LABEL).map(str::to_owned),
        os: os.to_owned(),
        arch: architecture.to_owned(),
        variant: Some(variant.to_owned()).filter(|variant| !variant.is_empty()),
        distro: labelled.or_else(bionic),
    }
}

/// An image whose file cannot be read is one whose distribution is not known.
fn os_release(image: &Image) -> Option<Distribution> {
    let tree = Tree::new(image.lower_dirs().ok()?);
    let path = tree.resolve(Path::new("/etc/os-release")).ok()??;
    Distribution::parse_os_release(&tree.read_text(&path, MAX_OS_RELEASE_BYTES).ok()??)
}
