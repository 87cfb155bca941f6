//! From the process to the buildpack: which one, which phase, its directories, and its exit code (CNB specification, buildpack.md,
//! "Buildpack Interface").

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fs_err as fs;
use serde::Deserialize;

use crate::binding::Bindings;
use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext, Environment};
use crate::failure::{EXIT_NEEDS_SOURCE_BUILD, Failure};
use crate::output::Output;
use crate::process;
use crate::shipped::all;

/// Exit code of a detect that has nothing to do.
const EXIT_DETECT_FAIL: u8 = 100;

/// When this process was started as `…/bin/detect` or `…/bin/build` of a buildpack folder, is that buildpack and never returns.
/// Otherwise returns at once. To be called first in `main`.
#[allow(clippy::exit)] // a buildpack's exit code is its answer, and nothing is left to unwind here
pub fn main_if_buildpack() {
    let arguments = process::own_arguments();
    let environment = process::own_environment();
    let found = phase_of(&arguments, &environment);
    if found.as_ref().is_some_and(|(phase, _)| *phase == Phase::Detect)
        && arguments.get(1).is_some_and(|argument| argument == TOGETHER)
    {
        std::process::exit(i32::from(detect_together(&arguments[2..], &environment)));
    }
    if let Some((phase, buildpack_dir)) = found {
        std::process::exit(i32::from(run_phase(
            phase,
            &buildpack_dir,
            &arguments[1..],
            environment,
            &Output::stdout(),
        )));
    }
}

/// `bin/detect --together DIR PLAN DIR PLAN …` is the detection of several of these buildpacks, each with its own folder and plan.
const TOGETHER: &str = "--together";
/// Exit code of a process that could not say what it had to (`EX_IOERR` of sysexits.h).
const EXIT_CANNOT_WRITE: u8 = 74;

/// Asks each, and answers each with a line of JSON: which one (from 0), its exit code, what it said, how long it took.
fn detect_together(arguments: &[OsString], environment: &Environment) -> u8 {
    let mut stdout = std::io::stdout().lock();
    for (asked, pair) in arguments.chunks_exact(2).enumerate() {
        let started = Instant::now();
        let mut environment = environment.clone();
        environment.insert("CNB_BUILDPACK_DIR".to_owned(), pair[0].clone());
        environment.insert("CNB_BUILD_PLAN_PATH".to_owned(), pair[1].clone());
        let (output, said) = Output::caught();
        let code = run_phase(Phase::Detect, Path::new(&pair[0]), &[], environment, &output);
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = serde_json::json!({ "asked": asked, "code": code, "said": said.text(), "elapsed_ms": elapsed_ms });
        if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
            return EXIT_CANNOT_WRITE;
        }
    }
    0
}

/// The two programs of a buildpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `bin/detect`.
    Detect,
    /// `bin/build`.
    Build,
}

fn phase_of(arguments: &[OsString], environment: &Environment) -> Option<(Phase, PathBuf)> {
    let program = Path::new(arguments.first()?);
    let phase = match program.file_name()?.to_str()? {
        "detect" => Phase::Detect,
        "build" => Phase::Build,
        _ => return None,
    };
    let bin_dir = program.parent()?;
    if bin_dir.file_name()? != "bin" {
        return None;
    }
    let dir = match environment.get("CNB_BUILDPACK_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => bin_dir.parent()?.to_owned(),
    };
    dir.join("buildpack.toml").is_file().then_some((phase, dir))
}

/// Runs a phase of the buildpack that lies in `buildpack_dir` and answers its exit code. `arguments` are the positional ones of old
/// Buildpack APIs; the variables of the newer ones win.
pub fn run_phase(
    phase: Phase,
    buildpack_dir: &Path,
    arguments: &[OsString],
    environment: Environment,
    output: &Output,
) -> u8 {
    let result = find_buildpack(buildpack_dir).and_then(|buildpack| match phase {
        Phase::Detect => run_detect(buildpack, buildpack_dir, arguments, environment, output),
        Phase::Build => run_build(buildpack, buildpack_dir, arguments, environment, output),
    });
    result.unwrap_or_else(|failure| {
        if failure.exit_code == EXIT_NEEDS_SOURCE_BUILD {
            // Not an error yet: the platform runs this step again.
            for line in failure.page.seen.iter().chain(&failure.page.why).chain(&failure.page.fix) {
                output.step(line);
            }
        } else {
            output.failure(&failure);
        }
        failure.exit_code
    })
}

