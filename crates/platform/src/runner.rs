//! Runs buildpacks in the sandbox: hoist's side of the lifecycle's seam.
//!
//! A buildpack sees the build root, `/platform` and its plan. Hoist's own buildpacks also see the shared cache of downloads, as long as no
//! stranger's code runs: what a source distribution's build script writes must not reach the next build. Such a build script is never
//! started in the first attempt; the buildpack says by its exit code that it needs one, and is run again without the shared cache.
//!
//! One buildpack of hoist's own runs code of the app without having to change what others made. It runs *apart*: it writes into an upper directory of
//! its own, of which the build takes what lies in the app and in that buildpack's layers (docs/adr/0001).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use hoist_events::Stream;
use hoist_lifecycle::{
    BuildpackCall, BuildpackExit, BuildpackPhase, Runner, RunnerError, TreeError, Upper, document_for_builds,
    is_untouched, strayed, take_over,
};
use hoist_sandbox::{
    Cancel, ExitStatus, Limits, Monitors, Mount, MountKind, Network, OutputSink, Process, Root, SandboxError, Spec,
    Upper as SandboxUpper, User,
};

use crate::keep::Keep;
use crate::request::BuildLimits;
use crate::supplies::PrivateCache;

/// Where a buildpack finds the shared cache.
pub(crate) const CACHE_TARGET: &str = "/hoist-cache";
/// The one that starts nothing of what it unpacks in its first attempt.
const CONDA: &str = "hoist/conda";
/// Where it finds its part of the shared cache, which it can only read.
const CONDA_CACHE_TARGET: &str = "/hoist-conda-cache";
/// Where it finds uv besides, for what pip is to add.
const UV_TARGET: &str = "/hoist-uv";
/// Those of hoist's own buildpacks that fetch something.
const CACHING: [&str; 8] =
    ["hoist/python", CONDA, "hoist/uv", "hoist/poetry", "hoist/pdm", "hoist/pipenv", "hoist/pylock", "hoist/pip"];
/// Those of hoist's own buildpacks whose foreign code has no business in the layers of others.
pub(crate) const APART: [&str; 1] = ["hoist/django"];
/// Where such a buildpack finds the digest of the app as it was staged, as long as nothing was written into it.
const APP_VARIABLE: &str = "HOIST_APP_FINGERPRINT";
/// Tells hoist's own buildpacks that no connection may be tried.
const OFFLINE_VARIABLE: &str = "HOIST_OFFLINE";
/// A buildpack of hoist's own ends with this code when it has to run a stranger's build script (`EX_TEMPFAIL` of sysexits.h).
const NEEDS_SOURCE_BUILD: i32 = 75;
/// Detect looks at files; a minute is generous.
const DETECT_TIMEOUT: Duration = Duration::from_mins(1);
/// What one buildpack may say. More is a loop.
const OUTPUT_LIMIT_BYTES: u64 = 256 << 20;
/// Enough for parallel compilers, too few for a fork bomb to hurt.
const PIDS_LIMIT: u64 = 4096;

