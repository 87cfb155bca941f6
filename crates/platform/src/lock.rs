//! `hoist check --lock`: resolves as a build does, in the same sandbox with the same interpreter, and takes the lock that the buildpacks write. No
//! image is made, nothing of earlier builds is used, and nothing stays but what all builds share.

use std::path::Path;

use fs_err as fs;
use hoist_lifecycle::{AnalyzeRequest, Buildpacks, analyze, build, detect, restore};

use crate::build::Purpose;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::BuildRequest;

/// Tells buildpacks that the lock is wanted.
const VARIABLE: &str = "HOIST_LOCK";
/// Where a buildpack puts it: a layer, and the file in there.
const LAYER: &str = "lock/pylock.toml";
/// A lock of ten thousand packages has about 10 MB.
const MAX_BYTES: u64 = 64 << 20;

impl LocalEngine {
    /// What a build of this request would install today, as the text of a `pylock.toml`.
    pub fn lock(&self, request: &BuildRequest) -> Result<String, PlatformError> {
        let mut request = self.with_project(request)?;
        request.env.push((VARIABLE.to_owned(), "1".to_owned()));
        let prepared = self.prepare(Purpose::Image, &request)?;
        let builder = &prepared.builder;
        let root = self.build_root(builder, &prepared.places)?;
        let runner = self.sandbox_runner(&request, &prepared, &root, false)?;
        let setup = self.setup(&request, &prepared, &runner, root)?;
        let start = AnalyzeRequest {
            previous: None,
            cache_key: None,
            portable_cache: None,
            launch_cache: None,
            ..self.start(&request, &prepared)?
        };
        let analyzed = analyze(&setup, start)?;
        let buildpacks = Buildpacks::read(&builder.lower_dirs()?, &setup.directories.buildpacks_dir)?;
        let detected = detect(&setup, analyzed, &builder.order.order, &buildpacks);
        let restored = restore(&setup, detected.map_err(|error| self.unless_cancelled(error))?)?;
        build(&setup, restored).map_err(|error| self.unless_cancelled(error))?;
        find(&prepared.places.upper_dir.join("layers"))?.ok_or(PlatformError::NoLock)
    }
}

/// The lock in the folders of the buildpacks. They belong to whoever built: no link is followed.
fn find(layers_dir: &Path) -> Result<Option<String>, PlatformError> {
    let failed = |source| PlatformError::scratch("read the lock that was made", source);
    for entry in fs::read_dir(layers_dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path().join(LAYER);
        let is_plain = |path: &Path| fs::symlink_metadata(path).is_ok_and(|about| !about.is_symlink());
        let about = fs::symlink_metadata(&path);
        if about.is_ok_and(|about| about.is_file() && about.len() <= MAX_BYTES)
            && path.ancestors().skip(1).take(2).all(is_plain)
        {
            return fs::read_to_string(&path).map(Some).map_err(failed);
        }
    }
    Ok(None)
}
