//! `hoist lifecycle PHASE`, and hoist called as `/cnb/lifecycle/{detector,builder}`: the phases that run inside a build container, with the
//! flags, variables, files and exit codes of platform.md.
//!
//! Their flags are those of Go programs (`-app DIR`), so they are read here and not by clap.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hoist_events::{DetectOutcome, Event, Reporter, Stream};
use hoist_lifecycle::{PhaseError, PhaseInputs, run_builder, run_detector};
use hoist_spec::{ApiError, ApiVersion};

use crate::context::Context;
use crate::engine::variable;
use crate::failure::{Code, Failure};

/// Run a phase of a build inside a build container, as other platforms do
#[derive(Debug, Args)]
pub(crate) struct LifecycleArgs {
    /// The phase
    #[arg(value_enum)]
    phase: Phase,
    /// Its flags, as the platform specification has them: -app DIR, -layers DIR, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// The phases that call buildpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Choose the buildpacks that apply: writes group.toml and plan.toml
    Detector,
    /// Run the buildpacks of the group
    Builder,
}

impl LifecycleArgs {
    pub(crate) fn run(self, _context: &Context) -> Result<(), Failure> {
        run(self.phase, self.flags)
    }
}

/// Runs a phase if this process was started by its name, and answers the code to end with.
pub(crate) fn main_if_phase() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let phase = match Path::new(&arguments.next()?).file_name()?.to_str()? {
        "detector" => Phase::Detector,
        "builder" => Phase::Builder,
        _ => return None,
    };
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

/// Flags with a value, and the variables that stand for them.
const COMMON_FLAGS: [(&str, &str); 9] = [
    ("analyzed", "CNB_ANALYZED_PATH"),
    ("app", "CNB_APP_DIR"),
    ("build-config", "CNB_BUILD_CONFIG_DIR"),
    ("buildpacks", "CNB_BUILDPACKS_DIR"),
    ("group", "CNB_GROUP_PATH"),
    ("layers", "CNB_LAYERS_DIR"),
    ("log-level", "CNB_LOG_LEVEL"),
    ("plan", "CNB_PLAN_PATH"),
    ("platform", "CNB_PLATFORM_DIR"),
];
/// Those of the detector alone. The last three matter only to image extensions, which are not supported.
const DETECTOR_FLAGS: [(&str, &str); 5] = [
    ("order", "CNB_ORDER_PATH"),
    ("system", "CNB_SYSTEM_PATH"),
    ("extensions", "CNB_EXTENSIONS_DIR"),
    ("generated", "CNB_GENERATED_DIR"),
    ("run", "CNB_RUN_PATH"),
];

