//! The little of an ELF file that the loader's cache and the check of its needs ask for: SONAME and NEEDED of 64-bit little-endian files.
//!
//! Bounds are checked at each step: a file that lies about itself is no shared library.

use std::io::{Read, Seek, SeekFrom};

/// What a shared library or a program says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elf {
    /// The machine: 62 is x86-64, 183 AArch64.
    pub(crate) machine: u16,
    /// Its name among libraries.
    pub(crate) soname: Option<String>,
    /// Names of the libraries that it needs.
    pub(crate) needed: Vec<String>,
}

const LIMIT_BYTES: u64 = 1 << 20;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn read_at<F: Read + Seek>(file: &mut F, offset: u64, length: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(length.min(LIMIT_BYTES)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == length).then_some(bytes)
}

/// Reads a dynamic ELF file; none where it is something else.
pub(crate) fn read_elf<F: Read + Seek>(file: &mut F) -> Option<Elf> {
    let header = read_at(file, 0, 64)?;
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let machine = u16_at(&header, 18)?;
    let (table, size, count) = (u64_at(&header, 32)?, u64::from(u16_at(&header, 54)?), u64::from(u16_at(&header, 56)?));
    if size != 56 {
        return None;
    }
    let programs = read_at(file, table, size.checked_mul(count)?)?;
    let mut loads = Vec::new();
    let mut dynamic = None;
    for program in programs.chunks_exact(56) {
        let (offset, address, length) = (u64_at(program, 8)?, u64_at(program, 16)?, u64_at(program, 32)?);
        match u32_at(program, 0)? {
            PT_LOAD => loads.push((address, length, offset)),
            PT_DYNAMIC => dynamic = Some((offset, length)),
            _ => {}
        }
    }
    let (offset, length) = dynamic?;
    let dynamic = read_at(file, offset, length)?;
    let (mut strings, mut strings_length, mut soname, mut needed) = (None, None, None, Vec::new());
    for entry in dynamic.chunks_exact(16) {
        let value = u64_at(entry, 8)?;
        match u64_at(entry, 0)? {
            0 => break,
            DT_NEEDED => needed.push(value),
            DT_STRTAB => strings = Some(value),
            DT_STRSZ => strings_length = Some(value),
            DT_SONAME => soname = Some(value),
            _ => {}
        }
    }
    let address = strings?;
    let (start, _, offset) =
        loads.into_iter().find(|(start, length, _)| address >= *start && address - start < *length)?;
    let strings = read_at(file, offset.checked_add(address - start)?, strings_length?)?;
    let text = |at: u64| -> Option<String> {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(std::str::from_utf8(&rest[..end]).ok()?.to_owned())
    };
    let needed = needed.into_iter().map(text).collect::<Option<Vec<_>>>()?;
    Some(Elf { machine, soname: soname.and_then(text), needed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_is_no_elf_file_is_nothing() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 4096]] {
            assert_eq!(read_elf(&mut Cursor::new(bytes)), None);
        }
        let mut lying = b"\x7fELF\x02\x01".to_vec();
        lying.resize(64, 0xff);
        assert_eq!(read_elf(&mut Cursor::new(lying)), None);
    }
}
