//! Runs buildpacks in the sandbox: hoist's side of the lifecycle's seam.
//!
//! A buildpack sees the build root, `/platform` and its plan. Hoist's own buildpacks also see the shared cache of downloads, as long as no
//! stranger's code runs: what a source distribution's build script writes must not reach the next build. Such a build script is never
//! started in the first attempt; the buildpack says by its exit code that it needs one, and is run again without the shared cache.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hoist_events::Stream;
use hoist_lifecycle::{BuildpackCall, BuildpackExit, BuildpackPhase, Runner, RunnerError, Upper};
use hoist_sandbox::{
    Cancel, ExitStatus, Limits, Monitors, Mount, MountKind, Network, OutputSink, Process, Root, SandboxError, Spec,
    Upper as SandboxUpper, User,
};

use crate::request::BuildLimits;

/// Where a buildpack finds the shared cache.
pub(crate) const CACHE_TARGET: &str = "/hoist-cache";
/// Those of hoist's own buildpacks that fetch something.
const CACHING: [&str; 8] = [
    "hoist/python",
    "hoist/conda",
    "hoist/uv",
    "hoist/poetry",
    "hoist/pdm",
    "hoist/pipenv",
    "hoist/pylock",
    "hoist/pip",
];
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
    /// Host folders of package files, shown read-only where they are.
    pub(crate) index_dirs: Vec<PathBuf>,
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
}

/// Whether a stranger's code may run, and so the shared cache may not be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceBuilds {
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
            return self.attempt(call, SourceBuilds::Allowed, output);
        }
        Ok(first)
    }

    fn asks_together(&self, buildpack: &str) -> bool {
        self.own_buildpacks.contains(buildpack)
    }
}

impl SandboxRunner {
    /// Whether a buildpack that is not hoist's own was run to build, or a source distribution's build script; see
    /// [`SandboxRunner::foreign_code`].
    pub(crate) fn ran_foreign_code(&self) -> bool {
        self.foreign_code.load(Ordering::Relaxed)
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
        if self.is_foreign(call, source_builds) {
            self.foreign_code.store(true, Ordering::Relaxed);
        }
        let spec = self.spec(call, source_builds);
        let mut sink = Forward(output);
        let exit = self.monitors.run(&spec, &mut sink, &self.cancel).map_err(|error| failed(call, error))?;
        Ok(match exit.status {
            ExitStatus::Exited(code) => BuildpackExit::Exited(code),
            other => BuildpackExit::Killed { reason: reason(other, &spec.limits) },
        })
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
        spec.mounts.extend(self.index_dirs.iter().map(|dir| bind(dir, dir, true)));
        if self.own_buildpacks.contains(&call.full_name()) {
            let answer = match source_builds {
                // An interpreter that foreign code could have changed is not started where it can write to what others use.
                SourceBuilds::Denied
                    if self.ran_foreign_code()
                        || call.phase == BuildpackPhase::Detect
                        || !CACHING.contains(&call.buildpack_id.as_str()) =>
                {
                    "deny"
                }
                SourceBuilds::Denied => {
                    spec.mounts.push(bind(&self.cache_dir, CACHE_TARGET, false));
                    spec.process.env.push((OsString::from("HOIST_CACHE_DIR"), OsString::from(CACHE_TARGET)));
                    "deny"
                }
                SourceBuilds::Allowed => "allow",
            };
            spec.process.env.push((OsString::from("HOIST_SOURCE_BUILDS"), OsString::from(answer)));
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
    use std::path::Path;

    use super::*;

    fn runner() -> SandboxRunner {
        SandboxRunner {
            lower_dirs: Vec::new(),
            work_dir: PathBuf::new(),
            platform_dir: PathBuf::new(),
            cache_dir: PathBuf::from("/the/cache"),
            index_dirs: Vec::new(),
            volumes: Vec::new(),
            own_buildpacks: BTreeSet::from(["hoist/pip@0.1.0".to_owned()]),
            user: User { uid: 1001, gid: 1000 },
            network: Network::None,
            limits: BuildLimits::default(),
            monitors: Monitors::default(),
            cancel: Cancel::new().unwrap(),
            foreign_code: AtomicBool::new(false),
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
    }
}
