//! From a registry to the store: each layer that the store lacks is fetched into a file, checked, and unpacked as any stranger's; several at once.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use hoist_events::Reporter;
use ureq::http::Method;

use crate::blob::Blob;
use crate::digest::{DiffId, Digest};
use crate::error::StoreError;
use crate::image::{Image, MAX_CONFIG_BYTES};
use crate::load::{LoadError, LoadLimits};
use crate::load_layer::{LayerSource, load_layer};
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::known::{Partial, Place};
use crate::registry::manifest::{Descriptor, Platform};
use crate::registry::resolve::Resolved;
use crate::registry::talk::{Answer, Ask, Payload, Registries, Remote, is_transient};
use crate::registry::wire::{broken, shown};
use crate::registry::work::{Meter, for_each, parse_retry_after};
use crate::source::Source;
use crate::store::Store;

/// A connection that gives less than that in the time of a read is as good as silent.
const SLOWEST_BYTES: u64 = 4096;
/// What is read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// However often something came before it broke off.
const MOST_ROUNDS: u32 = 1000;

/// An image came from a registry.
#[derive(Debug)]
pub struct Fetched {
    /// The image, in the store.
    pub image: Image,
    /// The digest of what the name stands for there: a manifest or an index.
    pub digest: Digest,
    /// Where it came from: the registry, or one of its mirrors.
    pub from: String,
    /// Bytes of layers that were fetched.
    pub fetched_bytes: u64,
    /// How many layers were fetched.
    pub fetched_layers: usize,
    /// How many the store had.
    pub layers_there: usize,
}

impl Registries {
    /// Brings the image `name` of its registry into the store, under `names`: that for `platform`, where it is for several.
    pub fn pull(
        &self,
        store: &Store,
        name: &Reference,
        names: &[Reference],
        platform: &Platform,
        limits: LoadLimits,
        reporter: &dyn Reporter,
    ) -> Result<Fetched, RegistryError> {
        let doing = format!("pulling `{name}`");
        let session = store.session()?;
        let (found, image) = self.inner.read_image(store, &doing, name, platform)?;
        let config = image.config_bytes().to_vec();
        session.hold_image(&image)?;
        let mut missing: BTreeMap<DiffId, &Descriptor> = BTreeMap::new();
        for (diff_id, layer) in image.diff_ids().iter().zip(&found.layers) {
            if store.layer(diff_id)?.is_none() {
                missing.insert(*diff_id, layer);
            }
        }
        let fetched = fetch(store, &doing, &found, &missing, limits, reporter)?;
        for (diff_id, layer) in image.diff_ids().iter().zip(&found.layers) {
            note(store, &found.remote, diff_id, layer)?;
        }
        let image = store.put_image_bytes(config, names)?;
        let layers: std::collections::BTreeSet<_> = image.diff_ids().iter().collect();
        Ok(Fetched {
            fetched_layers: missing.len(),
            layers_there: layers.len() - missing.len(),
            image,
            digest: found.digest,
            from: found.remote.name(),
            fetched_bytes: fetched,
        })
    }
}

/// Fetches layers and unpacks them; as many bytes came.
pub(super) fn fetch(
    store: &Store,
    doing: &str,
    found: &Resolved<'_>,
    missing: &BTreeMap<DiffId, &Descriptor>,
    limits: LoadLimits,
    reporter: &dyn Reporter,
) -> Result<u64, RegistryError> {
    let total = missing.values().fold(0_u64, |total, layer| total.saturating_add(layer.size));
    if total > limits.archive_bytes {
        let what = format!("what its layers have together ({total} bytes)");
        return Err(RegistryError::TooLarge { doing: doing.to_owned(), what, limit_bytes: limits.archive_bytes });
    }
    if missing.is_empty() {
        return Ok(0);
    }
    // The largest first: whoever begins with it last is waited for by all.
    let mut layers: Vec<(&DiffId, &Descriptor)> = missing.iter().map(|(diff_id, layer)| (diff_id, *layer)).collect();
    layers.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
    let meter = Meter::start(reporter, doing.to_owned(), Some(total));
    let (halt, left) = (AtomicBool::new(false), AtomicU64::new(limits.unpacked_bytes));
    for_each(&layers, &halt, |(diff_id, layer)| {
        let inside = |source: LoadError| match source {
            LoadError::Store(error) => RegistryError::Store(error),
            source => RegistryError::Load { doing: doing.to_owned(), source: Box::new(source) },
        };
        found.remote.blob_into(store, doing, layer, &meter, &halt)?;
        let source = Source::Folder(store.root_dir().to_owned());
        let name = format!("blobs/sha256/{}", layer.digest.hex());
        let place = LayerSource { name, blob: Some((layer.digest, layer.size)), is_kept: true };
        let allowed = left.load(Ordering::Relaxed);
        let cost = load_layer(store, &source, **diff_id, &place, allowed, limits.unpacked_bytes).map_err(|error| {
            // A blob that is no layer is of no use to anybody.
            if !error.is_of_the_machine() {
                let _ = fs::remove_file(store.blob_path(&layer.digest));
            }
            inside(error)
        })?;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).map(|_| ()).map_err(
            |_| {
                let what = "what its layers unpack to".to_owned();
                RegistryError::TooLarge { doing: doing.to_owned(), what, limit_bytes: limits.unpacked_bytes }
            },
        )
    })?;
    Ok(total)
}

