//! Reading images that other tools wrote: OCI layouts (folder or tar) and docker-archives, plain or compressed.
//!
//! Nothing in an archive is trusted: documents are bounded and must have the digests they are called by, a layer must have the diffID that the
//! configuration names, members are found by name in a list made beforehand and never unpacked as paths.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use crate::compress::decoder;
use crate::digest::{DiffId, Digest};
use crate::error::{LayerError, StoreError, io_hint};
use crate::image::{Image, MAX_CONFIG_BYTES, MAX_LAYERS};
use crate::layer::Layer;
use crate::load_layer::{LayerSource, load_layer};
use crate::reference::Reference;
use crate::source::Source;
use crate::store::Store;

/// Images in one archive.
const MAX_IMAGES: usize = 200;
/// Indexes inside indexes.
const MAX_NESTING: usize = 3;

/// What an archive may cost.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits {
    /// Bytes of all layers together when they are unpacked.
    pub unpacked_bytes: u64,
    /// Bytes of the archive itself, when it comes from a pipe or is compressed as a whole.
    pub archive_bytes: u64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { unpacked_bytes: 64 << 30, archive_bytes: 64 << 30 }
    }
}

/// An image that was loaded, and the names that the archive gave it.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// Its names; they stand for it now.
    pub names: Vec<Reference>,
}

