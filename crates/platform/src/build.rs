//! A build: stage, detect, restore, build, export, try the import, and only then give the image its names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fs_err as fs;
use hoist_events::{Event, Phase};
use hoist_image::{Image, Reference, Scratch};
use hoist_lifecycle::{
    AnalyzeRequest, BuildRoot, BuildUser, Buildpacks, Counters, Directories, ExportRequest, Setup, SharedLayers, Site,
    analyze, build, detect, export, restore,
};
use hoist_sandbox::Network;
use hoist_service::Staged;
use hoist_spec::{ApiVersion, ProjectMetadata, Report};

use crate::bindings::write_platform_dir;
use crate::builder::{BUILD_USER, Builder};
use crate::check::{NO_PROCESS, NO_PROCESS_HINT, stage_source};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{BuildNetwork, BuildRequest};
use crate::run::set_root_mode;
use crate::runner::SandboxRunner;

/// Kind of the records of images whose cached layers foreign code could write to. It stays until a build with `--clear-cache`.
pub(crate) const FOREIGN_CODE_RECORD: &str = "foreign-code";

/// An image was built.
#[derive(Debug)]
pub struct BuiltService {
    /// The image.
    pub image: Image,
    /// Its names; none where it was built for one job.
    pub names: Vec<Reference>,
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
}

/// Folders of one build, below its scratch.
struct Places {
    /// Lower directory that holds the app as `workspace`.
    app_root: PathBuf,
    upper_dir: PathBuf,
    work_dir: PathBuf,
    platform_dir: PathBuf,
    exchange_dir: PathBuf,
}

impl LocalEngine {
    /// Builds an app or service into an image.
    pub fn build(&self, request: &BuildRequest) -> Result<BuiltService, PlatformError> {
        self.build_for(Purpose::Image, request)
    }

    /// The same; what is no service is refused before anything is built for a job.
    pub(crate) fn build_for(&self, purpose: Purpose, request: &BuildRequest) -> Result<BuiltService, PlatformError> {
        let started = Instant::now();
        let scratch = self.store().scratch("build")?;
        let places = make_places(&scratch)?;
        // A builder of another name says whom the staged app is for; hoist's own is made when the app turned out to be one.
        let asked = request.builder.as_ref().map(|name| self.named_builder(name)).transpose()?;
        let user = asked.as_ref().map_or(BUILD_USER, |builder| builder.user);
        let staged = self.phase(Phase::Stage, || {
            let app_dir = places.app_root.join("workspace");
            Ok(stage_source(request, &app_dir, user, self.reporter())?)
        })?;
        if purpose != Purpose::Image && staged.contract.is_none() {
            return Err(PlatformError::NotAService { what: request.source.display().to_string() });
        }
        let builder = match asked {
            Some(builder) => builder,
            None => self.phase(Phase::Base, || self.builder())?,
        };
        let own_name: Reference = match request.names.first() {
            Some(name) => name.clone(),
            None => staged.name.parse()?,
        };
        let (image, reused_layers, report) = self.run_lifecycle(request, &staged, &builder, &places, &own_name)?;
        if request.import_check && staged.contract.is_some() {
            self.phase(Phase::Verify, || self.check_import(&image, &record_key(&own_name)))?;
        }
        self.warn_without_process(&image);
        let names = match (purpose == (Purpose::Job { keep: false }), request.names.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![own_name],
            (false, false) => request.names.clone(),
        };
        // Not only named but put once more: a job of the same service that ended meanwhile may have removed the image with its last name.
        self.store().put_image_bytes(image.config_bytes().to_vec(), &names)?;
        self.reporter().report(&Event::ImageWritten {
            reference: names.first().map(ToString::to_string).unwrap_or_default(),
            image_id: image.id().to_string(),
            layers: image.diff_ids().len(),
            reused: reused_layers,
        });
        if let Some(dir) = &request.report_dir {
            write_report(report, &names, dir)?;
        }
        Ok(BuiltService { image, names, staged, reused_layers, elapsed: started.elapsed() })
    }

    fn warn_without_process(&self, image: &Image) {
        let config = image.config().config().clone().unwrap_or_default();
        let starts = config.entrypoint().iter().flatten().next().is_some_and(|path| path.starts_with("/cnb/process/"));
        if !starts {
            self.reporter().warn(NO_PROCESS, Some(NO_PROCESS_HINT));
        }
    }

