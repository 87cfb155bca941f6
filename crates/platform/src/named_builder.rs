//! A builder that was asked for by its name, whoever made it: pack, hoist or an archive that was loaded.
//!
//! What it is made of is in its labels. They are as trustworthy as the image; the buildpacks in it are run in the sandbox either way, and only those
//! of builders that this hoist itself made are taken for hoist's own.

use hoist_image::{Image, Reference};
use hoist_lifecycle::image_target;
use hoist_sandbox::User;
use hoist_spec::{
    BUILDER_METADATA_LABEL, BUILDPACK_LAYERS_LABEL, BUILDPACK_ORDER_LABEL, BuilderLifecycle, BuilderMetadata,
    BuildpackLayersLabel, CreatedBy, DocumentError, EXTENSION_ORDER_LABEL, GroupEntry, MIXINS_LABEL, ModuleInfo, Order,
    OrderGroup, RunImage, STACK_ID_LABEL, SYSTEM_LABEL, System, parse_order_label,
};
use serde::Serialize;

use crate::builder::{BUILDER_NAME, Builder, is_own_builder};
use crate::chosen::Extra;
use crate::create::{BuilderError, image_label, image_user, shown};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::lookup::find_called;
use crate::request::RunImageMirrors;

impl LocalEngine {
    /// The builder of that name, with the first of its run images that is there.
    /// `mirrors` are further names of run images, which are looked for first.
    pub(crate) fn named_builder(&self, name: &Reference, mirrors: &RunImageMirrors) -> Result<Builder, PlatformError> {
        // It would steer the run image alone, and the app would stand on two bases.
        if self.has_lock() {
            return Err(BuilderError::Locked { name: name.to_string() }.into());
        }
        self.bring(name).map_err(BuilderError::from)?;
        let found = self.find_named(name)?;
        let image = found.ok_or_else(|| BuilderError::no_image("builder", name.to_string()))?;
        let labels = Labels::read(&image, &name.to_string())?;
        let (uid, gid) = image_user(&image, "builder", &name.to_string())?;
        let (run_image, run_image_names) = self.run_image_of(&labels.metadata, name, mirrors)?;
        Ok(Builder {
            run_image,
            run_image_names,
            order: labels.order,
            own_buildpacks: self.own_buildpacks_of(&image)?,
            user: User { uid, gid },
            extra: Extra::default(),
            image,
        })
    }

    fn run_image_of(
        &self,
        metadata: &BuilderMetadata,
        name: &Reference,
        mirrors: &RunImageMirrors,
    ) -> Result<(Image, RunImage), PlatformError> {
        let run_images = metadata.run_images();
        let candidates =
            |run: &RunImage| mirrors.of(&run.image).into_iter().chain([run.image.clone()]).chain(run.mirrors.clone());
        let mut missing = None;
        for (run, candidate) in run_images.iter().flat_map(|run| candidates(run).map(move |one| (run, one))) {
            match self.wanted_image("run image", &candidate) {
                Ok(image) => return Ok((image, run.clone())),
                Err(error @ PlatformError::Builder(_)) => missing = missing.or(Some(error)),
                Err(other) => return Err(other),
            }
        }
        Err(missing.unwrap_or_else(|| {
            let problem = format!("{BUILDER_METADATA_LABEL} names no run image");
            BuilderError::NotABuilder { name: name.to_string(), problem }.into()
        }))
    }
}

/// What `builder inspect` shows.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedBuilder {
    /// Its name.
    pub name: String,
    /// The image's id.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Who made it.
    pub created_by: CreatedBy,
    /// The lifecycle that it carries, and the APIs of that.
    pub lifecycle: BuilderLifecycle,
    /// What it is made for: `linux/amd64 (debian 13)`.
    pub target: String,
    /// User id of buildpacks.
    pub uid: u32,
    /// Group id of buildpacks.
    pub gid: u32,
    /// Images that apps run on; the first one is the default.
    pub run_images: Vec<RunImage>,
    /// The buildpacks that it has.
    pub buildpacks: Vec<ModuleInfo>,
    /// Groups in the order in which they are tried, system buildpacks included.
    pub order: Vec<OrderGroup>,
    /// Groups of image extensions.
    pub order_extensions: Vec<OrderGroup>,
    /// The image extensions that it has.
    pub extensions: Vec<ModuleInfo>,
    /// The deprecated id of its stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The mixins of its stack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mixins: Vec<String>,
    /// Whether it is hoist's own.
    #[serde(rename = "default")]
    pub is_default: bool,
    /// Buildpacks around every group.
    #[serde(skip)]
    pub system: System,
    /// The groups without those, as the label has them.
    #[serde(skip)]
    pub plain_order: Vec<OrderGroup>,
    /// Where its buildpacks are, with the orders of composites.
    #[serde(skip)]
    pub layers: BuildpackLayersLabel,
}

