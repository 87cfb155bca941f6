//! Whether a registry has what an image says of itself: every blob is read once, and its digest, its length and the digest of the tar in it are
//! recomputed. Nothing of it is kept.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use hoist_events::Reporter;

use crate::blob::HashingReader;
use crate::compress::decoder;
use crate::digest::{DiffId, Hasher};
use crate::load::LoadLimits;
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::manifest::{Descriptor, Platform};
use crate::registry::seen::Seen;
use crate::registry::talk::{Registries, Remote, Tried, lock};
use crate::registry::wire::{broken, shown};
use crate::registry::work::{Meter, for_each};
use crate::store::Store;

impl Registries {
    /// Reads an image at its registry and recomputes every digest; says what is not as it should be, in the order of the layers. The manifest and
    /// the configuration are refused where they are not what their digests say.
    pub fn verify(
        &self,
        store: &Store,
        name: &Reference,
        platform: &Platform,
        reporter: &dyn Reporter,
    ) -> Result<(Seen, Vec<String>), RegistryError> {
        let doing = format!("verifying `{name}`");
        let (found, image) = self.inner.read_image(store, &doing, name, platform)?;
        let seen = Seen::of(&found, image);
        let layers: BTreeMap<DiffId, &Descriptor> = seen.image.diff_ids().iter().copied().zip(&found.layers).collect();
        let total = layers.values().fold(0_u64, |total, layer| total.saturating_add(layer.size));
        let meter = Meter::start(reporter, doing.clone(), Some(total));
        let mut wanted: Vec<(DiffId, &Descriptor)> = layers.into_iter().collect();
        wanted.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
        let problems = Mutex::new(BTreeMap::new());
        let halt = AtomicBool::new(false);
        for_each(&wanted, &halt, |(diff_id, layer)| {
            if let Some(problem) = found.remote.check_layer(&doing, diff_id, layer, &meter)? {
                lock(&problems).insert(*diff_id, problem);
            }
            Ok::<(), RegistryError>(())
        })?;
        let mut problems = problems.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let told = seen.image.diff_ids().iter().filter_map(|diff_id| problems.remove(diff_id)).collect();
        Ok((seen, told))
    }
}

impl Remote<'_> {
    /// What is wrong with a layer.
    fn check_layer(
        &self,
        doing: &str,
        diff_id: &DiffId,
        layer: &Descriptor,
        meter: &Meter<'_>,
    ) -> Result<Option<String>, RegistryError> {
        self.all.retrying(doing, &self.registry, || {
            let answer = self.blob(doing, &layer.digest, 0, true)?;
            if answer.status == 404 {
                answer.drain();
                return Ok(Tried::Done(Some(format!("layer {diff_id}: the registry has no blob {}", layer.digest))));
            }
            let answer = self.there(doing, answer, || format!("blob {}", layer.digest))?;
            let address = shown(&answer.url);
            let body = answer.body.into_with_config().limit(u64::MAX).reader();
            let mut outer = Told {
                inner: HashingReader { inner: body.take(layer.size + 1), hasher: Hasher::default() },
                meter,
                bytes: 0,
            };
            let inside = read_tar(&mut outer);
            let drained = io::copy(&mut outer, &mut io::sink());
            let told = i64::try_from(outer.bytes).unwrap_or(0);
            let (seen, length) = outer.inner.hasher.finish();
            let problem = |text: String| Ok(Tried::Done(Some(format!("layer {diff_id}: {text}"))));
            if let Err(error) = drained {
                meter.add(-told);
                return Err(broken(&self.all.stop, doing, &address, error));
            }
            if length > layer.size {
                return problem(format!(
                    "blob {} is longer than the {} bytes that the manifest says",
                    layer.digest, layer.size
                ));
            }
            if length < layer.size {
                meter.add(-told);
                return Err(self.cut_off(doing, layer, length));
            }
            if seen != layer.digest {
                return problem(format!("its blob should be {} and is {seen}", layer.digest));
            }
            match inside {
                Ok(inside) if inside == *diff_id => Ok(Tried::Done(None)),
                Ok(inside) => problem(format!("blob {} has another tar in it, {inside}", layer.digest)),
                Err(error) => problem(format!("blob {} cannot be unpacked: {error}", layer.digest)),
            }
        })
    }
}

/// The digest of what is compressed.
fn read_tar(compressed: &mut impl Read) -> io::Result<DiffId> {
    let limit = LoadLimits::default().unpacked_bytes;
    let (decoded, _) = decoder(compressed)?;
    let mut inner = HashingReader { inner: decoded.take(limit + 1), hasher: Hasher::default() };
    io::copy(&mut inner, &mut io::sink())?;
    let (seen, length) = inner.hasher.finish();
    if length > limit {
        return Err(io::Error::other(format!("it unpacks to more than {limit} bytes")));
    }
    Ok(DiffId(seen))
}

/// Tells what is read through it.
struct Told<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
    bytes: u64,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        self.meter.add_bytes(read as u64);
        Ok(read)
    }
}