    fn run_lifecycle(
        &self,
        request: &BuildRequest,
        staged: &Staged,
        builder: &Builder,
        places: &Places,
        name: &Reference,
    ) -> Result<(Image, usize, Report), PlatformError> {
        let mut env: Vec<(String, String)> = staged.build_env.clone();
        env.extend(request.env.iter().cloned());
        let (sources, keyring) = self.apt_binding()?;
        write_platform_dir(&places.platform_dir, &env, self.host(), &sources, &keyring)?;
        let root = self.build_root(builder, places)?;
        let cache_key = record_key(name);
        let noted = self.store().record::<bool>(FOREIGN_CODE_RECORD, &cache_key)?.is_some();
        let runner = self.sandbox_runner(request, builder, places, &root, noted && !request.clear_cache)?;
        let site = Site {
            runner: &runner,
            reporter: self.reporter(),
            root,
            scratch_dir: places.exchange_dir.clone(),
            user: BuildUser { uid: builder.user.uid, gid: builder.user.gid, chown: nix::unistd::geteuid().is_root() },
            directories: Directories::default(),
            environment: self.lifecycle_environment(&builder.image),
            platform_env: env.into_iter().map(|(name, value)| (OsString::from(name), value.into_bytes())).collect(),
            exec_env: "production".to_owned(),
            platform_api: ApiVersion::NEWEST_PLATFORM,
            counters: Counters::default(),
        };
        let setup = Setup { site, store: self.store() };
        if request.clear_cache {
            self.store().remove_record(hoist_lifecycle::CACHE_RECORD_KIND, &cache_key)?;
        }
        let previous = if request.clear_cache { None } else { self.store().find_image(name)? };
        let analyzed = analyze(
            &setup,
            AnalyzeRequest {
                previous,
                run_image: builder.run_image.clone(),
                run_image_names: builder.run_image_names.clone(),
                cache_key: Some(cache_key.clone()),
                // An interpreter is the same for every app, and nothing of an app is in it.
                shared: Some(SharedLayers {
                    key: "default".to_owned(),
                    made_for: builder.image.id().to_string(),
                    buildpacks: vec!["hoist/python".to_owned()],
                    take: !request.clear_cache,
                }),
            },
        )?;
        let buildpacks = Buildpacks::read(&builder.image.lower_dirs()?, &setup.directories.buildpacks_dir)?;
        let detected = detect(&setup, analyzed, &builder.order.order, &buildpacks)
            .map_err(|error| self.unless_cancelled(error))?;
        let restored = restore(&setup, detected)?;
        let built = build(&setup, restored).map_err(|error| self.unless_cancelled(error))?;
        let wanted = ExportRequest {
            // The image gets its names when its import was tried.
            names: Vec::new(),
            launcher: self.launcher(),
            default_process: request.default_process.clone(),
            project: ProjectMetadata::default(),
            app_fingerprint: Some(staged.fingerprint.clone()),
            share_layers: !runner.ran_foreign_code(),
            created: None,
        };
        self.note_foreign_code(&cache_key, noted, runner.ran_foreign_code())?;
        let exported = export(&setup, &built, &wanted)?;
        let reused = setup.counters.counts().layers_reused + builder.run_image.diff_ids().len() as u64;
        Ok((exported.image, usize::try_from(reused).unwrap_or(usize::MAX), exported.report))
    }

    /// Noted before the layers are cached: whoever goes on from them knows that they may be other than their buildpack made them.
    fn note_foreign_code(&self, cache_key: &str, noted: bool, ran: bool) -> Result<(), PlatformError> {
        if ran && !noted {
            self.store().put_record(FOREIGN_CODE_RECORD, cache_key, &true, &[])?;
        } else if noted && !ran {
            self.store().remove_record(FOREIGN_CODE_RECORD, cache_key)?;
        }
        Ok(())
    }

    /// After Ctrl-C whatever a phase complains of is a consequence of that.
    fn unless_cancelled<E: Into<PlatformError>>(&self, error: E) -> PlatformError {
        if self.cancel().is_cancelled() { PlatformError::Cancelled } else { error.into() }
    }

