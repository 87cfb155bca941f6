//! Standalone builds of Python from a mirror of the user's own: a server with a list of builds and an archive of the right layout,
//! made here of the interpreter that hoist makes of Debian's packages. What is wrong with a mirror is told apart.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hoist_image::Digest;
use support::{Said, hoist, run, shared_store, tree};

const PROGRAM: &str = "import sys, ssl, sqlite3\nprint('%d.%d' % sys.version_info[:2], sys.base_prefix)\n";
const IMAGE: &str = "test/standalone-server";

/// What is wrong with the list of that name, in the words of the page: seen, why, do.
const PAGES: &[(&str, [&str; 3])] = &[
    (
        "/sum.json",
        [
            "the archive has the SHA-256 RIGHT, and the list says 0000000000000000000000000000000000000000000000000000000000000000",
            "it is damaged, or the mirror has other builds under the same names",
            "put the right archive there, or its SHA-256 into the list",
        ],
    ),
    (
        "/half.json",
        [
            "Failed to install cpython-3.13.5-linux-ARCH-gnu: unexpected end of file",
            "the archive is damaged: it ends too early, or is something else",
            "look whether the mirror has the whole file, and copy it there anew",
        ],
    ),
    (
        "/cut.json",
        [
            "Failed to install cpython-3.13.5-linux-ARCH-gnu: end of file before message length reached",
            "the connection ended before all of it had come: the server, or a proxy on the way, cut it off",
            "build again; where it ends early again, look at the limits of size and time of the server and the proxy",
        ],
    ),
    (
        "/other.json",
        [
            "python3.13 of the archive is a program for number 22 of ELF's list",
            "this machine is ARCH: the mirror, or its list, has another machine's archive under that name",
            "put the archive for ARCH there, or mend the list that UV_PYTHON_DOWNLOADS_JSON_URL names",
        ],
    ),
    (
        "/elsewhere.json",
        [
            "No download found for request: cpython-3.13-linux-ARCH-gnu",
            "the list of standalone builds has none of this version for this machine (ARCH Linux)",
            "add it to the list that UV_PYTHON_DOWNLOADS_JSON_URL names, or choose a version that it has for ARCH",
        ],
    ),
    (
        "/gone.json",
        [
            "Failed to install cpython-3.13.5-linux-ARCH-gnu: HTTP status client error (404 Not Found) for url (SERVER/gone.tar.gz)",
            "SERVER/gone.json does not give it: there is no such file",
            "look whether the mirror has the file of that name",
        ],
    ),
    (
        "/page.json",
        [
            "Unable to parse the JSON Python download list at `SERVER/page.json`: expected value at line 1 column 1",
            "what UV_PYTHON_DOWNLOADS_JSON_URL names is no list of standalone builds",
            "write it as uv's own list is written: an object of JSON with a key for each build",
        ],
    ),
    (
        "/nothing.json",
        [
            "Error while fetching remote python downloads json from `SERVER/nothing.json`: HTTP status client error (404 Not Found) for url (SERVER/nothing.json)",
            "UV_PYTHON_DOWNLOADS_JSON_URL names SERVER/nothing.json: there is no list",
            "look for the address that the list has, and name it",
        ],
    ),
    (
        "/login.json",
        [
            "Error while fetching remote python downloads json from `SERVER/login.json`: HTTP status client error (401 Unauthorized) for url (SERVER/login.json)",
            "UV_PYTHON_DOWNLOADS_JSON_URL names SERVER/login.json: it wants a login, or another one",
            "put the user and the password into the address, before its host (hoist shows them nowhere)",
        ],
    ),
];

/// The archive, made once.
static MADE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

fn app(mirror: &Path) -> (tempfile::TempDir, String) {
    let files = [("main.py", PROGRAM), (".python-version", "3.13\n"), ("Procfile", "web: python main.py\n")];
    (tree(&files), format!("{0}:{0}:ro", mirror.display()))
}

