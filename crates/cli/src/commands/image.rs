//! `hoist image`: the images of the store.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hoist_image::{ArchiveFormat, Compression, Image, ImageId, LoadError, LoadLimits, Reference, SaveError};
use serde_json::{Value, json};

use crate::commands::image_attestations::AttestationsArgs;
use crate::commands::image_transfer::{PullArgs, PushArgs};
use crate::commands::image_verify::VerifyArgs;
use crate::commands::inspect::Built;
use crate::commands::remote::{self, RemoteFlag, RemoteImage};
use crate::commands::run::parse_size;
use crate::context::Context;
use crate::engine::{image_to_give, open_store};
use crate::failure::{Code, Failure, failure_from, harmless};
use crate::terminal::bytes;

failure_from! {
    SaveError => |error| if error.is_of_the_place() { Code::Usage } else { Code::Hoist },
    LoadError => |error| if error.is_of_the_machine() { Code::Hoist } else { Code::Usage },
}

/// The images of the store
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// List images with their names, ids and sizes; with --remote the tags of a name
    Ls {
        /// With --remote: HOST/NAME
        #[arg(requires = "remote")]
        name: Option<String>,
        #[command(flatten)]
        remote: RemoteFlag,
    },
    /// Show an image's names, processes, configuration and layers
    Inspect {
        /// Name or id
        image: String,
        #[command(flatten)]
        remote: RemoteImage,
    },
    /// Remove names of images; an image goes with its last name, its layers with the next `hoist system prune`
    Rm {
        /// Names, or ids: an id goes with all its names
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        #[command(flatten)]
        remote: RemoteFlag,
    },
    /// Give an image one more name; with --remote at its registry or at another one, with all its platforms, and without fetching it
    Tag {
        /// Name or id
        image: String,
        /// The new name
        name: String,
        #[command(flatten)]
        remote: RemoteFlag,
    },
    /// Write an image to an archive that docker, podman and skopeo read
    Save {
        /// Name or id
        image: String,
        /// Where to: a file (with oci-dir a folder), or - for standard output
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Kind of archive
        #[arg(long, value_enum, default_value = "docker-archive")]
        format: SaveFormat,
        /// How the layers of an OCI archive are compressed; a docker-archive never is
        #[arg(long, value_enum, default_value = "gzip")]
        compression: SaveCompression,
        #[command(flatten)]
        remote: RemoteImage,
    },
    /// Read the images of an archive: what docker, podman or skopeo saved, or an OCI layout
    Load {
        /// File or folder; - for standard input
        #[arg(value_name = "FILE", required_unless_present = "input")]
        archive: Option<PathBuf>,
        /// The same, as docker has it
        #[arg(short, long, value_name = "FILE", conflicts_with = "archive")]
        input: Option<PathBuf>,
        /// The most that it may unpack to
        #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
        max_size: u64,
    },
    Push(PushArgs),
    Pull(PullArgs),
    Verify(Box<VerifyArgs>),
    Attestations(AttestationsArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveFormat {
    /// What `docker save` writes: every docker, podman and skopeo reads it
    DockerArchive,
    /// An OCI layout in a tar
    OciArchive,
    /// An OCI layout in a folder
    OciDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SaveCompression {
    /// Not at all
    None,
    /// Every receiver takes it
    Gzip,
    /// Smaller and faster, for newer receivers
    Zstd,
}

impl From<SaveCompression> for Compression {
    fn from(compression: SaveCompression) -> Self {
        match compression {
            SaveCompression::None => Self::None,
            SaveCompression::Gzip => Self::Gzip,
            SaveCompression::Zstd => Self::Zstd,
        }
    }
}

impl ImageArgs {
    /// Whether Ctrl-C has something to remove.
    pub(crate) fn cleans_up(&self) -> bool {
        match &self.command {
            ImageCommand::Verify(args) => args.cleans_up(),
            ImageCommand::Push(args) => args.cleans_up(),
            ImageCommand::Pull(_) => true,
            ImageCommand::Tag { remote, .. } => remote.is_said(),
            ImageCommand::Save { remote, .. } => remote.is_said(),
            _ => false,
        }
    }

    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            ImageCommand::Ls { name, remote } if remote.is_set(context)? => remote::list(context, name.as_deref()),
            ImageCommand::Ls { .. } => list(context),
            ImageCommand::Inspect { image, remote } => inspect(context, &image, &remote),
            ImageCommand::Rm { images, remote } if remote.is_set(context)? => remote::remove(context, &images),
            ImageCommand::Rm { images, .. } => remove(context, &images),
            ImageCommand::Tag { image, name, remote } if remote.is_set(context)? => remote::tag(context, &image, &name),
            ImageCommand::Tag { image, name, .. } => {
                let store = open_store(context)?;
                let (image, name) = (store.image(&image)?, name.parse::<Reference>()?);
                store.tag(&image, &name)?;
                if context.json {
                    return context.print_json(&json!({"id": image.id().to_string(), "name": name.to_string()}));
                }
                Ok(())
            }
            ImageCommand::Save { image, output, format, compression, remote } => {
                let (image, names) = to_save(context, &image, &remote)?;
                save(context, (&image, &names), &output, format, compression.into())
            }
            ImageCommand::Load { archive, input, max_size } => {
                load(context, &archive.or(input).unwrap_or_default(), max_size)
            }
            ImageCommand::Push(args) => args.run(context),
            ImageCommand::Pull(args) => args.run(context),
            ImageCommand::Verify(args) => args.run(context),
            ImageCommand::Attestations(args) => args.run(context),
        }
    }
}

