//! `hoist base`: the build and run images that everything stands on.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hoist_base::{BaseLock, read_lock, write_lock};
use hoist_platform::BaseChoice;
use serde_json::json;

use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};

/// The images that every app is built in and runs on: made from Debian packages
#[derive(Debug, Args)]
pub(crate) struct BaseArgs {
    #[command(subcommand)]
    command: BaseCommand,
}

#[derive(Debug, Subcommand)]
enum BaseCommand {
    /// Make the base if it is not there, and say what it is made of
    Show,
    /// Make the base again from the newest packages of the mirror
    Update,
    /// Write down exactly which packages the base is made of, to make it again elsewhere
    Lock {
        /// File of the lock
        #[arg(short, long, value_name = "FILE", default_value = "hoist-base.lock")]
        output: PathBuf,
        /// Look for newer packages first; nothing is fetched or made
        #[arg(long)]
        update: bool,
    },
    /// Make exactly the base of a lock, and use it from now on
    Make {
        /// The lock that `hoist base lock` wrote
        #[arg(long, value_name = "FILE")]
        locked: PathBuf,
    },
}

impl BaseArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let engine = engine::open(context)?;
        match self.command {
            BaseCommand::Show => show(context, &engine.base(&BaseChoice::Present)?),
            BaseCommand::Update => show(context, &engine.base(&BaseChoice::Newest)?),
            BaseCommand::Make { locked } => {
                let lock = read_lock(&locked)?;
                show(context, &engine.base(&BaseChoice::Locked(Box::new(lock)))?)
            }
            BaseCommand::Lock { output, update } => {
                let lock = if update { engine.newest_base_lock()? } else { engine.base(&BaseChoice::Present)?.lock };
                write_lock(&output, &lock)?;
                if context.json {
                    return context.print_json(&json!({"file": output, "packages": lock.run.len() + lock.build.len()}));
                }
                context.reporter.step(&format!(
                    "{} names {} packages; make that base anywhere with: hoist base make --locked {}",
                    output.display(),
                    lock.run.len() + lock.build.len(),
                    output.display()
                ));
                Ok(())
            }
        }
    }
}

fn show(context: &Context, base: &hoist_base::Base) -> Result<(), Failure> {
    if context.json {
        let lock = serde_json::to_value(&base.lock).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        return context.print_json(&json!({
            "run_image": base.run_image,
            "build_image": base.build_image,
            "lock": lock,
        }));
    }
    context.print(&text(base, &base.lock))
}

fn text(base: &hoist_base::Base, lock: &BaseLock) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "suite        {} ({})\nrun image    {}\nbuild image  {}\n",
        lock.suite, lock.architecture, base.run_image, base.build_image
    );
    for release in &lock.releases {
        let _ = writeln!(text, "index        {} of {}", release.suite, release.date);
    }
    for (name, packages) in [("run", &lock.run), ("build", &lock.build)] {
        let _ = writeln!(text, "{name} packages ({})", packages.len());
        for package in packages {
            let _ = writeln!(text, "  {} {}", package.name, package.version);
        }
    }
    text
}
