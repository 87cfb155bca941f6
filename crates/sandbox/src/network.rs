//! What connects a run with the network.

use std::os::unix::net::UnixStream;

use crate::error::SandboxError;
use crate::exit::OutputSink;
use crate::spec::Network;

/// The links of one run.
pub(crate) struct Links {}

impl Links {
    /// Listens on what is published, before anything is started.
    pub(crate) fn prepare(_network: &Network, _output: &mut dyn OutputSink) -> Result<Self, SandboxError> {
        Ok(Self {})
    }

    /// Text of the inner /etc/resolv.conf where it is not the host's.
    #[allow(clippy::unused_self)]
    pub(crate) fn resolv_conf(&self) -> Option<String> {
        None
    }

    /// Connects the network of the process `pid`.
    #[allow(clippy::unused_self)]
    pub(crate) fn connect(
        &mut self,
        _pid: i32,
        socket: &UnixStream,
        _notes: &mut [String],
        _output: &mut dyn OutputSink,
    ) -> Result<(), SandboxError> {
        let _ = crate::wire::send_fd(socket, 1, None);
        Ok(())
    }
}
