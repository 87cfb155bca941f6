//! A real conda channel, made as a test needs it: archives of both formats, with prefixes to patch, and the index beside them; as a folder, or behind
//! a small HTTP server that asks for a login.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::single_match_else,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods
)] // each test binary uses its part

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What stands in files of packages where the environment's own place belongs: as long as conda's.
pub const PLACEHOLDER: &str =
    "/opt/conda_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Conda,
    TarBz2,
}

/// How a file knows where it lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    None,
    Text,
    Binary,
}

#[derive(Clone)]
pub enum Content {
    File { bytes: Vec<u8>, mode: u32, prefix: Prefix },
    Link(String),
    HardLink(String),
}

/// A package to be made.
#[derive(Clone)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub build: String,
    pub depends: Vec<String>,
    pub noarch: Option<&'static str>,
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
    pub license: Option<String>,
    pub entry_points: Vec<String>,
    pub files: Vec<(String, Content)>,
    /// Files that the list names and the archive does not have.
    pub listed: Vec<String>,
    pub format: Format,
}

impl Package {
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            build: "h0_0".into(),
            depends: Vec::new(),
            noarch: None,
            timestamp: Some(1_700_000_000_000),
            license: Some("MIT".into()),
            entry_points: Vec::new(),
            files: Vec::new(),
            listed: Vec::new(),
            format: Format::Conda,
        }
    }

    pub fn needs(mut self, depends: &[&str]) -> Self {
        self.depends.extend(depends.iter().map(|&one| one.to_owned()));
        self
    }

    pub fn noarch_python(mut self) -> Self {
        self.noarch = Some("python");
        self.build = "py_0".into();
        self
    }

    pub fn tar_bz2(mut self) -> Self {
        self.format = Format::TarBz2;
        self
    }

    pub fn build(mut self, build: &str) -> Self {
        self.build = build.into();
        self
    }

    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), Content::File { bytes: bytes.into(), mode: 0o644, prefix: Prefix::None }));
        self
    }

    pub fn program(mut self, path: &str, text: &str) -> Self {
        let prefix = if text.contains(PLACEHOLDER) { Prefix::Text } else { Prefix::None };
        self.files.push((path.into(), Content::File { bytes: text.into(), mode: 0o755, prefix }));
        self
    }

    pub fn binary(mut self, path: &str, bytes: Vec<u8>, prefix: Prefix) -> Self {
        self.files.push((path.into(), Content::File { bytes, mode: 0o755, prefix }));
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.files.push((path.into(), Content::Link(target.into())));
        self
    }

    pub fn hard_link(mut self, path: &str, target: &str) -> Self {
        self.files.push((path.into(), Content::HardLink(target.into())));
        self
    }

    pub fn made(mut self, timestamp: Option<u64>) -> Self {
        self.timestamp = timestamp;
        self
    }

    pub fn listed(mut self, path: &str) -> Self {
        self.listed.push(path.into());
        self
    }

    pub fn entry_point(mut self, line: &str) -> Self {
        self.entry_points.push(line.into());
        self
    }

    fn subdir(&self) -> &'static str {
        if self.noarch.is_some() { "noarch" } else { "linux-64" }
    }

    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.build)
    }

    fn file_name(&self) -> String {
        format!("{}{}", self.stem(), if self.format == Format::Conda { ".conda" } else { ".tar.bz2" })
    }

    fn index(&self) -> Value {
        let mut index = json!({
            "name": self.name, "version": self.version, "build": self.build, "build_number": 0, "depends": self.depends,
            "subdir": self.subdir(), "license": self.license,
        });
        if let Some(timestamp) = self.timestamp {
            index["timestamp"] = timestamp.into();
        }
        match self.noarch {
            Some(kind) => index["noarch"] = kind.into(),
            None => {
                index["arch"] = "x86_64".into();
                index["platform"] = "linux".into();
            }
        }
        index
    }

    fn info(&self) -> Vec<(String, Content)> {
        let plain = |text: String| Content::File { bytes: text.into_bytes(), mode: 0o644, prefix: Prefix::None };
        let mut paths: Vec<Value> = self.files.iter().map(|(path, content)| paths_entry(path, content)).collect();
        paths.extend(self.listed.iter().map(|path| paths_entry(path, &plain("x".to_owned()))));
        let names: String = self.files.iter().map(|(path, _)| format!("{path}\n")).collect();
        let mut info = vec![
            ("info/index.json".to_owned(), plain(self.index().to_string())),
            ("info/paths.json".to_owned(), plain(json!({"paths_version": 1, "paths": paths}).to_string())),
            ("info/files".to_owned(), plain(names)),
        ];
        if self.noarch == Some("python") {
            let link =
                json!({"noarch": {"type": "python", "entry_points": self.entry_points}, "package_metadata_version": 1});
            info.push(("info/link.json".to_owned(), plain(link.to_string())));
        }
        info
    }

    fn archive(&self) -> Vec<u8> {
        match self.format {
            Format::TarBz2 => packed_bzip2(&tar_of(&[self.info(), self.files.clone()].concat())),
            Format::Conda => {
                let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
                let options = zip::write::SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Stored)
                    .last_modified_time(zip::DateTime::default());
                let parts = [
                    ("metadata.json".to_owned(), b"{\"conda_pkg_format_version\": 2}".to_vec()),
                    (format!("pkg-{}.tar.zst", self.stem()), zstd(&tar_of(&self.files))),
                    (format!("info-{}.tar.zst", self.stem()), zstd(&tar_of(&self.info()))),
                ];
                for (name, bytes) in parts {
                    archive.start_file(name, options).unwrap();
                    archive.write_all(&bytes).unwrap();
                }
                archive.finish().unwrap().into_inner()
            }
        }
    }
}

