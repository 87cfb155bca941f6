//! A package index on the loopback (PEP 503) over the wheels of a project's folders, for those who give the login. It serves until the tests end.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Such an index.
pub struct Index {
    at: SocketAddr,
}

impl Index {
    /// Begins to serve the wheels of the folder `all` of a project at `/all/simple/`, and so on, for `login` (`user:password`).
    pub fn over(project_dir: &Path, login: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let (folder, wanted) = (project_dir.to_owned(), format!("basic {}", base64(login.as_bytes())));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, wanted) = (folder.clone(), wanted.clone());
                std::thread::spawn(move || drop(answer(&stream, &folder, &wanted)));
            }
        });
        Ok(Self { at })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.at.to_string()
    }
}

fn answer(mut stream: &TcpStream, folder: &Path, wanted: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut given = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((_, value)) = line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            given = value.replacen("Basic", "basic", 1);
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let body = if given == wanted { content(folder, path) } else { None };
    let status = match (&body, given == wanted) {
        (Some(_), _) => "200 OK",
        (None, true) => "404 Not Found",
        (None, false) => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"own\"",
    };
    let kind = if path.contains("/files/") { "application/octet-stream" } else { "text/html" };
    let body = body.unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method == "GET" { stream.write_all(&body) } else { Ok(()) }
}

/// `/FOLDER/simple/NAME/` lists the wheels of a folder, `/FOLDER/files/WHEEL` is one.
fn content(project_dir: &Path, path: &str) -> Option<Vec<u8>> {
    let mut parts = path.trim_matches('/').split('/');
    let (folder, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let dir = project_dir.join(folder);
    if kind == "files" {
        return fs::read(dir.join(name)).ok();
    }
    let name = name.replace('-', "_");
    let files: Vec<PathBuf> = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    let names = files.iter().filter_map(|path| path.file_name()?.to_str());
    let links = names
        .filter(|file| file.split('-').next() == Some(name.as_str()))
        .fold(String::new(), |links, file| links + &format!("<a href=\"/{folder}/files/{file}\">{file}</a>\n"));
    (kind == "simple" && !links.is_empty()).then(|| links.into_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_usize, |number, at| number << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[number >> (18 - 6 * at) & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
