//! The documents by which something is attached to an image: manifests with a `subject` (image-spec 1.1, "Guidelines for Artifact Usage"), the index that
//! stands in for a registry's own list of them (distribution-spec 1.1, "Referrers Tag Schema"), and the manifests behind cosign's tags. Bytes in, bytes
//! out: it knows no registry, and nothing of what is attached.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::archive_write::{descriptor, manifest};
use crate::digest::Digest;
use crate::registry::manifest::MAX_BYTES;

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// "Guidance for an Empty Descriptor": what has no configuration has this one.
pub(super) const EMPTY_CONFIG: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// What one image may have attached in one place.
pub(super) const MAX_ENTRIES: usize = 1000;

/// A document that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is: `application/vnd.cyclonedx+json`.
    pub media_type: String,
    /// The document.
    pub content: Vec<u8>,
    /// What is said of it where it is listed.
    pub annotations: BTreeMap<String, String>,
}

impl Attachment {
    /// Its descriptor as a layer.
    pub(super) fn layer(&self) -> Value {
        let mut layer = descriptor(&self.media_type, &Digest::of(&self.content), self.content.len() as u64);
        self.annotate(&mut layer);
        layer
    }

    /// The manifest that refers to `subject`.
    pub(super) fn referrer(&self, subject: &Value) -> Vec<u8> {
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": self.media_type,
            "config": descriptor(EMPTY_TYPE, &Digest::of(EMPTY_CONFIG), EMPTY_CONFIG.len() as u64),
            "layers": [self.layer()],
            "subject": subject,
        });
        self.annotate(&mut document);
        document.to_string().into_bytes()
    }

    /// How that manifest is listed.
    pub(super) fn entry(&self, referrer: &[u8]) -> Value {
        let mut entry = descriptor(MANIFEST_TYPE, &Digest::of(referrer), referrer.len() as u64);
        entry["artifactType"] = json!(self.media_type);
        self.annotate(&mut entry);
        entry
    }

    fn annotate(&self, document: &mut Value) {
        if !self.annotations.is_empty() {
            document["annotations"] = json!(self.annotations);
        }
    }
}

/// A list with the entries that it lacks; nothing where it lacks none. What stands there stays as it is.
fn merged(list: &Value, wanted: &[Value]) -> Result<Option<Vec<Value>>, String> {
    let mut all = list.as_array().cloned().unwrap_or_default();
    let known: BTreeSet<String> = all.iter().filter_map(|one| one["digest"].as_str().map(str::to_owned)).collect();
    let before = all.len();
    all.extend(wanted.iter().filter(|one| one["digest"].as_str().is_none_or(|it| !known.contains(it))).cloned());
    if all.len() > MAX_ENTRIES {
        return Err(format!("it would list {} documents, {MAX_ENTRIES} are allowed", all.len()));
    }
    Ok((all.len() > before).then_some(all))
}

fn bounded(document: &Value) -> Result<Vec<u8>, String> {
    let bytes = document.to_string().into_bytes();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it would have {} bytes, {MAX_BYTES} are allowed", bytes.len()));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8], list: &str) -> Result<Value, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if document[list].is_array() {
        return Ok(document);
    }
    let kind: String = document["mediaType"].as_str().unwrap_or("no type that it names").chars().take(120).collect();
    Err(format!("it is a document of {kind}, without a list of {list}"))
}

/// The entries of an index.
pub(super) fn entries(bytes: &[u8], list: &str) -> Result<Vec<Value>, String> {
    let document = parse(bytes, list)?;
    let all = document[list].as_array().cloned().unwrap_or_default();
    if all.len() > MAX_ENTRIES {
        return Err(format!("it lists {} documents, {MAX_ENTRIES} are allowed", all.len()));
    }
    Ok(all)
}

/// The index behind a referrers tag with `wanted` in it; nothing where it has them.
pub(super) fn index_with(there: Option<&[u8]>, wanted: &[Value]) -> Result<Option<Vec<u8>>, String> {
    let mut index = match there {
        Some(bytes) => parse(bytes, "manifests")?,
        None => json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}),
    };
    let Some(all) = merged(&index["manifests"], wanted)? else { return Ok(None) };
    index["manifests"] = Value::Array(all);
    bounded(&index).map(Some)
}

/// A manifest and its configuration.
type WithConfig = (Vec<u8>, Vec<u8>);

