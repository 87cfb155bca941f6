//! Images and their names.
//!
//! An image is its configuration (image-spec "config.md"), stored byte for byte under its digest. Names stand beside, each in a file.

use std::io;
use std::path::PathBuf;

use fs_err as fs;
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, Digest, ImageId};
use crate::durable::{sync_parent, touch};
use crate::error::{Doing, StoreError};
use crate::layer::Layer;
use crate::reference::Reference;
use crate::store::{Store, dispose};

/// More layers than any tool makes (127 is the usual limit of overlay file systems).
pub(crate) const MAX_LAYERS: usize = 500;
/// Configurations have a few kilobytes.
pub(crate) const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// An image in the store: a view, which stays as it was when it was opened.
#[derive(Debug, Clone)]
pub struct Image {
    store: Store,
    id: ImageId,
    bytes: Vec<u8>,
    config: ImageConfiguration,
    diff_ids: Vec<DiffId>,
}

/// A file below `refs`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NameFile {
    pub(crate) name: Reference,
    pub(crate) image: ImageId,
}

impl Image {
    pub(crate) fn parse(store: &Store, bytes: Vec<u8>) -> Result<Self, String> {
        let config: ImageConfiguration = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let diff_ids: Vec<DiffId> = config
            .rootfs()
            .diff_ids()
            .iter()
            .map(|id| id.parse().map_err(|error: crate::DigestError| error.to_string()))
            .collect::<Result<_, _>>()?;
        if diff_ids.len() > MAX_LAYERS {
            return Err(format!("it has {} layers, {MAX_LAYERS} are allowed", diff_ids.len()));
        }
        Ok(Self { store: store.clone(), id: ImageId(Digest::of(&bytes)), bytes, config, diff_ids })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The digest of the configuration.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfiguration {
        &self.config
    }

    /// The configuration's bytes, with fields that [`ImageConfiguration`] does not know.
    pub fn config_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The layers' diffIDs, lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> Result<Vec<Layer>, StoreError> {
        self.diff_ids
            .iter()
            .map(|diff_id| {
                Layer::open(&self.store, *diff_id)?
                    .ok_or_else(|| StoreError::MissingLayer { what: format!("image {}", self.id), diff_id: *diff_id })
            })
            .collect()
    }

    /// Whether every layer is there, recomputing only those in doubt: what is kept for long asks this before it is used again.
    pub fn has_its_layers(&self) -> Result<bool, StoreError> {
        for diff_id in &self.diff_ids {
            let there = match Layer::open(&self.store, *diff_id)? {
                Some(layer) => layer.settle()?.is_some(),
                None => false,
            };
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The layers' trees for an overlay mount, top first. A layer that occurs twice is named once, at its highest place.
    pub fn lower_dirs(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut dirs: Vec<PathBuf> = Vec::with_capacity(self.diff_ids.len());
        for diff_id in self.diff_ids.iter().rev() {
            let tree = self.store.layer_dir(diff_id).join("tree");
            if dirs.contains(&tree) {
                continue;
            }
            if fs::symlink_metadata(&tree).is_err() {
                return Err(StoreError::MissingLayer { what: format!("image {}", self.id), diff_id: *diff_id });
            }
            dirs.push(tree);
        }
        Ok(dirs)
    }

    /// The names that stand for this image now, sorted.
    pub fn names(&self) -> Result<Vec<Reference>, StoreError> {
        let all = self.store.names()?;
        Ok(all.into_iter().filter(|(_, id)| *id == self.id).map(|(name, _)| name).collect())
    }

    /// Length of all layers' tars.
    pub fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.layers()?.iter().map(Layer::size_bytes).sum())
    }
}

impl Store {
    /// Stores an image whose layers (`rootfs.diff_ids`) are in the store, and gives it names; a name that stood for another image moves.
    pub fn put_image(&self, config: &ImageConfiguration, names: &[Reference]) -> Result<Image, StoreError> {
        let bytes = canonical_json(config).map_err(|error| StoreError::Configuration { problem: error.to_string() })?;
        self.put_image_bytes(bytes, names)
    }

