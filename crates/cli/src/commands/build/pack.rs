//! Flags of `pack build` that have no meaning here: said once and taken, or refused with what to do instead.

use clap::Args;
use hoist_platform::PullPolicy;

use crate::context::Context;
use crate::failure::Failure;
use crate::registry::{RegistryFlags, apply_policy};

/// Flags that pack has for its Docker daemon and for registries. They are taken, so that a line written for pack works, and hidden in help.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub(crate) struct PackOptions {
    /// When builder, run image and buildpacks are fetched from their registries: always, if-not-present or never
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    #[command(flatten)]
    registry: RegistryFlags,
    #[arg(long, hide = true)]
    trust_builder: bool,
    #[arg(long, hide = true)]
    trust_extra_buildpacks: bool,
    #[arg(long, hide = true, value_name = "NAME")]
    lifecycle_image: Option<String>,
    #[arg(long, hide = true, value_name = "ADDRESS")]
    docker_host: Option<String>,
    #[arg(long, hide = true)]
    userns_host: bool,
    #[arg(long, hide = true)]
    interactive: bool,
    #[arg(long, hide = true)]
    sparse: bool,
    #[arg(short = 'r', long, hide = true, value_name = "NAME")]
    buildpack_registry: Option<String>,
}

impl PackOptions {
    /// Says what has no meaning, and refuses what cannot be done.
    pub(crate) fn apply(&self, context: &Context) -> Result<(), Failure> {
        apply_policy(context, self.pull_policy);
        self.registry.apply(context)?;
        if let Some(name) = &self.buildpack_registry {
            return Err(Failure::usage(
                format!("--buildpack-registry {name}: hoist does not look for buildpacks in registries yet"),
                "put them into a builder: hoist builder create NAME -c builder.toml",
            ));
        }
        let said = [
            (self.trust_builder, "--trust-builder", "every buildpack runs in the sandbox, trusted or not"),
            (
                self.trust_extra_buildpacks,
                "--trust-extra-buildpacks",
                "every buildpack runs in the sandbox, trusted or not",
            ),
            (self.lifecycle_image.is_some(), "--lifecycle-image", "hoist is itself the lifecycle"),
            (self.docker_host.is_some(), "--docker-host", "buildpacks see no Docker daemon"),
            (self.userns_host, "--userns-host", "the sandbox has a user namespace where it needs one"),
            (self.interactive, "--interactive", "progress is told as always"),
            (self.sparse, "--sparse", "the store keeps each layer once"),
        ];
        for (_, flag, why) in said.into_iter().filter(|(given, ..)| *given) {
            context.reporter.warn(&format!("{flag} has no meaning here: {why}"), None);
        }
        Ok(())
    }
}
