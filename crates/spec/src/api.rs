//! Versions of the Buildpack API and the Platform API: `<major>.<minor>` or `<major>`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A version of the Buildpack API or of the Platform API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The part before the point.
    pub major: u32,
    /// The part after the point; 0 where none is written.
    pub minor: u32,
}

/// A text that is no API version, or a version that hoist does not speak.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// Not `<major>.<minor>`.
    #[error("`{0}` is not an API version")]
    Malformed(String),
    /// A Buildpack API that is too old or too new.
    #[error("buildpack API {version} is not supported")]
    BuildpackApi {
        /// The version.
        version: ApiVersion,
    },
    /// A Platform API that is too old or too new.
    #[error("platform API {version} is not supported")]
    PlatformApi {
        /// The version.
        version: ApiVersion,
    },
}

impl ApiError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            Self::Malformed(_) => "write it as two numbers with a point, for example 0.10".to_owned(),
            Self::BuildpackApi { .. } => {
                format!("use one from {} to {}", ApiVersion::OLDEST_BUILDPACK, ApiVersion::NEWEST_BUILDPACK)
            }
            Self::PlatformApi { .. } => {
                format!("use one from {} to {}", ApiVersion::OLDEST_PLATFORM, ApiVersion::NEWEST_PLATFORM)
            }
        }
    }
}

impl ApiVersion {
    /// Oldest Buildpack API that is spoken.
    pub const OLDEST_BUILDPACK: Self = Self::new(0, 7);
    /// Newest Buildpack API that is spoken.
    pub const NEWEST_BUILDPACK: Self = Self::new(0, 12);
    /// Oldest Platform API that is spoken.
    pub const OLDEST_PLATFORM: Self = Self::new(0, 7);
    /// Newest Platform API that is spoken.
    pub const NEWEST_PLATFORM: Self = Self::new(0, 15);

    /// A version from its two numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Whether it is this minor version of major 0, or newer.
    pub fn at_least(self, minor: u32) -> bool {
        self >= Self::new(0, minor)
    }

    /// An error unless hoist runs buildpacks of this API.
    pub fn require_buildpack(self) -> Result<Self, ApiError> {
        if (Self::OLDEST_BUILDPACK..=Self::NEWEST_BUILDPACK).contains(&self) {
            Ok(self)
        } else {
            Err(ApiError::BuildpackApi { version: self })
        }
    }

    /// An error unless hoist answers platforms of this API.
    pub fn require_platform(self) -> Result<Self, ApiError> {
        if (Self::OLDEST_PLATFORM..=Self::NEWEST_PLATFORM).contains(&self) {
            Ok(self)
        } else {
            Err(ApiError::PlatformApi { version: self })
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let number = |part: &str| {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(ApiError::Malformed(text.to_owned()));
            }
            part.parse().map_err(|_| ApiError::Malformed(text.to_owned()))
        };
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self::new(number(major)?, number(minor)?))
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_major_minor_or_major() {
        assert_eq!("0.10".parse(), Ok(ApiVersion::new(0, 10)));
        assert_eq!("1".parse(), Ok(ApiVersion::new(1, 0)));
        for bad in ["", ".", "0.", "a", "0.1.2", "-1", "+1", "0.10 "] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_not_by_text() {
        assert!(ApiVersion::new(0, 10).at_least(9));
        assert!(!ApiVersion::new(0, 9).at_least(10));
        assert!(ApiVersion::new(0, 6).require_buildpack().is_err());
        assert!(ApiVersion::new(0, 13).require_buildpack().is_err());
        assert!(ApiVersion::new(0, 15).require_platform().is_ok());
    }
}
