//! From the store to a registry: what is there already is neither compressed nor sent, what another repository of the registry has is mounted from
//! there, and an upload that broke off goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hoist_events::Reporter;
use serde_json::Value;
use ureq::http::Method;

use crate::archive_write::{descriptor, manifest};
use crate::blob::{self, Blob};
use crate::compress::Compression;
use crate::digest::{DiffId, Digest};
use crate::image::Image;
use crate::layer::Layer;
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::known::{Place, Upload};
use crate::registry::manifest::ACCEPTED;
use crate::registry::resolve::registry_of;
use crate::registry::talk::{Answer, Ask, Payload, Registries, Remote, Tried, lock, no_registry};
use crate::registry::work::{Meter, for_each};
use crate::store::Store;

/// What is sent in one piece; longer blobs go in pieces of this length, and can go on after one of them.
const PIECE_BYTES: u64 = 64 << 20;
/// "Chunks MUST be at least this long" (distribution-spec, `OCI-Chunk-Min-Length`), as far as that is believed.
const LONGEST_PIECE_BYTES: u64 = 1 << 30;
/// Repositories from which a mount is tried.
const MOST_MOUNTS: usize = 2;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

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
struct Pushing<'a> {
    remote: &'a Remote<'a>,
    store: &'a Store,
    doing: &'a str,
    meter: Meter<'a>,
    halt: AtomicBool,
    /// One layer is compressed at a time, on all processors.
    compressing: Mutex<()>,
    sent_bytes: AtomicU64,
    sent: AtomicUsize,
    mounted: AtomicUsize,
    there: AtomicUsize,
}

