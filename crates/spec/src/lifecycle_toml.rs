//! `lifecycle.toml`: which lifecycle an archive of one holds, and the APIs that it speaks (platform.md, "lifecycle.toml").

use serde::Deserialize;

use crate::api::ApiVersion;
use crate::builder_labels::{ApiRange, BuilderLifecycle, LifecycleApis, OldApis};
use crate::error::{DocumentError, parse_toml};

const DOCUMENT: &str = "lifecycle.toml";

#[derive(Deserialize)]
struct Raw {
    lifecycle: RawInfo,
    #[serde(default)]
    api: RawOldApis,
    #[serde(default)]
    apis: RawApis,
}

#[derive(Deserialize)]
struct RawInfo {
    version: String,
}

/// Before there were several: one of each.
#[derive(Default, Deserialize)]
struct RawOldApis {
    buildpack: Option<ApiVersion>,
    platform: Option<ApiVersion>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawApis {
    buildpack: RawRange,
    platform: RawRange,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRange {
    deprecated: Vec<ApiVersion>,
    supported: Vec<ApiVersion>,
}

impl RawRange {
    fn or(self, old: Option<ApiVersion>) -> ApiRange {
        let supported = if self.supported.is_empty() { old.into_iter().collect() } else { self.supported };
        ApiRange { deprecated: self.deprecated, supported }
    }
}

impl BuilderLifecycle {
    /// Reads `lifecycle.toml`.
    pub fn parse_descriptor(text: &str) -> Result<Self, DocumentError> {
        let raw: Raw = parse_toml(DOCUMENT, text)?;
        let apis = LifecycleApis {
            buildpack: raw.apis.buildpack.or(raw.api.buildpack),
            platform: raw.apis.platform.or(raw.api.platform),
        };
        if apis.buildpack.supported.is_empty() || apis.platform.supported.is_empty() {
            let message = "it names no Buildpack API or no Platform API that is supported";
            return Err(DocumentError::invalid(DOCUMENT, "apis", message, "take the archive of a released lifecycle"));
        }
        Ok(Self::new(raw.lifecycle.version, apis))
    }

    /// A lifecycle with these APIs; the oldest of each stands where tools of before look for one.
    pub fn new(version: String, apis: LifecycleApis) -> Self {
        let oldest = |range: &ApiRange| range.deprecated.iter().chain(&range.supported).min().copied();
        let api = OldApis { buildpack: oldest(&apis.buildpack), platform: oldest(&apis.platform) };
        Self { version, api: Some(api), apis }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_which_apis_there_are() {
        let text = "[lifecycle]\nversion = \"0.21.0\"\n[apis.buildpack]\ndeprecated = [\"0.7\"]\nsupported = [\"0.8\", \"0.12\"]\n[apis.platform]\ndeprecated = []\nsupported = [\"0.15\"]\n";
        let found = BuilderLifecycle::parse_descriptor(text).unwrap();
        assert_eq!((found.version.as_str(), found.apis.buildpack.supported.len()), ("0.21.0", 2));
        assert_eq!(found.api.unwrap().buildpack, Some(ApiVersion::new(0, 7)));
        let old = "[lifecycle]\nversion = \"0.9.0\"\n[api]\nbuildpack = \"0.2\"\nplatform = \"0.3\"\n";
        let found = BuilderLifecycle::parse_descriptor(old).unwrap();
        assert_eq!(found.apis.platform.supported, [ApiVersion::new(0, 3)]);
    }

    #[test]
    fn one_that_says_nothing_is_refused_with_its_place() {
        let error = BuilderLifecycle::parse_descriptor("[lifecycle]\nversion = \"1\"\n").unwrap_err();
        assert!(error.to_string().starts_with("lifecycle.toml: apis: it names no Buildpack API"), "{error}");
        let error = BuilderLifecycle::parse_descriptor("[lifecycle]\nversion = 1\n").unwrap_err();
        assert!(error.to_string().starts_with("lifecycle.toml, line 2"), "{error}");
    }
}
