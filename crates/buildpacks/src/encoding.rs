//! Text files as people make them: UTF-8 with or without a byte order mark, UTF-16 in either order, any line ends.

/// Why bytes are not text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Neither UTF-8 nor UTF-16, or with a zero byte.
    #[error("the byte at offset {offset} is part of no UTF-8 or UTF-16 text")]
    NotText {
        /// Where the text ends.
        offset: usize,
        /// The line that it is in, from 1.
        line: usize,
    },
}

impl DecodeError {
    fn at(bytes: &[u8], offset: usize) -> Self {
        Self::NotText { offset, line: bytes[..offset].split(|byte| *byte == b'\n').count() }
    }

    /// The line that is no text, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        let Self::NotText { line, .. } = self;
        *line
    }

    /// The error with its place, as pages name them: `FILE line 3: …`.
    pub(crate) fn in_file(&self, file: &str) -> String {
        format!("{file} line {}: {self}", self.line())
    }
}

/// Decodes a text file. Line ends become `\n`; a byte order mark is dropped. UTF-16 without a mark is seen by its zero bytes, which no other text has.
pub fn decode_text(bytes: &[u8]) -> Result<String, DecodeError> {
    let text = match bytes {
        [0xEF, 0xBB, 0xBF, ..] => decode_utf8(bytes, 3)?,
        [0xFF, 0xFE, ..] => decode_utf16(bytes, 2, u16::from_le_bytes)?,
        [0xFE, 0xFF, ..] => decode_utf16(bytes, 2, u16::from_be_bytes)?,
        [first, 0, ..] if *first != 0 => decode_utf16(bytes, 0, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => decode_utf16(bytes, 0, u16::from_be_bytes)?,
        _ => decode_utf8(bytes, 0)?,
    };
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

/// The text behind a mark of so many bytes.
fn decode_utf8(bytes: &[u8], mark: usize) -> Result<String, DecodeError> {
    match std::str::from_utf8(&bytes[mark..]) {
        Ok(text) => match text.find('\0') {
            None => Ok(text.to_owned()),
            Some(zero) => Err(DecodeError::at(bytes, mark + zero)),
        },
        Err(error) => Err(DecodeError::at(bytes, mark + error.valid_up_to())),
    }
}

fn decode_utf16(bytes: &[u8], mark: usize, unit: fn([u8; 2]) -> u16) -> Result<String, DecodeError> {
    let pairs = bytes[mark..].chunks_exact(2);
    let mut offset = mark;
    let mut text = String::with_capacity(bytes.len() / 2);
    let is_odd = !pairs.remainder().is_empty();
    for letter in char::decode_utf16(pairs.map(|pair| unit([pair[0], pair[1]]))) {
        match letter {
            Ok(letter) if letter != '\0' => {
                text.push(letter);
                offset += 2 * letter.len_utf16();
            }
            _ => return Err(DecodeError::at(bytes, offset)),
        }
    }
    if is_odd { Err(DecodeError::at(bytes, offset)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_encoding_gives_the_same_text() {
        let wanted = "flask==3.1\nloguru\n";
        let crlf = wanted.replace('\n', "\r\n");
        let utf16 = |order: fn(u16) -> [u8; 2]| crlf.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let with = |mark: &[u8], rest: Vec<u8>| [mark.to_vec(), rest].concat();
        for bytes in [
            wanted.as_bytes().to_vec(),
            crlf.clone().into_bytes(),
            with(&[0xEF, 0xBB, 0xBF], crlf.clone().into_bytes()),
            with(&[0xFF, 0xFE], utf16(u16::to_le_bytes)),
            with(&[0xFE, 0xFF], utf16(u16::to_be_bytes)),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(decode_text(&bytes).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn what_is_no_text_is_named_by_its_offset_and_line() {
        for (bytes, offset, line) in [
            (&b"abc\xFFdef"[..], 3, 1),
            (b"\xEF\xBB\xBFa\nb\xFF", 6, 2),
            (b"a\nb\n\0", 4, 3),
            (b"\0\x01\x02\x7FELF", 6, 1),
            (b"\x7FELF\x02\x01\0\0", 6, 1),
            (b"\xFF\xFEa\0\n\0\0\xD8", 6, 2),
            (b"\xFF\xFEa\0b", 4, 1),
        ] {
            assert_eq!(decode_text(bytes), Err(DecodeError::NotText { offset, line }), "{bytes:?}");
        }
    }
}
