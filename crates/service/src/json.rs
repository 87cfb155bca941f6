//! JSON text that has been looked at: kept as it was written (numbers lose no digit), and refused with line, column and a caret.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is deeper than this no program reads: Python's own reader gives up at about a thousand levels, serde_json's at 128.
const MAX_DEPTH: usize = 120;

/// JSON text that is known to be JSON, exactly as it was written.
#[derive(Debug, Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Checks `text`. `origin` names it in the error: a path, `--data`, `result`.
    pub fn parse(origin: &str, text: &str) -> Result<Self, JsonError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let raw: Box<RawValue> = serde_json::from_str(text).map_err(|error| JsonError::new(origin, text, &error))?;
        match too_deep(raw.get()) {
            None => Ok(Self(raw)),
            Some(offset) => {
                Err(JsonError::at(origin, text, offset, format!("it is nested deeper than {MAX_DEPTH} levels")))
            }
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value; numbers beyond 64 bits lose digits here, as they do not in [`Self::as_str`].
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(self.0.get()).unwrap_or(serde_json::Value::Null)
    }

    /// The top-level keys with their values in the order of the text (a key that comes twice keeps its last value); none where it is no object.
    pub fn members(&self) -> Option<Vec<(String, JsonText)>> {
        if !self.as_str().trim_start().starts_with('{') {
            return None;
        }
        let map: Members = serde_json::from_str(self.0.get()).ok()?;
        Some(map.0)
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for JsonText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The members of an object with their text.
struct Members(Vec<(String, JsonText)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut last: HashMap<String, usize> = HashMap::new();
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    last.insert(key.clone(), members.len());
                    members.push((key, JsonText(value)));
                }
                let mut at = 0..;
                members.retain(|(key, _)| last.get(key) == at.next().as_ref());
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Text that is no JSON: where, why, and the line with a caret below.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin} {}: line {line}, column {column}: {why}\n{excerpt}", if *is_json { "does not say what it should" } else { "is not JSON" })]
pub struct JsonError {
    /// What was read.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Whether it is JSON, but another value than expected stands there.
    pub is_json: bool,
    /// What is wrong there.
    pub why: String,
    /// The line (cut to what fits a terminal) and a caret.
    pub excerpt: String,
}

/// What Python and JavaScript write and JSON does not know, with what JSON has instead.
const FOREIGN: [(&str, &str); 9] = [
    ("-Infinity", "JSON has no infinity; write null or a number"),
    ("Infinity", "JSON has no infinity; write null or a number"),
    ("NaN", "JSON has no NaN; write null"),
    ("nan", "JSON has no NaN; write null"),
    ("True", "Python's True is true in JSON"),
    ("False", "Python's False is false in JSON"),
    ("None", "Python's None is null in JSON"),
    ("undefined", "JSON has no undefined; write null"),
    ("'", "JSON strings stand in double quotes"),
];

impl JsonError {
    pub(crate) fn new(origin: &str, text: &str, error: &serde_json::Error) -> Self {
        let line = error.line().max(1);
        let row = text.split('\n').nth(line - 1).unwrap_or("").trim_end_matches('\r');
        // serde_json counts bytes and points behind the byte that it could not use.
        let mut offset = error.column().saturating_sub(1).min(row.len());
        while !row.is_char_boundary(offset) {
            offset -= 1;
        }
        let (offset, why) = foreign_word(row, offset).unwrap_or_else(|| (offset, plain(error)));
        let column = row[..offset].chars().count() + 1;
        let is_json = error.is_data();
        Self { origin: origin.to_owned(), line, column, is_json, why, excerpt: excerpt(row, column) }
    }

    fn at(origin: &str, text: &str, offset: usize, why: String) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let row = text[start..].lines().next().unwrap_or("");
        let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        Self { origin: origin.to_owned(), line, column, is_json: false, why, excerpt: excerpt(row, column) }
    }

    /// The next step.
    pub fn hint(&self) -> String {
        if self.is_json {
            return format!("correct line {} of {}", self.line, self.origin);
        }
        format!("correct line {} of {}; python3 -m json.tool shows the same place", self.line, self.origin)
    }
}

/// Where a valid JSON text goes too deep.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at);
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The word of [`FOREIGN`] that stands at `offset` or just before it.
fn foreign_word(row: &str, offset: usize) -> Option<(usize, String)> {
    let from = offset.saturating_sub(2);
    (from..=offset).filter(|at| row.is_char_boundary(*at)).find_map(|at| {
        let rest = &row[at..];
        FOREIGN.iter().find(|(word, _)| rest.starts_with(word)).map(|(_, why)| (at, (*why).to_owned()))
    })
}

fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text {
        "EOF while parsing an object" | "EOF while parsing a list" | "EOF while parsing a string" => {
            format!("the text ends too early ({text})")
        }
        "EOF while parsing a value" => "a value is missing: the text ends here".to_owned(),
        "key must be a string" => {
            "a key in double quotes is expected here (behind the last member stands no comma)".to_owned()
        }
        "trailing comma" => "behind the last value stands no comma".to_owned(),
        "trailing characters" => "something stands behind the end of the JSON value".to_owned(),
        other => {
            let other =
                other.replace("expected f64", "expected a number").replace("expected u32", "expected a whole number");
            other
                .replace("expected struct Resources", "expected an object")
                .replace("expected struct Gpu", "expected an object")
        }
    }
}

/// The line around `column` and a caret under it.
fn excerpt(row: &str, column: usize) -> String {
    const WIDTH: usize = 72;
    let skip = column.saturating_sub(WIDTH - 12);
    let shown: String =
        row.chars().skip(skip).take(WIDTH).map(|c| if c == '\t' || c.is_control() { ' ' } else { c }).collect();
    format!("    {shown}\n    {}^", " ".repeat(column - 1 - skip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> JsonError {
        JsonText::parse("data.json", text).unwrap_err()
    }

    #[test]
    fn the_place_and_the_reason_are_named() {
        let nan = error("{\n  \"a\": 1,\n  \"b\": NaN\n}");
        assert_eq!((nan.line, nan.column, nan.why.as_str()), (3, 8, "JSON has no NaN; write null"));
        assert_eq!(nan.excerpt, "      \"b\": NaN\n           ^");
        let single = error("{'a': 1}");
        assert_eq!((single.line, single.column), (1, 2));
        assert_eq!(single.why, "JSON strings stand in double quotes");
        assert_eq!(error("[-Infinity]").why, "JSON has no infinity; write null or a number");
        assert_eq!(error("[1, True]").why, "Python's True is true in JSON");
        assert!(error("").why.contains("missing"));
        assert!(error("{\"a\": [1, 2").why.contains("ends too early"));
        assert!(error("1 2").why.contains("behind the end"));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!((error(&deep).column, error(&deep).why.as_str()), (121, "it is nested deeper than 120 levels"));
        assert!(error("{\"ä\": 'x'}").column == 7);
    }

    #[test]
    fn the_text_is_kept_to_the_digit_and_members_keep_their_order() {
        let text =
            JsonText::parse("x", "\u{feff}{\"z\": 123456789012345678901234567890, \"a\": {\"q\": 1.10}, \"z\": 2.50}")
                .unwrap();
        let members = text.members().unwrap();
        assert_eq!(
            members.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
            [("a", "{\"q\": 1.10}"), ("z", "2.50")]
        );
        assert!(JsonText::parse("x", "[1]").unwrap().members().is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_fall_over(text in "\\PC{0,40}") {
            let _ = JsonText::parse("x", &text);
        }
    }
}
