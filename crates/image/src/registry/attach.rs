//! Attaches documents to an image of a registry: as referrers (distribution-spec 1.1, "Pushing Manifests with Subject"), with the tag that stands in where
//! the registry keeps no list of them itself, and under cosign's tags.
//!
//! ```text
//! list ─what is missing→ blobs ─→ manifests with `subject` ─no `OCI-Subject`→ tag sha256-<hex>: read, merge, put, look again
//!                                                          └cosign→ tags sha256-<hex>.att (merged), .sbom (replaced)
//! ```
//!
//! A tag that several write at once may lose what one of them wrote: the specification has no remedy. Each looks again after it wrote, and the same command
//! once more adds what is missing.

use hoist_events::Reporter;
use serde_json::Value;
use ureq::http::Method;

use crate::archive_write::descriptor;
use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::artifact::{
    Attachment, EMPTY_CONFIG, INDEX_TYPE, MANIFEST_TYPE, cosign_of, cosign_with, index_with,
};
use crate::registry::error::RegistryError;
use crate::registry::resolve::registry_of;
use crate::registry::talk::{Ask, Payload, Registries, Remote, Tried};
use crate::registry::upload::with_digest;
use crate::registry::work::Meter;

/// How often a tag is read and written where somebody else writes it, too.
const ROUNDS: u32 = 6;
/// A longer document is sent without a limit for the whole.
const SMALL_BYTES: usize = 1 << 20;

/// What is attached to an image.
#[derive(Debug, Clone, Default)]
pub struct Attachments {
    /// Documents that refer to it.
    pub referrers: Vec<Attachment>,
    /// What stands under cosign's tag `sha256-<hex>.att`, beside what is there.
    pub att: Vec<Attachment>,
    /// What stands under cosign's tag `sha256-<hex>.sbom`, in place of what is there.
    pub sbom: Option<Attachment>,
}

/// A document is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// `referrers`, or the tag.
    pub place: String,
    /// What it is.
    pub media_type: String,
    /// What is said of it.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// The digest of the manifest that has it.
    pub digest: Digest,
    /// Whether it was attached before.
    pub was_there: bool,
}

