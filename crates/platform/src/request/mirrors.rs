//! Further names of run images, as this machine is configured with them.

use std::collections::BTreeMap;

use hoist_image::Reference;

/// Names that stand for a run image before its own, by that name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunImageMirrors(pub BTreeMap<String, Vec<String>>);

impl RunImageMirrors {
    /// Those of one run image, in their order. `acme/run` and `acme/run:latest` are one name.
    pub(crate) fn of(&self, run_image: &str) -> Vec<String> {
        let wanted = run_image.parse::<Reference>();
        let same = |name: &str| match (&wanted, name.parse::<Reference>()) {
            (Ok(wanted), Ok(name)) => *wanted == name,
            _ => name == run_image,
        };
        self.0.iter().filter(|(name, _)| same(name)).flat_map(|(_, mirrors)| mirrors.clone()).collect()
    }
}
