//! What processes of an image find when they start, beyond what packages need: a web process its number of workers and what proxies and servers
//! expect, each process the certificates of its service bindings, and, where it is asked for, a web process that is started anew when sources change.
//!
//! What can only be known at the start is the work of `exec.d` programs. They are the launcher of the image by another name, so that nothing but
//! links is added to it; where another platform builds, which may put another launcher into the image, they are copies of hoist's launcher.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{Sha256, hex};
use hoist_spec::CERTIFICATE_VARIABLES;
use serde::{Deserialize, Serialize};

use crate::context::{BuildContext, Context, LaunchProcess};
use crate::failure::Failure;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes};

/// Names of the programs; the launcher knows them, too.
const WEB_CONCURRENCY: &str = "hoist-web-concurrency";
const CERTIFICATES: &str = "hoist-certificates";
const LIVE_RELOAD: &str = "hoist-live-reload";
/// Where a builder has the launcher, and every image.
const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// The process that serves pages.
const WEB: &str = "web";
/// The same without live reload, as Paketo calls it.
const PLAIN_WEB: &str = "no-reload";
const RELOAD_VARIABLE: &str = "BP_LIVE_RELOAD_ENABLED";
const NO_CERTIFICATES_VARIABLE: &str = "BP_RUNTIME_CERT_BINDING_DISABLED";
/// Variables of a web process, where the container has no others.
const WEB_VARIABLES: [(&str, &str); 2] = [("FORWARDED_ALLOW_IPS", "*"), ("PYTHONFAULTHANDLER", "1")];
const LAUNCH: LayerTypes = LayerTypes { build: false, launch: true, cache: false };

/// How an image gets the programs.
enum Programs {
    /// As links to its launcher, which is hoist's.
    Links,
    /// As copies, because its launcher may be another.
    Copies(Vec<u8>),
    /// Not at all: the builder has another launcher.
    None,
}

impl Programs {
    fn of(context: &Context) -> Self {
        if context.is_built_by_hoist() {
            return Self::Links;
        }
        let launcher = fs::read(context.root_dir.join(LAUNCHER.trim_start_matches('/'))).unwrap_or_default();
        let name = WEB_CONCURRENCY.as_bytes();
        let is_own = launcher.windows(name.len()).any(|part| part == name);
        if is_own { Self::Copies(launcher) } else { Self::None }
    }

    /// What an image gets by a program's name; none where it gets no program.
    fn identity(&self) -> Option<String> {
        match self {
            Self::Links => Some(LAUNCHER.to_owned()),
            Self::Copies(launcher) => Some(hex(&Sha256::digest(launcher))),
            Self::None => None,
        }
    }

    /// Puts one where it is to be.
    fn put(&self, path: &Path) -> Result<(), Failure> {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            match self {
                Self::Links => symlink(LAUNCHER, path),
                Self::Copies(launcher) => {
                    fs::write(path, launcher)?;
                    fs::set_permissions(path, PermissionsExt::from_mode(0o755))
                }
                Self::None => Ok(()),
            }
        };
        write().map_err(|error| Failure::io(format!("putting {} into the image", path.display()), &error))
    }
}

/// What a layer of this file consists of. It is the layer's metadata: an image that has the same keeps what it has.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    /// The program in the layer, and what is there by its name: the launcher's path, or the digest of its copy.
    program: Option<(PathBuf, String)>,
    /// Files with their text.
    files: BTreeMap<PathBuf, String>,
}

impl Parts {
    fn of_program(programs: &Programs, path: impl Into<PathBuf>) -> Self {
        Self { program: programs.identity().map(|identity| (path.into(), identity)), files: BTreeMap::new() }
    }

    /// Makes the layer, unless the image before has it.
    fn make(&self, programs: &Programs, layer: &Layer) -> Result<(), Failure> {
        let is_kept = !layer.has_content() && layer.metadata::<Self>().as_ref() == Some(self);
        if !is_kept {
            layer.clear()?;
            if let Some((path, _)) = &self.program {
                programs.put(&layer.dir().join(path))?;
            }
            for (path, text) in &self.files {
                let path = layer.dir().join(path);
                let write = || fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, text));
                write().map_err(|error| Failure::io(format!("writing {}", path.display()), &error))?;
            }
        }
        layer.write(LAUNCH, self)
    }
}

/// Prepares the processes of an image, which are changed where live reload is asked for.
pub(crate) fn prepare(context: &BuildContext<'_>, processes: &mut Vec<LaunchProcess>) -> Result<(), Failure> {
    let programs = Programs::of(context.common);
    let [web, live_reload] = ["web", "live-reload"].map(|name| context.layer(name));
    if processes.iter().any(|process| process.kind == WEB) {
        prepare_web(context, &programs, &web)?;
    } else {
        web.clear()?;
    }
    put_certificates(context, &programs)?;
    if context.common.switch(RELOAD_VARIABLE)? == Some(true) {
        reload(context, &programs, &live_reload, processes)
    } else {
        live_reload.clear()
    }
}

