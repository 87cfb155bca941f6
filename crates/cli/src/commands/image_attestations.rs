//! `hoist image attestations`: what is attached to an image of a registry, by hoist or by others.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use fs_err as fs;
use hoist_image::{AttachedDocument, Digest, Reference, Registries};
use hoist_platform::{AttestPublicKey, open_envelope};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Code, Failure, harmless};
use crate::registry::{RegistryFlags, registries};
use crate::terminal::{bytes, counted};

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// What is written into a folder at the most.
const MAX_WRITTEN_BYTES: u64 = 1 << 30;

/// Show what is attached to an image in its registry (SBOM, provenance, signatures), or fetch it
#[derive(Debug, Args)]
pub(crate) struct AttestationsArgs {
    /// The image: HOST/NAME:TAG or HOST/NAME@sha256:…; it need not be in the store
    image: Reference,
    /// Print one of them: cyclonedx, spdx or provenance, or a media type or predicate type
    #[arg(long, value_name = "KIND", conflicts_with = "output_dir")]
    show: Option<String>,
    /// Write all of them into this folder, byte for byte; made where it is not there
    #[arg(short, long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Public key (ECDSA P-256, PEM) that statements must be signed with: others are not shown or written, and where none is it is an error
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// A document, and what is known of its signature.
struct Row {
    document: AttachedDocument,
    /// Whether it is signed with the key, and about this image.
    trusted: Option<bool>,
    /// Why it is not trusted.
    problem: Option<String>,
    /// The statement, where it was opened.
    statement: Option<Vec<u8>>,
}

impl AttestationsArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        self.registry.apply(context)?;
        let key = self.key.as_deref().map(AttestPublicKey::read).transpose()?;
        let registries = registries(context);
        let (subject, found) = registries.attached(&self.image)?;
        let mut rows = Vec::new();
        for document in found {
            rows.push(self.row(&registries, document, &subject, key.as_ref())?);
        }
        if key.is_some() && !rows.iter().any(|row| row.trusted == Some(true)) {
            return Err(self.untrusted(&rows));
        }
        if let Some(wanted) = &self.show {
            return self.show(context, &registries, wanted, &rows, &subject);
        }
        let written = match &self.output_dir {
            Some(dir) => Some(self.write(&registries, dir, &rows)?),
            None => None,
        };
        if context.json {
            return context.print_json(&self.json(&rows, &subject, written.as_deref()));
        }
        if let Some(written) = written {
            return context.print(&written.iter().fold(String::new(), |all, path| format!("{all}{path}\n")));
        }
        context.print(&self.text(&rows, &subject))
    }

    /// Statements in envelopes are opened where there is a key to compare with.
    fn row(
        &self,
        registries: &Registries,
        document: AttachedDocument,
        subject: &Digest,
        key: Option<&AttestPublicKey>,
    ) -> Result<Row, Failure> {
        let mut row = Row { document, trusted: None, problem: None, statement: None };
        let Some(key) = key.filter(|_| row.document.media_type == ENVELOPE) else { return Ok(row) };
        let content = registries.attached_content(&self.image, &row.document)?;
        match open_envelope(&content, Some(key)) {
            Ok((statement, signatures, signed)) => {
                let about = is_about(&statement, subject);
                row.trusted = Some(signed == Some(true) && about);
                row.problem = match (signatures, signed, about) {
                    (0, ..) => Some("it has no signature".to_owned()),
                    (_, Some(false), _) => Some("it is signed with another key".to_owned()),
                    (_, _, false) => Some("it is a statement about another image".to_owned()),
                    _ => None,
                };
                // What is signed counts, and not what is written on it.
                let said = serde_json::from_slice::<Value>(&statement).unwrap_or_default();
                row.document.predicate_type = said["predicateType"].as_str().map(str::to_owned);
                row.statement = Some(statement);
            }
            Err(problem) => (row.trusted, row.problem) = (Some(false), Some(problem)),
        }
        Ok(row)
    }

    fn untrusted(&self, rows: &[Row]) -> Failure {
        let mut text = format!("nothing that is attached to {} is signed with this key", self.image);
        for row in rows.iter().filter(|row| row.problem.is_some()).take(10) {
            let problem = row.problem.as_deref().unwrap_or_default();
            let _ = write!(text, "\n{} {}: {problem}", kind(&row.document), short(&row.document.digest));
        }
        let hint = format!(
            "attach it with the private key to this one: hoist image push --attest --attest-key FILE {}",
            self.image
        );
        Failure::coded(text, hint, Code::App)
    }

    fn show(
        &self,
        context: &Context,
        registries: &Registries,
        wanted: &str,
        rows: &[Row],
        subject: &Digest,
    ) -> Result<(), Failure> {
        let is = |row: &&Row| {
            let document = &row.document;
            kind(document) == wanted
                || document.media_type == wanted
                || document.predicate_type.as_deref() == Some(wanted)
        };
        // With a key that is what it signed, and nothing else.
        let row = rows.iter().filter(is).find(|row| self.key.is_none() || row.trusted == Some(true));
        let Some(row) = row else {
            let there: BTreeSet<String> = rows.iter().map(|row| kind(&row.document)).collect();
            let there: Vec<String> = there.into_iter().collect();
            let there = if there.is_empty() { "nothing is".to_owned() } else { format!("{} are", there.join(", ")) };
            let signed = if self.key.is_some() { " that is signed with this key" } else { "" };
            return Err(Failure::usage(
                format!("no {} is attached to {}{signed}; {} attached", harmless(wanted), self.image, harmless(&there)),
                format!("attach SBOM and provenance: hoist image push --attest {}", self.image),
            ));
        };
        let read = match &row.statement {
            Some(statement) => statement.clone(),
            None => registries.attached_content(&self.image, &row.document)?,
        };
        let document: Value = serde_json::from_slice(&read).map_err(|error| {
            Failure::hoist(
                format!("{} {} of {} is no JSON: {error}", kind(&row.document), row.document.digest, self.image),
                "write it into a folder as it is: --output-dir DIR",
            )
        })?;
        if document["_type"].is_string() && !is_about(&read, subject) {
            let text = format!("the statement is about another image than {subject}");
            context.reporter.warn(&text, Some("do not rely on it: whoever may push there can attach anything"));
        }
        context.print_json(&document)
    }

    fn write(&self, registries: &Registries, dir: &std::path::Path, rows: &[Row]) -> Result<Vec<String>, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(&error, Some("name a folder that you may write to: --output-dir DIR".to_owned()), Code::Usage)
        };
        fs::create_dir_all(dir).map_err(failed)?;
        let (mut written, mut total) = (Vec::new(), 0);
        for row in rows.iter().filter(|row| self.key.is_none() || row.trusted == Some(true)) {
            let content = registries.attached_content(&self.image, &row.document)?;
            total += content.len() as u64;
            if total > MAX_WRITTEN_BYTES {
                return Err(Failure::usage(
                    format!("more than {} are attached to {}", bytes(MAX_WRITTEN_BYTES), self.image),
                    "fetch one of them: --show KIND",
                ));
            }
            let kind: String =
                kind(&row.document).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let end = if row.document.media_type == ENVELOPE { "dsse.json" } else { "json" };
            let path = dir.join(format!("{kind}-{}.{end}", short(&row.document.digest)));
            fs::write(&path, content).map_err(failed)?;
            written.push(path.display().to_string());
        }
        Ok(written)
    }

    fn json(&self, rows: &[Row], subject: &Digest, written: Option<&[String]>) -> Value {
        let all: Vec<Value> = rows
            .iter()
            .map(|row| {
                let document = &row.document;
                json!({
                    "kind": kind(document),
                    "place": document.place,
                    "media_type": document.media_type,
                    "predicate_type": document.predicate_type,
                    "digest": document.digest.to_string(),
                    "size_bytes": document.size_bytes,
                    "annotations": document.annotations,
                    "signed_with_key": row.trusted,
                    "problem": row.problem,
                })
            })
            .collect();
        json!({"image": self.image.to_string(), "digest": subject.to_string(), "attestations": all, "files": written})
    }

    fn text(&self, rows: &[Row], subject: &Digest) -> String {
        if rows.is_empty() {
            return format!("nothing is attached to {} ({subject})\n", self.image);
        }
        let mut text = format!("{} ({subject}) has {} attached\n", self.image, counted(rows.len(), "document"));
        let width = rows.iter().map(|row| kind(&row.document).chars().count()).max().unwrap_or_default();
        for row in rows {
            let document = &row.document;
            let place = document.place.rsplit_once('.').map_or("referrer", |(_, suffix)| suffix);
            let signed = match (&row.trusted, &row.problem) {
                (Some(true), _) => "  signed with this key".to_owned(),
                (_, Some(problem)) => format!("  {problem}"),
                _ => String::new(),
            };
            let line = format!(
                "  {:<width$}  {place:<8}  {}  {}{signed}",
                kind(document),
                short(&document.digest),
                document.media_type
            );
            let _ = writeln!(text, "{}", harmless(&line).replace(['\n', '\t'], " "));
        }
        text
    }
}

