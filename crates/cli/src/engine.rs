//! Opens the engine for a command, and what commands that run processes share.
//!
//! The second module of the binary that reads the environment: `-e NAME` takes a variable from here.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_base::BaseLock;
use hoist_debian::Mirror;
use hoist_events::Reporter;
use hoist_image::{Image, Store};
use hoist_lifecycle::Launcher;
use hoist_platform::{
    BuilderParts, BuildpackFiles, Chosen, EngineSettings, Fault, Foresight, HostTrust, LocalEngine, PlatformError,
    Problem, Severity, SourcePlace, order_of,
};
use hoist_sandbox::{Exit, ExitStatus, OutputSink, Protocol, Publish, Screen};
use hoist_service::Manager;

use crate::attach::Attached;
use crate::context::Context;
use crate::failure::{Code, Failure, failure_from};
use crate::registry;
use crate::settings::Key;

/// The launcher that goes into app images; built by this crate's build script.
const LAUNCHER: Launcher<'static> = Launcher {
    program: include_bytes!(env!("HOIST_LAUNCHER_PATH")),
    digest: env!("HOIST_LAUNCHER_DIGEST"),
    version: env!("CARGO_PKG_VERSION"),
};

failure_from! {
    PlatformError => |error| match error.fault() {
        Fault::App => Code::App,
        Fault::Usage => Code::Usage,
        Fault::Machine => Code::Hoist,
    },
    hoist_image::StoreError => |error| if matches!(error, hoist_image::StoreError::UnknownImage { .. }) { Code::Usage } else { Code::Hoist },
    hoist_image::ReferenceError => |_| Code::Usage,
    hoist_base::LockError => |_| Code::Usage,
    hoist_platform::BundleError => |error| if error.is_of_the_machine() { Code::Hoist } else { Code::Usage },
}

/// Opens the local engine with the settings in force.
pub(crate) fn open(context: &Context) -> Result<LocalEngine, Failure> {
    open_for(context, &BuildOn::default(), Arc::clone(&context.reporter))
}

/// What a build stands on, where that is said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BuildOn<'a> {
    /// The file of a base's lock.
    pub(crate) locked: Option<&'a Path>,
    /// Whether no connection may be tried.
    pub(crate) offline: bool,
    /// The file of a bundle.
    pub(crate) bundle: Option<&'a Path>,
}

/// The engine for a build.
pub(crate) fn open_for(
    context: &Context,
    on: &BuildOn<'_>,
    reporter: Arc<dyn Reporter>,
) -> Result<LocalEngine, Failure> {
    let lock = on.locked.map(hoist_base::read_lock).transpose()?;
    let settings = EngineSettings { offline: on.offline, ..settings(context, lock) };
    let host = HostTrust::of_this_machine();
    let engine = LocalEngine::open(settings, host, reporter, context.cancel.clone())?;
    match on.bundle {
        Some(path) => Ok(engine.with_bundle(path)?),
        None => Ok(engine),
    }
}

fn settings(context: &Context, lock: Option<BaseLock>) -> EngineSettings {
    let suite = match &lock {
        Some(lock) => &lock.suite,
        None => context.settings.get(Key::Suite).unwrap_or(hoist_base::DEFAULT_SUITE),
    };
    EngineSettings {
        store_dir: context.settings.store_dir(),
        suite: suite.to_owned(),
        mirror: context.settings.get(Key::Mirror).map(|archive| Mirror {
            archive: archive.to_owned(),
            security: context.settings.get(Key::SecurityMirror).map(str::to_owned),
            check_valid_until: hoist_debian::read_apt_settings(Path::new("/")).check_valid_until,
        }),
        keyring: context.settings.get(Key::Keyring).map(PathBuf::from),
        lock,
        parts: parts(),
        registries: registry::settings(context),
        pull_policy: registry::pull_policy(context),
        offline: false,
    }
}

/// Opens the store alone.
pub(crate) fn open_store(context: &Context) -> Result<Store, Failure> {
    Ok(Store::open(context.settings.store_dir())?)
}

/// An image that is to leave the store, by its name or id; hoist's own builder, run image and build image are made where they are not there.
pub(crate) fn image_to_give(context: &Context, wanted: &str) -> Result<Image, Failure> {
    if let Some(own) = open(context)?.own_image(wanted)? {
        return Ok(own);
    }
    Ok(open_store(context)?.image(wanted)?)
}

fn parts() -> BuilderParts {
    let buildpacks = hoist_buildpacks::shipped()
        .into_iter()
        .map(|one| BuildpackFiles {
            id: one.id.to_owned(),
            version: one.version.to_owned(),
            buildpack_toml: one.buildpack_toml,
            files: one.files.into_iter().map(|file| (file.path.to_owned(), file.bytes.to_vec(), file.mode)).collect(),
        })
        .collect();
    let order = hoist_buildpacks::default_order().into_iter().map(|group| {
        group.into_iter().map(|entry| (entry.id.to_owned(), entry.version.to_owned(), entry.optional)).collect()
    });
    BuilderParts {
        buildpacks,
        order: order_of(order),
        hoist_path: own_path(),
        launcher: LAUNCHER,
        foresee,
        names_process: hoist_buildpacks::names_process,
    }
}

