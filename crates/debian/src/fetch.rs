//! Fetches files from mirrors over HTTP, HTTPS or from a folder (`file:`): with retries, time limits, size limits, the machine's proxies
//! and its certificates.
//!
//! Knows nothing of packages. What arrives is not believed here: callers check hashes or signatures.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

use crate::environment::variable;
use crate::resolver::SharedResolver;

/// How often one address is tried before it counts as failed.
const ATTEMPTS: u32 = 4;
/// How often a transfer that nothing comes from is asked whether it is still wanted.
const TICK: Duration = Duration::from_millis(100);
/// Pieces that have come and were not taken yet.
const PIECES: usize = 4;
/// Where systems keep the certificates that they trust, in the order of how common they are.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// How to fetch.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// Certificates to trust in place of the system's: a PEM file (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// A folder of PEM files, trusted besides (`SSL_CERT_DIR`).
    pub ca_dir: Option<PathBuf>,
    /// A proxy for everything; none means what the environment says (`http_proxy`, `https_proxy`, `no_proxy`).
    pub proxy: Option<String>,
    /// How long the mirror may be silent; 30 s where there is none.
    pub silence: Option<Duration>,
    /// Whether no connection may be tried: files of this machine (`file:`) are read all the same.
    pub offline: bool,
}

/// Fetches files from mirrors. Cheap to clone; may be used from several threads.
#[derive(Debug, Clone)]
pub struct Fetcher {
    options: Arc<FetchOptions>,
    stop: StopSign,
    plain: Arc<OnceLock<Agent>>,
    secure: Arc<OnceLock<Agent>>,
}

/// What comes from a transfer.
enum Piece {
    Bytes(Vec<u8>),
    /// Everything has come.
    End,
}

/// Asks whether somebody wants no more.
#[derive(Clone, Default)]
struct StopSign(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl std::fmt::Debug for StopSign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StopSign")
    }
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not there.
    #[error("the mirror has no {url} (status {status})")]
    Missing {
        /// The address.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The mirror refused or failed.
    #[error("the mirror answered status {status} for {url}")]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// The mirror could not be reached, or the transfer broke.
    #[error("{url} could not be fetched in {attempts} attempts")]
    Network {
        /// The address.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        source: Box<ureq::Error>,
    },
    /// The transfer broke off.
    #[error("the transfer of {url} broke off in {attempts} attempts")]
    Broken {
        /// The address.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        source: std::io::Error,
    },
    /// More came than may.
    #[error("{url} is longer than the {limit_bytes} bytes that it may have")]
    TooLong {
        /// The address.
        url: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// Another file failed and this one was not waited for, or nobody wants it any more.
    #[error("the transfer of {url} was stopped")]
    Stopped {
        /// The address.
        url: String,
    },
    /// The content is not what the signed index (or the lock) says.
    #[error("{url} is not what the signed index says: expected {expected}, got {found}")]
    Content {
        /// The address.
        url: String,
        /// Hash or length that it should have.
        expected: String,
        /// Hash or length that it has.
        found: String,
    },
    /// The network may not be used.
    #[error("{url} was not asked for: this build may not use the network")]
    Offline {
        /// The address.
        url: String,
    },
    /// The address cannot be used.
    #[error("{url} is no address that packages can be fetched from: {problem}")]
    Address {
        /// The address.
        url: String,
        /// Why.
        problem: String,
    },
    /// The certificates to trust cannot be read.
    #[error("the certificates in {} cannot be read: {problem}", path.display())]
    Certificates {
        /// File or folder.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The cache cannot be written.
    #[error("the package cache {} cannot be written", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl FetchError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => "check the suite's name and the mirror (`hoist config set mirror ADDRESS`); a frozen or partial mirror may lack it, then name another".into(),
            Self::Status { status: 401 | 403 | 407, .. } => "the mirror or a proxy wants credentials; put them into the address, `http://USER:PASSWORD@HOST/…`".into(),
            Self::Status { .. } => "try again later, or name another mirror with `hoist config set mirror ADDRESS`".into(),
            Self::Network { source, .. } if matches!(**source, ureq::Error::Rustls(_) | ureq::Error::Tls(_)) => {
                "the mirror's certificate is not trusted; name your company's certificates in SSL_CERT_FILE".into()
            }
            Self::Network { .. } | Self::Broken { .. } => {
                "check the network; behind a proxy set https_proxy and http_proxy; another mirror is set with `hoist config set mirror ADDRESS`".into()
            }
            Self::Stopped { .. } => "run the command again".into(),
            Self::Offline { .. } => "leave --offline out where there is a network".into(),
            Self::TooLong { .. } | Self::Content { .. } => {
                "the mirror is broken, or it is being updated right now: try again in some minutes, or name another with `hoist config set mirror ADDRESS`".into()
            }
            Self::Address { .. } => "name a mirror by http://, https:// or file:/// with `hoist config set mirror ADDRESS`".into(),
            Self::Certificates { .. } => "correct or unset SSL_CERT_FILE and SSL_CERT_DIR".into(),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "the disk is full: free some space (`hoist system prune`) and run the command again".into()
            }
            Self::Write { .. } => "make the folder writable, or keep everything elsewhere: hoist --store DIR …".into(),
        }
    }

    /// True where a later attempt or another mirror may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Network { source, .. } => !matches!(**source, ureq::Error::Rustls(_) | ureq::Error::InvalidProxyUrl),
            Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