/// An archive cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no image archive.
    #[error("loading images from `{}`: it has neither `manifest.json` nor `index.json`", .path.display())]
    NotAnArchive {
        /// The file or folder.
        path: PathBuf,
    },
    /// The tar cannot be read.
    #[error("loading images from `{}`: {action}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: String,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// Something that the archive refers to is not in it.
    #[error("loading images: `{name}` is not in the archive, but its `{wanted_by}` needs it")]
    Missing {
        /// What.
        name: String,
        /// Who needs it.
        wanted_by: String,
    },
    /// A document is not what it must be.
    #[error("loading images: `{name}`: {problem}")]
    Document {
        /// Which.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Bytes do not have the digest they are called by.
    #[error("loading images: `{name}` should have the digest {expected} and has {seen}")]
    Digest {
        /// What.
        name: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        seen: Digest,
    },
    /// It would become larger than is allowed.
    #[error("loading images: {what} is larger than the {limit_bytes} bytes that are allowed")]
    TooLarge {
        /// What.
        what: String,
        /// How much is allowed.
        limit_bytes: u64,
    },
    /// A layer's tar cannot be read.
    #[error("loading layer {diff_id}")]
    LayerTar {
        /// Which.
        diff_id: DiffId,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// A layer holds what cannot be in the store.
    #[error("loading layer {diff_id}")]
    Layer {
        /// Which.
        diff_id: DiffId,
        /// What was wrong.
        #[source]
        source: LayerError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LoadError {
    /// Whether the machine or the store failed, and not the archive.
    pub fn is_of_the_machine(&self) -> bool {
        let full = |source: &io::Error| {
            matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
            )
        };
        match self {
            Self::Store(_) => true,
            Self::Layer { source, .. } => {
                matches!(source, LayerError::Store(_))
                    || matches!(source, LayerError::Io { source, .. } if source.kind() != io::ErrorKind::InvalidData)
            }
            Self::Read { source, .. } | Self::LayerTar { source, .. } => full(source),
            _ => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NotAnArchive { .. } => {
                "make one with `hoist image save`, `docker save`, `podman save` or `skopeo copy … oci-archive:FILE`"
                    .to_owned()
            }
            Self::Read { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("you may not read `{}`: change that, or load it as somebody who may", path.display())
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "look at the path: it is a file or a folder, or `-` for standard input".to_owned()
            }
            Self::Read { source, .. } | Self::LayerTar { source, .. }
                if source.kind() != io::ErrorKind::InvalidData =>
            {
                io_hint(source)
            }
            Self::TooLarge { .. } => "if you trust it, allow more: `hoist image load --max-size 200G …`".to_owned(),
            Self::Store(error) => error.hint(),
            Self::Layer { source, .. } => match source {
                LayerError::Store(_) => source.hint(),
                LayerError::Io { source: refused, .. } if refused.kind() != io::ErrorKind::InvalidData => source.hint(),
                _ => "the layer was not made by a usual tool; do not use it if you do not know where it comes from"
                    .to_owned(),
            },
            _ => "the archive is damaged or was tampered with: fetch or save it again".to_owned(),
        }
    }
}

/// A descriptor of the image specification, as far as it is needed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

impl Store {
    /// Loads all images of an OCI layout or a docker-archive at `path`.
    pub fn load(&self, path: &Path, limits: LoadLimits) -> Result<Vec<Loaded>, LoadError> {
        let scratch = self.scratch("load")?;
        let source = Source::open(path, scratch.path(), limits)?;
        Loading::new(self, &source, limits).load()
    }

    /// As [`load`](Self::load), but the images get no names: what a stranger's archive calls itself does not matter here. They stay only while a
    /// lease holds them or something refers to them.
    pub fn load_unnamed(&self, path: &Path, limits: LoadLimits) -> Result<Vec<Image>, LoadError> {
        let scratch = self.scratch("load")?;
        let source = Source::open(path, scratch.path(), limits)?;
        let mut loading = Loading { names: Names::Given(&[]), ..Loading::new(self, &source, limits) };
        Ok(loading.load()?.into_iter().map(|loaded| loaded.image).collect())
    }

    /// Loads one layer: the file `name` in the folder `dir`, a tar that must have this diffID. None where there is no such file; links are not
    /// followed. A layer that the store has is not read. It stays only while a lease holds it or something refers to it.
    pub fn load_layer_tar(
        &self,
        dir: &Path,
        name: &str,
        diff_id: &DiffId,
        limits: LoadLimits,
    ) -> Result<Option<Layer>, LoadError> {
        if let Some(layer) = self.layer(diff_id)? {
            return Ok(Some(layer));
        }
        let source = Source::Folder(dir.to_owned());
        if !source.has(name) {
            return Ok(None);
        }
        let layer = LayerSource { name: name.to_owned(), blob: None, is_kept: false };
        load_layer(self, &source, *diff_id, &layer, limits.unpacked_bytes, limits.unpacked_bytes)?;
        Ok(self.layer(diff_id)?)
    }

    /// As [`load`](Self::load), from a pipe.
    pub fn load_from(&self, reader: &mut dyn Read, limits: LoadLimits) -> Result<Vec<Loaded>, LoadError> {
        let scratch = self.scratch("load")?;
        let source = Source::spool(reader, Path::new("-"), scratch.path(), limits)?;
        Loading::new(self, &source, limits).load()
    }

    /// The one image of an archive that comes through a pipe, under `names` and not under those that the archive gives it.
    pub(crate) fn load_as(
        &self,
        reader: &mut dyn Read,
        names: &[Reference],
        limits: LoadLimits,
    ) -> Result<Image, LoadError> {
        let scratch = self.scratch("load")?;
        let source = Source::spool(reader, Path::new("-"), scratch.path(), limits)?;
        let mut loading = Loading { names: Names::Given(names), ..Loading::new(self, &source, limits) };
        let mut loaded = loading.load()?;
        match (loaded.pop(), loaded.len()) {
            (Some(one), 0) => Ok(one.image),
            (_, more) => Err(LoadError::Document {
                name: "the archive".to_owned(),
                problem: if more == 0 {
                    format!("it has no image for this machine ({})", std::env::consts::ARCH)
                } else {
                    format!("it has {} images, and one was asked for", more + 1)
                },
            }),
        }
    }
}

struct Loading<'a> {
    store: &'a Store,
    source: &'a Source,
    /// Bytes that layers may still unpack to.
    left_bytes: u64,
    limit_bytes: u64,
    names: Names<'a>,
}

/// What images are called.
enum Names<'a> {
    /// As the archive says.
    Archive,
    /// As somebody else says.
    Given(&'a [Reference]),
}

impl<'a> Loading<'a> {
    fn new(store: &'a Store, source: &'a Source, limits: LoadLimits) -> Self {
        Self {
            store,
            source,
            left_bytes: limits.unpacked_bytes,
            limit_bytes: limits.unpacked_bytes,
            names: Names::Archive,
        }
    }

    fn load(&mut self) -> Result<Vec<Loaded>, LoadError> {
        if self.source.has("manifest.json") {
            self.load_docker()
        } else if self.source.has("index.json") {
            self.load_oci()
        } else {
            Err(LoadError::NotAnArchive { path: self.source.path().to_owned() })
        }
    }

    fn load_docker(&mut self) -> Result<Vec<Loaded>, LoadError> {
        let bytes = self.source.read_small("manifest.json", "archive")?;
        let images: Vec<DockerImage> = parse("manifest.json", &bytes)?;
        check_count("manifest.json", images.len())?;
        let mut loaded = Vec::new();
        for image in images {
            let config = self.source.read_small(&image.config, "manifest.json")?;
            // its name is its digest, with or without a folder; what has another name was not made by any known tool
            let stem = Path::new(&image.config).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if let Ok(expected) = Digest::from_hex(stem) {
                check_digest(&image.config, expected, Digest::of(&config))?;
            }
            let layers = image.layers.iter().map(|name| LayerSource { name: name.clone(), blob: None, is_kept: false });
            let names = image.names.unwrap_or_default();
            let names = names.iter().filter_map(|name| name.parse().ok()).collect();
            loaded.push(self.put(&image.config, config, layers.collect(), names)?);
        }
        Ok(loaded)
    }

    fn load_oci(&mut self) -> Result<Vec<Loaded>, LoadError> {
        let bytes = self.source.read_small("index.json", "archive")?;
        let index: Index = parse("index.json", &bytes)?;
        check_count("index.json", index.manifests.len())?;
        let mut manifests: Vec<(Descriptor, Vec<Reference>)> = Vec::new();
        for listed in index.manifests {
            let name = name_of(&listed);
            let Some(manifest) = self.resolve(listed, 0)? else { continue };
            match manifests.iter_mut().find(|(known, _)| known.digest == manifest.digest) {
                Some((_, names)) => names.extend(name),
                None => manifests.push((manifest, name.into_iter().collect())),
            }
        }
        let mut loaded = Vec::new();
        for (manifest, names) in manifests {
            let document = manifest.digest.to_string();
            let manifest: Manifest = parse(&document, &self.blob(&manifest, "index.json")?)?;
            let config = self.blob(&manifest.config, &document)?;
            let layers = manifest.layers.into_iter().map(|layer| LayerSource {
                name: blob_name(&layer.digest),
                blob: Some((layer.digest, layer.size)),
                is_kept: false,
            });
            loaded.push(self.put(&manifest.config.digest.to_string(), config, layers.collect(), names)?);
        }
        Ok(loaded)
    }

    /// Follows indexes to the manifest for this machine; attestations and other machines' images are passed over.
    fn resolve(&self, listed: Descriptor, depth: usize) -> Result<Option<Descriptor>, LoadError> {
        if !listed.media_type.contains("index") && !listed.media_type.contains("manifest.list") {
            return Ok(Some(listed).filter(|listed| suits(listed.platform.as_ref())));
        }
        let name = listed.digest.to_string();
        if depth >= MAX_NESTING {
            return Err(LoadError::Document { name, problem: "indexes lie in indexes too deeply".to_owned() });
        }
        let index: Index = parse(&name, &self.blob(&listed, "index.json")?)?;
        check_count(&name, index.manifests.len())?;
        for inner in index.manifests {
            // archives of one machine have other machines' manifests in the index but not in the blobs
            if suits(inner.platform.as_ref()) && self.source.has(&blob_name(&inner.digest)) {
                return self.resolve(inner, depth + 1);
            }
        }
        Ok(None)
    }

    /// A small blob whose length and digest are as its descriptor says.
    fn blob(&self, descriptor: &Descriptor, wanted_by: &str) -> Result<Vec<u8>, LoadError> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.source.read_small(&name, wanted_by)?;
        check_digest(&name, descriptor.digest, Digest::of(&bytes))?;
        if bytes.len() as u64 != descriptor.size {
            return Err(LoadError::Document {
                name,
                problem: format!("it has {} bytes, its descriptor says {}", bytes.len(), descriptor.size),
            });
        }
        Ok(bytes)
    }

    fn put(
        &mut self,
        name: &str,
        config: Vec<u8>,
        layers: Vec<LayerSource>,
        names: Vec<Reference>,
    ) -> Result<Loaded, LoadError> {
        let wrong = |problem| LoadError::Document { name: name.to_owned(), problem };
        let image = Image::parse(self.store, config.clone()).map_err(wrong)?;
        if layers.len() != image.diff_ids().len() || layers.len() > MAX_LAYERS {
            let problem = format!("it names {} layers, the archive has {}", image.diff_ids().len(), layers.len());
            return Err(wrong(problem));
        }
        for (diff_id, layer) in image.diff_ids().iter().zip(layers) {
            if self.store.layer(diff_id)?.is_none() {
                let size = load_layer(self.store, self.source, *diff_id, &layer, self.left_bytes, self.limit_bytes)?;
                self.left_bytes = self.left_bytes.saturating_sub(size);
            }
        }
        let names = match self.names {
            Names::Archive => names,
            Names::Given(given) => given.to_vec(),
        };
        let image = self.store.put_image_bytes(config, &names)?;
        Ok(Loaded { image, names })
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(crate) fn check_digest(name: &str, expected: Digest, seen: Digest) -> Result<(), LoadError> {
    if expected == seen {
        return Ok(());
    }
    Err(LoadError::Digest { name: name.to_owned(), expected, seen })
}

fn check_count(name: &str, count: usize) -> Result<(), LoadError> {
    if count <= MAX_IMAGES {
        return Ok(());
    }
    Err(LoadError::Document {
        name: name.to_owned(),
        problem: format!("it lists {count} images, {MAX_IMAGES} are allowed"),
    })
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes)
        .map_err(|error| LoadError::Document { name: name.to_owned(), problem: error.to_string() })
}

fn suits(platform: Option<&Platform>) -> bool {
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    platform.is_none_or(|platform| platform.os == "linux" && platform.architecture == here)
}

/// The name that an index gives: containerd's annotation has the whole name, the specification's often a tag alone, which names nothing.
fn name_of(listed: &Descriptor) -> Option<Reference> {
    let text = |key: &str| listed.annotations.get(key);
    let full = text("io.containerd.image.name").and_then(|name| name.parse().ok());
    let short = text("org.opencontainers.image.ref.name").filter(|name| *name != "latest");
    full.or_else(|| short.and_then(|name| name.parse().ok()))
}

/// The whole of a reader, if it is no more than a document has.
pub(crate) fn read_bounded(name: &str, reader: &mut dyn Read) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    reader.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(|source| LoadError::Read {
        path: PathBuf::from(name),
        action: "reading it".to_owned(),
        source,
    })?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(LoadError::TooLarge { what: format!("`{name}`"), limit_bytes: MAX_CONFIG_BYTES });
    }
    Ok(bytes)
}

/// Unpacks an archive that is compressed as a whole into a file; a plain one is left where it is.
pub(crate) fn unpack_whole(path: &Path, scratch: &Path, limits: LoadLimits) -> Result<Option<PathBuf>, LoadError> {
    let read = |action: &str| {
        let (path, action) = (path.to_owned(), action.to_owned());
        move |source| LoadError::Read { path, action, source }
    };
    let file = fs::File::open(path).map_err(read("opening it"))?;
    let (mut reader, compression) = decoder(file).map_err(read("looking at its first bytes"))?;
    if compression == crate::Compression::None {
        return Ok(None);
    }
    let to = scratch.join("unpacked.tar");
    let mut out = fs::File::create_new(&to).map_err(read("unpacking it"))?;
    let written =
        io::copy(&mut (&mut reader).take(limits.archive_bytes + 1), &mut out).map_err(read("unpacking it"))?;
    if written > limits.archive_bytes {
        return Err(LoadError::TooLarge {
            what: format!("`{}` unpacked", path.display()),
            limit_bytes: limits.archive_bytes,
        });
    }
    Ok(Some(to))
}
