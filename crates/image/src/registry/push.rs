//! From the store to a registry: what is there already is neither compressed nor sent, what another repository of the registry has is mounted from
//! there. How a blob is sent is told in `upload`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hoist_events::Reporter;
use serde_json::Value;
use ureq::http::Method;

use crate::archive_write::{descriptor, manifest};
use crate::blob::{self, Blob};
use crate::compress::Compression;
use crate::digest::{DiffId, Digest};
use crate::error::StoreError;
use crate::image::Image;
use crate::layer::Layer;
use crate::reference::Reference;
use crate::registry::artifact::MANIFEST_TYPE;
use crate::registry::error::RegistryError;
use crate::registry::known::Place;
use crate::registry::manifest::{ACCEPTED, Document, MAX_BYTES, parse_document};
use crate::registry::resolve::registry_of;
use crate::registry::talk::{Ask, Payload, Registries, Remote, lock};
use crate::registry::work::{Meter, for_each};
use crate::store::Store;

/// Repositories from which a mount is tried.
const MOST_MOUNTS: usize = 2;

/// An image is in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Length of the manifest.
    pub manifest_bytes: u64,
    /// Whether the name stood for exactly this before.
    pub unchanged: bool,
    /// Bytes of layers that were sent.
    pub sent_bytes: u64,
    /// Layers that were sent.
    pub sent_layers: usize,
    /// Layers that were mounted from another repository of the registry.
    pub mounted_layers: usize,
    /// Layers that the repository had.
    pub layers_there: usize,
}

/// What happens on the way.
pub(super) struct Pushing<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) store: &'a Store,
    pub(super) doing: &'a str,
    pub(super) meter: Meter<'a>,
    halt: AtomicBool,
    /// One layer is compressed at a time, on all processors.
    compressing: Mutex<()>,
    sent_bytes: AtomicU64,
    sent: AtomicUsize,
    mounted: AtomicUsize,
    there: AtomicUsize,
}

/// The layers of an image, those that the store has. What it lacks must be known to be at the registry.
type Layers = BTreeMap<DiffId, Option<Layer>>;

impl Registries {
    /// Brings an image into a registry under `name`, its layers in that encoding where they are not in another one already. Layers that the store
    /// lacks have to be at that registry, where [`Registries::look`] has seen them.
    pub fn push(
        &self,
        image: &Image,
        name: &Reference,
        compression: Compression,
        reporter: &dyn Reporter,
    ) -> Result<Sent, RegistryError> {
        let doing = format!("pushing `{name}`");
        let registry = registry_of(&doing, name)?;
        let Some(tag) = name.tag().filter(|_| name.digest().is_none()) else {
            return Err(RegistryError::NoTag { name: name.to_string() });
        };
        image.store().session()?.hold_image(image)?;
        let remote = self.inner.remote(&doing, registry, name.repository())?;
        let mut layers = Layers::new();
        for diff_id in image.diff_ids() {
            layers.insert(*diff_id, image.store().layer(diff_id)?);
        }
        let before = remote.stood_for(&doing, tag)?;
        if let Some(sent) = unchanged(&remote, image, &layers, compression, before)? {
            return Ok(sent);
        }
        let sent = send(&remote, &doing, image, &layers, (compression, tag), reporter);
        match sent {
            // What an earlier image has was taken for there without a question.
            Err(RegistryError::Refused { status: 400 | 404, .. }) if remote.forget_seen() => {
                send(&remote, &doing, image, &layers, (compression, tag), reporter)
            }
            sent => sent,
        }
    }
}

fn send(
    remote: &Remote<'_>,
    doing: &str,
    image: &Image,
    layers: &Layers,
    (compression, tag): (Compression, &str),
    reporter: &dyn Reporter,
) -> Result<Sent, RegistryError> {
    let pushing = Pushing::new(remote, image.store(), doing, Meter::start(reporter, doing.to_owned(), None));
    let blobs = pushing.layers(image, layers, compression)?;
    pushing.config(image)?;
    let (document, digest) = document(image, &blobs);
    remote.put_manifest(doing, tag, MANIFEST_TYPE, &document, digest)?;
    Ok(Sent {
        digest,
        manifest_bytes: document.len() as u64,
        unchanged: false,
        sent_bytes: pushing.sent_bytes.into_inner(),
        sent_layers: pushing.sent.into_inner(),
        mounted_layers: pushing.mounted.into_inner(),
        layers_there: pushing.there.into_inner(),
    })
}