    /// As [`put_image`](Self::put_image), for a configuration whose bytes must stay as they are.
    pub fn put_image_bytes(&self, bytes: Vec<u8>, names: &[Reference]) -> Result<Image, StoreError> {
        let image = Image::parse(self, bytes).map_err(|problem| StoreError::Configuration { problem })?;
        let _locked = self.shared()?;
        self.sync_layers(&image.layers()?)?;
        let path = self.image_path(image.id);
        if fs::read(&path).is_ok_and(|there| there == image.bytes) {
            touch(&path).doing("marking an image as in use")?;
        } else {
            self.write_document(&path, &image.bytes)?;
        }
        for name in names {
            self.write_name(name, image.id)?;
        }
        Ok(image)
    }

    /// An image that is looked at and not stored, such as one whose layers are at a registry.
    pub fn view_image(&self, bytes: Vec<u8>) -> Result<Image, StoreError> {
        Image::parse(self, bytes).map_err(|problem| StoreError::Configuration { problem })
    }

    /// The image that `wanted` names: a reference, an id, or the beginning of an id (at least 4 digits).
    pub fn image(&self, wanted: &str) -> Result<Image, StoreError> {
        self.image_by_id(&self.resolve(wanted)?)
    }

    /// Which image `wanted` names, whether or not it can be read.
    pub fn resolve(&self, wanted: &str) -> Result<ImageId, StoreError> {
        if let Ok(reference) = wanted.parse::<Reference>()
            && let Some(id) = self.find_id(&reference)?
        {
            return Ok(id);
        }
        let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        if digits.len() >= 4 && digits.len() <= 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let found: Vec<ImageId> = self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(digits)).collect();
            match found.as_slice() {
                [] => {}
                [id] => return Ok(*id),
                _ => {
                    return Err(StoreError::AmbiguousImage { wanted: wanted.to_owned(), found });
                }
            }
        }
        Err(self.unknown(wanted))
    }

    /// The image that a reference stands for; a digest in it must be the image's id. `None` where there is none.
    pub fn find_image(&self, reference: &Reference) -> Result<Option<Image>, StoreError> {
        self.find_id(reference)?.map(|id| self.image_by_id(&id)).transpose()
    }

    fn find_id(&self, reference: &Reference) -> Result<Option<ImageId>, StoreError> {
        if let Some(digest) = reference.digest() {
            let id = ImageId(digest);
            return Ok(fs::symlink_metadata(self.image_path(id)).is_ok().then_some(id));
        }
        let path = self.name_path(reference);
        match fs::read(&path) {
            Ok(bytes) => {
                let file: NameFile =
                    serde_json::from_slice(&bytes).map_err(|error| StoreError::corrupt(path, error))?;
                Ok(Some(file.image))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::io("reading an image's name", source)),
        }
    }

    /// The image with this id.
    pub fn image_by_id(&self, id: &ImageId) -> Result<Image, StoreError> {
        let path = self.image_path(*id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.unknown(&id.to_string())),
            Err(source) => return Err(StoreError::io("opening an image", source)),
        };
        let image = Image::parse(self, bytes).map_err(|problem| StoreError::corrupt(&path, problem))?;
        if image.id != *id {
            return Err(StoreError::corrupt(path, format!("its digest is {}", image.id)));
        }
        Ok(image)
    }

    /// All images, by id.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.image_ids()?.iter().map(|id| self.image_by_id(id)).collect()
    }

    /// All names and what they stand for, sorted.
    pub fn names(&self) -> Result<Vec<(Reference, ImageId)>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path("refs")).doing("listing names")? {
            let path = entry.doing("listing names")?.path();
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(StoreError::io("reading an image's name", source)),
            };
            let file: NameFile = serde_json::from_slice(&bytes).map_err(|error| StoreError::corrupt(path, error))?;
            names.push((file.name, file.image));
        }
        names.sort();
        Ok(names)
    }

    /// Gives an image one more name; a name that stood for another image moves.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<(), StoreError> {
        let _locked = self.shared()?;
        if fs::symlink_metadata(self.image_path(image.id)).is_err() {
            return Err(self.unknown(&image.id.to_string()));
        }
        self.write_name(name, image.id)
    }

    /// Takes a name away; an image without names goes at the next prune. False where nothing had that name.
    pub fn remove_name(&self, name: &Reference) -> Result<bool, StoreError> {
        match fs::remove_file(self.name_path(name)) {
            Ok(()) => sync_parent(&self.name_path(name)).doing("removing a name").map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::io("removing a name", source)),
        }
    }

    /// Removes what `wanted` stands for: a name (and the image with its last one), or an id with all its names. Layers go at the next prune.
    pub fn remove_image(&self, wanted: &str) -> Result<Removed, StoreError> {
        let _locked = self.exclusive()?;
        let id = self.resolve(wanted)?;
        let mut removed = Removed { id, names: Vec::new(), image: false };
        let names: Vec<Reference> =
            self.names()?.into_iter().filter(|(_, image)| *image == id).map(|(name, _)| name).collect();
        let by_name = wanted.parse::<Reference>().ok().filter(|reference| names.contains(reference));
        let doomed = by_name.map_or_else(|| names.clone(), |name| vec![name]);
        for name in doomed {
            self.remove_name(&name)?;
            removed.names.push(name);
        }
        if removed.names.len() == names.len() {
            if let Ok(trash) = self.discard(&self.image_path(id)) {
                dispose(&trash); // else it was not there: a name that stood for nothing
            }
            removed.image = true;
        }
        Ok(removed)
    }

    /// Removes an image that no name stands for; its layers go at the next prune. False where a name does, or where it is gone already.
    pub fn remove_unnamed(&self, id: ImageId) -> Result<bool, StoreError> {
        let _locked = self.exclusive()?;
        let path = self.image_path(id);
        if fs::symlink_metadata(&path).is_err() || self.names()?.iter().any(|(_, named)| *named == id) {
            return Ok(false);
        }
        dispose(&self.discard(&path)?);
        Ok(true)
    }

    /// The ids of all images, also of those that cannot be read.
    pub fn image_ids(&self) -> Result<Vec<ImageId>, StoreError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.path("images/sha256")).doing("listing images")? {
            let name = entry.doing("listing images")?.file_name();
            ids.extend(name.to_str().and_then(|hex| Digest::from_hex(hex).ok()).map(ImageId));
        }
        ids.sort();
        Ok(ids)
    }

    pub(crate) fn image_path(&self, id: ImageId) -> PathBuf {
        self.path("images/sha256").join(id.hex())
    }

    fn name_path(&self, name: &Reference) -> PathBuf {
        self.path("refs").join(Digest::of(name.to_string().as_bytes()).hex())
    }

    /// Call it with the lock shared.
    fn write_name(&self, name: &Reference, image: ImageId) -> Result<(), StoreError> {
        let file = NameFile { name: name.clone(), image };
        let bytes =
            serde_json::to_vec(&file).map_err(|error| StoreError::Configuration { problem: error.to_string() })?;
        let path = self.name_path(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.write_document(&path, &bytes)
    }

    fn unknown(&self, wanted: &str) -> StoreError {
        let names = self.names().unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(|(name, _)| name.to_string()).collect();
        StoreError::UnknownImage { near: near(wanted, &names), wanted: wanted.chars().take(300).collect() }
    }
}

