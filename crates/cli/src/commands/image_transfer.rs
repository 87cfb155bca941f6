//! `hoist image push` and `hoist image pull`: images to and from other places, the docker daemon above all.

use clap::Args;
use hoist_image::{DockerError, LoadLimits, Reference};
use hoist_platform::{Place, PlacesError, docker_daemon, write_places};
use serde_json::json;

use crate::commands::image::SaveCompression;
use crate::commands::run::parse_size;
use crate::context::Context;
use crate::engine::{image_to_give, open_store};
use crate::failure::{Code, Failure, failure_from};

failure_from! {
    DockerError => |error| if error.is_of_the_caller() { Code::Usage } else { Code::Hoist },
    PlacesError => |error| match error.fault() {
        hoist_platform::Fault::Usage => Code::Usage,
        _ => Code::Hoist,
    },
}

/// Bring an image from the store to the docker daemon, or to a file or folder
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Name or id in the store
    image: String,
    /// Where to: docker, docker-daemon:NAME, oci-dir:DIR, oci-archive:FILE or docker-archive:FILE
    #[arg(required = true, value_name = "PLACE")]
    places: Vec<Place>,
    /// How layers are compressed in OCI layouts; docker and docker-archive never are
    #[arg(long, value_enum, default_value = "gzip", value_name = "KIND")]
    compression: SaveCompression,
}

/// Bring an image from the docker daemon into the store
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// docker-daemon:NAME, with a name or an id of the docker daemon
    #[arg(value_name = "docker-daemon:NAME")]
    source: String,
    /// Names in the store; otherwise the one it has in the daemon
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// The most that it may unpack to
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
    max_size: u64,
}

impl PushArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let image = image_to_give(context, &self.image)?;
        // The name that was asked for goes with it, and with an id all of its names.
        let names: Vec<Reference> = match self.image.parse::<Reference>() {
            Ok(name) if image.names()?.contains(&name) => vec![name],
            _ => image.names()?,
        };
        let told = (&*context.reporter, &context.cancel);
        let (placed, failed) = write_places(&image, &names, &self.places, self.compression.into(), told);
        if let Some(error) = failed {
            return Err(error.into());
        }
        if context.json {
            return context.print_json(&json!({"id": image.id().to_string(), "outputs": placed}));
        }
        Ok(())
    }
}

impl PullArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(wanted) = self.source.strip_prefix("docker-daemon:").filter(|name| !name.is_empty()) else {
            let name = self.source.trim_start_matches("docker://");
            return Err(Failure::usage(
                format!("{} is in no place that hoist fetches images from", self.source),
                format!(
                    "from the docker daemon: hoist image pull docker-daemon:{name}; from an archive: hoist image load FILE"
                ),
            ));
        };
        let is_id = wanted.strip_prefix("sha256:").is_some();
        // Checked before it becomes part of a request.
        let wanted = if is_id {
            wanted
                .parse::<hoist_image::Digest>()
                .map_err(|error| {
                    Failure::usage(
                        format!("{wanted} is no id of an image: {error}"),
                        "see what there is: docker image ls --no-trunc",
                    )
                })?
                .to_string()
        } else {
            wanted.parse::<Reference>()?.to_string()
        };
        let mut names = self.tags.iter().map(|name| name.parse::<Reference>()).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() && !is_id {
            names.push(wanted.parse()?);
        }
        if names.is_empty() {
            return Err(Failure::usage("an image that is fetched by its id needs a name here", "name it: --tag NAME"));
        }
        let limits = LoadLimits { unpacked_bytes: self.max_size, archive_bytes: self.max_size };
        let pulled = docker_daemon(&context.cancel)?.pull(&open_store(context)?, &wanted, &names, limits)?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let id = pulled.image.id().to_string();
        if context.json {
            return context.print_json(&json!({"id": id, "names": names, "unchanged": pulled.was_there}));
        }
        let before = if pulled.was_there { " (it was there)" } else { "" };
        context.print(&format!("pulled {id} {}{before}\n", names.join(", ")))
    }
}
