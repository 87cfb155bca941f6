//! From the daemon to the store, as any other stranger's archive.

use std::io;

use crate::docker::client::Daemon;
use crate::docker::error::DockerError;
use crate::image::Image;
use crate::load::{LoadError, LoadLimits};
use crate::reference::Reference;
use crate::store::Store;

/// An image came from a daemon.
#[derive(Debug)]
pub struct Pulled {
    /// The image, in the store.
    pub image: Image,
    /// Whether it was in the store already, so that nothing was sent.
    pub was_there: bool,
}

impl Daemon {
    /// Brings the daemon's image `wanted` (a name or an id) into the store and gives it `names` there.
    pub fn pull(
        &self,
        store: &Store,
        wanted: &str,
        names: &[Reference],
        limits: LoadLimits,
    ) -> Result<Pulled, DockerError> {
        let doing = format!("fetching `{wanted}` from the docker daemon");
        let no_image = || DockerError::NoImage { doing: doing.clone(), name: wanted.to_owned() };
        let found = self.inspect(wanted)?.ok_or_else(no_image)?;
        if let Some(image) = in_store(store, &found.id)? {
            let image = store.put_image_bytes(image.config_bytes().to_vec(), names)?;
            return Ok(Pulled { image, was_there: true });
        }
        // By the name: a daemon that keeps blobs packs the right platform's image then.
        let request = self.agent().get(format!("http://docker/images/{wanted}/get")).config();
        let request = request.timeout_recv_response(Some(self.times().load)).build();
        let answer = request.call().map_err(|error| self.failed(&doing, error))?;
        if answer.status().as_u16() == 404 {
            self.message(&doing, answer)?;
            return Err(no_image());
        }
        let answer = self.accepted(&doing, answer)?;
        let mut reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        let image = store.load_as(&mut reader, names, limits).map_err(|error| match error {
            LoadError::Read { source, .. } if is_of_the_connection(&source) => self.broken(&doing, source),
            other => DockerError::Load(other),
        })?;
        Ok(Pulled { image, was_there: false })
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    inner.is_some() || matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Docker's own storage calls an image by the digest of its configuration, as the store does.
fn in_store(store: &Store, id: &str) -> Result<Option<Image>, DockerError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    if !store.image_ids()?.contains(&id) {
        return Ok(None);
    }
    let image = store.image_by_id(&id)?;
    Ok(image.has_its_layers()?.then_some(image))
}
