//! The options that say what a build leaves, and where.

use std::path::PathBuf;

use clap::Args;
use hoist_image::Reference;
use hoist_platform::{BuildRequest, Place};

use crate::commands::attest_options::AttestOptions;
use crate::commands::image::SaveCompression;
use crate::context::Context;
use crate::failure::Failure;

/// What a build leaves.
#[derive(Debug, Args)]
pub(crate) struct OutputOptions {
    /// Further names of the image
    #[arg(short, long = "tag", value_name = "NAME", value_delimiter = ',')]
    tags: Vec<String>,
    /// Push the image to the registry of its name, and of each --tag
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    attest: AttestOptions,
    /// Bring the image into the docker daemon too; the same as --output docker
    #[arg(long)]
    docker: bool,
    /// A further place for the image, as often as you like: HOST/NAME of a registry, docker, docker-daemon:NAME, oci-dir:DIR,
    /// oci-archive:FILE or docker-archive:FILE
    #[arg(long = "output", value_name = "PLACE")]
    outputs: Vec<Place>,
    /// How layers are compressed in registries and OCI outputs; docker and docker-archive never are
    #[arg(long, value_enum, default_value = "gzip", value_name = "KIND")]
    output_compression: SaveCompression,
    /// Folder to write report.toml to (names and id of the image); without it none is written
    #[arg(long, value_name = "DIR")]
    report_output_dir: Option<PathBuf>,
    /// Folder to write the SBOM documents of the buildpacks to; without it they are in the image alone
    #[arg(long, value_name = "DIR")]
    sbom_output_dir: Option<PathBuf>,
}

impl OutputOptions {
    /// Writes them into the request; `image` is the name that was typed first.
    pub(crate) fn apply(&self, _context: &Context, image: &str, request: &mut BuildRequest) -> Result<(), Failure> {
        let mut places = Vec::new();
        // As pack has it: the image is a layout, and its name that of the folder.
        let layout = image.strip_prefix("oci:").filter(|path| !path.is_empty());
        if let Some(path) = layout {
            places.push(Place::OciDir(PathBuf::from(path)));
        }
        if self.docker {
            places.push(Place::Docker);
        }
        for place in &self.outputs {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        request.output_compression = self.output_compression.into();
        let of_folder = layout.map(name_of_folder).transpose()?;
        let image = of_folder.as_deref().unwrap_or(image);
        let names = std::iter::once(image).chain(self.tags.iter().map(String::as_str));
        request.names = names.map(str::parse::<Reference>).collect::<Result<_, _>>()?;
        if self.publish {
            for name in &request.names {
                let place = Place::Registry(name.clone());
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        request.attest = self.attest.wanted(&places)?;
        request.outputs = places;
        request.report_dir.clone_from(&self.report_output_dir);
        request.sbom_dir.clone_from(&self.sbom_output_dir);
        Ok(())
    }
}

/// The store's name of an image that is a layout: that of the folder, in the letters that names have.
fn name_of_folder(path: &str) -> Result<String, Failure> {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let name: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match name.trim_matches('-') {
        "" => Err(Failure::usage(
            format!("oci:{path} names no folder"),
            "give the folder a name: hoist build oci:./out; or name the image: hoist build NAME --output oci-dir:DIR",
        )),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_called_like_its_folder() {
        for (path, name) in [("out", "out"), ("./a/My_App/", "my-app"), ("/x/.hidden", "hidden")] {
            assert_eq!(name_of_folder(path).unwrap(), name);
            assert!(name.parse::<Reference>().is_ok());
        }
        assert!(name_of_folder("..").unwrap_err().text(false).contains("oci:.. names no folder"));
    }
}
