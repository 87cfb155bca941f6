//! `hoist buildpack package` and `hoist extension package`: the same arguments, the same work.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hoist_image::Reference;
use hoist_platform::{ModuleKind, PackageOutput, PackageRequest, PackageSource, Packaged};
use hoist_spec::Target;
use serde_json::json;

use crate::commands::registry_options::RegistryOptions;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure, failure_from};

failure_from! {
    hoist_spec::TargetError => |_| Code::Usage,
}

/// Make a package: the buildpack with all that it depends on, as an image or a .cnb file
#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// Name of the image; with --format file the file, which ends in .cnb
    #[arg(value_name = "NAME|FILE")]
    name: String,
    /// The package.toml: where the buildpack is, and what a composite consists of; relative paths in it start at its folder
    #[arg(short, long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// Folder (or tar, or address) of the buildpack [default: the working folder]
    #[arg(short, long, value_name = "DIR")]
    path: Option<String>,
    /// An image of the store, or a file
    #[arg(short, long, value_enum, default_value = "image")]
    format: Format,
    /// What it is to be for, such as linux/amd64 or linux/arm64/v8:debian@13; with --format file there may be several
    #[arg(short, long = "target", value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<String>,
    /// Label of the image, NAME=VALUE
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Further names of the image
    #[arg(long = "tag", value_name = "NAME", value_delimiter = ',')]
    tags: Vec<String>,
    /// Put all buildpacks into one layer, which the specification of packages does not allow
    #[arg(long)]
    flatten: bool,
    /// Buildpacks that keep a layer of their own, ID@VERSION
    #[arg(short = 'e', long, value_name = "ID@VERSION", value_delimiter = ',', requires = "flatten")]
    flatten_exclude: Vec<String>,
    #[command(flatten)]
    registry: RegistryOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An image of the store
    Image,
    /// A .cnb file, which pack and hoist take where they take buildpacks
    File,
}

impl PackageArgs {
    pub(crate) fn run(self, context: &Context, kind: ModuleKind) -> Result<(), Failure> {
        if self.flatten {
            context.reporter.warn(
                "a package with several buildpacks in one layer is none in the sense of the specification",
                Some("leave --flatten out, unless the image has more layers than something takes"),
            );
        }
        let request = PackageRequest {
            kind,
            source: match (self.config, self.path) {
                (Some(config), _) => PackageSource::Config(config),
                (None, path) => PackageSource::Location(path.unwrap_or_else(|| ".".to_owned())),
            },
            output: match self.format {
                Format::Image => PackageOutput::Image(names(&self.name, &self.tags)?),
                Format::File => PackageOutput::File(file_name(context, &self.name, &self.tags)?),
            },
            targets: self.targets.iter().map(|target| target.parse::<Target>()).collect::<Result<_, _>>()?,
            labels: self.labels.iter().map(|label| super::builder::parse_label(label)).collect::<Result<_, _>>()?,
            flatten: self.flatten.then_some(self.flatten_exclude),
        };
        let names = match &request.output {
            PackageOutput::Image(names) => names.as_slice(),
            PackageOutput::File(_) => &[],
        };
        self.registry.apply(context, names)?;
        let engine = engine::open(context)?;
        let made = engine.package(&request)?;
        for one in made.outputs.iter().filter(|_| !names.is_empty()) {
            self.registry.publish(context, &engine.store().image(&one.id)?, names)?;
        }
        answer(context, &request, &made)
    }
}

fn names(name: &str, tags: &[String]) -> Result<Vec<Reference>, Failure> {
    let names = std::iter::once(name).chain(tags.iter().map(String::as_str));
    Ok(names.map(str::parse::<Reference>).collect::<Result<_, _>>()?)
}

/// "Its file name SHOULD end in `.cnb`."
fn file_name(context: &Context, name: &str, tags: &[String]) -> Result<PathBuf, Failure> {
    if !tags.is_empty() {
        return Err(Failure::usage("a file has no further names", "leave --tag out, or make an image"));
    }
    let path = PathBuf::from(name);
    match path.extension().map(|extension| extension.to_string_lossy().into_owned()).as_deref() {
        Some("cnb") => Ok(path),
        None => Ok(PathBuf::from(format!("{name}.cnb"))),
        Some(other) => {
            context.reporter.warn(&format!("packages end in .cnb, and this one in .{other}"), None);
            Ok(path)
        }
    }
}

fn answer(context: &Context, request: &PackageRequest, made: &Packaged) -> Result<(), Failure> {
    let names = match &request.output {
        PackageOutput::Image(names) => names.iter().map(ToString::to_string).collect(),
        PackageOutput::File(_) => Vec::new(),
    };
    if context.json {
        let outputs = made.outputs.iter().map(|one| {
            json!({
                "target": one.target.as_ref().map(ToString::to_string),
                "image_id": one.id,
                "names": names,
                "file": one.file,
            })
        });
        return context.print_json(&json!({
            request.kind.word(): made.main,
            "modules": made.modules,
            "outputs": outputs.collect::<Vec<_>>(),
        }));
    }
    for one in &made.outputs {
        let target = one.target.as_ref().map(|target| format!(" for {target}")).unwrap_or_default();
        let what = made.modules.join(", ");
        let place = one.file.as_ref().map_or_else(|| names.join(", "), |file| file.display().to_string());
        context.reporter.step(&format!("package {place}{target} with {what}"));
        context.print(&format!("{}\n", one.file.as_ref().map_or_else(|| one.id.clone(), |_| place)))?;
    }
    Ok(())
}
