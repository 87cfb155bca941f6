//! Targets: the operating systems and processors that a buildpack, a builder or an image is made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A distribution of an operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// `$ID` of os-release: `debian`.
    #[serde(default)]
    pub name: String,
    /// `$VERSION_ID` of os-release: `13`.
    #[serde(default)]
    pub version: String,
}

impl Distribution {
    /// Reads `ID` and `VERSION_ID` of `/etc/os-release`; nothing where it has neither.
    pub fn parse_os_release(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim_matches(['"', '\'']).to_owned())
        };
        let found = Self { name: value("ID").unwrap_or_default(), version: value("VERSION_ID").unwrap_or_default() };
        (found != Self::default()).then_some(found)
    }
}

/// A `[[targets]]` entry. What is empty matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `linux`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// `amd64`, `arm64`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// `v8`.
    #[serde(default, alias = "arch-variant", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Any of these; empty means all.
    #[serde(
        default,
        deserialize_with = "crate::error::null_as_default",
        alias = "distributions",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub distros: Vec<Distribution>,
}

/// What an image is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTarget {
    /// `io.buildpacks.base.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`.
    #[serde(default)]
    pub arch: String,
    /// `v8`.
    #[serde(default, rename = "variant", alias = "arch-variant", skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Its distribution, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distribution>,
}

impl Target {
    /// Whether an image with this target can be built on (or run) by what declares `self`.
    pub fn matches(&self, image: &ImageTarget) -> bool {
        let same = |wanted: &str, given: &str| wanted.is_empty() || given.is_empty() || wanted == given;
        same(&self.os, &image.os)
            && same(&self.arch, &image.arch)
            && same(&self.variant, image.variant.as_deref().unwrap_or_default())
            && (self.distros.is_empty()
                || image.distro.as_ref().is_none_or(|has| {
                    self.distros.iter().any(|d| same(&d.name, &has.name) && same(&d.version, &has.version))
                }))
    }
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("reading the target `{text}`: {problem}")]
pub struct TargetError {
    /// As typed.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl TargetError {
    /// What to write instead.
    #[allow(clippy::unused_self)] // as the hints of all errors
    pub fn hint(&self) -> String {
        "write OS/ARCH, OS/ARCH/VARIANT or OS/ARCH:DISTRO@VERSION, for example linux/amd64:debian@13".to_owned()
    }
}

/// Processors as Go names them, which is how images name them.
const PROCESSORS: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x",
];

impl FromStr for Target {
    type Err = TargetError;

    /// `OS[/ARCH[/VARIANT]][:DISTRO@VERSION[;DISTRO@VERSION…]]`, as pack's `--target` has it.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = |problem: String| TargetError { text: text.to_owned(), problem };
        let (platform, distros) = text.split_once(':').unwrap_or((text, ""));
        let mut parts = platform.split('/');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let mut target = Self { os: part(), arch: part(), variant: part(), distros: Vec::new() };
        if parts.next().is_some() {
            return Err(wrong("it has more than an os, a processor and a variant".to_owned()));
        }
        if !matches!(target.os.as_str(), "linux" | "windows") {
            return Err(wrong(format!("`{}` is no os of images: there are linux and windows", target.os)));
        }
        if !target.arch.is_empty() && !PROCESSORS.contains(&target.arch.as_str()) {
            return Err(wrong(format!("`{}` is no processor: there are {}", target.arch, PROCESSORS.join(", "))));
        }
        for distro in distros.split(';').filter(|distro| !distro.is_empty()) {
            let (name, version) = distro.split_once('@').unwrap_or((distro, ""));
            if name.is_empty() || version.contains('@') {
                return Err(wrong(format!("`{distro}` is no distribution with a version")));
            }
            target.distros.push(Distribution { name: name.to_owned(), version: version.to_owned() });
        }
        Ok(target)
    }
}

/// In the form in which it is typed; `any` where nothing is said.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> =
            [self.os.as_str(), &self.arch, &self.variant].into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(if parts.is_empty() { "any" } else { "" })?;
        f.write_str(&parts.join("/"))?;
        for (at, distro) in self.distros.iter().enumerate() {
            f.write_str(if at == 0 { ":" } else { ";" })?;
            f.write_str(&distro.name)?;
            if !distro.version.is_empty() {
                write!(f, "@{}", distro.version)?;
            }
        }
        Ok(())
    }
}