    fn build_root(&self, builder: &Builder, places: &Places) -> Result<BuildRoot, PlatformError> {
        for dir in ["layers", "workspace"] {
            let dir = places.upper_dir.join(dir);
            make_dir(&dir)?;
            self.give_to(&dir, builder.user)?;
        }
        let mut lower_dirs = vec![places.app_root.clone()];
        lower_dirs.extend(builder.image.lower_dirs()?);
        Ok(BuildRoot { upper_dir: places.upper_dir.clone(), lower_dirs })
    }

    fn sandbox_runner(
        &self,
        request: &BuildRequest,
        builder: &Builder,
        places: &Places,
        root: &BuildRoot,
        tainted: bool,
    ) -> Result<SandboxRunner, PlatformError> {
        Ok(SandboxRunner {
            lower_dirs: root.lower_dirs.clone(),
            work_dir: places.work_dir.clone(),
            platform_dir: places.platform_dir.clone(),
            cache_dir: self.build_cache_dir()?,
            index_dirs: self.host().local_index_dirs.clone(),
            own_buildpacks: builder.own_buildpacks.clone(),
            user: builder.user,
            network: match request.network {
                BuildNetwork::Host => Network::Host,
                BuildNetwork::None => Network::None,
            },
            cancel: self.cancel().clone(),
            foreign_code: AtomicBool::new(tainted),
        })
    }

    /// The builder's own variables, and the host's proxies, which the specification lets through to buildpacks.
    fn lifecycle_environment(&self, image: &Image) -> Vec<(OsString, OsString)> {
        let config = image.config().config().clone().unwrap_or_default();
        let mut variables: BTreeMap<String, String> = config
            .env()
            .iter()
            .flatten()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        variables.insert("HOME".to_owned(), "/home/cnb".to_owned());
        variables.extend(self.host().proxies.clone());
        variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// Writes `report.toml` (platform.md, "report.toml") with the names that the image got at last.
fn write_report(mut report: Report, names: &[Reference], dir: &Path) -> Result<(), PlatformError> {
    report.image.tags = names.iter().map(ToString::to_string).collect();
    let path = dir.join("report.toml");
    let text = report
        .write()
        .map_err(|error| PlatformError::Host { action: "writing report.toml".to_owned(), source: Box::new(error) })?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| PlatformError::Report { path, source })
}

/// Records are files: the key of a name has only letters that any file system takes.
pub(crate) fn record_key(name: &Reference) -> String {
    name.to_string()
}

fn make_places(scratch: &Scratch) -> Result<Places, PlatformError> {
    let dir = scratch.path();
    let places = Places {
        app_root: dir.join("app"),
        upper_dir: dir.join("upper"),
        work_dir: dir.join("work"),
        platform_dir: dir.join("platform"),
        exchange_dir: dir.join("exchange"),
    };
    let all = [&places.app_root, &places.upper_dir, &places.work_dir, &places.platform_dir, &places.exchange_dir];
    for dir in all {
        make_dir(dir)?;
    }
    make_dir(&places.app_root.join("workspace"))?;
    set_root_mode(&places.app_root)?;
    set_root_mode(&places.upper_dir)?;
    Ok(places)
}

fn make_dir(dir: &Path) -> Result<(), PlatformError> {
    fs::create_dir(dir).map_err(|source| PlatformError::scratch("make the folders of a build", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_image_and_goes_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        report.image.image_id = Some("sha256:00".into());
        write_report(report, &["bell".parse().unwrap(), "bell:2".parse().unwrap()], &dir.path().join("a/b")).unwrap();
        let read = Report::parse(&fs::read_to_string(dir.path().join("a/b/report.toml")).unwrap()).unwrap();
        assert_eq!(read.image.tags, ["bell:latest", "bell:2"]);
        assert_eq!(read.image.image_id.as_deref(), Some("sha256:00"));
        fs::write(dir.path().join("file"), "").unwrap();
        let error = write_report(Report::default(), &[], &dir.path().join("file")).unwrap_err();
        assert!(
            error.to_string().ends_with("file/report.toml") && error.hint().contains("--report-output-dir"),
            "{error}"
        );
    }
}
