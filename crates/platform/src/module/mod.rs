//! Buildpacks and image extensions on their way into a builder: found where `builder.toml` says, checked, and put into the store as layers.
//!
//! ```text
//! location ─locate→ folder | tar | package ─read→ Module (descriptor + layer below /cnb/buildpacks/<id>/<version>)
//! ```
//!
//! Everything read here may be a stranger's: sizes are bounded, links stay inside, and what a package's labels say is compared with what is in
//! its layers.

mod error;
mod folder;
mod location;
mod package;

use std::path::Path;

use fs_err as fs;
use hoist_debian::{FetchOptions, Fetcher};
use hoist_image::{Attributes, Kind, Layer, LayerBuilder, LayerError, Lease, LoadLimits, Store, TarFile};
use hoist_spec::{
    BuildpackDescriptor, BuildpackLayerInfo, ExtensionDescriptor, InlineScript, ModuleConfig, OrderGroup, Target,
    escape_id,
};

use crate::builder::BuildpackFiles;
pub use error::ModuleError;
use location::Location;

/// What a buildpack may unpack to. Offline buildpacks with their runtimes have some hundred megabytes.
const MAX_UNPACKED_BYTES: u64 = 8 << 30;
/// What is fetched over HTTP is held in memory.
const MAX_DOWNLOAD_BYTES: u64 = 128 << 20;
/// `buildpack.toml` of the largest composite has some tens of kilobytes.
pub(crate) const MAX_DESCRIPTOR_BYTES: u64 = 1 << 20;
/// The two documents that make a folder a buildpack or an extension.
pub(crate) const DESCRIPTORS: [&str; 2] = ["buildpack.toml", "extension.toml"];

/// A buildpack or an image extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleKind {
    /// A buildpack, also a composite one.
    Buildpack,
    /// An image extension.
    Extension,
}

impl ModuleKind {
    /// `buildpack` or `extension`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Buildpack => "buildpack",
            Self::Extension => "extension",
        }
    }

    /// Where its folders are in a builder.
    pub(crate) fn root(self) -> &'static str {
        match self {
            Self::Buildpack => "/cnb/buildpacks",
            Self::Extension => "/cnb/extensions",
        }
    }
}

/// `buildpack.toml` or `extension.toml`, as far as a builder needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModuleDescriptor {
    /// Which of the two.
    pub kind: ModuleKind,
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// A composite's order.
    pub order: Vec<OrderGroup>,
    /// What it runs on, deprecated stacks translated.
    pub targets: Vec<Target>,
    /// As it stands in the labels of builders and packages, without the layer.
    pub(crate) label: BuildpackLayerInfo,
}

impl ModuleDescriptor {
    /// `id@version`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// Its folder in a builder.
    pub(crate) fn dir(&self) -> std::path::PathBuf {
        Path::new(self.kind.root()).join(escape_id(&self.id)).join(&self.version)
    }

    /// Reads the document called `name`.
    pub(crate) fn parse(name: &str, content: &[u8], location: &str) -> Result<Self, ModuleError> {
        let text = std::str::from_utf8(content)
            .map_err(|_| ModuleError::Encoding { location: location.to_owned(), document: name.to_owned() })?;
        let wrong = |source| ModuleError::Descriptor { location: location.to_owned(), source };
        if name == DESCRIPTORS[1] {
            let found = ExtensionDescriptor::parse(text).map_err(wrong)?;
            let label = BuildpackLayerInfo {
                api: found.api,
                stacks: Vec::new(),
                targets: found.targets.clone(),
                order: Vec::new(),
                layer_diff_id: String::new(),
                homepage: found.extension.homepage,
                name: found.extension.name,
            };
            return Ok(Self {
                kind: ModuleKind::Extension,
                id: found.extension.id,
                version: found.extension.version,
                order: Vec::new(),
                targets: found.targets,
                label,
            });
        }
        let found = BuildpackDescriptor::parse(text).map_err(wrong)?;
        let label = BuildpackLayerInfo {
            api: found.api,
            stacks: found.stacks.clone(),
            targets: found.targets.clone(),
            order: found.order.clone(),
            layer_diff_id: String::new(),
            homepage: found.buildpack.homepage.clone(),
            name: found.buildpack.name.clone(),
        };
        Ok(Self {
            kind: ModuleKind::Buildpack,
            targets: if found.is_composite() { Vec::new() } else { found.effective_targets() },
            id: found.buildpack.id,
            version: found.buildpack.version,
            order: found.order,
            label,
        })
    }
}

/// A buildpack or an extension in the store.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    /// What it is.
    pub descriptor: ModuleDescriptor,
    /// The layer with its folder; a package may have several modules in one.
    pub layer: Layer,
    /// Where it came from, as it was written.
    pub location: String,
}

