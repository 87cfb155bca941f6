//! Uploads: a blob goes in one request or piece by piece, and goes on where it was; the requests of the protocol that write.

use std::path::Path;

use ureq::http::Method;

use crate::digest::Digest;
use crate::registry::error::RegistryError;
use crate::registry::known::Upload;
use crate::registry::push::Pushing;
use crate::registry::talk::{Answer, Ask, Payload, Remote, Tried, no_registry};

/// What is sent in one piece; longer blobs go in pieces of this length, and can go on after one of them.
const PIECE_BYTES: u64 = 64 << 20;
/// "Chunks MUST be at least this long" (distribution-spec, `OCI-Chunk-Min-Length`), as far as that is believed.
const LONGEST_PIECE_BYTES: u64 = 1 << 30;

impl Pushing<'_> {
    /// Sends a blob that lies in a file.
    pub(super) fn upload(&self, digest: &Digest, size_bytes: u64, path: &Path) -> Result<(), RegistryError> {
        if size_bytes > PIECE_BYTES {
            return self.in_pieces(digest, size_bytes, path);
        }
        self.whole(digest, &Payload::Piece { path, offset: 0, length: size_bytes, meter: &self.meter })
    }

    /// One request for a place, one with everything.
    pub(super) fn whole(&self, digest: &Digest, payload: &Payload<'_>) -> Result<(), RegistryError> {
        self.remote.all.retrying(self.doing, &self.remote.registry, || {
            self.go_on()?;
            let begun = self.remote.begin(self.doing)?;
            let answer = match self.remote.try_send(
                self.doing,
                Method::PUT,
                with_digest(&begun, digest),
                Vec::new(),
                payload,
            )? {
                Tried::Done(answer) => answer,
                Tried::Later(error, asked) => return Ok(Tried::Later(error, asked)),
            };
            self.remote.accepted(self.doing, answer, digest).map(Tried::Done)
        })
    }

    /// A piece after the other; where it was is kept, so that another push goes on there.
    fn in_pieces(&self, digest: &Digest, size_bytes: u64, path: &Path) -> Result<(), RegistryError> {
        let mut upload = match self.store.begun_upload(&self.remote.name(), digest) {
            Some(begun) => self.remote.where_it_is(self.doing, &begun.location, size_bytes)?,
            None => None,
        };
        if let Some(upload) = &upload {
            self.meter.add_bytes(upload.offset);
        }
        let mut failures = 0;
        loop {
            self.go_on()?;
            let outcome = self.next_piece(digest, size_bytes, path, &mut upload);
            let (error, asked) = match outcome {
                Ok(Step::Further) => {
                    failures = 0;
                    continue;
                }
                Ok(Step::Finished) => {
                    self.store.forget_upload(&self.remote.name(), digest);
                    return Ok(());
                }
                Ok(Step::Failed(error, asked)) => (error, asked),
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            failures += 1;
            if failures >= self.remote.all.settings.times.attempts {
                return Err(error);
            }
            self.remote.all.wait(self.doing, &self.remote.registry, failures, asked)?;
            let before = upload.as_ref().map_or(0, |upload| upload.offset);
            upload = match &upload {
                Some(begun) => self.remote.where_it_is(self.doing, &begun.location, size_bytes)?,
                None => None,
            };
            let after = upload.as_ref().map_or(0, |upload| upload.offset);
            self.meter.add(i64::try_from(after).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
        }
    }

    fn next_piece(
        &self,
        digest: &Digest,
        size_bytes: u64,
        path: &Path,
        upload: &mut Option<Upload>,
    ) -> Result<Step, RegistryError> {
        let current = match upload {
            Some(current) => current.clone(),
            None => Upload { location: self.remote.begin(self.doing)?, offset: 0 },
        };
        *upload = Some(current.clone());
        let Upload { location, offset } = current;
        if offset == size_bytes {
            let tried = self.remote.try_send(
                self.doing,
                Method::PUT,
                with_digest(&location, digest),
                Vec::new(),
                &Payload::Bytes(&[]),
            )?;
            return match tried {
                Tried::Done(answer) if answer.status == 404 || answer.status == 416 => Ok(self.lost(upload, answer)),
                Tried::Done(answer) => self.remote.accepted(self.doing, answer, digest).map(|()| Step::Finished),
                Tried::Later(error, asked) => Ok(Step::Failed(error, asked)),
            };
        }
        let length = PIECE_BYTES.min(size_bytes - offset);
        let headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("content-range", format!("{offset}-{}", offset + length - 1)),
        ];
        let piece = Payload::Piece { path, offset, length, meter: &self.meter };
        let answer = match self.remote.try_send(self.doing, Method::PATCH, location, headers, &piece)? {
            Tried::Done(answer) => answer,
            Tried::Later(error, asked) => return Ok(Step::Failed(error, asked)),
        };
        match (answer.status, answer.location()) {
            (200..=204, Some(location)) => {
                let end = answer.header("range").and_then(parse_range_end).map_or(offset + length, |end| end + 1);
                if end <= offset || end > size_bytes {
                    let seen = format!("after {offset} bytes and {length} more it has {end}");
                    return Err(no_registry(self.doing, &answer.url, &seen));
                }
                self.meter.add(i64::try_from(end).unwrap_or(0) - i64::try_from(offset + length).unwrap_or(0));
                answer.drain();
                let next = Upload { location, offset: end };
                self.store.note_upload(&self.remote.name(), digest, &next)?;
                *upload = Some(next);
                Ok(Step::Further)
            }
            (404 | 416, _) => Ok(self.lost(upload, answer)),
            _ => Err(self.remote.refused(self.doing, answer)),
        }
    }

    /// The registry knows nothing of the upload any more, or has it elsewhere.
    fn lost(&self, upload: &mut Option<Upload>, answer: Answer) -> Step {
        if answer.status == 404
            && let Some(lost) = upload.take()
        {
            self.meter.add(-i64::try_from(lost.offset).unwrap_or(0));
        }
        Step::Failed(self.remote.refused(self.doing, answer), None)
    }
}