impl Registries {
    /// Brings an image into a registry under `name`, its layers in that encoding where they are not in another one already.
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
        let mut layers: BTreeMap<DiffId, Layer> = BTreeMap::new();
        for layer in image.layers()? {
            layers.insert(layer.diff_id(), layer);
        }
        if let Some(sent) = unchanged(&remote, &doing, image, &layers, compression, tag)? {
            return Ok(sent);
        }
        let pushing = Pushing {
            remote: &remote,
            store: image.store(),
            doing: &doing,
            meter: Meter::start(reporter, doing.clone(), None),
            halt: AtomicBool::new(false),
            compressing: Mutex::new(()),
            sent_bytes: AtomicU64::new(0),
            sent: AtomicUsize::new(0),
            mounted: AtomicUsize::new(0),
            there: AtomicUsize::new(0),
        };
        let blobs = pushing.layers(&layers, compression)?;
        pushing.config(image)?;
        let (document, digest) = document(image, &blobs);
        remote.put_manifest(&doing, tag, &document, digest)?;
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

/// Where every layer's blob is known, one question tells whether the name stands for this image already.
fn unchanged(
    remote: &Remote<'_>,
    doing: &str,
    image: &Image,
    layers: &BTreeMap<DiffId, Layer>,
    compression: Compression,
    tag: &str,
) -> Result<Option<Sent>, RegistryError> {
    let mut blobs = BTreeMap::new();
    for (diff_id, layer) in layers {
        let noted = || remote.noted(image.store(), diff_id, compression).next().map(|place| place.blob);
        let Some(blob) = layer.known_blob(compression)?.or_else(noted) else { return Ok(None) };
        blobs.insert(*diff_id, blob);
    }
    let (document, digest) = document(image, &blobs);
    let scopes = remote.scopes("pull,push");
    let answer = remote.ask(&Ask {
        doing,
        method: Method::HEAD,
        url: remote.url(&format!("manifests/{tag}")),
        headers: vec![("accept", ACCEPTED.to_owned())],
        scopes: &scopes,
        payload: Payload::None,
        small: true,
    })?;
    let same = answer.status == 200 && answer.header("docker-content-digest") == Some(&digest.to_string());
    answer.drain();
    Ok(same.then_some(Sent {
        digest,
        manifest_bytes: document.len() as u64,
        unchanged: true,
        sent_bytes: 0,
        sent_layers: 0,
        mounted_layers: 0,
        layers_there: layers.len(),
    }))
}

impl Pushing<'_> {
    fn layers(
        &self,
        layers: &BTreeMap<DiffId, Layer>,
        compression: Compression,
    ) -> Result<BTreeMap<DiffId, Blob>, RegistryError> {
        let blobs = Mutex::new(BTreeMap::new());
        let mut wanted: Vec<&Layer> = layers.values().collect();
        // The largest first: whoever begins with it last is waited for by all.
        wanted.sort_by_key(|layer| std::cmp::Reverse(layer.size_bytes()));
        for_each(&wanted, &self.halt, |layer| {
            let blob = self.layer(layer, compression)?;
            let place =
                Place { registry: self.remote.registry.clone(), repository: self.remote.repository.clone(), blob };
            self.store.note_place(&layer.diff_id(), &place)?;
            lock(&blobs).insert(layer.diff_id(), blob);
            Ok::<(), RegistryError>(())
        })?;
        Ok(blobs.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn layer(&self, layer: &Layer, compression: Compression) -> Result<Blob, RegistryError> {
        let known = layer.known_blob(compression)?;
        let places: Vec<Place> = self.remote.noted(self.store, &layer.diff_id(), compression).collect();
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
        let blob = if let Some(blob) = known {
            blob
        } else {
            let _one = lock(&self.compressing);
            layer.blob(compression)?
        };
        // The same image may have been pushed from another machine.
        if known.is_none() && !asked.contains(&blob.digest) && self.remote.has(self.doing, &blob.digest)? {
            self.there.fetch_add(1, Ordering::Relaxed);
            return Ok(blob);
        }
        let path = self.store.blob_path(&blob.digest);
        self.upload(&blob.digest, blob.size_bytes, &path).map_err(|error| self.damaged(&blob, error))?;
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

    fn upload(&self, digest: &Digest, size_bytes: u64, path: &Path) -> Result<(), RegistryError> {
        if size_bytes > PIECE_BYTES {
            return self.in_pieces(digest, size_bytes, path);
        }
        self.whole(digest, &Payload::Piece { path, offset: 0, length: size_bytes, meter: &self.meter })
    }

    /// One request for a place, one with everything.
    fn whole(&self, digest: &Digest, payload: &Payload<'_>) -> Result<(), RegistryError> {
        self.remote.all.retrying(self.doing, &self.remote.registry, || {
            self.go_on()?;
            let begun = self.remote.begin(self.doing)?;
            let answer = match self.remote.try_send(
                self.doing,
                Method::PUT,
                with_digest(&begun, digest),
                Vec::new(),
                payload,
            )? {
                Tried::Done(answer) => answer,
                Tried::Later(error, asked) => return Ok(Tried::Later(error, asked)),
            };
            self.remote.accepted(self.doing, answer, digest).map(Tried::Done)
        })
    }

    fn go_on(&self) -> Result<(), RegistryError> {
        if self.halt.load(Ordering::Relaxed) || self.remote.all.stop.is_up() {
            return Err(RegistryError::Stopped { doing: self.doing.to_owned() });
        }
        Ok(())
    }

    /// A piece after the other; where it was is kept, so that another push goes on there.
    fn in_pieces(&self, digest: &Digest, size_bytes: u64, path: &Path) -> Result<(), RegistryError> {
        let mut upload = match self.store.begun_upload(&self.remote.name(), digest) {
            Some(begun) => self.remote.where_it_is(self.doing, &begun.location, size_bytes)?,
            None => None,
        };
        if let Some(upload) = &upload {
            self.meter.add_bytes(upload.offset);
        }
        let mut failures = 0;
        loop {
            self.go_on()?;
            let outcome = self.next_piece(digest, size_bytes, path, &mut upload);
            let (error, asked) = match outcome {
                Ok(Step::Further) => {
                    failures = 0;
                    continue;
                }
                Ok(Step::Finished) => {
                    self.store.forget_upload(&self.remote.name(), digest);
                    return Ok(());
                }
                Ok(Step::Failed(error, asked)) => (error, asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            failures += 1;
            if failures >= self.remote.all.settings.times.attempts {
                return Err(error);
            }
            self.remote.all.wait(self.doing, &self.remote.registry, failures, asked)?;
            let before = upload.as_ref().map_or(0, |upload| upload.offset);
            upload = match &upload {
                Some(begun) => self.remote.where_it_is(self.doing, &begun.location, size_bytes)?,
                None => None,
            };
            let after = upload.as_ref().map_or(0, |upload| upload.offset);
            self.meter.add(i64::try_from(after).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
        }
    }

    fn next_piece(
        &self,
        digest: &Digest,
        size_bytes: u64,
        path: &Path,
        upload: &mut Option<Upload>,
    ) -> Result<Step, RegistryError> {
        let current = match upload {
            Some(current) => current.clone(),
            None => Upload { location: self.remote.begin(self.doing)?, offset: 0 },
        };
        *upload = Some(current.clone());
        let Upload { location, offset } = current;
        if offset == size_bytes {
            let tried = self.remote.try_send(
                self.doing,
                Method::PUT,
                with_digest(&location, digest),
                Vec::new(),
                &Payload::Bytes(&[]),
            )?;
            return match tried {
                Tried::Done(answer) if answer.status == 404 || answer.status == 416 => Ok(self.lost(upload, answer)),
                Tried::Done(answer) => self.remote.accepted(self.doing, answer, digest).map(|()| Step::Finished),
                Tried::Later(error, asked) => Ok(Step::Failed(error, asked)),
            };
        }
        let length = PIECE_BYTES.min(size_bytes - offset);
        let headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("content-range", format!("{offset}-{}", offset + length - 1)),
        ];
        let piece = Payload::Piece { path, offset, length, meter: &self.meter };
        let answer = match self.remote.try_send(self.doing, Method::PATCH, location, headers, &piece)? {
            Tried::Done(answer) => answer,
            Tried::Later(error, asked) => return Ok(Step::Failed(error, asked)),
        };
        match (answer.status, answer.location()) {
            (200..=204, Some(location)) => {
                let end = answer.header("range").and_then(parse_range_end).map_or(offset + length, |end| end + 1);
                if end <= offset || end > size_bytes {
                    let seen = format!("after {offset} bytes and {length} more it has {end}");
                    return Err(no_registry(self.doing, &answer.url, &seen));
                }
                self.meter.add(i64::try_from(end).unwrap_or(0) - i64::try_from(offset + length).unwrap_or(0));
                answer.drain();
                let next = Upload { location, offset: end };
                self.store.note_upload(&self.remote.name(), digest, &next)?;
                *upload = Some(next);
                Ok(Step::Further)
            }
            (404 | 416, _) => Ok(self.lost(upload, answer)),
            _ => Err(self.remote.refused(self.doing, answer)),
        }
    }

    /// The registry knows nothing of the upload any more, or has it elsewhere.
    fn lost(&self, upload: &mut Option<Upload>, answer: Answer) -> Step {
        if answer.status == 404
            && let Some(lost) = upload.take()
        {
            self.meter.add(-i64::try_from(lost.offset).unwrap_or(0));
        }
        Step::Failed(self.remote.refused(self.doing, answer), None)
    }
}

/// What became of a piece.
enum Step {
    Further,
    Finished,
    Failed(RegistryError, Option<std::time::Duration>),
}

/// The end of `0-1023`, with or without `bytes=`.
fn parse_range_end(text: &str) -> Option<u64> {
    text.trim_start_matches("bytes").trim_start_matches(['=', ' ']).split_once('-')?.1.trim().parse().ok()
}

fn with_digest(location: &str, digest: &Digest) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest=sha256%3A{}", digest.hex())
}

impl Remote<'_> {
    /// Where this registry is known to have a layer, and as a blob of which encoding.
    fn noted(&self, store: &Store, layer: &DiffId, compression: Compression) -> impl Iterator<Item = Place> + use<> {
        let registry = self.registry.clone();
        let places = store.known_places(layer).into_iter();
        places.filter(move |place| place.registry == registry && place.blob.compression == compression)
    }

    fn send(&self, doing: &str, method: &Method, url: &str, payload: &Payload<'_>) -> Result<Answer, RegistryError> {
        self.all.retrying(doing, &self.registry, || {
            self.try_send(doing, method.clone(), url.to_owned(), Vec::new(), payload)
        })
    }

    fn try_send(
        &self,
        doing: &str,
        method: Method,
        url: String,
        headers: Vec<(&'static str, String)>,
        payload: &Payload<'_>,
    ) -> Result<Tried<Answer>, RegistryError> {
        let scopes = self.scopes("pull,push");
        let payload = match payload {
            Payload::None => Payload::None,
            Payload::Bytes(bytes) => Payload::Bytes(bytes),
            Payload::Piece { path, offset, length, meter } => {
                Payload::Piece { path, offset: *offset, length: *length, meter }
            }
        };
        let small = !matches!(payload, Payload::Piece { .. });
        self.try_ask(&Ask { doing, method, url, headers, scopes: &scopes, payload, small })
    }

    /// Whether the repository has a blob.
    fn has(&self, doing: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let answer = self.send(doing, &Method::HEAD, &self.url(&format!("blobs/{digest}")), &Payload::None)?;
        match answer.status {
            200 => Ok(true),
            404 | 405 => Ok(false),
            _ => Err(self.refused(doing, answer)),
        }
    }

    /// Begins an upload; says where it goes.
    fn begin(&self, doing: &str) -> Result<String, RegistryError> {
        let answer = self.send(doing, &Method::POST, &self.url("blobs/uploads/"), &Payload::Bytes(&[]))?;
        self.begun(doing, answer)
    }

    fn begun(&self, doing: &str, answer: Answer) -> Result<String, RegistryError> {
        if answer.status != 202 {
            return Err(self.refused(doing, answer));
        }
        if answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.parse::<u64>().ok())
            .is_some_and(|least| least > PIECE_BYTES)
        {
            let seen = format!(
                "it wants pieces longer than {PIECE_BYTES} bytes (up to {LONGEST_PIECE_BYTES} would be sensible)"
            );
            return Err(no_registry(doing, &answer.url, &seen));
        }
        let place = answer.location();
        place.ok_or_else(|| no_registry(doing, &answer.url, "an upload is accepted, and it does not say where to"))
    }

    /// Has a blob of another repository appear in this one; false where the registry does not do that.
    fn mount(&self, doing: &str, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        let url = self.url(&format!("blobs/uploads/?mount=sha256%3A{}&from={from}", digest.hex()));
        let scopes = [self.scopes("pull,push"), vec![format!("repository:{from}:pull")]].concat();
        let ask = Ask {
            doing,
            method: Method::POST,
            url,
            headers: Vec::new(),
            scopes: &scopes,
            payload: Payload::Bytes(&[]),
            small: true,
        };
        let answer = match self.ask(&ask) {
            Ok(answer) => answer,
            // Who may write here need not be allowed to read there.
            Err(RegistryError::Denied { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match answer.status {
            201 => Ok(true),
            202 => {
                self.cancel(doing, answer);
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// An upload that was begun instead of a mount is of no use: the blob may not even be compressed.
    fn cancel(&self, doing: &str, answer: Answer) {
        let location = answer.location();
        answer.drain();
        if let Some(location) = location
            && let Ok(Tried::Done(answer)) = self.try_send(doing, Method::DELETE, location, Vec::new(), &Payload::None)
        {
            answer.drain(); // else the registry removes it some day
        }
    }

    /// How far an upload is; nothing where the registry knows nothing of it any more.
    fn where_it_is(&self, doing: &str, location: &str, size_bytes: u64) -> Result<Option<Upload>, RegistryError> {
        let answer = self.send(doing, &Method::GET, location, &Payload::None)?;
        let next = answer.location().unwrap_or_else(|| location.to_owned());
        let end = answer.header("range").and_then(parse_range_end);
        let offset = match (answer.status, end) {
            // A registry that has nothing yet says `0-0`.
            (200 | 204, Some(0) | None) => 0,
            (200 | 204, Some(end)) => end + 1,
            _ => {
                answer.drain();
                return Ok(None);
            }
        };
        answer.drain();
        Ok((offset <= size_bytes).then_some(Upload { location: next, offset }))
    }

    /// The last answer of an upload.
    fn accepted(&self, doing: &str, answer: Answer, digest: &Digest) -> Result<(), RegistryError> {
        if !matches!(answer.status, 200 | 201 | 204) {
            return Err(self.refused(doing, answer));
        }
        let said = answer.header("docker-content-digest").and_then(|said| said.parse::<Digest>().ok());
        let wrong = said.filter(|said| said != digest);
        answer.drain();
        wrong.map_or(Ok(()), |seen| Err(self.wrong_content(doing, "what was sent, in the words", digest, &seen)))
    }

    fn put_manifest(&self, doing: &str, tag: &str, document: &[u8], digest: Digest) -> Result<(), RegistryError> {
        let scopes = self.scopes("pull,push");
        let answer = self.ask(&Ask {
            doing,
            method: Method::PUT,
            url: self.url(&format!("manifests/{tag}")),
            headers: vec![("content-type", MANIFEST_TYPE.to_owned())],
            scopes: &scopes,
            payload: Payload::Bytes(document),
            small: true,
        })?;
        self.accepted(doing, answer, &digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses_of_uploads_are_read_and_written() {
        for (text, end) in
            [("0-1023", Some(1023)), ("bytes=0-9", Some(9)), ("bytes 0-9", Some(9)), ("9", None), ("a-b", None)]
        {
            assert_eq!(parse_range_end(text), end, "{text}");
        }
        let digest = Digest::of(b"");
        assert!(with_digest("/x", &digest).ends_with(&format!("/x?digest=sha256%3A{}", digest.hex())));
        assert!(with_digest("/x?state=1", &digest).starts_with("/x?state=1&digest=sha256%3Ae3b0"));
    }
}
