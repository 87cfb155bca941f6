//! Turns what a process writes into events, a line each, with bounded memory.

use std::io;

use hoist_events::{Event, Reporter, Stream};
use hoist_sandbox::OutputSink;

/// A longer line is told in pieces of this size.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Reports each line of a process as an event.
pub(crate) struct LineSink<'a> {
    source: &'a str,
    reporter: &'a dyn Reporter,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The last lines, for errors that have to show what was seen.
    tail: Vec<String>,
}

/// How many of the last lines an error shows at the most.
const TAIL_LINES: usize = 40;

impl<'a> LineSink<'a> {
    pub(crate) fn new(source: &'a str, reporter: &'a dyn Reporter) -> Self {
        Self { source, reporter, stdout: Vec::new(), stderr: Vec::new(), tail: Vec::new() }
    }

    /// Reports what has no line end yet, and gives the last lines.
    pub(crate) fn finish(mut self) -> Vec<String> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(self.buffer(stream));
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
        self.tail
    }

    fn buffer(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.buffer(stream).extend_from_slice(bytes);
        loop {
            let buffer = self.buffer(stream);
            let end = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) if end <= MAX_LINE_BYTES => end + 1,
                _ if buffer.len() > MAX_LINE_BYTES => MAX_LINE_BYTES,
                _ => return,
            };
            let line: Vec<u8> = buffer.drain(..end).collect();
            self.line(stream, &line);
        }
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let line = text.trim_end_matches(['\n', '\r']).to_owned();
        if self.tail.len() == TAIL_LINES {
            self.tail.remove(0);
        }
        self.tail.push(line.clone());
        self.reporter.report(&Event::Output { source: self.source.to_owned(), stream, line });
    }
}

impl OutputSink for LineSink<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.take(Stream::Stdout, bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.take(Stream::Stderr, bytes);
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.reporter.warn(text, None);
    }
}

#[cfg(test)]
mod tests {
    use hoist_events::RecordingReporter;

    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_pieces_and_none_is_longer_than_the_bound() {
        let recorder = RecordingReporter::default();
        let mut sink = LineSink::new("app", &recorder);
        for piece in [&b"one\ntw"[..], b"o\r\n", b"last"] {
            sink.stdout(piece).unwrap();
        }
        sink.stderr(&vec![b'x'; MAX_LINE_BYTES + 10]).unwrap();
        let tail = sink.finish();
        assert_eq!(tail.len(), 5);
        assert_eq!((tail[0].as_str(), tail[1].as_str()), ("one", "two"));
        assert_eq!((tail[2].len(), tail[3].as_str(), tail[4].len()), (MAX_LINE_BYTES, "last", 10));
        assert_eq!(recorder.events().len(), 5);
    }
}
