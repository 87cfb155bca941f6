//! The requests: ping, inspect, list, tag. One connection each; every answer is bounded in length and time.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;
use ureq::{Body, Error as HttpError, RequestBuilder};

use crate::digest::DiffId;
use crate::docker::address::DockerAddress;
use crate::docker::connect::{Around, DaemonConnector};
use crate::docker::error::DockerError;
use crate::docker::messages::words;
use crate::reference::Reference;
use crate::stop::StopSign;
use crate::transport::{NoConnection, NoResolver};

/// Answers to small questions: an inspected image with all its labels, a list of images.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// What a daemon says of an error.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// How long a daemon may take.
#[derive(Debug, Clone, Copy)]
pub struct DaemonTimes {
    /// For the whole of a small question.
    pub question: Duration,
    /// For a single read or write of a transfer: a busy daemon unpacks layers meanwhile.
    pub silence: Duration,
    /// From the last byte of an image that was sent to the beginning of the answer, and once more to its end.
    pub load: Duration,
}

impl Default for DaemonTimes {
    fn default() -> Self {
        Self { question: Duration::from_mins(1), silence: Duration::from_mins(10), load: Duration::from_hours(1) }
    }
}

/// A docker daemon. Cheap to make; nothing is asked before it must be.
#[derive(Debug)]
pub struct Daemon {
    agent: Agent,
    address: DockerAddress,
    times: DaemonTimes,
    stop: StopSign,
    around: Around,
}

/// An image as a daemon describes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Inspected {
    /// With docker's own storage the digest of the configuration, with containerd's that of a manifest or an index.
    #[serde(rename = "Id")]
    pub(super) id: String,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "RootFS", default)]
    root: RootFs,
    #[serde(rename = "Os", default)]
    pub(super) os: String,
    #[serde(rename = "Architecture", default)]
    pub(super) architecture: String,
    #[serde(rename = "Variant", default)]
    pub(super) variant: Option<String>,
    #[serde(rename = "Config", default)]
    pub(super) config: Option<Settings>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Settings {
    #[serde(rename = "Labels", default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RootFs {
    #[serde(rename = "Layers", default)]
    layers: Option<Vec<String>>,
}

