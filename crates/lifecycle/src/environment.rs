//! The environment of a buildpack's process: buildpack.md, "Environment".

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::OnceLock;

use hoist_spec::{
    BUILD_PASSED, BUILD_PATHS, BuildpackDescriptor, Environment, ImageTarget, Modification, Operation,
    parse_environment_dir,
};

use crate::setup::Site;
use crate::tree::{Node, Tree, TreeError, read_regular};

/// Larger than any sensible variable (the kernel takes 128 KiB).
const MAX_VARIABLE_BYTES: u64 = 128 << 10;
/// More files than any sensible environment directory.
const MAX_VARIABLES: usize = 4096;

/// What the lifecycle's own environment lets through to buildpacks.
pub(crate) fn initial(site: &Site<'_>) -> Environment {
    let paths = || BUILD_PATHS.iter().flat_map(|(_, variables)| variables.iter());
    let passed = site
        .environment
        .iter()
        .filter(|(name, _)| BUILD_PASSED.iter().chain(paths()).any(|allowed| name == OsStr::new(allowed)));
    Environment::from_variables(passed.cloned())
}

/// The operator's variables, `/cnb/build-config/env`: the same for each call of a phase, and read for the first one, so that no buildpack changes
/// what those after it are told.
#[derive(Debug, Default)]
pub(crate) struct Operator(OnceLock<Vec<Modification>>);

impl Operator {
    fn modifications(&self, site: &Site<'_>) -> Result<&[Modification], TreeError> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let tree = Tree::new(site.root.lower_dirs.clone());
        let dir = site.directories.build_config_dir.join("env");
        let files = read_files(tree.list(&dir)?, &tree, &dir)?;
        Ok(self.0.get_or_init(|| parse_environment_dir(&files, Operation::Default)))
    }
}

/// What of a buildpack decides the environment of its process, besides what the specification says about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Whether it gets the user's variables.
    user: bool,
    /// What its API has it told.
    pub(crate) told: Told,
}

/// Each has what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    Nothing,
    /// Its directories, since 0.8.
    Directories,
    /// What it builds for, since 0.10.
    Target,
    /// Where the app will run, since 0.12.
    ExecEnv,
}

impl Wishes {
    pub(crate) fn of(descriptor: &BuildpackDescriptor) -> Self {
        let since = [(12, Told::ExecEnv), (10, Told::Target), (8, Told::Directories)];
        let told = since.into_iter().find(|(minor, _)| descriptor.api.at_least(*minor));
        Self { user: !descriptor.buildpack.clear_env, told: told.map_or(Told::Nothing, |(_, told)| told) }
    }
}

/// The environment of one process: what layers made of it, the user's variables (unless the buildpack wants none), the operator's, and
/// what the specification says about the call.
pub(crate) fn for_buildpack(
    site: &Site<'_>,
    operator: &Operator,
    from_layers: &Environment,
    descriptor: &BuildpackDescriptor,
    target: &ImageTarget,
    call: &[(&str, &Path)],
) -> Result<Environment, TreeError> {
    let mut environment = from_layers.clone();
    let wishes = Wishes::of(descriptor);
    if wishes.user {
        for (name, value) in &site.platform_env {
            environment.set_from_platform(name, std::os::unix::ffi::OsStrExt::from_bytes(value.as_slice()));
        }
    }
    for modification in operator.modifications(site)? {
        environment.apply(modification);
    }
    for (name, path) in call {
        environment.set(*name, path.as_os_str());
    }
    if wishes.told >= Told::Target {
        for (name, value) in target.variables() {
            environment.set(name, value);
        }
    }
    if wishes.told >= Told::ExecEnv && !site.exec_env.is_empty() {
        environment.set("CNB_EXEC_ENV", &site.exec_env);
    }
    Ok(environment)
}

/// The files of an environment directory by name; directories in it are skipped. A link is followed in the whole root file system, as the
/// launcher does in the container.
fn read_files(
    nodes: BTreeMap<OsString, Node>,
    whole: &Tree,
    dir: &Path,
) -> Result<BTreeMap<OsString, Vec<u8>>, TreeError> {
    let mut files = BTreeMap::new();
    for (name, node) in nodes.into_iter().take(MAX_VARIABLES) {
        let inside = dir.join(&name);
        let content = match node {
            Node::Directory(_) => None,
            Node::Other(host) if host.is_symlink() => match whole.resolve(&inside)? {
                Some(target) if !whole.is_dir(&target)? => whole.read(&target, MAX_VARIABLE_BYTES)?,
                _ => None,
            },
            Node::Other(host) => Some(read_regular(&host, &inside, MAX_VARIABLE_BYTES)?),
        };
        files.extend(content.map(|content| (name, content)));
    }
    Ok(files)
}

/// What a layer with `build = true` does to the environment of later buildpacks. `tree` has the layer, `whole` also everything else.
pub(crate) fn add_build_layer(
    environment: &mut Environment,
    tree: &Tree,
    whole: &Tree,
    layer_dir: &Path,
) -> Result<(), TreeError> {
    // A split layer is many directories: the way to it is gone once.
    let Some(Node::Directory(dirs)) = tree.find(layer_dir)? else { return Ok(()) };
    let layer = Tree::new(dirs);
    let mut present = Vec::new();
    for (folder, _) in BUILD_PATHS {
        if layer.find(Path::new(folder))?.is_some() {
            present.push(*folder);
        }
    }
    environment.add_layer_paths(layer_dir, BUILD_PATHS, &|folder| present.contains(&folder));
    for dir in ["env", "env.build"] {
        let files = read_files(layer.list(Path::new(dir))?, whole, &layer_dir.join(dir))?;
        for modification in parse_environment_dir(&files, Operation::Override) {
            environment.apply(&modification);
        }
    }
    Ok(())
}