/// What [`Store::remove_image`] took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Whose names.
    pub id: ImageId,
    /// The names that are gone.
    pub names: Vec<Reference>,
    /// Whether the image is gone too.
    pub image: bool,
}

/// JSON that is the same for equal configurations: maps from labels to volumes are sorted, the order of fields is the specification's.
fn canonical_json(config: &ImageConfiguration) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(config)?;
    if let Some(inner) = value.get_mut("config").and_then(serde_json::Value::as_object_mut) {
        for (_, field) in inner.iter_mut() {
            if let Some(map) = field.as_object_mut() {
                map.sort_keys();
            }
        }
    }
    serde_json::to_vec(&value)
}

/// Up to three names at a small edit distance, or that contain what was asked for; the nearest first.
fn near(wanted: &str, names: &[String]) -> Vec<String> {
    let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    let wanted = bare(wanted);
    let limit = (wanted.chars().count() / 3).clamp(1, 4);
    let mut found: Vec<(usize, String)> = names
        .iter()
        .filter_map(|name| {
            let shown = bare(name);
            let repository = shown.split(':').next().unwrap_or_default();
            let distance = edit_distance(&wanted, &shown).min(edit_distance(&wanted, repository));
            let within = wanted.len() >= 3 && shown.contains(&wanted);
            (distance <= limit || within).then_some((distance, shown))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(300).collect(), b.chars().take(300).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_near() {
        let names = ["bell:latest", "bells:1", "tower:latest", "team/bell:latest"].map(str::to_owned);
        assert_eq!(near("bel", &names), ["bell", "bells:1", "team/bell"]);
        assert_eq!(near("zzz", &names), Vec::<String>::new());
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
