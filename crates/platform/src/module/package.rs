//! A package: an image with one or more modules, as `pack buildpack package` makes it (distribution.md, "Buildpackage").
//!
//! Its labels say which modules are in which layer. They are a stranger's, so each is compared with the `buildpack.toml` in the layer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;
use hoist_image::{DiffId, Image, Kind, Layer};
use hoist_spec::{
    BUILDPACK_LAYERS_LABEL, BUILDPACKAGE_METADATA_LABEL, BuildpackLayersLabel, BuildpackageMetadata,
    EXTENSION_LAYERS_LABEL, escape_id,
};

use super::{DESCRIPTORS, MAX_DESCRIPTOR_BYTES, Module, ModuleDescriptor, ModuleError, ModuleKind};

/// More than the largest composite has.
const MAX_MODULES: usize = 2000;

/// The modules of a package, its own first.
pub(super) fn modules(location: &str, image: &Image) -> Result<Vec<Module>, ModuleError> {
    let labels = image.config().config().as_ref().and_then(|config| config.labels().clone()).unwrap_or_default();
    let label = |name: &'static str| labels.get(name).map(String::as_str);
    let wrong = |error: hoist_spec::DocumentError| ModuleError::Label {
        location: location.to_owned(),
        problem: error.to_string(),
    };
    let metadata = label(BUILDPACKAGE_METADATA_LABEL).ok_or_else(|| ModuleError::NotAPackage {
        location: location.to_owned(),
        label: BUILDPACKAGE_METADATA_LABEL,
    })?;
    let metadata = BuildpackageMetadata::parse(metadata).map_err(wrong)?.info;
    let layers: BTreeMap<DiffId, Layer> = image.layers()?.into_iter().map(|layer| (layer.diff_id(), layer)).collect();
    let mut found = Vec::new();
    for (name, kind) in
        [(BUILDPACK_LAYERS_LABEL, ModuleKind::Buildpack), (EXTENSION_LAYERS_LABEL, ModuleKind::Extension)]
    {
        let Some(text) = label(name) else { continue };
        for (id, versions) in BuildpackLayersLabel::parse(text).map_err(wrong)?.0 {
            for (version, info) in versions {
                if found.len() >= MAX_MODULES {
                    let problem = format!("{name} names more than {MAX_MODULES} modules");
                    return Err(ModuleError::Label { location: location.to_owned(), problem });
                }
                let layer = info.layer_diff_id.parse().ok().and_then(|diff_id: DiffId| layers.get(&diff_id));
                let layer = layer.ok_or_else(|| ModuleError::Label {
                    location: location.to_owned(),
                    problem: format!("{id}@{version} is to be in layer {}, which it does not have", info.layer_diff_id),
                })?;
                found.push(module(location, layer, kind, &id, &version)?);
            }
        }
    }
    let is_main =
        |module: &Module| module.descriptor.id == metadata.id && module.descriptor.version == metadata.version;
    let Some(main) = found.iter().position(is_main) else {
        let problem = format!("its own {}@{} is not in {BUILDPACK_LAYERS_LABEL}", metadata.id, metadata.version);
        return Err(ModuleError::Label { location: location.to_owned(), problem });
    };
    found[..=main].rotate_right(1);
    check_layers(location, &found)?;
    Ok(found)
}

/// A layer of a package lies over the builder's programs: it may hold nothing but the modules that it is said to hold, and hide nothing.
fn check_layers(location: &str, modules: &[Module]) -> Result<(), ModuleError> {
    let mut dirs: BTreeMap<DiffId, (&Layer, Vec<PathBuf>)> = BTreeMap::new();
    for Module { descriptor, layer, .. } in modules {
        dirs.entry(layer.diff_id()).or_insert_with(|| (layer, Vec::new())).1.push(descriptor.dir());
    }
    for (layer, dirs) in dirs.into_values() {
        for entry in layer.entries()? {
            let entry = entry?;
            let inside = dirs.iter().any(|dir| entry.path.starts_with(dir));
            let above = entry.kind == Kind::Directory && dirs.iter().any(|dir| dir.starts_with(&entry.path));
            let plain = matches!(
                entry.kind,
                Kind::Directory | Kind::File { .. } | Kind::Symlink { .. } | Kind::HardLink { .. }
            );
            if !(above || inside && plain) {
                let problem = format!("its layer holds {}, which is no file of its buildpacks", entry.path.display());
                return Err(ModuleError::Label { location: location.to_owned(), problem });
            }
        }
    }
    Ok(())
}

pub(super) fn module(
    location: &str,
    layer: &Layer,
    kind: ModuleKind,
    id: &str,
    version: &str,
) -> Result<Module, ModuleError> {
    let document = DESCRIPTORS[usize::from(kind == ModuleKind::Extension)];
    let wrong = |problem: String| ModuleError::Label { location: location.to_owned(), problem };
    let path = std::path::Path::new(kind.root()).join(escape_id(id)).join(version).join(document);
    let entry = layer.entry(&path)?;
    // The index of the layer knows that every folder on the way is one; no link is followed.
    let file =
        entry.filter(|entry| matches!(entry.kind, Kind::File { size_bytes, .. } if size_bytes <= MAX_DESCRIPTOR_BYTES));
    let Some(file) = file else {
        return Err(wrong(format!("{id}@{version} has no usable {} in its layer", path.display())));
    };
    let io = |source| ModuleError::Io { location: location.to_owned(), action: "reading its descriptor", source };
    let content = fs::read(layer.file_path(file)).map_err(io)?;
    let descriptor = ModuleDescriptor::parse(document, &content, location)?;
    if descriptor.id != id || descriptor.version != version {
        return Err(wrong(format!("the label has {id}@{version} where {document} has {}", descriptor.full_name())));
    }
    Ok(Module { descriptor, layer: layer.clone(), location: location.to_owned() })
}
