//! How commands reach registries: the machine's configuration, hoist's settings, the flags of the command.

use std::sync::OnceLock;

use clap::Args;
use hoist_image::{Registries, RegistryError, RegistrySettings};
use hoist_platform::PullPolicy;

use crate::context::Context;
use crate::failure::{Code, Failure, failure_from};
use crate::settings::Key;

failure_from! {
    RegistryError => |error| if error.is_of_the_caller() { Code::Usage } else { Code::Hoist },
}

/// What a command says of registries.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct RegistryFlags {
    /// A registry whose certificate is not checked and that may speak without TLS, as often as you like
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
}

/// What the command that runs says of registries; said before anything is opened.
#[derive(Debug, Default)]
pub(crate) struct Said {
    flags: OnceLock<RegistryFlags>,
    policy: OnceLock<PullPolicy>,
}

impl RegistryFlags {
    /// From here on they are in force.
    pub(crate) fn apply(&self, context: &Context) -> Result<(), Failure> {
        let _ = context.registry.flags.set(self.clone()); // a command says it once
        Ok(settings(context).check()?)
    }
}

/// From here on that policy is in force.
pub(crate) fn apply_policy(context: &Context, policy: Option<PullPolicy>) {
    if let Some(policy) = policy {
        let _ = context.registry.policy.set(policy); // a command says it once
    }
}

/// When images that a command needs are fetched.
pub(crate) fn pull_policy(context: &Context) -> PullPolicy {
    let set = || context.settings.get(Key::PullPolicy)?.parse().ok();
    context.registry.policy.get().copied().or_else(set).unwrap_or_default()
}

/// How registries are reached.
pub(crate) fn settings(context: &Context) -> RegistrySettings {
    let mut settings = RegistrySettings::of_this_machine();
    let configured = context.settings.get(Key::InsecureRegistries).unwrap_or_default();
    settings.insecure.extend(configured.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()));
    settings
        .insecure
        .extend(context.registry.flags.get().into_iter().flat_map(|flags| flags.insecure_registry.clone()));
    settings.mirrors.clone_from(context.settings.registry_mirrors());
    settings
}

/// The registries, for one command; Ctrl-C ends what goes on.
pub(crate) fn registries(context: &Context) -> Registries {
    let cancel = context.cancel.clone();
    Registries::new(settings(context)).stop_when(move || cancel.is_cancelled())
}