#[derive(Deserialize)]
struct Descriptor {
    buildpack: DescriptorAbout,
}

#[derive(Deserialize)]
struct DescriptorAbout {
    id: String,
}

fn find_buildpack(dir: &Path) -> Result<&'static dyn Buildpack, Failure> {
    let doing = "finding out which buildpack this is";
    let path = dir.join("buildpack.toml");
    let text = fs::read_to_string(&path).map_err(|error| Failure::io(doing, &error))?;
    let descriptor: Descriptor = toml::from_str(&text).map_err(|error| Failure::io(doing, &error))?;
    let id = descriptor.buildpack.id;
    all().into_iter().find(|buildpack| buildpack.id() == id).ok_or_else(|| {
        Failure::new(
            doing,
            format!("{} names `{id}`", path.display()),
            "this hoist has no such buildpack",
            "make the builder again with this hoist",
        )
    })
}

fn run_detect(
    buildpack: &dyn Buildpack,
    dir: &Path,
    arguments: &[OsString],
    environment: Environment,
    output: &Output,
) -> Result<u8, Failure> {
    let doing = format!("starting the detection of {}", buildpack.id());
    let platform_dir = place(&environment, "CNB_PLATFORM_DIR", arguments.first(), &doing)?;
    let plan_path = place(&environment, "CNB_BUILD_PLAN_PATH", arguments.get(1), &doing)?;
    let common = context(dir, platform_dir, environment, &doing)?;
    match buildpack.detect(&DetectContext { common: &common, output })? {
        Detection::Fail { reasons } => {
            for reason in reasons {
                output.title(reason);
            }
            Ok(EXIT_DETECT_FAIL)
        }
        Detection::Pass { provides, requires } => {
            let mut plan = toml::Table::new();
            let named = |name: String| toml::Value::Table(toml::Table::from_iter([("name".to_owned(), name.into())]));
            plan.insert(
                "provides".into(),
                provides.into_iter().map(|entry| named(entry.name)).collect::<Vec<_>>().into(),
            );
            let requires = requires.into_iter().map(|entry| {
                let mut table = toml::Table::from_iter([("name".to_owned(), toml::Value::from(entry.name))]);
                table.insert("metadata".into(), entry.metadata.into());
                toml::Value::Table(table)
            });
            plan.insert("requires".into(), requires.collect::<Vec<_>>().into());
            fs::write(plan_path, plan.to_string()).map_err(|error| Failure::io("writing the build plan", &error))?;
            Ok(0)
        }
    }
}

#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    entries: Vec<PlanEntry>,
}

#[derive(Deserialize)]
struct PlanEntry {
    name: String,
    #[serde(default)]
    metadata: toml::Table,
}

fn run_build(
    buildpack: &dyn Buildpack,
    dir: &Path,
    arguments: &[OsString],
    environment: Environment,
    output: &Output,
) -> Result<u8, Failure> {
    let doing = format!("starting the build of {}", buildpack.id());
    let layers_dir = place(&environment, "CNB_LAYERS_DIR", arguments.first(), &doing)?;
    let platform_dir = place(&environment, "CNB_PLATFORM_DIR", arguments.get(1), &doing)?;
    let plan_path = place(&environment, "CNB_BP_PLAN_PATH", arguments.get(2), &doing)?;
    let plan_text = fs::read_to_string(plan_path).map_err(|error| Failure::io(doing.clone(), &error))?;
    let plan: Plan = toml::from_str(&plan_text).map_err(|error| Failure::io(doing.clone(), &error))?;
    let common = context(dir, platform_dir, environment, &doing)?;
    let mut context = BuildContext {
        common: &common,
        output,
        layers_dir,
        plan: plan.entries.into_iter().map(|entry| (entry.name, entry.metadata)).collect(),
        processes: Vec::new(),
        labels: Vec::new(),
        unmet: Vec::new(),
    };
    // A step that is run again goes on where it was.
    if common.variable("HOIST_SOURCE_BUILDS") != Some("allow") {
        output.title(buildpack.name());
    }
    buildpack.build(&mut context)?;
    write_results(&context)?;
    Ok(0)
}

