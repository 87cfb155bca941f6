//! Reading tars that strangers wrote: USTAR, PAX and GNU, every length bounded, nothing buffered but one header.
//!
//! Sparse files are refused: image builders do not write them, and a few bytes of them stand for terabytes.

use std::io::{self, Read};

use crate::tar_write::BLOCK;

/// The longest extended header or long name. Real ones have a few hundred bytes.
const MAX_EXTENSION: u64 = 1 << 20;
/// The largest file that a header can announce: lengths are added to positions.
const MAX_SIZE: u64 = u64::MAX / 2 - 512;
/// Extended headers in a row before the entry they belong to.
const MAX_EXTENSIONS: usize = 16;

/// An entry as it stands in the tar.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) size: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) mtime_secs: i64,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime_secs: Option<i64>,
}

/// A reader that may know a faster way to leave bytes out than to read them.
pub(crate) trait Skip: Read + Sized {
    /// Leaves out up to `bytes`; returns how many there were.
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        io::copy(&mut self.by_ref().take(bytes), &mut io::sink())
    }
}

impl<R: Skip> Skip for &mut R {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        (**self).skip(bytes)
    }
}

pub(crate) struct TarReader<R> {
    source: R,
    /// Content of the current entry that nobody read yet, and its padding.
    content: u64,
    padding: u64,
    /// Bytes read so far.
    position: u64,
}

pub(crate) fn bad(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

impl<R: Skip> TarReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, content: 0, padding: 0, position: 0 }
    }

    /// Where the content of the current entry begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What comes behind the last entry.
    pub(crate) fn into_inner(self) -> R {
        self.source
    }

    /// The next entry; its content is then read from this reader.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<RawEntry>> {
        let mut extended = Extended::default();
        for _ in 0..MAX_EXTENSIONS {
            self.skip_content()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let mut entry = parse_header(&block)?;
            match entry.flag {
                b'x' => self.extension(entry.size).and_then(|data| parse_pax(&data, &mut extended))?,
                b'g' => _ = self.extension(entry.size)?,
                b'L' => extended.name = Some(until_nul(&self.extension(entry.size)?).to_vec()),
                b'K' => extended.link = Some(until_nul(&self.extension(entry.size)?).to_vec()),
                b'S' => return Err(bad("a sparse file: not supported in layers")),
                _ => {
                    extended.apply(&mut entry);
                    let has_content = matches!(entry.flag, b'0' | b'7' | 0) || !matches!(entry.flag, b'1'..=b'6');
                    self.content = if has_content { entry.size } else { 0 };
                    self.padding = self.content.next_multiple_of(BLOCK as u64) - self.content;
                    return Ok(Some(entry));
                }
            }
        }
        Err(bad("too many extended headers in a row"))
    }

    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None), // some writers leave the end blocks out
                Ok(0) => return Err(bad("it ends in the middle of a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += BLOCK as u64;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// The content of an extended header.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(bad(format!("an extended header of {size} bytes, {MAX_EXTENSION} are allowed")));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        let mut data = Vec::new();
        self.read_to_end(&mut data)?;
        if data.len() as u64 == size { Ok(data) } else { Err(bad("it ends in an extended header")) }
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let left = self.content + self.padding;
        let skipped = self.source.skip(left)?;
        self.position += skipped;
        (self.content, self.padding) = (0, 0);
        if skipped == left { Ok(()) } else { Err(bad("it ends in the middle of a file")) }
    }
}

impl<R: Skip> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(bad("it ends in the middle of a file"));
        }
        self.content -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

impl Extended {
    fn apply(self, entry: &mut RawEntry) {
        if let Some(name) = self.name {
            entry.name = name;
        }
        if let Some(link) = self.link {
            entry.link = link;
        }
        entry.size = self.size.unwrap_or(entry.size);
        entry.uid = self.uid.unwrap_or(entry.uid);
        entry.gid = self.gid.unwrap_or(entry.gid);
        entry.mtime_secs = self.mtime_secs.unwrap_or(entry.mtime_secs);
    }
}

fn parse_header(block: &[u8; BLOCK]) -> io::Result<RawEntry> {
    let mut blank = *block;
    blank[148..156].fill(b' ');
    let sum: i64 = blank.iter().map(|byte| i64::from(*byte)).sum();
    let signed: i64 = blank.iter().map(|byte| i64::from(byte.cast_signed())).sum();
    let said = number(&block[148..156])?;
    if said != sum && said != signed {
        return Err(bad("a header whose checksum is wrong"));
    }
    let mut name = until_nul(&block[0..100]).to_vec();
    if &block[257..263] == b"ustar\0" && block[345] != 0 {
        let prefix = until_nul(&block[345..500]);
        name = [prefix, b"/", &name].concat();
    }
    let small = |field: &[u8], what: &str| {
        u32::try_from(number(field)?).map_err(|_| bad(format!("a header whose {what} is out of range")))
    };
    Ok(RawEntry {
        name,
        link: until_nul(&block[157..257]).to_vec(),
        flag: block[156],
        size: u64::try_from(number(&block[124..136])?)
            .ok()
            .filter(|size| *size <= MAX_SIZE)
            .ok_or_else(|| bad("a header whose size is out of range"))?,
        uid: small(&block[108..116], "owner")?,
        gid: small(&block[116..124], "group")?,
        mode: small(&block[100..108], "mode")?,
        mtime_secs: number(&block[136..148])?,
        major: small(&block[329..337], "device").unwrap_or(0),
        minor: small(&block[337..345], "device").unwrap_or(0),
    })
}

/// Octal digits with spaces and NULs around, or GNU's base-256 where the first bit is set.
fn number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
            value = value << 8 | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| bad("a header with a number that is too large"));
    }
    let text = field.trim_ascii_start();
    let digits: Vec<u8> = text.iter().copied().skip_while(|b| *b == 0).take_while(|b| !matches!(b, 0 | b' ')).collect();
    let mut value = 0i64;
    for digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(bad("a header with a number that is not octal"));
        }
        value = value << 3 | i64::from(digit - b'0');
    }
    Ok(value)
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Records `"<length> <key>=<value>\n"`.
fn parse_pax(data: &[u8], extended: &mut Extended) -> io::Result<()> {
    let mut rest = data;
    while !rest.is_empty() && rest[0] != 0 {
        let wrong = || bad("an extended header that is not `length key=value`");
        let space = rest.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize = text(&rest[..space]).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        let record = rest.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let parsed = || text(value).and_then(|digits| digits.parse::<u64>().ok()).ok_or_else(wrong);
        let small = || parsed().and_then(|number| u32::try_from(number).map_err(|_| wrong()));
        match key {
            b"path" => extended.name = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => extended.size = Some(parsed().ok().filter(|size| *size <= MAX_SIZE).ok_or_else(wrong)?),
            b"uid" => extended.uid = Some(small()?),
            b"gid" => extended.gid = Some(small()?),
            b"mtime" => extended.mtime_secs = Some(whole_seconds(value).ok_or_else(wrong)?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(bad("a sparse file: not supported in layers")),
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

fn whole_seconds(value: &[u8]) -> Option<i64> {
    text(value)?.split('.').next()?.parse().ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
