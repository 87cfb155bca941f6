//! DSSE envelopes around statements (<https://github.com/secure-systems-lab/dsse>), as cosign attaches and verifies them: signed with an ECDSA key on P-256, or
//! without a signature. The signature of the same statement with the same key is the same (RFC 6979), so that nothing is attached twice.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::SecretKey;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::attest::AttestError;
use crate::bounded::read_text;

pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Keys in PEM have some hundred bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// A private key that signs statements.
#[derive(Clone)]
pub struct AttestKey(SigningKey);

impl fmt::Debug for AttestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttestKey(***)")
    }
}

/// A public key that tells whether a statement was signed with its private one.
#[derive(Debug, Clone)]
pub struct AttestPublicKey(VerifyingKey);

impl AttestKey {
    /// Reads a private key in PEM, of PKCS #8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    pub fn read(path: &Path) -> Result<Self, AttestError> {
        let wrong = |problem: &str| AttestError::Key { path: path.to_owned(), problem: problem.to_owned() };
        let text = read_key(path)?;
        let curve = "it cannot be read as an ECDSA key on the curve P-256";
        for (kind, block) in blocks(&text) {
            let key = match kind {
                "PRIVATE KEY" => SecretKey::from_pkcs8_pem(block).ok(),
                "EC PRIVATE KEY" if !block.contains("ENCRYPTED") => SecretKey::from_sec1_pem(block).ok(),
                kind if kind.starts_with("ENCRYPTED") || kind == "EC PRIVATE KEY" => {
                    return Err(wrong("it is encrypted with a password, which hoist cannot ask for"));
                }
                "PUBLIC KEY" => return Err(wrong("it is a public key, and a private one signs")),
                _ => continue,
            };
            return key.map(|key| Self(key.into())).ok_or_else(|| wrong(curve));
        }
        Err(wrong("there is no private key in PEM in it"))
    }
}

impl AttestPublicKey {
    /// Reads a public key in PEM (`PUBLIC KEY`).
    pub fn read(path: &Path) -> Result<Self, AttestError> {
        let wrong = |problem: &str| AttestError::PublicKey { path: path.to_owned(), problem: problem.to_owned() };
        let text = read_key(path).map_err(|error| match error {
            AttestError::Key { path, problem } => AttestError::PublicKey { path, problem },
            other => other,
        })?;
        let found = blocks(&text).find(|(kind, _)| *kind == "PUBLIC KEY");
        let (_, block) = found.ok_or_else(|| wrong("there is no public key in PEM in it"))?;
        let key = VerifyingKey::from_public_key_pem(block);
        key.map(Self).map_err(|_| wrong("it cannot be read as an ECDSA key on the curve P-256"))
    }
}

fn read_key(path: &Path) -> Result<String, AttestError> {
    read_text(path, MAX_KEY_BYTES).map_err(|error| {
        let problem = match error.kind() {
            std::io::ErrorKind::NotFound => "it is not there".to_owned(),
            _ => error.to_string(),
        };
        AttestError::Key { path: PathBuf::from(path), problem }
    })
}

/// The blocks of a PEM file, with their kinds.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = text.match_indices("-----BEGIN ").map(|(at, _)| &text[at..]);
    starts.filter_map(|block| {
        let kind = block["-----BEGIN ".len()..].split_once("-----")?.0;
        let end = format!("-----END {kind}-----");
        Some((kind, &block[..block.find(&end)? + end.len()]))
    })
}

/// What is signed: the "pre-authentication encoding" of the payload and its type.
fn encoded(payload: &[u8]) -> Vec<u8> {
    let mut all = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    all.extend_from_slice(payload);
    all
}

/// The envelope of a statement.
pub(crate) fn envelope(payload: &[u8], key: Option<&AttestKey>) -> Vec<u8> {
    let signatures: Vec<Value> = key
        .map(|key| {
            let signature: Signature = key.0.sign(&encoded(payload));
            json!({"keyid": "", "sig": STANDARD.encode(signature.to_der())})
        })
        .into_iter()
        .collect();
    json!({"payloadType": PAYLOAD_TYPE, "payload": STANDARD.encode(payload), "signatures": signatures})
        .to_string()
        .into_bytes()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    #[serde(default)]
    signatures: Vec<OneSignature>,
}

#[derive(Deserialize)]
struct OneSignature {
    #[serde(default)]
    sig: String,
}

