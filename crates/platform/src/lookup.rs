//! Finding images of the store that somebody else has named.
//!
//! Labels of builders and files of pack's users write the registry before a name that people otherwise leave out. As long as no registry is
//! asked, what the store has without one is what is meant.

use hoist_image::{Image, Reference, Store, StoreError};

/// Where a registry keeps images whose name has one part.
const ONE_PART: &str = "library/";

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
