//! A Debian mirror in a temporary folder, signed by a key of its own: reachable as `file:` or served over HTTP on loopback.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::new_without_default)] // each test binary uses a part of it

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use hoist_debian::{Keyring, Source};
use pgp::composed::{CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey};
use pgp::ser::Serialize;
use pgp::types::Password;
use ring::digest::{SHA256, digest};

/// What a test package holds.
#[derive(Clone)]
pub enum Item<'a> {
    /// A directory.
    Dir(&'a str),
    /// A file.
    File(&'a str, &'a [u8]),
    /// A symbolic link.
    Link(&'a str, &'a str),
    /// A hard link.
    Hard(&'a str, &'a str),
    /// A device.
    Device(&'a str),
    /// Anything else: path, type and content.
    Other(&'a str, tar::EntryType, &'a [u8]),
}

/// When the suites of a mirror were made, unless a test says otherwise.
pub const DATE: &str = "Sat, 21 Nov 2026 02:10:46 UTC";

/// The mirror.
pub struct Mirror {
    dir: tempfile::TempDir,
    key: SignedSecretKey,
    paragraphs: String,
}

pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn new_key() -> SignedSecretKey {
    let mut params = SecretKeyParamsBuilder::default();
    params.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true).primary_user_id("Test Mirror".into());
    params.build().unwrap().generate(rand::thread_rng()).unwrap()
}

fn tar_of(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_gnu();
        let (path, kind, link, content): (&str, tar::EntryType, &str, &[u8]) = match *item {
            Item::Dir(path) => (path, tar::EntryType::Directory, "", b""),
            Item::File(path, content) => (path, tar::EntryType::Regular, "", content),
            Item::Link(path, target) => (path, tar::EntryType::Symlink, target, b""),
            Item::Hard(path, target) => (path, tar::EntryType::Link, target, b""),
            Item::Device(path) => (path, tar::EntryType::Char, "", b""),
            Item::Other(path, kind, content) => (path, kind, "", content),
        };
        // Written byte by byte, because hostile names are wanted.
        let raw = header.as_gnu_mut().unwrap();
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o4755 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A package file.
pub fn deb(control: &str, items: &[Item<'_>]) -> Vec<u8> {
    let control = gzip(&tar_of(&[Item::File("./control", control.as_bytes())]));
    let data = zstd::encode_all(tar_of(items).as_slice(), 1).unwrap();
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.zst", &data)] {
        let _ = writeln!(archive, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len());
        archive.extend_from_slice(content);
        if content.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

impl Mirror {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), key: new_key(), paragraphs: String::new() }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    pub fn keyring(&self) -> Keyring {
        let key = SignedPublicKey::from(self.key.clone());
        Keyring::parse(&key.to_bytes().unwrap(), "the test key").unwrap()
    }

    /// Adds a package to what the next [`publish`](Self::publish) offers.
    pub fn package(&mut self, name: &str, version: &str, fields: &str, items: &[Item<'_>]) {
        let head = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\n{fields}Description: a test\n"
        );
        let file = deb(&head, items);
        let path = format!("pool/main/{name}_{}_amd64.deb", version.replace(':', "%3a"));
        self.write(&path, &file);
        let _ = writeln!(self.paragraphs, "{head}Filename: {path}\nSize: {}\nSHA256: {}\n", file.len(), sha256(&file));
    }

    /// Writes a suite's index with what was added so far, signed.
    pub fn publish(&self, suite: &str, fields: &str) {
        self.publish_dated(suite, DATE, fields);
    }

    /// As [`publish`](Self::publish), with another date.
    pub fn publish_dated(&self, suite: &str, date: &str, fields: &str) {
        let name = "main/binary-amd64/Packages";
        self.write(&format!("dists/{suite}/{name}"), &self.paragraphs);
        let hash = sha256(self.paragraphs.as_bytes());
        let text =
            format!("Codename: {suite}\nDate: {date}\n{fields}SHA256:\n {hash} {} {name}\n", self.paragraphs.len());
        self.sign(suite, &text, &self.key);
    }

    pub fn sign(&self, suite: &str, text: &str, key: &SignedSecretKey) {
        let message = CleartextSignedMessage::sign(rand::thread_rng(), text, &**key, &Password::empty()).unwrap();
        self.write(
            &format!("dists/{suite}/InRelease"),
            message.to_armored_string(pgp::composed::ArmorOptions::default()).unwrap(),
        );
    }

    /// Forgets what was added, for the next suite.
    pub fn clear(&mut self) {
        self.paragraphs.clear();
    }

    pub fn file_uri(&self) -> String {
        format!("file://{}", self.dir.path().display())
    }

    pub fn source(&self, suite: &str) -> Source {
        Source::new(&self.file_uri(), suite, &["main"])
    }

    /// Serves the folder over HTTP until the process ends; answers with the address. Every third answer breaks off in the middle
    /// where `flaky`.
    pub fn serve(&self, flaky: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let root = self.dir.path().to_owned();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { continue };
                let _ = answer(stream, &root, flaky && number % 3 == 1);
            }
        });
        uri
    }
}

fn answer(stream: std::net::TcpStream, root: &Path, broken: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut stream = stream;
    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    match fs_err::read(root.join(path)) {
        Ok(content) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
            stream.write_all(if broken { &content[..content.len() / 2] } else { &content })
        }
        Err(_) => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}

/// An error with its causes, as it is shown.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
