//! From registry to registry, and what else is done to names there: an image as it is (an index with all its images) gets another name, what the
//! other place lacks is mounted or carried over, blob by blob; names are taken away.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use fs_err as fs;
use hoist_events::Reporter;
use ureq::http::Method;

use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::manifest::{Descriptor, Document, parse_any_document};
use crate::registry::push::Pushing;
use crate::registry::resolve::registry_of;
use crate::registry::talk::{Ask, Payload, Registries, Remote, lock};
use crate::registry::work::{Meter, for_each};
use crate::store::Store;

/// Indexes inside indexes.
const MAX_NESTING: usize = 3;
/// Documents of one image for many machines.
const MAX_DOCUMENTS: usize = 1000;
/// Tags that are compared before a manifest is removed by its digest.
const MAX_TAGS: usize = 2000;

/// An image got another name at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The digest of what both names stand for.
    pub digest: Digest,
    /// Bytes of blobs that were carried over.
    pub sent_bytes: u64,
    /// Blobs that were carried over: layers and configurations.
    pub sent_blobs: usize,
    /// Blobs that were mounted from another repository of the registry.
    pub mounted_blobs: usize,
    /// Blobs that were there.
    pub blobs_there: usize,
}

struct Copying<'a> {
    doing: &'a str,
    store: &'a Store,
    source: &'a Remote<'a>,
    target: &'a Remote<'a>,
    pushing: Pushing<'a>,
    /// Blobs and documents that are done.
    done: Mutex<BTreeSet<Digest>>,
    documents: AtomicUsize,
    sent_bytes: AtomicU64,
    sent: AtomicUsize,
    mounted: AtomicUsize,
    there: AtomicUsize,
}

impl Registries {
    /// Gives what `from` stands for the name `to`, at the same registry or another one. Nothing of it comes into the store but for the time that a
    /// blob is on its way.
    pub fn copy(
        &self,
        store: &Store,
        from: &Reference,
        to: &Reference,
        reporter: &dyn Reporter,
    ) -> Result<Copied, RegistryError> {
        let doing = format!("copying `{from}` to `{to}`");
        let Some(tag) = to.tag().filter(|_| to.digest().is_none()) else {
            return Err(RegistryError::NoTag { name: to.to_string() });
        };
        let source = self.inner.remote(&doing, registry_of(&doing, from)?, from.repository())?;
        let target = self.inner.remote(&doing, registry_of(&doing, to)?, to.repository())?;
        let _session = store.session()?;
        let wanted =
            from.digest().map_or_else(|| from.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
        let (bytes, kind) = source.manifest(&doing, &wanted, None)?;
        let meter = Meter::start(reporter, doing.clone(), None);
        let copying = Copying {
            doing: &doing,
            store,
            source: &source,
            target: &target,
            pushing: Pushing::new(&target, store, &doing, meter),
            done: Mutex::default(),
            documents: AtomicUsize::new(0),
            sent_bytes: AtomicU64::new(0),
            sent: AtomicUsize::new(0),
            mounted: AtomicUsize::new(0),
            there: AtomicUsize::new(0),
        };
        copying.document(from, &bytes, kind.as_deref(), tag, 0)?;
        Ok(Copied {
            digest: Digest::of(&bytes),
            sent_bytes: copying.sent_bytes.into_inner(),
            sent_blobs: copying.sent.into_inner(),
            mounted_blobs: copying.mounted.into_inner(),
            blobs_there: copying.there.into_inner(),
        })
    }

    /// Takes a name away at its registry; with a digest the image and all its names. Says what it stood for. A registry that knows no removal of
    /// single names is asked for the removal of the image, where no other name stands for that.
    pub fn remove(&self, name: &Reference) -> Result<Digest, RegistryError> {
        let doing = format!("removing `{name}`");
        let remote = self.inner.remote(&doing, registry_of(&doing, name)?, name.repository())?;
        let wanted =
            name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
        let (bytes, _) = remote.manifest(&doing, &wanted, None)?;
        let digest = Digest::of(&bytes);
        if name.digest().is_none() {
            if remote.delete(&doing, &wanted)? {
                return Ok(digest);
            }
            let others = remote.other_tags(&doing, &wanted, &digest)?;
            if !others.is_empty() {
                let registry = remote.registry.clone();
                return Err(RegistryError::OtherNames { doing, registry, digest, others });
            }
        }
        if remote.delete(&doing, &digest.to_string())? {
            return Ok(digest);
        }
        Err(RegistryError::NoRemoval { doing, registry: remote.registry.clone() })
    }
}

impl Copying<'_> {
    /// Brings what a document refers to, and then the document itself.
    fn document(
        &self,
        from: &Reference,
        bytes: &[u8],
        kind: Option<&str>,
        wanted: &str,
        depth: usize,
    ) -> Result<(), RegistryError> {
        let wrong = |problem: String| RegistryError::NotAnImage { name: from.to_string(), problem };
        if depth > MAX_NESTING {
            return Err(wrong("its indexes lie in each other too deeply".to_owned()));
        }
        if self.documents.fetch_add(1, Ordering::Relaxed) >= MAX_DOCUMENTS {
            return Err(wrong(format!("it has more than {MAX_DOCUMENTS} manifests")));
        }
        let parsed = parse_any_document(bytes, kind).map_err(wrong)?;
        let own = kind.map_or_else(|| parsed.usual_type().to_owned(), str::to_owned);
        // A repository that has the document has all of it.
        if self.source.name() != self.target.name() {
            match parsed {
                Document::Image { config, layers } => self.blobs(std::iter::once(config).chain(layers))?,
                Document::Index(entries) => {
                    for entry in entries {
                        if lock(&self.done).insert(entry.digest) {
                            let digest = entry.digest.to_string();
                            let (bytes, kind) = self.source.manifest(self.doing, &digest, Some(entry.size))?;
                            self.document(from, &bytes, kind.as_deref(), &digest, depth + 1)?;
                        }
                    }
                }
            }
        }
        self.target.put_manifest(self.doing, wanted, &own, bytes, Digest::of(bytes)).map(|_| ())
    }

