//! From a name to the manifest of one image: mirrors first, then the registry itself; of an index the image for the machine.

use std::io::Read;

use ureq::http::Method;

use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::error::RegistryError;
use crate::registry::manifest::{ACCEPTED, Descriptor, Document, MAX_BYTES, Platform, choose, parse_document};
use crate::registry::talk::{Answer, Ask, Inner, Payload, Remote, Tried};
use crate::registry::wire::{broken, shown};

/// Indexes inside indexes.
const MAX_NESTING: usize = 3;

/// An image of a registry.
pub(super) struct Resolved<'a> {
    /// Where it is: a mirror or the registry.
    pub(super) remote: Remote<'a>,
    /// Of what the name stands for: the manifest, or the index around it.
    pub(super) digest: Digest,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What is asked for at a registry.
pub(super) fn registry_of<'a>(doing: &str, name: &'a Reference) -> Result<&'a str, RegistryError> {
    name.registry().ok_or_else(|| RegistryError::NoHost { doing: doing.to_owned(), name: name.name().to_owned() })
}

impl Inner {
    /// Finds an image. What every place said is told where none has it; the registry itself has the last word.
    pub(super) fn resolve(
        &self,
        doing: &str,
        name: &Reference,
        platform: &Platform,
    ) -> Result<Resolved<'_>, RegistryError> {
        let registry = registry_of(doing, name)?;
        let mut places = self.settings.mirrors_of(registry, name.repository())?;
        places.push((registry.to_owned(), name.repository().to_owned()));
        let last = places.len() - 1;
        for (at, (host, repository)) in places.into_iter().enumerate() {
            let found = self.remote(doing, &host, &repository).and_then(|remote| find(doing, remote, name, platform));
            match found {
                Err(error) if at < last && error.lets_others_be_asked() => {}
                found => return found,
            }
        }
        Err(RegistryError::NoHost { doing: doing.to_owned(), name: name.to_string() })
    }
}

fn find<'a>(
    doing: &str,
    remote: Remote<'a>,
    name: &Reference,
    platform: &Platform,
) -> Result<Resolved<'a>, RegistryError> {
    let wanted = name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
    let wrong = |problem: String| RegistryError::NotAnImage { name: name.to_string(), problem };
    let (mut bytes, mut kind) = remote.manifest(doing, &wanted, None)?;
    let digest = Digest::of(&bytes);
    for _ in 0..=MAX_NESTING {
        match parse_document(&bytes, kind.as_deref()).map_err(wrong)? {
            Document::Image { config, layers } => return Ok(Resolved { remote, digest, config, layers }),
            Document::Index(entries) => {
                let chosen = choose(&entries, platform).map_err(|there| RegistryError::Platform {
                    name: name.to_string(),
                    wanted: platform.to_string(),
                    there,
                })?;
                (bytes, kind) = remote.manifest(doing, &chosen.digest.to_string(), Some(chosen.size))?;
            }
        }
    }
    Err(wrong("its indexes lie in each other too deeply".to_owned()))
}

impl Remote<'_> {
    /// A manifest by its tag or digest, and what the registry calls it.
    pub(super) fn manifest(
        &self,
        doing: &str,
        wanted: &str,
        size: Option<u64>,
    ) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let scopes = self.scopes("pull");
        let ask = Ask {
            doing,
            method: Method::GET,
            url: self.url(&format!("manifests/{wanted}")),
            headers: vec![("accept", ACCEPTED.to_owned())],
            scopes: &scopes,
            payload: Payload::None,
            small: true,
        };
        let what = format!("manifest {wanted}");
        let (bytes, kind, said) = self.all.retrying(doing, &self.registry, || {
            let tried = self.try_ask(&ask)?;
            Ok(match tried {
                Tried::Done(answer) => {
                    let answer = self.there(doing, answer, || {
                        format!("image {}:{wanted}", self.repository).replace(":sha256", "@sha256")
                    })?;
                    let header = |name: &str| answer.header(name).map(str::to_owned);
                    let (kind, said) = (header("content-type"), header("docker-content-digest"));
                    let bytes = self.read_bounded(doing, answer, &what, MAX_BYTES)?;
                    Tried::Done((bytes, kind, said))
                }
                Tried::Later(error, asked) => Tried::Later(error, asked),
            })
        })?;
        let seen = Digest::of(&bytes);
        let expected = wanted.parse::<Digest>().ok().or_else(|| said?.parse().ok());
        if let Some(expected) = expected.filter(|expected| *expected != seen) {
            return Err(self.wrong_content(doing, &what, &expected, &seen));
        }
        if let Some(size) = size.filter(|size| *size != bytes.len() as u64) {
            return Err(self.wrong_content(
                doing,
                &what,
                &format!("{size} bytes long"),
                &format!("{} bytes long", bytes.len()),
            ));
        }
        Ok((bytes, kind))
    }

    /// The digest of what a tag stands for; nothing where it stands for nothing.
    pub(super) fn stands_for(&self, doing: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        match self.manifest(doing, tag, None) {
            Ok((bytes, _)) => Ok(Some(Digest::of(&bytes))),
            Err(RegistryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The answer where it is 200; `what` is not there with a 404.
    pub(super) fn there(
        &self,
        doing: &str,
        answer: Answer,
        what: impl FnOnce() -> String,
    ) -> Result<Answer, RegistryError> {
        match answer.status {
            200 => Ok(answer),
            404 => {
                Err(RegistryError::Missing { doing: doing.to_owned(), registry: self.registry.clone(), what: what() })
            }
            _ => Err(self.refused(doing, answer)),
        }
    }

    pub(super) fn read_bounded(
        &self,
        doing: &str,
        answer: Answer,
        what: &str,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { doing: doing.to_owned(), what: what.to_owned(), limit_bytes };
        let said: Option<u64> = answer.header("content-length").and_then(|text| text.parse().ok());
        if said.is_some_and(|said| said > limit_bytes) {
            return Err(too_large());
        }
        let address = shown(&answer.url);
        let mut bytes = Vec::new();
        let reader = answer.body.into_with_config().limit(u64::MAX).reader();
        let read = reader.take(limit_bytes + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(&self.all.stop, doing, &address, error))?;
        if bytes.len() as u64 > limit_bytes { Err(too_large()) } else { Ok(bytes) }
    }

    pub(super) fn wrong_content(
        &self,
        doing: &str,
        what: &str,
        expected: &dyn std::fmt::Display,
        seen: &dyn std::fmt::Display,
    ) -> RegistryError {
        RegistryError::Content {
            doing: doing.to_owned(),
            what: format!("{what} of {}", self.registry),
            expected: expected.to_string(),
            seen: seen.to_string(),
        }
    }
}
