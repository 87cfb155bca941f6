//! The environment of the process: buildpack.md, "Environment", for launch.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use hoist_spec::{Environment, LAUNCH_PATHS, LAUNCH_REMOVED, Operation, parse_environment_dir};

use crate::error::LaunchError;
use crate::layers::entries;

/// The container's environment without what is the launcher's own business.
pub(crate) fn initial(mut variables: Environment) -> Environment {
    for name in LAUNCH_REMOVED {
        variables.remove(name);
    }
    if let Some(path) = variables.get("PATH").map(OsStr::to_owned) {
        let own = [Path::new("/cnb/process"), Path::new("/cnb/lifecycle")];
        let others = std::env::split_paths(&path).filter(|dir| !own.contains(&dir.as_path()));
        if let Ok(path) = std::env::join_paths(others) {
            variables.set("PATH", path);
        }
    }
    variables
}

/// What the launch layers say: for each buildpack first the folders of all its layers, then their environment directories.
pub(crate) fn add_layers(
    variables: &mut Environment,
    buildpacks: &[Vec<PathBuf>],
    kind: Option<&str>,
) -> Result<(), LaunchError> {
    for layers in buildpacks {
        for layer in layers {
            variables.add_layer_paths(layer, LAUNCH_PATHS, &|folder| layer.join(folder).exists());
        }
        for layer in layers {
            let launch = layer.join("env.launch");
            let of_process = kind.map(|kind| launch.join(kind));
            for dir in [Some(layer.join("env")), Some(launch), of_process].into_iter().flatten() {
                for modification in parse_environment_dir(&read_dir(&dir)?, Operation::Override) {
                    variables.apply(&modification);
                }
            }
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the path is in the error; fs_err would be one more dependency")]
fn read_dir(dir: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, LaunchError> {
    let mut files = BTreeMap::new();
    for path in entries(dir, false)? {
        let value = std::fs::read(&path).map_err(|source| LaunchError::Read { path: path.clone(), source })?;
        files.insert(path.file_name().unwrap_or_default().to_owned(), value);
    }
    Ok(files)
}
