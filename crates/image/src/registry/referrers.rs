//! What is attached to an image of a registry: the registry's own list of referrers (distribution-spec 1.1, "Listing Referrers") or the tag that stands in
//! for it, and cosign's tags. Whoever may write there may have attached anything: lists are bounded, documents have a length and a digest.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;

use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::artifact::{INDEX_TYPE, MAX_ENTRIES, entries};
use crate::registry::attach::tag_of;
use crate::registry::error::RegistryError;
use crate::registry::manifest::MAX_BYTES;
use crate::registry::resolve::registry_of;
use crate::registry::seen::parse_next;
use crate::registry::talk::{Ask, Payload, Registries, Remote, no_registry};
use crate::registry::wire::Origin;

/// Pages of one list.
const MAX_PAGES: usize = 50;
/// The longest document that is fetched: as long as the longest SBOM that a build takes.
const MAX_DOCUMENT_BYTES: u64 = 256 << 20;
/// Where builders and signers write down what a statement says.
const PREDICATE_KEYS: [&str; 3] = ["in-toto.io/predicate-type", "predicateType", "dev.sigstore.bundle.predicateType"];

/// An entry of a list; others' entries may have anything else.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    media_type: String,
    pub(super) digest: String,
    size: u64,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// A document that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedDocument {
    /// `referrers`, or the tag.
    pub place: String,
    /// What it is: `application/vnd.cyclonedx+json`.
    pub media_type: String,
    /// What it says, where it is a statement and that is written down.
    pub predicate_type: Option<String>,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
    /// The digest of the manifest that has it, or of itself under a tag.
    pub digest: Digest,
    /// Length of that.
    pub size_bytes: u64,
}

impl AttachedDocument {
    fn of(place: &str, entry: Entry) -> Option<Self> {
        let annotations = entry.annotations.unwrap_or_default();
        let predicate = PREDICATE_KEYS.iter().find_map(|key| annotations.get(*key)).cloned();
        Some(Self {
            place: place.to_owned(),
            media_type: entry.artifact_type.filter(|kind| !kind.is_empty()).unwrap_or(entry.media_type),
            predicate_type: predicate,
            annotations,
            // Those of other algorithms cannot be checked here.
            digest: entry.digest.parse().ok()?,
            size_bytes: entry.size,
        })
    }
}

impl Registries {
    /// The digest that a name stands for in its registry, and what is attached to it there.
    pub fn attached(&self, name: &Reference) -> Result<(Digest, Vec<AttachedDocument>), RegistryError> {
        let doing = format!("looking what is attached to `{name}`");
        let remote = self.inner.remote(&doing, registry_of(&doing, name)?, name.repository())?;
        let wanted =
            name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
        let subject = Digest::of(&remote.manifest(&doing, &wanted, None)?.0);
        let entries = remote.referrers(&doing, &subject)?;
        let mut found: Vec<_> =
            entries.into_iter().filter_map(|entry| AttachedDocument::of("referrers", entry)).collect();
        for suffix in ["sbom", "att", "sig"] {
            let tag = format!("{}.{suffix}", tag_of(&subject));
            for entry in remote.listed_under(&doing, &tag, "layers")? {
                found.extend(AttachedDocument::of(&tag, entry));
            }
        }
        Ok((subject, found))
    }

    /// The content of a document that is attached to an image of that name's repository.
    pub fn attached_content(&self, name: &Reference, document: &AttachedDocument) -> Result<Vec<u8>, RegistryError> {
        let doing = format!("fetching what is attached to `{name}`");
        let remote = self.inner.remote(&doing, registry_of(&doing, name)?, name.repository())?;
        let (mut digest, mut size) = (document.digest, document.size_bytes);
        if document.place == "referrers" {
            let (manifest, _) = remote.manifest(&doing, &digest.to_string(), Some(size))?;
            let wrong = |problem: String| RegistryError::Attachments {
                doing: doing.clone(),
                what: format!("the manifest {digest} of {}", remote.name()),
                problem,
            };
            let layers = read_entries(entries(&manifest, "layers").map_err(wrong)?);
            let first = layers.into_iter().find_map(|layer| Some((layer.digest.parse().ok()?, layer.size)));
            (digest, size) = first.ok_or_else(|| wrong("it has no content".to_owned()))?;
        }
        remote.whole_blob(&doing, &digest, size)
    }
}

/// Entries that are none are passed over: whoever may write there may write anything.
fn read_entries(all: Vec<Value>) -> Vec<Entry> {
    all.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect()
}

impl Remote<'_> {
    /// What refers to an image: the registry's list, or that of the tag.
    pub(super) fn referrers(&self, doing: &str, subject: &Digest) -> Result<Vec<Entry>, RegistryError> {
        let scopes = self.scopes("pull");
        let mut url = self.url(&format!("referrers/{subject}"));
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = self.ask(&Ask {
                doing,
                method: Method::GET,
                url: url.clone(),
                headers: vec![("accept", INDEX_TYPE.to_owned())],
                scopes: &scopes,
                payload: Payload::None,
                small: true,
            })?;
            match answer.status {
                200 => {}
                // Older registries know no such address, each in its own way.
                400 | 404 | 405 | 501 => {
                    answer.drain();
                    return self.listed_under(doing, &tag_of(subject), "manifests");
                }
                _ => return Err(self.refused(doing, answer)),
            }
            let next = answer.header("link").and_then(parse_next).and_then(|next| answer.resolve(next));
            if next.as_ref().is_some_and(|next| Origin::of(next).is_none_or(|(origin, _)| origin != self.origin)) {
                return Err(no_registry(doing, &url, "more referrers that lie with somebody else"));
            }
            let bytes = self.read_bounded(doing, answer, "the list of referrers", MAX_BYTES)?;
            let listed = entries(&bytes, "manifests");
            found.extend(read_entries(listed.map_err(|problem| no_registry(doing, &url, &problem))?));
            if found.len() > MAX_ENTRIES {
                let seen = format!("more than {MAX_ENTRIES} documents refer to one image");
                return Err(no_registry(doing, &url, &seen));
            }
            let Some(next) = next else { return Ok(found) };
            url = next;
        }
        Err(no_registry(doing, &url, "a list of referrers without an end"))
    }

    /// What the document under a tag lists; nothing where there is none.
    fn listed_under(&self, doing: &str, tag: &str, list: &str) -> Result<Vec<Entry>, RegistryError> {
        let bytes = match self.manifest(doing, tag, None) {
            Ok((bytes, _)) => bytes,
            Err(RegistryError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries(&bytes, list).map(read_entries).map_err(|problem| RegistryError::Attachments {
            doing: doing.to_owned(),
            what: format!("the tag {tag} of {}", self.name()),
            problem,
        })
    }

    /// A blob that is a document, compared with its digest and length.
    fn whole_blob(&self, doing: &str, digest: &Digest, size: u64) -> Result<Vec<u8>, RegistryError> {
        let what = format!("document {digest}");
        if size > MAX_DOCUMENT_BYTES {
            let problem = format!("it has {size} bytes, {MAX_DOCUMENT_BYTES} are allowed");
            return Err(RegistryError::Attachments { doing: doing.to_owned(), what, problem });
        }
        let answer = self.blob(doing, digest, 0, true)?;
        let answer = self.there(doing, answer, || format!("blob {digest}"))?;
        let bytes = self.read_bounded(doing, answer, &what, size)?;
        let seen = Digest::of(&bytes);
        if seen == *digest { Ok(bytes) } else { Err(self.wrong_content(doing, &what, digest, &seen)) }
    }
}
