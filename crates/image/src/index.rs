//! The index beside a layer's tree: every entry in tar order, with what an ordinary user's file system cannot hold.
//!
//! One line for each entry, fields separated by spaces: kind, mode (octal), uid, gid, mtime, two numbers of the kind (size and CRC-32, or major and
//! minor), path, and the target of a link. Spaces, control characters and backslashes in names are written `\xHH`.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::entry::{Attributes, Entry, Kind};
use crate::error::{Doing, StoreError};

const HEAD: &[u8] = b"hoist-index 1\n";

/// Writes the index of a layer.
pub(crate) fn write(path: &Path, entries: &mut dyn Iterator<Item = &Entry>) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(fs::File::create(path)?);
    out.write_all(HEAD)?;
    for entry in entries {
        write_entry(&mut out, entry)?;
    }
    out.flush()
}

fn write_entry(out: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    let (letter, a, b) = match entry.kind {
        Kind::Directory => ('d', 0, 0),
        Kind::File { size_bytes, crc32 } => ('f', size_bytes, crc32),
        Kind::Symlink { .. } => ('l', 0, 0),
        Kind::HardLink { .. } => ('h', 0, 0),
        Kind::CharacterDevice { major, minor } => ('c', u64::from(major), minor),
        Kind::BlockDevice { major, minor } => ('b', u64::from(major), minor),
        Kind::Fifo => ('p', 0, 0),
        Kind::Whiteout => ('w', 0, 0),
        Kind::Opaque => ('o', 0, 0),
    };
    let Attributes { uid, gid, mode } = entry.attributes;
    write!(out, "{letter} {mode:o} {uid} {gid} {} {a} {b} ", entry.mtime_secs)?;
    write_escaped(out, entry.path.as_os_str().as_bytes())?;
    if let Kind::Symlink { target } | Kind::HardLink { target } = &entry.kind {
        out.write_all(b" ")?;
        write_escaped(out, target.as_os_str().as_bytes())?;
    }
    out.write_all(b"\n")
}

fn write_escaped(out: &mut dyn Write, bytes: &[u8]) -> std::io::Result<()> {
    let plain = |byte: &u8| *byte > b' ' && *byte != b'\\' && *byte != 0x7f;
    if bytes.iter().all(plain) {
        return out.write_all(bytes);
    }
    for byte in bytes {
        if plain(byte) {
            out.write_all(&[*byte])?;
        } else {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Reads an index entry by entry.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    lines: std::io::BufReader<fs::File>,
    line: Vec<u8>,
    number: usize,
}

impl Entries {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut lines =
            std::io::BufReader::with_capacity(64 * 1024, fs::File::open(path).doing("opening the index of a layer")?);
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).doing("reading the index of a layer")?;
        if line != HEAD {
            return Err(StoreError::corrupt(path, "it does not begin as an index does"));
        }
        Ok(Self { path: path.to_owned(), lines, line, number: 1 })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        self.number += 1;
        match self.lines.read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(
                parse(&self.line)
                    .ok_or_else(|| StoreError::corrupt(&self.path, format!("line {} is not an entry", self.number))),
            ),
            Err(source) => Some(Err(StoreError::io("reading the index of a layer", source))),
        }
    }
}

fn parse(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n")?;
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next();
    let letter = next()?;
    let mode = u32::from_str_radix(text(next()?)?, 8).ok()?;
    let uid = text(next()?)?.parse().ok()?;
    let gid = text(next()?)?.parse().ok()?;
    let mtime_secs = text(next()?)?.parse().ok()?;
    let a: u64 = text(next()?)?.parse().ok()?;
    let b: u32 = text(next()?)?.parse().ok()?;
    let path = unescape(next()?)?;
    let target = next().map(unescape);
    let major = u32::try_from(a);
    let kind = match (letter, target) {
        (b"d", None) => Kind::Directory,
        (b"f", None) => Kind::File { size_bytes: a, crc32: b },
        (b"l", Some(target)) => Kind::Symlink { target: target? },
        (b"h", Some(target)) => Kind::HardLink { target: target? },
        (b"c", None) => Kind::CharacterDevice { major: major.ok()?, minor: b },
        (b"b", None) => Kind::BlockDevice { major: major.ok()?, minor: b },
        (b"p", None) => Kind::Fifo,
        (b"w", None) => Kind::Whiteout,
        (b"o", None) => Kind::Opaque,
        _ => return None,
    };
    Some(Entry { path, attributes: Attributes { uid, gid, mode }, kind, mtime_secs })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

fn unescape(field: &[u8]) -> Option<PathBuf> {
    if !field.contains(&b'\\') {
        return Some(PathBuf::from(OsString::from_vec(field.to_vec())));
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'\\' {
            let digits = tail.get(1..3).filter(|_| tail[0] == b'x')?;
            bytes.push(u8::from_str_radix(text(digits)?, 16).ok()?);
            rest = &tail[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_reads_back_whatever_its_name(name in prop::collection::vec(1u8..=255, 1..40), target in prop::collection::vec(1u8..=255, 1..40),
            uid: u32, mode in 0u32..0o10000, size: u64, crc: u32, mtime: i64, which in 0..9) {
            let path = PathBuf::from(OsString::from_vec(name));
            let target = PathBuf::from(OsString::from_vec(target));
            let kind = match which {
                0 => Kind::Directory, 1 => Kind::File { size_bytes: size, crc32: crc }, 2 => Kind::Symlink { target }, 3 => Kind::HardLink { target },
                4 => Kind::CharacterDevice { major: crc, minor: uid }, 5 => Kind::BlockDevice { major: 0, minor: 7 },
                6 => Kind::Fifo, 7 => Kind::Whiteout, _ => Kind::Opaque,
            };
            let entry = Entry { path, attributes: Attributes { uid, gid: uid ^ 1, mode }, kind, mtime_secs: mtime };
            let mut line = Vec::new();
            write_entry(&mut line, &entry).unwrap();
            prop_assert_eq!(line.split(|b| *b == b'\n').count(), 2);
            prop_assert_eq!(parse(&line), Some(entry));
        }
    }
}
