//! Text files as people make them: UTF-8 with or without a byte order mark, UTF-16 in either order, any line ends.

/// Why bytes are not text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Neither UTF-8 nor UTF-16.
    #[error("the byte at offset {offset} is part of no UTF-8 or UTF-16 text")]
    NotText {
        /// Where the text ends.
        offset: usize,
    },
}

/// Decodes a text file. Line ends become `\n`; a byte order mark is dropped. UTF-16 without a mark is seen by its zero bytes.
pub fn decode_text(bytes: &[u8]) -> Result<String, DecodeError> {
    let text = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => decode_utf8(rest)?,
        [0xFF, 0xFE, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        [first, 0, ..] if *first != 0 => decode_utf16(bytes, u16::from_le_bytes)?,
        [0, second, ..] if *second != 0 => decode_utf16(bytes, u16::from_be_bytes)?,
        _ => decode_utf8(bytes)?,
    };
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

fn decode_utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(DecodeError::NotText { offset: error.valid_up_to() }),
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, DecodeError> {
    let units: Vec<u16> = bytes.chunks(2).map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or(0)])).collect();
    String::from_utf16(&units).map_err(|_| DecodeError::NotText { offset: 0 })
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
    fn what_is_no_text_is_named_by_its_offset() {
        assert_eq!(decode_text(b"abc\xFFdef"), Err(DecodeError::NotText { offset: 3 }));
    }
}
