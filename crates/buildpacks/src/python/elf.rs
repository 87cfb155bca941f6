//! Gives an executable a DT_RPATH, so that it and what it loads find their libraries beside it. DT_RUNPATH would not do: it does not hold
//! for the libraries that an extension module needs. Pure: bytes in, bytes out (System V ABI, "Dynamic Linking").
//!
//! Nothing moves. The string goes to the end of the file, a note's program header becomes the segment that maps it, and the entry takes
//! one of the empty ones that linkers leave at the end of the dynamic section.

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const PF_R: u32 = 4;
const HEADER_BYTES: usize = 56;
const PAGE_BYTES: u64 = 0x1_0000;

/// Why an executable cannot be changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ElfError {
    #[error("it is no 64-bit little-endian ELF file")]
    NotElf,
    #[error("its headers point outside of the file")]
    Truncated,
    #[error("it is not dynamically linked")]
    Static,
    #[error("its dynamic section has no room for one more entry")]
    NoRoom,
    #[error("it has no note whose program header could map the path")]
    NoNote,
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

/// The executable with its search path set.
pub(crate) fn with_rpath(elf: &[u8], rpath: &str) -> Result<Vec<u8>, ElfError> {
    if elf.len() < 64 || elf[..6] != *b"\x7fELF\x02\x01" {
        return Err(ElfError::NotElf);
    }
    let mut bytes = elf.to_vec();
    let table = usize::try_from(u64_at(&bytes, 32)?).map_err(|_| ElfError::Truncated)?;
    let count = usize::from(u16_at(&bytes, 56)?);
    let header = |index: usize| table + index * HEADER_BYTES;
    let segments = (0..count).map(|index| segment_at(&bytes, header(index))).collect::<Result<Vec<_>, _>>()?;
    let dynamic = segments.iter().find(|segment| segment.kind == PT_DYNAMIC).ok_or(ElfError::Static)?;
    let (slot, string_table) = free_slot(&bytes, dynamic)?;
    let note = segments.iter().rposition(|segment| segment.kind == PT_NOTE).ok_or(ElfError::NoNote)?;
    let last_load = segments.iter().rposition(|segment| segment.kind == PT_LOAD).ok_or(ElfError::Static)?;
    // Loadable segments stand in the order of their addresses; the new one has the highest.
    if note < last_load {
        return Err(ElfError::NoNote);
    }
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(rpath.as_bytes());
    bytes.push(0);
    let length = bytes.len() as u64 - offset;
    let highest = segments.iter().filter(|s| s.kind == PT_LOAD).map(|s| s.address + s.memory_bytes).max().unwrap_or(0);
    let address = highest.next_multiple_of(PAGE_BYTES) + offset % PAGE_BYTES;
    let at = header(note);
    bytes[at..at + 4].copy_from_slice(&PT_LOAD.to_le_bytes());
    bytes[at + 4..at + 8].copy_from_slice(&PF_R.to_le_bytes());
    for (place, value) in [(8, offset), (16, address), (24, address), (32, length), (40, length), (48, PAGE_BYTES)] {
        bytes[at + place..at + place + 8].copy_from_slice(&value.to_le_bytes());
    }
    // A property header describes the note that is no longer mapped as one.
    for (index, segment) in segments.iter().enumerate() {
        if segment.kind == PT_GNU_PROPERTY && segment.offset == segments[note].offset {
            bytes[header(index)..header(index) + 4].copy_from_slice(&0u32.to_le_bytes());
        }
    }
    bytes[slot..slot + 8].copy_from_slice(&DT_RPATH.to_le_bytes());
    bytes[slot + 8..slot + 16].copy_from_slice(&(address - string_table).to_le_bytes());
    Ok(bytes)
}

/// Where the entry goes (over an old search path, or at the end), and the address of the string table.
fn free_slot(bytes: &[u8], dynamic: &Segment) -> Result<(usize, u64), ElfError> {
    let start = usize::try_from(dynamic.offset).map_err(|_| ElfError::Truncated)?;
    let count = usize::try_from(dynamic.file_bytes / 16).map_err(|_| ElfError::Truncated)?;
    let mut string_table = None;
    let mut slot = None;
    for index in 0..count {
        let at = start + index * 16;
        match u64_at(bytes, at)? {
            DT_STRTAB => string_table = Some(u64_at(bytes, at + 8)?),
            DT_RPATH | DT_RUNPATH => slot = Some(at),
            DT_NULL => {
                // The list must still end with an empty entry.
                if slot.is_none() && index + 1 < count && u64_at(bytes, at + 16)? == DT_NULL {
                    slot = Some(at);
                }
                break;
            }
            _ => {}
        }
    }
    Ok((slot.ok_or(ElfError::NoRoom)?, string_table.ok_or(ElfError::Static)?))
}

fn segment_at(bytes: &[u8], at: usize) -> Result<Segment, ElfError> {
    Ok(Segment {
        kind: u32_at(bytes, at)?,
        offset: u64_at(bytes, at + 8)?,
        address: u64_at(bytes, at + 16)?,
        file_bytes: u64_at(bytes, at + 32)?,
        memory_bytes: u64_at(bytes, at + 40)?,
    })
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

    #[test]
    fn a_program_with_a_search_path_still_runs_and_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let changed = with_rpath(&fs_err::read("/bin/true").unwrap(), "$ORIGIN/../lib/x86_64-linux-gnu").unwrap();
        let path = dir.path().join("true");
        fs_err::write(&path, &changed).unwrap();
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command =
            crate::process::command(&path, &crate::Environment::from([("LD_DEBUG".into(), "libs".into())]));
        let output = crate::process::run(&mut command).unwrap();
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