impl LocalEngine {
    /// What a builder has; hoist's own where no name is given, which is made if it is not there.
    pub fn inspect_builder(&self, name: Option<&Reference>) -> Result<InspectedBuilder, PlatformError> {
        // By its own name, too, it is made where it is not there.
        let name = name.filter(|name| !is_own_builder(name));
        let is_default = name.is_none();
        let (name, image) = match name {
            None => (BUILDER_NAME.to_owned(), self.builder()?.image),
            Some(name) => {
                self.bring(name).map_err(BuilderError::from)?;
                let image = find_called(self.store(), name)?;
                let image = image.ok_or_else(|| BuilderError::no_image("builder", name.to_string()))?;
                (name.to_string(), image)
            }
        };
        let labels = Labels::read(&image, &name)?;
        let (uid, gid) = image_user(&image, "builder", &name)?;
        Ok(InspectedBuilder {
            id: image.id().to_string(),
            target: shown(&image_target(&image)),
            uid,
            gid,
            run_images: labels.metadata.run_images(),
            description: labels.metadata.description,
            created_by: labels.metadata.created_by,
            lifecycle: labels.metadata.lifecycle,
            buildpacks: labels.metadata.buildpacks,
            order: labels.order.order,
            order_extensions: labels.order.order_extensions,
            extensions: labels.metadata.extensions.unwrap_or_default(),
            stack: image_label(&image, STACK_ID_LABEL),
            mixins: image_label(&image, MIXINS_LABEL)
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            is_default,
            system: labels.system,
            plain_order: labels.groups,
            layers: labels.layers,
            name,
        })
    }
}

/// What the labels of a builder say.
pub(crate) struct Labels {
    pub(crate) metadata: BuilderMetadata,
    /// With the versions that the label may leave out, and with the system buildpacks around each group.
    pub(crate) order: Order,
    /// The same without the system buildpacks.
    pub(crate) groups: Vec<OrderGroup>,
    /// The system buildpacks, with their versions.
    pub(crate) system: System,
    /// Its buildpacks.
    pub(crate) layers: BuildpackLayersLabel,
}

impl Labels {
    pub(crate) fn read(image: &Image, name: &str) -> Result<Self, BuilderError> {
        let labels = image.config().config().as_ref().and_then(|config| config.labels().clone()).unwrap_or_default();
        let not = |problem: String| BuilderError::NotABuilder { name: name.to_owned(), problem };
        let text = |label: &'static str| {
            labels.get(label).map(String::as_str).ok_or_else(|| not(format!("it has no label {label}")))
        };
        let wrong = |error: DocumentError| not(error.to_string());
        let metadata = BuilderMetadata::parse(text(BUILDER_METADATA_LABEL)?).map_err(wrong)?;
        let layers = BuildpackLayersLabel::parse(text(BUILDPACK_LAYERS_LABEL)?).map_err(wrong)?;
        let groups = parse_order_label(BUILDPACK_ORDER_LABEL, text(BUILDPACK_ORDER_LABEL)?).map_err(wrong)?;
        let mut system = match labels.get(SYSTEM_LABEL) {
            Some(text) => System::from_label(text).map_err(wrong)?,
            None => System::default(),
        };
        let filled = |entries: Vec<GroupEntry>| {
            entries.into_iter().map(|entry| with_version(entry, &layers).map_err(not)).collect::<Result<Vec<_>, _>>()
        };
        let groups: Vec<OrderGroup> = groups
            .into_iter()
            .map(|group| Ok(OrderGroup { group: filled(group.group)? }))
            .collect::<Result<_, BuilderError>>()?;
        for side in [&mut system.pre, &mut system.post] {
            side.buildpacks = filled(std::mem::take(&mut side.buildpacks))?;
        }
        let order = system.around(&groups);
        let order_extensions = match labels.get(EXTENSION_ORDER_LABEL) {
            Some(text) => parse_order_label(EXTENSION_ORDER_LABEL, text).map_err(wrong)?,
            None => Vec::new(),
        };
        Ok(Self { metadata, order: Order { order, order_extensions }, groups, system, layers })
    }
}

/// "Builders may leave out the version where they hold one version only."
fn with_version(entry: GroupEntry, layers: &BuildpackLayersLabel) -> Result<GroupEntry, String> {
    if !entry.version.is_empty() {
        return Ok(entry);
    }
    let versions: Vec<&String> = layers.0.get(&entry.id).map(|versions| versions.keys().collect()).unwrap_or_default();
    match versions.as_slice() {
        [only] => Ok(GroupEntry { version: (*only).clone(), ..entry }),
        _ => Err(format!(
            "its order names {} without a version, and it has {} versions of that",
            entry.id,
            versions.len()
        )),
    }
}