fn write_results(context: &BuildContext<'_>) -> Result<(), Failure> {
    let write = |name: &str, table: &toml::Table| {
        fs::write(context.layers_dir.join(name), table.to_string())
            .map_err(|error| Failure::io(format!("writing {name}"), &error))
    };
    if !context.processes.is_empty() || !context.labels.is_empty() {
        write("launch.toml", &launch_table(context))?;
    }
    if !context.unmet.is_empty() {
        let unmet = context.unmet.iter().map(|name| {
            toml::Value::Table(toml::Table::from_iter([("name".to_owned(), toml::Value::from(name.clone()))]))
        });
        write("build.toml", &toml::Table::from_iter([("unmet".to_owned(), unmet.collect::<Vec<_>>().into())]))?;
    }
    Ok(())
}

fn launch_table(context: &BuildContext<'_>) -> toml::Table {
    let processes = context.processes.iter().map(|process| {
        let mut table = toml::Table::new();
        table.insert("type".into(), process.kind.clone().into());
        table.insert("command".into(), process.command.clone().into());
        if !process.args.is_empty() {
            table.insert("args".into(), process.args.clone().into());
        }
        if process.default {
            table.insert("default".into(), true.into());
        }
        if let Some(dir) = &process.working_dir {
            table.insert("working-dir".into(), dir.clone().into());
        }
        toml::Value::Table(table)
    });
    let labels = context.labels.iter().map(|(key, value)| {
        toml::Value::Table(toml::Table::from_iter([
            ("key".to_owned(), toml::Value::from(key.clone())),
            ("value".to_owned(), toml::Value::from(value.clone())),
        ]))
    });
    let mut launch = toml::Table::new();
    launch.insert("processes".into(), processes.collect::<Vec<_>>().into());
    launch.insert("labels".into(), labels.collect::<Vec<_>>().into());
    launch
}

/// A directory or file that the lifecycle names by a variable (API 0.8 and later) or, before that, by position.
fn place(
    environment: &Environment,
    name: &str,
    positional: Option<&OsString>,
    doing: &str,
) -> Result<PathBuf, Failure> {
    environment.get(name).or(positional).map(PathBuf::from).ok_or_else(|| {
        Failure::new(
            doing,
            format!("{name} is not set"),
            "a buildpack is told its directories by the lifecycle",
            "run it through `hoist build` or another CNB platform",
        )
    })
}

/// The app is the working directory, as the specification says; `CNB_APP_DIR` is accepted for tests and tools.
fn context(dir: &Path, platform_dir: PathBuf, mut environment: Environment, doing: &str) -> Result<Context, Failure> {
    let app_dir = match environment.get("CNB_APP_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_dir().map_err(|error| Failure::io(doing, &error))?,
    };
    if let Ok(files) = fs::read_dir(platform_dir.join("env")) {
        for file in files.flatten() {
            if let (Ok(name), Ok(value)) = (file.file_name().into_string(), fs::read_to_string(file.path())) {
                environment.entry(name).or_insert_with(|| value.into());
            }
        }
    }
    let bindings_dir =
        environment.get("SERVICE_BINDING_ROOT").map_or_else(|| platform_dir.join("bindings"), PathBuf::from);
    let root_dir = environment.get("HOIST_BUILD_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let bindings = Bindings::read(&bindings_dir)
        .with_authorities(&root_dir)
        .map_err(|error| Failure::io("gathering the certificates of the bindings", &error))?;
    Ok(Context { buildpack_dir: dir.to_owned(), app_dir, platform_dir, root_dir, environment, bindings })
}
