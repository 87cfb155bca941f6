//! How a run ended, and who hears its output.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::screen::Screen;
use crate::spec::Publish;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// Why it ended.
    pub status: ExitStatus,
    /// Time on the clock from the start of the process to its end.
    pub wall: Duration,
    /// Processor time of the process and what it waited for.
    pub cpu: Duration,
    /// The most memory used at once: of all processes where a control group counted, of the largest one otherwise.
    pub peak_memory_bytes: u64,
    /// Limits that were asked for and do not hold on this machine, and what else is less than asked for; each with its reason.
    pub notes: Vec<String>,
}

impl Exit {
    /// Whether the process ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.status == ExitStatus::Exited(0)
    }
}

/// Why a run ended. Everything that the process started is gone in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The clock ran out.
    TimedOut,
    /// The memory limit was reached and the kernel killed a process for it.
    OutOfMemory,
    /// It wrote more than it may.
    OutputLimit,
    /// [`crate::Cancel`] was raised.
    Cancelled,
}

impl ExitStatus {
    /// The code that a shell would show: 128 + signal for signals and 137 for what was killed; 124 for the clock, as `timeout` does.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
            Self::TimedOut => 124,
            Self::OutOfMemory | Self::OutputLimit => 137,
            Self::Cancelled => 130,
        }
    }
}

/// Hears what the process says, as it comes, on the thread that called [`crate::run()`]. An error stops the run.
pub trait OutputSink {
    /// Bytes of standard output.
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Bytes of standard error.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// A port of the host is being listened on (before the process starts).
    fn published(&mut self, _publish: &Publish, _address: SocketAddr) {}
    /// The process runs.
    fn started(&mut self) {}
    /// The user's terminal, whose size the terminal of the process (`Process::terminal`) follows.
    fn screen(&self) -> Option<&Screen> {
        None
    }
    /// Something is less than asked for, known before the process starts (a limit that does not hold); repeated in [`Exit::notes`].
    fn note(&mut self, _text: &str) {}
}

/// Keeps everything; for short outputs and for tests.
impl OutputSink for (Vec<u8>, Vec<u8>) {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }
}
