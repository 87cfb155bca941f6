//! `hoist image`: the images of the store.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hoist_image::{ArchiveFormat, Compression, Image, LoadError, LoadLimits, Reference, SaveError};
use serde_json::{Value, json};

use crate::context::Context;
use crate::engine::open_store;
use crate::failure::{Code, Failure, failure_from};
use crate::terminal::bytes;

failure_from! {
    SaveError => |error| if matches!(error, SaveError::Taken { .. }) { Code::Usage } else { Code::Hoist },
    LoadError => |_| Code::Usage,
}

/// The images of the store
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// List images
    Ls,
    /// Show an image's configuration, layers and names
    Inspect {
        /// Name or id
        image: String,
    },
    /// Remove names, and images with their last name
    Rm {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Give an image one more name
    Tag {
        /// Name or id
        image: String,
        /// The new name
        name: String,
    },
    /// Write an image to a file, a folder or standard output
    Save {
        /// Name or id
        image: String,
        /// File, or folder for oci-dir; - for standard output
        #[arg(short, long)]
        output: PathBuf,
        /// Kind of archive
        #[arg(long, value_enum, default_value = "docker-archive")]
        format: SaveFormat,
        /// How the layers of an OCI archive are compressed
        #[arg(long, value_enum, default_value = "gzip")]
        compression: SaveCompression,
    },
    /// Read images from an archive or an OCI layout
    Load {
        /// File or folder; - for standard input
        #[arg(short, long)]
        input: PathBuf,
    },
    /// Recompute every digest of an image
    Verify {
        /// Name or id
        image: String,
    },
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
enum SaveCompression {
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
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            ImageCommand::Ls => list(context),
            ImageCommand::Inspect { image } => inspect(context, &image),
            ImageCommand::Rm { images } => remove(context, &images),
            ImageCommand::Tag { image, name } => {
                let store = open_store(context)?;
                store.tag(&store.image(&image)?, &name.parse::<Reference>()?)?;
                Ok(())
            }
            ImageCommand::Save { image, output, format, compression } => {
                save(context, &image, &output, format, compression.into())
            }
            ImageCommand::Load { input } => load(context, &input),
            ImageCommand::Verify { image } => verify(context, &image),
        }
    }
}

/// An image with the names that stand for it.
struct Row {
    image: Image,
    names: Vec<String>,
    size_bytes: u64,
}

fn rows(context: &Context) -> Result<Vec<Row>, Failure> {
    let store = open_store(context)?;
    let names = store.names()?;
    let mut rows = Vec::new();
    for image in store.images()? {
        let own = names.iter().filter(|(_, id)| *id == image.id()).map(|(name, _)| name.to_string()).collect();
        rows.push(Row { size_bytes: image.size_bytes()?, names: own, image });
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
                json!({
                    "id": row.image.id().to_string(),
                    "names": row.names,
                    "layers": row.image.diff_ids().len(),
                    "size_bytes": row.size_bytes,
                })
            })
            .collect();
        return context.print_json(&json!(all));
    }
    let width = rows.iter().flat_map(|row| &row.names).map(String::len).max().unwrap_or(4).max(6);
    let mut text = format!("{:<width$}  {:<12}  {:>6}  {:>9}\n", "NAME", "ID", "LAYERS", "SIZE");
    for row in &rows {
        let id = row.image.id().hex();
        let none = vec!["(none)".to_owned()];
        for name in if row.names.is_empty() { &none } else { &row.names } {
            let layers = row.image.diff_ids().len();
            let _ = writeln!(text, "{name:<width$}  {:<12}  {layers:>6}  {:>9}", &id[..12], bytes(row.size_bytes));
        }
    }
    context.print(&text)
}

