//! Public keys, and the check of a clear-signed index against them (RFC 9580, section 7).
//!
//! A signature counts where a key of the ring made it with a strong hash, while that key was valid: bound to its owner, able to
//! sign, not revoked, not expired. What comes back is the signed text itself, never what stood around it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgp::composed::{CleartextSignedMessage, PublicOrSecret, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Tag};

use crate::environment::now_secs;
use crate::sources::{SignedBy, Source};

/// The keys of Debian's package `debian-archive-keyring`.
const SHIPPED: &[u8] = include_bytes!("../keys/debian-archive-keyring.gpg");
/// Where Debian keeps them.
const MACHINE_KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";
/// The longest keyring that is read.
const LIMIT_BYTES: u64 = 4 << 20;

/// Public keys whose signatures are believed.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// Why keys cannot be read, or a signature is not believed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read.
    #[error("the keyring {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was read are no keys.
    #[error("{origin} holds no OpenPGP public keys: {problem}")]
    Parse {
        /// The file, or where else the keys were written.
        origin: String,
        /// Why.
        problem: String,
    },
    /// The index is no clear-signed text.
    #[error("the index is not signed: {problem}")]
    Unsigned {
        /// What is wrong with it.
        problem: String,
    },
    /// No trusted key signed it.
    #[error("no trusted key signed the index; it is signed by {}", signers.join(", "))]
    Untrusted {
        /// Key ids or fingerprints of the signatures, each with the reason why it does not count.
        signers: Vec<String>,
    },
}

impl KeyringError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } | Self::Parse { .. } => {
                "correct Signed-By in the machine's apt sources, or install the package debian-archive-keyring again".into()
            }
            Self::Unsigned { .. } => {
                "the mirror does not serve Debian's index there (a login page, a proxy's message?): look at the address, or name another mirror with `hoist config set mirror ADDRESS`".into()
            }
            Self::Untrusted { .. } => {
                "do not use this mirror unless you know its key; then put the key's file into Signed-By of the machine's apt sources".into()
            }
        }
    }
}

impl Keyring {
    /// The keys of a file, binary or armored.
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let fail = |source| KeyringError::Read { path: path.to_owned(), source };
        let length = fs_err::metadata(path).map_err(fail)?.len();
        if length > LIMIT_BYTES {
            return Err(KeyringError::Parse {
                origin: path.display().to_string(),
                problem: "it is longer than 4 MiB".into(),
            });
        }
        Self::parse(&fs_err::read(path).map_err(fail)?, &path.display().to_string())
    }

    /// The keys of a text or of bytes.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Self, KeyringError> {
        let fail = |problem: String| KeyringError::Parse { origin: origin.to_owned(), problem };
        let mut keys = Vec::new();
        // Several armored blocks may follow each other in one file.
        for block in armored_blocks(bytes) {
            let (items, _) = PublicOrSecret::from_reader_many(block).map_err(|error| fail(error.to_string()))?;
            for item in items {
                if let Ok(PublicOrSecret::Public(key)) = item {
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() { Err(fail("none was found".into())) } else { Ok(Self { keys }) }
    }

    /// The keys shipped with hoist: those of Debian's package `debian-archive-keyring`.
    pub fn shipped() -> Result<Self, KeyringError> {
        Self::parse(SHIPPED, "the keyring shipped with hoist")
    }

    /// The keys that the machine trusts for these sources (their Signed-By, or the machine's Debian keyring), and those shipped with
    /// hoist, so that an old machine knows the keys of a newer suite.
    pub fn for_sources(root: &Path, sources: &[Source]) -> Result<Self, KeyringError> {
        let mut ring = Self::shipped()?;
        let mut paths = Vec::new();
        for source in sources {
            match &source.signed_by {
                SignedBy::Default => {
                    let path = root.join(MACHINE_KEYRING);
                    if path.exists() {
                        paths.push(path);
                    }
                }
                SignedBy::Files(files) => {
                    paths.extend(files.iter().map(|file| root.join(file.strip_prefix("/").unwrap_or(file))));
                }
                SignedBy::Inline(text) => ring.add(Self::parse(text.as_bytes(), "Signed-By of the apt sources")?),
            }
        }
        paths.sort();
        paths.dedup();
        for path in paths {
            ring.add(Self::read(&path)?);
        }
        Ok(ring)
    }

    /// Adds the keys of another ring.
    pub fn add(&mut self, other: Self) {
        for key in other.keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }

    /// The keys as one binary file, to hand to a process elsewhere (then [`Keyring::read`]).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.keys.iter().filter_map(|key| key.to_bytes().ok()).flatten().collect()
    }

    /// Checks a clear-signed text and answers with what was signed, lines ending in `\n`.
    pub(crate) fn verify(&self, message: &str) -> Result<String, KeyringError> {
        let unsigned = |problem: String| KeyringError::Unsigned { problem };
        if !message.trim_start().starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
            let start: String = message.chars().take(60).filter(|c| !c.is_control()).collect();
            return Err(unsigned(format!("it begins with `{start}`")));
        }
        let (message, _) =
            CleartextSignedMessage::from_string(message.trim_start()).map_err(|error| unsigned(error.to_string()))?;
        let text = message.signed_text();
        let mut signers = Vec::new();
        for signature in message.signatures().iter().take(16) {
            match self.check(signature, text.as_bytes()) {
                Ok(()) => return Ok(text.replace("\r\n", "\n")),
                Err(problem) => signers.push(format!("{} ({problem})", issuer(signature))),
            }
        }
        if signers.is_empty() {
            Err(unsigned("it has no signature".into()))
        } else {
            Err(KeyringError::Untrusted { signers })
        }
    }

    fn check(&self, signature: &Signature, text: &[u8]) -> Result<(), &'static str> {
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err("it is no signature of a text");
        }
        if !matches!(
            signature.hash_alg(),
            Some(
                HashAlgorithm::Sha256
                    | HashAlgorithm::Sha384
                    | HashAlgorithm::Sha512
                    | HashAlgorithm::Sha3_256
                    | HashAlgorithm::Sha3_512
            )
        ) {
            return Err("its hash is too weak");
        }
        if expired(signature, now_secs()) {
            return Err("the signature had its time and is over");
        }
        let mut problem = "its key is not in the keyring";
        for key in &self.keys {
            if is_issuer(signature, &key.primary_key) {
                problem = "the signature is wrong";
                if signature.verify(&key.primary_key, text).is_ok() {
                    return primary_valid(key, signature);
                }
            }
            for subkey in &key.public_subkeys {
                if is_issuer(signature, &subkey.key) {
                    problem = "the signature is wrong";
                    if signature.verify(&subkey.key, text).is_ok() {
                        return primary_valid_for_subkey(key, signature)
                            .and_then(|()| subkey_valid(key, subkey, signature));
                    }
                }
            }
        }
        Err(problem)
    }
}

