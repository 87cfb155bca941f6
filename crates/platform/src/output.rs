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
    /// Whether hoist's own runner may speak on stderr.
    hears_runner: bool,
    verdict: Option<Verdict>,
}

/// Why hoist's runner ended a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
    /// Whether it was the input, before anything of the service was called.
    pub(crate) wrong_input: bool,
}

/// What was seen of a process.
pub(crate) struct Seen {
    /// Its last lines.
    pub(crate) tail: Vec<String>,
    /// What hoist's runner said, which is not among its lines: the command tells it, once.
    pub(crate) verdict: Option<Verdict>,
}

/// How the runner's own lines begin (`hoist_runner/job.py`).
const RUNNER_ERROR: &str = "hoist: error: ";
const RUNNER_INPUT_ERROR: &str = "hoist: input error: ";
const RUNNER_HINT: &str = "hoist:   do: ";

/// How many of the last lines an error shows at the most.
const TAIL_LINES: usize = 40;

impl<'a> LineSink<'a> {
    pub(crate) fn new(source: &'a str, reporter: &'a dyn Reporter) -> Self {
        Self {
            source,
            reporter,
            stdout: Vec::new(),
            stderr: Vec::new(),
            tail: Vec::new(),
            hears_runner: false,
            verdict: None,
        }
    }

    /// For a job: what hoist's runner says of a failure is kept for the command.
    pub(crate) fn of_job(source: &'a str, reporter: &'a dyn Reporter) -> Self {
        Self { hears_runner: true, ..Self::new(source, reporter) }
    }

    /// Reports what has no line end yet, and gives what was seen.
    pub(crate) fn finish(mut self) -> Seen {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(self.buffer(stream));
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
        Seen { tail: self.tail, verdict: self.verdict }
    }

    /// Takes the line where it is the runner's.
    fn is_runners(&mut self, line: &str) -> bool {
        for (prefix, wrong_input) in [(RUNNER_ERROR, false), (RUNNER_INPUT_ERROR, true)] {
            if let Some(error) = line.strip_prefix(prefix) {
                self.verdict = Some(Verdict { error: error.to_owned(), hint: None, wrong_input });
                return true;
            }
        }
        match (line.strip_prefix(RUNNER_HINT), &mut self.verdict) {
            (Some(hint), Some(verdict)) => {
                verdict.hint = Some(hint.to_owned());
                true
            }
            _ => false,
        }
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
        if self.hears_runner && stream == Stream::Stderr && self.is_runners(&line) {
            return;
        }
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
        let tail = sink.finish().tail;
        assert_eq!(tail.len(), 5);
        assert_eq!((tail[0].as_str(), tail[1].as_str()), ("one", "two"));
        assert_eq!((tail[2].len(), tail[3].as_str(), tail[4].len()), (MAX_LINE_BYTES, "last", 10));
        assert_eq!(recorder.events().len(), 5);
    }

    #[test]
    fn the_runners_words_are_kept_for_the_command() {
        let recorder = RecordingReporter::default();
        let said = b"log\nhoist: error: result.a: set is not JSON\nhoist:   do: return list(...) of it\n";
        let mut sink = LineSink::of_job("app", &recorder);
        sink.stderr(said).unwrap();
        let seen = sink.finish();
        let hint = Some("return list(...) of it".to_owned());
        assert_eq!(seen.verdict, Some(Verdict { error: "result.a: set is not JSON".into(), hint, wrong_input: false }));
        assert_eq!(seen.tail, ["log"]);
        let mut sink = LineSink::of_job("app", &recorder);
        sink.stderr(b"hoist: input error: shots: a text, not a whole number\n").unwrap();
        assert!(sink.finish().verdict.unwrap().wrong_input);
        let mut sink = LineSink::new("app", &recorder);
        sink.stderr(said).unwrap();
        assert_eq!(sink.finish().tail.len(), 3);
    }
}