impl Inspected {
    pub(super) fn is_named(&self) -> bool {
        self.names.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// Whether the daemon lists this name; podman writes it otherwise (with a host in front), then a name is given twice.
    pub(super) fn has_name(&self, name: &Reference) -> bool {
        let name = name.to_string();
        self.names.iter().flatten().any(|one| *one == name)
    }

    /// The layers up to the first that makes no sense.
    pub(super) fn diff_ids(&self) -> Vec<DiffId> {
        self.root.layers.iter().flatten().map_while(|id| id.parse().ok()).collect()
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "DriverStatus", default)]
    driver_status: Option<Vec<Vec<String>>>,
    /// Said by podman alone.
    #[serde(rename = "BuildahVersion", default)]
    buildah_version: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Daemon {
    /// The daemon at `address`; nothing is asked yet.
    pub fn new(address: DockerAddress) -> Self {
        Self::with(address, DaemonTimes::default(), StopSign::default(), Around::default())
    }

    /// The daemon that `docker` would speak to; see [`DockerAddress::of_this_machine`].
    pub fn of_this_machine() -> Result<Self, DockerError> {
        DockerAddress::of_this_machine().map(Self::new)
    }

    /// The same with other limits.
    #[must_use]
    pub fn within(self, times: DaemonTimes) -> Self {
        Self::with(self.address, times, self.stop, self.around)
    }

    /// The same, but everything ends with [`DockerError::Stopped`] soon after `is_up` says so, for example because of Ctrl-C.
    #[must_use]
    pub fn stop_when(self, is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self::with(self.address, self.times, StopSign::new(is_up), self.around)
    }

    /// The same, but each connection is opened inside of `around`: a process that gave up rights to the socket takes them for that instant.
    #[must_use]
    pub fn connecting(self, around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        Self::with(self.address, self.times, self.stop, Around::new(around))
    }

    fn with(address: DockerAddress, times: DaemonTimes, stop: StopSign, around: Around) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("hoist/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_per_read(Some(times.silence))
            .timeout_per_write(Some(times.silence));
        let connector = DaemonConnector { address: address.clone(), stop: stop.clone(), around: around.clone() };
        let agent = Agent::with_parts(config.build(), connector, NoResolver);
        Self { agent, address, times, stop, around }
    }

    /// Where it is.
    pub fn address(&self) -> &DockerAddress {
        &self.address
    }

    /// Asks whether a docker daemon is there.
    pub fn ping(&self) -> Result<(), DockerError> {
        let doing = "asking whether a docker daemon is there";
        let answer = self.ask(doing, self.agent.get("http://docker/_ping"))?;
        let answer = self.accepted(doing, answer)?;
        if self.bytes(doing, answer, MAX_ERROR_BYTES)?.trim_ascii() == b"OK" {
            return Ok(());
        }
        Err(self.no_docker(doing, "it answers, but not as a daemon does".to_owned()))
    }

    /// Whether the daemon has an image of that name or id.
    pub fn has(&self, wanted: &str) -> Result<bool, DockerError> {
        Ok(self.inspect(wanted)?.is_some())
    }

    pub(super) fn inspect(&self, wanted: &str) -> Result<Option<Inspected>, DockerError> {
        let doing = format!("looking for `{wanted}` in the docker daemon");
        let answer = self.ask(&doing, self.agent.get(format!("http://docker/images/{wanted}/json")))?;
        if answer.status().as_u16() == 404 {
            // A 404 of somebody who is no daemon must not pass for an image that is not there.
            self.message(&doing, answer)?;
            return Ok(None);
        }
        self.read(&doing, self.accepted(&doing, answer)?).map(Some)
    }

    /// The ids of all images.
    pub(super) fn list(&self) -> Result<Vec<String>, DockerError> {
        let doing = "listing the docker daemon's images";
        let answer = self.ask(doing, self.agent.get("http://docker/images/json"))?;
        let listed: Vec<Listed> = self.read(doing, self.accepted(doing, answer)?)?;
        Ok(listed.into_iter().map(|one| one.id).collect())
    }

    /// Whether the daemon takes an OCI layout without the layers that it has, wherever these stand in an image: containerd's storage keeps them
    /// as blobs, podman finds them by their diffIDs. Docker's own storage drivers keep trees, and know a layer only with all below it.
    pub(super) fn takes_layouts(&self) -> Result<bool, DockerError> {
        let doing = "asking the docker daemon how it stores images";
        let answer = self.ask(doing, self.agent.get("http://docker/info"))?;
        let info: Info = self.read(doing, self.accepted(doing, answer)?)?;
        let of_containerd = |pair: &[String]| matches!(pair, [key, value] if key == "driver-type" && value.starts_with("io.containerd.snapshotter"));
        Ok(info.buildah_version.is_some() || info.driver_status.into_iter().flatten().any(|pair| of_containerd(&pair)))
    }

    /// Gives an image of the daemon one more name; a name that stood for another image moves.
    pub fn tag(&self, id: &str, name: &Reference) -> Result<(), DockerError> {
        let doing = format!("giving an image of the docker daemon the name `{name}`");
        let tag = name.tag().unwrap_or("latest");
        let url = format!("http://docker/images/{id}/tag?repo={}&tag={tag}", name.name());
        let request = self.agent.post(url).config().timeout_global(Some(self.times.question)).build();
        let answer = request.send_empty().map_err(|error| self.failed(&doing, error))?;
        self.accepted(&doing, answer).map(|_| ())
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) fn times(&self) -> DaemonTimes {
        self.times
    }

    /// Ends work that goes on beside a request.
    pub(super) fn check_stop(&self) -> io::Result<()> {
        if self.stop.is_up() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn ask(
        &self,
        doing: &str,
        request: RequestBuilder<ureq::typestate::WithoutBody>,
    ) -> Result<Response<Body>, DockerError> {
        let request = request.config().timeout_global(Some(self.times.question)).build();
        request.call().map_err(|error| self.failed(doing, error))
    }

    /// The answer where it is one of success, else the daemon's words as an error.
    pub(super) fn accepted(&self, doing: &str, answer: Response<Body>) -> Result<Response<Body>, DockerError> {
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let message = self.message(doing, answer)?;
        Err(DockerError::Refused { doing: doing.to_owned(), message: format!("{message} (status {status})") })
    }

    /// What the daemon says of an error; whoever has no such words is no daemon.
    pub(super) fn message(&self, doing: &str, answer: Response<Body>) -> Result<String, DockerError> {
        let status = answer.status().as_u16();
        let text = self.bytes(doing, answer, MAX_ERROR_BYTES)?;
        match serde_json::from_slice::<Message>(&text) {
            Ok(message) => Ok(words(&message.message)),
            Err(_) => Err(self.no_docker(doing, format!("status {status} without a message of docker's"))),
        }
    }

    fn read<T: DeserializeOwned>(&self, doing: &str, answer: Response<Body>) -> Result<T, DockerError> {
        let bytes = self.bytes(doing, answer, MAX_ANSWER_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let place = if error.is_eof() { "which ends too early".to_owned() } else { format!("({error})") };
            self.no_docker(doing, format!("an answer that no daemon gives {place}"))
        })
    }

    fn bytes(&self, doing: &str, answer: Response<Body>, limit_bytes: u64) -> Result<Vec<u8>, DockerError> {
        let mut bytes = Vec::new();
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        reader.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| self.broken(doing, error))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(DockerError::TooLong { doing: doing.to_owned(), limit_bytes });
        }
        Ok(bytes)
    }

    pub(super) fn no_docker(&self, doing: &str, seen: String) -> DockerError {
        DockerError::NotDocker { doing: doing.to_owned(), address: self.address.to_string(), seen }
    }

    /// An error of the HTTP client, said by what it means here.
    pub(super) fn failed(&self, doing: &str, error: HttpError) -> DockerError {
        match error {
            HttpError::Timeout(_) => self.silent(doing),
            HttpError::Other(inner) => match inner.downcast::<NoConnection>() {
                Ok(no) if self.stop.is_up() => self.broken(doing, no.0),
                Ok(no) => DockerError::Connect { address: self.address.to_string(), source: no.0 },
                Err(other) => self.broken(doing, io::Error::other(other)),
            },
            HttpError::Http(_) | HttpError::Protocol(_) | HttpError::LargeResponseHeader(..) => {
                self.no_docker(doing, words(&error.to_string()))
            }
            other => self.broken(doing, other.into_io()),
        }
    }

    /// An error while a body was read or written.
    pub(super) fn broken(&self, doing: &str, source: io::Error) -> DockerError {
        if self.stop.is_up() {
            return DockerError::Stopped { doing: doing.to_owned() };
        }
        let timed_out = |error: &HttpError| matches!(error, HttpError::Timeout(_));
        if source.get_ref().and_then(|inner| inner.downcast_ref::<HttpError>()).is_some_and(timed_out) {
            return self.silent(doing);
        }
        DockerError::Broken { doing: doing.to_owned(), source }
    }

    fn silent(&self, doing: &str) -> DockerError {
        DockerError::Silent { doing: doing.to_owned(), address: self.address.to_string() }
    }
}