/// The builder.toml of hoist's own builder.
pub(crate) fn default_builder_toml(context: &Context) -> String {
    hoist_platform::default_builder_toml(&settings(context, None))
}

/// What hoist's own buildpacks would say of an app, in the words of a check.
fn foresee(app_dir: &Path, variables: &[(String, String)], suite: &str) -> Foresight {
    let found = hoist_buildpacks::foresee(app_dir, variables, suite);
    let place = |texts: &[String]| {
        let place = hoist_buildpacks::place_of(app_dir, texts.iter().map(String::as_str))?;
        let (column, end_column) = place.columns.unzip();
        Some(SourcePlace { file: place.file.display().to_string(), line: place.line, column, end_column })
    };
    let problem = |failure: &hoist_buildpacks::Failure| {
        let page = &failure.page;
        Problem {
            severity: Severity::Error,
            code: page.code,
            message: format!("{}: {}: {}", page.doing, page.seen.join("; "), page.why.join("; ")),
            fixes: page.fix.clone(),
            place: place(&[page.seen.clone(), vec![page.doing.clone()]].concat()),
        }
    };
    let odd = |warning: &hoist_buildpacks::Warning| Problem {
        place: place(std::slice::from_ref(&warning.text)),
        ..Problem::odd(warning.code, &warning.text, "the build goes on, and says the same")
    };
    let problems: Vec<Problem> = found.refusals.iter().map(problem).chain(found.warnings.iter().map(odd)).collect();
    let told = |packages: &hoist_buildpacks::Packages| Chosen {
        value: packages.file.clone(),
        reason: [&*packages.reason, &*packages.count]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
    };
    Foresight {
        python: found.python.map(|(value, reason)| Chosen { value, reason }),
        dependencies: found.packages.as_ref().map(told),
        manager: found.packages.as_ref().map(|packages| packages.manager),
        deb_packages: found.deb_packages.into_iter().map(|(value, reason)| Chosen { value, reason }).collect(),
        problems,
        missing_process: found.missing_process.as_ref().map(problem),
        suggested_day: found.suggested_day,
    }
}

/// The file that this process was started from.
fn own_path() -> PathBuf {
    fs_err::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// The value of a variable of hoist's own environment.
#[allow(clippy::disallowed_methods)] // a module that owns the environment
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The manager that a dependency file stands for.
pub(crate) fn parse_manager(file: &str) -> Result<Manager, Failure> {
    let name = file.rsplit('/').next().unwrap_or(file);
    Manager::of_file(name).ok_or_else(|| {
        Failure::usage(
            format!("{file} declares no dependencies that hoist knows of"),
            "name one of requirements.txt, environment.yml, pyproject.toml, poetry.lock, uv.lock, pdm.lock, pylock.toml, Pipfile",
        )
    })
}

/// Hands a process's output on as it is.
pub(crate) struct PassThrough {
    reporter: Arc<dyn Reporter>,
    /// Where the process has a terminal.
    attached: Option<Attached>,
}

impl PassThrough {
    pub(crate) fn new(context: &Context, attached: Option<Attached>) -> Self {
        Self { reporter: Arc::clone(&context.reporter), attached }
    }
}

impl OutputSink for PassThrough {
    fn stdout(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    fn stderr(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        std::io::stderr().lock().write_all(bytes)
    }

    fn published(&mut self, publish: &Publish, address: SocketAddr) {
        let what = match publish.protocol {
            Protocol::Tcp => format!("http://{address}"),
            Protocol::Udp => format!("UDP port {address}"),
        };
        self.reporter.step(&format!("{what} leads to port {} inside", publish.container_port));
    }

    fn started(&mut self) {
        if let Some(attached) = &self.attached {
            attached.take_keys();
        }
    }

    fn screen(&self) -> Option<&Screen> {
        self.attached.as_ref().and_then(Attached::screen)
    }

    fn note(&mut self, text: &str) {
        self.reporter.warn(text, None);
    }
}

/// The end of a run as the end of this command: the process's code is hoist's code.
pub(crate) fn exit_as(context: &Context, exit: &Exit) -> Result<(), Failure> {
    let said = match exit.status {
        ExitStatus::Exited(0) => return Ok(()),
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) | ExitStatus::Cancelled => None,
        ExitStatus::TimedOut => Some(("the time was up, and the process was ended", "give it more: --timeout 1h")),
        ExitStatus::OutOfMemory => {
            Some(("the process wanted more memory than it may have", "give it more: --memory 4G"))
        }
        ExitStatus::OutputLimit => {
            Some(("the process wrote more than it may, and was ended", "let it write into files"))
        }
    };
    if let Some((text, hint)) = said {
        context.reporter.warn(text, Some(hint));
    }
    Err(Failure::of_process(u8::try_from(exit.status.code()).unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_digest_is_that_of_its_bytes() {
        assert_eq!(LAUNCHER.digest, hoist_image::Digest::of(LAUNCHER.program).to_string());
    }
}
