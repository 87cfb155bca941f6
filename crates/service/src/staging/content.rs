//! The content of a file on its way into the app: read once, hashed and written in the same pass.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

/// The digest of a file's content.
pub(super) type ContentDigest = [u8; 32];

/// A piece that is read at once: most files are one.
const PIECE_BYTES: usize = 128 << 10;

/// Why content did not arrive.
#[derive(Debug)]
pub(super) enum PourError {
    /// It cannot be read.
    Read(io::Error),
    /// It cannot be written.
    Write(io::Error),
    /// More came than was declared.
    Lies,
}

/// Where content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A regular file: a read that gives less than was asked for is its end (read(2)), so that most files take one read.
    File,
    /// A decoder, which gives what it has.
    Stream,
}

/// Copies content and hashes it in passing.
pub(super) struct Pourer {
    buffer: Vec<u8>,
}

impl Pourer {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; PIECE_BYTES] }
    }

    /// Copies at most `size` bytes, what the source declares. Answers how many came and their digest.
    pub(super) fn pour(
        &mut self,
        from: &mut dyn Read,
        to: &mut dyn Write,
        size: u64,
        origin: Origin,
    ) -> Result<(u64, ContentDigest), PourError> {
        let mut digest = Context::new(&SHA256);
        let mut left = size;
        loop {
            // One byte more than is left shows a source that lies.
            let room = usize::try_from(left).map_or(PIECE_BYTES, |left| left.saturating_add(1).min(PIECE_BYTES));
            let piece = match from.read(&mut self.buffer[..room]) {
                Ok(0) => break,
                Ok(read) => &self.buffer[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PourError::Read(error)),
            };
            left = left.checked_sub(piece.len() as u64).ok_or(PourError::Lies)?;
            digest.update(piece);
            to.write_all(piece).map_err(PourError::Write)?;
            if origin == Origin::File && piece.len() < room {
                break;
            }
        }
        Ok((size - left, finish(digest)))
    }
}

/// The digest of content that is in memory.
pub(super) fn digest_of(bytes: &[u8]) -> ContentDigest {
    let mut digest = Context::new(&SHA256);
    digest.update(bytes);
    finish(digest)
}

fn finish(digest: Context) -> ContentDigest {
    let mut bytes = ContentDigest::default();
    bytes.copy_from_slice(digest.finish().as_ref()); // SHA-256 has 32 bytes
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts its reads and gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let many = buffer.len().min(self.0.len()).min(3);
            buffer[..many].copy_from_slice(&self.0[..many]);
            self.0 = &self.0[many..];
            Ok(many)
        }
    }

    #[test]
    fn content_is_copied_and_hashed_in_one_pass_and_a_lie_is_seen() {
        let mut pourer = Pourer::new();
        let mut out = Vec::new();
        let mut stream = Slow(b"0123456789", 0);
        let (written, digest) = pourer.pour(&mut stream, &mut out, 10, Origin::Stream).unwrap();
        assert_eq!((written, out.as_slice(), digest), (10, &b"0123456789"[..], digest_of(b"0123456789")));
        let (mut file, mut out) = (Slow(b"ab", 0), Vec::new());
        assert_eq!(pourer.pour(&mut file, &mut out, 2, Origin::File).unwrap().0, 2);
        assert_eq!(file.1, 1, "a small file takes one read");
        let lies = pourer.pour(&mut Slow(b"0123456789", 0), &mut Vec::new(), 9, Origin::Stream);
        assert!(matches!(lies, Err(PourError::Lies)));
        let large = vec![7; 3 * PIECE_BYTES + 1];
        let (written, digest) =
            pourer.pour(&mut large.as_slice(), &mut Vec::new(), large.len() as u64, Origin::File).unwrap();
        assert_eq!((written, digest), (large.len() as u64, digest_of(&large)));
    }
}
