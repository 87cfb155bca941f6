//! Makes the two images of a base while its packages come in.
//!
//! The run image is one layer. The build image is that layer and one more, with the further packages and the files in which both
//! differ (accounts, the loader's cache, dpkg's status). The run image's packages come first, and its layer is made while the others are
//! still on their way; neither gets a place in the store before both are whole.

use hoist_debian::LockedPackage;
use hoist_image::{Image, Store};

use crate::accounts::Masters;
use crate::dpkg::Status;
use crate::error::BaseError;
use crate::images::{Distribution, Role, put};
use crate::lock::BaseLock;
use crate::skeleton::Loadable;
use crate::stage::{Fetch, IsStopped, Staged, stage};
use crate::tree::Tree;
use crate::{BUILD_UID, RUN_UID, certificates, skeleton};

/// The names of the run image's packages, one in a line: what a buildpack may count on when the app runs.
const RUN_PACKAGES: &str = "usr/share/hoist/run-packages";

/// The run image and the build image.
pub(crate) struct Made {
    pub(crate) run: Image,
    pub(crate) build: Image,
}

/// Fetches the packages of a lock (`fetch` knows them in the lock's order, those of the run image first) and puts both images into the
/// store.
pub(crate) fn make(
    store: &Store,
    lock: &BaseLock,
    fetch: Fetch<'_>,
    is_stopped: IsStopped<'_>,
) -> Result<Made, BaseError> {
    let scratch = store.scratch("base").map_err(|source| BaseError::Store { source })?;
    let packages: Vec<&LockedPackage> = lock.packages().collect();
    let mut assembly = Assembly::new(lock);
    let (run_layer, build_layer) = std::thread::scope(|scope| {
        let mut run_layer = None;
        stage(&packages, fetch, is_stopped, scratch.path(), &mut |package, staged| {
            if let Some(run) = assembly.take(package, staged)? {
                run_layer = Some(scope.spawn(move || run.seal(store)));
            }
            Ok(())
        })?;
        let build_layer = assembly.build_tree().seal(store)?;
        let run_layer = match run_layer {
            Some(sealing) => sealing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            None => assembly.run_tree().seal(store)?,
        };
        Ok::<_, BaseError>((run_layer, build_layer))
    })?;
    if is_stopped() {
        return Err(BaseError::Stopped);
    }
    let fail = |source| BaseError::Layer { source };
    let (run_layer, build_layer) = (run_layer.publish().map_err(fail)?, build_layer.publish().map_err(fail)?);
    let run = put(store, Role::Run, &[&run_layer], lock, &assembly.distribution)?;
    let build = put(store, Role::Build, &[&run_layer, &build_layer], lock, &assembly.distribution)?;
    Ok(Made { run, build })
}

/// The trees of both layers as packages come in.
struct Assembly<'a> {
    lock: &'a BaseLock,
    taken: usize,
    run: Tree,
    build: Tree,
    status: Status,
    libraries: Loadable,
    masters: Masters,
    distribution: Distribution,
}

impl<'a> Assembly<'a> {
    fn new(lock: &'a BaseLock) -> Self {
        Self {
            lock,
            taken: 0,
            run: Tree::default(),
            build: Tree::default(),
            status: Status::default(),
            libraries: Loadable::default(),
            masters: Masters::of(&Tree::default()),
            distribution: Distribution::parse("", &lock.suite),
        }
    }

    /// Takes the next package. With the last one of the run image, that image's tree is whole.
    fn take(&mut self, package: &LockedPackage, staged: Staged) -> Result<Option<Tree>, BaseError> {
        let tree = if self.taken < self.lock.run.len() { &mut self.run } else { &mut self.build };
        self.status.add(package, &staged, tree)?;
        tree.libraries.extend(staged.libraries);
        for (path, node) in staged.nodes {
            tree.put(path, node);
        }
        self.taken += 1;
        Ok((self.taken == self.lock.run.len()).then(|| self.run_tree()))
    }

    fn run_tree(&mut self) -> Tree {
        let mut run = std::mem::take(&mut self.run);
        let os_release = run.read("usr/lib/os-release").unwrap_or_default();
        self.distribution = Distribution::parse(&String::from_utf8_lossy(&os_release), &self.lock.suite);
        self.masters = Masters::of(&run);
        skeleton::write(&mut run);
        skeleton::write_alternatives(&mut run);
        certificates::write(&mut run);
        self.masters.write(&mut run, RUN_UID);
        let names: Vec<&str> = self.lock.run.iter().map(|package| package.name.as_str()).collect();
        run.file(RUN_PACKAGES, names.join("\n") + "\n");
        self.status.write(&mut run);
        self.libraries.add(&run);
        self.libraries.write(&mut run, &self.lock.architecture);
        run
    }

    fn build_tree(&mut self) -> Tree {
        let mut build = std::mem::take(&mut self.build);
        skeleton::write_alternatives(&mut build);
        self.masters.write(&mut build, BUILD_UID);
        self.status.write(&mut build);
        self.libraries.add(&build);
        self.libraries.write(&mut build, &self.lock.architecture);
        build
    }
}
