//! Targets: the operating systems and processors that a buildpack, a builder or an image is made for.

use serde::{Deserialize, Serialize};

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
