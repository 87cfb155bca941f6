//! Requests to one repository of a registry: who asks is told when the registry wants to know it, redirections are followed without telling it to
//! anybody else, what may succeed later is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::Deserialize;
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::digest::Digest;
use crate::registry::challenge::{Challenge, parse_challenges};
use crate::registry::error::{NOBODY, RegistryError};
use crate::registry::keys::{Key, Secret, find_key};
use crate::registry::settings::{RegistrySettings, is_loopback};
use crate::registry::wire::{self, Origin, resolve_location, shown};
use crate::registry::work::{Meter, parse_retry_after, pause};
use crate::stop::StopSign;

/// What a registry says of an error.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// As much of its words is shown.
const MAX_WORDS: usize = 400;
/// A registry that stores its blobs elsewhere redirects once.
const MAX_REDIRECTS: usize = 5;
/// Whoever is asked whether it speaks TLS and does not may say nothing at all.
const KNOCK: Duration = Duration::from_secs(10);

/// Registries as a place of images. Cheap to clone; nothing is asked before it must be.
#[derive(Debug, Clone)]
pub struct Registries {
    pub(super) inner: Arc<Inner>,
}

/// What is known of all registries that were spoken to.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) settings: RegistrySettings,
    pub(super) stop: StopSign,
    agents: Mutex<BTreeMap<Origin, Agent>>,
    /// How a registry is reached.
    origins: Mutex<BTreeMap<String, Origin>>,
    /// Tokens, by origin and scopes, and until when they are good.
    pub(super) tokens: Mutex<BTreeMap<(String, String), (Secret, Instant)>>,
    /// Origins that want a password.
    basic: Mutex<BTreeSet<Origin>>,
    /// Blobs that repositories have been seen to have, by repository.
    seen: Mutex<BTreeMap<String, BTreeSet<Digest>>>,
}

impl Registries {
    /// Registries that are reached so.
    pub fn new(settings: RegistrySettings) -> Self {
        Self::with(settings, StopSign::default())
    }

    /// The same, but everything ends with [`RegistryError::Stopped`] soon after `is_up` says so, for example because of Ctrl-C.
    #[must_use]
    pub fn stop_when(self, is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self::with(self.inner.settings.clone(), StopSign::new(is_up))
    }

    fn with(settings: RegistrySettings, stop: StopSign) -> Self {
        let inner = Inner {
            settings,
            stop,
            agents: Mutex::default(),
            origins: Mutex::default(),
            tokens: Mutex::default(),
            basic: Mutex::default(),
            seen: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

/// A repository of a registry.
#[derive(Debug)]
pub(super) struct Remote<'a> {
    pub(super) all: &'a Inner,
    /// `HOST[:PORT]`, as it stands in names.
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) origin: Origin,
    pub(super) key: Key,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) doing: &'a str,
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    /// What the token has to be good for.
    pub(super) scopes: &'a [String],
    pub(super) payload: Payload<'a>,
    /// Whether the whole has to come within the time of a small question.
    pub(super) small: bool,
}

/// What is sent with a request; it can be sent again.
pub(super) enum Payload<'a> {
    /// Nothing, without a length.
    None,
    Bytes(&'a [u8]),
    /// A piece of a file.
    Piece {
        path: &'a Path,
        offset: u64,
        length: u64,
        meter: &'a Meter<'a>,
    },
}

/// What a registry said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Where it came from in the end.
    pub(super) url: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where the registry sends whoever asked.
    pub(super) fn location(&self) -> Option<String> {
        self.resolve(self.header("location")?)
    }

    /// An address as it is meant where the answer came from.
    pub(super) fn resolve(&self, address: &str) -> Option<String> {
        resolve_location(&self.url, address)
    }

    /// Reads to the end what nobody wants, so that the connection serves again.
    pub(super) fn drain(self) {
        let mut reader = self.body.into_with_config().limit(u64::MAX).reader().take(MAX_ERROR_BYTES);
        let _ = io::copy(&mut reader, &mut io::sink()); // a connection that breaks is not used again
    }
}

