//! Makes the two images of a base from fetched packages.
//!
//! The run image is one layer. The build image is that layer and one more, with the further packages and the files in which both
//! differ (accounts, the loader's cache, dpkg's status).

use std::path::PathBuf;

use hoist_debian::LockedPackage;
use hoist_image::{Image, Store};

use crate::accounts::Masters;
use crate::dpkg::Status;
use crate::error::BaseError;
use crate::images::{Distribution, Role, put};
use crate::lock::BaseLock;
use crate::stage::stage;
use crate::tree::Tree;
use crate::{BUILD_UID, RUN_UID, certificates, skeleton};

/// The names of the run image's packages, one in a line: what a buildpack may count on when the app runs.
const RUN_PACKAGES: &str = "usr/share/hoist/run-packages";

/// The run image and the build image.
pub(crate) struct Made {
    pub(crate) run: Image,
    pub(crate) build: Image,
}

/// Unpacks the files of `debs` (those of the run image first, each with its place in the cache) and puts both images into the store.
pub(crate) fn make(store: &Store, lock: &BaseLock, debs: &[(LockedPackage, PathBuf)]) -> Result<Made, BaseError> {
    let scratch = store.scratch("base").map_err(|source| BaseError::Store { source })?;
    let (mut run, mut build, mut status) = (Tree::default(), Tree::default(), Status::default());
    let mut run_status = None;
    let mut taken = 0;
    stage(debs, scratch.path(), &mut |package, staged| {
        if taken == lock.run.len() {
            run_status = Some(status.clone());
        }
        let tree = if taken < lock.run.len() { &mut run } else { &mut build };
        status.add(package, &staged, tree)?;
        tree.libraries.extend(staged.libraries);
        for (path, node) in staged.nodes {
            tree.put(path, node);
        }
        taken += 1;
        Ok(())
    })?;

    let os_release = run.read("usr/lib/os-release").unwrap_or_default();
    let distribution = Distribution::parse(&String::from_utf8_lossy(&os_release), &lock.suite);
    let masters = Masters::of(&run);
    let mut libraries = skeleton::Loadable::default();
    skeleton::write(&mut run);
    skeleton::write_alternatives(&mut run);
    certificates::write(&mut run);
    masters.write(&mut run, RUN_UID);
    let names: Vec<&str> = lock.run.iter().map(|package| package.name.as_str()).collect();
    run.file(RUN_PACKAGES, names.join("\n") + "\n");
    run_status.as_ref().unwrap_or(&status).write(&mut run);
    libraries.add(&run);
    libraries.write(&mut run, &lock.architecture);

    skeleton::write_alternatives(&mut build);
    masters.write(&mut build, BUILD_UID);
    status.write(&mut build);
    libraries.add(&build);
    libraries.write(&mut build, &lock.architecture);

    let (run_layer, build_layer) = std::thread::scope(|scope| {
        let other = scope.spawn(|| build.into_layer(store));
        let run_layer = run.into_layer(store);
        match other.join() {
            Ok(build_layer) => (run_layer, build_layer),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    let (run_layer, build_layer) = (run_layer?, build_layer?);
    let run = put(store, Role::Run, &[&run_layer], lock, &distribution)?;
    let build = put(store, Role::Build, &[&run_layer, &build_layer], lock, &distribution)?;
    Ok(Made { run, build })
}
