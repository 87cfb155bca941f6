//! `run.toml` and its deprecated forerunner `stack.toml`: the run images of a builder.

use serde::{Deserialize, Serialize};

use crate::error::{DocumentError, parse_toml, write_toml};

/// A run image and the places where the same can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImage {
    /// Its name.
    #[serde(default)]
    pub image: String,
    /// Other names of the same image.
    #[serde(default, deserialize_with = "crate::error::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunToml {
    /// The first one is the default.
    #[serde(default, deserialize_with = "crate::error::null_as_default")]
    pub images: Vec<RunImage>,
}

/// `stack.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StackToml {
    /// Its one run image.
    #[serde(default)]
    pub run_image: RunImage,
}

impl RunToml {
    /// Reads `run.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let run: Self = parse_toml("run.toml", text)?;
        for (at, image) in run.images.iter().enumerate() {
            if image.image.is_empty() && !image.mirrors.is_empty() {
                let message = "mirrors without an image";
                return Err(DocumentError::invalid("run.toml", format!("images[{at}]"), message, "name the image"));
            }
        }
        Ok(run)
    }

    /// Writes `run.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("run.toml", self)
    }
}

impl StackToml {
    /// Reads `stack.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml("stack.toml", text)
    }

    /// Writes `stack.toml`.
    pub fn write(&self) -> Result<String, DocumentError> {
        write_toml("stack.toml", self)
    }
}