impl FetchOptions {
    /// As the environment says: `SSL_CERT_FILE`, `SSL_CERT_DIR`; proxies are found when fetching.
    pub fn from_environment() -> Self {
        Self {
            ca_file: variable("SSL_CERT_FILE").map(PathBuf::from),
            ca_dir: variable("SSL_CERT_DIR").map(PathBuf::from),
            proxy: None,
            silence: None,
            offline: false,
        }
    }
}

impl Fetcher {
    /// A fetcher; does nothing yet.
    pub fn new(options: FetchOptions) -> Self {
        Self { options: Arc::new(options), stop: StopSign::default(), plain: Arc::default(), secure: Arc::default() }
    }

    /// The same, but transfers end with [`FetchError::Stopped`] as soon as `is_up` says so, for example because of Ctrl-C.
    #[must_use]
    pub fn stop_when(self, is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stop: StopSign(Some(Arc::new(is_up))), ..self }
    }

    /// True where nothing more is to be fetched.
    pub fn is_stopped(&self) -> bool {
        self.stop.0.as_ref().is_some_and(|is_up| is_up())
    }

    /// Fetches a small file whole.
    pub fn get(&self, url: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let mut attempt = 1;
        loop {
            let mut content = Vec::new();
            let result = self.copy_once(url, limit_bytes, attempt, &mut |piece| {
                content.extend_from_slice(piece);
                Ok(())
            });
            match result {
                Ok(()) => return Ok(content),
                Err(error) if attempt < ATTEMPTS && error.is_transient() => pause(attempt),
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    /// Fetches a file into a writer that can be emptied (`restart` is called before each attempt), until it is whole or `stop` is true.
    pub(crate) fn copy<W: Write>(
        &self,
        url: &str,
        limit_bytes: u64,
        mut restart: impl FnMut() -> Result<W, FetchError>,
        path: &Path,
        stop: &AtomicBool,
    ) -> Result<W, FetchError> {
        let mut attempt = 1;
        loop {
            let mut writer = restart()?;
            let result = self.copy_once(url, limit_bytes, attempt, &mut |piece| {
                if stop.load(Ordering::Relaxed) {
                    return Err(FetchError::Stopped { url: masked(url) });
                }
                writer.write_all(piece).map_err(|source| FetchError::Write { path: path.to_owned(), source })
            });
            match result {
                Ok(()) => return Ok(writer),
                Err(error) if attempt < ATTEMPTS && error.is_transient() => pause(attempt),
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    fn copy_once(
        &self,
        url: &str,
        limit_bytes: u64,
        attempts: u32,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let pieces = self.begin(url, attempts);
        let mut total = 0;
        loop {
            let piece = match pieces.recv_timeout(TICK) {
                Ok(Ok(Piece::Bytes(bytes))) => bytes,
                Ok(Ok(Piece::End)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    let source = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(FetchError::Broken { url: masked(url), attempts, source });
                }
            };
            if self.is_stopped() {
                return Err(FetchError::Stopped { url: masked(url) });
            }
            total += piece.len() as u64;
            if total > limit_bytes {
                return Err(FetchError::TooLong { url: masked(url), limit_bytes });
            }
            sink(&piece)?;
        }
    }

    /// Begins a transfer in a thread of its own. Nothing wakes a thread that waits for a silent mirror, but whoever waits for the thread can
    /// go: it ends by itself, at the latest when its time is up.
    fn begin(&self, url: &str, attempts: u32) -> Receiver<Result<Piece, FetchError>> {
        let (sender, receiver) = sync_channel(PIECES);
        let (fetcher, url) = (self.clone(), url.to_owned());
        std::thread::spawn(move || {
            let end = fetcher.send_pieces(&url, attempts, &sender).map(|()| Piece::End);
            let _ = sender.send(end); // unless nobody waits any more
        });
        receiver
    }

    fn send_pieces(
        &self,
        url: &str,
        attempts: u32,
        to: &SyncSender<Result<Piece, FetchError>>,
    ) -> Result<(), FetchError> {
        let mut reader = self.open(url, attempts)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(FetchError::Broken { url: masked(url), attempts, source }),
            };
            if to.send(Ok(Piece::Bytes(buffer[..count].to_vec()))).is_err() {
                return Ok(());
            }
        }
    }

    fn open(&self, url: &str, attempts: u32) -> Result<Box<dyn Read>, FetchError> {
        if let Some(path) = url.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match fs_err::File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(FetchError::Missing { url: url.to_owned(), status: 404 })
                }
                Err(source) => Err(FetchError::Broken { url: url.to_owned(), attempts, source }),
            };
        }
        if self.options.offline {
            return Err(FetchError::Offline { url: masked(url) });
        }
        let agent = if url.starts_with("https://") {
            self.agent(&self.secure, true)?
        } else if url.starts_with("http://") {
            self.agent(&self.plain, false)?
        } else {
            return Err(FetchError::Address {
                url: masked(url),
                problem: "only http, https and file can be used".into(),
            });
        };
        let response = agent.get(url).call().map_err(|source| match source {
            // Its text has the whole address, password and all.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                FetchError::Address { url: masked(url), problem: "it is none that HTTP knows".into() }
            }
            source => FetchError::Network { url: masked(url), attempts, source: Box::new(source) },
        })?;
        match response.status().as_u16() {
            200 => Ok(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())),
            status @ (404 | 410) => Err(FetchError::Missing { url: masked(url), status }),
            status => Err(FetchError::Status { url: masked(url), status }),
        }
    }

    /// The agent for http, or the one for https: certificates are read when the first https address is met.
    fn agent<'a>(&'a self, cell: &'a OnceLock<Agent>, secure: bool) -> Result<&'a Agent, FetchError> {
        if let Some(agent) = cell.get() {
            return Ok(agent);
        }
        let silence = self.options.silence.unwrap_or(Duration::from_secs(30));
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("hoist/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections_per_host(8)
            .timeout_connect(Some(silence))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_global(Some(Duration::from_hours(1)));
        if let Some(proxy) = &self.options.proxy {
            let proxy = ureq::Proxy::new(proxy)
                .map_err(|error| FetchError::Address { url: masked(proxy), problem: format!("as a proxy: {error}") })?;
            config = config.proxy(Some(proxy));
        }
        if secure {
            config = config.tls_config(TlsConfig::builder().root_certs(self.root_certificates()?).build());
        }
        let resolver = SharedResolver::default();
        Ok(cell.get_or_init(|| Agent::with_parts(config.build(), DefaultConnector::default(), resolver)))
    }

    /// The certificates that the host trusts: those named, else the system's, else Mozilla's list.
    fn root_certificates(&self) -> Result<RootCerts, FetchError> {
        let mut certificates = Vec::new();
        if let Some(path) = &self.options.ca_file {
            read_certificates(path, &mut certificates)?;
            if certificates.is_empty() {
                return Err(FetchError::Certificates {
                    path: path.clone(),
                    problem: "there is no certificate in it".into(),
                });
            }
        } else if let Some(path) = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
            read_certificates(path, &mut certificates)?;
        }
        if certificates.is_empty()
            && let Some(dir) = &self.options.ca_dir
        {
            let problem =
                |error: std::io::Error| FetchError::Certificates { path: dir.clone(), problem: error.to_string() };
            for entry in fs_err::read_dir(dir).map_err(problem)? {
                let path = entry.map_err(problem)?.path();
                if path.extension().is_some_and(|ending| ending == "pem" || ending == "crt") {
                    read_certificates(&path, &mut certificates)?;
                }
            }
        }
        Ok(if certificates.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(certificates)) })
    }
}