/// Runs buildpacks of one build.
pub(crate) struct SandboxRunner {
    /// Lower directories of the build root below restored layers, topmost first.
    pub(crate) lower_dirs: Vec<PathBuf>,
    /// The kernel's scratch space beside the upper directory.
    pub(crate) work_dir: PathBuf,
    /// Host folder shown as `/platform`.
    pub(crate) platform_dir: PathBuf,
    /// Host folder of the cache that hoist's own buildpacks share.
    pub(crate) cache_dir: PathBuf,
    /// The id of the image that the build takes place in.
    pub(crate) build_image: String,
    /// Host folders of package files, and where they are shown read-only.
    pub(crate) index_dirs: Vec<(PathBuf, PathBuf)>,
    /// `id@version` of hoist's own buildpacks.
    pub(crate) own_buildpacks: BTreeSet<String>,
    /// What the caller wants buildpacks to see of the host.
    pub(crate) volumes: Vec<Mount>,
    /// The build user.
    pub(crate) user: User,
    /// The network of the build.
    pub(crate) network: Network,
    /// What a buildpack may use up while it builds.
    pub(crate) limits: BuildLimits,
    /// Stay from one call to the next.
    pub(crate) monitors: Monitors,
    /// Raised by Ctrl-C.
    pub(crate) cancel: Cancel,
    /// Whether code that is not hoist's own ran where it could write to the layers: in this build, or in the one whose layers it goes on from.
    pub(crate) foreign_code: AtomicBool,
    /// Whether such code ran in this build, apart or not: later buildpacks of the same build read what it wrote to the app at least.
    pub(crate) foreign_here: AtomicBool,
    /// Whether no connection may be tried.
    pub(crate) is_offline: bool,
    /// Where `cache_dir` is not what all builds share.
    pub(crate) private_cache: Option<PrivateCache>,
    /// The copy of it that code of others writes to, once there is one.
    pub(crate) private_copy: OnceLock<PathBuf>,
    /// A digest of the staged app; none where the caller lays something else over it.
    pub(crate) app_fingerprint: Option<String>,
}

/// Where a process that runs apart writes. It goes away with what nobody took; what cannot be removed goes with the build's scratch.
struct Apart {
    dir: tempfile::TempDir,
    upper_dir: PathBuf,
    /// What it may change: the app, and the layers of its buildpack.
    app_dir: PathBuf,
    own_dir: PathBuf,
}

impl Apart {
    fn make(call: &BuildpackCall, work_dir: &Path) -> io::Result<Self> {
        let beside = work_dir.parent().unwrap_or(work_dir);
        let dir = tempfile::Builder::new().prefix("apart-").tempdir_in(beside)?;
        let upper_dir = dir.path().join("upper");
        for path in [&upper_dir, &dir.path().join("work")] {
            fs::create_dir(path)?;
            fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
        }
        let own_dir = call.args.first().map(PathBuf::from).unwrap_or_default();
        Ok(Self { dir, upper_dir, app_dir: call.working_dir.clone(), own_dir })
    }

    /// Gives the build what is its own to change. A layer that later buildpacks would see is refused: it could have them start a stranger's programs
    /// where they may write to everything. The lines for people, and whether all is well.
    fn take_into(&self, upper_dir: &Path) -> Result<(Vec<String>, bool), TreeError> {
        if let Some(document) = document_for_builds(&self.upper_dir, &self.own_dir)? {
            let path = document.display();
            let page = [
                "Error while taking over what code of the app left".to_owned(),
                format!("  seen  it wrote {path}, a layer that later buildpacks are to see"),
                "  why   such a layer says which programs later buildpacks start, and they may write to the layers of others".to_owned(),
                "  do    look for what in the app writes there; nothing of this build was kept".to_owned(),
            ];
            return Ok((page.into(), false));
        }
        let layers_dir = self.own_dir.parent().unwrap_or(&self.own_dir);
        let strays = strayed(&self.upper_dir, layers_dir, &self.own_dir)?;
        let line = |path: PathBuf| {
            format!("  warning: code of the app wrote to {}, which is not its own: that is not kept", path.display())
        };
        take_over(&self.upper_dir, upper_dir, &[&self.app_dir, &self.own_dir])?;
        Ok((strays.into_iter().map(line).collect(), true))
    }
}

/// Whether a stranger's code may run, and so the shared cache may not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceBuilds {
    Denied,
    Allowed,
}

impl Runner for SandboxRunner {
    fn run(
        &self,
        call: &BuildpackCall,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        let first = self.attempt(call, SourceBuilds::Denied, output)?;
        let own = self.own_buildpacks.contains(&call.full_name());
        if own && call.phase == BuildpackPhase::Build && first == BuildpackExit::Exited(NEEDS_SOURCE_BUILD) {
            // Only one that saw the cache asks for something to be put there, and only where nobody else could have written the note.
            let keep = if self.may_be_changed() { None } else { Keep::read(call, &self.build_image) };
            let second = self.attempt(call, SourceBuilds::Allowed, output)?;
            if let Some(keep) = keep.filter(|_| second == BuildpackExit::Exited(0)) {
                keep.take(&self.cache_dir);
            }
            return Ok(second);
        }
        Ok(first)
    }

