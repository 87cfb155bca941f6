//! A build: stage, detect, restore, build, export, try the import, and only then give the image its names.

mod caches;
mod lifecycle;
mod places;
mod plan;
mod report;
mod surroundings;

use std::time::{Duration, Instant};

use hoist_events::{Event, Phase};
use hoist_image::{Image, Reference, Scratch};
use hoist_sandbox::User;
use hoist_service::Staged;

use crate::attest::{BuildNote, attest_places};
use crate::build::places::Places;
use crate::build::report::write_report;
use crate::builder::{BUILD_IMAGE_NAME, BUILD_USER, BUILDER_NAME, Builder, RUN_IMAGE_NAME};
use crate::check::{NO_PROCESS, NO_PROCESS_HINT, stage_source};
use crate::download_caches::Held;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::import_check::has_runner;
use crate::place::{Place, Placed, check_places, write_places};
use crate::request::BuildRequest;
pub(crate) use report::write_report_to;

pub use plan::{Dependency, Offer, PlanReport, Requirement, TriedBuildpack, TriedGroup};
pub use surroundings::rfc3339;

/// Kind of the records of images whose cached layers foreign code could write to. It stays until a build with `--clear-cache`.
pub(crate) const FOREIGN_CODE_RECORD: &str = "foreign-code";

/// An image was built.
#[derive(Debug)]
pub struct BuiltService {
    /// The image.
    pub image: Image,
    /// Its names; none where it was built for one job.
    pub names: Vec<Reference>,
    /// Where it is besides the store.
    pub placed: Vec<Placed>,
    /// What was staged. Its folder is gone.
    pub staged: Staged,
    /// How many of its layers were in the store before.
    pub reused_layers: usize,
    /// From the first to the last step.
    pub elapsed: Duration,
}

/// What an image is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To stay, under its names.
    Image,
    /// To execute one job; unless it is kept it gets no name, while the caches are still those of its own name.
    Job { keep: bool },
    /// To be compared with another image. It gets no name, and nothing of earlier builds goes into it.
    Comparison,
}

/// What buildpacks are told: what the source says, and the request's own.
fn variables(request: &BuildRequest, staged: &Staged) -> Vec<(String, String)> {
    staged.build_env.iter().chain(&request.env).cloned().collect()
}

/// Everything that the lifecycle starts from. What is temporary goes away with it.
pub(crate) struct Prepared {
    _scratch: Scratch,
    _caches: Held,
    pub(crate) places: Places,
    staged: Staged,
    pub(crate) builder: Builder,
    /// Names the caches.
    own_name: Reference,
}

impl Prepared {
    /// The app.
    pub(crate) fn staged(&self) -> &Staged {
        &self.staged
    }
}

impl LocalEngine {
    /// Builds an app or service into an image.
    pub fn build(&self, request: &BuildRequest) -> Result<BuiltService, PlatformError> {
        self.build_for(Purpose::Image, request)
    }

    /// The same; what is no service is refused before anything is built for a job.
    pub(crate) fn build_for(&self, purpose: Purpose, request: &BuildRequest) -> Result<BuiltService, PlatformError> {
        let started = Instant::now();
        if let Some(Place::Registry(name)) =
            request.outputs.iter().find(|place| self.is_offline() && matches!(place, Place::Registry(_)))
        {
            return Err(PlatformError::PublishOffline { name: name.to_string() });
        }
        check_places(&request.outputs, self.registries(), self.cancel())?;
        let request = &self.with_project(request)?;
        check_names(request)?;
        let prepared = self.prepare(purpose, request)?;
        self.refuse_without_process(request, &prepared.staged)?;
        let (image, reused_layers, report) = self.run_lifecycle(request, &prepared)?;
        let note = BuildNote::of(request, &prepared);
        let Prepared { staged, own_name, .. } = prepared;
        if request.import_check && staged.contract.is_some() && has_runner(&image) {
            let day = || self.foresee(&staged.app_dir, &variables(request, &staged)).suggested_day;
            self.phase(Phase::Verify, || self.check_import(&image, &record_key(&own_name), day))?;
        }
        self.warn_without_process(&image);
        let nameless = matches!(purpose, Purpose::Job { keep: false } | Purpose::Comparison);
        let names = match (nameless, request.names.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![own_name],
            (false, false) => request.names.clone(),
        };
        // Not only named but put once more: a job of the same service that ended meanwhile may have removed the image with its last name.
        self.store().put_image_bytes(image.config_bytes().to_vec(), &names)?;
        if !nameless {
            note.write(self.store(), &image)?;
        }
        self.reporter().report(&Event::ImageWritten {
            reference: names.first().map(ToString::to_string).unwrap_or_default(),
            image_id: image.id().to_string(),
            layers: image.diff_ids().len(),
            reused: reused_layers,
        });
        let told = (self.reporter(), self.cancel());
        let (outputs, compression) = (&request.outputs, request.output_compression);
        let (mut placed, failed) = write_places(&image, &names, outputs, compression, self.registries(), told);
        let attested = request.attest.as_ref().map_or(Ok(()), |attest| {
            attest_places(self.store(), &image, &mut placed, attest, self.registries(), self.reporter())
        });
        if let Some(dir) = &request.report_dir {
            write_report(report, &names, &placed, dir)?;
        }
        if let Some(error) = failed {
            return Err(self.unless_cancelled(error));
        }
        attested.map_err(|error| self.unless_cancelled(error))?;
        Ok(BuiltService { image, names, placed, staged, reused_layers, elapsed: started.elapsed() })
    }

