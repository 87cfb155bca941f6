//! `hoist bundle`: all that the build of an app needs in one file, for machines without a network.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hoist_platform::{BundleContents, inspect_bundle};
use serde_json::json;

use crate::commands::build::{BuildOptions, BuildpackOptions, SurroundingsOptions};
use crate::context::Context;
use crate::failure::{Code, Failure};

const EXAMPLES: &str = "\
Examples:
  hoist bundle --path shop --output shop.bundle               where there is a network
  hoist build shop --path shop --offline --bundle shop.bundle where there is none: the same image
  hoist bundle inspect shop.bundle                            what is in it";

/// Everything that the build of an app needs, in one file, to build it where there is no network
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct BundleArgs {
    #[command(subcommand)]
    command: Option<BundleCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// What a bundle holds: images, packages with their versions, sizes
    Inspect {
        /// The file that `hoist bundle` made
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct MakeArgs {
    /// Folder or zip of the app
    #[arg(short, long, default_value = ".", value_name = "DIR|ZIP")]
    path: PathBuf,
    /// File of the bundle; otherwise one called like the app, here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    buildpacks: BuildpackOptions,
    #[command(flatten)]
    surroundings: SurroundingsOptions,
    #[command(flatten)]
    how: BuildOptions,
}

impl BundleArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            Some(BundleCommand::Inspect { file }) => inspect(context, &file),
            None => self.make.run(context),
        }
    }
}

impl MakeArgs {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let output = match &self.output {
            Some(output) => output.clone(),
            None => PathBuf::from(format!("{}.bundle", name_of(&self.path)?)),
        };
        let mut request = self.how.request(context, self.path.clone())?;
        self.buildpacks.apply(context, &mut request)?;
        self.surroundings.apply(context, &mut request)?;
        let made = self.how.open(context)?.bundle(&request, &output)?;
        if context.json {
            let mut value = as_json(&made.contents)?;
            value["file"] = json!(made.path);
            value["is_repeatable"] = json!(made.difference.is_none());
            value["difference"] = json!(made.difference);
            value["elapsed_ms"] = json!(made.elapsed.as_millis());
            return context.print_json(&value);
        }
        context.reporter.step(&format!(
            "{} has {} MB; where there is no network: hoist build {} --path {} --offline --bundle {}",
            made.path.display(),
            megabytes(made.contents.bytes),
            made.contents.app,
            self.path.display(),
            made.path.display()
        ));
        context.print(&format!("{}\n", made.contents.image_id))
    }
}

/// What the app's folder or archive is called.
fn name_of(path: &Path) -> Result<String, Failure> {
    let real = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = if real.is_dir() { real.file_name() } else { real.file_stem() };
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.ok_or_else(|| Failure::usage("the app has no name that a bundle could have", "name the bundle: --output FILE"))
}

fn inspect(context: &Context, file: &Path) -> Result<(), Failure> {
    let contents = inspect_bundle(file)?;
    if context.json { context.print_json(&as_json(&contents)?) } else { context.print(&text(&contents)) }
}

fn as_json(contents: &BundleContents) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(contents).map_err(|error| Failure::new(&error, None, Code::Hoist))
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

fn text(contents: &BundleContents) -> String {
    let mut text = format!(
        "app      {}\nimage    {}\nbuilder  {}\nmade by  hoist {}, for {}\nbundle   {}, {} MB\n",
        shown(&contents.app),
        shown(&contents.image_id),
        shown(contents.builder.as_deref().unwrap_or("hoist's own")),
        shown(&contents.hoist),
        contents.architecture,
        contents.digest,
        megabytes(contents.bytes)
    );
    let _ = writeln!(text, "images ({})", contents.images.len());
    for image in &contents.images {
        let _ = writeln!(text, "  {} {}, {} MB", shown(&image.name), shown(&image.id), megabytes(image.bytes));
    }
    let _ = writeln!(text, "cache    {} files, {} MB unpacked", contents.cache_files, megabytes(contents.cache_bytes));
    let _ = writeln!(text, "packages ({})", contents.packages.len());
    for package in &contents.packages {
        let _ = writeln!(text, "  {} {} {}", shown(&package.kind), shown(&package.name), shown(&package.version));
    }
    text
}

/// Whoever made the bundle: no control character of it reaches the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_of_a_stranger_reaches_the_terminal() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
    }
}
