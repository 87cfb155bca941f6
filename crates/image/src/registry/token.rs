//! Tokens: a token service is told who asks and for what, and gives what the registry takes (the distribution project's "token" and "oauth"
//! specifications).

use std::fmt::Write;
use std::io::Read;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Request;

use crate::registry::error::RegistryError;
use crate::registry::keys::{Key, Secret};
use crate::registry::talk::{Ask, Remote, Tried, is_transient, lock, no_registry};
use crate::registry::wire::{Origin, broken, shown};
use crate::registry::work::parse_retry_after;

/// Tokens of clouds have some thousand bytes.
const MAX_TOKEN_BYTES: u64 = 256 << 10;
/// As long as a token is good where nothing is said.
const USUAL_SECS: u64 = 60;
/// A token that ends while a request is on its way is none.
const MARGIN_SECS: u64 = 10;
/// Longer than that nobody believes.
const LONGEST_SECS: u64 = 3600;

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Remote<'_> {
    /// Gets a token and keeps it for whoever asks for the same.
    pub(super) fn fetch_token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<(), RegistryError> {
        let not = |seen: &str| no_registry(ask.doing, realm, seen);
        let (origin, _) = Origin::of(realm).ok_or_else(|| not("a token service whose address cannot be read"))?;
        // Who asks is told to a token service on any host: that is how it is meant. But nobody on the way shall hear it.
        if self.origin.secure && !origin.secure {
            return Err(not("a token service without TLS, for a registry with it"));
        }
        // What the registry names counts, too: some know a repository by another name than it is asked by.
        let mut scopes: Vec<&str> = ask.scopes.iter().map(String::as_str).collect();
        for named in scope.unwrap_or_default().split(' ').filter(|named| !named.is_empty()) {
            let known = scopes
                .iter()
                .any(|scope| scope.rsplit_once(':').map(|one| one.0) == named.rsplit_once(':').map(|one| one.0));
            if !known && scopes.len() < 8 {
                scopes.push(named);
            }
        }
        let given = self.all.retrying(ask.doing, &self.registry, || self.ask_service(ask, realm, service, &scopes))?;
        let secs = given.1.saturating_sub(MARGIN_SECS).max(1);
        let until = Instant::now() + Duration::from_secs(secs);
        lock(&self.all.tokens).insert(self.token_key(ask.scopes), (given.0, until));
        Ok(())
    }

    fn ask_service(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        scopes: &[&str],
    ) -> Result<Tried<(Secret, u64)>, RegistryError> {
        let not = |seen: &str| no_registry(ask.doing, realm, seen);
        let (origin, _) = Origin::of(realm).ok_or_else(|| not("a token service whose address cannot be read"))?;
        let mut form: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        let limit = Some(self.all.settings.times.question);
        let built = |_| not("a token service whose address cannot be asked");
        let answer = if let Key::Identity(token) = &self.key {
            let joined = scopes.join(" ");
            form.extend([("grant_type", "refresh_token"), ("client_id", "hoist"), ("refresh_token", token.reveal())]);
            form.push(("scope", &joined));
            let request = Request::post(realm).header("content-type", "application/x-www-form-urlencoded");
            let body = encoded(&form);
            let request = request.body(body.as_bytes()).map_err(built)?;
            self.all.run(ask.doing, &origin, request, limit)?
        } else {
            form.extend(scopes.iter().map(|scope| ("scope", *scope)));
            if let Key::Basic { user, .. } = &self.key {
                form.push(("account", user));
            }
            let sign = if realm.contains('?') { '&' } else { '?' };
            let mut request = Request::get(format!("{realm}{sign}{}", encoded(&form)));
            if let Some(header) = self.key.basic_header() {
                request = request.header("authorization", header.reveal());
            }
            self.all.run(ask.doing, &origin, request.body(()).map_err(built)?, limit)?
        };
        if is_transient(answer.status) {
            let asked = answer.header("retry-after").and_then(parse_retry_after);
            return Ok(Tried::Later(self.refused_by(ask.doing, &origin.authority(), answer), asked));
        }
        if answer.status != 200 {
            return Err(self.refused_by(ask.doing, &origin.authority(), answer));
        }
        let mut bytes = Vec::new();
        let reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let read = reader.take(MAX_TOKEN_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(&self.all.stop, ask.doing, &shown(realm), error))?;
        if bytes.len() as u64 > MAX_TOKEN_BYTES {
            return Err(not("a token that is longer than any token"));
        }
        let given: Given = serde_json::from_slice(&bytes).map_err(|_| not("a token service that gives no token"))?;
        let token = given.token.or(given.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| not("a token service that gives no token"))?;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(not("a token that no header can have"));
        }
        let secs = given.expires_in.unwrap_or(USUAL_SECS).clamp(1, LONGEST_SECS);
        Ok(Tried::Done((Secret::new(token), secs)))
    }
}

/// As forms and queries are written.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| format!("{name}={}", percent(value));
    pairs.iter().map(one).collect::<Vec<_>>().join("&")
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            let _ = write!(out, "{byte:02X}"); // to a text, which takes it
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let pairs = [("service", "r.example:5000"), ("scope", "repository:a/b:pull,push")];
        assert_eq!(encoded(&pairs), "service=r.example%3A5000&scope=repository%3Aa%2Fb%3Apull%2Cpush");
        assert_eq!(percent("ä&="), "%C3%A4%26%3D");
    }
}
