//! Buildpacks and image extensions on their way into a builder: found where `builder.toml` says, checked, and put into the store as layers.
//!
//! ```text
//! location ─locate→ folder | tar | package ─read→ Module (descriptor + layer below /cnb/buildpacks/<id>/<version>)
//! ```
//!
//! Everything read here may be a stranger's: sizes are bounded, links stay inside, and what a package's labels say is compared with what is in
//! its layers.

mod dependencies;
mod error;
mod folder;
mod location;
mod package;
mod unpacked;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{FetchOptions, Fetcher, masked};
use hoist_image::{
    Attributes, Image, Kind, Layer, LayerBuilder, LayerError, Lease, LoadLimits, Reference, Store, TarFile,
};
use hoist_spec::{
    BuildpackDescriptor, BuildpackLayerInfo, ExtensionDescriptor, InlineScript, ModuleConfig, ModuleInfo, OrderGroup,
    Target, escape_id,
};

use crate::builder::BuildpackFiles;
use crate::engine::LocalEngine;
use crate::place::docker_has;
pub use error::ModuleError;
pub(crate) use folder::is_layout;
pub(crate) use location::Location;
use unpacked::FileState;
pub(crate) use unpacked::{UNPACKED_RECORD, forget_gone_files};

/// What a buildpack may unpack to. Offline buildpacks with their runtimes have some hundred megabytes.
const MAX_UNPACKED_BYTES: u64 = 8 << 30;
/// What is fetched over HTTP is held in memory.
pub(crate) const MAX_DOWNLOAD_BYTES: u64 = 128 << 20;
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

    /// `a buildpack` or `an extension`.
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Buildpack => "a buildpack",
            Self::Extension => "an extension",
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
    /// Who it is, as the metadata of builders and packages says it.
    pub(crate) info: ModuleInfo,
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

    /// What is refused where a buildpack is made, and let through in packages and builders that others made.
    fn check_source(&self, location: &str) -> Result<(), ModuleError> {
        if !self.order.is_empty() && !self.label.targets.is_empty() {
            return Err(ModuleError::OrderAndTargets { location: location.to_owned(), module: self.full_name() });
        }
        Ok(())
    }

    /// Reads the document called `name`.
    pub(crate) fn parse(name: &str, content: &[u8], location: &str) -> Result<Self, ModuleError> {
        let text = std::str::from_utf8(content)
            .map_err(|_| ModuleError::Encoding { location: location.to_owned(), document: name.to_owned() })?;
        let wrong = |source| ModuleError::Descriptor { location: location.to_owned(), source };
        if name == DESCRIPTORS[1] {
            let found = ExtensionDescriptor::parse(text).map_err(wrong)?;
            let info = ModuleInfo::from(&found.extension);
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
                info,
                label,
            });
        }
        let found = BuildpackDescriptor::parse(text).map_err(wrong)?;
        let info = ModuleInfo::from(&found.buildpack);
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
            info,
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

/// What was at a place.
pub(crate) struct Found {
    /// The module itself, then what it depends on.
    pub(crate) modules: Vec<Module>,
    /// The image, where it is a package.
    pub(crate) package: Option<Image>,
}

impl Found {
    fn one(module: Module) -> Self {
        Self { modules: vec![module], package: None }
    }
}

/// Finds modules.
pub(crate) struct Modules<'a> {
    engine: &'a LocalEngine,
    store: &'a Store,
    /// Relative paths start here: the folder of `builder.toml`.
    base_dir: &'a Path,
    /// The buildpacks that hoist itself has.
    shipped: &'a [BuildpackFiles],
    /// Keeps what was found until the builder stands.
    lease: &'a Lease,
    /// What those may not do who are not asked on this machine.
    confined: Option<Confined>,
    /// What the modules are for, where folders may have other files for other targets.
    target: Option<Target>,
}

/// Bounds of a stranger's locations.
#[derive(Debug, Clone)]
struct Confined {
    /// Nothing outside of this folder is read.
    root: PathBuf,
    /// Nothing is fetched either.
    offline: bool,
}

impl<'a> Modules<'a> {
    pub(crate) fn new(
        engine: &'a LocalEngine,
        base_dir: &'a Path,
        shipped: &'a [BuildpackFiles],
        lease: &'a Lease,
    ) -> Self {
        Self { engine, store: engine.store(), base_dir, shipped, lease, confined: None, target: None }
    }

    /// The same for locations that a stranger wrote: no file outside of the base folder is read, and nothing fetched if `offline`.
    pub(crate) fn confined(self, offline: bool) -> Self {
        Self { confined: Some(Confined { root: self.base_dir.to_owned(), offline }), ..self }
    }

    /// The same with relative paths from another folder; the bounds stay what they are.
    fn below<'b>(&'b self, base_dir: &'b Path) -> Modules<'b> {
        Modules { base_dir, confined: self.confined.clone(), target: self.target.clone(), ..*self }
    }

