//! Files that builds share (memories, kept binaries) are put there in one piece: another build sees the old one, the new one or none. The
//! name on the way is random, because the process numbers of two sandboxes are the same. Large ones are checked by hash when they are first used,
//! and again whenever the file system says that they changed since.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{Sha256, hex};

/// Puts a file with these bytes.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_with(path, 0o644, |file| file.write_all(bytes))
}

/// Puts a file that `write` fills, with permission bits.
pub(crate) fn put_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut std::fs::File) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    write(temporary.as_file_mut())?;
    temporary.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
    // Closed for writing before it gets its name: a program that is still open for writing cannot be started.
    let temporary = temporary.into_temp_path();
    temporary.persist(path).map_err(|error| error.error)
}

/// Whether a file has the wanted SHA-256. That it has is noted beside it, with what changes when anybody writes to the file (inode, length, time of
/// the last change), because hashing a large file takes longer than using it.
pub(crate) fn is_verified(path: &Path, wanted: &str) -> io::Result<bool> {
    let about = fs::metadata(path)?;
    let note = format!("{wanted} {} {} {} {}\n", about.ino(), about.len(), about.ctime(), about.ctime_nsec());
    let note_path = note_path(path);
    if fs::read_to_string(&note_path).is_ok_and(|noted| noted == note) {
        return Ok(true);
    }
    if sha256_of(path)? != wanted {
        return Ok(false);
    }
    let _ = put(&note_path, note.as_bytes()); // without the note the next build hashes again
    Ok(true)
}

/// Removes a kept file and what is noted of it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let _ = fs::remove_file(note_path(path));
    fs::remove_file(path)
}

fn note_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".verified");
    PathBuf::from(name)
}

/// The hash of a file, in hexadecimal digits.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_again_when_it_was_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("binary");
        put(&path, b"one").unwrap();
        let hash = hex(&Sha256::digest("one"));
        assert!(!is_verified(&path, "00").unwrap());
        assert!(is_verified(&path, &hash).unwrap() && is_verified(&path, &hash).unwrap());
        assert!(!is_verified(&path, "00").unwrap(), "the note is of one hash");
        std::thread::sleep(std::time::Duration::from_millis(20));
        // In place and with the old length: only the time of change tells.
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"two").unwrap();
        assert!(!is_verified(&path, &hash).unwrap());
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        put(&path, b"old").unwrap();
        let failed = put_with(&path, 0o600, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1, "nothing is left on the way");
    }

    #[test]
    fn builds_at_once_never_get_the_file_of_another() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..4_u8 {
                let path = dir.path().join(number.to_string());
                scope.spawn(move || {
                    for _ in 0..50 {
                        put(&path, &[number; 4096]).unwrap();
                        assert_eq!(fs::read(&path).unwrap(), [number; 4096]);
                    }
                });
            }
        });
    }
}
