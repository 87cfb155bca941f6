//! Serde for paths and strings of any bytes: text where they are UTF-8, an array of bytes where they are not.
//!
//! `PathBuf` alone refuses to serialise what is not UTF-8, and `OsString` writes every byte as a number.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
#[serde(untagged)]
enum Borrowed<'a> {
    Text(&'a str),
    Raw(&'a [u8]),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Owned {
    Text(String),
    Raw(Vec<u8>),
}

fn borrowed(value: &OsStr) -> Borrowed<'_> {
    value.to_str().map_or_else(|| Borrowed::Raw(value.as_bytes()), Borrowed::Text)
}

fn owned(value: Owned) -> OsString {
    match value {
        Owned::Text(text) => text.into(),
        Owned::Raw(raw) => OsString::from_vec(raw),
    }
}

pub(crate) mod path {
    use super::{Deserialize, Deserializer, Owned, Serialize, Serializer, borrowed, owned};
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(value: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        borrowed(value.as_os_str()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Owned::deserialize(deserializer).map(|value| owned(value).into())
    }
}

pub(crate) mod paths {
    use super::{Deserialize, Deserializer, Owned, Serializer, borrowed, owned};
    use std::path::PathBuf;

    pub(crate) fn serialize<S: Serializer>(value: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(|path| borrowed(path.as_os_str())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Owned>::deserialize(deserializer)?.into_iter().map(|value| owned(value).into()).collect())
    }
}

pub(crate) mod os_strings {
    use super::{Deserialize, Deserializer, OsString, Owned, Serializer, borrowed, owned};

    pub(crate) fn serialize<S: Serializer>(value: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(|item| borrowed(item)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
        Ok(Vec::<Owned>::deserialize(deserializer)?.into_iter().map(owned).collect())
    }
}

pub(crate) mod os_pairs {
    use super::{Deserialize, Deserializer, OsString, Owned, Serializer, borrowed, owned};

    pub(crate) fn serialize<S: Serializer>(value: &[(OsString, OsString)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(|(key, item)| (borrowed(key), borrowed(item))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(OsString, OsString)>, D::Error> {
        let pairs = Vec::<(Owned, Owned)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|(key, item)| (owned(key), owned(item))).collect())
    }
}
