//! Standalone builds of Python from a mirror of the user's own: a server with a list of builds and an archive of the right layout,
//! made here of the interpreter that hoist makes of Debian's packages. What is wrong with a mirror is told apart.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hoist_image::Digest;
use support::{Said, hoist, run, shared_store, tree};

const PROGRAM: &str = "import sys, ssl, sqlite3\nprint('%d.%d' % sys.version_info[:2], sys.base_prefix)\n";
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

/// A list with one build, for a machine, at an address.
fn list(machine: &str, url: &str, archive: &[u8]) -> String {
    let sha256 = Digest::of(archive).to_string().replace("sha256:", "");
    serde_json::json!({
        (format!("cpython-3.13.5-linux-{machine}-gnu")): {
            "name": "cpython", "arch": { "family": machine, "variant": null }, "os": "linux", "libc": "gnu",
            "major": 3, "minor": 13, "patch": 5, "prerelease": "", "url": url, "sha256": sha256, "variant": null, "build": "20260101",
        }
    })
    .to_string()
}

fn build(name: &str, app: &Path, list: &str, args: &[&str]) -> Said {
    let mut command = hoist();
    command.args(["build", name, "-e", "HOIST_PYTHON_SOURCE=standalone", "-e", "UV_HTTP_RETRIES=0"]);
    command.args(["-e", &format!("UV_PYTHON_DOWNLOADS_JSON_URL={list}")]).args(args).arg("--path").arg(app);
    run(&mut command)
}

#[test]
fn a_server_with_builds_is_asked_and_one_without_is_named() {
    let archive = archive();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let good = list(std::env::consts::ARCH, &format!("{server}/cpython-3.13.5.tar.gz"), &archive);
    let gone = list(std::env::consts::ARCH, &format!("{server}/gone.tar.gz"), &archive);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let body: &[u8] = match head.split(' ').nth(1).unwrap_or_default() {
                "/list.json" => good.as_bytes(),
                "/gone.json" => gone.as_bytes(),
                "/cpython-3.13.5.tar.gz" => &archive,
                _ => b"",
            };
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    let (app, _) = app(Path::new("/"));
    let network = ["--network", "host", "-e", "NO_PROXY=127.0.0.1"];
    let secret = server.replace("://", "://me:s3cret-word@");
    let said =
        build("test/standalone-server", app.path(), &format!("{secret}/gone.json"), &network).code(1).says("404");
    let said = said.says("look whether the mirror has the file of that name");
    assert!(!said.stderr.contains("s3cret-word"), "{}", said.stderr);
    build("test/standalone-server", app.path(), &format!("{server}/list.json"), &network)
        .ok()
        .says("3.13.5 of python-build-standalone");
    let printed = run(hoist().args(["run", "test/standalone-server"])).ok().stdout;
    assert!(printed.starts_with("3.13 "), "{printed}");
    run(hoist().args(["image", "rm", "test/standalone-server"])).ok();
}
