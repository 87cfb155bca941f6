//! `hoist builder`: images that apps are built with.

mod document;
mod text;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hoist_image::Reference;
use hoist_platform::BuilderRequest;
use hoist_spec::Target;
use serde_json::json;

use crate::commands::listing::{OutputFormat, depth};
use crate::commands::registry_options::RegistryOptions;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};

use document::document;
use text::text;

/// The images that apps are built with
#[derive(Debug, Args)]
pub(crate) struct BuilderArgs {
    #[command(subcommand)]
    command: BuilderCommand,
}

#[derive(Debug, Subcommand)]
enum BuilderCommand {
    /// Make a builder from a builder.toml
    Create(Box<CreateArgs>),
    /// Show what a builder has and in which order it tries it
    Inspect {
        /// Name of the builder; hoist's own without one
        name: Option<String>,
        /// As text, or as a document with the keys of pack
        #[arg(short, long, value_enum, value_name = "FORMAT")]
        output: Option<OutputFormat>,
        /// How deep composites are followed in the order; below 0 as far as they go
        #[arg(short, long, value_name = "NUMBER", default_value = "-1", allow_negative_numbers = true)]
        depth: i64,
    },
}

/// Make a builder from a builder.toml
#[derive(Debug, Args)]
struct CreateArgs {
    /// Name of the builder
    #[arg(required_unless_present = "print_default")]
    name: Option<String>,
    /// The builder.toml; relative paths in it start at its folder
    #[arg(short, long, value_name = "FILE", default_value = "builder.toml")]
    config: PathBuf,
    /// Further names of the builder
    #[arg(long = "tag", value_name = "NAME", value_delimiter = ',')]
    tags: Vec<String>,
    /// Label of the image, NAME=VALUE
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Buildpacks that share a layer, ID@VERSION,ID@VERSION; may be given several times
    #[arg(long, value_name = "BUILDPACKS")]
    flatten: Vec<String>,
    /// What it is to be for, OS/ARCH; that of the build image
    #[arg(short, long = "target", value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<String>,
    #[command(flatten)]
    registry: RegistryOptions,
    /// Print the builder.toml of hoist's own builder, and make nothing
    #[arg(long, conflicts_with_all = ["name", "tags", "labels", "flatten", "targets"])]
    print_default: bool,
}

impl BuilderArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            BuilderCommand::Create(args) => args.run(context),
            BuilderCommand::Inspect { name, output, depth } => inspect(context, name.as_deref(), output, depth),
        }
    }
}

impl CreateArgs {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(name) = self.name.filter(|_| !self.print_default) else {
            let text = engine::default_builder_toml(context);
            if context.json {
                return context.print_json(&json!({"builder_toml": text}));
            }
            return context.print(&text);
        };
        let request = BuilderRequest {
            name: name.parse()?,
            tags: self.tags.iter().map(|tag| tag.parse::<Reference>()).collect::<Result<_, _>>()?,
            config_path: self.config,
            labels: self.labels.iter().map(|label| parse_label(label)).collect::<Result<_, _>>()?,
            flatten: self.flatten.iter().map(|names| parse_flatten(names)).collect::<Result<_, _>>()?,
            targets: self.targets.iter().map(|target| target.parse::<Target>()).collect::<Result<_, _>>()?,
        };
        create(context, &request, &self.registry)
    }
}

pub(crate) fn parse_label(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("{text:?} is no label"), "write NAME=VALUE")),
    }
}

fn create(context: &Context, request: &BuilderRequest, registry: &RegistryOptions) -> Result<(), Failure> {
    let names: Vec<Reference> = std::iter::once(&request.name).chain(&request.tags).cloned().collect();
    registry.apply(context, &names)?;
    let made = engine::open(context)?.create_builder(request)?;
    registry.publish(context, &made.image, &names)?;
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

fn inspect(context: &Context, name: Option<&str>, output: Option<OutputFormat>, typed: i64) -> Result<(), Failure> {
    let name = name.map(str::parse::<Reference>).transpose()?;
    let found = engine::open(context)?.inspect_builder(name.as_ref())?;
    if context.json && output.is_none() {
        let value = serde_json::to_value(&found).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
        return context.print_json(&value);
    }
    let format = output.unwrap_or(OutputFormat::HumanReadable);
    let text = document(&found, format, depth(typed)).unwrap_or_else(|| text(&found, depth(typed)));
    context.print(&text)
}

/// `ID@VERSION,ID@VERSION`: what shares a layer.
fn parse_flatten(text: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let whole = |name: &String| name.split_once('@').is_some_and(|(id, version)| !id.is_empty() && !version.is_empty());
    if names.iter().all(whole) {
        return Ok(names);
    }
    Err(Failure::usage(format!("{text:?} names no buildpacks with their versions"), "write ID@VERSION,ID@VERSION"))
}
