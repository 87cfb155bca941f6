//! What this machine remembers of a build for the provenance of its image: what the image's own labels do not say. A small record in the store, under the
//! image's id; it goes with the image. Values of variables are not in it, nor paths of this machine.

use hoist_image::{Image, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::build::Prepared;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{BuildNetwork, BuildRequest};

const RECORD: &str = "provenance";

/// An image that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotedImage {
    pub(crate) name: String,
    /// Of its configuration.
    pub(crate) id: String,
}

/// What a build was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildNote {
    /// The version of hoist that built.
    pub(crate) hoist: String,
    /// Digest of the staged app.
    pub(crate) source: String,
    pub(crate) build_image: NotedImage,
    /// Names of the variables for buildpacks, sorted.
    pub(crate) env: Vec<String>,
    /// Where in the build folders of the host were seen.
    pub(crate) volumes: Vec<String>,
    pub(crate) network: String,
    pub(crate) exec_env: String,
    pub(crate) process: Option<String>,
    pub(crate) created: Option<i64>,
    /// The id of the image that was put on another run image, where that happened.
    pub(crate) rebased_from: Option<String>,
}

impl BuildNote {
    pub(crate) fn of(request: &BuildRequest, prepared: &Prepared) -> Self {
        let (staged, builder) = (prepared.staged(), &prepared.builder);
        let mut env: Vec<String> = request.env.iter().map(|(name, _)| name.clone()).collect();
        env.sort();
        env.dedup();
        let name =
            request.builder.as_ref().map_or_else(|| crate::builder::BUILDER_NAME.to_owned(), ToString::to_string);
        Self {
            hoist: env!("CARGO_PKG_VERSION").to_owned(),
            source: staged.fingerprint.clone(),
            build_image: NotedImage { name, id: builder.image.id().to_string() },
            env,
            volumes: request.volumes.iter().map(|volume| volume.target.display().to_string()).collect(),
            network: match request.network {
                BuildNetwork::Host => "host",
                BuildNetwork::None => "none",
            }
            .to_owned(),
            exec_env: request.exec_env.clone(),
            process: request.default_process.clone(),
            created: request.created,
            rebased_from: None,
        }
    }

    /// What is remembered of an image.
    pub(crate) fn read(store: &Store, image: &Image) -> Result<Option<Self>, StoreError> {
        store.record(RECORD, &image.id().to_string())
    }

    pub(crate) fn write(&self, store: &Store, image: &Image) -> Result<(), StoreError> {
        store.put_record(RECORD, &image.id().to_string(), self, &[])
    }
}

impl LocalEngine {
    /// What is remembered of an image holds for it on another run image, too.
    pub(crate) fn note_rebase(&self, from: &Image, to: &Image) -> Result<(), PlatformError> {
        let Some(note) = BuildNote::read(self.store(), from)? else { return Ok(()) };
        let note = BuildNote { rebased_from: Some(from.id().to_string()), ..note };
        Ok(note.write(self.store(), to)?)
    }

    /// Removes what was noted of images that are no longer in the store.
    pub(crate) fn forget_gone_builds(&self) -> Result<(), PlatformError> {
        for record in self.store().records(RECORD)? {
            if self.store().image(&record.key).is_err() {
                self.store().remove_record(RECORD, &record.key)?;
            }
        }
        Ok(())
    }
}
