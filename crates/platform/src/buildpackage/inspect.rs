//! `buildpack inspect`: what is in a package, an archive or a folder.

use hoist_image::Image;
use hoist_spec::{
    BUILDPACK_LAYERS_LABEL, BUILDPACKAGE_METADATA_LABEL, BuildpackLayersLabel, BuildpackageMetadata, GroupEntry,
    ModuleConfig, ModuleInfo, OrderGroup, Stack, Target,
};

use super::{PackageError, Place};
use crate::create::image_label;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::module::{Location, Module, ModuleKind, Modules, drop_unnamed, is_layout};

/// Where a buildpack was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildpackPlace {
    /// An image of the store.
    Image,
    /// A file or an OCI layout with a package, or a tar of a buildpack.
    Archive,
    /// The same, behind an address.
    RemoteArchive,
    /// A folder of a buildpack.
    Folder,
    /// One of hoist's own.
    Shipped,
}

/// A buildpack or an extension, as it was found.
#[derive(Debug, Clone)]
pub struct InspectedBuildpack {
    /// Where it was found.
    pub place: BuildpackPlace,
    /// Which of the two.
    pub kind: ModuleKind,
    /// Who it is.
    pub info: ModuleInfo,
    /// Stacks that all of it supports (deprecated).
    pub stacks: Vec<Stack>,
    /// What it is made for; nothing for a composite.
    pub targets: Vec<Target>,
    /// All that is in it, by id and version.
    pub modules: Vec<ModuleInfo>,
    /// The order that it stands for: itself.
    pub order: Vec<OrderGroup>,
    /// Where its parts are, with their orders.
    pub layers: BuildpackLayersLabel,
    /// The package's image, where it is one of the store.
    pub image_id: Option<String>,
}

impl LocalEngine {
    /// Looks at a buildpack: the name of an image, a path, an address.
    pub fn inspect_buildpack(&self, location: &str) -> Result<InspectedBuildpack, PlatformError> {
        let place = Place::typed();
        let wanted = ModuleConfig { location: location.to_owned(), ..ModuleConfig::default() };
        let failed = || place.failed_to("inspecting", &wanted);
        let kind = match Location::parse(location, false, &place.base_dir).map_err(failed())? {
            Location::Shipped(_) => BuildpackPlace::Shipped,
            Location::Folder(path) if is_layout(&path) => BuildpackPlace::Archive,
            Location::Folder(_) => BuildpackPlace::Folder,
            Location::File(_) => BuildpackPlace::Archive,
            Location::Http(_) => BuildpackPlace::RemoteArchive,
            Location::Image(_) => BuildpackPlace::Image,
        };
        let lease = self.store().lease()?;
        let modules = Modules::new(self, &place.base_dir, &self.parts().buildpacks, &lease);
        let found = modules.read(&wanted).map_err(failed())?;
        let inspected = inspected(kind, &found.modules, found.package.as_ref());
        if let Some(image) = found.package.filter(|_| kind != BuildpackPlace::Image) {
            drop_unnamed(self.store(), &image);
        }
        inspected.ok_or_else(|| PackageError::IsPackage { location: location.to_owned() }.into())
    }
}

fn inspected(place: BuildpackPlace, modules: &[Module], package: Option<&Image>) -> Option<InspectedBuildpack> {
    let main = &modules.first()?.descriptor;
    let label = |name: &str| package.and_then(|image| image_label(image, name));
    let metadata = label(BUILDPACKAGE_METADATA_LABEL).and_then(|text| BuildpackageMetadata::parse(&text).ok());
    let layers = label(BUILDPACK_LAYERS_LABEL).and_then(|text| BuildpackLayersLabel::parse(&text).ok());
    let layers = layers.unwrap_or_else(|| {
        let mut label = BuildpackLayersLabel::default();
        for Module { descriptor, layer, .. } in modules {
            let mut info = descriptor.label.clone();
            info.layer_diff_id = layer.diff_id().to_string();
            label.0.entry(descriptor.id.clone()).or_default().insert(descriptor.version.clone(), info);
        }
        label
    });
    let mut infos: Vec<ModuleInfo> = modules.iter().map(|module| module.descriptor.info.clone()).collect();
    infos.sort_by(|one, other| (&one.id, &one.version).cmp(&(&other.id, &other.version)));
    Some(InspectedBuildpack {
        place,
        kind: main.kind,
        info: main.info.clone(),
        stacks: metadata.map_or_else(|| main.label.stacks.clone(), |metadata| metadata.stacks),
        targets: main.label.targets.clone(),
        modules: infos,
        order: vec![OrderGroup { group: vec![GroupEntry::new(main.id.clone(), main.version.clone())] }],
        layers,
        image_id: package.filter(|_| place == BuildpackPlace::Image).map(|image| image.id().to_string()),
    })
}
