//! Writing images for other tools: OCI layouts (a folder or a tar) and docker-archives.
//!
//! An OCI layout holds compressed layers, as registries have them. A docker-archive (image-spec has no word for it; `docker load` reads
//! `manifest.json`) holds plain tars, so nothing is compressed to hand an image to a local daemon. Both are written in one pass.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Value, json};

use crate::blob;
use crate::compress::Compression;
use crate::digest::{DiffId, Digest};
use crate::entry::{Attributes, Entry, Kind, LAYER_MTIME};
use crate::error::{StoreError, io_hint};
use crate::image::Image;
use crate::outfile::OutFile;
use crate::reference::Reference;
use crate::store::Store;
use crate::tar_write;

/// What [`Image::save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// An OCI layout in a tar: skopeo's `oci-archive`, podman, containerd, Docker from version 25 on.
    Oci,
    /// What `docker save` writes: every Docker, podman, skopeo.
    Docker,
}

/// An image cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The place is taken.
    #[error("saving an image to `{}`: it is there already and not an empty folder", .path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// Writing failed.
    #[error("saving an image: {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SaveError {
    /// Whether the place that was named is wrong, and not the store or the machine.
    pub fn is_of_the_place(&self) -> bool {
        match self {
            Self::Taken { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
            ),
            Self::Store(_) => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Taken { .. } => "choose another place, or remove what is there".to_owned(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "there is no room for the archive: free some space there, or choose another place".to_owned()
                }
                io::ErrorKind::NotFound => "make the folder first, or choose another place".to_owned(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a place that you may write to".to_owned()
                }
                io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
                    "name a file that may be written, not a folder".to_owned()
                }
                _ => io_hint(source),
            },
            Self::Store(error) => error.hint(),
        }
    }
}

pub(crate) fn doing(action: &'static str) -> impl FnOnce(io::Error) -> SaveError {
    move |source| SaveError::Io { action, source }
}

/// A blob of an OCI layout: from memory or from the store.
struct Part {
    digest: Digest,
    size_bytes: u64,
    from: From,
}

enum From {
    Memory(Vec<u8>),
    Store,
}

/// The documents of an OCI layout.
pub(crate) struct Layout {
    index: Vec<u8>,
    parts: Vec<Part>,
}

pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

impl Image {
    /// Writes the image as one tar, to a file, a pipe or a socket. `names` become its names in the archive; an empty list writes none.
    /// `compression` is for the layers of an OCI archive; a docker-archive has none.
    pub fn save(
        &self,
        out: &mut dyn Write,
        names: &[Reference],
        format: ArchiveFormat,
        compression: Compression,
    ) -> Result<(), SaveError> {
        self.store().session()?.hold_image(self)?;
        match format {
            ArchiveFormat::Oci => self.save_oci(out, names, compression)?,
            ArchiveFormat::Docker => self.save_docker(out, names, &BTreeSet::new())?,
        }
        tar_write::write_end(out).and_then(|()| out.flush()).map_err(doing("finishing the archive"))
    }

    /// As [`save`](Self::save), to a file that appears only when it is whole.
    pub fn save_to_file(
        &self,
        path: &Path,
        names: &[Reference],
        format: ArchiveFormat,
        compression: Compression,
    ) -> Result<(), SaveError> {
        let begun = OutFile::begin(path).map_err(doing("making the archive"))?;
        let mut out = io::BufWriter::with_capacity(1 << 20, begun.file());
        self.save(&mut out, names, format, compression)?;
        out.flush().map_err(doing("writing the archive"))?;
        drop(out);
        begun.publish().map_err(doing("putting the archive into its place"))
    }

    fn save_oci(&self, out: &mut dyn Write, names: &[Reference], compression: Compression) -> Result<(), SaveError> {
        self.layout(names, compression)?.write_tar(self.store(), out)
    }

    /// Manifest, configuration and layers under one index.
    pub(crate) fn layout(&self, names: &[Reference], compression: Compression) -> Result<Layout, SaveError> {
        let mut parts = Vec::new();
        let mut layers = Vec::new();
        let mut done = BTreeSet::new();
        for layer in self.layers()? {
            let blob = layer.blob(compression)?;
            layers.push(descriptor(blob.compression.media_type(), &blob.digest, blob.size_bytes));
            if done.insert(blob.digest) {
                parts.push(Part { digest: blob.digest, size_bytes: blob.size_bytes, from: From::Store });
            }
        }
        let mut memory = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let size_bytes = bytes.len() as u64;
            let from = From::Memory(bytes);
            parts.insert(0, Part { digest, size_bytes, from });
            (digest, size_bytes)
        };
        let (config, config_bytes) = memory(self.config_bytes().to_vec());
        let (manifest, manifest_bytes) = memory(manifest((&config, config_bytes), &layers));
        let mut listed = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest, manifest_bytes);
        let (architecture, os) = (self.config().architecture().to_string(), self.config().os().to_string());
        // An image for any processor (a package of scripts, say) suits readers of all of them.
        if !architecture.is_empty() {
            listed["platform"] = json!({ "architecture": architecture, "os": os });
        }
        let manifests: Vec<Value> = match names {
            [] => vec![listed],
            names => names.iter().map(|name| named(&listed, name)).collect(),
        };
        Ok(Layout { index: index(&manifests), parts })
    }

    /// Without the layers that the receiver has; the list of layers names them all the same.
    pub(crate) fn save_docker(
        &self,
        out: &mut dyn Write,
        names: &[Reference],
        there: &BTreeSet<DiffId>,
    ) -> Result<(), SaveError> {
        let action = "writing the docker-archive";
        let config = format!("{}.json", self.id().hex());
        let layers = self.layers()?;
        let file = |diff_id: DiffId| format!("{}/layer.tar", diff_id.hex());
        let manifest = json!([{
            "Config": config,
            "RepoTags": names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "Layers": layers.iter().map(|layer| file(layer.diff_id())).collect::<Vec<_>>(),
        }]);
        put(out, "manifest.json", manifest.to_string().as_bytes()).map_err(doing(action))?;
        put(out, &config, self.config_bytes()).map_err(doing(action))?;
        let mut done = there.clone();
        for layer in layers {
            if !done.insert(layer.diff_id()) {
                continue;
            }
            put_dir(out, &layer.diff_id().hex()).map_err(doing(action))?;
            put_header(out, &file(layer.diff_id()), layer.size_bytes()).map_err(doing(action))?;
            layer.write_tar(out)?;
            tar_write::write_padding(out, layer.size_bytes()).map_err(doing(action))?;
        }
        Ok(())
    }
}

