//! `hoist buildpack`: what builders are made of.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hoist_image::Reference;
use hoist_platform::{BuildpackPlace, InspectedBuildpack, ModuleKind, NewBuildpack, ScaffoldError};
use hoist_spec::{ApiVersion, DetectionNode, Target, detection_tree};
use serde_json::{Value, json};

use crate::commands::listing::{depth, order_tree, table};
use crate::commands::package::PackageArgs;
use crate::commands::registry_options::RegistryOptions;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure, failure_from, harmless};

failure_from! {
    ScaffoldError => |error| if error.is_of_the_request() { Code::Usage } else { Code::Hoist },
    hoist_spec::ApiError => |_| Code::Usage,
}

/// Buildpacks: what builders are made of
#[derive(Debug, Args)]
pub(crate) struct BuildpackArgs {
    #[command(subcommand)]
    command: BuildpackCommand,
}

#[derive(Debug, Subcommand)]
enum BuildpackCommand {
    /// Begin a buildpack: a folder with buildpack.toml, bin/detect and bin/build
    New(NewArgs),
    /// Make a package of a buildpack with all that it depends on, as an image or a .cnb file
    Package(PackageArgs),
    /// Show what a buildpack or a package holds and the order that it stands for
    Inspect {
        /// An image of the store, a folder, a file or an address
        #[arg(value_name = "NAME|PATH|URI")]
        buildpack: String,
        /// How deep composites are followed in the order; below 0 as far as they go
        #[arg(short, long, value_name = "NUMBER", default_value = "-1", allow_negative_numbers = true)]
        depth: i64,
        /// Registry of buildpacks (not yet: name files)
        #[arg(short, long, value_name = "NAME", hide = true)]
        registry: Option<String>,
    },
    /// Bring a package, or a buildpack that becomes one, into the store
    Pull {
        /// An address or a file
        #[arg(value_name = "URI")]
        buildpack: String,
        /// Names of the image [default: ID:VERSION of the buildpack]
        #[arg(short, long = "tag", value_name = "NAME", value_delimiter = ',')]
        tags: Vec<String>,
        /// Registry of buildpacks (not yet: name files)
        #[arg(short = 'r', long = "buildpack-registry", value_name = "NAME", hide = true)]
        registry: Option<String>,
    },
}

/// Begin a buildpack: a folder with buildpack.toml, bin/detect and bin/build
#[derive(Debug, Args)]
struct NewArgs {
    /// Its id, for example acme/tools
    id: String,
    /// Buildpack API that it is written for
    #[arg(short, long, value_name = "VERSION", default_value = "0.10")]
    api: String,
    /// Folder to make [default: the last part of the id, in the working folder]
    #[arg(short, long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Its version
    #[arg(short = 'V', long = "version", value_name = "VERSION", default_value = "1.0.0")]
    version: String,
    /// What it runs on, such as linux/amd64 or linux/arm64/v8:debian@13; what this machine is without one
    #[arg(short, long = "targets", value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<String>,
    /// Stacks that it runs on (deprecated: say targets)
    #[arg(short, long, value_name = "ID", value_delimiter = ',', hide = true)]
    stacks: Vec<String>,
}

impl BuildpackArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            BuildpackCommand::New(args) => args.run(context),
            BuildpackCommand::Package(args) => args.run(context, ModuleKind::Buildpack),
            BuildpackCommand::Inspect { buildpack, depth, registry } => {
                RegistryOptions::refuse_registry(registry.as_deref())?;
                inspect(context, &buildpack, depth)
            }
            BuildpackCommand::Pull { buildpack, tags, registry } => {
                RegistryOptions::refuse_registry(registry.as_deref())?;
                pull(context, &buildpack, &tags)
            }
        }
    }
}

