//! The lines of JSON with which a daemon accompanies a load: progress that nobody needs, what was loaded, and the one error.

use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;

/// One line; a layer's progress has some hundred bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// A daemon's words, as they are shown.
const MAX_MESSAGE_CHARS: usize = 600;

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(rename = "errorDetail", default)]
    detail: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    message: Option<String>,
}

/// What a load ended with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The identity under which the daemon knows what was loaded, where it says so.
    pub(super) id: Option<String>,
    /// Why it was not loaded.
    pub(super) error: Option<String>,
}

/// Reads the messages to their end.
pub(super) fn read_messages(reader: impl Read) -> io::Result<Outcome> {
    let mut reader = BufReader::new(reader);
    let mut outcome = Outcome::default();
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(outcome);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let message: Message = serde_json::from_slice(&line).map_err(|_| {
            let shown = words(&String::from_utf8_lossy(&line[..line.len().min(100)]));
            io::Error::new(io::ErrorKind::InvalidData, format!("{shown:?} is no message of a docker daemon"))
        })?;
        let said = message.detail.and_then(|detail| detail.message).or(message.error);
        outcome.error = outcome.error.or(said.map(|text| words(&text)));
        let loaded = message.stream.as_deref().and_then(|text| text.trim().strip_prefix("Loaded image ID: "));
        if let Some(id) = loaded.filter(|id| id.starts_with("sha256:") && id.len() == 71) {
            outcome.id = Some(id.to_owned());
        }
    }
}

/// A stranger's words: one line, not too long.
pub(super) fn words(text: &str) -> String {
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_among_the_messages_is_found_and_the_identity_too() {
        let id = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            "{{\"status\":\"Loading layer\",\"progressDetail\":{{\"current\":1,\"total\":2}},\"id\":\"x\"}}\n{{\"stream\":\"Loaded image ID: {id}\\n\"}}\n"
        );
        assert_eq!(read_messages(text.as_bytes()).unwrap(), Outcome { id: Some(id), error: None });
        let failed = br#"{"errorDetail":{"message":"no\nspace"},"error":"no space"}"#;
        assert_eq!(read_messages(&failed[..]).unwrap().error.unwrap(), "no space");
        assert_eq!(read_messages(&br#"{"error":"old"}"#[..]).unwrap().error.unwrap(), "old");
        assert_eq!(read_messages(&b"\n"[..]).unwrap(), Outcome::default());
        let error = read_messages(&b"<html>\n"[..]).unwrap_err();
        assert!(error.to_string().contains("<html>"), "{error}");
        assert!(read_messages(&vec![b'['; 3 << 20][..]).is_err());
        assert_eq!(words(&"é".repeat(700)).chars().count(), 601);
    }
}
