//! What is attested of an image that is in a registry: its SBOM in both formats and the provenance of its build, attached as OCI referrers and under cosign's
//! tags (docs/adr/0051). The same image gets the same documents, whoever pushes it from the same store.

mod envelope;
mod note;
mod statement;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hoist_events::Reporter;
use hoist_image::{Attachment, Attachments, Digest, Image, Reference, Registries, RegistryError, Store};
use serde::Serialize;
use serde_json::Value;

use crate::attest::envelope::envelope;
use crate::attest::statement::{PROVENANCE, oci_purl, provenance, statement};
use crate::bill::{BillFormat, BillName, bill_of};
use crate::error::{Fault, PlatformError};
use crate::place::{Place, Placed};

pub use envelope::{AttestKey, AttestPublicKey, open_envelope};
pub(crate) use note::BuildNote;

const STATEMENT: &str = "application/vnd.in-toto+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// What is to be attested of images that are pushed.
#[derive(Debug, Clone, Default)]
pub struct Attest {
    /// Signs the statements under cosign's tag; they have no signature without one.
    pub key: Option<AttestKey>,
}

/// Why an image has not everything attached.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The private key.
    #[error("reading the key {} that signs attestations: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The public key.
    #[error("reading the public key {} that attestations are compared with: {problem}", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The documents cannot be made.
    #[error("{place} has the image, but nothing is attached to it: its documents cannot be made")]
    Documents {
        /// Where the image is.
        place: String,
        /// Why not.
        source: Box<PlatformError>,
    },
    /// The registry has not all of it.
    #[error("{place} has the image, but not everything is attached to it")]
    Registry {
        /// Where the image is.
        place: String,
        /// The image, in the store.
        image: String,
        /// Why not.
        source: Box<RegistryError>,
    },
}

impl AttestError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Key { .. } => "make one without a password: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out attest.key \
                 (for cosign: cosign import-key-pair --key attest.key)"
                .to_owned(),
            Self::PublicKey { .. } => {
                "make it from the private one: openssl pkey -in attest.key -pubout -out attest.pub".to_owned()
            }
            Self::Documents { source, .. } => source.hint(),
            Self::Registry { place, image, source } => {
                format!("{}; then, without a build: hoist image push --attest {image} {place}", source.hint())
            }
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Key { .. } | Self::PublicKey { .. } => Fault::Usage,
            Self::Documents { source, .. } => source.fault(),
            Self::Registry { source, .. } if source.is_of_the_caller() => Fault::Usage,
            Self::Registry { .. } => Fault::Machine,
        }
    }
}

/// A document that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachedReport {
    /// `referrers`, or the tag.
    pub place: String,
    /// What it is.
    pub media_type: String,
    /// What it says, where it is a statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// The digest of the manifest that has it.
    pub digest: String,
    /// Whether it was there already.
    pub unchanged: bool,
}

/// Attaches to the image in every registry of `placed` what is attested of it, and notes there what was attached.
pub fn attest_places(
    store: &Store,
    image: &Image,
    placed: &mut [Placed],
    attest: &Attest,
    registries: &Registries,
    reporter: &dyn Reporter,
) -> Result<(), AttestError> {
    for one in placed {
        let (Ok(Place::Registry(name)), Some(digest)) = (one.output.parse(), one.id.as_deref()) else { continue };
        let Ok(digest) = digest.parse::<Digest>() else { continue };
        let place = name.to_string();
        let wanted = attachments(store, image, &name, &digest, attest, reporter)
            .map_err(|source| AttestError::Documents { place: place.clone(), source: Box::new(source) })?;
        let attached = registries.attach(&name, &digest, &wanted, reporter).map_err(|source| {
            AttestError::Registry { place: place.clone(), image: image.id().to_string(), source: Box::new(source) }
        })?;
        one.attached = attached
            .into_iter()
            .map(|one| AttachedReport {
                predicate_type: one.annotations.get(REFERRER_KEY).or(one.annotations.get(COSIGN_KEY)).cloned(),
                place: one.place,
                media_type: one.media_type,
                digest: one.digest.to_string(),
                unchanged: one.was_there,
            })
            .collect();
        let new = one.attached.iter().filter(|one| !one.unchanged).count();
        reporter.step(&match (new, one.attached.len()) {
            (0, _) => format!("{place}: everything was attached already"),
            (new, all) if new == all => format!("{place}: {all} documents attached"),
            (new, all) => format!("{place}: {new} of {all} documents attached, the others were there"),
        });
    }
    Ok(())
}

/// What BuildKit calls a statement's kind, and what cosign does.
const REFERRER_KEY: &str = "in-toto.io/predicate-type";
const COSIGN_KEY: &str = "predicateType";

fn attachments(
    store: &Store,
    image: &Image,
    name: &Reference,
    digest: &Digest,
    attest: &Attest,
    reporter: &dyn Reporter,
) -> Result<Attachments, PlatformError> {
    let called = BillName { name: name.name().to_owned(), purl: Some(oci_purl(name, digest)) };
    let mut wanted = Attachments::default();
    let plain = |media_type: &str, content: &Value| Attachment {
        media_type: media_type.to_owned(),
        content: content.to_string().into_bytes(),
        annotations: BTreeMap::new(),
    };
    let mut statements = Vec::new();
    for (format, media_type, predicate) in [
        (BillFormat::CycloneDx, "application/vnd.cyclonedx+json", "https://cyclonedx.org/bom"),
        (BillFormat::Spdx, "application/spdx+json", "https://spdx.dev/Document"),
    ] {
        let bill = bill_of(store, image, &called, format, reporter)?;
        let document = plain(media_type, &bill);
        if format == BillFormat::CycloneDx {
            wanted.sbom = Some(document.clone());
        }
        wanted.referrers.push(document);
        statements.push((predicate, statement(name, digest, predicate, &bill)));
    }
    let note = BuildNote::read(store, image)?;
    match provenance(image, note.as_ref()) {
        Some(predicate) => {
            let made = statement(name, digest, PROVENANCE, &predicate);
            let mut document = plain(STATEMENT, &made);
            document.annotations.insert(REFERRER_KEY.to_owned(), PROVENANCE.to_owned());
            wanted.referrers.push(document);
            statements.insert(0, (PROVENANCE, made));
        }
        None => reporter.warn(
            "no provenance is attached: no label of the image says how it was built",
            Some("build it with buildpacks: hoist build IMAGE --publish --attest"),
        ),
    }
    wanted.att = statements.iter().map(|(predicate, made)| in_envelope(predicate, made, attest)).collect();
    Ok(wanted)
}

fn in_envelope(predicate: &str, statement: &Value, attest: &Attest) -> Attachment {
    // The first is what cosign knows its envelopes by; their signature is inside.
    let annotations = [("dev.cosignproject.cosign/signature", ""), (COSIGN_KEY, predicate)]
        .map(|(a, b)| (a.to_owned(), b.to_owned()));
    Attachment {
        media_type: ENVELOPE.to_owned(),
        content: envelope(statement.to_string().as_bytes(), attest.key.as_ref()),
        annotations: annotations.into(),
    }
}

impl From<AttestError> for PlatformError {
    fn from(error: AttestError) -> Self {
        Self::Attest(Box::new(error))
    }
}
