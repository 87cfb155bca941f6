//! `hoist sbom`, as pack has it: the SBOM documents that an app image carries.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hoist_platform::BillFormat;
use serde_json::json;

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
    },
    /// Print one SBOM of the whole image, with the packages of its operating system, as scanners take it
    Show {
        /// Name or id
        image: String,
        /// Its format
        #[arg(long, value_enum, default_value = "cyclonedx", value_name = "FORMAT")]
        format: Format,
    },
    /// Write the SBOM documents of an image into a folder, at the paths that they have in the image
    Download {
        /// Name or id
        image: String,
        /// The folder; made where it is not there
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output_dir: PathBuf,
        #[arg(long, hide = true)]
        remote: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `CycloneDX`, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

impl SbomArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let engine = engine::open(context)?;
        let (image, documents) = match self.command {
            SbomCommand::Ls { image } => (image.clone(), engine.sboms(&image)?),
            SbomCommand::Show { image, format } => {
                let format = match format {
                    Format::Cyclonedx => BillFormat::CycloneDx,
                    Format::Spdx => BillFormat::Spdx,
                };
                return context.print_json(&engine.bill(&image, format)?);
            }
            SbomCommand::Download { image, remote: true, .. } => {
                return Err(Failure::usage(
                    "--remote: hoist reads the SBOM of images of its store alone so far",
                    format!("bring it there: hoist image pull docker-daemon:{image}, or hoist image load FILE"),
                ));
            }
            SbomCommand::Download { image, output_dir, .. } => {
                (image.clone(), engine.download_sboms(&image, &output_dir)?)
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
