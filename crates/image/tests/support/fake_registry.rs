//! A registry in a thread, on loopback, that works as it should but for what a test wants otherwise.

#![allow(dead_code, clippy::format_push_string)] // written for tests

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hoist_events::NullReporter;
use hoist_image::{
    Compression, Digest, Fetched, Image, KeyPlaces, LoadLimits, Platform, Reference, Registries, RegistryError,
    RegistrySettings, RegistryTimes, Sent, Store,
};

use crate::support::{chain, fresh, image, layer};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What is answered.
pub(crate) enum Reply {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// These bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// These, and then nothing for a long time.
    Silence(Vec<u8>),
    /// The first, and then a byte of the second now and then.
    Drip(Vec<u8>, Vec<u8>),
    /// These, and then the same piece again and again.
    Endless(Vec<u8>, Vec<u8>),
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Reply::Whole { status, headers, body: body.into() }
}

/// What the registry has.
#[derive(Default)]
pub(crate) struct Contents {
    /// By repository and tag or digest: type and bytes.
    pub(crate) manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) uploads: BTreeMap<String, Vec<u8>>,
    /// Whether it lists what refers to an image, as registries of the distribution specification 1.1 do.
    pub(crate) lists_referrers: bool,
}

type Fault = dyn Fn(&Asked, &mut Contents) -> Option<Reply> + Send + Sync;

pub(crate) struct FakeRegistry {
    pub(crate) host: String,
    pub(crate) contents: Arc<Mutex<Contents>>,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    fault: Arc<Mutex<Arc<Fault>>>,
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let fault: Arc<Mutex<Arc<Fault>>> = Arc::new(Mutex::new(Arc::new(|_, _| None)));
        let this = Self { host, contents: Arc::default(), asked: Arc::default(), fault };
        let (contents, asked, fault) = (Arc::clone(&this.contents), Arc::clone(&this.asked), Arc::clone(&this.fault));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (contents, asked, fault) = (Arc::clone(&contents), Arc::clone(&asked), Arc::clone(&fault));
                std::thread::spawn(move || serve(stream.unwrap(), &contents, &asked, &fault));
            }
        });
        this
    }

    /// From now on this is asked first.
    pub(crate) fn fail(&self, fault: impl Fn(&Asked, &mut Contents) -> Option<Reply> + Send + Sync + 'static) {
        *self.fault.lock().unwrap() = Arc::new(fault);
        self.asked.lock().unwrap().clear();
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.is(method, part)).count()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    // What begins a handshake is no request.
    if !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(Asked { method, path, headers, body: Vec::with_capacity(length) })
}

fn serve(stream: TcpStream, contents: &Mutex<Contents>, log: &Mutex<Vec<Asked>>, fault: &Mutex<Arc<Fault>>) {
    let mut out = stream.try_clone().unwrap();
    let mut stream = BufReader::new(stream);
    let Some(mut asked) = read_request(&mut stream) else { return };
    // As much as comes: a client that is stopped sends no more.
    let length = asked.body.capacity() as u64;
    let whole = (&mut stream).take(length).read_to_end(&mut asked.body).is_ok_and(|read| read as u64 == length);
    log.lock().unwrap().push(asked.clone());
    let fault = Arc::clone(&fault.lock().unwrap());
    let answer = {
        let mut contents = contents.lock().unwrap();
        fault(&asked, &mut contents).unwrap_or_else(|| behave(&asked, &mut contents, whole))
    };
    match answer {
        Reply::Whole { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            let _ = out.write_all(head.as_bytes());
            if asked.method != "HEAD" {
                let _ = out.write_all(&body);
            }
        }
        Reply::Raw(bytes) => _ = out.write_all(&bytes),
        Reply::Silence(bytes) => {
            let _ = out.write_all(&bytes);
            out.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let _ = out.read(&mut [0; 1]); // until the other side goes
        }
        Reply::Drip(bytes, rest) => {
            let _ = out.write_all(&bytes);
            for byte in rest {
                std::thread::sleep(Duration::from_millis(100));
                if out.write_all(&[byte]).is_err() {
                    return;
                }
            }
        }
        Reply::Endless(bytes, piece) => {
            let _ = out.write_all(&bytes);
            while out.write_all(&piece).is_ok() {}
        }
    }
}

