//! `hoist check`: what would be built and why, and what is wrong, without building.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use hoist_platform::CheckReport;

use crate::commands::build::BuildOptions;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};
use crate::terminal::bytes;

/// Say what would be built and why, and what is wrong, without building
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folder or zip of the app or service
    #[arg(default_value = ".", value_name = "DIR|ZIP")]
    path: PathBuf,
    #[command(flatten)]
    how: BuildOptions,
}

impl CheckArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let request = self.how.request(context, self.path)?;
        let report = engine::open_on(context, self.how.locked.as_deref())?.check(&request)?;
        if context.json {
            let value = serde_json::to_value(&report).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
            context.print_json(&value)?;
        } else {
            context.print(&text(&report))?;
        }
        match report.problems.iter().filter(|problem| problem.fatal).count() {
            0 => Ok(()),
            _ => Err(Failure::of_process(Code::App.number())),
        }
    }
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
    if report.cpus.is_some() || report.memory_bytes.is_some() {
        row("limits", &limits(report));
    }
    row("files", &format!("{}, {}", report.files, bytes(report.total_bytes)));
    for problem in &report.problems {
        let kind = if problem.fatal { "error" } else { "warning" };
        let _ = writeln!(text, "{kind}: {}\n  try: {}", problem.text, problem.hint);
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