impl Registries {
    /// Whether who asks may write under that name, before anything is made for it: an upload is begun, and ended again.
    pub fn check_push(&self, name: &Reference) -> Result<(), RegistryError> {
        let doing = format!("asking whether `{name}` may be pushed");
        let registry = registry_of(&doing, name)?;
        if name.digest().is_some() {
            return Err(RegistryError::NoTag { name: name.to_string() });
        }
        let remote = self.inner.remote(&doing, registry, name.repository())?;
        let answer = remote.send(&doing, &Method::POST, &remote.url("blobs/uploads/"), &Payload::Bytes(&[]))?;
        if answer.status != 202 {
            return Err(remote.refused(&doing, answer));
        }
        remote.cancel(&doing, answer);
        Ok(())
    }
}

/// The manifest of an image whose layers are these blobs.
fn document(image: &Image, blobs: &BTreeMap<DiffId, Blob>) -> (Vec<u8>, Digest) {
    let layers: Vec<Value> = image
        .diff_ids()
        .iter()
        .filter_map(|diff_id| blobs.get(diff_id))
        .map(|blob| descriptor(blob.compression.media_type(), &blob.digest, blob.size_bytes))
        .collect();
    let document = manifest((&image.id().0, image.config_bytes().len() as u64), &layers);
    let digest = Digest::of(&document);
    (document, digest)
}

/// Where every layer's blob is known, what the name stood for tells whether it stands for this image already.
fn unchanged(
    remote: &Remote<'_>,
    image: &Image,
    layers: &Layers,
    compression: Compression,
    before: Option<Digest>,
) -> Result<Option<Sent>, RegistryError> {
    let Some(before) = before else { return Ok(None) };
    let mut blobs = BTreeMap::new();
    for (diff_id, layer) in layers {
        let known = layer.as_ref().map(|layer| layer.known_blob(compression)).transpose()?.flatten();
        let wanted = layer.as_ref().map(|_| compression);
        let noted = || remote.noted(image.store(), diff_id, wanted).next().map(|place| place.blob);
        let Some(blob) = known.or_else(noted) else { return Ok(None) };
        blobs.insert(*diff_id, blob);
    }
    let (document, digest) = document(image, &blobs);
    Ok((before == digest).then_some(Sent {
        digest,
        manifest_bytes: document.len() as u64,
        unchanged: true,
        sent_bytes: 0,
        sent_layers: 0,
        mounted_layers: 0,
        layers_there: layers.len(),
    }))
}

impl<'a> Pushing<'a> {
    pub(super) fn new(remote: &'a Remote<'a>, store: &'a Store, doing: &'a str, meter: Meter<'a>) -> Self {
        Self {
            remote,
            store,
            doing,
            meter,
            halt: AtomicBool::new(false),
            compressing: Mutex::new(()),
            sent_bytes: AtomicU64::new(0),
            sent: AtomicUsize::new(0),
            mounted: AtomicUsize::new(0),
            there: AtomicUsize::new(0),
        }
    }

    /// Whether nobody wants that it ends.
    pub(super) fn go_on(&self) -> Result<(), RegistryError> {
        if self.halt.load(Ordering::Relaxed) || self.remote.all.stop.is_up() {
            return Err(RegistryError::Stopped { doing: self.doing.to_owned() });
        }
        Ok(())
    }