/// Remembers where a layer is: it can be mounted from there.
pub(super) fn note(
    store: &Store,
    remote: &Remote<'_>,
    diff_id: &DiffId,
    layer: &Descriptor,
) -> Result<(), RegistryError> {
    let compression = if layer.media_type.contains("zstd") {
        crate::Compression::Zstd
    } else if layer.media_type.contains("gzip") {
        crate::Compression::Gzip
    } else {
        crate::Compression::None
    };
    let blob = Blob { digest: layer.digest, size_bytes: layer.size, compression };
    let place = Place { registry: remote.registry.clone(), repository: remote.repository.clone(), blob };
    Ok(store.note_place(diff_id, &place)?)
}

impl Remote<'_> {
    pub(super) fn config(&self, doing: &str, config: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let what = "the image's configuration".to_owned();
        if config.size > MAX_CONFIG_BYTES {
            return Err(RegistryError::TooLarge { doing: doing.to_owned(), what, limit_bytes: MAX_CONFIG_BYTES });
        }
        let answer = self.blob(doing, &config.digest, 0, true)?;
        let answer = self.there(doing, answer, || format!("blob {}", config.digest))?;
        let bytes = self.read_bounded(doing, answer, &what, MAX_CONFIG_BYTES)?;
        let seen = Digest::of(&bytes);
        if seen != config.digest {
            return Err(self.wrong_content(doing, &what, &config.digest, &seen));
        }
        if bytes.len() as u64 != config.size {
            return Err(self.wrong_content(
                doing,
                &what,
                &format!("{} bytes long", config.size),
                &format!("{} bytes long", bytes.len()),
            ));
        }
        Ok(bytes)
    }

    /// Asks for a blob from `offset` on.
    pub(super) fn blob(
        &self,
        doing: &str,
        digest: &Digest,
        offset: u64,
        patiently: bool,
    ) -> Result<Answer, RegistryError> {
        let scopes = self.scopes("pull");
        let mut headers = Vec::new();
        if offset > 0 {
            headers.push(("range", format!("bytes={offset}-")));
        }
        let url = self.url(&format!("blobs/{digest}"));
        let ask =
            Ask { doing, method: Method::GET, url, headers, scopes: &scopes, payload: Payload::None, small: false };
        if patiently { self.ask(&ask) } else { self.ask_once(&ask) }
    }

    /// Fetches a blob into the store's blobs, going on where it broke off.
    pub(super) fn blob_into(
        &self,
        store: &Store,
        doing: &str,
        layer: &Descriptor,
        meter: &Meter<'_>,
        halt: &AtomicBool,
    ) -> Result<(), RegistryError> {
        let place = store.blob_path(&layer.digest);
        if fs::metadata(&place).is_ok_and(|file| file.len() == layer.size) {
            crate::durable::touch(&place)
                .map_err(|source| StoreError::io("marking a layer's blob as in use", source))?;
            meter.add_bytes(layer.size);
            return Ok(());
        }
        let mut partial = Partial::open(store, &layer.digest)?;
        let resumed = partial.length > 0;
        if partial.length > layer.size {
            partial.restart()?;
        }
        meter.add_bytes(partial.length);
        self.fill(&mut partial, doing, layer, meter, halt)?;
        let mut seen = partial.digest();
        if seen != layer.digest && resumed {
            // What an earlier pull left may be at fault.
            meter.add(-i64::try_from(layer.size).unwrap_or(0));
            partial.restart()?;
            self.fill(&mut partial, doing, layer, meter, halt)?;
            seen = partial.digest();
        }
        if seen != layer.digest {
            partial.discard();
            return Err(self.wrong_content(doing, "a layer", &layer.digest, &seen));
        }
        Ok(partial.publish(store, &layer.digest)?)
    }

    fn fill(
        &self,
        partial: &mut Partial,
        doing: &str,
        layer: &Descriptor,
        meter: &Meter<'_>,
        halt: &AtomicBool,
    ) -> Result<(), RegistryError> {
        let mut failures = 0;
        for _ in 0..MOST_ROUNDS {
            if partial.length == layer.size {
                return Ok(());
            }
            let before = partial.length;
            let (error, asked) = match self.fill_once(partial, doing, layer, meter, halt) {
                Ok(None) => continue,
                Ok(Some((error, asked))) => (error, asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            // Whoever gets on is not given up.
            failures = if partial.length > before + BUFFER_BYTES as u64 { 1 } else { failures + 1 };
            if failures >= self.all.settings.times.attempts {
                return Err(error);
            }
            self.all.wait(doing, &self.registry, failures, asked)?;
        }
        Err(self.cut_off(doing, layer, partial.length))
    }

    /// One request. What may be tried again is no error, or a transient one.
    fn fill_once(
        &self,
        partial: &mut Partial,
        doing: &str,
        layer: &Descriptor,
        meter: &Meter<'_>,
        halt: &AtomicBool,
    ) -> Result<Option<(RegistryError, Option<Duration>)>, RegistryError> {
        let answer = self.blob(doing, &layer.digest, partial.length, false)?;
        if is_transient(answer.status) {
            let asked = answer.header("retry-after").and_then(parse_retry_after);
            return Ok(Some((self.refused(doing, answer), asked)));
        }
        let goes_on = answer.header("content-range").is_some_and(|range| {
            range
                .trim_start_matches("bytes")
                .trim()
                .split('-')
                .next()
                .is_some_and(|from| from.trim().parse() == Ok(partial.length))
        });
        if partial.length > 0 && !(answer.status == 206 && goes_on) && matches!(answer.status, 200 | 206 | 416) {
            // It gives the whole alone, or another piece than was asked for.
            meter.add(-i64::try_from(partial.length).unwrap_or(0));
            partial.restart()?;
            if answer.status != 200 {
                answer.drain();
                return Ok(None);
            }
        }
        let answer = if answer.status == 206 && partial.length > 0 {
            answer
        } else {
            self.there(doing, answer, || format!("blob {}", layer.digest))?
        };
        let said: Option<u64> = answer.header("content-length").and_then(|text| text.parse().ok());
        let wanted = layer.size - partial.length;
        if let Some(said) = said.filter(|said| *said != wanted) {
            let (expected, seen) = (format!("{wanted} bytes long"), format!("{said} bytes long"));
            return Err(self.wrong_content(doing, &format!("layer {}", layer.digest), &expected, &seen));
        }
        let address = shown(&answer.url);
        let mut reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        let (mut since, mut slow) = (Instant::now(), 0_u64);
        while partial.length < layer.size {
            if halt.load(Ordering::Relaxed) {
                return Err(RegistryError::Stopped { doing: doing.to_owned() });
            }
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Err(self.cut_off(doing, layer, partial.length)),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&self.all.stop, doing, &address, error)),
            };
            if partial.length + read as u64 > layer.size {
                return Err(self.too_much(doing, layer));
            }
            partial.write(&buffer[..read])?;
            meter.add_bytes(read as u64);
            slow += read as u64;
            if since.elapsed() > self.all.settings.times.silence {
                if slow < SLOWEST_BYTES {
                    return Err(RegistryError::Silent { doing: doing.to_owned(), address });
                }
                (since, slow) = (Instant::now(), 0);
            }
        }
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => Ok(None),
            Ok(_) => Err(self.too_much(doing, layer)),
        }
    }

    fn too_much(&self, doing: &str, layer: &Descriptor) -> RegistryError {
        let (what, expected) = (format!("layer {}", layer.digest), format!("{} bytes long", layer.size));
        self.wrong_content(doing, &what, &expected, &"longer")
    }

    pub(super) fn cut_off(&self, doing: &str, layer: &Descriptor, length: u64) -> RegistryError {
        let text = format!("{length} of {} bytes of layer {} came", layer.size, layer.digest);
        let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text);
        RegistryError::Broken { doing: doing.to_owned(), address: self.origin.to_string(), source }
    }
}
