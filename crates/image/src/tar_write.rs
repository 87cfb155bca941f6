//! The bytes of a layer's tar, equal to what Go's `archive/tar` writes for the same headers.
//!
//! The Go lifecycle fills a header (absolute name, no slash at the end, empty user and group names) and lets the library choose the
//! format: USTAR where every field fits, with long names split into prefix and name; else PAX, where the extended header carries all
//! fields that do not fit, *also* a name that could have been split. Changing one byte here changes every diffID.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::entry::{Entry, Kind};

/// Tar's unit.
pub(crate) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The fields that differ between entries.
struct Header<'a> {
    name: &'a [u8],
    link: &'a [u8],
    flag: u8,
    size: u64,
    device: (u32, u32),
}

/// The path that stands in the tar for `entry`: whiteouts have their marker names.
pub(crate) fn tar_path(entry: &Entry) -> Vec<u8> {
    marker_path(&entry.path, &entry.kind)
}

/// See [`tar_path`].
pub(crate) fn marker_path(path: &Path, kind: &Kind) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    match kind {
        Kind::Whiteout => {
            let slash = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            [&bytes[..=slash], b".wh.", &bytes[slash + 1..]].concat()
        }
        Kind::Opaque if bytes == b"/" => b"/.wh..wh..opq".to_vec(),
        Kind::Opaque => [bytes, b"/.wh..wh..opq"].concat(),
        _ => bytes.to_vec(),
    }
}

/// The header blocks of `entry`; the content of a file follows, then [`write_padding`].
pub(crate) fn header(entry: &Entry) -> io::Result<Vec<u8>> {
    let name = tar_path(entry);
    let header = Header {
        name: &name,
        link: match &entry.kind {
            Kind::Symlink { target } | Kind::HardLink { target } => target.as_os_str().as_bytes(),
            _ => b"",
        },
        flag: match entry.kind {
            Kind::File { .. } | Kind::Whiteout | Kind::Opaque => b'0',
            Kind::HardLink { .. } => b'1',
            Kind::Symlink { .. } => b'2',
            Kind::CharacterDevice { .. } => b'3',
            Kind::BlockDevice { .. } => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        },
        size: match entry.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        },
        device: match entry.kind {
            Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => (major, minor),
            _ => (0, 0),
        },
    };
    encode(&header, entry)
}

/// Fills the last block of a file's content.
pub(crate) fn write_padding(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if rest == 0 { Ok(()) } else { out.write_all(&ZEROS[rest..BLOCK]) }
}

/// The two empty blocks at the end.
pub(crate) fn write_end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&ZEROS)
}

fn encode(header: &Header, entry: &Entry) -> io::Result<Vec<u8>> {
    if header.name.contains(&0) || header.link.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name with a NUL character"));
    }
    if !fits_octal(8, i64::from(header.device.0)) || !fits_octal(8, i64::from(header.device.1)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device number above 2097151"));
    }
    let split = split_ustar(header.name);
    let mut ustar = true;
    let mut records: Vec<(&str, Vec<u8>)> = Vec::new(); // in the order of their keys
    let number = |key: &'static str, width: usize, value: i64, ustar: &mut bool| {
        if fits_octal(width, value) {
            return None;
        }
        *ustar = false;
        Some((key, value.to_string().into_bytes()))
    };
    records.extend(number("gid", 8, i64::from(entry.attributes.gid), &mut ustar));
    if !header.link.is_ascii() || header.link.len() > NAME {
        ustar = false;
        records.push(("linkpath", header.link.to_vec()));
    }
    records.extend(number("mtime", 12, entry.mtime_secs, &mut ustar));
    if !header.name.is_ascii() || header.name.len() > NAME {
        ustar &= split.is_some();
        records.push(("path", header.name.to_vec()));
    }
    let size = i64::try_from(header.size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    records.extend(number("size", 12, size, &mut ustar));
    records.extend(number("uid", 8, i64::from(entry.attributes.uid), &mut ustar));

    let mut out = Vec::with_capacity(BLOCK);
    if ustar {
        let (prefix, name) = split.unwrap_or((b"", header.name));
        let mut block = template(header, entry, name, header.link);
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        out.extend_from_slice(&seal(block));
        return Ok(out);
    }
    out.extend(pax_header(header.name, &records));
    let block = template(header, entry, &to_ascii(header.name), &to_ascii(header.link));
    out.extend_from_slice(&seal(block));
    Ok(out)
}