    fn location(&self, wanted: &ModuleConfig) -> Result<Location, ModuleError> {
        Location::parse(&wanted.location, wanted.is_image, self.base_dir)
    }

    /// The same, for a target: of a folder that has one of its own for it (`linux/arm64`), that is taken.
    pub(crate) fn for_target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// What an entry of `builder.toml` stands for: the module itself, then what it depends on.
    pub(crate) fn find(&self, wanted: &ModuleConfig) -> Result<Vec<Module>, ModuleError> {
        let file = match self.location(wanted)? {
            Location::File(path) => Some(path),
            _ => None,
        };
        let Some(path) = file else { return self.find_anew(wanted) };
        self.check_confined(&wanted.location, &Location::File(path.clone()))?;
        let state = FileState::of(&wanted.location, &path)?;
        if let Some(modules) = self.unpacked(&wanted.location, &state)? {
            check_wanted(wanted, &modules[0].descriptor)?;
            return Ok(modules);
        }
        let found = self.find_anew(wanted)?;
        // Whoever else may write the file could let its digest stand for something else.
        if self.confined.is_none() {
            self.note_unpacked(&state, &path, &found)?;
        }
        Ok(found)
    }

    fn find_anew(&self, wanted: &ModuleConfig) -> Result<Vec<Module>, ModuleError> {
        let found = self.read(wanted)?;
        if let Some(image) = found.package {
            drop_unnamed(self.store, &image);
        }
        Ok(found.modules)
    }

    /// The same, with the image where it is a package. What came from a file has no name, and is the caller's to name or to remove.
    pub(crate) fn read(&self, wanted: &ModuleConfig) -> Result<Found, ModuleError> {
        let found = self.locate(wanted)?;
        let ids: Vec<_> = found.modules.iter().map(|module| module.layer.diff_id()).collect();
        self.lease.hold(&ids)?;
        if let Some(main) = found.modules.first() {
            check_wanted(wanted, &main.descriptor)?;
        }
        Ok(found)
    }

    /// A module that stands alone; nothing for a package.
    pub(crate) fn read_alone(&self, wanted: &ModuleConfig) -> Result<Option<Module>, ModuleError> {
        let Found { mut modules, package } = self.read(wanted)?;
        if let Some(image) = package {
            drop_unnamed(self.store, &image);
            return Ok(None);
        }
        Ok(modules.pop())
    }

    /// What a folder says of itself; nothing where something else is there. Its files for a target are not looked at.
    pub(crate) fn describe_folder(&self, wanted: &ModuleConfig) -> Result<Option<ModuleDescriptor>, ModuleError> {
        let text = wanted.location.as_str();
        match self.location(wanted)? {
            Location::Folder(path) if !is_layout(&path) => {
                folder::describe(text, &path).map(|(_, _, descriptor)| Some(descriptor))
            }
            _ => Ok(None),
        }
    }

    fn locate(&self, wanted: &ModuleConfig) -> Result<Found, ModuleError> {
        let location = self.location(wanted)?;
        let text = masked(&wanted.location);
        let text = text.as_str();
        self.check_confined(text, &location)?;
        match location {
            Location::Shipped(id) => self.shipped(text, &id).map(Found::one),
            Location::Folder(path) if is_layout(&path) => self.package_file(text, &path),
            Location::Folder(path) => folder::read(self.store, text, &path, self.target.as_ref()).map(Found::one),
            Location::File(path) => self.file(text, &path),
            Location::Http(_) if self.engine.is_offline() => Err(ModuleError::Offline { location: text.to_owned() }),
            Location::Http(url) => self.download(text, &url),
            Location::Image(name) => {
                if self.confined.as_ref().is_none_or(|confined| !confined.offline) {
                    self.engine.bring(&name)?;
                }
                let Some(image) = self.engine.find_named(&name)? else {
                    let in_docker = docker_has(&name.to_string());
                    return Err(ModuleError::NoImage {
                        similar: self.similar(&name)?,
                        name: name.to_string(),
                        in_docker,
                    });
                };
                Ok(Found { modules: package::modules(text, &image)?, package: Some(image) })
            }
        }
    }