fn paths_entry(path: &str, content: &Content) -> Value {
    let hash = |bytes: &[u8]| format!("{:x}", Sha256::digest(bytes));
    match content {
        Content::Link(_) | Content::HardLink(_) => {
            json!({"_path": path, "path_type": "softlink", "sha256": hash(b""), "size_in_bytes": 0})
        }
        Content::File { bytes, prefix, .. } => {
            let mut entry =
                json!({"_path": path, "path_type": "hardlink", "sha256": hash(bytes), "size_in_bytes": bytes.len()});
            if *prefix != Prefix::None {
                entry["file_mode"] = if *prefix == Prefix::Text { "text" } else { "binary" }.into();
                entry["prefix_placeholder"] = PLACEHOLDER.into();
            }
            entry
        }
    }
}

/// Names are written as they are, `..` included: hostile archives are made with this, too.
fn tar_of(files: &[(String, Content)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_700_000_000);
        let name = path.as_bytes();
        header.as_gnu_mut().unwrap().name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        match content {
            Content::File { bytes, mode, .. } => {
                header.set_size(bytes.len() as u64);
                header.set_mode(*mode);
                header.set_cksum();
                if name.len() <= 100 {
                    archive.append(&header, bytes.as_slice()).unwrap();
                } else {
                    archive.append_data(&mut header, path, bytes.as_slice()).unwrap();
                }
            }
            Content::Link(target) | Content::HardLink(target) => {
                let is_soft = matches!(content, Content::Link(_));
                header.set_entry_type(if is_soft { tar::EntryType::Symlink } else { tar::EntryType::Link });
                header.set_size(0);
                header.set_mode(0o777);
                header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
                header.set_cksum();
                archive.append(&header, std::io::empty()).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn packed_bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

/// A folder with packages and their index.
pub struct Channel {
    pub dir: PathBuf,
    records: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

impl Channel {
    pub fn at(dir: &Path) -> Self {
        let records = BTreeMap::from([("linux-64", BTreeMap::new()), ("noarch", BTreeMap::new())]);
        for subdir in records.keys() {
            std::fs::create_dir_all(dir.join(subdir)).unwrap();
        }
        let channel = Self { dir: dir.to_owned(), records };
        channel.write_index();
        channel
    }

    /// Adds a package and answers its archive.
    pub fn add(&mut self, package: &Package) -> PathBuf {
        let bytes = package.archive();
        let path = self.dir.join(package.subdir()).join(package.file_name());
        std::fs::write(&path, &bytes).unwrap();
        let mut record = package.index();
        record["sha256"] = format!("{:x}", Sha256::digest(&bytes)).into();
        record["size"] = bytes.len().into();
        self.records.get_mut(package.subdir()).unwrap().insert(package.file_name(), record);
        self.write_index();
        path
    }

    fn write_index(&self) {
        for (subdir, records) in &self.records {
            let of = |suffix: &str| {
                let chosen = records.iter().filter(|(name, _)| name.ends_with(suffix));
                chosen.map(|(name, record)| (name.clone(), record.clone())).collect::<serde_json::Map<_, _>>()
            };
            let index = json!({
                "info": {"subdir": subdir}, "packages": of(".tar.bz2"), "packages.conda": of(".conda"), "repodata_version": 1,
            });
            std::fs::write(self.dir.join(subdir).join("repodata.json"), index.to_string()).unwrap();
        }
    }
}

/// Serves a folder over HTTP until the process ends; with a login only to those who know it (`Basic …`).
pub fn serve(dir: &Path, login: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let dir = dir.clone();
            std::thread::spawn(move || answer(&stream, &dir, login));
        }
    });
    port
}

fn answer(mut stream: &TcpStream, dir: &Path, login: Option<&str>) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut allowed = login.is_none();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            allowed |= name.eq_ignore_ascii_case("authorization") && Some(value.trim()) == login;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let body = std::fs::read(dir.join(path)).ok();
    let (status, body) = match body {
        _ if !allowed => ("401 Unauthorized", Vec::new()),
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    if !request.starts_with("HEAD") {
        let _ = stream.write_all(&body);
    }
}
