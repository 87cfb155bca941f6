//! Which packages come as wheels and which are built: pip's `--only-binary`, `--no-binary` and `--prefer-binary`, as variables
//! (`PIP_ONLY_BINARY`, …) say them. Lines of requirements files are the installers' own to read. Pure.

use std::ffi::OsString;

use crate::context::{Environment, parse_switch};

/// What the settings of a build say of wheels and source distributions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Binaries {
    /// Names that must be wheels, or `:all:`.
    only: Vec<String>,
    /// Names that must be built, or `:all:`.
    none: Vec<String>,
    /// Whether an older wheel is better than a newer source distribution.
    pub(crate) prefer: bool,
}

impl Binaries {
    /// Reads pip's variables.
    pub(crate) fn of(environment: &Environment) -> Self {
        let text = |name: &str| environment.get(name).and_then(|value| value.to_str()).unwrap_or_default();
        let mut only = formats(text("PIP_ONLY_BINARY"));
        let none = formats(text("PIP_NO_BINARY"));
        // A name in both is built: it was asked for by name, or later.
        only.retain(|name| name == ":all:" || !none.contains(name));
        Self { only, none, prefer: parse_switch(text("PIP_PREFER_BINARY")) == Some(true) }
    }

    /// The same in uv's arguments. (`--prefer-binary` has no counterpart.)
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let pairs = |option: &'static str, names: &[String]| -> Vec<OsString> {
            names.iter().flat_map(|name| [option.into(), name.clone().into()]).collect()
        };
        [pairs("--only-binary", &self.only), pairs("--no-binary", &self.none)].concat()
    }

    /// The setting that has something built from source, whatever the requirements are.
    pub(crate) fn source_build(&self) -> Option<String> {
        (!self.none.is_empty()).then(|| format!("PIP_NO_BINARY is {}", self.none.join(",")))
    }

    /// The setting that forbids to build, for people.
    pub(crate) fn only_binary(&self) -> Option<String> {
        (!self.only.is_empty()).then(|| format!("PIP_ONLY_BINARY={}", self.only.join(",")))
    }

    /// One line for each setting, for the cache key.
    pub(crate) fn fingerprint(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, names) in [("PIP_ONLY_BINARY", &self.only), ("PIP_NO_BINARY", &self.none)] {
            if !names.is_empty() {
                lines.push(format!("{name}={}", names.join(",")));
            }
        }
        if self.prefer {
            lines.push("PIP_PREFER_BINARY=1".to_owned());
        }
        lines
    }
}

/// pip's list of formats: names, `:all:` for every one (which covers the names beside it), `:none:` to begin anew.
fn formats(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in text.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty()) {
        match name {
            ":none:" => found.clear(),
            ":all:" => found = vec![":all:".to_owned()],
            _ if found.first().is_some_and(|first| first == ":all:") => {}
            name => found.push(crate::pip::requirements::normalize(name)),
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Binaries {
        Binaries::of(&variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect())
    }

    #[test]
    fn pips_lists_become_uvs_arguments() {
        for (variables, wanted) in [
            (&[][..], ""),
            (&[("PIP_ONLY_BINARY", ":all:")], "--only-binary :all:"),
            (
                &[("PIP_ONLY_BINARY", "NumPy,scipy zope.interface")],
                "--only-binary numpy --only-binary scipy --only-binary zope-interface",
            ),
            (&[("PIP_ONLY_BINARY", "a,:none:,b")], "--only-binary b"),
            (&[("PIP_NO_BINARY", "a,:all:,b")], "--no-binary :all:"),
            (&[("PIP_NO_BINARY", "lxml"), ("PIP_ONLY_BINARY", ":all:")], "--only-binary :all: --no-binary lxml"),
            (&[("PIP_NO_BINARY", "lxml"), ("PIP_ONLY_BINARY", "lxml,six")], "--only-binary six --no-binary lxml"),
            (&[("PIP_PREFER_BINARY", "1")], ""),
        ] {
            let arguments = of(variables).arguments().join(std::ffi::OsStr::new(" "));
            assert_eq!(arguments, wanted, "{variables:?}");
        }
    }

    #[test]
    fn a_setting_that_builds_from_source_is_known_beforehand() {
        assert_eq!(of(&[("PIP_NO_BINARY", "lxml")]).source_build().as_deref(), Some("PIP_NO_BINARY is lxml"));
        assert_eq!(of(&[("PIP_NO_BINARY", ":none:"), ("PIP_ONLY_BINARY", ":all:")]).source_build(), None);
    }

    #[test]
    fn every_setting_is_part_of_the_key() {
        let all = of(&[("PIP_NO_BINARY", "b"), ("PIP_ONLY_BINARY", "a"), ("PIP_PREFER_BINARY", "yes")]);
        assert_eq!(all.fingerprint(), ["PIP_ONLY_BINARY=a", "PIP_NO_BINARY=b", "PIP_PREFER_BINARY=1"]);
        assert!(of(&[]).fingerprint().is_empty());
    }
}
