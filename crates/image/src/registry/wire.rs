//! Connections to registries: TCP, proxies, TLS with the machine's certificates and those of the registry; and what a failed one means.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, Either, RustlsConnector, Transport,
};
use ureq::{Agent, Error as HttpError, Proxy};

use crate::registry::error::RegistryError;
use crate::registry::settings::RegistrySettings;
use crate::stop::{StopSign, beside};
use crate::transport::{NoConnection, NoResolver, Patient, open_tcp};

/// Where systems keep the certificates that they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
/// Bundles of certificates are below a megabyte.
const MAX_PEM_BYTES: u64 = 16 << 20;
/// How long a connection with all its handshakes may take.
const CONNECT: Duration = Duration::from_secs(30);

/// Scheme, host and port of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) secure: bool,
    /// With brackets where it is an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// Of `HOST[:PORT]`.
    pub(super) fn new(secure: bool, authority: &str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let fine =
            !host.is_empty() && !host.contains(['@', '/', '?', '#', '\\']) && !host.contains(char::is_whitespace);
        fine.then(|| Self { secure, host: host.to_ascii_lowercase(), port })
    }

    /// Of an absolute address, and what stands behind it.
    pub(super) fn of(url: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Some((Self::new(secure, &rest[..end])?, &rest[end..]))
    }

    /// As registries are called in settings and in names.
    pub(super) fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

/// An address as it may be shown: what stands behind the `?` may be a signature.
pub(super) fn shown(url: &str) -> String {
    match Origin::of(url) {
        Some((origin, rest)) => format!("{origin}{}", rest.split(['?', '#']).next().unwrap_or_default()),
        None => "an address that cannot be read".to_owned(),
    }
}

/// Where a `Location` leads that came from `url`.
pub(super) fn resolve_location(url: &str, location: &str) -> Option<String> {
    if location.len() > 16 << 10 || location.contains(|c: char| c.is_control() || c == ' ') {
        return None;
    }
    if location.contains("://") && Origin::of(location).is_some() {
        return Some(location.to_owned());
    }
    let (origin, rest) = Origin::of(url)?;
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{}://{rest}", if origin.secure { "https" } else { "http" }));
    }
    if location.starts_with('/') {
        return Some(format!("{origin}{location}"));
    }
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    if location.starts_with('?') {
        return Some(format!("{origin}{path}{location}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{origin}{folder}/{location}"))
}

/// A client for one origin.
pub(super) fn agent(settings: &RegistrySettings, stop: &StopSign, origin: &Origin) -> Result<Agent, RegistryError> {
    let times = settings.times;
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy(settings, origin)?)
        .user_agent(concat!("hoist/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .max_idle_connections_per_host(8)
        .timeout_connect(Some(CONNECT.min(times.question)))
        .timeout_per_read(Some(times.silence))
        .timeout_per_write(Some(times.silence));
    if origin.secure {
        config = config.tls_config(tls(settings, origin)?);
    }
    let connector = ().chain(ConnectProxyConnector::default()).chain(PatientTcp { stop: stop.clone() });
    Ok(Agent::with_parts(config.build(), connector.chain(RustlsConnector::default()), NoResolver))
}

fn proxy(settings: &RegistrySettings, origin: &Origin) -> Result<Option<Proxy>, RegistryError> {
    let Some(text) = settings.proxy_of(origin.secure, &origin.host, origin.port) else { return Ok(None) };
    let wrong = |problem: &str| RegistryError::Settings {
        what: "the proxy of the environment".to_owned(),
        problem: problem.to_owned(),
    };
    let proxy = Proxy::new(text).map_err(|_| wrong("it is not http://HOST:PORT"))?;
    if !matches!(proxy.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
        return Err(wrong("registries are reached through HTTP proxies alone, not through SOCKS"));
    }
    Ok(Some(proxy))
}

fn tls(settings: &RegistrySettings, origin: &Origin) -> Result<TlsConfig, RegistryError> {
    let mut roots = Vec::new();
    let bundle = settings.ca_file.clone();
    let system = || SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    if let Some(path) = bundle.or_else(system) {
        read_certificates(&path, &mut roots)?;
    }
    let mut client = None;
    for dir in &settings.certificate_dirs {
        for name in [origin.authority(), format!("{}:{}", origin.host, origin.port)] {
            let files = files_in(&dir.join(name))?;
            for path in files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "crt")) {
                read_certificates(path, &mut roots)?;
            }
            let own = files.iter().find(|path| path.extension().is_some_and(|kind| kind == "cert"));
            if let Some(path) = own.filter(|_| client.is_none()) {
                client = Some(read_client(path)?);
            }
        }
    }
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(roots)) };
    let unchecked = settings.is_insecure(&origin.authority());
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).disable_verification(unchecked).build())
}

/// The files of a folder, sorted; none where there is no folder.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(of_file(dir, error.to_string())),
    };
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

