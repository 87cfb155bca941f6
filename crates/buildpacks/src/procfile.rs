//! `hoist/procfile`: the processes that an app declares in a `Procfile`.
//!
//! Where it comes from: a binding of type `Procfile`, else the file, else `BP_PROCFILE_DEFAULT_PROCESS` (the command of `web`). Does not
//! know which of them a job needs: that is `hoist/job-template`'s.

use fs_err as fs;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext, LaunchProcess};
use crate::encoding::decode_text;
use crate::failure::Failure;
use crate::layer::{LayerTypes, write_if_changed};
use crate::procfile_command::{self, Command};
use crate::procfile_grammar::{Entry, Procfile};
use crate::procfile_programs;
use crate::run_environment;

const FILE: &str = "Procfile";
const MAX_BYTES: u64 = 256 << 10;
const DOING: &str = "reading the Procfile";
const VARIABLE: &str = "BP_PROCFILE_DEFAULT_PROCESS";
/// The layer that sets the variables of processes.
const LAYER: &str = "variables";

/// The buildpack.
pub(crate) struct ProcfileBuildpack;

impl Buildpack for ProcfileBuildpack {
    fn id(&self) -> &'static str {
        "hoist/procfile"
    }

    fn name(&self) -> &'static str {
        "Hoist Procfile"
    }

    fn description(&self) -> &'static str {
        "Turns the lines of a Procfile into the image's processes"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        let there = binding(context.common).is_some()
            || context.common.app_file(FILE).is_some()
            || context.common.variable(VARIABLE).is_some();
        Ok(if there { Detection::pass() } else { Detection::fail("there is no Procfile") })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let Some(procfile) = read(context.common)? else { return Ok(()) };
        for warning in &procfile.warnings {
            context.output.warning(warning);
        }
        refuse_empty(&procfile)?;
        for warning in procfile_programs::missing(context.common, &procfile) {
            context.output.warning(warning);
        }
        let default = procfile.default_entry().map(|entry| entry.name.clone());
        let (mut variables, mut processes) = (Vec::new(), Vec::new());
        for entry in &procfile.entries {
            let command = command_of(entry)?;
            let is_default = default.as_deref() == Some(&entry.name);
            context.output.step(format!(
                "{}: {}{}",
                entry.name,
                entry.command,
                if is_default { " (default)" } else { "" }
            ));
            variables.extend(command.environment.into_iter().map(|(name, value)| (entry.name.clone(), name, value)));
            processes.push(LaunchProcess {
                kind: entry.name.clone(),
                command: command.argv,
                args: Vec::new(),
                default: is_default,
                working_dir: None,
            });
        }
        if default.is_none() {
            context
                .output
                .warning("no line is called web, so the image has no default process: name one when you run it");
        }
        run_environment::prepare(context, &mut processes)?;
        for process in processes {
            context.add_process(process);
        }
        write_variables(context, &variables)
    }
}

fn refuse_empty(procfile: &Procfile) -> Result<(), Failure> {
    if procfile.entries.is_empty() {
        return Err(Failure::new(
            DOING,
            "it holds no process",
            "an image needs a program to start",
            "write a line into it: web: python main.py",
        ));
    }
    Ok(())
}

/// Whether there is a default process, and the warnings, as far as the text tells; none where there is no Procfile.
pub(crate) fn foresee(context: &Context) -> Result<Option<(bool, Vec<String>)>, Failure> {
    let Some(procfile) = read(context)? else { return Ok(None) };
    refuse_empty(&procfile)?;
    for entry in &procfile.entries {
        command_of(entry)?;
    }
    let has_default = procfile.default_entry().is_some();
    let programs = procfile_programs::foresee(context, &procfile);
    Ok(Some((has_default, procfile.warnings.into_iter().chain(programs).collect())))
}

fn binding(context: &Context) -> Option<std::path::PathBuf> {
    context.bindings.of_type("procfile").find_map(|binding| binding.path(FILE))
}

/// The Procfile of a build, from wherever it comes.
pub(crate) fn read(context: &Context) -> Result<Option<Procfile>, Failure> {
    let Some(path) = binding(context).or_else(|| context.app_file(FILE)) else {
        let entry = |command: &str| Entry { name: "web".to_owned(), command: command.to_owned(), line: 1 };
        return Ok(context
            .variable(VARIABLE)
            .map(|command| Procfile { entries: vec![entry(command)], warnings: Vec::new() }));
    };
    let about = fs::metadata(&path).map_err(|error| Failure::io(DOING, &error))?;
    if about.len() > MAX_BYTES {
        return Err(Failure::new(
            DOING,
            format!("it has {} bytes", about.len()),
            format!("a Procfile has at most {MAX_BYTES}"),
            "look whether it is another file",
        ));
    }
    let bytes = fs::read(&path).map_err(|error| Failure::io(DOING, &error))?;
    let text = decode_text(&bytes)
        .map_err(|error| Failure::new(DOING, error.in_file(FILE), "a Procfile is a text file", "save it as UTF-8"))?;
    let procfile = Procfile::parse(&text).map_err(|error| {
        Failure::new(DOING, error.to_string(), error.why, format!("write line {} as: {}", error.line, error.corrected))
    })?;
    Ok(Some(procfile))
}

/// How the command of an entry is started.
pub(crate) fn command_of(entry: &Entry) -> Result<Command, Failure> {
    procfile_command::parse(&entry.command).map_err(|error| {
        let fix = format!("correct it, for example: {}: python main.py", entry.name);
        Failure::new(DOING, format!("line {}: `{}: {}`", entry.line, entry.name, entry.command), error.to_string(), fix)
    })
}

/// Variables of single processes (`env.launch/<type>/NAME`, CNB specification, buildpack.md, "Environment").
fn write_variables(context: &BuildContext<'_>, variables: &[(String, String, String)]) -> Result<(), Failure> {
    let layer = context.layer(LAYER);
    layer.clear()?;
    if variables.is_empty() {
        return Ok(());
    }
    layer.create()?;
    for (process, name, value) in variables {
        let dir = layer.dir().join("env.launch").join(process);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&dir)?;
            write_if_changed(&dir.join(format!("{name}.override")), value.as_bytes())
        };
        write().map_err(|error| Failure::io(format!("setting {name} for {process}"), &error))?;
    }
    layer.write(LayerTypes { build: false, launch: true, cache: false }, &toml::Table::new())
}
