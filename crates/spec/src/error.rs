//! What is wrong with a document: its kind, the place, and what would be right.
//!
//! The parsers of this crate take text, so a path is not known here; whoever read the file adds it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A document of the specification that cannot be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// It is not TOML or JSON, or a field is missing or of another type.
    #[error("{document}, line {line}, column {column}: {message}")]
    Syntax {
        /// Kind of document: `buildpack.toml`.
        document: &'static str,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What the parser saw.
        message: String,
    },
    /// It can be read, but says what the specification forbids.
    #[error("{document}: {field}: {message}")]
    Invalid {
        /// Kind of document: `launch.toml`.
        document: &'static str,
        /// Where: `processes[2].type`.
        field: String,
        /// What is wrong with it.
        message: String,
        /// What to write instead.
        fix: String,
    },
    /// It cannot be written.
    #[error("{document} cannot be written: {message}")]
    Unwritable {
        /// Kind of document.
        document: &'static str,
        /// Why.
        message: String,
    },
}

impl DocumentError {
    pub(crate) fn invalid(
        document: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Invalid { document, field: field.into(), message: message.into(), fix: fix.into() }
    }

    /// What to do about it, where more is known than the message says.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { fix, .. } => Some(fix.clone()),
            Self::Syntax { document, .. } => Some(format!("correct {document} at that line")),
            Self::Unwritable { .. } => None,
        }
    }
}

pub(crate) fn parse_toml<T: DeserializeOwned>(document: &'static str, text: &str) -> Result<T, DocumentError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        DocumentError::Syntax { document, line, column, message: error.message().to_owned() }
    })
}

pub(crate) fn write_toml<T: serde::Serialize>(document: &'static str, value: &T) -> Result<String, DocumentError> {
    toml::to_string(value).map_err(|error| DocumentError::Unwritable { document, message: error.to_string() })
}

pub(crate) fn parse_json<T: DeserializeOwned>(document: &'static str, text: &str) -> Result<T, DocumentError> {
    serde_json::from_str(text).map_err(|error| {
        let full = error.to_string();
        let message = full.split(" at line ").next().unwrap_or_default().to_owned();
        DocumentError::Syntax { document, line: error.line(), column: error.column(), message }
    })
}

pub(crate) fn write_json<T: serde::Serialize>(document: &'static str, value: &T) -> Result<String, DocumentError> {
    serde_json::to_string(value).map_err(|error| DocumentError::Unwritable { document, message: error.to_string() })
}

/// Go writes `null` for an empty list.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Where the lines of a text end: documents with many entries ask for the line of each.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    /// Looks through the text once.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of a place in the text, from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_document_line_and_column() {
        let error = parse_toml::<toml::Table>("buildpack.toml", "api = \"0.10\"\n  id = \n").unwrap_err();
        assert!(error.to_string().starts_with("buildpack.toml, line 2, column "), "{error}");
        let error = parse_json::<serde_json::Value>("label", "{\n\"a\": }").unwrap_err();
        assert_eq!(error.to_string(), "label, line 2, column 6: expected value");
    }
}