/// What a document is, in a word.
fn kind(document: &AttachedDocument) -> String {
    let predicate = document.predicate_type.as_deref().unwrap_or_default();
    let about = |part: &str| document.media_type.contains(part) || predicate.contains(part);
    for (part, word) in [
        ("cyclonedx", "cyclonedx"),
        ("spdx", "spdx"),
        ("slsa.dev/provenance", "provenance"),
        ("simplesigning", "signature"),
    ] {
        if about(part) {
            return word.to_owned();
        }
    }
    harmless(if predicate.is_empty() { &document.media_type } else { predicate }).chars().take(80).collect()
}

fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

/// Whether a statement names this image.
fn is_about(statement: &[u8], subject: &Digest) -> bool {
    let statement: Value = serde_json::from_slice(statement).unwrap_or_default();
    let hex = subject.hex();
    statement["subject"].as_array().into_iter().flatten().any(|one| one["digest"]["sha256"].as_str() == Some(&hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_called_by_a_word_and_others_by_their_type() {
        let document = |media_type: &str, predicate: Option<&str>| AttachedDocument {
            place: "referrers".into(),
            media_type: media_type.into(),
            predicate_type: predicate.map(str::to_owned),
            annotations: std::collections::BTreeMap::new(),
            digest: Digest::of(b""),
            size_bytes: 0,
        };
        for (media_type, predicate, word) in [
            ("application/vnd.cyclonedx+json", None, "cyclonedx"),
            ("text/spdx+json", None, "spdx"),
            (ENVELOPE, Some("https://spdx.dev/Document"), "spdx"),
            ("application/vnd.in-toto+json", Some("https://slsa.dev/provenance/v1"), "provenance"),
            ("application/vnd.dev.cosign.simplesigning.v1+json", None, "signature"),
            (ENVELOPE, Some("https://example.com/\u{1b}x"), "https://example.com/\u{FFFD}x"),
        ] {
            assert_eq!(kind(&document(media_type, predicate)), word);
        }
    }

    #[test]
    fn a_statement_is_about_the_images_that_it_names() {
        let subject = Digest::of(b"image");
        let made = |hex: &str| json!({"subject": [{"digest": {"sha1": hex}}, {"digest": {"sha256": hex}}]}).to_string();
        assert!(is_about(made(&subject.hex()).as_bytes(), &subject));
        assert!(!is_about(made(&Digest::of(b"other").hex()).as_bytes(), &subject));
        assert!(!is_about(b"{", &subject));
    }
}