    /// Stages the app and finds its builder.
    pub(crate) fn prepare(&self, purpose: Purpose, request: &BuildRequest) -> Result<Prepared, PlatformError> {
        let scratch = self.store().scratch("build")?;
        let caches = self.hold_caches()?;
        let places = Places::make(&scratch, &request.app_dir)?;
        // A builder of another name says whom the staged app is for; hoist's own is made when the app turned out to be one.
        let asked = request.builder.as_ref();
        let asked = asked.map(|name| self.named_builder(name, &request.run_image_mirrors)).transpose()?;
        let user = build_user(request, asked.as_ref().map_or(BUILD_USER, |builder| builder.user));
        let staged =
            self.phase(Phase::Stage, || Ok(stage_source(request, &places.staged_dir, user, self.reporter())?))?;
        if matches!(purpose, Purpose::Job { .. }) && staged.contract.is_none() {
            return Err(PlatformError::NotAService { what: request.source.display().to_string() });
        }
        let builder = match asked {
            Some(builder) => builder,
            None => self.phase(Phase::Base, || self.builder())?,
        };
        let mut builder = self.with_buildpacks(builder, request, &staged.app_dir)?;
        builder.user = user;
        if let Some(name) = &request.run_image {
            self.take_run_image(&mut builder, name)?;
        }
        let own_name: Reference = match request.names.first() {
            Some(name) => name.clone(),
            None => staged.name.parse()?,
        };
        Ok(Prepared { _scratch: scratch, _caches: caches, places, staged, builder, own_name })
    }

    /// hoist's own buildpacks start what a Procfile names, and else nothing: that is said before anything is installed. What other buildpacks start
    /// is seen when they have run.
    fn refuse_without_process(&self, request: &BuildRequest, staged: &Staged) -> Result<(), PlatformError> {
        let others = &request.buildpacks;
        let is_own = [&others.group, &others.pre, &others.post].iter().all(|list| list.is_empty());
        if staged.layout.is_service() || request.builder.is_some() || request.default_builder.is_some() || !is_own {
            return Ok(());
        }
        let variables = variables(request, staged);
        // As a rule there is a Procfile; then nobody reads the app's locks here.
        if (self.parts().names_process)(&staged.app_dir, &variables) {
            return Ok(());
        }
        let foresight = self.foresee(&staged.app_dir, &variables);
        match foresight.missing_process {
            Some(problem) if !foresight.problems.iter().any(crate::check::Problem::is_fatal) => {
                Err(PlatformError::NoProcess { message: problem.message, hint: problem.fixes.join("\n") })
            }
            _ => Ok(()),
        }
    }

    fn warn_without_process(&self, image: &Image) {
        let config = image.config().config().clone().unwrap_or_default();
        let starts = config.entrypoint().iter().flatten().next().is_some_and(|path| path.starts_with("/cnb/process/"));
        if !starts {
            self.reporter().warn(NO_PROCESS, Some(NO_PROCESS_HINT));
        }
    }
}

/// An image that took the name of what it is built with would be the builder, or the run image, of the next build.
fn check_names(request: &BuildRequest) -> Result<(), PlatformError> {
    let own = |name: &Reference| [BUILDER_NAME, BUILD_IMAGE_NAME, RUN_IMAGE_NAME].contains(&name.name());
    let taken = |name: &&Reference| {
        let of_builder = request.builder.as_ref().is_some_and(|builder| builder.name() == name.name());
        of_builder || own(name) || request.run_image.as_ref() == Some(*name)
    };
    match request.names.iter().find(taken) {
        Some(name) => Err(PlatformError::NameOfBuilder { name: name.to_string() }),
        None => Ok(()),
    }
}

/// The builder's user, unless the request has another.
fn build_user(request: &BuildRequest, own: User) -> User {
    User { uid: request.uid.unwrap_or(own.uid), gid: request.gid.unwrap_or(own.gid) }
}

/// Records are files: the key of a name has only letters that any file system takes.
pub(crate) fn record_key(name: &Reference) -> String {
    name.to_string()
}
