//! `hoist lifecycle PHASE`, and hoist called as `/cnb/lifecycle/<phase>`: the phases as other platforms run them in a container, with the flags,
//! variables, files and exit codes of platform.md.
//!
//! Their flags are those of Go programs (`-app DIR`), so they are read here and not by clap.

mod flags;
mod inputs;
mod log;
mod user;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hoist_image::Daemon;
use hoist_lifecycle::{
    ImagePlace, LayoutDir, PhaseError, run_analyzer, run_builder, run_creator, run_detector, run_exporter, run_rebaser,
    run_restorer,
};
use hoist_spec::{ApiError, ApiVersion};

use crate::context::Context;
use crate::engine::variable;
use crate::failure::{Code, Failure};
use flags::Flags;
use log::{Level, PhaseLog};

/// Run a phase of a build inside a container, as other platforms do
#[derive(Debug, Args)]
pub(crate) struct LifecycleArgs {
    /// The phase
    #[arg(value_enum)]
    phase: Phase,
    /// Its flags, as the platform specification has them: -app DIR, -layers DIR, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// The phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Look at the previous image and the run image: writes analyzed.toml
    Analyzer,
    /// Choose the buildpacks that apply: writes group.toml and plan.toml
    Detector,
    /// Bring back what the build before left: metadata, cached layers, SBOM documents
    Restorer,
    /// Run the buildpacks of the group
    Builder,
    /// Make the app image and leave the cache
    Exporter,
    /// Analyze, detect, restore, build and export in one container
    Creator,
    /// Put an app image on another run image
    Rebaser,
}

impl Phase {
    /// The phase that goes by this name.
    fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|phase| phase.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Analyzer => "analyzer",
            Self::Detector => "detector",
            Self::Restorer => "restorer",
            Self::Builder => "builder",
            Self::Exporter => "exporter",
            Self::Creator => "creator",
            Self::Rebaser => "rebaser",
        }
    }

    /// The specification's code for an error of the phase's own.
    fn code(self) -> Code {
        Code::Process(match self {
            Self::Detector => 22,
            // The creator analyzes first.
            Self::Analyzer | Self::Creator => 32,
            Self::Restorer => 42,
            Self::Builder => 52,
            Self::Exporter => 62,
            Self::Rebaser => 72,
        })
    }

    /// Whether images are read or written.
    fn uses_images(self) -> bool {
        !matches!(self, Self::Detector | Self::Builder)
    }

    /// Whether it runs other people's code.
    fn runs_buildpacks(self) -> bool {
        matches!(self, Self::Detector | Self::Builder | Self::Creator)
    }
}

impl LifecycleArgs {
    pub(crate) fn run(self, _context: &Context) -> Result<(), Failure> {
        run(self.phase, self.flags)
    }
}

/// Runs a phase if this process was started by its name, and answers the code to end with.
pub(crate) fn main_if_phase() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let phase = Phase::named(Path::new(&arguments.next()?).file_name()?.to_str()?)?;
    Some(match run(phase, arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = write!(std::io::stderr().lock(), "{}", failure.text(false));
            ExitCode::from(failure.exit_code())
        }
    })
}

/// platform.md: 3 for wrong arguments (as in the Go lifecycle), 11 for a Platform API that is not spoken, 1 for anything general.
const INVALID_ARGUMENTS: Code = Code::Process(3);
const UNSUPPORTED_PLATFORM: Code = Code::Process(11);
const GENERAL: Code = Code::Process(1);

fn run(phase: Phase, arguments: Vec<OsString>) -> Result<(), Failure> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let platform_api = platform_api()?;
    let Some(flags) = Flags::parse(phase, platform_api, arguments)? else {
        return say(&format!("hoist {}\n", env!("CARGO_PKG_VERSION")));
    };
    let log = PhaseLog { level: flags.level()?, headings: phase == Phase::Creator };
    if phase.uses_images() {
        return with_images(phase, &flags, platform_api, &log);
    }
    if nix::unistd::geteuid().is_root() {
        let text = "this phase runs the code of buildpacks, and refuses to do so as root";
        return Err(Failure::coded(text, "run it as the build image's user (CNB_USER_ID)", GENERAL));
    }
    let inputs = inputs::calls(&flags, platform_api)?;
    if phase == Phase::Builder {
        return run_builder(&inputs, &log).map_err(|error| failure(&error));
    }
    let group = run_detector(&inputs, &log).map_err(|error| failure(&error))?;
    let lines = group.group.iter().map(|buildpack| format!("{} {}\n", buildpack.id, buildpack.version));
    if log.level <= Level::Info { say(&lines.collect::<String>()) } else { Ok(()) }
}

