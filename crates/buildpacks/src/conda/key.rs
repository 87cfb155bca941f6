//! What an environment was made from, and every reason why it is made anew.

use std::path::Path;

use hoist_debian::{Sha256, hex};
use serde::{Deserialize, Serialize};

use super::inputs::Inputs;
use crate::as_of::AsOf;

/// Changed when this buildpack writes its layer in another way.
const LAYOUT: u32 = 1;

/// Compared field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EnvironmentKey {
    file: String,
    text: String,
    sources: String,
    pip: String,
    glibc: String,
    place: String,
    architecture: String,
    /// The day of which packages are; none for those of today.
    as_of: Option<String>,
    layout: u32,
}

impl EnvironmentKey {
    pub(super) fn new(inputs: &Inputs, prefix: &Path) -> Self {
        Self {
            file: inputs.file.clone(),
            text: hex(&Sha256::digest(&inputs.text)),
            sources: inputs.sources(),
            pip: inputs.pip_surroundings.clone(),
            glibc: inputs.glibc.clone(),
            place: prefix.display().to_string(),
            architecture: std::env::consts::ARCH.to_owned(),
            as_of: inputs.as_of.as_ref().map(AsOf::end),
            layout: LAYOUT,
        }
    }

    /// Whether an environment that was made for `old` may be changed package by package: nothing was or is installed by pip, which follows from what
    /// was there before, and the place, the base and the way of writing are the same.
    pub(super) fn allows_change_of(&self, old: &Self) -> bool {
        let same = |key: &Self| (key.glibc.clone(), key.place.clone(), key.architecture.clone(), key.layout);
        self.pip.is_empty() && old.pip.is_empty() && same(self) == same(old)
    }

    /// Both sides are taken apart, so that a field that nobody looks at does not compile.
    pub(super) fn differences(&self, old: &Self) -> Vec<String> {
        let Self { file, text, sources, pip, glibc, place, architecture, as_of, layout } = self;
        let mut reasons = Vec::new();
        for (what, new, was) in [
            ("the file", file, &old.file),
            ("where packages come from", sources, &old.sources),
            ("the C library", glibc, &old.glibc),
            ("the environment's place", place, &old.place),
            ("the architecture", architecture, &old.architecture),
        ] {
            if new != was {
                reasons.push(format!("{what} is {new}, it was {was}"));
            }
        }
        if *as_of != old.as_of {
            let told = |day: &Option<String>| day.clone().unwrap_or_else(|| "today".to_owned());
            reasons.push(format!("packages are to be those of {}, they were of {}", told(as_of), told(&old.as_of)));
        }
        if *text != old.text && *file == old.file {
            reasons.push(format!("{file} has changed"));
        } else if *pip != old.pip {
            reasons.push("what pip is to install has changed".to_owned());
        }
        if *layout != old.layout {
            reasons.push("this hoist writes environments in another way".to_owned());
        }
        reasons
    }
}