/// Finds modules.
pub(crate) struct Modules<'a> {
    store: &'a Store,
    /// Relative paths start here: the folder of `builder.toml`.
    base_dir: &'a Path,
    /// The buildpacks that hoist itself has.
    shipped: &'a [BuildpackFiles],
    /// Keeps what was found until the builder stands.
    lease: &'a Lease,
    /// What those may not do who are not asked on this machine.
    confined: Option<Confined>,
}

/// Bounds of a stranger's locations: nothing outside of the base folder is read.
#[derive(Debug, Clone, Copy)]
struct Confined {
    /// Nothing is fetched either.
    offline: bool,
}

impl<'a> Modules<'a> {
    pub(crate) fn new(store: &'a Store, base_dir: &'a Path, shipped: &'a [BuildpackFiles], lease: &'a Lease) -> Self {
        Self { store, base_dir, shipped, lease, confined: None }
    }

    /// The same for locations that a stranger wrote: no file outside of the base folder is read, and nothing fetched if `offline`.
    pub(crate) fn confined(self, offline: bool) -> Self {
        Self { confined: Some(Confined { offline }), ..self }
    }

    /// What an entry of `builder.toml` stands for: the module itself, then what it depends on.
    pub(crate) fn find(&self, wanted: &ModuleConfig) -> Result<Vec<Module>, ModuleError> {
        let found = self.read(wanted)?;
        let ids: Vec<_> = found.iter().map(|module| module.layer.diff_id()).collect();
        self.lease.hold(&ids)?;
        if let Some(main) = found.first() {
            check_wanted(wanted, &main.descriptor)?;
        }
        Ok(found)
    }

    fn read(&self, wanted: &ModuleConfig) -> Result<Vec<Module>, ModuleError> {
        let text = wanted.location.as_str();
        let location = Location::parse(text, wanted.is_image, self.base_dir)?;
        self.check_confined(text, &location)?;
        match location {
            Location::Shipped(id) => self.shipped(text, &id).map(|module| vec![module]),
            Location::Folder(path) if path.join("index.json").is_file() && path.join("oci-layout").is_file() => {
                self.package_file(text, &path)
            }
            Location::Folder(path) => folder::read(self.store, text, &path).map(|module| vec![module]),
            Location::File(path) => self.file(text, &path),
            Location::Http(url) => self.download(text, &url),
            Location::Image(name) => {
                let image = self.store.find_image(&name)?;
                let image = image.ok_or_else(|| ModuleError::NoImage { name: name.to_string() })?;
                package::modules(text, &image)
            }
        }
    }

    fn check_confined(&self, text: &str, location: &Location) -> Result<(), ModuleError> {
        let Some(confined) = self.confined else { return Ok(()) };
        match location {
            Location::Folder(path) | Location::File(path) => {
                let io = |source| ModuleError::Io { location: text.to_owned(), action: "following its path", source };
                let (real, base) = (path.canonicalize().map_err(io)?, self.base_dir.canonicalize().map_err(io)?);
                if real.starts_with(base) { Ok(()) } else { Err(ModuleError::Outside { location: text.to_owned() }) }
            }
            Location::Http(_) if confined.offline => Err(ModuleError::Offline { location: text.to_owned() }),
            _ => Ok(()),
        }
    }

    /// The buildpack that an inline script stands for; `location` says where it is written.
    pub(crate) fn script(&self, script: &InlineScript, location: &str) -> Result<Module, ModuleError> {
        let wrong = |source| ModuleError::Descriptor { location: location.to_owned(), source };
        let document = script.buildpack_toml().map_err(wrong)?;
        let descriptor = ModuleDescriptor::parse(DESCRIPTORS[0], document.as_bytes(), location)?;
        let mut builder = self.store.layer_builder()?;
        let files = [(DESCRIPTORS[0], document)].into_iter().chain(script.programs());
        let layer = files
            .into_iter()
            .try_for_each(|(path, text)| {
                let kind = Kind::File { size_bytes: text.len() as u64, crc32: 0 };
                let attributes = dress(Path::new(path), &kind, 0o644);
                builder.file(descriptor.dir().join(path), attributes, &mut text.as_bytes(), text.len() as u64)?;
                Ok(())
            })
            .and_then(|()| finish(builder, &descriptor));
        let layer = layer.map_err(|source| ModuleError::Layer { location: location.to_owned(), source })?;
        self.lease.hold(&[layer.diff_id()])?;
        Ok(Module { descriptor, layer, location: location.to_owned() })
    }

