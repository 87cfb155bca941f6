//! How a failure is shown and which exit code it has: the one place for both.
//!
//! A person reads what was being done, what was seen, why that is wrong, and what to do next; `--json` gives the same as an object.

use std::error::Error;
use std::fmt::Write as _;

use serde_json::json;

/// The exit codes of `hoist`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The job or app failed, or what was asked to be built cannot be built.
    App,
    /// The command or its input is wrong.
    Usage,
    /// Hoist itself or the machine failed.
    Hoist,
    /// The code of a process that hoist ran for the user, handed on.
    Process(u8),
}

impl Code {
    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::App => 1,
            Self::Usage => 2,
            Self::Hoist => 3,
            Self::Process(code) => code,
        }
    }
}

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    messages: Vec<String>,
    hint: Option<String>,
    code: Code,
    silent: bool,
    /// What else is known, for programs.
    more: Option<Box<(String, serde_json::Value)>>,
}

impl Failure {
    /// From an error and its chain of sources.
    pub(crate) fn new(error: &dyn Error, hint: Option<String>, code: Code) -> Self {
        let mut messages = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            // An error that shows its source in its own text must not be shown twice.
            if messages.last().is_none_or(|last| !last.contains(&text)) {
                messages.push(text);
            }
            source = error.source();
        }
        Self { messages, hint: hint.filter(|hint| !hint.is_empty()), code, silent: false, more: None }
    }

    /// From words of this binary.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], hint: Some(hint.into()), code: Code::Usage, silent: false, more: None }
    }

    /// Hoist or the machine failed, in words of this binary.
    pub(crate) fn hoist(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { messages: vec![message.into()], hint: Some(hint.into()), code: Code::Hoist, silent: false, more: None }
    }

    /// Words of this binary, and a code of the specification.
    pub(crate) fn coded(message: impl Into<String>, hint: impl Into<String>, code: Code) -> Self {
        Self { messages: vec![message.into()], hint: Some(hint.into()), code, silent: false, more: None }
    }

    /// The app or job failed by itself.
    pub(crate) fn app(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { messages: vec![message.into()], hint, code: Code::App, silent: false, more: None }
    }

    /// The process said everything itself; only its code is handed on.
    pub(crate) fn of_process(code: u8) -> Self {
        Self { messages: Vec::new(), hint: None, code: Code::Process(code), silent: true, more: None }
    }

    /// The same, with something else that its document tells.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: serde_json::Value) -> Self {
        self.more = Some(Box::new((key.to_owned(), value)));
        self
    }

    /// The number that `hoist` ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code.number()
    }

    /// The text for a person; empty where nothing is left to say.
    pub(crate) fn text(&self, color: bool) -> String {
        let mut text = String::new();
        if self.silent {
            return text;
        }
        let (red, cyan, off) = if color { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        for (index, message) in self.messages.iter().enumerate() {
            let lead = if index == 0 { format!("{red}error:{off} ") } else { "  because: ".to_owned() };
            let _ = writeln!(text, "{lead}{}", harmless(message).replace('\n', "\n    "));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{cyan}try:{off} {}", harmless(hint).replace('\n', "\n    "));
        }
        text
    }

    /// The same as an object, for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut document = json!({"error": {
            "message": self.messages.first(),
            "because": self.messages.get(1..).unwrap_or_default(),
            "hint": self.hint,
            "exit_code": self.exit_code(),
        }});
        if let Some((key, value)) = self.more.as_deref() {
            document[key] = value.clone();
        }
        document
    }

    /// Whether there is nothing to show.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}

/// Names of files in an archive may hold anything: what would steer the terminal is shown as what it is, a character of no use.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// Makes a [`Failure`] of an error type that has a `hint()`; the code says whose fault it is.
macro_rules! failure_from {
    ($($error:ty => $code:expr),+ $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let hint = error.hint();
                let code: fn(&$error) -> Code = $code;
                Self::new(&error, Some(hint.to_string()), code(&error))
            }
        }
    )+};
}
pub(crate) use failure_from;

failure_from! {
    crate::settings::SettingsError => |_| Code::Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store /s")]
    struct Outer {
        source: std::io::Error,
    }

    #[test]
    fn a_failure_tells_the_chain_once_and_the_next_step() {
        let error = Outer { source: std::io::Error::other("disk full") };
        let failure = Failure::new(&error, Some("hoist system prune".into()), Code::Hoist);
        assert_eq!(
            failure.text(false),
            "error: cannot open the store /s\n  because: disk full\ntry: hoist system prune\n"
        );
        assert_eq!(failure.exit_code(), 3);
        assert_eq!(failure.json()["error"]["because"][0], "disk full");
    }
}
