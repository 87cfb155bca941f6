//! Gives an executable a DT_RPATH, so that it and what it loads find their libraries beside it. DT_RUNPATH would not do: it does not hold
//! for the libraries that an extension module needs. Pure: bytes in, bytes out.
//!
//! Nothing moves. The string goes to the end of the file, a note's program header becomes the segment that maps it, and the entry takes
//! one of the empty ones that linkers leave at the end of the dynamic section.

use std::io::Cursor;

use super::{DT_NULL, DT_STRTAB, ElfError, PT_LOAD, SEGMENT_BYTES, Segment, read_headers, u64_at};

const PT_NOTE: u32 = 4;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const PF_R: u32 = 4;
/// The largest page of any machine that runs 64-bit Linux.
const PAGE_BYTES: u64 = 0x1_0000;

/// The executable with its search path set; one that it had is replaced.
pub fn with_rpath(elf: &[u8], rpath: &str) -> Result<Vec<u8>, ElfError> {
    let headers = read_headers(&mut Cursor::new(elf))?;
    let segments = &headers.segments;
    let (slot, string_table) = free_slot(elf, headers.dynamic()?)?;
    let note = segments.iter().rposition(|segment| segment.kind == PT_NOTE).ok_or(ElfError::NoNote)?;
    let last_load = segments.iter().rposition(|segment| segment.kind == PT_LOAD).ok_or(ElfError::Static)?;
    // Loadable segments stand in the order of their addresses; the new one has the highest.
    if note < last_load {
        return Err(ElfError::NoNote);
    }
    let mut highest = 0;
    for segment in segments.iter().filter(|segment| segment.kind == PT_LOAD) {
        highest = highest.max(segment.address.checked_add(segment.memory_bytes).ok_or(ElfError::Truncated)?);
    }
    let mut bytes = elf.to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(rpath.as_bytes());
    bytes.push(0);
    let length = bytes.len() as u64 - offset;
    let address = highest.checked_next_multiple_of(PAGE_BYTES).and_then(|page| page.checked_add(offset % PAGE_BYTES));
    let address = address.ok_or(ElfError::Truncated)?;
    let from_table = address.checked_sub(string_table).ok_or(ElfError::Truncated)?;

    let table = usize::try_from(headers.table).map_err(|_| ElfError::Truncated)?;
    let header = |index: usize| table + index * SEGMENT_BYTES;
    let at = header(note);
    put(&mut bytes, at, &PT_LOAD.to_le_bytes());
    put(&mut bytes, at + 4, &PF_R.to_le_bytes());
    for (place, value) in [(8, offset), (16, address), (24, address), (32, length), (40, length), (48, PAGE_BYTES)] {
        put(&mut bytes, at + place, &value.to_le_bytes());
    }
    // A property header describes the note that is no longer mapped as one.
    for (index, segment) in segments.iter().enumerate() {
        if segment.kind == PT_GNU_PROPERTY && segment.offset == segments[note].offset {
            put(&mut bytes, header(index), &0u32.to_le_bytes());
        }
    }
    put(&mut bytes, slot, &DT_RPATH.to_le_bytes());
    put(&mut bytes, slot + 8, &from_table.to_le_bytes());
    Ok(bytes)
}

/// Overwrites bytes that were read before, and so are there.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Where the entry goes (over an old search path, or at the end), and the address of the string table.
fn free_slot(bytes: &[u8], dynamic: &Segment) -> Result<(usize, u64), ElfError> {
    let start = usize::try_from(dynamic.offset).map_err(|_| ElfError::Truncated)?;
    let length = usize::try_from(dynamic.file_bytes).map_err(|_| ElfError::Truncated)?;
    let entries = start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or(ElfError::Truncated)?;
    let count = length / 16;
    let (mut string_table, mut slot) = (None, None);
    for index in 0..count {
        let at = index * 16;
        match u64_at(entries, at)? {
            DT_STRTAB => string_table = Some(u64_at(entries, at + 8)?),
            DT_RPATH | DT_RUNPATH => slot = Some(start + at),
            DT_NULL => {
                // The list must still end with an empty entry.
                if slot.is_none() && index + 1 < count && u64_at(entries, at + 16)? == DT_NULL {
                    slot = Some(start + at);
                }
                break;
            }
            _ => {}
        }
    }
    Ok((slot.ok_or(ElfError::NoRoom)?, string_table.ok_or(ElfError::Static)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // the loader itself is asked
    fn a_program_with_a_search_path_still_runs_and_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let changed = with_rpath(&fs_err::read("/bin/true").unwrap(), "$ORIGIN/../lib/x86_64-linux-gnu").unwrap();
        let path = dir.path().join("true");
        fs_err::write(&path, &changed).unwrap();
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).env("LD_DEBUG", "libs").output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("RPATH from file"), "{said}");
        assert!(said.contains("../lib/x86_64-linux-gnu"), "{said}");
    }

    #[test]
    fn broken_files_are_refused() {
        assert_eq!(with_rpath(b"#!/bin/sh\n", "x"), Err(ElfError::NotElf));
        let mut truncated = fs_err::read("/bin/true").unwrap();
        truncated.truncate(100);
        assert_eq!(with_rpath(&truncated, "x"), Err(ElfError::Truncated));
    }
}