/// What became of a piece.
enum Step {
    Further,
    Finished,
    Failed(RegistryError, Option<std::time::Duration>),
}

/// The end of `0-1023`, with or without `bytes=`.
fn parse_range_end(text: &str) -> Option<u64> {
    text.trim_start_matches("bytes").trim_start_matches(['=', ' ']).split_once('-')?.1.trim().parse().ok()
}

pub(super) fn with_digest(location: &str, digest: &Digest) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest=sha256%3A{}", digest.hex())
}

impl Remote<'_> {
    pub(super) fn send(
        &self,
        doing: &str,
        method: &Method,
        url: &str,
        payload: &Payload<'_>,
    ) -> Result<Answer, RegistryError> {
        self.all.retrying(doing, &self.registry, || {
            self.try_send(doing, method.clone(), url.to_owned(), Vec::new(), payload)
        })
    }

    fn try_send(
        &self,
        doing: &str,
        method: Method,
        url: String,
        headers: Vec<(&'static str, String)>,
        payload: &Payload<'_>,
    ) -> Result<Tried<Answer>, RegistryError> {
        let scopes = self.scopes("pull,push");
        let payload = match payload {
            Payload::None => Payload::None,
            Payload::Bytes(bytes) => Payload::Bytes(bytes),
            Payload::Piece { path, offset, length, meter } => {
                Payload::Piece { path, offset: *offset, length: *length, meter }
            }
        };
        let small = !matches!(payload, Payload::Piece { .. });
        self.try_ask(&Ask { doing, method, url, headers, scopes: &scopes, payload, small })
    }

    /// Whether the repository has a blob.
    pub(super) fn has(&self, doing: &str, digest: &Digest) -> Result<bool, RegistryError> {
        if self.has_seen(digest) {
            return Ok(true);
        }
        let answer = self.send(doing, &Method::HEAD, &self.url(&format!("blobs/{digest}")), &Payload::None)?;
        match answer.status {
            200 => {
                self.saw(digest);
                Ok(true)
            }
            404 | 405 => Ok(false),
            _ => Err(self.refused(doing, answer)),
        }
    }

    /// Begins an upload; says where it goes.
    pub(super) fn begin(&self, doing: &str) -> Result<String, RegistryError> {
        let answer = self.send(doing, &Method::POST, &self.url("blobs/uploads/"), &Payload::Bytes(&[]))?;
        self.begun(doing, answer)
    }

    fn begun(&self, doing: &str, answer: Answer) -> Result<String, RegistryError> {
        if answer.status != 202 {
            return Err(self.refused(doing, answer));
        }
        if answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.parse::<u64>().ok())
            .is_some_and(|least| least > PIECE_BYTES)
        {
            let seen = format!(
                "it wants pieces longer than {PIECE_BYTES} bytes (up to {LONGEST_PIECE_BYTES} would be sensible)"
            );
            return Err(no_registry(doing, &answer.url, &seen));
        }
        let place = answer.location();
        place.ok_or_else(|| no_registry(doing, &answer.url, "an upload is accepted, and it does not say where to"))
    }

    /// Has a blob of another repository appear in this one; false where the registry does not do that.
    pub(super) fn mount(&self, doing: &str, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        let url = self.url(&format!("blobs/uploads/?mount=sha256%3A{}&from={from}", digest.hex()));
        let scopes = [self.scopes("pull,push"), vec![format!("repository:{from}:pull")]].concat();
        let ask = Ask {
            doing,
            method: Method::POST,
            url,
            headers: Vec::new(),
            scopes: &scopes,
            payload: Payload::Bytes(&[]),
            small: true,
        };
        let answer = match self.ask(&ask) {
            Ok(answer) => answer,
            // Who may write here need not be allowed to read there.
            Err(RegistryError::Denied { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match answer.status {
            201 => Ok(true),
            202 => {
                self.cancel(doing, answer);
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// An upload that was begun instead of a mount is of no use: the blob may not even be compressed.
    pub(super) fn cancel(&self, doing: &str, answer: Answer) {
        let location = answer.location();
        answer.drain();
        if let Some(location) = location
            && let Ok(Tried::Done(answer)) = self.try_send(doing, Method::DELETE, location, Vec::new(), &Payload::None)
        {
            answer.drain(); // else the registry removes it some day
        }
    }

    /// How far an upload is; nothing where the registry knows nothing of it any more.
    fn where_it_is(&self, doing: &str, location: &str, size_bytes: u64) -> Result<Option<Upload>, RegistryError> {
        let answer = self.send(doing, &Method::GET, location, &Payload::None)?;
        let next = answer.location().unwrap_or_else(|| location.to_owned());
        let end = answer.header("range").and_then(parse_range_end);
        let offset = match (answer.status, end) {
            // A registry that has nothing yet says `0-0`.
            (200 | 204, Some(0) | None) => 0,
            (200 | 204, Some(end)) => end + 1,
            _ => {
                answer.drain();
                return Ok(None);
            }
        };
        answer.drain();
        Ok((offset <= size_bytes).then_some(Upload { location: next, offset }))
    }

    /// The last answer of an upload.
    pub(super) fn accepted(&self, doing: &str, answer: Answer, digest: &Digest) -> Result<(), RegistryError> {
        if !matches!(answer.status, 200 | 201 | 204) {
            return Err(self.refused(doing, answer));
        }
        let said = answer.header("docker-content-digest").and_then(|said| said.parse::<Digest>().ok());
        let wrong = said.filter(|said| said != digest);
        answer.drain();
        wrong.map_or(Ok(()), |seen| Err(self.wrong_content(doing, "what was sent, in the words", digest, &seen)))
    }

    /// Puts a document under a tag or its digest; the image that the registry says it lists it for (`OCI-Subject`), where it does that.
    pub(super) fn put_manifest(
        &self,
        doing: &str,
        wanted: &str,
        kind: &str,
        document: &[u8],
        digest: Digest,
    ) -> Result<Option<Digest>, RegistryError> {
        let scopes = self.scopes("pull,push");
        let answer = self.ask(&Ask {
            doing,
            method: Method::PUT,
            url: self.url(&format!("manifests/{wanted}")),
            headers: vec![("content-type", kind.to_owned())],
            scopes: &scopes,
            payload: Payload::Bytes(document),
            small: true,
        })?;
        let subject = answer.header("oci-subject").and_then(|said| said.parse().ok());
        self.accepted(doing, answer, &digest)?;
        Ok(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses_of_uploads_are_read_and_written() {
        for (text, end) in
            [("0-1023", Some(1023)), ("bytes=0-9", Some(9)), ("bytes 0-9", Some(9)), ("9", None), ("a-b", None)]
        {
            assert_eq!(parse_range_end(text), end, "{text}");
        }
        let digest = Digest::of(b"");
        assert!(with_digest("/x", &digest).ends_with(&format!("/x?digest=sha256%3A{}", digest.hex())));
        assert!(with_digest("/x?state=1", &digest).starts_with("/x?state=1&digest=sha256%3Ae3b0"));
    }
}