/// As the distribution specification has it.
fn behave(asked: &Asked, contents: &mut Contents, whole: bool) -> Reply {
    let path = asked.path.split('?').next().unwrap();
    let Some(rest) = path.strip_prefix("/v2/") else { return reply(404, &[], "") };
    if let Some((repository, name)) = rest.rsplit_once("/manifests/") {
        return manifests(asked, contents, repository, name);
    }
    if let Some((repository, subject)) = rest.rsplit_once("/referrers/")
        && contents.lists_referrers
    {
        return reply(
            200,
            &[("Content-Type", "application/vnd.oci.image.index.v1+json")],
            referrers(contents, repository, subject),
        );
    }
    if let Some((_, session)) = rest.rsplit_once("/blobs/uploads/") {
        return uploads(asked, contents, rest, session, whole);
    }
    if let Some((_, digest)) = rest.rsplit_once("/blobs/") {
        let Some(blob) = contents.blobs.get(digest) else { return reply(404, &[], "") };
        let from: usize = asked
            .header("range")
            .strip_prefix("bytes=")
            .and_then(|r| r.trim_end_matches('-').parse().ok())
            .unwrap_or(0);
        if from == 0 {
            return reply(200, &[("Content-Length", &blob.len().to_string())], blob.clone());
        }
        let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
        return reply(206, &[("Content-Range", &range)], blob[from..].to_vec());
    }
    reply(if rest.is_empty() { 200 } else { 404 }, &[], "{}")
}