fn template(header: &Header, entry: &Entry, name: &[u8], link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[156] = header.flag;
    put_string(&mut block[0..100], name);
    put_octal(&mut block[100..108], i64::from(entry.attributes.mode));
    put_octal(&mut block[108..116], i64::from(entry.attributes.uid));
    put_octal(&mut block[116..124], i64::from(entry.attributes.gid));
    put_octal(&mut block[124..136], i64::try_from(header.size).unwrap_or(i64::MAX));
    put_octal(&mut block[136..148], entry.mtime_secs);
    put_string(&mut block[157..257], link);
    put_octal(&mut block[329..337], i64::from(header.device.0));
    put_octal(&mut block[337..345], i64::from(header.device.1));
    block
}

/// Magic, version and checksum.
fn seal(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: i64 = block.iter().map(|byte| i64::from(*byte)).sum();
    put_octal(&mut block[148..155], sum);
    block[155] = b' ';
    block
}

/// The extended header: its own header block, then the records, padded.
fn pax_header(name: &[u8], records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let data: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
    let slash = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let joined = [&name[..slash], b"PaxHeaders.0/", &name[slash..]].concat();
    let mut pax_name = to_ascii(&joined);
    pax_name.truncate(NAME);
    while pax_name.last() == Some(&b'/') {
        pax_name.pop();
    }
    let mut block = [0; BLOCK];
    block[156] = b'x';
    put_string(&mut block[0..100], &pax_name);
    for field in [100..108, 108..116, 116..124, 136..148] {
        put_octal(&mut block[field], 0);
    }
    put_octal(&mut block[124..136], i64::try_from(data.len()).unwrap_or(0));
    let mut out = seal(block).to_vec();
    let padding = data.len().next_multiple_of(BLOCK) - data.len();
    out.extend(data);
    out.extend(std::iter::repeat_n(0, padding));
    out
}

/// `"<length> <key>=<value>\n"`, where the length counts its own digits.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut size = rest + rest.to_string().len();
    if size.to_string().len() + rest != size {
        size = rest + size.to_string().len();
    }
    [format!("{size} {key}=").as_bytes(), value, b"\n"].concat()
}

fn fits_octal(width: usize, value: i64) -> bool {
    value >= 0 && value < 1 << ((width - 1) * 3)
}

/// Zero-filled octal digits and a NUL; zero where the value does not fit (a PAX record then has it).
fn put_octal(field: &mut [u8], value: i64) {
    let value = if fits_octal(field.len(), value) { value } else { 0 };
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
}

/// Copies what fits. A name that is cut right after a slash loses that slash: some readers would take the file for a directory.
fn put_string(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    if text.len() > field.len() && text[length - 1] == b'/' {
        let end = text[..length].iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        field[end] = 0;
    }
}

/// What is left of a name when everything that is not ASCII is dropped.
fn to_ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

/// Splits a long ASCII name at the last slash that leaves at most 155 bytes before it and 1 to 100 behind it.
fn split_ustar(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !name.is_ascii() {
        return None;
    }
    let mut length = name.len();
    if length > PREFIX + 1 {
        length = PREFIX + 1;
    } else if name[length - 1] == b'/' {
        length -= 1;
    }
    let at = name[..length].iter().rposition(|byte| *byte == b'/')?;
    let behind = name.len() - at - 1;
    (at > 0 && behind > 0 && behind <= NAME && at <= PREFIX).then(|| (&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::entry::{Attributes, LAYER_MTIME};

    /// SHA-256 of headers that Go's `archive/tar` wrote.
    #[test]
    fn sizes_and_times_beyond_octal_are_written_as_go_does() {
        for (path, size_bytes, mtime_secs, sha256) in [
            ("/big", 8_589_934_591, LAYER_MTIME, "a99f9b2a35905ef0643c2f7a02bfcec628862e4308b720c00c4954a11e8487c9"),
            ("/big", 8_589_934_592, LAYER_MTIME, "b199133eac3014cc4d9935c27d27e51de97752e86c663634a26830e9788bb1c9"),
            ("/t", 0, -1, "6324e4e032e3aa469cf6ac9284c9b2792d02ceda806dd10f6091807c18bfb0b7"),
            ("/t", 0, 8_589_934_592, "e00a10c0e74ca64ee8c9e3acd4b5bf0c0316817b6163fc643eea9a7b518824b6"),
        ] {
            let entry = Entry {
                path: path.into(),
                attributes: Attributes::root(0o644),
                kind: Kind::File { size_bytes, crc32: 0 },
                mtime_secs,
            };
            assert_eq!(Digest::of(&header(&entry).unwrap()).hex(), sha256, "{path} {size_bytes} {mtime_secs}");
        }
    }
}