fn with_images(phase: Phase, flags: &Flags, platform_api: ApiVersion, log: &PhaseLog) -> Result<(), Failure> {
    refuse_unsupported(phase, flags)?;
    if phase == Phase::Rebaser {
        let inputs = inputs::rebaser(flags, platform_api)?;
        let place = place(phase, flags, log)?;
        user::become_user(phase, user::wanted(flags)?, flags.switch("daemon"), &[])?;
        return run_rebaser(&inputs, &place, log).map_err(|error| failure(&error));
    }
    let inputs = inputs::images(phase, flags, platform_api)?;
    let place = place(phase, flags, log)?;
    let caches = [inputs.cache_dir.as_ref(), inputs.launch_cache_dir.as_ref()];
    let layers = (phase != Phase::Exporter).then_some(&inputs.layers_dir);
    let dirs: Vec<&Path> = caches.into_iter().flatten().chain(layers).map(PathBuf::as_path).collect();
    let home_of = nix::unistd::geteuid().is_root().then_some(inputs.user.0);
    let buildpack_user = user::become_user(phase, inputs.user, flags.switch("daemon"), &dirs)?;
    let done = match phase {
        Phase::Analyzer => run_analyzer(&inputs, &place, log),
        Phase::Restorer => run_restorer(&inputs, log),
        Phase::Exporter => run_exporter(&inputs, &place, log),
        _ => {
            user::hide()?;
            let calls = inputs::calls_as(flags, platform_api, buildpack_user, home_of)?;
            run_creator(&inputs, &calls, &place, log)
        }
    };
    done.map_err(|error| failure(&error))
}

/// What needs a registry or image extensions is refused, with what to use instead.
fn refuse_unsupported(phase: Phase, flags: &Flags) -> Result<(), Failure> {
    let unsupported = |text: &str, hint: &str| Err(Failure::coded(text, hint, phase.code()));
    if flags.text("cache-image").is_some() {
        let text = "a cache image would be in a registry, which this phase does not speak to yet";
        return unsupported(text, "keep the cache in a folder instead: -cache-dir DIR");
    }
    if flags.text("build-image").is_some() {
        return unsupported("image extensions are not supported, and so is -build-image", "leave it out");
    }
    if flags.switch("daemon") && flags.switch("layout") {
        return Err(Failure::coded("-daemon and -layout exclude each other", "choose one of them", INVALID_ARGUMENTS));
    }
    if phase != Phase::Restorer && !flags.switch("daemon") && !flags.switch("layout") {
        let text =
            "without -daemon and -layout the images would be in a registry, which this phase does not speak to yet";
        let hint = "keep them in a docker daemon (-daemon), or in a layout directory (-layout -layout-dir DIR, Platform API 0.12)";
        return unsupported(text, hint);
    }
    Ok(())
}

/// Where the images are.
fn place(phase: Phase, flags: &Flags, log: &PhaseLog) -> Result<ImagePlace, Failure> {
    if flags.switch("daemon") {
        let daemon = Daemon::of_this_machine();
        let daemon = daemon.map_err(|error| Failure::new(&error, Some(error.hint()), phase.code()))?;
        return Ok(ImagePlace::Daemon(daemon.connecting(user::as_started)));
    }
    if flags.switch("layout") {
        log.experimental("-layout", variable("CNB_EXPERIMENTAL_MODE").as_deref())?;
    }
    match flags.text("layout-dir") {
        Some(_) => Ok(ImagePlace::Layout(LayoutDir::new(flags.path("layout-dir", "")?))),
        None if phase == Phase::Restorer => Ok(ImagePlace::Layout(LayoutDir::new("/"))),
        None => Err(Failure::coded("-layout needs -layout-dir", "name the layout directory", INVALID_ARGUMENTS)),
    }
}

fn failure(error: &PhaseError) -> Failure {
    Failure::new(error, error.hint(), Code::Process(u8::try_from(error.exit_code()).unwrap_or(1)))
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::new(&error, None, GENERAL))
}

/// "MUST read `CNB_PLATFORM_API` from the execution environment and evaluate compatibility before attempting to parse other inputs".
fn platform_api() -> Result<ApiVersion, Failure> {
    let Some(text) = variable("CNB_PLATFORM_API").filter(|text| !text.is_empty()) else {
        let hint =
            format!("set it to a version from {} to {}", ApiVersion::OLDEST_PLATFORM, ApiVersion::NEWEST_PLATFORM);
        return Err(Failure::coded("CNB_PLATFORM_API is not set", hint, UNSUPPORTED_PLATFORM));
    };
    let version = text.parse().and_then(ApiVersion::require_platform);
    version.map_err(|error: ApiError| Failure::new(&error, Some(error.hint()), UNSUPPORTED_PLATFORM))
}
