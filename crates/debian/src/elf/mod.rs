//! The little of ELF that images made of packages ask for: what a library says of itself ([`read_elf`]), and a search path for a program
//! ([`with_rpath`]). 64-bit little-endian files alone (System V ABI, "Program Loading and Dynamic Linking").
//!
//! Bounds are checked at each step: a file that lies about itself is refused, and at most some mebibytes of it are read.

mod rpath;

use std::io::{Read, Seek, SeekFrom};

pub use rpath::with_rpath;

/// What a shared library or a program says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elf {
    /// The machine: 62 is x86-64, 183 AArch64.
    pub machine: u16,
    /// Its name among libraries.
    pub soname: Option<String>,
    /// Names of the libraries that it needs.
    pub needed: Vec<String>,
}

/// Why a file cannot be read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Something else, or for another kind of processor.
    #[error("it is no 64-bit little-endian ELF file")]
    NotElf,
    /// It lies, or it is cut off.
    #[error("its headers point outside of the file")]
    Truncated,
    /// The loader has no part in it.
    #[error("it is not dynamically linked")]
    Static,
    /// No place for a search path.
    #[error("its dynamic section has no room for one more entry")]
    NoRoom,
    /// No place for a segment.
    #[error("it has no note whose program header could map the path")]
    NoNote,
}

/// The longest table that is read.
const TABLE_LIMIT_BYTES: u64 = 1 << 20;
/// The longest name of a library.
const NAME_LIMIT_BYTES: u64 = 1024;
const SEGMENT_BYTES: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

/// A program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

/// The file's header and its program headers.
struct Headers {
    machine: u16,
    /// Where the program headers begin.
    table: u64,
    segments: Vec<Segment>,
}

/// An entry of the dynamic section: tag and value.
type Dynamic = (u64, u64);

/// Reads a dynamic ELF file; none where it is something else, or where it lies.
pub fn read_elf<F: Read + Seek>(file: &mut F) -> Option<Elf> {
    let headers = read_headers(file).ok()?;
    let entries = read_dynamic(file, headers.dynamic().ok()?).ok()?;
    let value = |wanted: u64| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let strings = headers.place(value(DT_STRTAB)?)?;
    let mut name = |at: u64| read_name(file, strings.checked_add(at)?);
    let needed: Vec<u64> = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED).map(|(_, value)| *value).collect();
    let needed = needed.into_iter().map(&mut name).collect::<Option<Vec<_>>>()?;
    Some(Elf { machine: headers.machine, soname: value(DT_SONAME).and_then(name), needed })
}

impl Headers {
    /// The segment of the dynamic section.
    fn dynamic(&self) -> Result<&Segment, ElfError> {
        self.segments.iter().find(|segment| segment.kind == PT_DYNAMIC).ok_or(ElfError::Static)
    }

    /// Where in the file an address lies.
    fn place(&self, address: u64) -> Option<u64> {
        let holds = |segment: &&Segment| {
            segment.kind == PT_LOAD && address >= segment.address && address - segment.address < segment.file_bytes
        };
        let segment = self.segments.iter().find(holds)?;
        segment.offset.checked_add(address - segment.address)
    }
}

fn read_headers<F: Read + Seek>(file: &mut F) -> Result<Headers, ElfError> {
    let header = read_at(file, 0, 64).map_err(|_| ElfError::NotElf)?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Err(ElfError::NotElf);
    }
    let (machine, table) = (u16_at(&header, 18)?, u64_at(&header, 32)?);
    let (size, count) = (usize::from(u16_at(&header, 54)?), u64::from(u16_at(&header, 56)?));
    if size != SEGMENT_BYTES {
        return Err(ElfError::NotElf);
    }
    let bytes = read_at(file, table, SEGMENT_BYTES as u64 * count)?;
    let segments = bytes.chunks_exact(SEGMENT_BYTES).map(segment).collect::<Result<_, _>>()?;
    Ok(Headers { machine, table, segments })
}

fn segment(bytes: &[u8]) -> Result<Segment, ElfError> {
    Ok(Segment {
        kind: u32_at(bytes, 0)?,
        offset: u64_at(bytes, 8)?,
        address: u64_at(bytes, 16)?,
        file_bytes: u64_at(bytes, 32)?,
        memory_bytes: u64_at(bytes, 40)?,
    })
}

/// The entries of the dynamic section up to the empty one that ends it.
fn read_dynamic<F: Read + Seek>(file: &mut F, segment: &Segment) -> Result<Vec<Dynamic>, ElfError> {
    let bytes = read_at(file, segment.offset, segment.file_bytes)?;
    let mut entries = Vec::new();
    for entry in bytes.chunks_exact(16) {
        let tag = u64_at(entry, 0)?;
        if tag == DT_NULL {
            break;
        }
        entries.push((tag, u64_at(entry, 8)?));
    }
    Ok(entries)
}

/// Exactly so many bytes.
fn read_at<F: Read + Seek>(file: &mut F, offset: u64, length: u64) -> Result<Vec<u8>, ElfError> {
    if length > TABLE_LIMIT_BYTES {
        return Err(ElfError::Truncated);
    }
    file.seek(SeekFrom::Start(offset)).map_err(|_| ElfError::Truncated)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(|_| ElfError::Truncated)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(ElfError::Truncated) }
}

/// The text that ends with a null byte.
fn read_name<F: Read + Seek>(file: &mut F, offset: u64) -> Option<String> {
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(NAME_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    bytes.truncate(end);
    String::from_utf8(bytes).ok()
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ElfError> {
    bytes.get(at..at.saturating_add(N)).and_then(|slice| slice.try_into().ok()).ok_or(ElfError::Truncated)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ElfError> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ElfError> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, ElfError> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_program_says_what_it_needs() {
        let elf = read_elf(&mut fs_err::File::open("/bin/true").unwrap()).unwrap();
        assert!(elf.needed.contains(&"libc.so.6".to_owned()), "{elf:?}");
        assert_eq!(elf.soname, None);
    }

    #[test]
    fn what_is_no_elf_file_or_lies_is_nothing() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 4096]] {
            assert_eq!(read_elf(&mut Cursor::new(bytes)), None);
        }
        let mut lying = b"\x7fELF\x02\x01".to_vec();
        lying.resize(64, 0xff);
        assert_eq!(read_elf(&mut Cursor::new(lying)), None);
        // Every byte of the headers of a true one, turned round: read or refused, never more.
        let good = fs_err::read("/bin/true").unwrap();
        for at in 0..1024 {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            let _ = read_elf(&mut Cursor::new(&bytes));
            let _ = with_rpath(&bytes, "/x");
        }
    }
}
