//! The lock of a base: exactly which packages it is made of, as a TOML document that is kept beside a project.
//!
//! A base made from a lock needs no index and no signature: the hashes in the lock are what is trusted.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use hoist_debian::LockedPackage;
use serde::{Deserialize, Serialize};

use crate::error::BaseError;

/// The version of the document that is written and read.
const FORMAT: u32 = 1;
/// The longest lock.
const LIMIT_BYTES: u64 = 8 << 20;

/// Exactly which packages a base is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseLock {
    /// Version of this document: 1.
    pub format: u32,
    /// `trixie`
    pub suite: String,
    /// `amd64`
    pub architecture: String,
    /// The indexes that the choice was made from.
    #[serde(default)]
    pub releases: Vec<LockedSuite>,
    /// Packages of the run image, sorted by name.
    pub run: Vec<LockedPackage>,
    /// Packages that the build image has besides, sorted by name.
    #[serde(default)]
    pub build: Vec<LockedPackage>,
}

/// One index that a choice was made from; kept for people, not needed to make the base again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// `trixie-security`
    pub suite: String,
    /// `Date` of its Release file.
    pub date: String,
    /// SHA-256 of its signed text.
    pub sha256: String,
}

/// Why a lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read.
    #[error("the base lock {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("the base lock {} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The document is wrong.
    #[error("the base lock {origin} is wrong: {problem}")]
    Document {
        /// The file.
        origin: String,
        /// What, with its line where there is one.
        problem: String,
    },
    /// Another hoist wrote it.
    #[error("the base lock {origin} has format {found}, this hoist reads format {FORMAT}")]
    Format {
        /// The file.
        origin: String,
        /// Its format.
        found: u32,
    },
}

impl LockError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "write a lock with `hoist base lock`, or leave --locked away".into(),
            Self::Write { .. } => "make the folder writable, or name another file".into(),
            Self::Document { .. } => "write it anew with `hoist base lock`".into(),
            Self::Format { .. } => "use the hoist that wrote it, or write it anew with `hoist base lock`".into(),
        }
    }
}

impl BaseLock {
    /// A lock without packages.
    pub(crate) fn new(suite: &str, architecture: &str) -> Self {
        Self {
            format: FORMAT,
            suite: suite.to_owned(),
            architecture: architecture.to_owned(),
            releases: Vec::new(),
            run: Vec::new(),
            build: Vec::new(),
        }
    }

    /// All packages: those of the run image, then those that the build image has besides.
    pub fn packages(&self) -> impl Iterator<Item = &LockedPackage> {
        self.run.iter().chain(&self.build)
    }

    /// Refuses a lock of another kind of processor.
    pub fn check_architecture(&self, wanted: &str) -> Result<(), BaseError> {
        if self.architecture == wanted {
            return Ok(());
        }
        Err(BaseError::OtherArchitecture { found: self.architecture.clone(), wanted: wanted.to_owned() })
    }

    /// SHA-256 over what the images are made of: packages and architecture, not the indexes that they were found in.
    pub fn digest(&self) -> String {
        let mut text = Vec::new();
        let mut add = |part: &str| {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        };
        add(&self.suite);
        add(&self.architecture);
        for (role, packages) in [("run", &self.run), ("build", &self.build)] {
            add(role);
            for package in packages {
                add(&package.name);
                add(&package.sha256);
            }
        }
        sha256_hex(&text)
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hoist_image::Digest::of(bytes).hex()
}

/// Reads a lock's text; `origin` names it in errors.
pub fn parse_lock(text: &str, origin: &str) -> Result<BaseLock, LockError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let wrong = |problem: String| LockError::Document { origin: origin.to_owned(), problem };
    let head: Head = toml::from_str(text).map_err(|error| wrong(one_line(&error)))?;
    if head.format != FORMAT {
        return Err(LockError::Format { origin: origin.to_owned(), found: head.format });
    }
    let lock: BaseLock = toml::from_str(text).map_err(|error| wrong(one_line(&error)))?;
    if lock.run.is_empty() {
        return Err(wrong("it names no package for the run image".into()));
    }
    let word =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.~:_".contains(&b));
    if !word(&lock.architecture) || !word(&lock.suite) {
        return Err(wrong("its suite or its architecture is no name".into()));
    }
    for package in lock.packages() {
        let hash_ok = package.sha256.len() == 64
            && package.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let inside = !package.filename.starts_with('/')
            && !package.filename.split('/').any(|part| part.is_empty() || part == "..");
        let words = [&package.name, &package.version, &package.architecture];
        if !words.iter().all(|text| word(text)) || !hash_ok || !inside {
            return Err(wrong(format!(
                "the package `{}` has a bad name, version, architecture, sha256 or filename",
                package.name.chars().take(100).collect::<String>()
            )));
        }
    }
    Ok(lock)
}