fn inspect(context: &Context, wanted: &str) -> Result<(), Failure> {
    let image = open_store(context)?.image(wanted)?;
    let failed = |error: serde_json::Error| Failure::new(&error, None, Code::Hoist);
    let config: Value = serde_json::from_slice(image.config_bytes()).map_err(failed)?;
    let layers: Vec<Value> = image
        .layers()?
        .iter()
        .zip(config["history"].as_array().into_iter().flatten().map(Some).chain(std::iter::repeat(None)))
        .map(|(layer, history)| {
            json!({
                "diff_id": layer.diff_id().to_string(),
                "size_bytes": layer.size_bytes(),
                "created_by": history.and_then(|history| history["created_by"].as_str()),
            })
        })
        .collect();
    let names: Vec<String> = image.names()?.iter().map(ToString::to_string).collect();
    if context.json {
        return context.print_json(&json!({
            "id": image.id().to_string(),
            "names": names,
            "size_bytes": image.size_bytes()?,
            "layers": layers,
            "config": config,
        }));
    }
    let mut text =
        format!("id       {}\nnames    {}\nsize     {}\n", image.id(), names.join(", "), bytes(image.size_bytes()?));
    let inner = &config["config"];
    for (title, key) in [("entry", "Entrypoint"), ("command", "Cmd"), ("user", "User"), ("folder", "WorkingDir")] {
        if !inner[key].is_null() {
            let _ = writeln!(text, "{title:<8} {}", inner[key]);
        }
    }
    for variable in inner["Env"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(text, "env      {variable}");
    }
    for layer in &layers {
        let size = bytes(layer["size_bytes"].as_u64().unwrap_or_default());
        let id =
            layer["diff_id"].as_str().unwrap_or_default().trim_start_matches("sha256:").get(..12).unwrap_or_default();
        let _ = writeln!(text, "layer    {id}  {size:>9}  {}", layer["created_by"].as_str().unwrap_or_default());
    }
    context.print(&text)
}

fn remove(context: &Context, wanted: &[String]) -> Result<(), Failure> {
    let store = open_store(context)?;
    // All are looked up before anything is removed: one mistyped name must not leave half of them gone.
    for image in wanted {
        store.image(image)?;
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

fn save(
    context: &Context,
    wanted: &str,
    output: &std::path::Path,
    format: SaveFormat,
    compression: Compression,
) -> Result<(), Failure> {
    let image = open_store(context)?.image(wanted)?;
    // The name that was asked for goes into the archive, and with an id all of its names.
    let names: Vec<Reference> = match wanted.parse::<Reference>() {
        Ok(name) if image.names()?.contains(&name) => vec![name],
        _ => image.names()?,
    };
    let stdout = output.as_os_str() == "-";
    let archive = match format {
        SaveFormat::OciDir if stdout => {
            return Err(Failure::usage("a folder cannot go to standard output", "choose --format oci-archive"));
        }
        SaveFormat::OciDir => return Ok(image.save_to_dir(output, &names, compression)?),
        SaveFormat::DockerArchive => ArchiveFormat::Docker,
        SaveFormat::OciArchive => ArchiveFormat::Oci,
    };
    if stdout && std::io::stdout().is_terminal() {
        return Err(Failure::usage("an archive is not for a terminal to show", "name a file: --output FILE"));
    }
    if stdout {
        return Ok(image.save(&mut std::io::stdout().lock(), &names, archive, compression)?);
    }
    Ok(image.save_to_file(output, &names, archive, compression)?)
}

fn load(context: &Context, input: &std::path::Path) -> Result<(), Failure> {
    let store = open_store(context)?;
    let limits = LoadLimits::default();
    let loaded = if input.as_os_str() == "-" {
        store.load_from(&mut std::io::stdin().lock(), limits)?
    } else {
        store.load(input, limits)?
    };
    let names = |one: &hoist_image::Loaded| one.names.iter().map(ToString::to_string).collect::<Vec<_>>();
    if context.json {
        let all: Vec<Value> =
            loaded.iter().map(|one| json!({"id": one.image.id().to_string(), "names": names(one)})).collect();
        return context.print_json(&json!(all));
    }
    for one in &loaded {
        context.print(&format!("loaded {} {}\n", one.image.id(), names(one).join(", ")))?;
    }
    Ok(())
}

fn verify(context: &Context, wanted: &str) -> Result<(), Failure> {
    let store = open_store(context)?;
    let image = store.image(wanted)?;
    let problems: Vec<String> = store.verify(&image).iter().map(ToString::to_string).collect();
    if context.json {
        let id = image.id().to_string();
        context.print_json(&json!({"id": id, "ok": problems.is_empty(), "problems": problems}))?;
    } else if problems.is_empty() {
        context.print(&format!("{}: all {} layers are as they were\n", image.id(), image.diff_ids().len()))?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    if context.json {
        return Err(Failure::of_process(Code::Hoist.number()));
    }
    Err(Failure::hoist(
        format!("image {wanted} is not what it was:\n{}", problems.join("\n")),
        "remove it and build it again: hoist image rm, then hoist system prune",
    ))
}