    fn asks_together(&self, buildpack: &str) -> bool {
        self.own_buildpacks.contains(buildpack)
    }
}

impl SandboxRunner {
    /// Whether a buildpack that is not hoist's own was run to build, or a source distribution's build script, where it could write to the layers of
    /// others; see [`SandboxRunner::foreign_code`].
    pub(crate) fn ran_foreign_code(&self) -> bool {
        self.foreign_code.load(Ordering::Relaxed)
    }

    /// Whether foreign code could have changed anything that a buildpack sees.
    pub(crate) fn may_be_changed(&self) -> bool {
        self.ran_foreign_code() || self.foreign_here.load(Ordering::Relaxed)
    }

    /// The build goes on from layers that nobody knows the maker of; see [`SandboxRunner::foreign_code`].
    pub(crate) fn goes_on_from_foreign_layers(&self) {
        self.foreign_code.store(true, Ordering::Relaxed);
    }

    fn attempt(
        &self,
        call: &BuildpackCall,
        source_builds: SourceBuilds,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        self.ready_private_copy(source_builds).map_err(|error| RunnerError {
            action: format!("cannot copy the packages of the bundle for {}", call.full_name()),
            hint: Some("see whether the disk is full (hoist system df), then: hoist system prune".to_owned()),
            source: error.into(),
        })?;
        if let Some(upper_dir) = self.apart_from(call) {
            self.foreign_here.store(true, Ordering::Relaxed);
            return self.attempt_apart(call, source_builds, upper_dir, output);
        }
        if self.is_foreign(call, source_builds) {
            self.foreign_code.store(true, Ordering::Relaxed);
            self.foreign_here.store(true, Ordering::Relaxed);
        }
        self.start(call, &self.spec(call, source_builds), output)
    }

    fn start(
        &self,
        call: &BuildpackCall,
        spec: &Spec,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        let exit = self.monitors.run(spec, &mut Forward(output), &self.cancel).map_err(|error| failed(call, error))?;
        Ok(match exit.status {
            ExitStatus::Exited(code) => BuildpackExit::Exited(code),
            other => BuildpackExit::Killed { reason: reason(other, &spec.limits) },
        })
    }

