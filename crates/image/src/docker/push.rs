//! From the store to the daemon: only what the daemon lacks, and the names last.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::SendBody;

use crate::archive_write::SaveError;
use crate::digest::{DiffId, Digest};
use crate::docker::archive::{plain_manifest, write_docker, write_plain_oci};
use crate::docker::client::{Daemon, Inspected};
use crate::docker::error::DockerError;
use crate::docker::messages::{Outcome, read_messages};
use crate::image::Image;
use crate::reference::Reference;

/// How many of the daemon's images are looked at for common layers where the image's own names say nothing.
const MAX_LOOKED_AT: usize = 64;
/// The messages that accompany a load.
const MAX_MESSAGES_BYTES: u64 = 64 << 20;
/// What is written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// An image is in the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its identity there: the image's own, or with containerd's storage that of its manifest.
    pub id: String,
    /// Bytes that were sent; none where it was there already.
    pub sent_bytes: u64,
    /// Layers that were not sent, because the daemon has them.
    pub layers_there: usize,
    /// Layers that were sent.
    pub layers_sent: usize,
}

/// What is sent, and what is left out of it.
struct Parcel<'a> {
    image: &'a Image,
    there: BTreeSet<DiffId>,
    /// An OCI layout, and not a docker-archive.
    layout: bool,
}

impl Daemon {
    /// Brings an image into the daemon and gives it `names` there (those with a tag). `progress` hears how many bytes were sent.
    pub fn push(
        &self,
        image: &Image,
        names: &[Reference],
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Pushed, DockerError> {
        image.store().session()?.hold_image(image)?;
        let ids = [image.id().to_string(), Digest::of(&plain_manifest(image)?).to_string()];
        let layers = image.diff_ids().iter().collect::<BTreeSet<_>>().len();
        let wanted: Vec<&Reference> = names.iter().filter(|name| name.tag().is_some()).collect();
        let before = wanted.iter().map(|name| self.inspect(&name.to_string())).collect::<Result<Vec<_>, _>>()?;
        let before: Vec<Inspected> = before.into_iter().flatten().collect();
        if let Some(id) = self.name_what_is_there(&ids, &wanted, &before)? {
            return Ok(Pushed { id, sent_bytes: 0, layers_there: layers, layers_sent: 0 });
        }
        let layout = self.takes_layouts()?;
        let there = self.layers_there(image, &before, layout)?;
        let mut parcel = Parcel { image, there, layout };
        let (outcome, sent_bytes) = match self.send(&parcel, progress) {
            // What the daemon knew it need not have any more; with containerd a layer may be there only as it was compressed elsewhere.
            Ok((outcome, first_bytes)) if outcome.error.is_some() && !parcel.there.is_empty() => {
                parcel.there.clear();
                let (outcome, bytes) = self.send(&parcel, progress)?;
                (outcome, first_bytes + bytes)
            }
            other => other?,
        };
        let doing = "sending an image to the docker daemon";
        if let Some(message) = outcome.error {
            return Err(DockerError::Refused { doing: doing.to_owned(), message });
        }
        let Some(id) = self.loaded(&ids, outcome.id.as_ref())? else {
            return Err(self.no_docker(doing, "it took the image without a complaint and does not have it".to_owned()));
        };
        for name in wanted {
            self.tag(&id, name)?;
        }
        let layers_there = parcel.there.len();
        Ok(Pushed { id, sent_bytes, layers_there, layers_sent: layers.saturating_sub(layers_there) })
    }

    /// The identity of the image where the daemon has it, under all its names now.
    fn name_what_is_there(
        &self,
        ids: &[String; 2],
        wanted: &[&Reference],
        before: &[Inspected],
    ) -> Result<Option<String>, DockerError> {
        // With containerd an image without a name may be the rest of a load that failed: whole ones were named.
        let is_it = |image: &Inspected| ids.contains(&image.id) && (image.id == ids[0] || image.is_named());
        let mut found = before.iter().find(|image| is_it(image)).cloned();
        for id in ids {
            if found.is_none() {
                found = self.inspect(id)?.filter(is_it);
            }
        }
        let Some(found) = found else { return Ok(None) };
        for name in wanted.iter().filter(|name| !found.has_name(name)) {
            self.tag(&found.id, name)?;
        }
        Ok(Some(found.id))
    }

    /// The layers that need not be sent.
    fn layers_there(&self, image: &Image, before: &[Inspected], layout: bool) -> Result<BTreeSet<DiffId>, DockerError> {
        let mut best = BTreeSet::new();
        for found in before {
            best = larger(best, common(image, &found.diff_ids(), layout));
        }
        if best.is_empty() {
            for id in self.list()?.into_iter().take(MAX_LOOKED_AT) {
                if let Some(found) = self.inspect(&id)? {
                    best = larger(best, common(image, &found.diff_ids(), layout));
                }
            }
        }
        Ok(best)
    }

    fn send(&self, parcel: &Parcel<'_>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<(Outcome, u64), DockerError> {
        let doing = "sending an image to the docker daemon";
        let pipe = |source| DockerError::Broken { doing: doing.to_owned(), source };
        let (reader, writer) = io::pipe().map_err(pipe)?;
        let whole = AtomicBool::new(false);
        let mut body = Watched { daemon: self, inner: reader, whole: &whole, sent_bytes: 0, progress };
        let (answer, written) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut out = BufWriter::with_capacity(BUFFER_BYTES, writer);
                let write = if parcel.layout { write_plain_oci } else { write_docker };
                let written = write(parcel.image, &parcel.there, &mut out);
                whole.store(written.is_ok(), Ordering::Release);
                written
            });
            let request = self.agent().post("http://docker/images/load").content_type("application/x-tar").config();
            let request =
                request.timeout_recv_response(Some(self.times().load)).timeout_recv_body(Some(self.times().load));
            let answer = request.build().send(SendBody::from_reader(&mut body));
            let sent_bytes = body.sent_bytes;
            drop(body); // a writer that nobody reads from any more ends
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (answer.map(|answer| (answer, sent_bytes)), written)
        });
        // A layer that cannot be read is the reason for everything else; a pipe that the daemon left is not.
        match written {
            Err(SaveError::Store(error)) if !is_broken_pipe(&error) => return Err(SaveError::Store(error).into()),
            _ => {}
        }
        let (answer, sent_bytes) = answer.map_err(|error| self.failed(doing, error))?;
        let answer = match self.accepted(doing, answer) {
            Err(DockerError::Refused { message, .. }) => {
                return Ok((Outcome { error: Some(message), ..Outcome::default() }, sent_bytes));
            }
            other => other?,
        };
        let reader = answer.into_body().into_with_config().limit(MAX_MESSAGES_BYTES).reader();
        let outcome = read_messages(reader).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.no_docker(doing, error.to_string()),
            _ => self.broken(doing, error),
        })?;
        Ok((outcome, sent_bytes))
    }

    /// Looks for what was loaded: a daemon that says nothing of an error may still not have it.
    fn loaded(&self, ids: &[String; 2], said: Option<&String>) -> Result<Option<String>, DockerError> {
        for id in said.into_iter().chain(ids) {
            if let Some(found) = self.inspect(id)? {
                return Ok(Some(found.id));
            }
        }
        Ok(None)
    }
}

