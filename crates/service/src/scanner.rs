//! Separates the result from log lines while a job runs, in bounded memory.

use crate::JsonText;

/// What kind of result a marker announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// `ResultResponse`, or a block that does not say.
    Result,
    /// `ErrorResponse`.
    Error,
}

/// What was found on stdout when the job had ended.
#[derive(Debug, Clone, Default)]
pub struct Scanned {
    /// The text of the result and what announced it; the first one counts.
    pub result: Option<(Block, String)>,
    /// Interim results, oldest first; bounded.
    pub interim: Vec<JsonText>,
    /// Oddities to warn about.
    pub warnings: Vec<String>,
}

/// Reads stdout of a job as it comes.
#[derive(Debug)]
pub struct ResultScanner {
    line: Vec<u8>,
}

impl ResultScanner {
    /// A scanner that keeps at most `limit_bytes` of a result.
    pub fn new(limit_bytes: usize) -> Self {
        let _ = limit_bytes;
        Self { line: Vec::new() }
    }

    /// Takes the next bytes; each finished line that is no result goes to `log`.
    pub fn feed(&mut self, bytes: &[u8], log: &mut dyn FnMut(&str)) {
        let _ = log;
        self.line.extend_from_slice(bytes);
    }

    /// The end of the stream.
    pub fn finish(self, log: &mut dyn FnMut(&str)) -> Scanned {
        let _ = log;
        Scanned::default()
    }
}