fn of_file(path: &Path, problem: String) -> RegistryError {
    RegistryError::Settings { what: format!("the certificates in `{}`", path.display()), problem }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, RegistryError> {
    let failed = |error: io::Error| of_file(path, error.to_string());
    if fs::metadata(path).map_err(failed)?.len() > MAX_PEM_BYTES {
        return Err(of_file(path, format!("it is longer than {MAX_PEM_BYTES} bytes")));
    }
    fs::read(path).map_err(failed)
}

fn read_certificates(path: &Path, into: &mut Vec<Certificate<'static>>) -> Result<(), RegistryError> {
    let before = into.len();
    for item in parse_pem(&read_pem(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| of_file(path, error.to_string()))? {
            into.push(certificate);
        }
    }
    if into.len() == before {
        return Err(of_file(path, "there is no certificate in it".to_owned()));
    }
    Ok(())
}

/// A client's certificate and the key beside it, which must belong together: the TLS library takes that for granted.
fn read_client(path: &Path) -> Result<ClientCert, RegistryError> {
    let key_path = path.with_extension("key");
    let mut certificates = Vec::new();
    read_certificates(path, &mut certificates)?;
    let pem = read_pem(&key_path)?;
    let no_key = || of_file(&key_path, "there is no private key in it".to_owned());
    let key = PrivateKey::from_pem(&pem).map_err(|_| no_key())?;
    let chain = certificates.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let same = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?;
    rustls::sign::CertifiedKey::from_der(chain, same, &rustls::crypto::ring::default_provider())
        .map_err(|error| of_file(path, format!("certificate and key do not belong together ({error})")))?;
    Ok(ClientCert::new_with_certs(&certificates, key))
}

/// Opens TCP connections, unless a proxy's is there already.
#[derive(Debug)]
struct PatientTcp {
    stop: StopSign,
}

impl<In: Transport> Connector<In> for PatientTcp {
    type Out = Either<In, Patient<std::net::TcpStream>>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, HttpError> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let uri = details.uri;
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let opened = beside(&self.stop, move || open_tcp(&host, port));
        let stream = opened.map_err(|error| HttpError::Other(Box::new(NoConnection(error))))?;
        stream.set_nodelay(true)?;
        Ok(Some(Either::B(Patient::new(stream, details.config, &self.stop))))
    }
}

/// An error of the HTTP client, said by what it means here.
pub(super) fn failed(stop: &StopSign, doing: &str, address: &str, error: HttpError) -> RegistryError {
    let (doing, address) = (doing.to_owned(), address.to_owned());
    if stop.is_up() {
        return RegistryError::Stopped { doing };
    }
    match error {
        HttpError::Timeout(_) => RegistryError::Silent { doing, address },
        HttpError::Other(inner) => match inner.downcast::<NoConnection>() {
            Ok(no) => RegistryError::Connect { doing, address, source: no.0 },
            Err(other) => RegistryError::Broken { doing, address, source: io::Error::other(other) },
        },
        HttpError::Rustls(error) => RegistryError::Tls { doing, address, problem: tls_problem(&error) },
        HttpError::Tls(problem) => RegistryError::Tls { doing, address, problem: problem.to_owned() },
        HttpError::ConnectProxyFailed(why) => {
            RegistryError::Connect { doing, address, source: io::Error::other(format!("the proxy refuses: {why}")) }
        }
        HttpError::Http(_) | HttpError::Protocol(_) | HttpError::LargeResponseHeader(..) | HttpError::BadUri(_) => {
            RegistryError::NotARegistry {
                doing,
                address,
                seen: "an answer that is not HTTP as it should be".to_owned(),
            }
        }
        other => broken(stop, &doing, &address, other.into_io()),
    }
}

/// An error while a body was read or written.
pub(super) fn broken(stop: &StopSign, doing: &str, address: &str, source: io::Error) -> RegistryError {
    let (doing, address) = (doing.to_owned(), address.to_owned());
    if stop.is_up() {
        return RegistryError::Stopped { doing };
    }
    let inner = source.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return RegistryError::Tls { doing, address, problem: tls_problem(error) };
    }
    if inner
        .and_then(|inner| inner.downcast_ref::<HttpError>())
        .is_some_and(|error| matches!(error, HttpError::Timeout(_)))
    {
        return RegistryError::Silent { doing, address };
    }
    RegistryError::Broken { doing, address, source }
}

fn tls_problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "it speaks without TLS, or another protocol".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined_and_signatures_are_not_shown() {
        let url = "https://r.example:5000/v2/a/blobs/uploads/?x=1";
        for (location, expected) in [
            ("/v2/a?s=1", Some("https://r.example:5000/v2/a?s=1")),
            ("http://other.example/x", Some("http://other.example/x")),
            ("//other.example/x", Some("https://other.example/x")),
            ("1234", Some("https://r.example:5000/v2/a/blobs/uploads/1234")),
            ("?y", Some("https://r.example:5000/v2/a/blobs/uploads/?y")),
            ("/a b", None),
            ("/a\r\nX: y", None),
        ] {
            assert_eq!(resolve_location(url, location).as_deref(), expected);
        }
        assert_eq!(shown("https://R.example:443/v2/a?signature=SECRET"), "https://r.example/v2/a");
        assert_eq!(shown("https://me:SECRET@r.example/v2"), "an address that cannot be read");
        assert_eq!(Origin::of("ftp://x/"), None);
        assert_eq!(Origin::new(true, "[::1]:5000").unwrap().to_string(), "https://[::1]:5000");
        assert_eq!(Origin::new(false, "[::1]").unwrap().authority(), "[::1]");
    }

    #[test]
    fn a_key_of_another_certificate_is_found_before_a_handshake() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.cert");
        let error = read_client(&path).unwrap_err().to_string();
        assert!(error.starts_with("reading the settings of registries: the certificates in `"), "{error}");
        fs::write(&path, "no certificate").unwrap();
        let error = read_client(&path).unwrap_err().to_string();
        assert!(error.ends_with("client.cert`: there is no certificate in it"), "{error}");
    }
}
