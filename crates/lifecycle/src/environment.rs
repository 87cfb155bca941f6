//! The environment of a buildpack's process: buildpack.md, "Environment".

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use hoist_spec::{
    BUILD_PASSED, BUILD_PATHS, BuildpackDescriptor, Environment, ImageTarget, Operation, parse_environment_dir,
};

use crate::setup::Setup;
use crate::tree::{Node, Tree, TreeError, read_regular};

/// Larger than any sensible variable (the kernel takes 128 KiB).
const MAX_VARIABLE_BYTES: u64 = 128 << 10;
/// More files than any sensible environment directory.
const MAX_VARIABLES: usize = 4096;

/// What the lifecycle's own environment lets through to buildpacks.
pub(crate) fn initial(setup: &Setup<'_>) -> Environment {
    let paths = || BUILD_PATHS.iter().flat_map(|(_, variables)| variables.iter());
    let passed = setup
        .environment
        .iter()
        .filter(|(name, _)| BUILD_PASSED.iter().chain(paths()).any(|allowed| name == OsStr::new(allowed)));
    Environment::from_variables(passed.cloned())
}

/// The environment of one process: what layers made of it, the user's variables (unless the buildpack wants none), the operator's, and
/// what the specification says about the call.
pub(crate) fn for_buildpack(
    setup: &Setup<'_>,
    from_layers: &Environment,
    descriptor: &BuildpackDescriptor,
    target: &ImageTarget,
    call: &[(&str, &Path)],
) -> Result<Environment, TreeError> {
    let mut environment = from_layers.clone();
    if !descriptor.buildpack.clear_env {
        for (name, value) in &setup.platform_env {
            environment.set_from_platform(name, std::os::unix::ffi::OsStrExt::from_bytes(value.as_slice()));
        }
    }
    let operator = Tree::new(setup.root.lower_dirs.clone());
    let files = read_dir(&operator, &setup.directories.build_config_dir.join("env"))?;
    for modification in parse_environment_dir(&files, Operation::Default) {
        environment.apply(&modification);
    }
    for (name, path) in call {
        environment.set(*name, path.as_os_str());
    }
    if descriptor.api.at_least(10) {
        for (name, value) in target.variables() {
            environment.set(name, value);
        }
    }
    if descriptor.api.at_least(12) && !setup.exec_env.is_empty() {
        environment.set("CNB_EXEC_ENV", &setup.exec_env);
    }
    Ok(environment)
}

/// The files of an environment directory by name; directories in it are skipped.
pub(crate) fn read_dir(tree: &Tree, dir: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, TreeError> {
    let mut files = BTreeMap::new();
    for (name, node) in tree.list(dir)?.into_iter().take(MAX_VARIABLES) {
        if let Node::Other(path) = node {
            files.insert(name.clone(), read_regular(&path, &dir.join(&name), MAX_VARIABLE_BYTES)?);
        }
    }
    Ok(files)
}

/// What a layer with `build = true` does to the environment of later buildpacks.
pub(crate) fn add_build_layer(environment: &mut Environment, tree: &Tree, layer_dir: &Path) -> Result<(), TreeError> {
    let mut present = Vec::new();
    for (folder, _) in BUILD_PATHS {
        if tree.find(&layer_dir.join(folder))?.is_some() {
            present.push(*folder);
        }
    }
    environment.add_layer_paths(layer_dir, BUILD_PATHS, &|folder| present.contains(&folder));
    for dir in ["env", "env.build"] {
        for modification in parse_environment_dir(&read_dir(tree, &layer_dir.join(dir))?, Operation::Override) {
            environment.apply(&modification);
        }
    }
    Ok(())
}
