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
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut text = part.strip_suffix(b"\n").unwrap_or(part);
            loop {
                let line = &mut self.open[index(stream)];
                let fits = text.len().min(MAX_LINE_BYTES - line.len());
                line.extend_from_slice(&text[..fits]);
                text = &text[fits..];
                if text.is_empty() {
                    break;
                }
                self.end_line(stream);
            }
            if part.ends_with(b"\n") {
                self.end_line(stream);
            }
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.open[index(stream)]);
        self.line(stream, &line);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_however_they_come_and_none_is_longer_than_the_bound() {
        let reporter = hoist_events::RecordingReporter::default();
        let mut lines = Lines::new(Some(&reporter), "acme/one");
        for bytes in [&b"one\r\ntw"[..], b"o", b"\n\n", &[b'x'; MAX_LINE_BYTES], b"y", b"\nend"] {
            lines.write(Stream::Stdout, bytes);
        }
        lines.write(Stream::Stderr, b"other");
        let said = lines.finish();
        assert!(said.ends_with("y\nend\nother"), "{}", &said[said.len() - 40..]);
        let found: Vec<String> = reporter
            .events()
            .iter()
            .map(|event| match event {
                Event::Output { line, .. } => line.clone(),
                _ => String::new(),
            })
            .collect();
        assert_eq!(found, ["one", "two", "", &"x".repeat(MAX_LINE_BYTES), "y", "end", "other"]);
    }
}