fn is_broken_pipe(error: &crate::error::StoreError) -> bool {
    matches!(error, crate::error::StoreError::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

fn larger(one: BTreeSet<DiffId>, other: BTreeSet<DiffId>) -> BTreeSet<DiffId> {
    if other.len() > one.len() { other } else { one }
}

/// What of `image` a daemon has that has an image of these layers.
fn common(image: &Image, there: &[DiffId], layout: bool) -> BTreeSet<DiffId> {
    let wanted = image.diff_ids();
    if layout {
        return wanted.iter().filter(|diff_id| there.contains(diff_id)).copied().collect();
    }
    let same = wanted.iter().zip(there).take_while(|(one, other)| one == other).count();
    // A layer that occurs once more further up is another one for docker: what lies below it counts.
    wanted[..same].iter().filter(|diff_id| !wanted[same..].contains(diff_id)).copied().collect()
}

/// The reading end: an archive that broke off must not look like one that ended.
struct Watched<'a> {
    daemon: &'a Daemon,
    inner: io::PipeReader,
    whole: &'a AtomicBool,
    sent_bytes: u64,
    progress: &'a mut (dyn FnMut(u64) + Send),
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.daemon.check_stop()?;
        let count = self.inner.read(buffer)?;
        if count == 0 && !self.whole.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive could not be written to its end"));
        }
        self.sent_bytes += count as u64;
        (self.progress)(self.sent_bytes);
        Ok(count)
    }
}