impl Store {
    /// Writes images as one OCI archive without names; what several of them have is in it once.
    pub fn save_together(
        &self,
        images: &[&Image],
        out: &mut dyn Write,
        compression: Compression,
    ) -> Result<(), SaveError> {
        let (mut manifests, mut parts, mut done) = (Vec::new(), Vec::new(), BTreeSet::new());
        let session = self.session()?;
        for image in images {
            session.hold_image(image)?;
            let layout = image.layout(&[], compression)?;
            let index: Value = serde_json::from_slice(&layout.index).unwrap_or_default();
            manifests.extend(index["manifests"].as_array().cloned().unwrap_or_default());
            parts.extend(layout.parts.into_iter().filter(|part| done.insert(part.digest)));
        }
        let layout = Layout { index: index(&manifests), parts };
        layout.write_tar(self, out)?;
        tar_write::write_end(out).and_then(|()| out.flush()).map_err(doing("finishing the archive"))
    }
}

fn index(manifests: &[Value]) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    index.to_string().into_bytes()
}

impl Layout {
    fn write_tar(&self, store: &Store, out: &mut dyn Write) -> Result<(), SaveError> {
        let action = "writing the OCI archive";
        put(out, "oci-layout", LAYOUT).map_err(doing(action))?;
        put(out, "index.json", &self.index).map_err(doing(action))?;
        for dir in ["blobs", "blobs/sha256"] {
            put_dir(out, dir).map_err(doing(action))?;
        }
        for part in &self.parts {
            let name = format!("blobs/sha256/{}", part.digest.hex());
            match &part.from {
                From::Memory(bytes) => put(out, &name, bytes).map_err(doing(action))?,
                From::Store => {
                    put_header(out, &name, part.size_bytes).map_err(doing(action))?;
                    blob::copy(store, &part.digest, part.size_bytes, out)?;
                    tar_write::write_padding(out, part.size_bytes).map_err(doing(action))?;
                }
            }
        }
        Ok(())
    }

    /// Whether exactly this layout lies at `path`, as far as names and lengths tell.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let blobs = path.join("blobs/sha256");
        fs::read(path.join("index.json")).is_ok_and(|index| index == self.index)
            && self
                .parts
                .iter()
                .all(|part| fs::metadata(blobs.join(part.digest.hex())).is_ok_and(|file| file.len() == part.size_bytes))
    }

    pub(crate) fn write_dir(&self, store: &Store, path: &Path) -> Result<(), SaveError> {
        let action = "writing the OCI layout";
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(doing(action))?;
        fs::write(path.join("oci-layout"), LAYOUT).map_err(doing(action))?;
        fs::write(path.join("index.json"), &self.index).map_err(doing(action))?;
        for part in &self.parts {
            let to = blobs.join(part.digest.hex());
            match &part.from {
                From::Memory(bytes) => fs::write(to, bytes).map_err(doing(action))?,
                From::Store => {
                    let mut file = fs::File::create_new(to).map_err(doing(action))?;
                    blob::copy(store, &part.digest, part.size_bytes, &mut file)?;
                }
            }
        }
        Ok(())
    }
}

/// An image's manifest: the same for the same layers in the same encoding, wherever it goes.
pub(crate) fn manifest((config, config_bytes): (&Digest, u64), layers: &[Value]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config, config_bytes),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

pub(crate) fn descriptor(media_type: &str, digest: &Digest, size_bytes: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size_bytes })
}

/// The two annotations by which tools know an image's name: the specification's has the tag for skopeo and podman, containerd's the whole name.
fn named(listed: &Value, name: &Reference) -> Value {
    let mut listed = listed.clone();
    listed["annotations"] = json!({
        "io.containerd.image.name": name.to_string(),
        "org.opencontainers.image.ref.name": name.to_string(),
    });
    listed
}

pub(crate) fn put(out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    put_header(out, name, bytes.len() as u64)?;
    out.write_all(bytes)?;
    tar_write::write_padding(out, bytes.len() as u64)
}

pub(crate) fn put_header(out: &mut dyn Write, name: &str, size_bytes: u64) -> io::Result<()> {
    put_entry(out, name, Kind::File { size_bytes, crc32: 0 }, 0o644)
}

/// Some readers (scanners) unpack an archive without making the folders that it does not have.
pub(crate) fn put_dir(out: &mut dyn Write, name: &str) -> io::Result<()> {
    put_entry(out, name, Kind::Directory, 0o755)
}

fn put_entry(out: &mut dyn Write, name: &str, kind: Kind, mode: u32) -> io::Result<()> {
    let entry = Entry { path: PathBuf::from(name), attributes: Attributes::root(mode), kind, mtime_secs: LAYER_MTIME };
    out.write_all(&tar_write::header(&entry)?)
}
