//! The flags of the phases: `-name value` as Go programs read them, and the variables that stand for them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use hoist_spec::ApiVersion;

use super::INVALID_ARGUMENTS;
use super::Phase::{self, Analyzer, Builder, Creator, Detector, Exporter, Rebaser, Restorer};
use super::log::Level;
use crate::engine::variable;
use crate::failure::Failure;

/// A flag, its variable, the Platform API that brought it, and the phases that have it.
type Known = (&'static str, &'static str, u32, &'static [Phase]);

const VALUED: [Known; 33] = [
    ("analyzed", "CNB_ANALYZED_PATH", 7, &[Analyzer, Detector, Restorer, Builder, Exporter, Creator]),
    ("app", "CNB_APP_DIR", 7, &[Detector, Builder, Exporter, Creator]),
    ("build-config", "CNB_BUILD_CONFIG_DIR", 7, &[Detector, Builder, Creator]),
    ("build-image", "CNB_BUILD_IMAGE", 10, &[Restorer]),
    ("buildpacks", "CNB_BUILDPACKS_DIR", 7, &[Detector, Builder, Creator]),
    ("cache-dir", "CNB_CACHE_DIR", 7, &[Restorer, Exporter, Creator]),
    ("cache-image", "CNB_CACHE_IMAGE", 7, &[Analyzer, Restorer, Exporter, Creator]),
    // These two matter to image extensions alone, which are not supported.
    ("extended", "CNB_EXTENDED_DIR", 12, &[Exporter]),
    ("extensions", "CNB_EXTENSIONS_DIR", 7, &[Detector]),
    ("generated", "CNB_GENERATED_DIR", 7, &[Detector, Restorer]),
    ("gid", "CNB_GROUP_ID", 7, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
    ("group", "CNB_GROUP_PATH", 7, &[Detector, Restorer, Builder, Exporter, Creator]),
    ("image", "", 7, &[Rebaser]),
    ("insecure-registry", "CNB_INSECURE_REGISTRIES", 13, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
    ("launch-cache", "CNB_LAUNCH_CACHE_DIR", 7, &[Analyzer, Exporter, Creator]),
    ("launcher", "", 7, &[Exporter, Creator]),
    ("launcher-sbom", "", 11, &[Exporter, Creator]),
    ("layers", "CNB_LAYERS_DIR", 7, &[Analyzer, Detector, Restorer, Builder, Exporter, Creator]),
    ("layout-dir", "CNB_LAYOUT_DIR", 12, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
    ("log-level", "CNB_LOG_LEVEL", 7, &[Analyzer, Detector, Restorer, Builder, Exporter, Creator, Rebaser]),
    ("order", "CNB_ORDER_PATH", 7, &[Detector, Creator]),
    ("plan", "CNB_PLAN_PATH", 7, &[Detector, Builder, Creator]),
    ("platform", "CNB_PLATFORM_DIR", 7, &[Detector, Builder, Creator]),
    ("previous-image", "CNB_PREVIOUS_IMAGE", 7, &[Analyzer, Creator, Rebaser]),
    ("process-type", "CNB_PROCESS_TYPE", 7, &[Exporter, Creator]),
    ("project-metadata", "CNB_PROJECT_METADATA_PATH", 7, &[Exporter, Creator]),
    ("report", "CNB_REPORT_PATH", 7, &[Exporter, Creator, Rebaser]),
    ("run", "CNB_RUN_PATH", 7, &[Analyzer, Detector, Restorer, Exporter, Creator]),
    ("run-image", "CNB_RUN_IMAGE", 7, &[Analyzer, Creator, Rebaser]),
    // Deprecated: what `run` was called below Platform API 0.12.
    ("stack", "CNB_STACK_PATH", 7, &[Analyzer, Exporter, Creator]),
    ("system", "CNB_SYSTEM_PATH", 7, &[Detector, Creator]),
    ("tag", "", 7, &[Analyzer, Creator]),
    ("uid", "CNB_USER_ID", 7, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
];
/// What only switches something on.
const SWITCHES: [Known; 6] = [
    ("daemon", "CNB_USE_DAEMON", 7, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
    ("force", "CNB_FORCE_REBASE", 12, &[Rebaser]),
    ("layout", "CNB_USE_LAYOUT", 12, &[Analyzer, Restorer, Exporter, Creator, Rebaser]),
    ("parallel", "CNB_PARALLEL_EXPORT", 7, &[Analyzer, Exporter, Creator]),
    ("skip-layers", "CNB_SKIP_LAYERS", 7, &[Analyzer, Restorer]),
    ("skip-restore", "CNB_SKIP_RESTORE", 7, &[Creator]),
];

/// What was given for each flag, and behind the flags.
pub(super) struct Flags {
    given: BTreeMap<String, OsString>,
    /// Every `-tag`.
    pub(super) tags: Vec<String>,
    /// What is no flag.
    pub(super) images: Vec<String>,
}

impl Flags {
    /// `-name value`, `-name=value`, with one dash or two; a variable where a flag is not given. None if only the version is asked for.
    pub(super) fn parse(
        phase: Phase,
        platform_api: ApiVersion,
        arguments: Vec<OsString>,
    ) -> Result<Option<Self>, Failure> {
        let (valued, switches) = (of_phase(&VALUED, phase, platform_api), of_phase(&SWITCHES, phase, platform_api));
        let (mut tags, mut images) = (Vec::new(), Vec::new());
        let all = valued.iter().chain(&switches).filter(|(_, name)| !name.is_empty());
        let variables = all.filter_map(|(flag, name)| Some(((*flag).to_owned(), variable(name)?.into())));
        let mut given: BTreeMap<String, OsString> =
            variables.filter(|(_, value): &(_, OsString)| !value.is_empty()).collect();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                images.push(text);
                continue;
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(OsString::from(value))),
                None => (flag, None),
            };
            match flag {
                "version" => return Ok(None),
                "no-color" => {}
                _ if switches.contains_key(flag) => {
                    given.insert(flag.to_owned(), value.unwrap_or_else(|| "true".into()));
                }
                _ if !valued.contains_key(flag) => return Err(wrong(format!("unknown flag -{flag}"), &valued)),
                _ => {
                    let value = value.or_else(|| arguments.next());
                    let value = value.ok_or_else(|| wrong(format!("-{flag} needs a value"), &valued))?;
                    if flag == "tag" {
                        tags.push(value.to_string_lossy().into_owned());
                    }
                    given.insert(flag.to_owned(), value);
                }
            }
        }
        if let Some(image) = images.first().filter(|_| matches!(phase, Detector | Builder | Restorer)) {
            return Err(wrong(format!("unexpected argument `{image}`"), &valued));
        }
        Ok(Some(Self { given, tags, images }))
    }

    /// The value of a flag, if it was given one.
    pub(super) fn text(&self, flag: &str) -> Option<String> {
        self.given.get(flag).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    /// Whether something was switched on, in the words that Go programs understand.
    pub(super) fn switch(&self, flag: &str) -> bool {
        matches!(self.text(flag).as_deref(), Some("true" | "True" | "TRUE" | "t" | "T" | "1"))
    }

    pub(super) fn level(&self) -> Result<Level, Failure> {
        let level = self.text("log-level").map(|level| level.to_lowercase());
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

    /// A path, absolute.
    pub(super) fn path(&self, flag: &str, default: impl Into<PathBuf>) -> Result<PathBuf, Failure> {
        let path = self.given.get(flag).map_or_else(|| default.into(), PathBuf::from);
        std::path::absolute(path).map_err(|error| Failure::new(&error, None, INVALID_ARGUMENTS))
    }

    /// A path that has no default.
    pub(super) fn optional_path(&self, flag: &str) -> Result<Option<PathBuf>, Failure> {
        self.text(flag).map(|_| self.path(flag, "")).transpose()
    }
}

/// The flags of a phase and the variables that stand for them.
fn of_phase(known: &[Known], phase: Phase, platform_api: ApiVersion) -> BTreeMap<&'static str, &'static str> {
    let there = |(flag, _, since, phases): &&Known| {
        let old = *flag == "stack" && platform_api.at_least(12);
        phases.contains(&phase) && platform_api.at_least(*since) && !old
    };
    known.iter().filter(there).map(|(flag, variable, ..)| (*flag, *variable)).collect()
}

fn wrong(text: String, known: &BTreeMap<&'static str, &'static str>) -> Failure {
    let flags: Vec<String> = known.keys().map(|flag| format!("-{flag}")).collect();
    Failure::coded(text, format!("the flags are {}", flags.join(", ")), INVALID_ARGUMENTS)
}