/// The issuer that a signature names, for messages.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(std::string::ToString::to_string);
    let id = || signature.issuer_key_id().first().map(std::string::ToString::to_string);
    fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".into()).to_uppercase()
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// True where a signature was made outside the life of a key that is described by `binding`.
fn outlived(key: &impl KeyDetails, binding: &Signature, signature: &Signature) -> bool {
    let Some(made) = signature.created() else { return true };
    let (born, made) = (u64::from(key.created_at().as_secs()), u64::from(made.as_secs()));
    let life = binding.key_expiration_time().map(|life| Duration::from(life).as_secs()).filter(|life| *life > 0);
    made < born || life.is_some_and(|life| made >= born + life)
}

/// True where the signer said how long the signature counts, and that time is over.
fn expired(signature: &Signature, now_secs: i64) -> bool {
    let life =
        signature.signature_expiration_time().map(|life| Duration::from(life).as_secs()).filter(|life| *life > 0);
    let made = signature.created().map_or(0, |made| u64::from(made.as_secs()));
    life.is_some_and(|life| i64::try_from(made + life).is_ok_and(|end| now_secs >= end))
}

/// The newest of the key's own statements about itself.
fn self_statement(key: &SignedPublicKey) -> Option<&Signature> {
    let of_users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(move |signature| {
            signature.is_certification()
                && signature.verify_certification(&key.primary_key, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct =
        key.details.direct_signatures.iter().filter(|signature| signature.verify_key(&key.primary_key).is_ok());
    of_users.chain(direct).max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs))
}

fn primary_valid_for_subkey(key: &SignedPublicKey, signature: &Signature) -> Result<(), &'static str> {
    if key.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(&key.primary_key).is_ok()) {
        return Err("its key was revoked");
    }
    let statement = self_statement(key).ok_or("its key is not bound to an owner")?;
    if outlived(&key.primary_key, statement, signature) { Err("its key had expired") } else { Ok(()) }
}

fn primary_valid(key: &SignedPublicKey, signature: &Signature) -> Result<(), &'static str> {
    primary_valid_for_subkey(key, signature)?;
    match self_statement(key) {
        Some(statement) if statement.key_flags().sign() => Ok(()),
        _ => Err("its key may not sign texts"),
    }
}

fn subkey_valid(key: &SignedPublicKey, subkey: &SignedPublicSubKey, signature: &Signature) -> Result<(), &'static str> {
    let bound = |kind: SignatureType| {
        subkey.signatures.iter().filter(move |binding| {
            binding.typ() == Some(kind) && binding.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
        })
    };
    if bound(SignatureType::SubkeyRevocation).next().is_some() {
        return Err("its key was revoked");
    }
    let binding = bound(SignatureType::SubkeyBinding)
        .max_by_key(|binding| binding.created().map(pgp::types::Timestamp::as_secs))
        .ok_or("its key is not bound to an owner")?;
    if !binding.key_flags().sign() {
        return Err("its key may not sign texts");
    }
    if outlived(&subkey.key, binding, signature) { Err("its key had expired") } else { Ok(()) }
}

/// The blocks of a text of armored keys; anything else is one block.
fn armored_blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(BEGIN) => {
            let starts: Vec<usize> = text.match_indices(BEGIN).map(|(start, _)| start).collect();
            let ends = starts.iter().skip(1).copied().chain([text.len()]);
            starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
        }
        _ => vec![bytes],
    }
}