/// An image with the names that stand for it.
struct Row {
    id: ImageId,
    names: Vec<String>,
    /// Layers and bytes; what is wrong, where the image cannot be read.
    seen: Result<(usize, u64), String>,
}

/// One that is damaged does not hide the others.
fn rows(context: &Context) -> Result<Vec<Row>, Failure> {
    let store = open_store(context)?;
    let names = store.names()?;
    let mut rows = Vec::new();
    for id in store.image_ids()? {
        let own = names.iter().filter(|(_, named)| *named == id).map(|(name, _)| name.to_string()).collect();
        let seen = store.image_by_id(&id).and_then(|image| Ok((image.diff_ids().len(), image.size_bytes()?)));
        rows.push(Row { id, names: own, seen: seen.map_err(|error| error.to_string()) });
    }
    rows.sort_by(|a, b| a.names.is_empty().cmp(&b.names.is_empty()).then_with(|| a.names.cmp(&b.names)));
    Ok(rows)
}

fn list(context: &Context) -> Result<(), Failure> {
    let rows = rows(context)?;
    if context.json {
        let all: Vec<Value> = rows
            .iter()
            .map(|row| {
                let seen = row.seen.as_ref();
                json!({
                    "id": row.id.to_string(),
                    "names": row.names,
                    "layers": seen.ok().map(|(layers, _)| layers),
                    "size_bytes": seen.ok().map(|(_, size)| size),
                    "problem": seen.err(),
                })
            })
            .collect();
        return context.print_json(&json!(all));
    }
    let width = rows.iter().flat_map(|row| &row.names).map(String::len).max().unwrap_or(4).max(6);
    let mut text = format!("{:<width$}  {:<12}  {:>6}  {:>9}\n", "NAME", "ID", "LAYERS", "SIZE");
    for row in &rows {
        let (layers, size) = match &row.seen {
            Ok((layers, size)) => (layers.to_string(), bytes(*size)),
            Err(_) => ("?".to_owned(), "damaged".to_owned()),
        };
        let none = vec!["(none)".to_owned()];
        for name in if row.names.is_empty() { &none } else { &row.names } {
            let _ = writeln!(text, "{name:<width$}  {:<12}  {layers:>6}  {size:>9}", &row.id.hex()[..12]);
        }
    }
    context.print(&text)?;
    for row in &rows {
        if let Err(problem) = &row.seen {
            let hint = format!("build or load it again, or remove it: hoist image rm {}", &row.id.hex()[..12]);
            context.reporter.warn(&format!("image {} is damaged: {problem}", &row.id.hex()[..12]), Some(&hint));
        }
    }
    Ok(())
}

