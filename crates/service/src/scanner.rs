//! Separates the result from log lines while a job runs, in bounded memory.
//!
//! The markers of the first generation, all at the beginning of a line: a block between two lines `PlanQK:Job:MultilineResult`; and on one
//! line `PlanQK:Job:Result: JSON`, `PlanQK:Job:InterimResult: JSON`, `Job:ResultResponse: JSON`, `Job:ErrorResponse: JSON` (older templates;
//! `ResulsResponse` is in their documentation). The first result counts, later ones are warned about. Everything else is a log line.

use crate::JsonText;

/// A log line longer than this is passed on in pieces.
const LINE_BYTES: usize = 64 << 10;
/// Interim results beyond these bounds push out older ones.
const INTERIM_COUNT: usize = 1000;
const INTERIM_BYTES: usize = 16 << 20;

const BLOCK: &str = "PlanQK:Job:MultilineResult";
/// One-line markers.
const MARKERS: [(&str, Marker); 6] = [
    ("PlanQK:Job:InterimResult:", Marker::Interim),
    ("PlanQK:Job:Result:", Marker::Result(Block::Result)),
    ("PlanQK:Job:ErrorResponse:", Marker::Result(Block::Error)),
    ("Job:ResultResponse:", Marker::Result(Block::Result)),
    ("Job:ResulsResponse:", Marker::Result(Block::Result)),
    ("Job:ErrorResponse:", Marker::Result(Block::Error)),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Interim,
    Result(Block),
}

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
    /// A result that was longer than allowed: its bytes so far.
    pub too_long_bytes: Option<usize>,
    /// Interim results, oldest first; bounded.
    pub interim: Vec<JsonText>,
    /// Oddities to warn about.
    pub warnings: Vec<String>,
}

/// Reads stdout of a job as it comes.
#[derive(Debug)]
pub struct ResultScanner {
    limit_bytes: usize,
    line: Vec<u8>,
    /// Whether the beginning of the open line was passed on already: then no marker stands at its beginning.
    continued: bool,
    /// The lines of the block that is open.
    block: Option<String>,
    /// An empty line that was not passed on yet: the runner writes one before its block, and that is no log line.
    blank: bool,
    interim_bytes: usize,
    found: Scanned,
}