fn manifests(asked: &Asked, contents: &mut Contents, repository: &str, name: &str) -> Reply {
    let key = (repository.to_owned(), name.to_owned());
    if asked.method == "PUT" {
        let digest = Digest::of(&asked.body).to_string();
        let entry = (asked.header("content-type").to_owned(), asked.body.clone());
        contents.manifests.insert((repository.to_owned(), digest.clone()), entry.clone());
        contents.manifests.insert(key, entry);
        let subject = subject_of(&asked.body).filter(|_| contents.lists_referrers);
        let mut headers = vec![("Docker-Content-Digest", digest.as_str())];
        headers.extend(subject.as_deref().map(|subject| ("OCI-Subject", subject)));
        return reply(201, &headers, "");
    }
    let Some((kind, bytes)) = contents.manifests.get(&key) else {
        return reply(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#);
    };
    let digest = Digest::of(bytes).to_string();
    let length = bytes.len().to_string();
    let headers = [("Content-Type", kind.as_str()), ("Docker-Content-Digest", &digest), ("Content-Length", &length)];
    reply(200, &headers, bytes.clone())
}

fn subject_of(manifest: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    Some(document["subject"]["digest"].as_str()?.to_owned())
}

/// The index of what refers to an image.
pub(crate) fn referrers(contents: &Contents, repository: &str, subject: &str) -> String {
    let by_digest =
        contents.manifests.iter().filter(|((own, name), _)| own == repository && name.starts_with("sha256:"));
    let referring = by_digest.filter(|(_, (_, bytes))| subject_of(bytes).as_deref() == Some(subject));
    let listed = referring.map(|((_, digest), (kind, bytes))| {
        let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        serde_json::json!({"mediaType": kind, "digest": digest, "size": bytes.len(), "artifactType": document["artifactType"],
            "annotations": document["annotations"]})
    });
    serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": listed.collect::<Vec<_>>()})
    .to_string()
}

fn uploads(asked: &Asked, contents: &mut Contents, rest: &str, session: &str, whole: bool) -> Reply {
    let repository = rest.split("/blobs/").next().unwrap();
    let location = |session: &str| format!("/v2/{repository}/blobs/uploads/{session}");
    let query = |name: &str| {
        let query = asked.path.split_once('?').map_or("", |(_, query)| query);
        let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        found.map(|value| value.replace("%3A", ":"))
    };
    if asked.method == "POST" {
        if query("mount").is_some_and(|digest| contents.blobs.contains_key(&digest)) {
            return reply(201, &[("Location", "/v2/x")], "");
        }
        let session = format!("session-{}", contents.uploads.len());
        contents.uploads.insert(session.clone(), Vec::new());
        return reply(202, &[("Location", &location(&session))], "");
    }
    let Some(there) = contents.uploads.get_mut(session) else {
        return reply(404, &[], r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
    };
    let range = |there: &[u8]| format!("0-{}", there.len().saturating_sub(1));
    match asked.method.as_str() {
        "PATCH" => {
            let from = asked.header("content-range").split('-').next().and_then(|from| from.parse().ok());
            if from.is_some_and(|from: usize| from != there.len()) {
                return reply(416, &[("Location", &location(session)), ("Range", &range(there))], "");
            }
            there.extend(&asked.body);
            if !whole {
                return Reply::Raw(Vec::new());
            }
            reply(202, &[("Location", &location(session)), ("Range", &range(there))], "")
        }
        "GET" => reply(204, &[("Location", &location(session)), ("Range", &range(there))], ""),
        "PUT" => {
            there.extend(&asked.body);
            let (digest, seen) = (query("digest").unwrap(), Digest::of(there).to_string());
            if digest != seen || !whole {
                return reply(
                    400,
                    &[],
                    r#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}"#,
                );
            }
            let blob = contents.uploads.remove(session).unwrap();
            contents.blobs.insert(digest.clone(), blob);
            reply(201, &[("Docker-Content-Digest", &digest)], "")
        }
        _ => reply(202, &[], ""),
    }
}

pub(crate) const PASSWORD: &str = "tr0ub4dor-SECRET";

pub(crate) fn settings() -> RegistrySettings {
    let times = RegistryTimes {
        question: Duration::from_secs(5),
        silence: Duration::from_secs(2),
        helper: Duration::from_secs(1),
        attempts: 4,
        pause: Duration::from_millis(20),
        longest_pause: Duration::from_secs(2),
    };
    RegistrySettings { times, certificate_dirs: Vec::new(), ..RegistrySettings::from_environment(&|_| None) }
}

/// Logged in at that registry.
pub(crate) fn logged_in(host: &str) -> RegistrySettings {
    let pair = "YWRhOnRyMHViNGRvci1TRUNSRVQ="; // ada and the password
    let registry_auth = Some(format!(r#"{{"{host}":"Basic {pair}"}}"#));
    RegistrySettings { keys: KeyPlaces { registry_auth, ..KeyPlaces::default() }, ..settings() }
}

pub(crate) fn name(registry: &FakeRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host).parse().unwrap()
}

pub(crate) fn push(with: RegistrySettings, image: &Image, name: &Reference) -> Result<Sent, RegistryError> {
    Registries::new(with).push(image, name, Compression::Gzip, &NullReporter)
}

pub(crate) fn pull(with: RegistrySettings, store: &Store, name: &Reference) -> Result<Fetched, RegistryError> {
    let platform = "linux/amd64".parse::<Platform>().unwrap();
    let names = [name.clone()];
    Registries::new(with).pull(store, name, &names, &platform, LoadLimits::default(), &NullReporter)
}

/// Bytes that no compression makes shorter.
pub(crate) fn noise(length: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from(33 + u8::try_from(*state % 90).unwrap())
    };
    (0..length).map(|_| next(&mut state)).collect()
}

/// A registry with an image of two layers, and that image's id.
pub(crate) fn with_image() -> (FakeRegistry, Reference, hoist_image::ImageId) {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    let (one, two) = (layer(&store, "/one", &noise(700_000, 7)), layer(&store, "/two", "two"));
    let made = image(&store, "app", &[&one, &two]);
    let name = name(&registry, "team/app:1");
    push(settings(), &made, &name).unwrap();
    registry.asked.lock().unwrap().clear();
    (registry, name, made.id())
}

/// What a pull fails with. The store has nothing of the image then, and a pull without the fault works.
pub(crate) fn pull_fails(registry: &FakeRegistry, with: RegistrySettings, name: &Reference) -> RegistryError {
    let (_dir, store) = fresh();
    let started = Instant::now();
    let error = pull(with, &store, name).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(store.images().unwrap().is_empty() && store.names().unwrap().is_empty());
    assert!(!chain(&error).contains("SECRET") && !error.hint().contains("SECRET"), "{}", chain(&error));
    registry.fail(|_, _| None);
    pull(settings(), &store, name).unwrap();
    let image = store.find_image(name).unwrap().unwrap();
    assert!(store.verify(&image).is_empty());
    error
}