/// A statement in its envelope, and whether it was signed with that key; none where no key was given to compare with.
pub fn open_envelope(bytes: &[u8], key: Option<&AttestPublicKey>) -> Result<(Vec<u8>, usize, Option<bool>), String> {
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| format!("the envelope cannot be read: {error}"))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        let seen: String = envelope.payload_type.chars().filter(|c| !c.is_control()).take(120).collect();
        return Err(format!("the envelope has a document of the type {seen}, and no statement"));
    }
    let payload = STANDARD.decode(&envelope.payload).map_err(|_| "what the envelope has is not base64".to_owned())?;
    let signatures = envelope.signatures.iter().filter(|one| !one.sig.is_empty());
    let count = signatures.clone().count();
    let signed = key.map(|key| {
        let text = encoded(&payload);
        let decoded = signatures.filter_map(|one| STANDARD.decode(&one.sig).ok());
        decoded.filter_map(|der| Signature::from_der(&der).ok()).any(|one| key.0.verify(&text, &one).is_ok())
    });
    Ok((payload, count, signed))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    /// `openssl ecparam -name prime256v1 -genkey`, made for this test.
    fn key_of(dir: &Path, arguments: &[&str]) -> PathBuf {
        let path = dir.join("key.pem");
        #[allow(clippy::disallowed_methods)] // a test starts what users start
        let done = std::process::Command::new("openssl").args(arguments).arg("-out").arg(&path).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // protocol.md: "DSSEv1 29 http://example.com/HelloWorld 11 hello world", with our type.
        assert_eq!(encoded(b"hello world"), b"DSSEv1 28 application/vnd.in-toto+json 11 hello world");
    }

    #[test]
    fn keys_of_openssl_are_read_and_sign_the_same_each_time() {
        let dir = tempfile::tempdir().unwrap();
        for arguments in [
            &["ecparam", "-name", "prime256v1", "-genkey"][..],
            &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ] {
            let path = key_of(dir.path(), arguments);
            let key = AttestKey::read(&path).unwrap();
            let public = AttestPublicKey(*key.0.verifying_key());
            let made = envelope(b"{}", Some(&key));
            assert_eq!(made, envelope(b"{}", Some(&key)));
            assert_eq!(open_envelope(&made, Some(&public)).unwrap(), (b"{}".to_vec(), 1, Some(true)));
            let unsigned = envelope(b"{}", None);
            assert_eq!(open_envelope(&unsigned, Some(&public)).unwrap(), (b"{}".to_vec(), 0, Some(false)));
            assert_eq!(open_envelope(&unsigned, None).unwrap().2, None);
            // Another payload under the same signature.
            let forged = String::from_utf8(made).unwrap().replace("\"e30=\"", "\"W10=\"");
            assert_eq!(open_envelope(forged.as_bytes(), Some(&public)).unwrap().2, Some(false));
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
    }

    #[test]
    fn files_that_are_no_such_key_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let block = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        for (text, said) in [
            (block("ENCRYPTED SIGSTORE PRIVATE KEY"), "it is encrypted with a password"),
            (block("ENCRYPTED PRIVATE KEY"), "it is encrypted with a password"),
            (block("PRIVATE KEY"), "it cannot be read as an ECDSA key on the curve P-256"),
            (block("PUBLIC KEY"), "it is a public key"),
            (block("CERTIFICATE"), "there is no private key in PEM in it"),
            ("x".repeat(100_000), "more than the 65536 bytes"),
        ] {
            fs::write(&path, text).unwrap();
            let error = AttestKey::read(&path).unwrap_err();
            assert!(error.to_string().contains(said) && error.hint().contains("openssl genpkey"), "{error}");
        }
        let rsa = key_of(dir.path(), &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
        let error = AttestKey::read(&rsa).unwrap_err().to_string();
        assert!(error.contains("it cannot be read as an ECDSA key on the curve P-256"), "{error}");
    }

    #[test]
    fn envelopes_of_strangers_are_opened_or_refused_in_words() {
        for (text, said) in [
            ("[]", "the envelope cannot be read"),
            (r#"{"payloadType":"text/plain","payload":""}"#, "a document of the type text/plain"),
            (r#"{"payloadType":"application/vnd.in-toto+json","payload":"*"}"#, "not base64"),
        ] {
            assert!(open_envelope(text.as_bytes(), None).unwrap_err().contains(said), "{text}");
        }
    }
}
