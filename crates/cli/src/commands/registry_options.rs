//! What the commands that make builders and packages say of registries.

use clap::Args;
use hoist_image::{Compression, Image, Reference};
use hoist_platform::{Place, Placed, PullPolicy, write_places};

use crate::context::Context;
use crate::failure::Failure;
use crate::registry::{RegistryFlags, apply_policy, registries};

/// Flags of commands that make images or files of the store.
#[derive(Debug, Args)]
pub(crate) struct RegistryOptions {
    /// Push the result to the registry of its name, and of each --tag
    #[arg(long)]
    publish: bool,
    /// When images are fetched from their registries: always, if-not-present or never
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    #[command(flatten)]
    flags: RegistryFlags,
    /// Add the target to the names of images that are pushed (without effect so far)
    #[arg(long, hide = true)]
    append_image_name_suffix: bool,
    /// Registry of buildpacks (not yet: name files)
    #[arg(short = 'R', long = "buildpack-registry", visible_short_alias = 'r', value_name = "NAME")]
    buildpack_registry: Option<String>,
}

impl RegistryOptions {
    /// Refuses a registry of buildpacks.
    pub(crate) fn refuse_registry(name: Option<&str>) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        Err(Failure::usage(
            format!("hoist does not ask registries of buildpacks yet, such as {name}"),
            "fetch the buildpack as a file and name that",
        ))
    }

    /// Puts them in force for a result of these names, and refuses what cannot be done before anything is made.
    pub(crate) fn apply(&self, context: &Context, names: &[Reference]) -> Result<(), Failure> {
        Self::refuse_registry(self.buildpack_registry.as_deref())?;
        apply_policy(context, self.pull_policy);
        self.flags.apply(context)?;
        if self.append_image_name_suffix {
            let hint = Some("leave it out");
            context.reporter.warn("--append-image-name-suffix has no effect: a name is pushed as it is", hint);
        }
        if self.publish {
            if names.is_empty() {
                return Err(Failure::usage("--publish: a file is not pushed", "leave out --publish, or --format file"));
            }
            let registries = registries(context);
            names.iter().try_for_each(|name| registries.check_push(name))?;
        }
        Ok(())
    }

    /// Pushes the result, where that is asked for.
    pub(crate) fn publish(
        &self,
        context: &Context,
        image: &Image,
        names: &[Reference],
    ) -> Result<Vec<Placed>, Failure> {
        if !self.publish {
            return Ok(Vec::new());
        }
        let outputs: Vec<Place> = names.iter().cloned().map(Place::Registry).collect();
        let told = (&*context.reporter, &context.cancel);
        let (placed, failed) = write_places(image, names, &outputs, Compression::Gzip, &registries(context), told);
        failed.map_or(Ok(placed), |error| Err(error.into()))
    }
}
