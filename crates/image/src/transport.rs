//! Connections for the HTTP client, whoever is at the other end: a bound for every read and write, and an ear for Ctrl-C.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use crate::stop::{StopSign, TICK};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Tells a failed connection from one that failed later.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(crate) struct NoConnection(pub(crate) io::Error);

/// The connectors know where to connect to, and look names up themselves.
#[derive(Debug)]
pub(crate) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        found.push(([127, 0, 0, 1], 0).into());
        Ok(found)
    }
}

/// Connects to the first address of a name that answers.
pub(crate) fn open_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
    for one in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&one, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket.
pub(crate) trait Pipe: std::fmt::Debug + Send + Sync + 'static {
    fn limit_read(&self, limit: Duration) -> io::Result<()>;
    fn limit_write(&self, limit: Duration) -> io::Result<()>;
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Whether one more request may go this way.
    fn is_open(&self) -> bool;
}

impl Pipe for TcpStream {
    fn limit_read(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn limit_write(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    /// The other end neither closed it nor said something that nobody asked for.
    fn is_open(&self) -> bool {
        let quiet = |stream: &Self| {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok::<_, io::Error>(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
        };
        quiet(self).unwrap_or(false)
    }
}

/// One connection.
pub(crate) struct Patient<P> {
    pipe: P,
    buffers: LazyBuffers,
    stop: StopSign,
}

impl<P> Patient<P> {
    pub(crate) fn new(pipe: P, config: &Config, stop: &StopSign) -> Self {
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Self { pipe, buffers, stop: stop.clone() }
    }
}

impl<P: std::fmt::Debug> std::fmt::Debug for Patient<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient").field("pipe", &self.pipe).finish_non_exhaustive()
    }
}

impl<P: Pipe> Transport for Patient<P> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut sent = 0;
        while sent < amount {
            let bytes = &self.buffers.output()[sent..amount];
            sent += patiently(&self.stop, timeout, |tick| {
                self.pipe.limit_write(tick)?;
                match self.pipe.write(bytes) {
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    other => other,
                }
            })?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let into = self.buffers.input_append_buf();
        let read = patiently(&self.stop, timeout.for_read(), |tick| {
            self.pipe.limit_read(tick)?;
            self.pipe.read(into)
        })?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.pipe.is_open()
    }
}

/// Tries in short pieces until something moved, the time is up or nobody wants it any more.
fn patiently(
    stop: &StopSign,
    timeout: NextTimeout,
    mut work: impl FnMut(Duration) -> io::Result<usize>,
) -> Result<usize, Error> {
    let (started, limit) = (Instant::now(), *timeout.after);
    loop {
        if stop.is_up() {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        match work(left.min(TICK).max(Duration::from_millis(1))) {
            Ok(count) => return Ok(count),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
