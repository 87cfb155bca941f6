//! The phases of the lifecycle for a prepared build: what each is given, and what is noted between them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use hoist_image::Image;
use hoist_lifecycle::{
    AnalyzeRequest, Analyzed, BuildRoot, BuildUser, Buildpacks, CacheFolder, Counters, Detected, Directories,
    ExportRequest, Setup, SharedLayers, Site, analyze, build, detect, export, restore,
};
use hoist_sandbox::{Monitors, Network};
use hoist_service::Staged;
use hoist_spec::{ApiVersion, Report};

use crate::bindings::write_platform_dir;
use crate::build::Prepared;
use crate::build::places::{Places, make_dir};
use crate::build::report::write_sboms;
use crate::build::surroundings::{rfc3339, volumes, volumes_change_app, volumes_change_programs};
use crate::builder::Builder;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{BuildNetwork, BuildRequest};
use crate::runner::SandboxRunner;

/// The buildpack whose layers the builds of different images share.
const SHARING: &str = "hoist/python";

impl LocalEngine {
    pub(crate) fn run_lifecycle(
        &self,
        request: &BuildRequest,
        prepared: &Prepared,
    ) -> Result<(Image, usize, Report), PlatformError> {
        let cache_key = self.cache_key(request, &prepared.own_name);
        let tainted = self.has_foreign_layers(request, &cache_key)?;
        let root = self.build_root(&prepared.builder, &prepared.places)?;
        let runner = self.sandbox_runner(request, prepared, &root, tainted)?;
        let setup = self.setup(request, prepared, &runner, root)?;
        if request.clear_cache {
            self.clear_cache(request, &cache_key)?;
        }
        let analyzed = analyze(&setup, self.start(request, prepared)?)?;
        let detected = self.detect_app(&setup, analyzed, &prepared.builder)?;
        let restored = restore(&setup, detected)?;
        if restored.has_layers_of_strangers() {
            runner.goes_on_from_foreign_layers();
        }
        let built = build(&setup, restored).map_err(|error| self.unless_cancelled(error))?;
        let wanted =
            self.image_wanted(request, &prepared.staged, !runner.ran_foreign_code() && self.private_cache().is_none());
        self.note_foreign_code(request, &cache_key, runner.ran_foreign_code())?;
        let exported = export(&setup, &built, &wanted)?;
        if let Some(dir) = &request.sbom_dir {
            write_sboms(&built, dir)?;
        }
        let reused = setup.counters.counts().layers_reused + prepared.builder.run_image.diff_ids().len() as u64;
        Ok((exported.image, usize::try_from(reused).unwrap_or(usize::MAX), exported.report))
    }

