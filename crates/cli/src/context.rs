//! What every command has at hand: settings, the reporter, and the two ways to answer (text and JSON).

use std::io::Write;
use std::sync::Arc;

use hoist_events::Reporter;
use hoist_sandbox::Cancel;
use thiserror::Error;

use crate::failure::{Code, Failure};
use crate::registry::Said;
use crate::settings::Settings;

/// The surroundings of one command.
pub(crate) struct Context {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// Hears what happens.
    pub(crate) reporter: Arc<dyn Reporter>,
    /// Whether the answer is JSON.
    pub(crate) json: bool,
    /// Raised by Ctrl-C.
    pub(crate) cancel: Cancel,
    /// What the command says of registries.
    pub(crate) registry: Said,
}

#[derive(Debug, Error)]
#[error("cannot write the answer to standard output")]
struct AnswerError {
    source: std::io::Error,
}

impl Context {
    /// Writes text to stdout as it is.
    #[allow(clippy::unused_self)] // the one way out for answers
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // A reader such as `head` that has seen enough is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(source) => Err(Failure::new(&AnswerError { source }, None, Code::Hoist)),
            Ok(()) => Ok(()),
        }
    }

    /// Writes a value to stdout as JSON, indented for whoever looks at it.
    pub(crate) fn print_json(&self, value: &serde_json::Value) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value).unwrap_or_else(|_| "null".to_owned());
        text.push('\n');
        self.print(&text)
    }
}
