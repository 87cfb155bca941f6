//! Compressing layers on all processors with bounded memory, and reading whatever compression a layer comes in.
//!
//! Gzip output is one member made of blocks of 1 MiB that are compressed apart and end on a byte (a sync flush, as pigz does it), so that every
//! reader takes it, also those that stop after the first member. Its bytes do not depend on the number of processors.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression as Level, Crc, FlushCompress, Status};
use serde::{Deserialize, Serialize};

const BLOCK: usize = 1 << 20;
const MAX_WORKERS: usize = 8;
/// Of a first push compression is nearly all the time: the next levels cost more of it than they save of the wire.
const LEVEL: Level = Level::new(3);

/// How a layer's tar is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip: every receiver takes it.
    Gzip,
    /// Zstandard: smaller and faster, for receivers of image-spec 1.1.
    Zstd,
}

impl Compression {
    /// The media type of an OCI layer encoded so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A writer that compresses into `out`; `finish` must be called.
pub(crate) enum Encoder<W: Write + Send + 'static> {
    Plain(W),
    Gzip(ParallelGzip<W>),
    Zstd(Box<zstd::Encoder<'static, W>>),
}

impl<W: Write + Send + 'static> Encoder<W> {
    pub(crate) fn new(compression: Compression, out: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(ParallelGzip::new(out, workers())?),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, 3)?;
                encoder.multithread(u32::try_from(workers()).unwrap_or(1))?;
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(mut out) => out.flush().map(|()| out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write + Send + 'static> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // nothing is read before `finish`
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, MAX_WORKERS)
}

/// A block on its way to a worker, and where its answer is waited for.
struct Job {
    block: Vec<u8>,
    last: bool,
    answer: SyncSender<io::Result<Compressed>>,
}

struct Compressed {
    bytes: Vec<u8>,
    crc: Crc,
}

pub(crate) struct ParallelGzip<W> {
    block: Vec<u8>,
    jobs: Option<SyncSender<Job>>,
    answers: Option<SyncSender<Receiver<io::Result<Compressed>>>>,
    workers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> ParallelGzip<W> {
    fn new(out: W, count: usize) -> io::Result<Self> {
        let (jobs, taken) = sync_channel::<Job>(count);
        let (answers, expected) = sync_channel(2 * count); // bounds how many blocks are in memory
        let taken = Arc::new(Mutex::new(taken));
        let mut workers = Vec::new();
        for _ in 0..count {
            let taken = Arc::clone(&taken);
            workers.push(std::thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&taken))?);
        }
        let writer =
            std::thread::Builder::new().name("gzip-writer".to_owned()).spawn(move || write_answers(out, &expected))?;
        Ok(Self {
            block: Vec::with_capacity(BLOCK),
            jobs: Some(jobs),
            answers: Some(answers),
            workers,
            writer: Some(writer),
        })
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        let (answer, receiver) = sync_channel(1);
        let fresh = if last { Vec::new() } else { Vec::with_capacity(BLOCK) };
        let block = std::mem::replace(&mut self.block, fresh);
        let sent = match (&self.jobs, &self.answers) {
            (Some(jobs), Some(answers)) => {
                answers.send(receiver).is_ok() && jobs.send(Job { block, last, answer }).is_ok()
            }
            _ => false,
        };
        if sent { Ok(()) } else { self.close().and(Err(io::ErrorKind::BrokenPipe.into())) }
    }

    /// Waits for all threads; the writer's error tells what went wrong.
    fn close(&mut self) -> io::Result<Option<W>> {
        self.jobs = None;
        self.answers = None;
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                return Err(io::Error::other("a compressing thread panicked"));
            }
        }
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(written)) => written.map(Some),
            Some(Err(_)) => Err(io::Error::other("the writing thread panicked")),
            None => Ok(None),
        }
    }

    fn finish(mut self) -> io::Result<W> {
        self.send(true)?;
        self.close()?.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl<W: Write + Send + 'static> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.send(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let _ = job.answer.send(deflate(&job.block, job.last)); // nobody waits any more: the writer failed
    }
}

fn deflate(block: &[u8], last: bool) -> io::Result<Compressed> {
    let mut crc = Crc::new();
    crc.update(block);
    let mut deflater = Compress::new(LEVEL, false);
    let mut bytes = Vec::with_capacity(block.len() / 2 + 1024);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let taken = usize::try_from(deflater.total_in()).unwrap_or(block.len());
        let status = deflater
            .compress_vec(&block[taken..], &mut bytes, flush)
            .map_err(|error| io::Error::other(format!("compressing: {error}")))?;
        // room left means that the flush is complete
        let done = if last { status == Status::StreamEnd } else { bytes.len() < bytes.capacity() };
        if done {
            return Ok(Compressed { bytes, crc });
        }
        bytes.reserve(block.len() / 4 + 1024);
    }
}

fn write_answers<W: Write>(mut out: W, answers: &Receiver<Receiver<io::Result<Compressed>>>) -> io::Result<W> {
    // no name, no time, unknown system: the bytes depend on the content alone
    out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255])?;
    let mut crc = Crc::new();
    for answer in answers {
        let compressed = answer.recv().map_err(|_| io::Error::other("a compressing thread ended"))??;
        out.write_all(&compressed.bytes)?;
        crc.combine(&compressed.crc);
    }
    out.write_all(&crc.sum().to_le_bytes())?;
    out.write_all(&crc.amount().to_le_bytes())?;
    out.flush()?;
    Ok(out)
}

/// A reader of whatever compression the first bytes show, and which that is.
pub(crate) fn decoder<'a>(source: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, Compression)> {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let start = source.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok((Box::new(flate2::bufread::MultiGzDecoder::new(source)), Compression::Gzip));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(source)?;
        decoder.window_log_max(27)?; // 128 MiB would be asked for by hostile frames only
        return Ok((Box::new(decoder), Compression::Zstd));
    }
    Ok((Box::new(source), Compression::None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gzip(content: &[u8], count: usize) -> Vec<u8> {
        let mut gzip = ParallelGzip::new(Vec::new(), count).unwrap();
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn gzip_is_one_member_and_does_not_depend_on_the_workers() {
        let content: Vec<u8> =
            (0..5_000_000u32).flat_map(|n| (n / 7).wrapping_mul(2_654_435_761).to_le_bytes()).take(4_500_000).collect();
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, content.len()] {
            let packed = gzip(&content[..length], 3);
            let mut unpacked = Vec::new();
            let mut rest = packed.as_slice();
            flate2::bufread::GzDecoder::new(&mut rest).read_to_end(&mut unpacked).unwrap();
            assert!(rest.is_empty(), "one member");
            assert!(unpacked == content[..length], "{length}");
            assert!(packed == gzip(&content[..length], 1), "{length}");
        }
    }

    #[test]
    fn a_writer_that_fails_is_an_error_and_no_hang() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = ParallelGzip::new(Full, 2).unwrap();
        let error = (0..64).find_map(|_| gzip.write_all(&vec![7; BLOCK]).err());
        let error = error.unwrap_or_else(|| gzip.finish().err().unwrap());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn every_encoding_reads_back(content in prop::collection::vec(any::<u8>(), 0..5000)) {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
                encoder.write_all(&content).unwrap();
                let packed = encoder.finish().unwrap();
                let (mut reader, seen) = decoder(packed.as_slice()).unwrap();
                let mut unpacked = Vec::new();
                reader.read_to_end(&mut unpacked).unwrap();
                prop_assert!(unpacked == content);
                prop_assert!(seen == compression || compression == Compression::None);
            }
        }
    }
}