fn run(phase: Phase, arguments: Vec<OsString>) -> Result<(), Failure> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let platform_api = platform_api()?;
    let mut known: BTreeMap<&str, &str> = BTreeMap::from(COMMON_FLAGS);
    if phase == Phase::Detector {
        known.extend(DETECTOR_FLAGS);
    }
    let Some(flags) = Flags::parse(&known, arguments)? else {
        return say(&format!("hoist {}\n", env!("CARGO_PKG_VERSION")));
    };
    if nix::unistd::geteuid().is_root() {
        let text = "this phase runs the code of buildpacks, and refuses to do so as root";
        return Err(Failure::coded(text, "run it as the build image's user (CNB_USER_ID)", GENERAL));
    }
    let log = PhaseLog { level: flags.level()? };
    let inputs = flags.inputs(platform_api)?;
    match phase {
        Phase::Builder => run_builder(&inputs, &log).map_err(|error| failure(&error)),
        Phase::Detector => {
            let group = run_detector(&inputs, &log).map_err(|error| failure(&error))?;
            let lines = group.group.iter().map(|buildpack| format!("{} {}\n", buildpack.id, buildpack.version));
            if log.level <= Level::Info { say(&lines.collect::<String>()) } else { Ok(()) }
        }
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

/// What was given for each flag.
struct Flags(BTreeMap<String, OsString>);

impl Flags {
    /// `-name value`, `-name=value`, with one dash or two; a variable where a flag is not given. None if only the version is asked for.
    fn parse(known: &BTreeMap<&str, &str>, arguments: Vec<OsString>) -> Result<Option<Self>, Failure> {
        let variables = known.iter().filter_map(|(flag, name)| Some(((*flag).to_owned(), variable(name)?.into())));
        let mut given: BTreeMap<String, OsString> =
            variables.filter(|(_, value): &(_, OsString)| !value.is_empty()).collect();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                return Err(wrong(format!("unexpected argument `{text}`"), known));
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(OsString::from(value))),
                None => (flag, None),
            };
            match flag {
                "version" => return Ok(None),
                "no-color" => {}
                _ if !known.contains_key(flag) => return Err(wrong(format!("unknown flag -{flag}"), known)),
                _ => {
                    let value = value.or_else(|| arguments.next());
                    let value = value.ok_or_else(|| wrong(format!("-{flag} needs a value"), known))?;
                    given.insert(flag.to_owned(), value);
                }
            }
        }
        Ok(Some(Self(given)))
    }

    fn level(&self) -> Result<Level, Failure> {
        let level = self.0.get("log-level").map(|level| level.to_string_lossy().to_lowercase());
        Ok(match level.as_deref() {
            Some("debug") => Level::Debug,
            None | Some("info") => Level::Info,
            Some("warn") => Level::Warn,
            Some("error") => Level::Error,
            Some(other) => {
                let text = format!("`{other}` is not a log level");
                return Err(Failure::coded(text, "choose debug, info, warn or error", INVALID_ARGUMENTS));
            }
        })
    }

    fn path(&self, flag: &str, default: impl Into<PathBuf>) -> Result<PathBuf, Failure> {
        let path = self.0.get(flag).map_or_else(|| default.into(), PathBuf::from);
        std::path::absolute(path).map_err(|error| Failure::new(&error, None, INVALID_ARGUMENTS))
    }

    fn inputs(&self, platform_api: ApiVersion) -> Result<PhaseInputs, Failure> {
        let layers_dir = self.path("layers", "/layers")?;
        let own_order = layers_dir.join("order.toml");
        let order = if own_order.exists() { own_order } else { PathBuf::from("/cnb/order.toml") };
        Ok(PhaseInputs {
            analyzed_path: self.path("analyzed", layers_dir.join("analyzed.toml"))?,
            app_dir: self.path("app", "/workspace")?,
            build_config_dir: self.path("build-config", "/cnb/build-config")?,
            buildpacks_dir: self.path("buildpacks", "/cnb/buildpacks")?,
            group_path: self.path("group", layers_dir.join("group.toml"))?,
            order_path: self.path("order", order)?,
            plan_path: self.path("plan", layers_dir.join("plan.toml"))?,
            platform_dir: self.path("platform", "/platform")?,
            system_path: self.path("system", "/cnb/system.toml")?,
            exec_env: variable("CNB_EXEC_ENV").filter(|value| !value.is_empty()).unwrap_or_else(|| "production".into()),
            platform_api,
            environment: std::env::vars_os().collect(),
            layers_dir,
        })
    }
}

fn wrong(text: String, known: &BTreeMap<&str, &str>) -> Failure {
    let flags: Vec<String> = known.keys().map(|flag| format!("-{flag}")).collect();
    Failure::coded(text, format!("the flags are {}", flags.join(", ")), INVALID_ARGUMENTS)
}

/// How much a phase says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// "Logs (info)" on stdout, "Logs (warnings, errors)" on stderr; a buildpack's streams as they are.
struct PhaseLog {
    level: Level,
}

impl Reporter for PhaseLog {
    fn report(&self, event: &Event) {
        // A platform that has closed its end of the log wants to hear no more.
        let _ = match event {
            Event::Output { stream: Stream::Stdout, line, .. } => writeln!(std::io::stdout().lock(), "{line}"),
            Event::Output { line, .. } => writeln!(std::io::stderr().lock(), "{line}"),
            Event::Warning { text, hint } if self.level <= Level::Warn => {
                let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                writeln!(std::io::stderr().lock(), "Warning: {text}{hint}")
            }
            Event::Detected { buildpack, outcome, .. } if self.level == Level::Debug => {
                let outcome = match outcome {
                    DetectOutcome::Pass => "pass".to_owned(),
                    DetectOutcome::Fail => "fail".to_owned(),
                    DetectOutcome::Error { code } => format!("err ({code})"),
                };
                writeln!(std::io::stdout().lock(), "{outcome}: {buildpack}")
            }
            _ => Ok(()),
        };
    }
}