/// The interpreter of Debian's packages as an archive of python-build-standalone is laid out.
fn archive() -> Vec<u8> {
    let mut made = MADE.lock().unwrap();
    made.get_or_insert_with(|| {
        let (app, _) = app(Path::new("/"));
        run(hoist()
            .args(["build", "test/standalone-debian", "-e", "HOIST_PYTHON_SOURCE=debian", "--path"])
            .arg(app.path()))
        .ok();
        let usr = interpreter();
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        tar.follow_symlinks(false);
        tar.append_path_with_name(usr.join("bin/python3.13"), "python/bin/python3.13").unwrap();
        tar.append_dir_all("python/lib/python3.13", usr.join("lib/python3.13")).unwrap();
        run(hoist().args(["image", "rm", "test/standalone-debian"])).ok();
        tar.into_inner().unwrap().finish().unwrap()
    })
    .clone()
}

/// The `usr` of an interpreter's layer in the store.
fn interpreter() -> PathBuf {
    let layers = fs_err::read_dir(shared_store().join("layers/sha256")).unwrap().flatten();
    let usr = layers.map(|layer| layer.path().join("tree/layers/hoist_python/python/usr"));
    usr.into_iter().find(|usr| usr.join("bin/python3.13").is_file()).unwrap()
}

/// A list with one build, for a machine, at an address, of the archive with a SHA-256.
fn list(machine: &str, url: &str, sha256: &str) -> String {
    serde_json::json!({
        (format!("cpython-3.13.5-linux-{machine}-gnu")): {
            "name": "cpython", "arch": { "family": machine, "variant": null }, "os": "linux", "libc": "gnu",
            "major": 3, "minor": 13, "patch": 5, "prerelease": "", "url": url, "sha256": sha256, "variant": null, "build": "20260101",
        }
    })
    .to_string()
}

fn sha256(archive: &[u8]) -> String {
    Digest::of(archive).to_string().replace("sha256:", "")
}

/// The same archive with an interpreter for another machine.
fn foreign(archive: &[u8]) -> Vec<u8> {
    let mut source = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut made = tar::Builder::new(gz);
    for entry in source.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, mut header) = (entry.path().unwrap().into_owned(), entry.header().clone());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if bytes.starts_with(b"\x7fELF") {
            // IBM's mainframe, which no test runs on.
            bytes[18] = 22;
        }
        match entry.link_name().unwrap() {
            Some(target) => made.append_link(&mut header, path, target).unwrap(),
            None => made.append_data(&mut header, path, bytes.as_slice()).unwrap(),
        }
    }
    made.into_inner().unwrap().finish().unwrap()
}

/// A server on the loopback; what it has is said once its address is known. `None` is not there, and an empty file is behind a login.
struct Server {
    address: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let served = Arc::clone(&files);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                // A mirror has all files of a folder.
                let path = if path.starts_with("/mirror/") { "/mirror" } else { path };
                let body = served.lock().unwrap().get(path).cloned();
                let status = match &body {
                    None => "404 Not Found",
                    Some(body) if body.is_empty() => "401 Unauthorized",
                    Some(_) => "200 OK",
                };
                let body = body.unwrap_or_default();
                let length = if path == "/cut.tar.gz" { 2 * body.len() } else { body.len() };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, files }
    }

    fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), body.into());
    }

    /// Has a list with one build.
    fn put_list(&self, name: &str, archive: &str, sha256: &str) {
        self.put(name, list(std::env::consts::ARCH, &format!("{}{archive}", self.address), sha256));
    }
}

fn build(app: &Path, source: &str) -> Said {
    let mut command = hoist();
    command.args(["build", IMAGE, "-e", "HOIST_PYTHON_SOURCE=standalone", "-e", "UV_HTTP_RETRIES=0", "-e", source]);
    command.args(["--network", "host", "-e", "NO_PROXY=127.0.0.1", "--path"]).arg(app);
    run(&mut command)
}

/// All that builds keep: layers of images, and the archives in the machine's cache.
fn kept() -> Vec<String> {
    let store = shared_store();
    let mut all = Vec::new();
    let mut folders = vec![store.join("layers/sha256"), store.join("scratch"), store.join("cache")];
    while let Some(folder) = folders.pop() {
        let is_cache = folder.starts_with(store.join("cache"));
        for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_archive = path.components().any(|part| part.as_os_str() == "archives");
            if is_cache && entry.file_type().is_ok_and(|kind| kind.is_dir()) && !path.ends_with("pip") {
                folders.push(path);
            } else if !is_cache || is_archive {
                all.push(path.display().to_string());
            }
        }
    }
    all.sort();
    all
}