impl Target {
    /// One target for each distribution: what is made is made for one.
    pub fn expand(&self) -> Vec<Self> {
        if self.distros.len() < 2 {
            return vec![self.clone()];
        }
        self.distros.iter().map(|distro| Self { distros: vec![distro.clone()], ..self.clone() }).collect()
    }

    /// What fits both; nothing where they exclude each other.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let same = |one: &str, other: &str| match (one.is_empty(), other.is_empty()) {
            (true, _) => Some(other.to_owned()),
            (_, true) => Some(one.to_owned()),
            _ => (one == other).then(|| one.to_owned()),
        };
        let distros = match (self.distros.as_slice(), other.distros.as_slice()) {
            ([], all) | (all, []) => all.to_vec(),
            (ours, theirs) => {
                let pairs = ours.iter().flat_map(|one| theirs.iter().map(move |other| (one, other)));
                let common = pairs.filter_map(|(one, other)| {
                    let name = same(&one.name, &other.name)?;
                    Some(Distribution { name, version: same(&one.version, &other.version)? })
                });
                let common: Vec<Distribution> = common.collect();
                (!common.is_empty()).then_some(common)?
            }
        };
        Some(Self {
            os: same(&self.os, &other.os)?,
            arch: same(&self.arch, &other.arch)?,
            variant: same(&self.variant, &other.variant)?,
            distros,
        })
    }
}

impl ImageTarget {
    /// The `CNB_TARGET_*` variables that buildpacks of API 0.10 and newer get.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![("CNB_TARGET_OS", self.os.clone()), ("CNB_TARGET_ARCH", self.arch.clone())];
        out.push(("CNB_TARGET_ARCH_VARIANT", self.variant.clone().unwrap_or_default()));
        let distro = self.distro.clone().unwrap_or_default();
        out.push(("CNB_TARGET_DISTRO_NAME", distro.name));
        out.push(("CNB_TARGET_DISTRO_VERSION", distro.version));
        if let Some(id) = &self.id {
            out.push(("CNB_TARGET_ID", id.clone()));
        }
        out.retain(|(_, value)| !value.is_empty());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn a_target_is_read_and_shown_as_it_is_typed() {
        for text in ["linux", "linux/amd64", "linux/arm/v6:ubuntu@14.04;debian@13", "windows/amd64:windows"] {
            assert_eq!(target(text).to_string(), text);
        }
        assert_eq!(Target::default().to_string(), "any");
        for (text, problem) in [
            ("", "`` is no os of images: there are linux and windows"),
            ("amd64", "`amd64` is no os of images: there are linux and windows"),
            ("linux/amd64/v1/x", "it has more than an os, a processor and a variant"),
            ("linux:@13", "`@13` is no distribution with a version"),
            ("linux:a@1@2", "`a@1@2` is no distribution with a version"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.problem, problem, "{text}");
            assert!(error.hint().contains("linux/amd64"));
        }
        assert!("linux/x86".parse::<Target>().unwrap_err().to_string().contains("`x86` is no processor"));
    }

    #[test]
    fn targets_meet_where_neither_excludes_the_other() {
        for (one, other, both) in [
            ("linux", "linux/arm64", Some("linux/arm64")),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64:debian@12;debian@13", "linux:debian@13", Some("linux/amd64:debian@13")),
            ("linux:debian", "linux:debian@13", Some("linux:debian@13")),
            ("linux:debian@13", "linux:ubuntu@24.04", None),
        ] {
            assert_eq!(target(one).meet(&target(other)), both.map(target), "{one} and {other}");
            assert_eq!(target(other).meet(&target(one)), both.map(target), "{other} and {one}");
        }
        assert_eq!(target("linux:a@1;b@2").expand(), [target("linux:a@1"), target("linux:b@2")]);
        assert_eq!(target("linux:a@1").expand(), [target("linux:a@1")]);
    }
}