impl NewArgs {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let mut targets = self.targets.iter().map(|target| target.parse()).collect::<Result<Vec<Target>, _>>()?;
        if targets.is_empty() && self.stacks.is_empty() {
            let arch = hoist_platform::machine_arch().to_owned();
            targets.push(Target { os: "linux".to_owned(), arch, ..Target::default() });
        }
        if !self.stacks.is_empty() {
            context.reporter.warn("stacks are deprecated", Some("say what it runs on: --targets linux/amd64"));
        }
        let name = self.id.rsplit('/').next().unwrap_or_default();
        let new = NewBuildpack {
            dir: self.path.unwrap_or_else(|| PathBuf::from(name)),
            id: self.id.clone(),
            version: self.version,
            api: self.api.parse::<ApiVersion>()?,
            targets,
            stacks: self.stacks,
        };
        let files = new.write()?;
        if context.json {
            return context.print_json(&json!({"buildpack": new.id, "folder": new.dir, "files": files}));
        }
        for file in files {
            context.reporter.step(&format!("create {}", new.dir.join(file).display()));
        }
        let dir = new.dir.display();
        context.reporter.step(&format!("edit it, then: hoist buildpack package {name}.cnb -f file -p {dir}"));
        context.print(&format!("{dir}\n"))
    }
}

fn inspect(context: &Context, location: &str, typed: i64) -> Result<(), Failure> {
    let found = engine::open(context)?.inspect_buildpack(location)?;
    // The buildpack itself is the first step, as pack counts.
    let tree = match depth(typed) {
        Some(0) => Vec::new(),
        steps => detection_tree(&found.order, &found.layers, steps.map(|steps| steps - 1)),
    };
    if context.json {
        return context.print_json(&json!({
            found.kind.word(): found.info,
            "image_id": found.image_id,
            "stacks": found.stacks,
            "targets": found.targets,
            "modules": found.modules,
            "order": tree.iter().map(|group| json!({"group": nodes(group)})).collect::<Vec<_>>(),
        }));
    }
    context.print(&text(location, &found, &tree))
}

fn nodes(group: &[DetectionNode]) -> Vec<Value> {
    let node = |node: &DetectionNode| {
        json!({
            "id": node.entry.id,
            "version": node.entry.version,
            "optional": node.entry.optional,
            "cyclic": node.cyclic,
            "order": node.groups.iter().map(|group| json!({"group": nodes(group)})).collect::<Vec<_>>(),
        })
    };
    group.iter().map(node).collect()
}

fn text(location: &str, found: &InspectedBuildpack, tree: &[Vec<DetectionNode>]) -> String {
    let place = match found.place {
        BuildpackPlace::Image => "LOCAL IMAGE",
        BuildpackPlace::Archive => "LOCAL ARCHIVE",
        BuildpackPlace::RemoteArchive => "REMOTE ARCHIVE",
        BuildpackPlace::Folder => "LOCAL FOLDER",
        BuildpackPlace::Shipped => "HOIST'S OWN",
    };
    let mut text = format!("Inspecting {}: '{location}'\n\n{place}:\n\n", found.kind.word());
    if !found.stacks.is_empty() {
        text.push_str("Stacks:\n");
    }
    for stack in &found.stacks {
        let mixins = if stack.mixins.is_empty() { "(none)".to_owned() } else { stack.mixins.join("\n      ") };
        let _ = writeln!(text, "  ID: {}\n    Mixins:\n      {mixins}", stack.id);
    }
    if !found.stacks.is_empty() {
        text.push('\n');
    }
    if !found.targets.is_empty() {
        let targets: Vec<String> = found.targets.iter().map(|target| format!("  {target}\n")).collect();
        let _ = writeln!(text, "Targets:\n{}", targets.concat());
    }
    let title = if found.kind == ModuleKind::Buildpack { "Buildpacks" } else { "Extensions" };
    let _ = writeln!(text, "{title}:\n{}", table(&found.modules));
    if found.kind == ModuleKind::Buildpack {
        let _ = write!(text, "Detection Order:\n{}", order_tree(tree));
    }
    harmless(&text)
}

fn pull(context: &Context, location: &str, tags: &[String]) -> Result<(), Failure> {
    let names: Vec<Reference> = tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
    let pulled = engine::open(context)?.pull_buildpack(location, &names)?;
    let names: Vec<String> = pulled.names.iter().map(ToString::to_string).collect();
    if context.json {
        return context.print_json(&json!({
            "buildpack": pulled.main,
            "modules": pulled.modules,
            "names": names,
            "image_id": pulled.id,
        }));
    }
    context.reporter.step(&format!("{} is in the store as {}", pulled.main, names.join(", ")));
    context.print(&format!("{}\n", pulled.id))
}
