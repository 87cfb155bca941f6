//! `hoist sbom`, as pack has it: the SBOM documents that an app image carries.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hoist_platform::{BillFormat, LocalEngine, SbomDocument};
use serde_json::json;

use crate::commands::remote::RemoteImage;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure, harmless};
use crate::terminal::bytes;

/// What is in an app image, as its buildpacks wrote it down
#[derive(Debug, Args)]
pub(crate) struct SbomArgs {
    #[command(subcommand)]
    command: SbomCommand,
}

#[derive(Debug, Subcommand)]
enum SbomCommand {
    /// List the SBOM documents of an image
    Ls {
        /// Name or id
        image: String,
        #[command(flatten)]
        remote: RemoteImage,
    },
    /// Print one SBOM of the whole image, with the packages of its operating system, as scanners take it
    Show {
        /// Name or id
        image: String,
        /// Its format
        #[arg(long, value_enum, default_value = "cyclonedx", value_name = "FORMAT")]
        format: Format,
        #[command(flatten)]
        remote: RemoteImage,
    },
    /// Write the SBOM documents of an image into a folder, at the paths that they have in the image
    Download {
        /// Name or id
        image: String,
        /// The folder; made where it is not there
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output_dir: PathBuf,
        #[command(flatten)]
        remote: RemoteImage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `CycloneDX`, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

/// The documents of an image of the store, or of a registry, of which they alone are fetched.
fn documents(context: &Context, image: &str, remote: &RemoteImage) -> Result<Vec<SbomDocument>, Failure> {
    match remote.name(context, image)? {
        Some(name) => Ok(engine::open(context)?.remote_sboms(&name, &remote.platform())?),
        None => Ok(engine::open(context)?.sboms(image)?),
    }
}

impl SbomArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let (image, documents) = match self.command {
            SbomCommand::Ls { image, remote } => {
                let documents = documents(context, &image, &remote)?;
                (image, documents)
            }
            SbomCommand::Show { image, format, remote } => {
                let format = match format {
                    Format::Cyclonedx => BillFormat::CycloneDx,
                    Format::Spdx => BillFormat::Spdx,
                };
                // Every layer is looked through for packages of the operating system.
                let fetched = remote.name(context, &image)?.map(|name| remote.fetch(context, &name)).transpose()?;
                let wanted = fetched.as_ref().map_or_else(|| image.clone(), |fetched| fetched.id().to_string());
                return context.print_json(&engine::open(context)?.bill(&wanted, &image, format)?);
            }
            SbomCommand::Download { image, output_dir, remote } => {
                let mut documents = documents(context, &image, &remote)?;
                LocalEngine::write_sboms(&mut documents, &output_dir)?;
                (image, documents)
            }
        };
        if context.json {
            let documents =
                serde_json::to_value(&documents).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
            return context.print_json(&json!({"image": image, "documents": documents}));
        }
        for document in &documents {
            let path = document.file.as_ref().unwrap_or(&document.path).display().to_string();
            context.print(&format!(
                "{:>9}  {}\n",
                bytes(document.size_bytes),
                harmless(&path).replace(['\n', '\t'], " ")
            ))?;
        }
        Ok(())
    }
}
