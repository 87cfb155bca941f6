//! Bytes as a process writes them, cut into lines for the reporter, with the last part of them kept for an error.

use hoist_events::{Event, Reporter, Stream};

/// Longer lines are cut: a progress bar without line ends must not grow without bound.
const MAX_LINE_BYTES: usize = 16 << 10;
/// More lines than anyone reads. What is written after them is not shown, so that a loop costs nobody anything.
const MAX_LINES: u64 = 1_000_000;
/// How much of the output an error may quote.
const MAX_TAIL_BYTES: usize = 16 << 10;

/// Collects the output of one process.
pub(crate) struct Lines<'a> {
    reporter: Option<&'a dyn Reporter>,
    source: String,
    open: [Vec<u8>; 2],
    tail: Vec<u8>,
    shown: u64,
}

impl<'a> Lines<'a> {
    /// Lines are reported as they come where there is a reporter, and kept in any case.
    pub(crate) fn new(reporter: Option<&'a dyn Reporter>, source: &str) -> Self {
        Self { reporter, source: source.to_owned(), open: [Vec::new(), Vec::new()], tail: Vec::new(), shown: 0 }
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
        let cut = self.tail.len().saturating_sub(MAX_TAIL_BYTES);
        String::from_utf8_lossy(&self.tail[cut..]).trim_end().to_owned()
    }

    fn line(&mut self, stream: Stream, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.tail.extend_from_slice(line);
        self.tail.push(b'\n');
        // Cut seldom: each cut moves what stays.
        if self.tail.len() > 2 * MAX_TAIL_BYTES {
            let cut = self.tail.len() - MAX_TAIL_BYTES;
            self.tail.drain(..cut);
        }
        self.shown += 1;
        if self.shown == MAX_LINES {
            let text = format!("{} has written {MAX_LINES} lines, and what follows is not shown", self.source);
            if let Some(reporter) = self.reporter {
                reporter.warn(&text, None);
            }
        }
        if let Some(reporter) = self.reporter.filter(|_| self.shown < MAX_LINES) {
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
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[derive(Default)]
    struct Counting {
        lines: AtomicUsize,
        warnings: Mutex<Vec<String>>,
    }

    impl Reporter for Counting {
        fn report(&self, event: &Event) {
            match event {
                Event::Warning { text, .. } => self.warnings.lock().unwrap().push(text.clone()),
                _ => drop(self.lines.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    #[test]
    fn lines_without_end_are_not_shown_without_end_and_the_last_are_kept() {
        let reporter = Counting::default();
        let mut lines = Lines::new(Some(&reporter), "acme/one");
        for _ in 0..1010 {
            lines.write(Stream::Stdout, &b"y\n".repeat(1000));
        }
        lines.write(Stream::Stdout, b"the end");
        assert!(lines.finish().ends_with("y\nthe end"));
        assert_eq!(reporter.lines.load(Ordering::Relaxed), 999_999);
        assert_eq!(
            *reporter.warnings.lock().unwrap(),
            ["acme/one has written 1000000 lines, and what follows is not shown"]
        );
    }
}