    /// The upper directory that a buildpack which runs apart does not write to. What it puts back of an earlier build is a stranger's, too.
    fn apart_from<'a>(&self, call: &'a BuildpackCall) -> Option<&'a Path> {
        let own = self.own_buildpacks.contains(&call.full_name());
        let is_meant = own && call.phase == BuildpackPhase::Build && APART.contains(&call.buildpack_id.as_str());
        match &call.upper {
            Upper::Keep(upper_dir) if is_meant => Some(upper_dir),
            _ => None,
        }
    }

    /// Foreign code over all layers of the build, of which it changes none but its buildpack's own.
    fn attempt_apart(
        &self,
        call: &BuildpackCall,
        source_builds: SourceBuilds,
        upper_dir: &Path,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        let refused = |what: &str, source: Box<dyn std::error::Error + Send + Sync>| {
            let action = format!("cannot {what} {}", call.full_name());
            RunnerError { action, hint: None, source }
        };
        let apart = Apart::make(call, &self.work_dir).map_err(|error| refused("make a place for", error.into()))?;
        let exit = self.start(call, &self.spec_apart(call, source_builds, upper_dir, &apart), output)?;
        if exit != BuildpackExit::Exited(0) {
            return Ok(exit);
        }
        let taken = apart.take_into(upper_dir);
        let (lines, is_well) = taken.map_err(|error| refused("take over what was written by", error.into()))?;
        for line in lines {
            output(Stream::Stdout, format!("{line}\n").as_bytes());
        }
        Ok(BuildpackExit::Exited(i32::from(!is_well)))
    }

    fn spec_apart(&self, call: &BuildpackCall, source_builds: SourceBuilds, upper_dir: &Path, apart: &Apart) -> Spec {
        let mut spec = self.spec(call, source_builds);
        spec.root.lower_dirs.insert(0, upper_dir.to_owned());
        let work_dir = apart.dir.path().join("work");
        spec.root.upper = Some(SandboxUpper { upper_dir: apart.upper_dir.clone(), work_dir });
        for mount in &mut spec.mounts {
            let is_own = mount.target == call.exchange_dir;
            if let (false, MountKind::Bind { read_only, .. }) = (is_own, &mut mount.kind) {
                *read_only = true;
            }
        }
        spec
    }

    /// Packages of conda's that were unpacked before, for a build that goes on from layers that foreign code could write to: they are read and not changed,
    /// by a program that is hoist's own, because nothing else ran in this build.
    fn conda_cache(&self, call: &BuildpackCall) -> Option<PathBuf> {
        let asks = call.phase == BuildpackPhase::Build && call.buildpack_id == CONDA;
        let cache = self.cache_dir.join("conda");
        (asks && !self.foreign_here.load(Ordering::Relaxed) && cache.is_dir()).then_some(cache)
    }

    /// Detect throws away what it writes.
    fn is_foreign(&self, call: &BuildpackCall, source_builds: SourceBuilds) -> bool {
        let own = self.own_buildpacks.contains(&call.full_name());
        call.phase == BuildpackPhase::Build && (!own || source_builds == SourceBuilds::Allowed)
    }

    fn spec(&self, call: &BuildpackCall, source_builds: SourceBuilds) -> Spec {
        let lower_dirs = call.restored_dirs.iter().chain(&self.lower_dirs).cloned().collect();
        let upper = match &call.upper {
            Upper::Throwaway => None,
            Upper::Keep(dir) => Some(SandboxUpper { upper_dir: dir.clone(), work_dir: self.work_dir.clone() }),
        };
        let args = std::iter::once(call.program.clone().into_os_string()).chain(call.args.iter().cloned());
        let mut process = Process::new(args, self.user);
        process.env.clone_from(&call.environment);
        process.cwd.clone_from(&call.working_dir);
        let mut spec = Spec::new(Root { lower_dirs, upper, read_only: false }, process);
        spec.mounts =
            vec![bind(&self.platform_dir, "/platform", true), bind(&call.exchange_host_dir, &call.exchange_dir, false)];
        spec.mounts.extend(self.volumes.iter().cloned());
        spec.mounts.extend(self.index_dirs.iter().map(|(dir, target)| bind(dir, target, true)));
        if self.own_buildpacks.contains(&call.full_name()) {
            if self.is_offline {
                spec.process.env.push((OFFLINE_VARIABLE.into(), "1".into()));
            }
            let answer = match source_builds {
                answer if let Some(dir) = self.private_dir(call, source_builds) => {
                    self.show_cache(&mut spec, &dir);
                    if answer == SourceBuilds::Allowed { "allow" } else { "deny" }
                }
                // An interpreter that foreign code could have changed is not started where it can write to what others use.
                SourceBuilds::Denied
                    if self.may_be_changed()
                        || call.phase == BuildpackPhase::Detect
                        || !CACHING.contains(&call.buildpack_id.as_str()) =>
                {
                    if let Some(cache) = self.conda_cache(call) {
                        let mut show = |name: &str, dir: PathBuf, target: &str| {
                            spec.mounts.push(bind(dir, target, true));
                            spec.process.env.push((OsString::from(name), OsString::from(target)));
                        };
                        show("HOIST_CONDA_CACHE", cache, CONDA_CACHE_TARGET);
                        let uv = self.cache_dir.join("pip/uv-bin");
                        if uv.is_dir() {
                            show("HOIST_UV_BIN", uv, UV_TARGET);
                        }
                        spec.process.env.push((OsString::from("HOIST_BUILD_IMAGE"), OsString::from(&self.build_image)));
                    }
                    "deny"
                }
                SourceBuilds::Denied => {
                    self.show_cache(&mut spec, &self.cache_dir);
                    "deny"
                }
                SourceBuilds::Allowed => "allow",
            };
            spec.process.env.push((OsString::from("HOIST_SOURCE_BUILDS"), OsString::from(answer)));
            spec.process.env.extend(self.fingerprint_for(call).map(|digest| (APP_VARIABLE.into(), digest.into())));
        }
        spec.network = self.network.clone();
        spec.limits = Limits {
            timeout: Some(match call.phase {
                BuildpackPhase::Detect => DETECT_TIMEOUT.min(self.limits.timeout),
                BuildpackPhase::Build => self.limits.timeout,
            }),
            memory_bytes: self.limits.memory_bytes,
            output_bytes: Some(OUTPUT_LIMIT_BYTES),
            pids: Some(PIDS_LIMIT),
            ..Limits::default()
        };
        spec
    }
}