    fn blobs(&self, blobs: impl Iterator<Item = Descriptor>) -> Result<(), RegistryError> {
        let mut wanted: Vec<Descriptor> = blobs.filter(|blob| lock(&self.done).insert(blob.digest)).collect();
        wanted.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let halt = AtomicBool::new(false);
        for_each(&wanted, &halt, |blob| self.blob(blob, &halt))
    }

    fn blob(&self, blob: &Descriptor, halt: &AtomicBool) -> Result<(), RegistryError> {
        let (source, target) = (self.source, self.target);
        if target.has(self.doing, &blob.digest)? {
            self.there.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if source.registry == target.registry && target.mount(self.doing, &blob.digest, &source.repository)? {
            self.mounted.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let path = self.store.blob_path(&blob.digest);
        let was_there = fs::symlink_metadata(&path).is_ok();
        source.blob_into(self.store, self.doing, blob, &self.pushing.meter, halt)?;
        let sent = self.pushing.upload(&blob.digest, blob.size, &path);
        if !was_there {
            let _ = fs::remove_file(&path); // found by prune
        }
        sent?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(blob.size, Ordering::Relaxed);
        Ok(())
    }
}

impl Remote<'_> {
    /// Has a name or a document removed; false where the registry does not do that.
    fn delete(&self, doing: &str, wanted: &str) -> Result<bool, RegistryError> {
        let scopes = self.scopes("pull,push,delete");
        let answer = self.ask(&Ask {
            doing,
            method: Method::DELETE,
            url: self.url(&format!("manifests/{wanted}")),
            headers: Vec::new(),
            scopes: &scopes,
            payload: Payload::None,
            small: true,
        })?;
        match answer.status {
            200..=204 => {
                answer.drain();
                Ok(true)
            }
            // "405 Method Not Allowed", and what registries say in its place to a tag where they want a digest.
            400 | 404 | 405 | 501 => {
                answer.drain();
                Ok(false)
            }
            _ => Err(self.refused(doing, answer)),
        }
    }

    /// Further tags that stand for the same.
    fn other_tags(&self, doing: &str, own: &str, digest: &Digest) -> Result<Vec<String>, RegistryError> {
        let tags: Vec<String> = self.tags(doing)?.into_iter().filter(|tag| tag != own).collect();
        if tags.len() > MAX_TAGS {
            let registry = self.registry.clone();
            let others = vec![format!("perhaps one of {} others", tags.len())];
            return Err(RegistryError::OtherNames { doing: doing.to_owned(), registry, digest: *digest, others });
        }
        let others = Mutex::new(BTreeSet::new());
        for_each(&tags, &AtomicBool::new(false), |tag| {
            if self.stands_for(doing, tag)? == Some(*digest) {
                lock(&others).insert(tag.clone());
            }
            Ok::<(), RegistryError>(())
        })?;
        Ok(others.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect())
    }
}
