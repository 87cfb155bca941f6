//! Files that somebody else wrote, read up to the size that such a file may have. Pipes and devices have none of their own, so it is counted
//! while reading.

use std::io::{self, Read};
use std::path::Path;

use fs_err as fs;

/// The bytes of a file, of which there may be `max_bytes`.
pub(crate) fn read_bytes(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let problem = format!("it has more than the {max_bytes} bytes that are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

/// The same of a text.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let bytes = read_bytes(path, max_bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_no_size_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        fs::write(&path, "1234").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "1234");
        let error = read_text(&path, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has more than the 3 bytes that are allowed");
        assert_eq!(read_text(Path::new("/dev/zero"), 1 << 20).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().to_string(), "it is not UTF-8");
    }
}