impl SandboxRunner {
    /// The digest of the staged app, where that is the app which the buildpack sees.
    fn fingerprint_for(&self, call: &BuildpackCall) -> Option<&String> {
        let upper_dir = self.apart_from(call)?;
        self.app_fingerprint.as_ref().filter(|_| is_untouched(upper_dir, &call.working_dir))
    }
}

pub(crate) fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>, read_only: bool) -> Mount {
    Mount { target: target.into(), kind: MountKind::Bind { source: source.into(), read_only } }
}

fn failed(call: &BuildpackCall, error: SandboxError) -> RunnerError {
    RunnerError {
        action: format!("cannot run {} in the sandbox", call.full_name()),
        hint: error.hint(),
        source: Box::new(error),
    }
}

/// A half sentence that says why a process was ended from outside.
pub(crate) fn reason(status: ExitStatus, limits: &Limits) -> String {
    match status {
        ExitStatus::Exited(code) => format!("it ended with code {code}"),
        ExitStatus::Signaled(signal) => format!("signal {signal} ended it"),
        ExitStatus::TimedOut => match limits.timeout {
            Some(timeout) => format!("it took more than {} s", timeout.as_secs_f64()),
            None => "it took too long".to_owned(),
        },
        ExitStatus::OutOfMemory => match limits.memory_bytes {
            Some(bytes) => format!("it wanted more than its {} MB of memory", bytes >> 20),
            None => "the machine had no memory left for it".to_owned(),
        },
        ExitStatus::OutputLimit => match limits.output_bytes {
            Some(bytes) => format!("it wrote more than {} MB of output", bytes >> 20),
            None => "it wrote too much output".to_owned(),
        },
        ExitStatus::Cancelled => "it was stopped".to_owned(),
    }
}

/// Hands bytes on to the lifecycle.
struct Forward<'a>(&'a mut (dyn FnMut(Stream, &[u8]) + Send));

