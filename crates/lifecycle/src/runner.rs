//! The one seam of the lifecycle: a buildpack's process runs elsewhere (in a sandbox, in a pod, in a test directly).
//!
//! Only detect and build run other people's code; everything that such a process sees and leaves is named in a [`BuildpackCall`].

use std::ffi::OsString;
use std::path::PathBuf;

use hoist_events::Stream;

/// Which of a buildpack's two programs is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildpackPhase {
    /// `bin/detect`.
    Detect,
    /// `bin/build`.
    Build,
}

/// Where a process may write outside of what is mounted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// Whatever it writes is thrown away (detect; several may run at once).
    Throwaway,
    /// It writes into this upper directory of an overlay, and what it wrote stays (build).
    Keep(PathBuf),
}

/// One call of a buildpack's program. Paths are those inside the build's root file system unless they are called host paths.
#[derive(Debug, Clone)]
pub struct BuildpackCall {
    /// Which program.
    pub phase: BuildpackPhase,
    /// The buildpack's id.
    pub buildpack_id: String,
    /// The buildpack's version.
    pub buildpack_version: String,
    /// The program: `/cnb/buildpacks/hoist_pip/0.1.0/bin/build`.
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts: the app directory.
    pub working_dir: PathBuf,
    /// Host path of a directory with the plan, to be bound read-write at [`BuildpackCall::exchange_dir`].
    pub exchange_host_dir: PathBuf,
    /// Where the process finds it.
    pub exchange_dir: PathBuf,
    /// Host paths of restored layers, topmost first: lower directories to be put above those of the build image.
    pub restored_dirs: Vec<PathBuf>,
    /// Where it writes.
    pub upper: Upper,
}

impl BuildpackCall {
    /// `id@version`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.buildpack_id, self.buildpack_version)
    }
}

/// How a buildpack's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildpackExit {
    /// With this code.
    Exited(i32),
    /// By force: signal, limit or time.
    Killed {
        /// Why, as a half sentence: `it took more than 60 s`.
        reason: String,
    },
}

/// A process could not be run at all.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct RunnerError {
    /// What was being done: `starting the sandbox`.
    pub action: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Runs the process of a buildpack, as the build user, and waits for its end.
pub trait Runner: Sync {
    /// Runs it. `output` gets what it writes as it comes; it must be called from one thread at a time. An exit code other than 0 is
    /// no error here.
    fn run(
        &self,
        call: &BuildpackCall,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError>;

    /// Whether the detect programs of this buildpack (`id@version`) and of the others of which this is said are one program, that one
    /// process of it may ask them all.
    fn asks_together(&self, _buildpack: &str) -> bool {
        false
    }
}
