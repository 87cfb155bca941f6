//! How channels are reached: certificates, proxies, and who asks which host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use rattler_networking::authentication_storage::StorageBackend;
use rattler_networking::authentication_storage::backends::memory::MemoryStorage;
use rattler_networking::{AuthenticationMiddleware, AuthenticationStorage, LazyClient};
use reqwest_middleware::ClientBuilder;

use crate::error::{CondaError, chain};
use crate::settings::Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// How channels are reached.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The bundle of certificates (PEM) to trust, in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Proxies: the variable's name (`HTTPS_PROXY`) and its value.
    pub proxies: Vec<(String, String)>,
}

/// A client that asks as the settings say.
pub(crate) fn client(network: &Network, settings: &Settings) -> Result<LazyClient, CondaError> {
    let failed = |error: &dyn std::error::Error| CondaError::Client { why: chain(error) };
    // Another part of the process may have chosen already: then it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("hoist/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .no_proxy();
    let excepted = network.proxies.iter().find(|(name, _)| name.eq_ignore_ascii_case("no_proxy"));
    let excepted = excepted.and_then(|(_, hosts)| reqwest::NoProxy::from_string(hosts));
    for (name, address) in &network.proxies {
        let proxy = match name.to_ascii_lowercase().as_str() {
            "http_proxy" => reqwest::Proxy::http(address),
            "https_proxy" => reqwest::Proxy::https(address),
            "all_proxy" => reqwest::Proxy::all(address),
            _ => continue,
        };
        builder = builder.proxy(proxy.map_err(|error| failed(&error))?.no_proxy(excepted.clone()));
    }
    if let Some(path) = settings.ca_bundle.as_ref().or(network.ca_bundle.as_ref()) {
        let bundle = fs::read(path).map_err(|error| failed(&error))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&bundle).map_err(|error| failed(&error))?;
        builder = builder.tls_certs_only(certificates);
    }
    if settings.insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let client = match builder.build() {
        Ok(client) => client,
        // A base without any certificate still has folders as channels.
        Err(_) => reqwest::Client::builder().tls_certs_only([]).build().map_err(|error| failed(&error))?,
    };
    let mut storage = AuthenticationStorage::empty();
    let memory = MemoryStorage::new();
    for login in &settings.logins {
        memory.store(&login.host, &login.authentication()).map_err(|error| failed(&error))?;
    }
    storage.add_backend(Arc::new(memory));
    let client = ClientBuilder::new(client).with(AuthenticationMiddleware::from_auth_storage(storage)).build();
    Ok(client.into())
}
