//! The launcher: it starts a process in an app image, as platform.md's "launcher" and buildpack.md's "Launch" say.
//!
//! It lies at `/cnb/lifecycle/launcher`, and `/cnb/process/<type>` are links to it. It reads `<layers>/config/metadata.toml`, changes the
//! environment as the launch layers say, runs their `exec.d` programs, and becomes the process. It is small and static, resolves no names
//! and reads no accounts, because it must run in any image. By other names it is other programs (`programs`).

mod certificates;
mod concurrency;
mod environment;
mod error;
mod exec;
mod exec_d;
mod layers;
mod limits;
mod live_reload;
mod process;
mod programs;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hoist_spec::{ApiVersion, BuildMetadata, Environment};

use crate::error::LaunchError;
use crate::process::Choice;
use crate::programs::Program;

/// Where the image has its things, from the environment of the container.
struct Places {
    app_dir: PathBuf,
    layers_dir: PathBuf,
    exec_env: String,
    platform_api: ApiVersion,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some((program, rest)) =
        arguments.split_first().and_then(|(name, rest)| Some((Program::called(Path::new(name))?, rest)))
    {
        return program.run(rest, &Environment::from_variables(std::env::vars_os()));
    }
    let error = match launch() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // Nothing can be done about a closed stderr.
    let _ = writeln!(std::io::stderr(), "{}", error.report());
    ExitCode::from(error.exit_code())
}

fn launch() -> Result<std::convert::Infallible, LaunchError> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let variables = Environment::from_variables(std::env::vars_os());
    let places = places(&variables)?;
    let metadata = read_metadata(&places.layers_dir)?;
    for buildpack in &metadata.buildpacks {
        buildpack
            .api
            .require_buildpack()
            .map_err(|source| LaunchError::BuildpackApi { buildpack: buildpack.id.clone(), source })?;
    }
    let choice = Choice::new(&places, &metadata, Path::new(&name), arguments)?;
    std::env::set_current_dir(&places.app_dir)
        .map_err(|source| LaunchError::Directory { dir: places.app_dir.clone(), source })?;
    let layers = layers::find(&places.layers_dir, &metadata)?;
    let mut variables = environment::initial(variables);
    environment::add_layers(&mut variables, &layers, choice.kind.as_deref())?;
    exec_d::run_all(&mut variables, &layers, choice.kind.as_deref())?;
    exec::become_process(&choice, variables, &layers, Path::new(&name), &places.app_dir)
}

fn places(variables: &Environment) -> Result<Places, LaunchError> {
    let text = |name: &str, default: &str| {
        let value = variables.get(name).filter(|value| !value.is_empty());
        value.map_or_else(|| OsString::from(default), ToOwned::to_owned)
    };
    let Some(api) = variables.get("CNB_PLATFORM_API").filter(|value| !value.is_empty()) else {
        return Err(LaunchError::NoPlatformApi);
    };
    let platform_api = api
        .to_string_lossy()
        .parse()
        .and_then(ApiVersion::require_platform)
        .map_err(|source| LaunchError::PlatformApi { source })?;
    Ok(Places {
        app_dir: text("CNB_APP_DIR", "/workspace").into(),
        layers_dir: text("CNB_LAYERS_DIR", "/layers").into(),
        exec_env: text("CNB_EXEC_ENV", "production").to_string_lossy().into_owned(),
        platform_api,
    })
}

#[allow(clippy::disallowed_methods, reason = "the path is in the error; fs_err would be one more dependency")]
fn read_metadata(layers_dir: &Path) -> Result<BuildMetadata, LaunchError> {
    let path = layers_dir.join("config/metadata.toml");
    let text = std::fs::read_to_string(&path).map_err(|source| LaunchError::Read { path: path.clone(), source })?;
    BuildMetadata::parse(&text).map_err(|source| LaunchError::Metadata { path, source: Box::new(source) })
}