    fn layers(
        &self,
        image: &Image,
        layers: &Layers,
        compression: Compression,
    ) -> Result<BTreeMap<DiffId, Blob>, RegistryError> {
        let blobs = Mutex::new(BTreeMap::new());
        let mut wanted: Vec<(&DiffId, &Option<Layer>)> = layers.iter().collect();
        // The largest first: whoever begins with it last is waited for by all.
        wanted.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.as_ref().map_or(0, Layer::size_bytes)));
        for_each(&wanted, &self.halt, |(diff_id, layer)| {
            let blob = self.layer(image, diff_id, layer.as_ref(), compression)?;
            let place =
                Place { registry: self.remote.registry.clone(), repository: self.remote.repository.clone(), blob };
            self.store.note_place(diff_id, &place)?;
            lock(&blobs).insert(**diff_id, blob);
            Ok::<(), RegistryError>(())
        })?;
        Ok(blobs.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn layer(
        &self,
        image: &Image,
        diff_id: &DiffId,
        layer: Option<&Layer>,
        compression: Compression,
    ) -> Result<Blob, RegistryError> {
        let known = layer.map(|layer| layer.known_blob(compression)).transpose()?.flatten();
        // What the store lacks cannot be made in another encoding.
        let places: Vec<Place> =
            self.remote.noted(self.store, diff_id, layer.is_some().then_some(compression)).collect();
        let mut asked = BTreeSet::new();
        for blob in known.into_iter().chain(places.iter().map(|place| place.blob)) {
            if asked.insert(blob.digest) && self.remote.has(self.doing, &blob.digest)? {
                self.there.fetch_add(1, Ordering::Relaxed);
                return Ok(blob);
            }
        }
        let elsewhere = places.iter().filter(|place| place.repository != self.remote.repository);
        for place in elsewhere.take(MOST_MOUNTS) {
            if self.remote.mount(self.doing, &place.blob.digest, &place.repository)? {
                self.mounted.fetch_add(1, Ordering::Relaxed);
                return Ok(place.blob);
            }
        }
        let Some(layer) = layer else {
            let missing = StoreError::MissingLayer { what: format!("image {}", image.id()), diff_id: *diff_id };
            return Err(missing.into());
        };
        let blob = if let Some(blob) = known {
            blob
        } else {
            let _one = lock(&self.compressing);
            self.go_on()?;
            let made = layer.blob_while(compression, &|| self.go_on().is_ok());
            self.go_on()?;
            made?
        };
        // The same image may have been pushed from another machine.
        if known.is_none() && !asked.contains(&blob.digest) && self.remote.has(self.doing, &blob.digest)? {
            self.there.fetch_add(1, Ordering::Relaxed);
            return Ok(blob);
        }
        let path = self.store.blob_path(&blob.digest);
        self.upload(&blob.digest, blob.size_bytes, &path).map_err(|error| self.damaged(&blob, error))?;
        self.remote.saw(&blob.digest);
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(blob.size_bytes, Ordering::Relaxed);
        Ok(blob)
    }

    /// A registry that says that a blob is not what it should be may be right.
    fn damaged(&self, blob: &Blob, error: RegistryError) -> RegistryError {
        if !matches!(error, RegistryError::Refused { status: 400, .. } | RegistryError::Content { .. }) {
            return error;
        }
        match blob::copy(self.store, &blob.digest, blob.size_bytes, &mut std::io::sink()) {
            Ok(()) => error,
            Err(found) => RegistryError::Store(found),
        }
    }

    fn config(&self, image: &Image) -> Result<(), RegistryError> {
        let digest = image.id().0;
        if self.remote.has(self.doing, &digest)? {
            return Ok(());
        }
        self.whole(&digest, &Payload::Bytes(image.config_bytes()))
    }
}

impl Remote<'_> {
    /// Where this registry is known to have a layer, and as which blob: of that encoding, or of any.
    fn noted(
        &self,
        store: &Store,
        layer: &DiffId,
        compression: Option<Compression>,
    ) -> impl Iterator<Item = Place> + use<> {
        let registry = self.registry.clone();
        let places = store.known_places(layer).into_iter();
        places.filter(move |place| {
            place.registry == registry && compression.is_none_or(|wanted| wanted == place.blob.compression)
        })
    }

    /// What a tag stands for now. What the image has that it stands for is there, and need not be asked for.
    fn stood_for(&self, doing: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let scopes = self.scopes("pull,push");
        let answer = self.ask(&Ask {
            doing,
            method: Method::GET,
            url: self.url(&format!("manifests/{tag}")),
            headers: vec![("accept", ACCEPTED.to_owned())],
            scopes: &scopes,
            payload: Payload::None,
            small: true,
        })?;
        if answer.status != 200 {
            answer.drain();
            return Ok(None);
        }
        let kind = answer.header("content-type").map(str::to_owned);
        let bytes = self.read_bounded(doing, answer, &format!("manifest {tag}"), MAX_BYTES)?;
        // Whatever else stands there is replaced.
        if let Ok(Document::Image { config, layers }) = parse_document(&bytes, kind.as_deref()) {
            layers.iter().chain([&config]).for_each(|blob| self.saw(&blob.digest));
        }
        Ok(Some(Digest::of(&bytes)))
    }
}
