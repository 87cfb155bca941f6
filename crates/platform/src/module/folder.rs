//! A module as a folder on the host: `buildpack.toml` or `extension.toml` and whatever else is there.
//!
//! A folder may have other files for other targets in folders of theirs (`linux/arm64`), as pack takes them; the descriptor is the root's.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Attributes, Kind, LayerBuilder, LayerError, Store, leads_out};
use hoist_spec::Target;

use crate::bounded::read_bytes;

use super::{DESCRIPTORS, MAX_DESCRIPTOR_BYTES, Module, ModuleDescriptor, ModuleError, dress, finish};

/// Whether a folder is an OCI layout, and so a package.
pub(crate) fn is_layout(dir: &Path) -> bool {
    dir.join("index.json").is_file() && dir.join("oci-layout").is_file()
}

/// The descriptor of a folder: the name of its file, its bytes, and what it says.
pub(super) fn describe(location: &str, dir: &Path) -> Result<(&'static str, Vec<u8>, ModuleDescriptor), ModuleError> {
    let name = DESCRIPTORS.into_iter().find(|name| dir.join(name).is_file());
    let Some(name) = name else { return Err(ModuleError::NotAModule { location: location.to_owned() }) };
    let content = read_document(location, dir, name, MAX_DESCRIPTOR_BYTES)?;
    let descriptor = ModuleDescriptor::parse(name, &content, location)?;
    descriptor.check_source(location)?;
    Ok((name, content, descriptor))
}

/// A document of the folder, which may be a stranger's: what is wrong in it is told, so no link is followed to a file of this machine.
pub(super) fn read_document(location: &str, dir: &Path, name: &str, max_bytes: u64) -> Result<Vec<u8>, ModuleError> {
    let path = dir.join(name);
    let io = |source| ModuleError::Io { location: location.to_owned(), action: "reading its descriptor", source };
    let real = path.canonicalize().map_err(io)?;
    if !real.starts_with(dir.canonicalize().map_err(io)?) {
        let source = LayerError::Path { path, reason: "it is a symbolic link that leads out of the buildpack" };
        return Err(ModuleError::Layer { location: location.to_owned(), source });
    }
    read_bytes(&real, max_bytes).map_err(io)
}

/// Reads the folder into a layer; the folder stays as it is.
pub(super) fn read(store: &Store, location: &str, dir: &Path, target: Option<&Target>) -> Result<Module, ModuleError> {
    let (name, content, descriptor) = describe(location, dir)?;
    let content_dir = target.map_or_else(|| dir.to_owned(), |target| platform_dir(dir, target));
    check_programs(location, &content_dir, &descriptor)?;
    let failed = |source| ModuleError::Layer { location: location.to_owned(), source };
    let mut builder = store.layer_builder()?;
    let mut reading = Reading {
        builder: &mut builder,
        root: &content_dir,
        image_dir: descriptor.dir(),
        seen: HashMap::new(),
        written: None,
    };
    if content_dir != dir {
        reading.descriptor(name, &content).map_err(failed)?;
    }
    reading.add(&content_dir).map_err(failed)?;
    let layer = finish(builder, &descriptor).map_err(failed)?;
    Ok(Module { descriptor, layer, location: location.to_owned() })
}

/// The folder below `root` with the files for a target: as many of `os`, `arch`, `variant` and `distro@version` as there are folders for.
fn platform_dir(root: &Path, target: &Target) -> PathBuf {
    let mut dir = root.to_owned();
    let distro = target.distros.first().map(|distro| format!("{}@{}", distro.name, distro.version));
    let parts = [target.os.as_str(), &target.arch, &target.variant].into_iter().filter(|part| !part.is_empty());
    for part in parts.map(str::to_owned).chain(distro) {
        let below = dir.join(part);
        // A link would lead wherever it likes.
        if !fs::symlink_metadata(&below).is_ok_and(|about| about.is_dir()) {
            break;
        }
        dir = below;
    }
    dir
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

/// A folder on its way into a layer.
struct Reading<'a> {
    builder: &'a mut LayerBuilder,
    root: &'a Path,
    image_dir: PathBuf,
    /// Where files with several names went, by device and inode: the later names become hard links, as pack makes them.
    seen: HashMap<(u64, u64), PathBuf>,
    /// A file of the folder in whose place another one is in the layer already.
    written: Option<PathBuf>,
}

impl Reading<'_> {
    /// The descriptor of the root, which counts also for the folder of a target.
    fn descriptor(&mut self, name: &str, content: &[u8]) -> Result<(), LayerError> {
        let place = self.image_dir.join(name);
        self.builder.file(place, Attributes::root(0o644), &mut &*content, content.len() as u64)?;
        self.written = Some(self.root.join(name));
        Ok(())
    }

    /// In the order of the names, so that of a file with several names the same one is always the first.
    fn add(&mut self, dir: &Path) -> Result<(), LayerError> {
        let io = |source| LayerError::Io { path: dir.to_owned(), action: "listing the folder", source };
        let mut entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(io)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let host = entry.path();
            if self.written.as_ref() != Some(&host) {
                self.add_one(&host)?;
            }
        }
        Ok(())
    }

    fn add_one(&mut self, host: &Path) -> Result<(), LayerError> {
        let io = |action| move |source| LayerError::Io { path: host.to_owned(), action, source };
        let below = host.strip_prefix(self.root).unwrap_or(host).to_owned();
        let about = fs::symlink_metadata(host).map_err(io("looking at a file"))?;
        let place = self.image_dir.join(&below);
        let mode = about.mode() & 0o7777;
        let refuse = |reason| Err(LayerError::Path { path: host.to_owned(), reason });
        if host.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".wh.")) {
            return refuse("a name that begins with `.wh.` would delete files of the image below");
        }
        if about.is_dir() {
            self.builder.directory(&place, dress(&below, &Kind::Directory, mode))?;
            return self.add(host);
        }
        if about.is_symlink() {
            let target = fs::read_link(host).map_err(io("reading a link"))?;
            if leads_out(&below, &target) {
                return refuse("it is a symbolic link that leads out of the buildpack");
            }
            let kind = Kind::Symlink { target: target.clone() };
            self.builder.symlink(&place, target, dress(&below, &kind, mode))?;
            return Ok(());
        }
        if !about.is_file() {
            return refuse("it is neither a file nor a folder nor a link");
        }
        if about.nlink() > 1 {
            let inode = (about.dev(), about.ino());
            if let Some(first) = self.seen.get(&inode) {
                self.builder.hard_link(&place, first)?;
                return Ok(());
            }
            self.seen.insert(inode, place.clone());
        }
        let kind = Kind::File { size_bytes: about.len(), crc32: 0 };
        self.builder.copy_file(&place, dress(&below, &kind, mode), host)?;
        Ok(())
    }
}
