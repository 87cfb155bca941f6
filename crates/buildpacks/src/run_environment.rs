//! What processes of an image find when they start, beyond what packages need: a web process its number of workers and what proxies and servers
//! expect, each process the certificates of its service bindings, and, where it is asked for, a web process that is started anew when sources change.
//!
//! What can only be known at the start is the work of `exec.d` programs. They are the launcher of the image by another name, so that nothing but
//! links is added to it; where another platform builds, which may put another launcher into the image, they are copies of hoist's launcher.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fs_err as fs;
use hoist_spec::CERTIFICATE_VARIABLES;

use crate::context::{BuildContext, Context, LaunchProcess};
use crate::failure::Failure;
use crate::layer::{EnvironmentChange, EnvironmentScope, Layer, LayerTypes, write_if_changed};

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

    /// Puts one into a folder of a layer; whether there is one.
    fn put(&self, dir: &Path, name: &str) -> Result<bool, Failure> {
        let write = || -> std::io::Result<bool> {
            let path = dir.join(name);
            match self {
                Self::None => return Ok(false),
                Self::Links => {
                    fs::create_dir_all(dir)?;
                    symlink(LAUNCHER, path)?;
                }
                Self::Copies(launcher) => {
                    fs::create_dir_all(dir)?;
                    fs::write(&path, launcher)?;
                    fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
                }
            }
            Ok(true)
        };
        write().map_err(|error| Failure::io(format!("putting {name} into the image"), &error))
    }
}

/// Prepares the processes of an image, which are changed where live reload is asked for.
pub(crate) fn prepare(context: &BuildContext<'_>, processes: &mut Vec<LaunchProcess>) -> Result<(), Failure> {
    let programs = Programs::of(context.common);
    let layers = ["web", "live-reload"].map(|name| context.layer(name));
    layers.iter().try_for_each(Layer::clear)?;
    let [web, live_reload] = layers;
    let has_web = processes.iter().any(|process| process.kind == WEB);
    if has_web {
        prepare_web(context, &programs, &web)?;
    }
    put_certificates(context, &programs)?;
    if context.common.switch(RELOAD_VARIABLE)? == Some(true) {
        reload(context, &programs, &live_reload, processes)?;
    }
    Ok(())
}

/// The same for processes that nobody names in a Procfile: they serve no pages, and trust the certificates of their bindings as all do.
pub(crate) fn prepare_certificates(context: &BuildContext<'_>) -> Result<(), Failure> {
    put_certificates(context, &Programs::of(context.common))
}

fn put_certificates(context: &BuildContext<'_>, programs: &Programs) -> Result<(), Failure> {
    let layer = context.layer("certificates");
    layer.clear()?;
    let is_wanted = context.common.switch(NO_CERTIFICATES_VARIABLE)? != Some(true);
    if is_wanted && programs.put(&layer.dir().join("exec.d"), CERTIFICATES)? {
        layer.write(LAUNCH, &toml::Table::new())?;
    }
    Ok(())
}

fn prepare_web(context: &BuildContext<'_>, programs: &Programs, layer: &Layer) -> Result<(), Failure> {
    layer.create()?;
    let folder = layer.dir().join("env.launch").join(WEB);
    for (name, value) in WEB_VARIABLES {
        let path = folder.join(format!("{name}.default"));
        let write = || fs::create_dir_all(&folder).and_then(|()| write_if_changed(&path, value.as_bytes()));
        write().map_err(|error| Failure::io(format!("setting {name}"), &error))?;
    }
    if !programs.put(&layer.dir().join("exec.d").join(WEB), WEB_CONCURRENCY)? {
        context.output.detail(
            "WEB_CONCURRENCY and certificates of bindings are left to the platform: this builder has another launcher than hoist's",
        );
    }
    layer.write(LAUNCH, &toml::Table::new())
}

/// Has the web process started by the program that watches sources.
fn reload(
    context: &BuildContext<'_>,
    programs: &Programs,
    layer: &Layer,
    processes: &mut Vec<LaunchProcess>,
) -> Result<(), Failure> {
    layer.create()?;
    let dir = layer.dir().join("bin");
    let Some(web) = processes.iter_mut().find(|process| process.kind == WEB) else {
        context.output.warning(format!("{RELOAD_VARIABLE} changes nothing: there is no process called {WEB}"));
        return layer.clear();
    };
    if !programs.put(&dir, LIVE_RELOAD)? {
        context
            .output
            .warning(format!("{RELOAD_VARIABLE} changes nothing: this builder has another launcher than hoist's"));
        return layer.clear();
    }
    let plain = LaunchProcess { kind: PLAIN_WEB.to_owned(), default: false, ..web.clone() };
    web.command.insert(0, dir.join(LIVE_RELOAD).display().to_string());
    processes.push(plain);
    context.output.step(format!("live reload: {WEB} is started anew when sources change, {PLAIN_WEB} is not"));
    layer.write(LAUNCH, &toml::Table::new())
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
