//! What a buildpack says while it works: short, indented lines, without passwords in addresses.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::install::mask_credentials;

/// Where the lines go: standard output, or a buffer in tests. A line that cannot be written is lost; it never fails a build.
pub struct Output {
    sink: Mutex<Box<dyn Write + Send>>,
}

/// What an [`Output::caught`] was told so far.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::to(Box::new(std::io::stdout()))
    }

    /// Writes to `sink`.
    pub fn to(sink: Box<dyn Write + Send>) -> Self {
        Self { sink: Mutex::new(sink) }
    }

    /// Keeps everything, for who asks [`Said`] afterwards.
    pub(crate) fn caught() -> (Self, Said) {
        let said = Said::default();
        (Self::to(Box::new(said.clone())), said)
    }

    /// The buildpack's first line, at the margin.
    pub fn title(&self, text: impl Display) {
        self.line("", &text.to_string());
    }

    /// One thing that was decided or is done now, indented by two.
    pub fn step(&self, text: impl Display) {
        self.line("  ", &mask_credentials(&text.to_string()));
    }

    /// What belongs to the step before, indented by four.
    pub fn detail(&self, text: impl Display) {
        self.line("    ", &mask_credentials(&text.to_string()));
    }

    /// Something to look at that does not stop the build.
    pub fn warning(&self, text: impl Display) {
        self.line("  ", &mask_credentials(&format!("warning: {text}")));
    }

    /// A failure's whole page.
    pub fn failure(&self, failure: &crate::Failure) {
        self.line("", &failure.to_string());
    }

    fn line(&self, indent: &str, text: &str) {
        let mut block = String::with_capacity(text.len() + 8);
        for line in text.trim_end().lines() {
            block.push_str(indent);
            block.push_str(line);
            block.push('\n');
        }
        if let Ok(mut sink) = self.sink.lock() {
            let _ = sink.write_all(block.as_bytes());
            let _ = sink.flush();
        }
    }
}