/// The page of a failed build: what was seen, why, and what to do first.
fn page(said: &Said, server: &str) -> [String; 3] {
    let line = |start: &str| {
        let line = said.stderr.lines().find_map(|line| line.trim_start().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start:?} in\n{}", said.stderr)).trim().replace(server, "SERVER")
    };
    [line("seen  "), line("why   "), line("do    ")]
}

#[test]
fn a_server_with_builds_is_asked_and_what_is_wrong_with_it_is_told_apart() {
    let archive = archive();
    let (right, other) = (sha256(&archive), foreign(&archive));
    let server = Server::start();
    let half = &archive[..archive.len() / 2];
    for (path, bytes) in [
        ("/right.tar.gz", &archive[..]),
        ("/half.tar.gz", half),
        ("/cut.tar.gz", half),
        ("/other.tar.gz", &other),
        ("/mirror", &archive[..]),
    ] {
        server.put(path, bytes);
    }
    let zeros = "0".repeat(64);
    for (name, file, sha256) in [
        ("/list.json", "/right.tar.gz", &right),
        ("/sum.json", "/right.tar.gz", &zeros),
        ("/half.json", "/half.tar.gz", &sha256(half)),
        ("/cut.json", "/cut.tar.gz", &right),
        ("/other.json", "/other.tar.gz", &sha256(&other)),
        ("/gone.json", "/gone.tar.gz", &right),
    ] {
        server.put_list(name, file, sha256);
    }
    server.put("/elsewhere.json", list("s390x", "http://h.invalid/x.tar.gz", &right));
    server.put("/page.json", "<html></html>");
    server.put("/login.json", "");
    let (app, _) = app(Path::new("/"));
    let of_list = |file: &str| format!("UV_PYTHON_DOWNLOADS_JSON_URL={}{file}", server.address);
    build(app.path(), &of_list("/list.json")).ok().says("3.13.5 of python-build-standalone");
    let printed = || run(hoist().args(["run", IMAGE])).ok().stdout;
    assert!(printed().starts_with("3.13 "), "{}", printed());
    let before = kept();
    for (file, wanted) in PAGES {
        let said = build(app.path(), &of_list(file)).code(1);
        let wanted = wanted.map(|text| text.replace("RIGHT", &right).replace("ARCH", std::env::consts::ARCH));
        assert_eq!(page(&said, &server.address), wanted, "{file}\n{}", said.stderr);
        assert!(said.stderr.contains("or choose a Python of Debian") || *file == "/other.json", "{}", said.stderr);
        assert_eq!(kept(), before, "{file} left something");
    }
    // The address of a mirror has one's password, which no page shows.
    let secret = server.address.replace("://", "://me:s3cret-word@");
    for (mirror, parts) in [
        ("empty", ["404 Not Found", "there is no such file", "look whether the mirror has the file of that name"]),
        (
            "mirror",
            ["the archive has the SHA-256", "other builds under the same names", "or name a list of its own builds"],
        ),
    ] {
        let said = build(app.path(), &format!("UV_PYTHON_INSTALL_MIRROR={secret}/{mirror}")).code(1);
        assert!(parts.iter().all(|part| said.stderr.contains(part)), "{parts:?} in\n{}", said.stderr);
        assert!(!said.stderr.contains("s3cret-word"), "{}", said.stderr);
        assert_eq!(kept(), before, "{mirror} left something");
    }
    // What was wrong is not remembered once it is mended, and the image of before was there all the time.
    assert!(printed().starts_with("3.13 "), "{}", printed());
    server.put("/sum.json", list(std::env::consts::ARCH, &format!("{}/right.tar.gz", server.address), &right));
    build(app.path(), &of_list("/sum.json")).ok();
    run(hoist().args(["image", "rm", IMAGE])).ok();
}
