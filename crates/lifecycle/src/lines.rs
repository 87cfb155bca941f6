//! Bytes as a process writes them, cut into lines for the reporter, with the last part of them kept for an error.

use hoist_events::{Event, Reporter, Stream};

/// Longer lines are cut: a progress bar without line ends must not grow without bound.
const MAX_LINE_BYTES: usize = 16 << 10;
/// How much of the output an error may quote.
const MAX_TAIL_BYTES: usize = 16 << 10;

/// Collects the output of one process.
pub(crate) struct Lines<'a> {
    reporter: Option<&'a dyn Reporter>,
    source: String,
    open: [Vec<u8>; 2],
    tail: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Lines are reported as they come where there is a reporter, and kept in any case.
    pub(crate) fn new(reporter: Option<&'a dyn Reporter>, source: &str) -> Self {
        Self { reporter, source: source.to_owned(), open: [Vec::new(), Vec::new()], tail: Vec::new() }
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for byte in bytes {
            let line = &mut self.open[index(stream)];
            if *byte == b'\n' || line.len() >= MAX_LINE_BYTES {
                let done = std::mem::take(line);
                self.line(stream, &done);
            }
            if *byte != b'\n' {
                self.open[index(stream)].push(*byte);
            }
        }
    }

    /// What the process said at last, once it has ended.
    pub(crate) fn finish(mut self) -> String {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.open[index(stream)]);
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
        String::from_utf8_lossy(&self.tail).trim_end().to_owned()
    }

    fn line(&mut self, stream: Stream, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.tail.extend_from_slice(line);
        self.tail.push(b'\n');
        if self.tail.len() > MAX_TAIL_BYTES {
            let cut = self.tail.len() - MAX_TAIL_BYTES;
            self.tail.drain(..cut);
        }
        if let Some(reporter) = self.reporter {
            let line = String::from_utf8_lossy(line).into_owned();
            reporter.report(&Event::Output { source: self.source.clone(), stream, line });
        }
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
