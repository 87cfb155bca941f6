//! A module as a folder on the host: `buildpack.toml` or `extension.toml` and whatever else is there.

use std::path::Path;

use fs_err as fs;
use hoist_image::{Kind, LayerBuilder, LayerError, Store, leads_out};

use super::{DESCRIPTORS, MAX_DESCRIPTOR_BYTES, Module, ModuleDescriptor, ModuleError, dress, finish};

/// Reads the folder into a layer; the folder stays as it is.
pub(super) fn read(store: &Store, location: &str, dir: &Path) -> Result<Module, ModuleError> {
    let name = DESCRIPTORS.into_iter().find(|name| dir.join(name).is_file());
    let Some(name) = name else { return Err(ModuleError::NotAModule { location: location.to_owned() }) };
    let io = |source| ModuleError::Io { location: location.to_owned(), action: "reading its descriptor", source };
    let mut content = Vec::new();
    let file = fs::File::open(dir.join(name)).map_err(io)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_DESCRIPTOR_BYTES), &mut content).map_err(io)?;
    let descriptor = ModuleDescriptor::parse(name, &content, location)?;
    check_programs(location, dir, &descriptor)?;
    let failed = |source| ModuleError::Layer { location: location.to_owned(), source };
    let mut builder = store.layer_builder()?;
    add(&mut builder, dir, &descriptor.dir()).map_err(failed)?;
    let layer = finish(builder, &descriptor).map_err(failed)?;
    Ok(Module { descriptor, layer, location: location.to_owned() })
}

/// A component without programs would only fail when somebody builds with it.
fn check_programs(location: &str, dir: &Path, descriptor: &ModuleDescriptor) -> Result<(), ModuleError> {
    let needed: &[&'static str] = match descriptor.kind {
        super::ModuleKind::Buildpack if descriptor.order.is_empty() => &["bin/detect", "bin/build"],
        _ => &[],
    };
    match needed.iter().find(|program| !dir.join(program).exists()) {
        Some(program) => {
            Err(ModuleError::NoProgram { location: location.to_owned(), module: descriptor.full_name(), program })
        }
        None => Ok(()),
    }
}

fn add(builder: &mut LayerBuilder, root: &Path, image_dir: &Path) -> Result<(), LayerError> {
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        let io = |action| {
            let path = dir.clone();
            move |source| LayerError::Io { path, action, source }
        };
        for entry in fs::read_dir(&dir).map_err(io("listing the folder"))? {
            let entry = entry.map_err(io("listing the folder"))?;
            let host = entry.path();
            let below = host.strip_prefix(root).unwrap_or(&host).to_owned();
            let about = fs::symlink_metadata(&host).map_err(io("looking at a file"))?;
            let place = image_dir.join(&below);
            let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o7777;
            let refuse = |reason| Err(LayerError::Path { path: host.clone(), reason });
            if entry.file_name().to_string_lossy().starts_with(".wh.") {
                return refuse("a name that begins with `.wh.` would delete files of the image below");
            }
            if about.is_dir() {
                builder.directory(&place, dress(&below, &Kind::Directory, mode))?;
                waiting.push(host);
            } else if about.is_symlink() {
                let target = fs::read_link(&host).map_err(io("reading a link"))?;
                if leads_out(&below, &target) {
                    return refuse("it is a symbolic link that leads out of the buildpack");
                }
                let kind = Kind::Symlink { target: target.clone() };
                builder.symlink(&place, target, dress(&below, &kind, mode))?;
            } else if about.is_file() {
                let kind = Kind::File { size_bytes: about.len(), crc32: 0 };
                builder.copy_file(&place, dress(&below, &kind, mode), &host)?;
            } else {
                return refuse("it is neither a file nor a folder nor a link");
            }
        }
    }
    Ok(())
}
