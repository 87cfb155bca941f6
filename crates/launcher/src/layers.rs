//! The launch layers of the image, in the order of the specification, and the files in their directories.

use std::path::{Path, PathBuf};

use hoist_spec::{BuildMetadata, escape_id};

use crate::error::LaunchError;

/// The layers' directories: buildpacks "in order of `/bin/build` execution", layers of each by name.
pub(crate) fn find(layers_dir: &Path, metadata: &BuildMetadata) -> Result<Vec<Vec<PathBuf>>, LaunchError> {
    let dirs = metadata.buildpacks.iter().map(|buildpack| layers_dir.join(escape_id(&buildpack.id)));
    dirs.map(|dir| entries(&dir, true)).collect()
}

/// Files (or directories) directly in a directory, by name; none where there is no such directory. Links are followed, as they are the
/// buildpack's own.
pub(crate) fn entries(dir: &Path, directories: bool) -> Result<Vec<PathBuf>, LaunchError> {
    let failed = |source| LaunchError::Read { path: dir.to_owned(), source };
    let listed = match dir.read_dir() {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() == directories {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A directory of all layers, and after that its part for this process type, of all layers once more.
pub(crate) fn in_rounds(buildpacks: &[Vec<PathBuf>], name: &str, kind: Option<&str>) -> Vec<PathBuf> {
    let dirs: Vec<PathBuf> = buildpacks.iter().flatten().map(|layer| layer.join(name)).collect();
    let of_process: Vec<PathBuf> = kind.map_or_else(Vec::new, |kind| dirs.iter().map(|dir| dir.join(kind)).collect());
    dirs.into_iter().chain(of_process).collect()
}
