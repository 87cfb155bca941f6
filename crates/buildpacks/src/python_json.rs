//! Values of TOML as Python's `json.dumps(value, sort_keys=True)` writes them: over such text Poetry and PDM make the hashes of their locks.
//! Pure.

use std::fmt::Write as _;

use toml::Value;

/// A table of these entries; `null` for what is not there.
pub(crate) fn object(entries: &[(&str, Option<&Value>)]) -> String {
    let mut entries: Vec<_> = entries.to_vec();
    entries.sort_by_key(|(key, _)| *key);
    let parts = entries.iter().map(|(key, value)| {
        let value = value.map_or_else(|| "null".to_owned(), json);
        format!("{}: {value}", quoted(key))
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}

/// As `json.dumps(value, sort_keys=True)`.
pub(crate) fn json(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            object(&table.iter().map(|(key, value)| (key.as_str(), Some(value))).collect::<Vec<_>>())
        }
        other => other.to_string(),
    }
}

/// Text as JSON in ASCII.
fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'"') => result.push_str("\\\""),
            Ok(b'\\') => result.push_str("\\\\"),
            Ok(b'\n') => result.push_str("\\n"),
            Ok(b'\r') => result.push_str("\\r"),
            Ok(b'\t') => result.push_str("\\t"),
            Ok(byte) if (b' '..=b'~').contains(&byte) => result.push(char::from(byte)),
            _ => {
                let _ = write!(result, "\\u{unit:04x}");
            }
        }
    }
    result.push('"');
    result
}
