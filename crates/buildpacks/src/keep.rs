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

/// The hash of all that stands below some paths of a folder: names, contents, links. What cannot be read is part of it as such: it is the business of
/// whoever needs it. All of it: the app, which was copied to get here, is the bound.
pub(crate) fn hash_of_trees<'a>(dir: &Path, below: impl IntoIterator<Item = &'a Path>) -> String {
    let mut hasher = Sha256::new();
    for path in below {
        for entry in walkdir::WalkDir::new(dir.join(path)).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    hasher.update(format!("{:?}", error.io_error().map(io::Error::kind)));
                    hasher.update([0]);
                    continue;
                }
            };
            let path = entry.path().strip_prefix(dir).unwrap_or(entry.path());
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update([0]);
            if entry.file_type().is_file() {
                hasher.update(sha256_of(entry.path()).unwrap_or_else(|error| format!("{:?}", error.kind())));
            } else if let Ok(target) = fs::read_link(entry.path()) {
                hasher.update(target.as_os_str().as_encoded_bytes());
            }
            hasher.update([0]);
        }
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_a_name_and_a_link_each_count() {
        let dir = tempfile::tempdir().unwrap();
        let hash = || hash_of_trees(dir.path(), [Path::new("")]);
        let mut seen = vec![hash()];
        let mut note = || {
            let hash = hash();
            assert!(!seen.contains(&hash));
            seen.push(hash);
        };
        fs::write(dir.path().join("a.css"), "1").unwrap();
        note();
        fs::write(dir.path().join("a.css"), "2").unwrap();
        note();
        fs::rename(dir.path().join("a.css"), dir.path().join("b.css")).unwrap();
        note();
        std::os::unix::fs::symlink("b.css", dir.path().join("a.css")).unwrap();
        note();
        fs::create_dir(dir.path().join("empty")).unwrap();
        note();
        let of = |names: &[&str]| hash_of_trees(dir.path(), names.iter().map(Path::new));
        assert_ne!(of(&["b.css"]), of(&["b.css", "empty"]));
        assert_ne!(of(&["b.css"]), of(&["b.css", "none"]), "that it is not there counts, too");
    }

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
