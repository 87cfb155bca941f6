//! Writes a document as YAML, in blocks and indented by four as pack's YAML is. Nothing here reads YAML.

use serde_json::Value;

/// The text of a document.
pub(crate) fn write(document: &Value) -> String {
    let mut text = String::new();
    block(&mut text, document, 0, false);
    text
}

/// A value in lines of its own; `inline` says that the first line has begun.
fn block(text: &mut String, value: &Value, indent: usize, inline: bool) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                let spaces = if inline && at == 0 { 0 } else { indent };
                text.extend(std::iter::repeat_n(' ', spaces));
                text.push_str(&scalar(key));
                text.push(':');
                after_key(text, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.extend(std::iter::repeat_n(' ', indent));
                text.push_str("- ");
                block(text, item, indent + 2, true);
            }
        }
        other => {
            text.push_str(&leaf(other));
            text.push('\n');
        }
    }
}

fn after_key(text: &mut String, value: &Value, indent: usize) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        text.push('\n');
        block(text, value, indent + 4, false);
    } else {
        text.push(' ');
        text.push_str(&leaf(value));
        text.push('\n');
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// A text plain where nobody could read it as something else, else quoted as JSON quotes it, which YAML reads, too.
fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let rest = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@' | '+' | ' ' | '(' | ')' | ':');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    let plain = first && !word && text.chars().all(rest) && !text.contains(": ") && !text.ends_with([' ', ':']);
    // A version such as 0.21.0 is no number to anyone, 0.10 is.
    let version = text.split('.').count() == 3
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if plain || version { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_blocks_and_texts_stay_texts() {
        let document = json!({
            "shared": {"name": "acme/b:1", "ok": true},
            "remote": null,
            "list": [{"id": "a", "inner": [{"id": "b"}], "empty": []}, "0.10", "0.21.0", "no", "- x", "a: b", "a#b", ""],
            "none": {},
        });
        let expected = "\
shared:
    name: acme/b:1
    ok: true
remote: null
list:
    - id: a
      inner:
          - id: b
      empty: []
    - \"0.10\"
    - 0.21.0
    - \"no\"
    - \"- x\"
    - \"a: b\"
    - \"a#b\"
    - \"\"
none: {}
";
        assert_eq!(write(&document), expected);
    }
}