/// Statuses after which the same may succeed a little later.
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// A repository, and how it is reached.
    pub(super) fn remote(&self, doing: &str, registry: &str, repository: &str) -> Result<Remote<'_>, RegistryError> {
        let key = find_key(&self.settings.keys, &self.settings.times, &self.stop, registry, repository)?;
        let origin = self.origin(doing, registry)?;
        Ok(Remote { all: self, registry: registry.to_owned(), repository: repository.to_owned(), origin, key })
    }

    /// With TLS, always; what was said to be insecure, and what runs on this machine, may do without.
    fn origin(&self, doing: &str, registry: &str) -> Result<Origin, RegistryError> {
        if let Some(known) = lock(&self.origins).get(registry) {
            return Ok(known.clone());
        }
        let wrong = || RegistryError::NoHost { doing: doing.to_owned(), name: registry.to_owned() };
        let secure = Origin::new(true, registry).ok_or_else(wrong)?;
        let origin = if self.settings.is_insecure(registry) || is_loopback(&secure.host) {
            match self.knock(doing, &secure) {
                Ok(()) => secure,
                Err(
                    first @ (RegistryError::Tls { .. }
                    | RegistryError::Connect { .. }
                    | RegistryError::Broken { .. }
                    | RegistryError::Silent { .. }),
                ) => {
                    let plain = Origin::new(false, registry).ok_or_else(wrong)?;
                    match self.knock(doing, &plain) {
                        Ok(()) => plain,
                        // Somebody is there, with TLS: what is wrong with that is what has to be known.
                        Err(_) if matches!(first, RegistryError::Tls { .. }) => return Err(first),
                        Err(second) => return Err(second),
                    }
                }
                Err(other) => return Err(other),
            }
        } else {
            secure
        };
        lock(&self.origins).insert(registry.to_owned(), origin.clone());
        Ok(origin)
    }

    /// Whether somebody speaks HTTP there.
    fn knock(&self, doing: &str, origin: &Origin) -> Result<(), RegistryError> {
        let request = Request::get(format!("{origin}/v2/"))
            .body(())
            .map_err(|_| no_registry(doing, &origin.to_string(), "an address that cannot be asked for"))?;
        let answer = self.run(doing, origin, request, Some(KNOCK.min(self.settings.times.question)))?;
        if !origin.secure && answer.status == 400 {
            // Servers with TLS answer so to whoever speaks without.
            let text = words(answer, &[]);
            let problem = format!("it wants TLS ({text})");
            return Err(RegistryError::Tls { doing: doing.to_owned(), address: origin.to_string(), problem });
        }
        answer.drain();
        Ok(())
    }

    fn agent(&self, origin: &Origin) -> Result<Agent, RegistryError> {
        if let Some(agent) = lock(&self.agents).get(origin) {
            return Ok(agent.clone());
        }
        let agent = wire::agent(&self.settings, &self.stop, origin)?;
        Ok(lock(&self.agents).entry(origin.clone()).or_insert(agent).clone())
    }

    pub(super) fn run(
        &self,
        doing: &str,
        origin: &Origin,
        request: Request<impl ureq::AsSendBody>,
        limit: Option<Duration>,
    ) -> Result<Answer, RegistryError> {
        let url = request.uri().to_string();
        let agent = self.agent(origin)?;
        let request = match limit {
            Some(limit) => agent.configure_request(request).timeout_global(Some(limit)).build(),
            None => request,
        };
        let answer: Response<Body> =
            agent.run(request).map_err(|error| wire::failed(&self.stop, doing, &shown(&url), error))?;
        let (parts, body) = answer.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, url })
    }

    /// Waits before the next attempt.
    pub(super) fn wait(
        &self,
        doing: &str,
        registry: &str,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<(), RegistryError> {
        let limit = self.settings.times.longest_pause;
        if let Some(asked) = asked.filter(|asked| *asked > limit) {
            return Err(RegistryError::Busy {
                doing: doing.to_owned(),
                registry: registry.to_owned(),
                wait_secs: asked.as_secs(),
                limit_secs: limit.as_secs(),
            });
        }
        let time = pause(&self.settings.times, attempt).max(asked.unwrap_or_default());
        if self.stop.sleep(time) { Ok(()) } else { Err(RegistryError::Stopped { doing: doing.to_owned() }) }
    }

    /// Does something until it succeeds, fails for good or has failed too often.
    pub(super) fn retrying<T>(
        &self,
        doing: &str,
        registry: &str,
        mut work: impl FnMut() -> Result<Tried<T>, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempt = 1;
        loop {
            let (error, asked) = match work() {
                Ok(Tried::Done(done)) => return Ok(done),
                Ok(Tried::Later(error, asked)) => (error, asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            if attempt >= self.settings.times.attempts {
                return Err(error);
            }
            self.wait(doing, registry, attempt, asked)?;
            attempt += 1;
        }
    }
}

/// The document of an error.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
    /// What token services have in its place.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// What a registry says of an error: its codes and messages, without anything that must not be seen.
fn words(answer: Answer, secrets: &[Secret]) -> String {
    let status = answer.status;
    let mut bytes = Vec::new();
    let reader = answer.body.into_with_config().limit(u64::MAX).reader();
    let _ = reader.take(MAX_ERROR_BYTES).read_to_end(&mut bytes); // as much as there is
    let said = match serde_json::from_slice::<Errors>(&bytes) {
        Ok(Errors { errors, details }) => {
            let one = |one: &OneError| {
                [one.code.clone(), one.message.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
            };
            errors.iter().take(3).map(one).chain(details).collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::new(),
    };
    let mut said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for secret in secrets.iter().filter(|secret| !secret.reveal().is_empty()) {
        said = said.replace(secret.reveal(), "***");
    }
    match said.char_indices().nth(MAX_WORDS) {
        Some((at, _)) => format!("{}…", &said[..at]),
        None if said.trim().is_empty() => format!("status {status}"),
        None => said,
    }
}

/// Whoever answers is no registry.
pub(super) fn no_registry(doing: &str, url: &str, seen: &str) -> RegistryError {
    RegistryError::NotARegistry { doing: doing.to_owned(), address: shown(url), seen: seen.to_owned() }
}

/// What an attempt led to.
pub(super) enum Tried<T> {
    Done(T),
    /// It may succeed later; the registry may have said when.
    Later(RegistryError, Option<Duration>),
}

impl Remote<'_> {
    /// An address below this repository.
    pub(super) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.origin, self.repository)
    }

    pub(super) fn scopes(&self, actions: &str) -> Vec<String> {
        vec![format!("repository:{}:{actions}", self.repository)]
    }

    /// The name under which it is known.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The repository has been seen to have a blob.
    pub(super) fn saw(&self, digest: &Digest) {
        lock(&self.all.seen).entry(self.name()).or_default().insert(*digest);
    }

    pub(super) fn has_seen(&self, digest: &Digest) -> bool {
        lock(&self.all.seen).get(&self.name()).is_some_and(|seen| seen.contains(digest))
    }

    /// From now on every blob is asked for again; false where none was seen.
    pub(super) fn forget_seen(&self) -> bool {
        lock(&self.all.seen).remove(&self.name()).is_some_and(|seen| !seen.is_empty())
    }

    /// Asks until there is an answer that will not change a little later.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        self.all.retrying(ask.doing, &self.registry, || self.try_ask(ask))
    }

    /// Asks once.
    pub(super) fn try_ask(&self, ask: &Ask<'_>) -> Result<Tried<Answer>, RegistryError> {
        let answer = self.ask_once(ask)?;
        if !is_transient(answer.status) {
            return Ok(Tried::Done(answer));
        }
        let asked = answer.header("retry-after").and_then(parse_retry_after);
        Ok(Tried::Later(self.refused(ask.doing, answer), asked))
    }

    pub(super) fn ask_once(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let (mut url, mut method) = (ask.url.clone(), ask.method.clone());
        let (mut fresh, mut hops) = (false, 0);
        loop {
            let not = |seen: &str| no_registry(ask.doing, &url, seen);
            let (origin, _) = Origin::of(&url).ok_or_else(|| not("a redirection to nowhere"))?;
            // Nobody but the registry hears who asks.
            let own = origin == self.origin;
            let authorization = if own { self.authorization(ask.scopes) } else { None };
            let answer = self.request(ask, &origin, &method, &url, authorization.as_ref())?;
            match answer.status {
                401 if own && !fresh => {
                    self.answer_challenge(ask, answer, authorization.is_some())?;
                    fresh = true;
                }
                status @ (301 | 302 | 303 | 307 | 308) => {
                    hops += 1;
                    let next = answer.location().filter(|_| hops <= MAX_REDIRECTS);
                    let next = next.ok_or_else(|| not("redirections without an end, or to nowhere"))?;
                    let (target, _) = Origin::of(&next).ok_or_else(|| not("a redirection to nowhere"))?;
                    if origin.secure && !target.secure {
                        return Err(not("a redirection to an address without TLS"));
                    }
                    if status == 303 {
                        method = Method::GET;
                    }
                    answer.drain();
                    url = next;
                }
                _ => return Ok(answer),
            }
        }
    }

    fn request(
        &self,
        ask: &Ask<'_>,
        origin: &Origin,
        method: &Method,
        url: &str,
        authorization: Option<&Secret>,
    ) -> Result<Answer, RegistryError> {
        let mut request = Request::builder().method(method.clone()).uri(url);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some(value) = authorization {
            request = request.header("authorization", value.reveal());
        }
        let limit = ask.small.then_some(self.all.settings.times.question);
        let not = || no_registry(ask.doing, url, "an address that cannot be asked for");
        match &ask.payload {
            Payload::Bytes(bytes) if *method != Method::GET => {
                self.all.run(ask.doing, origin, request.body(*bytes).map_err(|_| not())?, limit)
            }
            Payload::Piece { path, offset, length, meter } if *method != Method::GET => {
                let mut piece = Piece::open(path, *offset, *length, meter)
                    .map_err(|source| crate::error::StoreError::io("opening a compressed layer", source))?;
                let request = request.header("content-length", length.to_string());
                let body = SendBody::from_reader(&mut piece);
                let outcome = self.all.run(ask.doing, origin, request.body(body).map_err(|_| not())?, limit);
                if outcome.as_ref().map_or(true, |answer| answer.status >= 300) {
                    piece.take_back();
                }
                outcome
            }
            _ => self.all.run(ask.doing, origin, request.body(()).map_err(|_| not())?, limit),
        }
    }

    /// The header by which the registry learns who asks, as far as it is known what it wants.
    fn authorization(&self, scopes: &[String]) -> Option<Secret> {
        if let Key::Bearer(token) = &self.key {
            return Some(Secret::new(format!("Bearer {}", token.reveal())));
        }
        if lock(&self.all.basic).contains(&self.origin) {
            return self.key.basic_header();
        }
        let tokens = lock(&self.all.tokens);
        let (token, until) = tokens.get(&self.token_key(scopes))?;
        (*until > Instant::now()).then(|| Secret::new(format!("Bearer {}", token.reveal())))
    }

    pub(super) fn token_key(&self, scopes: &[String]) -> (String, String) {
        // A token is its user's: another key for a part of the registry gets one of its own.
        let user = match &self.key {
            Key::Basic { user, .. } => user.as_str(),
            _ => "",
        };
        (format!("{} {user}", self.origin), scopes.join(" "))
    }

    /// Gets what the registry wants, or says that it does not want what there is.
    fn answer_challenge(&self, ask: &Ask<'_>, answer: Answer, had: bool) -> Result<(), RegistryError> {
        let headers = answer.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        match parse_challenges(headers) {
            Some(Challenge::Bearer { realm, service, scope }) if !matches!(self.key, Key::Bearer(_)) => {
                answer.drain();
                self.fetch_token(ask, &realm, service.as_deref(), scope.as_deref())
            }
            Some(Challenge::Basic) if self.key.basic_header().is_some() && !had => {
                answer.drain();
                lock(&self.all.basic).insert(self.origin.clone());
                Ok(())
            }
            Some(_) => Err(self.refused(ask.doing, answer)),
            None => Err(no_registry(ask.doing, &ask.url, "status 401 without a way to say who asks")),
        }
    }

    /// An answer that is none of success, as an error.
    pub(super) fn refused(&self, doing: &str, answer: Answer) -> RegistryError {
        self.refused_by(doing, &self.registry, answer)
    }

    pub(super) fn refused_by(&self, doing: &str, registry: &str, answer: Answer) -> RegistryError {
        let status = answer.status;
        let tokens = lock(&self.all.tokens).values().map(|(token, _)| token.clone()).collect::<Vec<_>>();
        let message = words(answer, &[self.key.secrets(), tokens].concat());
        let (doing, registry) = (doing.to_owned(), registry.to_owned());
        if matches!(status, 401 | 403) {
            return RegistryError::Denied { doing, registry, who: self.who(), message };
        }
        RegistryError::Refused { doing, registry, status, message }
    }

    fn who(&self) -> String {
        match &self.key {
            Key::Anonymous => NOBODY.to_owned(),
            Key::Basic { user, .. } => format!("the user `{user}`"),
            Key::Identity(_) | Key::Bearer(_) => "whoever has this token".to_owned(),
        }
    }
}

/// A piece of a file on its way; what was told of it is taken back where it did not arrive.
struct Piece<'a> {
    file: io::Take<fs::File>,
    told: u64,
    meter: &'a Meter<'a>,
}

impl<'a> Piece<'a> {
    fn open(path: &Path, offset: u64, length: u64, meter: &'a Meter<'a>) -> io::Result<Self> {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file: file.take(length), told: 0, meter })
    }

    fn take_back(&self) {
        self.meter.add(-i64::try_from(self.told).unwrap_or(0));
    }
}

impl Read for Piece<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.told += read as u64;
        self.meter.add_bytes(read as u64);
        Ok(read)
    }
}