/// The parser's message with its place, in one line.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("").trim_start_matches("TOML parse error at ").to_owned();
    match lines.last() {
        Some(last) if !last.trim().is_empty() => format!("{first}: {last}"),
        _ => first,
    }
}

/// Reads a lock.
pub fn read_lock(path: &Path) -> Result<BaseLock, LockError> {
    let fail = |source| LockError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs_err::File::open(path).map_err(fail)?;
    file.take(LIMIT_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > LIMIT_BYTES {
        return Err(LockError::Document {
            origin: path.display().to_string(),
            problem: "it is longer than 8 MiB".into(),
        });
    }
    parse_lock(&text, &path.display().to_string())
}

/// Writes a lock, all or nothing.
pub fn write_lock(path: &Path, lock: &BaseLock) -> Result<(), LockError> {
    let fail = |source| LockError::Write { path: path.to_owned(), source };
    let text = toml::to_string(lock).map_err(|error| fail(std::io::Error::other(error)))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".base-lock-").tempfile_in(dir).map_err(fail)?;
    file.write_all(b"# The packages of a base. Written by `hoist base lock`, used by `--locked`.\n").map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> BaseLock {
        let package = LockedPackage {
            name: "libc6".into(),
            version: "2.41-12".into(),
            architecture: "amd64".into(),
            suite: "trixie".into(),
            filename: "pool/main/g/glibc/libc6_2.41-12_amd64.deb".into(),
            sha256: "0".repeat(64),
            size_bytes: 7,
        };
        BaseLock { run: vec![package], ..BaseLock::new("trixie", "amd64") }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base.lock");
        write_lock(&path, &lock()).unwrap();
        assert_eq!(read_lock(&path).unwrap(), lock());
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        let mut dated = lock();
        dated.releases.push(LockedSuite { suite: "trixie".into(), date: "today".into(), sha256: "1".repeat(64) });
        assert_eq!(dated.digest(), lock().digest());
        dated.build.push(lock().run.remove(0));
        assert_ne!(dated.digest(), lock().digest());
    }

    #[test]
    fn a_wrong_lock_says_what_is_wrong_and_what_to_do() {
        let text = toml::to_string(&lock()).unwrap();
        for (from, to, message) in [
            ("format = 1", "format = 2", "the base lock x has format 2, this hoist reads format 1"),
            ("format = 1", "format = ", "the base lock x is wrong: line 1, column 10"),
            ("size_bytes", "size", "unknown field `size`"),
            (
                "pool/main",
                "pool/../..",
                "the package `libc6` has a bad name, version, architecture, sha256 or filename",
            ),
            (
                "architecture = \"amd64\"\nrel",
                "architecture = \"../x\"\nrel",
                "its suite or its architecture is no name",
            ),
        ] {
            let error = parse_lock(&text.replace(from, to), "x").unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hint().contains("hoist base lock"));
        }
        assert!(
            read_lock(Path::new("/nowhere/base.lock"))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/base.lock cannot be read")
        );
    }
}
