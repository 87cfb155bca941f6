//! `hoist builder`: images that apps are built with.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hoist_image::Reference;
use hoist_platform::{BuilderRequest, InspectedBuilder};
use serde_json::json;

use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};

/// The images that apps are built with
#[derive(Debug, Args)]
pub(crate) struct BuilderArgs {
    #[command(subcommand)]
    command: BuilderCommand,
}

#[derive(Debug, Subcommand)]
enum BuilderCommand {
    /// Make a builder from a builder.toml
    Create {
        /// Name of the builder
        #[arg(required_unless_present = "print_default")]
        name: Option<String>,
        /// The builder.toml; relative paths in it start at its folder
        #[arg(short, long, value_name = "FILE", default_value = "builder.toml")]
        config: PathBuf,
        /// Further names of the builder
        #[arg(short, long = "tag", value_name = "NAME")]
        tags: Vec<String>,
        /// Label of the image, NAME=VALUE
        #[arg(short, long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// Print the builder.toml of hoist's own builder, and make nothing
        #[arg(long, conflicts_with_all = ["name", "tags", "labels"])]
        print_default: bool,
    },
    /// Show what a builder has and in which order it tries it
    Inspect {
        /// Name of the builder; hoist's own without one
        name: Option<String>,
    },
}

impl BuilderArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            BuilderCommand::Create { name: Some(name), config, tags, labels, print_default: false } => {
                let request = BuilderRequest {
                    name: name.parse()?,
                    tags: tags.iter().map(|tag| tag.parse::<Reference>()).collect::<Result<_, _>>()?,
                    config_path: config,
                    labels: labels.iter().map(|label| parse_label(label)).collect::<Result<_, _>>()?,
                };
                create(context, &request)
            }
            BuilderCommand::Create { .. } => context.print(&engine::default_builder_toml()),
            BuilderCommand::Inspect { name } => inspect(context, name.as_deref()),
        }
    }
}

fn parse_label(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("{text:?} is no label"), "write NAME=VALUE")),
    }
}

fn create(context: &Context, request: &BuilderRequest) -> Result<(), Failure> {
    let made = engine::open(context)?.create_builder(request)?;
    if context.json {
        return context.print_json(&json!({
            "builder": request.name.to_string(),
            "image_id": made.image.id().to_string(),
            "layers": made.image.diff_ids().len(),
            "buildpacks": made.buildpacks,
            "extensions": made.extensions,
        }));
    }
    context.reporter.step(&format!(
        "builder {} with {}; build with it: hoist build IMAGE --builder {}",
        request.name,
        made.buildpacks.join(", "),
        request.name
    ));
    context.print(&format!("{}\n", made.image.id()))
}

fn inspect(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let name = name.map(str::parse::<Reference>).transpose()?;
    let found = engine::open(context)?.inspect_builder(name.as_ref())?;
    if context.json {
        let value = serde_json::to_value(&found).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        return context.print_json(&value);
    }
    context.print(&text(&found))
}

fn text(found: &InspectedBuilder) -> String {
    let mut text = format!("builder     {}\nid          {}\n", found.name, found.id);
    if !found.description.is_empty() {
        let _ = writeln!(text, "for         {}", found.description);
    }
    let _ = writeln!(text, "made by     {} {}", found.created_by.name, found.created_by.version);
    let _ = writeln!(text, "made for    {}", found.target);
    let _ = writeln!(text, "runs as     {}:{}", found.uid, found.gid);
    for run in &found.run_images {
        let mirrors = if run.mirrors.is_empty() { String::new() } else { format!(" (or {})", run.mirrors.join(", ")) };
        let _ = writeln!(text, "run image   {}{mirrors}", run.image);
    }
    let _ = writeln!(text, "buildpacks");
    for one in &found.buildpacks {
        let title = one.name.as_deref().or(one.homepage.as_deref()).unwrap_or_default();
        let _ = writeln!(text, "{}", format!("  {}@{}  {title}", one.id, one.version).trim_end());
    }
    for (at, group) in found.order.iter().enumerate() {
        let _ = writeln!(text, "group {}", at + 1);
        for entry in &group.group {
            let optional = if entry.optional { "  (optional)" } else { "" };
            let _ = writeln!(text, "  {}@{}{optional}", entry.id, entry.version);
        }
    }
    text
}