impl ResultScanner {
    /// A scanner that keeps at most `limit_bytes` of a result.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            line: Vec::new(),
            continued: false,
            block: None,
            blank: false,
            interim_bytes: 0,
            found: Scanned::default(),
        }
    }

    /// Takes the next bytes; each finished line that is no result goes to `log`.
    pub fn feed(&mut self, mut bytes: &[u8], log: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end], log);
            self.end_line(log);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes, log);
    }

    /// The end of the stream.
    pub fn finish(mut self, log: &mut dyn FnMut(&str)) -> Scanned {
        if !self.line.is_empty() {
            self.end_line(log);
        }
        if self.blank {
            log("");
        }
        if let Some(block) = self.block.take() {
            self.found.warnings.push(format!("a result block was opened with {BLOCK} and never closed"));
            block.lines().for_each(log);
        }
        self.found
    }

    /// Whether the open line may be a result, of which nothing may be let go.
    fn may_be_result(&self) -> bool {
        let begins = !self.continued;
        self.block.is_some() || begins && MARKERS.iter().any(|(marker, _)| self.line.starts_with(marker.as_bytes()))
    }

    fn extend(&mut self, mut bytes: &[u8], log: &mut dyn FnMut(&str)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES.saturating_sub(self.line.len()).max(1).min(bytes.len());
            self.line.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.line.len() < LINE_BYTES {
                continue;
            }
            if self.may_be_result() {
                let used = self.block.as_ref().map_or(0, String::len) + self.line.len();
                if used > self.limit_bytes {
                    self.found.too_long_bytes = Some(used);
                    self.line.truncate(self.limit_bytes.min(LINE_BYTES / 2));
                    return;
                }
                let room = bytes.len().min(self.limit_bytes - used + 1);
                self.line.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
            } else {
                // Cut between characters where the bytes are UTF-8.
                let cut = match std::str::from_utf8(&self.line) {
                    Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
                    _ => self.line.len(),
                };
                log(&String::from_utf8_lossy(&self.line[..cut]));
                self.line.drain(..cut);
                self.continued = true;
            }
        }
    }

    fn end_line(&mut self, log: &mut dyn FnMut(&str)) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if std::mem::take(&mut self.blank) && line.trim_end() != BLOCK {
            log("");
        }
        if std::mem::take(&mut self.continued) {
            if !line.is_empty() {
                log(line);
            }
            return;
        }
        if line.trim_end() == BLOCK {
            match self.block.take() {
                None => self.block = Some(String::new()),
                Some(block) => self.keep(Block::Result, block),
            }
        } else if let Some(block) = &mut self.block {
            if block.len() + line.len() < self.limit_bytes {
                block.push_str(line);
                block.push('\n');
            } else {
                self.found.too_long_bytes = Some(block.len() + line.len());
            }
        } else if let Some((marker, kind)) = MARKERS.iter().find(|(marker, _)| line.starts_with(marker)) {
            let text = line[marker.len()..].trim();
            match kind {
                Marker::Result(kind) => self.keep(*kind, text.to_owned()),
                Marker::Interim => self.keep_interim(text),
            }
        } else if line.is_empty() {
            self.blank = true;
        } else {
            log(line);
        }
    }

    fn keep(&mut self, kind: Block, text: String) {
        if self.found.result.is_some() {
            self.found.warnings.push("the program gave more than one result; the first one counts".to_owned());
            self.found.warnings.dedup();
        } else {
            self.found.result = Some((kind, text));
        }
    }

    fn keep_interim(&mut self, text: &str) {
        match JsonText::parse("an interim result", text) {
            Ok(json) => {
                self.interim_bytes += text.len();
                self.found.interim.push(json);
                while self.found.interim.len() > INTERIM_COUNT
                    || (self.interim_bytes > INTERIM_BYTES && self.found.interim.len() > 1)
                {
                    self.interim_bytes -= self.found.interim.remove(0).as_str().len();
                }
            }
            Err(error) if self.found.warnings.len() < 20 => self.found.warnings.push(error.to_string()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `step` bytes.
    fn scan(text: &str, step: usize, limit: usize) -> (Scanned, Vec<String>) {
        let mut scanner = ResultScanner::new(limit);
        let mut logs = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            scanner.feed(piece, &mut |line| logs.push(line.to_owned()));
        }
        let found = scanner.finish(&mut |line| logs.push(line.to_owned()));
        (found, logs)
    }

    #[test]
    fn a_block_is_the_result_and_all_else_is_log() {
        let text = "one\r\nPlanQK:Job:InterimResult: {\"p\": 1}\nPlanQK:Job:MultilineResult\n{\n  \"a\": 1\n}\nPlanQK:Job:MultilineResult\ntwo";
        for step in [1, 7, 1000] {
            let (found, logs) = scan(text, step, 1000);
            assert_eq!(found.result, Some((Block::Result, "{\n  \"a\": 1\n}\n".to_owned())));
            assert_eq!(found.interim[0].as_str(), "{\"p\": 1}");
            assert_eq!(logs, ["one", "two"]);
            assert!(found.warnings.is_empty());
        }
    }

    #[test]
    fn the_empty_line_before_a_block_is_no_log_line() {
        let (found, logs) = scan("a\n\n\nPlanQK:Job:MultilineResult\n1\nPlanQK:Job:MultilineResult\n\nb\n\n", 4, 100);
        assert!(found.result.is_some());
        assert_eq!(logs, ["a", "", "", "b", ""]);
    }

    #[test]
    fn one_line_markers_count_and_the_first_wins() {
        let (found, logs) =
            scan("Job:ErrorResponse: {\"code\": \"x\"}\nPlanQK:Job:Result: 2\nsee Job:ResultResponse: 3\n", 3, 1000);
        assert_eq!(found.result, Some((Block::Error, "{\"code\": \"x\"}".to_owned())));
        assert_eq!(found.warnings.len(), 1);
        assert_eq!(logs, ["see Job:ResultResponse: 3"]);
    }

    #[test]
    fn an_open_block_is_given_back_as_log() {
        let (found, logs) = scan("PlanQK:Job:MultilineResult\n{\n", 5, 1000);
        assert!(found.result.is_none() && found.warnings.len() == 1);
        assert_eq!(logs, ["{"]);
    }

    #[test]
    fn memory_stays_bounded_whatever_comes() {
        let (found, logs) = scan(&"ä".repeat(200_000), 4099, 1 << 20);
        assert!(found.result.is_none());
        assert!(logs.len() > 3 && logs.iter().all(|line| line.len() <= LINE_BYTES && !line.contains('\u{fffd}')));
        assert_eq!(logs.concat(), "ä".repeat(200_000));
        let inside = format!("{}PlanQK:Job:Result: 1\n", "x".repeat(LINE_BYTES));
        let (found, logs) = scan(&inside, 8192, 1 << 20);
        assert!(
            found.result.is_none() && logs[1] == "PlanQK:Job:Result: 1",
            "no marker stands in the middle of a line"
        );
        let huge = format!("Job:ResultResponse: \"{}\"\nend\n", "x".repeat(3 << 20));
        let (found, _) = scan(&huge, 8192, 1 << 20);
        assert!(found.too_long_bytes.is_some());
        let fits = format!("Job:ResultResponse: \"{}\"\nend\n", "x".repeat(3 << 19));
        let (found, logs) = scan(&fits, 8192, 1 << 22);
        assert_eq!(found.result.unwrap().1.len(), (3 << 19) + 2);
        assert_eq!(logs, ["end"]);
    }

    proptest::proptest! {
        #[test]
        fn pieces_do_not_matter(lines in proptest::collection::vec("(PlanQK:Job:MultilineResult|PlanQK:Job:Result: [0-9]|[a-z{}]{0,9})", 0..9), step in 1usize..9) {
            let text = lines.join("\n");
            let (whole, logs) = scan(&text, usize::MAX, 1000);
            let (pieces, piece_logs) = scan(&text, step, 1000);
            proptest::prop_assert_eq!(whole.result, pieces.result);
            proptest::prop_assert_eq!(logs, piece_logs);
        }
    }
}