/// A document for a tag, its type, and its configuration where it has one.
type Merged = (Vec<u8>, &'static str, Option<Vec<u8>>);

/// The tag of the specification for what refers to an image; cosign's have a suffix.
pub(super) fn tag_of(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl Registries {
    /// Attaches documents to the image that has this digest in the repository of `name`. What is attached already is not attached again.
    pub fn attach(
        &self,
        name: &Reference,
        subject: &Digest,
        wanted: &Attachments,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Attached>, RegistryError> {
        let doing = format!("attaching to `{}@{subject}`", name.name());
        let remote = self.inner.remote(&doing, registry_of(&doing, name)?, name.repository())?;
        let meter = Meter::start(reporter, doing.clone(), None);
        Attaching { remote: &remote, doing: &doing, subject, meter }.all(wanted)
    }
}

struct Attaching<'a> {
    remote: &'a Remote<'a>,
    doing: &'a str,
    subject: &'a Digest,
    meter: Meter<'a>,
}

impl Attaching<'_> {
    fn all(&self, wanted: &Attachments) -> Result<Vec<Attached>, RegistryError> {
        let mut done = self.referrers(&wanted.referrers)?;
        if let Some(sbom) = &wanted.sbom {
            done.push(self.sbom(sbom)?);
        }
        if !wanted.att.is_empty() {
            done.extend(self.att(&wanted.att)?);
        }
        Ok(done)
    }

    fn attached(place: &str, one: &Attachment, digest: Digest, was_there: bool) -> Attached {
        let (media_type, annotations) = (one.media_type.clone(), one.annotations.clone());
        Attached { place: place.to_owned(), media_type, annotations, digest, was_there }
    }

    fn referrers(&self, wanted: &[Attachment]) -> Result<Vec<Attached>, RegistryError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let (image, kind) = self.remote.manifest(self.doing, &self.subject.to_string(), None)?;
        let kind = kind.as_deref().map_or(MANIFEST_TYPE, |kind| kind.split(';').next().unwrap_or(kind).trim());
        let subject = descriptor(kind, self.subject, image.len() as u64);
        let there: Vec<String> =
            self.remote.referrers(self.doing, self.subject)?.into_iter().map(|entry| entry.digest).collect();
        let (mut done, mut unlisted) = (Vec::new(), Vec::new());
        for one in wanted {
            let document = one.referrer(&subject);
            let digest = Digest::of(&document);
            let was_there = there.contains(&digest.to_string());
            if !was_there {
                self.blob(EMPTY_CONFIG)?;
                self.blob(&one.content)?;
                if !self.put(&digest.to_string(), MANIFEST_TYPE, &document)? {
                    unlisted.push(one.entry(&document));
                }
            }
            done.push(Self::attached("referrers", one, digest, was_there));
        }
        if !unlisted.is_empty() {
            let tag = tag_of(self.subject);
            self.merge(&tag, |there| Ok(index_with(there, &unlisted)?.map(|index| (index, INDEX_TYPE, None))))?;
        }
        Ok(done)
    }

    /// cosign replaces what is there, and so does this.
    fn sbom(&self, one: &Attachment) -> Result<Attached, RegistryError> {
        let tag = format!("{}.sbom", tag_of(self.subject));
        let (document, config) = cosign_of(&one.layer());
        let was_there = self.there(&tag)?.is_some_and(|there| there == document);
        if !was_there {
            self.blob(&config)?;
            self.blob(&one.content)?;
            self.put(&tag, MANIFEST_TYPE, &document)?;
        }
        Ok(Self::attached(&tag, one, Digest::of(&document), was_there))
    }

    fn att(&self, wanted: &[Attachment]) -> Result<Vec<Attached>, RegistryError> {
        let tag = format!("{}.att", tag_of(self.subject));
        let layers: Vec<Value> = wanted.iter().map(Attachment::layer).collect();
        let before = self.there(&tag)?.and_then(|there| super::artifact::entries(&there, "layers").ok());
        let was_there = |layer: &Value| before.iter().flatten().any(|one| one["digest"] == layer["digest"]);
        for (one, layer) in wanted.iter().zip(&layers) {
            if !was_there(layer) {
                self.blob(&one.content)?;
            }
        }
        let digest = self.merge(&tag, |there| {
            let more = cosign_with(there, &layers)?;
            Ok(more.map(|(document, config)| (document, MANIFEST_TYPE, Some(config))))
        })?;
        let all = wanted.iter().zip(&layers);
        Ok(all.map(|(one, layer)| Self::attached(&tag, one, digest, was_there(layer))).collect())
    }

    /// What stands under a tag.
    fn there(&self, tag: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        match self.remote.manifest(self.doing, tag, None) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(RegistryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts under a tag what `with` makes of what is there, until that is there; its digest.
    fn merge(
        &self,
        tag: &str,
        with: impl Fn(Option<&[u8]>) -> Result<Option<Merged>, String>,
    ) -> Result<Digest, RegistryError> {
        let wrong = |problem: String| RegistryError::Attachments {
            doing: self.doing.to_owned(),
            what: format!("the tag {tag} of {}", self.remote.name()),
            problem,
        };
        for round in 1..=ROUNDS {
            let there = self.there(tag)?;
            let Some((document, kind, config)) = with(there.as_deref()).map_err(wrong)? else {
                return Ok(there.as_deref().map_or(Digest::of(b""), Digest::of));
            };
            if round > 1 {
                self.remote.all.wait(self.doing, &self.remote.registry, round - 1, None)?;
            }
            if let Some(config) = config {
                self.blob(&config)?;
            }
            self.put(tag, kind, &document)?;
        }
        Err(wrong(format!(
            "somebody else writes it at the same time: {ROUNDS} times what was put there was gone again"
        )))
    }

    fn blob(&self, content: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(content);
        if self.remote.has(self.doing, &digest)? {
            return Ok(());
        }
        let scopes = self.remote.scopes("pull,push");
        self.remote.all.retrying(self.doing, &self.remote.registry, || {
            let begun = self.remote.begin(self.doing)?;
            let tried = self.remote.try_ask(&Ask {
                doing: self.doing,
                method: Method::PUT,
                url: with_digest(&begun, &digest),
                headers: vec![("content-type", "application/octet-stream".to_owned())],
                scopes: &scopes,
                payload: Payload::Bytes(content),
                small: content.len() <= SMALL_BYTES,
            })?;
            match tried {
                Tried::Done(answer) => self.remote.accepted(self.doing, answer, &digest).map(Tried::Done),
                Tried::Later(error, asked) => Ok(Tried::Later(error, asked)),
            }
        })?;
        self.meter.add_bytes(content.len() as u64);
        Ok(())
    }

    /// Puts a manifest; whether the registry says that it lists what refers to the image.
    fn put(&self, name: &str, kind: &str, document: &[u8]) -> Result<bool, RegistryError> {
        let listed = self.remote.put_manifest(self.doing, name, kind, document, Digest::of(document))?;
        Ok(listed.as_ref() == Some(self.subject))
    }
}