impl OutputSink for Forward<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.0)(Stream::Stdout, bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.0)(Stream::Stderr, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner() -> SandboxRunner {
        SandboxRunner {
            lower_dirs: Vec::new(),
            work_dir: PathBuf::new(),
            platform_dir: PathBuf::new(),
            cache_dir: PathBuf::from("/the/cache"),
            build_image: "sha256:1".to_owned(),
            index_dirs: Vec::new(),
            volumes: Vec::new(),
            own_buildpacks: BTreeSet::from(["hoist/pip@0.1.0".to_owned()]),
            user: User { uid: 1001, gid: 1000 },
            network: Network::None,
            limits: BuildLimits::default(),
            monitors: Monitors::default(),
            cancel: Cancel::new().unwrap(),
            foreign_code: AtomicBool::new(false),
            foreign_here: AtomicBool::new(false),
            is_offline: false,
            private_cache: None,
            private_copy: OnceLock::new(),
            app_fingerprint: Some("a digest".to_owned()),
        }
    }

    fn call(id: &str, phase: BuildpackPhase) -> BuildpackCall {
        BuildpackCall {
            phase,
            buildpack_id: id.to_owned(),
            buildpack_version: "0.1.0".to_owned(),
            program: "/cnb/buildpacks/x/bin/build".into(),
            args: Vec::new(),
            environment: Vec::new(),
            working_dir: "/workspace".into(),
            exchange_host_dir: PathBuf::new(),
            exchange_dir: "/cnb/exchange".into(),
            restored_dirs: Vec::new(),
            upper: Upper::Throwaway,
        }
    }

    #[test]
    fn only_hoists_own_buildpacks_without_a_build_script_are_no_foreign_code() {
        use BuildpackPhase::{Build, Detect};
        let foreign = |id, phase, source| runner().is_foreign(&call(id, phase), source);
        assert!(!foreign("hoist/pip", Build, SourceBuilds::Denied));
        assert!(foreign("hoist/pip", Build, SourceBuilds::Allowed));
        assert!(foreign("acme/pip", Build, SourceBuilds::Denied));
        assert!(!foreign("acme/pip", Detect, SourceBuilds::Denied));
    }

    #[test]
    fn the_shared_cache_is_shown_only_where_no_foreign_code_runs() {
        let shown = |id, source| {
            let mounts = runner().spec(&call(id, BuildpackPhase::Build), source).mounts;
            mounts.iter().any(|mount| mount.target == Path::new(CACHE_TARGET))
        };
        assert!(shown("hoist/pip", SourceBuilds::Denied));
        assert!(!shown("hoist/pip", SourceBuilds::Allowed));
        let mut tainted = runner();
        tainted.foreign_code = AtomicBool::new(true);
        let mounts = tainted.spec(&call("hoist/pip", BuildpackPhase::Build), SourceBuilds::Denied).mounts;
        assert!(
            !mounts.iter().any(|mount| mount.target == Path::new(CACHE_TARGET)),
            "layers that foreign code could write"
        );
        assert!(!shown("acme/pip", SourceBuilds::Denied));
        let mut with_app = runner();
        with_app.foreign_here = AtomicBool::new(true);
        let mounts = with_app.spec(&call("hoist/pip", BuildpackPhase::Build), SourceBuilds::Denied).mounts;
        assert!(
            !mounts.iter().any(|mount| mount.target == Path::new(CACHE_TARGET)),
            "an app that foreign code wrote to"
        );
        assert!(!with_app.ran_foreign_code(), "the layers are as they were");
    }

    #[test]
    fn code_of_the_app_writes_beside_the_build_and_to_no_volume() {
        let dir = tempfile::tempdir().unwrap();
        let mut runner = runner();
        runner.own_buildpacks.insert("hoist/django@0.1.0".to_owned());
        runner.work_dir = dir.path().join("work");
        runner.volumes = vec![bind("/host/ca", "/platform/bindings/ca", false)];
        let upper_dir = dir.path().join("upper");
        let mut call = call("hoist/django", BuildpackPhase::Build);
        call.args = vec!["/layers/hoist_django".into()];
        call.upper = Upper::Keep(upper_dir.clone());
        assert_eq!(runner.apart_from(&call), Some(upper_dir.as_path()));
        let apart = Apart::make(&call, &runner.work_dir).unwrap();
        assert_eq!(
            (apart.app_dir.as_path(), apart.own_dir.as_path()),
            (Path::new("/workspace"), Path::new("/layers/hoist_django"))
        );
        let spec = runner.spec_apart(&call, SourceBuilds::Allowed, &upper_dir, &apart);
        assert_eq!(spec.root.lower_dirs[0], upper_dir);
        assert_eq!(spec.root.upper.unwrap().upper_dir, apart.dir.path().join("upper"));
        let writable =
            spec.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Bind { read_only: false, .. }));
        assert_eq!(writable.map(|mount| mount.target.as_path()).collect::<Vec<_>>(), [Path::new("/cnb/exchange")]);
        call.buildpack_version = "9".to_owned();
        assert_eq!(runner.apart_from(&call), None, "it is somebody else's");
    }

    #[test]
    fn a_layer_of_the_app_that_later_buildpacks_would_see_ends_the_build() {
        let dir = tempfile::tempdir().unwrap();
        let mut call = call("hoist/django", BuildpackPhase::Build);
        call.args = vec!["/layers/hoist_django".into()];
        let apart = Apart::make(&call, &dir.path().join("work")).unwrap();
        let build_upper = dir.path().join("upper");
        let own = apart.upper_dir.join("layers/hoist_django");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(&build_upper).unwrap();
        fs::create_dir_all(apart.upper_dir.join("layers/hoist_pip/env")).unwrap();
        fs::write(own.join("static.toml"), "[types]\ncache = true\n").unwrap();
        fs::write(own.join("evil.toml"), "[types]\nbuild = true\n").unwrap();
        let (page, is_well) = apart.take_into(&build_upper).unwrap();
        assert!(
            !is_well && page[1].contains("it wrote /layers/hoist_django/evil.toml, a layer that later"),
            "{page:?}"
        );
        assert_eq!(fs::read_dir(&build_upper).unwrap().count(), 0);
        fs::remove_file(own.join("evil.toml")).unwrap();
        let (lines, is_well) = apart.take_into(&build_upper).unwrap();
        assert!(is_well && build_upper.join("layers/hoist_django/static.toml").is_file());
        assert_eq!(
            lines,
            ["  warning: code of the app wrote to /layers/hoist_pip, which is not its own: that is not kept"]
        );
        assert!(!build_upper.join("layers/hoist_pip").exists());
    }

    #[test]
    fn the_digest_of_the_app_is_told_while_nothing_was_written_into_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut runner = runner();
        runner.own_buildpacks.insert("hoist/django@0.1.0".to_owned());
        let mut call = call("hoist/django", BuildpackPhase::Build);
        assert_eq!(runner.fingerprint_for(&call), None);
        call.upper = Upper::Keep(dir.path().to_owned());
        assert_eq!(runner.fingerprint_for(&call).map(String::as_str), Some("a digest"));
        fs::create_dir(dir.path().join("workspace")).unwrap();
        assert_eq!(runner.fingerprint_for(&call), None);
        fs::remove_dir(dir.path().join("workspace")).unwrap();
        runner.app_fingerprint = None;
        assert_eq!(runner.fingerprint_for(&call), None);
    }

    #[test]
    fn what_conda_unpacked_before_is_read_where_no_foreign_code_ran_in_this_build() {
        let dir = tempfile::tempdir().unwrap();
        let mut runner = SandboxRunner { cache_dir: dir.path().to_owned(), ..runner() };
        runner.own_buildpacks = ["hoist/pip@0.1.0", "hoist/conda@0.1.0"].map(str::to_owned).into();
        let shown = |runner: &SandboxRunner, id, source| {
            let spec = runner.spec(&call(id, BuildpackPhase::Build), source);
            let mounts = spec
                .mounts
                .iter()
                .filter(|mount| [CONDA_CACHE_TARGET, UV_TARGET].map(Path::new).contains(&&*mount.target));
            assert!(spec.mounts.iter().all(|mount| mount.target != Path::new(CACHE_TARGET)), "it cannot be written");
            mounts.filter(|mount| matches!(mount.kind, MountKind::Bind { read_only: true, .. })).count()
        };
        runner.goes_on_from_foreign_layers();
        assert_eq!(shown(&runner, "hoist/conda", SourceBuilds::Denied), 0, "nothing was unpacked yet");
        fs_err::create_dir(dir.path().join("conda")).unwrap();
        assert_eq!(shown(&runner, "hoist/conda", SourceBuilds::Denied), 1);
        fs_err::create_dir_all(dir.path().join("pip/uv-bin")).unwrap();
        assert_eq!(shown(&runner, "hoist/conda", SourceBuilds::Denied), 2, "and uv");
        assert_eq!(shown(&runner, "hoist/conda", SourceBuilds::Allowed), 0);
        assert_eq!(shown(&runner, "hoist/pip", SourceBuilds::Denied), 0);
        runner.foreign_here.store(true, Ordering::Relaxed);
        assert_eq!(shown(&runner, "hoist/conda", SourceBuilds::Denied), 0);
    }
}
