//! Whether an image is what its source makes: it is built again, from nothing that earlier builds left, and compared.

use hoist_image::{Difference, Image};
use hoist_lifecycle::{CACHE_RECORD_KIND, Foundation};
use serde::Serialize;

use crate::build::{BuiltService, FOREIGN_CODE_RECORD, Purpose, record_key};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::BuildRequest;

/// What came of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Rebuilt {
    /// The id of the image that was made.
    pub image_id: String,
    /// The first thing in which it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// Whether that is below the app: the image stands on another run image.
    pub is_of_the_run_image: bool,
}

impl LocalEngine {
    /// Builds what `request` says and compares it with `image`. Packages come from the caches of downloads, layers from nowhere; nothing of it stays.
    pub fn rebuild(&self, image: &Image, request: &BuildRequest) -> Result<Rebuilt, PlatformError> {
        let made = self.build_apart(request)?.image;
        let difference = image.difference(&made)?;
        let is_of_the_run_image = difference.as_ref().is_some_and(|difference| is_below(image, difference));
        if made.id() != image.id() {
            self.store().remove_unnamed(made.id())?;
        }
        let difference = difference.map(|difference| difference.to_string());
        Ok(Rebuilt { image_id: made.id().to_string(), difference, is_of_the_run_image })
    }
}

impl LocalEngine {
    /// Builds what `request` says, from nothing that earlier builds left. The image has no name, and no build goes on from it.
    pub(crate) fn build_apart(&self, request: &BuildRequest) -> Result<BuiltService, PlatformError> {
        let name = format!("hoist/rebuilt-{}", std::process::id());
        let request =
            BuildRequest { names: vec![name.parse()?], clear_cache: true, import_check: false, ..request.clone() };
        let built = self.build_for(Purpose::Comparison, &request);
        let key = record_key(&request.names[0]);
        for kind in [CACHE_RECORD_KIND, FOREIGN_CODE_RECORD] {
            self.store().remove_record(kind, &key)?;
        }
        built
    }
}

fn is_below(image: &Image, difference: &Difference) -> bool {
    let foundation = Foundation::of(image, "the image").ok();
    difference.layer.zip(foundation).is_some_and(|(layer, foundation)| layer <= foundation.layers)
}