/// The manifest behind one of cosign's tags with `wanted` among its layers, and its configuration; nothing where it has them.
pub(super) fn cosign_with(there: Option<&[u8]>, wanted: &[Value]) -> Result<Option<WithConfig>, String> {
    let old = match there {
        Some(bytes) => parse(bytes, "layers")?,
        None => json!({}),
    };
    let Some(layers) = merged(&old["layers"], wanted)? else { return Ok(None) };
    let (mut document, config) = cosign_manifest(&layers);
    if let Some(annotations) = old.get("annotations") {
        document["annotations"] = annotations.clone();
    }
    Ok(Some((bounded(&document)?, config)))
}

/// The manifest behind one of cosign's tags that has this layer alone, and its configuration.
pub(super) fn cosign_of(layer: &Value) -> WithConfig {
    let (document, config) = cosign_manifest(std::slice::from_ref(layer));
    (document.to_string().into_bytes(), config)
}

/// As cosign makes them: an image without a system, whose layers are the documents, uncompressed, so that diffIDs and digests are the same.
fn cosign_manifest(layers: &[Value]) -> (Value, Vec<u8>) {
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "config": {},
    });
    let config = config.to_string().into_bytes();
    let document = manifest((&Digest::of(&config), config.len() as u64), layers);
    (serde_json::from_slice(&document).unwrap_or_default(), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(content: &str) -> Attachment {
        let annotations = [("in-toto.io/predicate-type".to_owned(), "https://slsa.dev/provenance/v1".to_owned())];
        Attachment { media_type: "text/x".into(), content: content.into(), annotations: annotations.into() }
    }

    #[test]
    fn a_referrer_has_a_subject_an_empty_configuration_and_one_layer() {
        let subject = descriptor(MANIFEST_TYPE, &Digest::of(b"image"), 5);
        let one = attachment("{}x");
        let bytes = one.referrer(&subject);
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        assert_eq!(read["config"]["digest"], "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!((&read["subject"], &read["artifactType"]), (&subject, &json!("text/x")));
        assert_eq!(read["layers"][0]["digest"], Digest::of(b"{}x").to_string());
        assert_eq!(one.referrer(&subject), bytes);
        let entry = one.entry(&bytes);
        assert_eq!(entry["digest"], Digest::of(&bytes).to_string());
        assert_eq!(entry["annotations"], read["annotations"]);
    }

    #[test]
    fn what_others_listed_stays_and_nothing_is_listed_twice() {
        let subject = descriptor(MANIFEST_TYPE, &Digest::of(b"image"), 5);
        let entry = |text: &str| {
            let one = attachment(text);
            one.entry(&one.referrer(&subject))
        };
        let theirs = json!({"digest": "sha512:00", "mediaType": "x", "size": 1, "odd": true});
        let index =
            json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [theirs], "annotations": {"a": "b"}});
        let more = index_with(Some(index.to_string().as_bytes()), &[entry("a"), entry("b")]).unwrap().unwrap();
        let read: Value = serde_json::from_slice(&more).unwrap();
        assert_eq!((&read["manifests"][0], &read["annotations"]["a"]), (&theirs, &json!("b")));
        assert_eq!(entries(&more, "manifests").unwrap().len(), 3);
        assert_eq!(index_with(Some(&more), &[entry("b")]).unwrap(), None);
        assert!(index_with(None, &[entry("a")]).unwrap().is_some());

        let (first, _) = cosign_with(None, &[attachment("a").layer()]).unwrap().unwrap();
        assert_eq!(cosign_with(Some(&first), &[attachment("a").layer()]).unwrap(), None);
        let (second, config) = cosign_with(Some(&first), &[attachment("b").layer()]).unwrap().unwrap();
        let (second, config): (Value, Value) =
            (serde_json::from_slice(&second).unwrap(), serde_json::from_slice(&config).unwrap());
        let digests: Vec<&Value> = second["layers"].as_array().unwrap().iter().map(|layer| &layer["digest"]).collect();
        assert_eq!(json!(digests), config["rootfs"]["diff_ids"]);
        assert_eq!(digests.len(), 2);
    }

    #[test]
    fn what_is_no_list_or_too_long_is_not_added_to() {
        let entry = attachment("a").layer();
        for (there, said) in [
            (r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#.to_owned(), "image.manifest"),
            ("[".to_owned(), "cannot be read"),
            (json!({"manifests": vec![json!({"digest": "x"}); 1000]}).to_string(), "1001 documents, 1000 are allowed"),
            (json!({"manifests": [{"digest": "x", "annotations": {"a": "a".repeat(5 << 20)}}]}).to_string(), "bytes"),
        ] {
            let error = index_with(Some(there.as_bytes()), std::slice::from_ref(&entry)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