    fn shipped(&self, text: &str, id: &str) -> Result<Module, ModuleError> {
        let Some(files) = self.shipped.iter().find(|one| one.id == id) else {
            let known = self.shipped.iter().map(|one| one.id.clone()).collect();
            return Err(ModuleError::NotShipped { id: id.to_owned(), known });
        };
        let descriptor = ModuleDescriptor::parse(DESCRIPTORS[0], files.buildpack_toml.as_bytes(), text)?;
        let mut builder = self.store.layer_builder()?;
        let layer = crate::builder::buildpack_files(&mut builder, files).and_then(|()| builder.finish());
        let layer = layer.map_err(|source| ModuleError::Layer { location: text.to_owned(), source })?;
        Ok(Module { descriptor, layer, location: text.to_owned() })
    }

    fn download(&self, text: &str, url: &str) -> Result<Vec<Module>, ModuleError> {
        let failed = |source| ModuleError::Fetch { url: url.to_owned(), source: Box::new(source) };
        let bytes = Fetcher::new(FetchOptions::from_environment()).get(url, MAX_DOWNLOAD_BYTES).map_err(failed)?;
        let scratch = self.store.scratch("module")?;
        let path = scratch.path().join("download");
        let io = |source| ModuleError::Io { location: text.to_owned(), action: "keeping what was fetched", source };
        fs::write(&path, bytes).map_err(io)?;
        self.file(text, &path)
    }

    /// A `.tgz` of a folder, or a package as pack writes it (`.cnb`): an OCI layout in a tar.
    fn file(&self, text: &str, path: &Path) -> Result<Vec<Module>, ModuleError> {
        let tar = TarFile::new(path, MAX_UNPACKED_BYTES);
        let failed = |source| ModuleError::Layer { location: text.to_owned(), source };
        let members = [DESCRIPTORS[0], DESCRIPTORS[1], "index.json"];
        let Some((name, content)) = tar.find(&members, MAX_DESCRIPTOR_BYTES).map_err(failed)? else {
            return Err(ModuleError::NotAModule { location: text.to_owned() });
        };
        if name == "index.json" {
            return self.package_file(text, path);
        }
        let descriptor = ModuleDescriptor::parse(&name, &content, text)?;
        let mut builder = self.store.layer_builder()?;
        let layer = tar.add_to(&mut builder, &descriptor.dir(), &dress).and_then(|()| finish(builder, &descriptor));
        let layer = layer.map_err(failed)?;
        Ok(vec![Module { descriptor, layer, location: text.to_owned() }])
    }

    fn package_file(&self, text: &str, path: &Path) -> Result<Vec<Module>, ModuleError> {
        let limits = LoadLimits { unpacked_bytes: MAX_UNPACKED_BYTES, archive_bytes: MAX_UNPACKED_BYTES };
        // Its own names are not taken over: a package is not asked what an image of this store is to be called.
        let images = self
            .store
            .load_unnamed(path, limits)
            .map_err(|source| ModuleError::Package { location: text.to_owned(), source: Box::new(source) })?;
        let [image] = images.as_slice() else {
            return Err(ModuleError::NotOne { location: text.to_owned(), count: images.len() });
        };
        self.lease.hold_image(image)?;
        package::modules(text, image)
    }
}

/// Owner and mode of a module's files, as pack has them: root's, and executable for all or nobody.
pub(crate) fn dress(path: &Path, kind: &Kind, mode: u32) -> Attributes {
    let program = ["bin/build", "bin/detect", "bin/generate"].iter().any(|name| path == Path::new(name));
    match kind {
        Kind::Directory => Attributes::root(0o755),
        Kind::Symlink { .. } => Attributes::root(0o777),
        _ if program || mode & 0o111 != 0 => Attributes::root(0o755),
        _ => Attributes::root(0o644),
    }
}

/// Closes the layer of a module.
pub(crate) fn finish(mut builder: LayerBuilder, descriptor: &ModuleDescriptor) -> Result<Layer, LayerError> {
    builder.directory(descriptor.dir(), Attributes::root(0o755))?;
    builder.finish()
}

/// "A missing version, a wrong order": an id or version beside the location must be what is found there.
fn check_wanted(wanted: &ModuleConfig, found: &ModuleDescriptor) -> Result<(), ModuleError> {
    for (what, asked, seen) in [("id", &wanted.id, &found.id), ("version", &wanted.version, &found.version)] {
        if let Some(asked) = asked.as_ref().filter(|asked| *asked != seen) {
            return Err(ModuleError::Other {
                location: wanted.location.clone(),
                what,
                wanted: asked.clone(),
                seen: seen.clone(),
            });
        }
    }
    Ok(())
}
