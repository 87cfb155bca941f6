//! Flags of pack's that need a registry: taken where they change nothing, refused with the way that works today where they would.

use clap::{Args, ValueEnum};

use crate::context::Context;
use crate::failure::Failure;

/// Flags of commands that make images or files of the store alone.
#[derive(Debug, Args)]
pub(crate) struct NoRegistry {
    /// Push the result to a registry (not yet: save it instead)
    #[arg(long)]
    publish: bool,
    /// When images are asked for at a registry (never so far)
    #[arg(long, value_enum, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    /// Add the target to the names of images that are pushed (without effect so far)
    #[arg(long, hide = true)]
    append_image_name_suffix: bool,
    /// Registry of buildpacks (not yet: name files)
    #[arg(short = 'R', long = "buildpack-registry", visible_short_alias = 'r', value_name = "NAME")]
    buildpack_registry: Option<String>,
}

/// When an image is asked for at its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Each time
    Always,
    /// Not at all
    Never,
    /// Where the store does not have it
    IfNotPresent,
}

impl NoRegistry {
    /// Refuses a registry of buildpacks.
    pub(crate) fn refuse_registry(name: Option<&str>) -> Result<(), Failure> {
        let Some(name) = name else { return Ok(()) };
        Err(Failure::usage(
            format!("hoist does not ask registries of buildpacks yet, such as {name}"),
            "fetch the buildpack as a file and name that",
        ))
    }

    /// Refuses what cannot be done.
    pub(crate) fn check(&self, context: &Context) -> Result<(), Failure> {
        if self.publish {
            return Err(Failure::usage(
                "hoist does not push to registries yet",
                "leave --publish out, then: hoist image save NAME -o FILE --format oci-archive, and push that",
            ));
        }
        Self::refuse_registry(self.buildpack_registry.as_deref())?;
        if self.pull_policy == Some(PullPolicy::Always) {
            return Err(Failure::usage(
                "hoist does not ask registries for images yet",
                "take --pull-policy never, and bring images into the store: hoist image load FILE",
            ));
        }
        if self.append_image_name_suffix {
            let hint = Some("leave it out");
            context.reporter.warn("--append-image-name-suffix has no effect: it is for images that are pushed", hint);
        }
        Ok(())
    }
}
