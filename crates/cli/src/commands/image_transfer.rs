//! `hoist image push` and `hoist image pull`: images to and from other places, registries and the docker daemon above all.

use clap::Args;
use hoist_image::{DockerError, LoadLimits, Platform, Reference};
use hoist_platform::{Place, PlacesError, attest_places, docker_daemon, write_places};
use serde_json::json;

use crate::commands::attest_options::AttestOptions;
use crate::commands::image::SaveCompression;
use crate::commands::run::parse_size;
use crate::context::Context;
use crate::engine::{image_to_give, open_store};
use crate::failure::{Code, Failure, failure_from};
use crate::registry::{RegistryFlags, registries};

failure_from! {
    DockerError => |error| if error.is_of_the_caller() { Code::Usage } else { Code::Hoist },
    PlacesError => |error| match error.fault() {
        hoist_platform::Fault::Usage => Code::Usage,
        _ => Code::Hoist,
    },
}

/// Bring an image from the store to a registry, to the docker daemon, or to a file or folder
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Name or id in the store
    image: String,
    /// Where to: HOST/NAME of a registry, docker, docker-daemon:NAME, oci-dir:DIR, oci-archive:FILE or docker-archive:FILE; the
    /// registry of its own name without any
    #[arg(value_name = "PLACE")]
    places: Vec<Place>,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    attest: AttestOptions,
    /// How layers are compressed in registries and OCI layouts; docker and docker-archive never are
    #[arg(long, value_enum, default_value = "gzip", value_name = "KIND")]
    compression: SaveCompression,
}

/// Bring an image from a registry or the docker daemon into the store
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// HOST/NAME of a registry; or docker-daemon:NAME, with a name or an id of the docker daemon
    #[arg(value_name = "NAME")]
    source: String,
    /// Of an image for several machines the one for this: OS/ARCH or OS/ARCH/VARIANT [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Names in the store; otherwise the one it has where it comes from
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// The most that it may unpack to
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
    max_size: u64,
}

impl PushArgs {
    /// Whether a transfer is to be ended in words. Archives are written to the end or not at all.
    pub(crate) fn cleans_up(&self) -> bool {
        let transfer = |place: &Place| matches!(place, Place::Registry(_) | Place::Docker | Place::DockerName(_));
        self.places.iter().all(transfer)
    }

    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        self.registry.apply(context)?;
        let image = image_to_give(context, &self.image)?;
        // The name that was asked for goes with it, and with an id all of its names.
        let names: Vec<Reference> = match self.image.parse::<Reference>() {
            Ok(name) if image.names()?.contains(&name) => vec![name],
            _ => image.names()?,
        };
        let outputs = if self.places.is_empty() { own_registries(&names, &self.image)? } else { self.places };
        let attest = self.attest.wanted(&outputs)?;
        let (told, registries) = ((&*context.reporter, &context.cancel), registries(context));
        let (mut placed, failed) = write_places(&image, &names, &outputs, self.compression.into(), &registries, told);
        let attested = attest.map_or(Ok(()), |attest| {
            attest_places(&open_store(context)?, &image, &mut placed, &attest, &registries, &*context.reporter)
                .map_err(Failure::from)
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        attested?;
        if context.json {
            return context.print_json(&json!({"id": image.id().to_string(), "outputs": placed}));
        }
        Ok(())
    }
}

impl PullArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        self.registry.apply(context)?;
        let Some(wanted) = self.source.strip_prefix("docker-daemon:").filter(|name| !name.is_empty()) else {
            return self.pull_from_registry(context);
        };
        if self.platform.is_some() {
            return Err(Failure::usage("the docker daemon gives the image that it has", "leave --platform out"));
        }
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

    fn pull_from_registry(&self, context: &Context) -> Result<(), Failure> {
        let text = self.source.strip_prefix("docker://").unwrap_or(&self.source);
        let wanted: Reference = text.parse()?;
        if wanted.registry().is_none() {
            return Err(Failure::usage(
                format!("{wanted} names no registry, and hoist adds none by itself"),
                format!(
                    "from a registry: hoist image pull HOST/{wanted}; from the docker daemon: hoist image pull docker-daemon:{wanted}; \
                     from an archive: hoist image load FILE"
                ),
            ));
        }
        let mut names = self.tags.iter().map(|name| name.parse::<Reference>()).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() && wanted.tag().is_some() {
            names.push(wanted.with_tag(wanted.tag().unwrap_or("latest"))?);
        }
        if names.is_empty() {
            return Err(Failure::usage(
                "an image that is fetched by its digest needs a name here",
                "name it: --tag NAME",
            ));
        }
        let platform = self.platform.clone().unwrap_or_else(Platform::of_this_machine);
        let limits = LoadLimits { unpacked_bytes: self.max_size, archive_bytes: self.max_size };
        let store = open_store(context)?;
        let before = store.find_image(&names[0])?.map(|image| image.id());
        let fetched = registries(context).pull(&store, &wanted, &names, &platform, limits, &*context.reporter)?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let id = fetched.image.id();
        let unchanged = before == Some(id) && fetched.fetched_layers == 0;
        if context.json {
            return context.print_json(&json!({
                "id": id.to_string(),
                "names": names,
                "unchanged": unchanged,
                "digest": fetched.digest.to_string(),
                "from": fetched.from,
                "fetched_layers": fetched.fetched_layers,
                "fetched_bytes": fetched.fetched_bytes,
                "layers_there": fetched.layers_there,
            }));
        }
        let before = if unchanged { " (it was there)" } else { "" };
        context.print(&format!("pulled {id} {}{before}\n", names.join(", ")))
    }
}

/// The registries of an image's own names.
fn own_registries(names: &[Reference], typed: &str) -> Result<Vec<Place>, Failure> {
    let places: Vec<Place> =
        names.iter().filter(|name| name.registry().is_some()).cloned().map(Place::Registry).collect();
    if places.is_empty() {
        return Err(Failure::usage(
            format!("{typed} names no registry, and no other place is named"),
            format!("to a registry: hoist image push {typed} HOST/NAME; to docker: hoist image push {typed} docker"),
        ));
    }
    Ok(places)
}
