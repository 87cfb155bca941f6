//! Finding images of the store that somebody else has named.
//!
//! Labels of builders and files of pack's users write the registry before a name that people otherwise leave out: what the store has without one
//! is what is meant, before the registry is asked. A name without a registry is never asked for anywhere.

use std::str::FromStr;

use hoist_image::{Image, LoadLimits, Platform, Reference, RegistryError, Store, StoreError};

use crate::engine::LocalEngine;

/// Where a registry keeps images whose name has one part.
const ONE_PART: &str = "library/";

/// When images that a build needs are fetched from their registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the store does not have them.
    #[default]
    IfNotPresent,
    /// Not at all.
    Never,
}

impl FromStr for PullPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            "if-not-present" => Ok(Self::IfNotPresent),
            "never" => Ok(Self::Never),
            _ => Err(format!("{text:?} is no time to fetch images: there are always, if-not-present and never")),
        }
    }
}

impl LocalEngine {
    /// Brings an image into the store before it is looked for there, where its registry is to be asked.
    pub(crate) fn bring(&self, name: &Reference) -> Result<(), RegistryError> {
        if self.is_offline() {
            return Ok(());
        }
        let wanted = match self.settings().pull_policy {
            PullPolicy::Never => false,
            PullPolicy::IfNotPresent => find_called(self.store(), name)?.is_none(),
            // A command that needs an image twice gets the same one.
            PullPolicy::Always => !self.was_brought(name),
        };
        if !wanted || name.registry().is_none() {
            return Ok(());
        }
        self.fetch(name)
    }

    /// Fetches an image from its registry, whatever the store has.
    pub(crate) fn fetch(&self, name: &Reference) -> Result<(), RegistryError> {
        let (platform, limits) = (Platform::of_this_machine(), LoadLimits::default());
        self.registries().pull(self.store(), name, std::slice::from_ref(name), &platform, limits, self.reporter())?;
        self.note_brought(name);
        Ok(())
    }
}

/// The image of that name, else the one of that name without the registry before it.
pub(crate) fn find_called(store: &Store, name: &Reference) -> Result<Option<Image>, StoreError> {
    if let Some(found) = store.find_image(name)? {
        return Ok(Some(found));
    }
    match without_registry(name) {
        Some(shorter) => store.find_image(&shorter),
        None => Ok(None),
    }
}

fn without_registry(name: &Reference) -> Option<Reference> {
    if name.registry().is_none() || name.digest().is_some() {
        return None;
    }
    let repository = name.repository();
    let short: Reference = repository.strip_prefix(ONE_PART).unwrap_or(repository).parse().ok()?;
    short.with_tag(name.tag()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_DIGEST: &str =
        "registry.example/acme/run@sha256:0123456789012345678901234567890123456789012345678901234567890123";

    #[test]
    fn the_registry_and_what_stands_for_no_part_go() {
        for (name, shorter) in [
            ("registry.example/acme/run", Some("acme/run:latest")),
            ("registry.example:5000/acme/run:2", Some("acme/run:2")),
            ("registry.example/library/debian:13", Some("debian:13")),
            ("localhost/run", Some("run:latest")),
            (WITH_DIGEST, None),
            ("acme/run", None),
            ("run", None),
        ] {
            let found = without_registry(&name.parse().unwrap());
            assert_eq!(found.map(|name| name.to_string()).as_deref(), shorter, "{name}");
        }
    }
}