    /// Where and how the buildpacks of this build are called. Writes `/platform`.
    pub(crate) fn setup<'a>(
        &'a self,
        request: &BuildRequest,
        prepared: &Prepared,
        runner: &'a SandboxRunner,
        root: BuildRoot,
    ) -> Result<Setup<'a>, PlatformError> {
        let Prepared { staged, builder, places, .. } = prepared;
        let mut env: Vec<(String, String)> = staged.build_env.clone();
        env.extend(request.env.iter().cloned());
        let (sources, keyring) = self.apt_binding()?;
        write_platform_dir(&places.platform_dir, &env, self.host(), &sources, &keyring)?;
        let site = Site {
            runner,
            reporter: self.reporter(),
            root,
            scratch_dir: places.exchange_dir.clone(),
            user: BuildUser { uid: builder.user.uid, gid: builder.user.gid, chown: nix::unistd::geteuid().is_root() },
            directories: Directories { app_dir: request.app_dir.clone(), ..Directories::default() },
            environment: self.lifecycle_environment(&builder.image),
            platform_env: env.into_iter().map(|(name, value)| (OsString::from(name), value.into_bytes())).collect(),
            exec_env: request.exec_env.clone(),
            platform_api: ApiVersion::NEWEST_PLATFORM,
            counters: Counters::default(),
        };
        Ok(Setup { site, store: self.store() })
    }

    /// What the build starts from: run image, previous image, caches.
    pub(crate) fn start(&self, request: &BuildRequest, prepared: &Prepared) -> Result<AnalyzeRequest, PlatformError> {
        let Prepared { builder, own_name, .. } = prepared;
        Ok(AnalyzeRequest {
            previous: self.previous_image(request, own_name)?,
            run_image: builder.run_image.clone(),
            run_image_names: builder.run_image_names.clone(),
            cache_key: Some(self.cache_key(request, own_name)),
            portable_cache: request.portable_cache(),
            launch_cache: request.launch_cache.as_ref().map(CacheFolder::new),
            // An interpreter is the same for every app, and nothing of an app is in it. A buildpack that only has the name gets none.
            // What a bundle brought is for builds from it, and what is collected for one has to be fetched.
            shared: (!builder.extra.has_foreign(SHARING) && self.private_cache().is_none()).then(|| SharedLayers {
                key: "default".to_owned(),
                // What they leave belongs to their user.
                made_for: match (request.uid, request.gid) {
                    (None, None) => builder.image.id().to_string(),
                    _ => format!("{} {}:{}", builder.image.id(), builder.user.uid, builder.user.gid),
                },
                buildpacks: vec![SHARING.to_owned()],
                take: !request.clear_cache,
            }),
        })
    }

    /// Finds the group of the builder's order that applies.
    fn detect_app(&self, setup: &Setup<'_>, analyzed: Analyzed, builder: &Builder) -> Result<Detected, PlatformError> {
        let buildpacks = Buildpacks::read(&builder.lower_dirs()?, &setup.directories.buildpacks_dir)?;
        detect(setup, analyzed, &builder.order.order, &buildpacks).map_err(|error| self.unless_cancelled(error))
    }

    /// What the image is to be.
    fn image_wanted(&self, request: &BuildRequest, staged: &Staged, share_layers: bool) -> ExportRequest<'static> {
        ExportRequest {
            // The image gets its names when its import was tried.
            names: Vec::new(),
            launcher: self.launcher(),
            default_process: request.default_process.clone(),
            project: request.project.clone(),
            app_fingerprint: Some(staged.fingerprint.clone()),
            share_layers,
            created: request.created.map(rfc3339),
        }
    }

    /// After Ctrl-C whatever a phase complains of is a consequence of that.
    pub(crate) fn unless_cancelled<E: Into<PlatformError>>(&self, error: E) -> PlatformError {
        if self.cancel().is_cancelled() { PlatformError::Cancelled } else { error.into() }
    }

    pub(crate) fn build_root(&self, builder: &Builder, places: &Places) -> Result<BuildRoot, PlatformError> {
        let layers_dir = places.upper_dir.join("layers");
        make_dir(&layers_dir)?;
        self.give_to(&layers_dir, builder.user)?;
        // The app's folder is only below: what stands of it in the upper directory after the build is what the build wrote.
        let mut lower_dirs = vec![places.app_root.clone()];
        lower_dirs.extend(builder.lower_dirs()?);
        Ok(BuildRoot { upper_dir: places.upper_dir.clone(), lower_dirs })
    }

    pub(crate) fn sandbox_runner(
        &self,
        request: &BuildRequest,
        prepared: &Prepared,
        root: &BuildRoot,
        tainted: bool,
    ) -> Result<SandboxRunner, PlatformError> {
        let Prepared { builder, places, .. } = prepared;
        Ok(SandboxRunner {
            lower_dirs: root.lower_dirs.clone(),
            work_dir: places.work_dir.clone(),
            platform_dir: places.platform_dir.clone(),
            cache_dir: self.build_cache_dir()?,
            build_image: builder.image.id().to_string(),
            index_dirs: self.index_dirs(),
            own_buildpacks: builder.own_buildpacks.clone(),
            volumes: volumes(request, &places.platform_dir)?,
            user: builder.user,
            network: match request.network {
                BuildNetwork::Host if !self.is_offline() => Network::Host,
                _ => Network::None,
            },
            is_offline: self.is_offline(),
            private_cache: self.private_cache(),
            private_copy: OnceLock::new(),
            limits: request.limits,
            monitors: Monitors::default(),
            cancel: self.cancel().clone(),
            foreign_code: AtomicBool::new(tainted || volumes_change_programs(request)),
            foreign_here: AtomicBool::new(volumes_change_programs(request)),
            app_fingerprint: (!volumes_change_app(request)).then(|| prepared.staged.fingerprint.clone()),
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
        if !self.is_offline() {
            variables.extend(self.host().proxies.clone());
        }
        variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}