fn read_certificates(path: &Path, into: &mut Vec<Certificate<'static>>) -> Result<(), FetchError> {
    let fail = |problem: String| FetchError::Certificates { path: path.to_owned(), problem };
    let pem = fs_err::read(path).map_err(|error| fail(error.to_string()))?;
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| fail(error.to_string()))? {
            into.push(certificate);
        }
    }
    Ok(())
}

/// Waits before the next attempt: 0.2 s, 0.6 s, 1.8 s.
fn pause(attempt: u32) {
    std::thread::sleep(Duration::from_millis(200 * 3_u64.pow(attempt - 1)));
}

/// An address without its password.
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

/// True for 64 hexadecimal digits, the only thing that may become a file name.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_says_nothing_is_not_waited_for_once_nobody_wants_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian/dists", listener.local_addr().unwrap());
        let started = std::time::Instant::now();
        let fetcher = Fetcher::new(FetchOptions { silence: Some(Duration::from_secs(20)), ..FetchOptions::default() })
            .stop_when(move || started.elapsed() > Duration::from_millis(200));
        // The connection comes about, and nothing is ever said.
        let error = fetcher.get(&url, 1 << 20).unwrap_err();
        assert!(matches!(error, FetchError::Stopped { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn a_password_in_an_address_is_never_shown() {
        assert_eq!(masked("http://me:secret@host/debian/x@y"), "http://***@host/debian/x@y");
        assert_eq!(masked("http://host/a@b"), "http://host/a@b");
    }

    #[test]
    fn only_known_schemes_are_fetched() {
        let fetcher = Fetcher::new(FetchOptions::default());
        let error = fetcher.get("ftp://host/x", 10).unwrap_err();
        assert!(error.to_string().contains("only http, https and file"), "{error}");
        assert!(error.hint().contains("hoist config set mirror"));
    }

    #[test]
    fn no_network_is_said_with_the_address_and_what_to_do() {
        let options = FetchOptions { silence: Some(Duration::from_millis(200)), ..FetchOptions::default() };
        let error = Fetcher::new(options).get("http://127.0.0.1:9/dists/trixie/InRelease", 10).unwrap_err();
        assert_eq!(error.to_string(), "http://127.0.0.1:9/dists/trixie/InRelease could not be fetched in 4 attempts");
        assert!(error.hint().contains("proxy"));
    }
}