    fn check_confined(&self, text: &str, location: &Location) -> Result<(), ModuleError> {
        let Some(confined) = &self.confined else { return Ok(()) };
        match location {
            Location::Folder(path) | Location::File(path) => {
                let io = |source| ModuleError::Io { location: text.to_owned(), action: "following its path", source };
                let (real, base) = (path.canonicalize().map_err(io)?, confined.root.canonicalize().map_err(io)?);
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

    /// Images whose names differ in the registry or the tag alone, or whose last parts are a letter apart.
    fn similar(&self, wanted: &Reference) -> Result<Vec<String>, ModuleError> {
        let last = |name: &Reference| name.repository().rsplit('/').next().unwrap_or_default().to_owned();
        let is_near = |one: &str, other: &str| {
            let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
            let same = |(one, other): &(&char, &char)| one == other;
            let front = one.iter().zip(&other).take_while(same).count();
            let back = one.iter().rev().zip(other.iter().rev()).take_while(same).count();
            let longest = one.len().max(other.len());
            one.len().abs_diff(other.len()) <= 1 && longest > 3 && front + back + 1 >= longest
        };
        let names = self.store.names()?.into_iter().map(|(name, _)| name);
        let near = names.filter(|name| {
            name.repository() == wanted.repository()
                || (last(name) != last(wanted) && is_near(&last(name), &last(wanted)))
        });
        Ok(near.take(5).map(|name| name.to_string()).collect())
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

    fn download(&self, text: &str, url: &str) -> Result<Found, ModuleError> {
        let failed = |source| ModuleError::Fetch { url: text.to_owned(), source: Box::new(source) };
        let bytes = Fetcher::new(FetchOptions::from_environment()).get(url, MAX_DOWNLOAD_BYTES).map_err(failed)?;
        let scratch = self.store.scratch("module")?;
        let path = scratch.path().join("download");
        let io = |source| ModuleError::Io { location: text.to_owned(), action: "keeping what was fetched", source };
        fs::write(&path, bytes).map_err(io)?;
        self.file(text, &path)
    }

    /// A `.tgz` of a folder, or a package as pack writes it (`.cnb`): an OCI layout in a tar.
    fn file(&self, text: &str, path: &Path) -> Result<Found, ModuleError> {
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
        descriptor.check_source(text)?;
        let mut builder = self.store.layer_builder()?;
        let dir = descriptor.dir();
        let added = tar.add_to(&mut builder, &|path| Some(dir.join(path)), &dress);
        let layer = added.and_then(|()| finish(builder, &descriptor));
        let layer = layer.map_err(failed)?;
        Ok(Found::one(Module { descriptor, layer, location: text.to_owned() }))
    }

    fn package_file(&self, text: &str, path: &Path) -> Result<Found, ModuleError> {
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
        match package::modules(text, image) {
            Ok(modules) => Ok(Found { modules, package: Some(image.clone()) }),
            Err(error) => {
                drop_unnamed(self.store, image);
                Err(error)
            }
        }
    }
}

/// Takes the image of a package out of the store whose layers were all that was wanted: it would only stand in lists, without a name. What cannot be
/// removed now goes with the next prune.
pub(crate) fn drop_unnamed(store: &Store, image: &Image) {
    let _ = store.remove_unnamed(image.id());
}

/// Owner and mode of a module's files, as pack has them: root's, and executable for all or nobody.
pub(crate) fn dress(path: &Path, kind: &Kind, mode: u32) -> Attributes {
    let program = ["bin/build", "bin/detect", "bin/generate"].iter().any(|name| path == Path::new(name));
    match kind {
        Kind::Directory => Attributes::root(0o755),
        _ if program || mode & 0o111 != 0 => Attributes::root(0o755),
        _ => Attributes::root(0o644),
    }
}

/// Closes the layer of a module: as pack makes it, it begins with the folder of the id.
pub(crate) fn finish(mut builder: LayerBuilder, descriptor: &ModuleDescriptor) -> Result<Layer, LayerError> {
    let dir = descriptor.dir();
    for dir in dir.parent().into_iter().chain([dir.as_path()]) {
        builder.directory(dir, Attributes::root(0o755))?;
    }
    builder.leave_out_parents();
    builder.finish()
}

/// One layer with the folders of several modules.
pub(crate) fn flatten(store: &Store, modules: &[&Module]) -> Result<Layer, LayerError> {
    let mut builder = store.layer_builder()?;
    for Module { descriptor, layer, .. } in modules {
        let dir = descriptor.dir();
        for entry in layer.entries()? {
            let entry = entry?;
            if entry.path.starts_with(&dir) {
                builder.link_entry(layer, &entry)?;
            }
        }
        for dir in dir.parent().into_iter().chain([dir.as_path()]) {
            builder.directory(dir, Attributes::root(0o755))?;
        }
    }
    builder.leave_out_parents();
    builder.finish()
}

/// "A missing version, a wrong order": an id or version beside the location must be what is found there.
fn check_wanted(wanted: &ModuleConfig, found: &ModuleDescriptor) -> Result<(), ModuleError> {
    for (what, asked, seen) in [("id", &wanted.id, &found.id), ("version", &wanted.version, &found.version)] {
        if let Some(asked) = asked.as_ref().filter(|asked| *asked != seen) {
            return Err(ModuleError::Other {
                location: masked(&wanted.location),
                what,
                wanted: asked.clone(),
                seen: seen.clone(),
            });
        }
    }
    Ok(())
}
