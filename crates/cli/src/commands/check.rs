//! `hoist check`: what would be built and why, and what is wrong, without building.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hoist_platform::{CheckReport, Problem};

use crate::commands::build::BuildOptions;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::terminal::bytes;

/// Say what would be built and why, and what is wrong, without building
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folder or zip of the app or service; otherwise the folder that you are in
    #[arg(value_name = "DIR|ZIP")]
    path: Option<PathBuf>,
    /// The same, as `hoist build` is told it
    #[arg(short = 'p', long = "path", value_name = "DIR|ZIP", conflicts_with = "path")]
    path_of_build: Option<PathBuf>,
    /// Resolve as a build would, and write what is taken as a lock, pylock.toml or pylock.NAME.toml; - is standard output. At the root of the app it leads
    /// from then on
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    how: BuildOptions,
}

impl CheckArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(file) = &self.lock {
            check_lock_name(file)?;
        }
        let path = self.path.or(self.path_of_build).unwrap_or_else(|| PathBuf::from("."));
        let request = self.how.request(context, path)?;
        let engine = self.how.open(context)?;
        let report = engine.check(&request)?;
        let is_fine = !report.problems.iter().any(Problem::is_fatal);
        let on_stdout = self.lock.as_deref() == Some(Path::new("-"));
        let locked = match &self.lock {
            Some(file) if is_fine => Some((file, engine.lock(&request)?)),
            _ => None,
        };
        if let Some((file, lock)) = &locked
            && !on_stdout
        {
            write_lock(file, lock)?;
        }
        if context.json {
            let mut value = serde_json::to_value(&report).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
            if let Some((file, lock)) = &locked {
                value["lock"] = serde_json::json!({ "file": file, "packages": packages(lock), "text": lock });
            }
            context.print_json(&value)?;
        } else if let (Some((_, lock)), true) = (&locked, on_stdout) {
            context.print(lock)?;
        } else {
            context.print(&text(&report))?;
            if let Some((file, lock)) = &locked {
                context.print(&format!("{:<13} {}, {} packages\n", "locked", file.display(), packages(lock)))?;
            }
        }
        match report.problems.iter().filter(|problem| problem.is_fatal()).count() {
            0 => Ok(()),
            _ => Err(Failure::of_process(Code::App.number())),
        }
    }
}

/// Tools know locks by their names ("pylock.toml" specification).
fn check_lock_name(file: &Path) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let middle = name.strip_prefix("pylock.").and_then(|rest| rest.strip_suffix(".toml"));
    let is_named = name == "pylock.toml" || middle.is_some_and(|middle| !middle.is_empty() && !middle.contains('.'));
    if file != Path::new("-") && !is_named {
        let message =
            format!("the lock is to be written to {}, and tools would not find it under that name", file.display());
        return Err(Failure::usage(message, "name it pylock.toml, or pylock.NAME.toml"));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file != Path::new("-") && !folder.is_dir() {
        let message =
            format!("the lock is to be written to {}, and there is no folder {}", file.display(), folder.display());
        return Err(Failure::usage(message, "make the folder first, or name another"));
    }
    Ok(())
}

/// In one piece: whoever reads it meanwhile sees the old one or the new one.
fn write_lock(file: &Path, lock: &str) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &std::io::Error| {
        let message = format!("writing the lock to {}: {error}", file.display());
        Failure::hoist(message, "look for a full disk or missing permissions")
    };
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    temporary.write_all(lock.as_bytes()).map_err(|error| failed(&error))?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    temporary.as_file().set_permissions(readable).map_err(|error| failed(&error))?;
    temporary.persist(file).map_err(|error| failed(&error.error))?;
    Ok(())
}

fn packages(lock: &str) -> usize {
    lock.lines().filter(|line| *line == "[[packages]]").count()
}

fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<13} {value}");
    };
    row("name", &report.name);
    row("layout", report.layout);
    if let Some(contract) = &report.contract {
        row("contract", &format!("{} ({})", contract.value, contract.reason));
    }
    if let Some(entry_point) = report.entry_point {
        row("entry point", entry_point);
    }
    let dependencies = match (&report.dependencies, &report.dependencies_reason) {
        (Some(file), Some(reason)) => format!("{file} ({reason})"),
        (Some(file), None) => file.clone(),
        (None, _) => "none declared".to_owned(),
    };
    row("dependencies", &dependencies);
    if let Some(manager) = report.manager {
        row("manager", manager);
    }
    if let Some(python) = &report.python {
        row("python", &format!("{} ({})", python.value, python.reason));
    }
    if !report.deb_packages.is_empty() {
        let listed = report.deb_packages.iter().map(|one| format!("{} ({})", one.value, one.reason));
        row("debian", &listed.collect::<Vec<_>>().join(", "));
    }
    if report.cpus.is_some() || report.memory_bytes.is_some() {
        row("limits", &limits(report));
    }
    row("files", &format!("{}, {}", report.files, bytes(report.total_bytes)));
    for problem in &report.problems {
        let kind = if problem.is_fatal() { "error" } else { "warning" };
        let _ = writeln!(text, "{kind}: {}", problem.message);
        for (number, fix) in problem.fixes.iter().enumerate() {
            let _ = writeln!(text, "  {} {fix}", if number == 0 { "try:" } else { "    " });
        }
    }
    if report.problems.is_empty() {
        text.push_str("nothing wrong was found\n");
    }
    text
}

/// As `planqk.json` has them: its GB of memory are powers of 1024.
fn limits(report: &CheckReport) -> String {
    let cpus = match report.cpus {
        None => "any number of processors".to_owned(),
        Some(cpus) => format!("{cpus} processor{}", if cpus > 1.0 { "s" } else { "" }),
    };
    #[allow(clippy::cast_precision_loss)] // shown with two digits
    let memory = report.memory_bytes.map_or_else(
        || "any amount".to_owned(),
        |bytes| format!("{} GB", (bytes as f64 / f64::from(1_u32 << 30) * 100.0).round() / 100.0),
    );
    format!("{cpus}, {memory} of memory")
}