/// The same for processes that nobody names in a Procfile: they serve no pages, and trust the certificates of their bindings as all do.
pub(crate) fn prepare_certificates(context: &BuildContext<'_>) -> Result<(), Failure> {
    put_certificates(context, &Programs::of(context.common))
}

fn put_certificates(context: &BuildContext<'_>, programs: &Programs) -> Result<(), Failure> {
    let layer = context.layer("certificates");
    let is_wanted = context.common.switch(NO_CERTIFICATES_VARIABLE)? != Some(true);
    let parts = Parts::of_program(programs, Path::new("exec.d").join(CERTIFICATES));
    if is_wanted && parts.program.is_some() { parts.make(programs, &layer) } else { layer.clear() }
}

fn prepare_web(context: &BuildContext<'_>, programs: &Programs, layer: &Layer) -> Result<(), Failure> {
    let mut parts = Parts::of_program(programs, Path::new("exec.d").join(WEB).join(WEB_CONCURRENCY));
    let variables = Path::new("env.launch").join(WEB);
    let file = |(name, value): (&str, &str)| (variables.join(format!("{name}.default")), value.to_owned());
    parts.files.extend(WEB_VARIABLES.map(file));
    if parts.program.is_none() {
        context.output.detail(
            "WEB_CONCURRENCY and certificates of bindings are left to the platform: this builder has another launcher than hoist's",
        );
    }
    parts.make(programs, layer)
}

/// Has the web process started by the program that watches sources.
fn reload(
    context: &BuildContext<'_>,
    programs: &Programs,
    layer: &Layer,
    processes: &mut Vec<LaunchProcess>,
) -> Result<(), Failure> {
    let Some(web) = processes.iter_mut().find(|process| process.kind == WEB) else {
        context.output.warning(format!("{RELOAD_VARIABLE} changes nothing: there is no process called {WEB}"));
        return layer.clear();
    };
    let path = Path::new("bin").join(LIVE_RELOAD);
    let parts = Parts::of_program(programs, path.clone());
    if parts.program.is_none() {
        context
            .output
            .warning(format!("{RELOAD_VARIABLE} changes nothing: this builder has another launcher than hoist's"));
        return layer.clear();
    }
    let plain = LaunchProcess { kind: PLAIN_WEB.to_owned(), default: false, ..web.clone() };
    web.command.insert(0, layer.dir().join(path).display().to_string());
    processes.push(plain);
    context.output.step(format!("live reload: {WEB} is started anew when sources change, {PLAIN_WEB} is not"));
    parts.make(programs, layer)
}

/// Puts certificates into the image that the bindings of its build have (`BP_EMBED_CERTS`): a file with all that is trusted, and the variables for it.
pub(crate) fn embed_certificates(context: &BuildContext<'_>) -> Result<(), Failure> {
    let layer = context.layer("embedded-certificates");
    layer.clear()?;
    if context.common.switch(EMBED_VARIABLE)? != Some(true) {
        return Ok(());
    }
    let certificates = context.common.bindings.certificates();
    if certificates.is_empty() {
        context.output.warning(format!(
            "{EMBED_VARIABLE} changes nothing: no binding of type ca-certificates has a certificate (--volume ./ca:/platform/bindings/ca)"
        ));
        return Ok(());
    }
    layer.create()?;
    let path = layer.dir().join("certificates.pem");
    let own = context.common.root_dir.join("etc/ssl/certs/ca-certificates.crt");
    let own = fs::read_to_string(own).unwrap_or_default();
    let all: Vec<&str> = std::iter::once(&own).chain(&certificates).map(|text| text.trim_end()).chain([""]).collect();
    fs::write(&path, all.join("\n")).map_err(|error| Failure::io("writing the certificates of the image", &error))?;
    for name in CERTIFICATE_VARIABLES {
        layer.set_variable(EnvironmentScope::Launch, name, EnvironmentChange::Default, &path.display().to_string())?;
    }
    let count: usize = certificates.iter().map(|text| text.matches("-----BEGIN CERTIFICATE-----").count()).sum();
    let counted = if count == 1 { "1 certificate".to_owned() } else { format!("{count} certificates") };
    context.output.step(format!("{counted} of bindings in the image"));
    layer.write(LAUNCH, &toml::Table::new())
}

/// Asks for [`embed_certificates`].
pub(crate) const EMBED_VARIABLE: &str = "BP_EMBED_CERTS";