/// What is known of an image beside its configuration.
pub(super) struct Shown {
    pub(super) names: Vec<String>,
    /// Each with its diffID and its length, lowest first.
    pub(super) layers: Vec<Value>,
    /// Under which key a layer's length stands, and that of all of them.
    pub(super) size: &'static str,
    /// What else there is to tell.
    pub(super) more: Vec<(&'static str, Value)>,
}

/// What the store has of an image.
fn in_store(image: &Image) -> Result<Shown, Failure> {
    let layers = image.layers()?.into_iter();
    let layers = layers.map(|layer| json!({"diff_id": layer.diff_id().to_string(), "size_bytes": layer.size_bytes()}));
    let names = image.names()?.iter().map(ToString::to_string).collect();
    Ok(Shown { names, layers: layers.collect(), size: "size_bytes", more: Vec::new() })
}

pub(super) fn inspect(context: &Context, wanted: &str, remote: &RemoteImage) -> Result<(), Failure> {
    let (image, shown) = if let Some(name) = remote.name(context, wanted)? {
        let seen = remote.look(context, &name)?;
        let shown = remote::shown(&seen, &name);
        (seen.image, shown)
    } else {
        let image = open_store(context)?.image(wanted)?;
        let shown = in_store(&image)?;
        (image, shown)
    };
    let failed = |error: serde_json::Error| Failure::new(&error, None, Code::Hoist);
    let config: Value = serde_json::from_slice(image.config_bytes()).map_err(failed)?;
    let Shown { names, mut layers, size, more } = shown;
    let history = config["history"].as_array().into_iter().flatten().filter(|entry| entry["empty_layer"] != true);
    for (layer, history) in layers.iter_mut().zip(history.map(Some).chain(std::iter::repeat(None))) {
        layer["created_by"] = json!(history.and_then(|history| history["created_by"].as_str()));
    }
    let total: u64 = layers.iter().filter_map(|layer| layer[size].as_u64()).sum();
    let (processes, built) = (processes(&config), Built::of(&config));
    if context.json {
        let mut document = json!({
            "id": image.id().to_string(),
            "names": names,
            "buildpacks": built.buildpacks,
            "run_image": built.run_image,
            "default_process": built.default_process,
            "processes": processes,
            size: total,
            "layers": layers,
            "config": config,
        });
        for (key, value) in more {
            document[key] = value;
        }
        return context.print_json(&document);
    }
    let mut text = format!("id       {}\nnames    {}\nsize     {}\n", image.id(), names.join(", "), bytes(total));
    for (title, value) in more.iter().filter_map(|(key, value)| Some((key, value.as_str()?))) {
        let _ = writeln!(text, "{title:<8} {}", one_line(value));
    }
    let inner = &config["config"];
    for (title, key) in [("entry", "Entrypoint"), ("command", "Cmd"), ("user", "User"), ("folder", "WorkingDir")] {
        if !inner[key].is_null() {
            let _ = writeln!(text, "{title:<8} {}", one_line(&inner[key].to_string()));
        }
    }
    if let Some(run_image) = &built.run_image {
        let _ = writeln!(text, "runs on  {run_image}");
    }
    for buildpack in &built.buildpacks {
        let _ = writeln!(text, "built by {buildpack}");
    }
    for process in &processes {
        let words = ["command", "args"].into_iter().flat_map(|key| process[key].as_array().into_iter().flatten());
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let kind = process["type"].as_str().unwrap_or_default();
        let default = if built.default_process.as_deref() == Some(kind) { " (default)" } else { "" };
        let _ = writeln!(text, "process  {}{default}: {}", one_line(kind), one_line(&words.join(" ")));
    }
    for variable in inner["Env"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(text, "env      {}", one_line(variable));
    }
    for layer in &layers {
        let size = bytes(layer[size].as_u64().unwrap_or_default());
        let id =
            layer["diff_id"].as_str().unwrap_or_default().trim_start_matches("sha256:").get(..12).unwrap_or_default();
        let created_by = one_line(layer["created_by"].as_str().unwrap_or_default());
        let _ = writeln!(text, "layer    {id}  {size:>9}  {created_by}");
    }
    context.print(&text)
}

/// What an image says of itself, written by whoever made it: nothing of it steers the terminal or looks like another line.
fn one_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

/// The processes of an image that buildpacks made, from its label.
fn processes(config: &Value) -> Vec<Value> {
    let label = config["config"]["Labels"]["io.buildpacks.build.metadata"].as_str().unwrap_or_default();
    let metadata: Value = serde_json::from_str(label).unwrap_or_default();
    metadata["processes"].as_array().cloned().unwrap_or_default()
}

fn remove(context: &Context, wanted: &[String]) -> Result<(), Failure> {
    let store = open_store(context)?;
    // All are looked up before anything is removed: one mistyped name must not leave half of them gone.
    for image in wanted {
        store.resolve(image)?;
    }
    let mut removed = Vec::new();
    for image in wanted {
        removed.push(store.remove_image(image)?);
    }
    if context.json {
        let all: Vec<Value> = removed
            .iter()
            .map(|one| {
                let names: Vec<String> = one.names.iter().map(ToString::to_string).collect();
                json!({"id": one.id.to_string(), "names": names, "image_removed": one.image})
            })
            .collect();
        return context.print_json(&json!(all));
    }
    for one in removed {
        for name in &one.names {
            context.print(&format!("removed name {name}\n"))?;
        }
        if one.image {
            context.print(&format!("removed image {}\n", one.id))?;
        }
    }
    Ok(())
}

/// The image that goes into an archive, and the names that it has there: the one that was asked for, and with an id all of its names.
fn to_save(context: &Context, wanted: &str, remote: &RemoteImage) -> Result<(Image, Vec<Reference>), Failure> {
    if let Some(name) = remote.name(context, wanted)? {
        let names = if name.digest().is_none() { vec![name.clone()] } else { Vec::new() };
        return Ok((remote.fetch(context, &name)?, names));
    }
    let image = image_to_give(context, wanted)?;
    let names = image.names()?;
    let asked = wanted.parse::<Reference>().ok().filter(|name| names.contains(name));
    Ok((image, asked.map_or(names, |name| vec![name])))
}

fn save(
    context: &Context,
    (image, names): (&Image, &[Reference]),
    output: &std::path::Path,
    format: SaveFormat,
    compression: Compression,
) -> Result<(), Failure> {
    let stdout = output.as_os_str() == "-";
    let archive = match format {
        SaveFormat::OciDir if stdout => {
            return Err(Failure::usage("a folder cannot go to standard output", "choose --format oci-archive"));
        }
        SaveFormat::OciDir => {
            image.save_to_dir(output, names, compression)?;
            return saved(context, image, names, output);
        }
        SaveFormat::DockerArchive => ArchiveFormat::Docker,
        SaveFormat::OciArchive => ArchiveFormat::Oci,
    };
    if stdout && std::io::stdout().is_terminal() {
        return Err(Failure::usage("an archive is not for a terminal to show", "name a file: --output FILE"));
    }
    if stdout {
        return Ok(image.save(&mut std::io::stdout().lock(), names, archive, compression)?);
    }
    image.save_to_file(output, names, archive, compression)?;
    saved(context, image, names, output)
}

/// The answer where standard output is not the archive.
fn saved(context: &Context, image: &Image, names: &[Reference], output: &std::path::Path) -> Result<(), Failure> {
    if !context.json {
        return Ok(());
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    context.print_json(&json!({"id": image.id().to_string(), "names": names, "output": output}))
}

fn load(context: &Context, input: &std::path::Path, max_bytes: u64) -> Result<(), Failure> {
    let store = open_store(context)?;
    let limits = LoadLimits { unpacked_bytes: max_bytes, archive_bytes: max_bytes };
    let loaded = if input.as_os_str() == "-" {
        store.load_from(&mut std::io::stdin().lock(), limits)?
    } else {
        store.load(input, limits)?
    };
    if loaded.is_empty() {
        return Err(Failure::usage(
            format!("{} has no image for this machine ({})", input.display(), std::env::consts::ARCH),
            "save or copy the image for this architecture",
        ));
    }
    let names = |one: &hoist_image::Loaded| one.names.iter().map(ToString::to_string).collect::<Vec<_>>();
    if context.json {
        let all: Vec<Value> =
            loaded.iter().map(|one| json!({"id": one.image.id().to_string(), "names": names(one)})).collect();
        return context.print_json(&json!(all));
    }
    for one in &loaded {
        let names = if one.names.is_empty() { "(no name)".to_owned() } else { names(one).join(", ") };
        context.print(&format!("loaded {} {names}\n", one.image.id()))?;
    }
    Ok(())
}
