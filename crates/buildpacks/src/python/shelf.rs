//! Finished interpreters, kept on the machine: unpacking and compiling one costs seconds, taking it from the shelf a fraction of one. Each is
//! one archive whose name holds its SHA-256, so that half a file or a changed one is never taken.

use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{Sha256, hex};

use crate::keep;

/// An interpreter's two layers are below this; a larger archive is something else.
const MAX_BYTES: u64 = 1 << 30;

/// The folder of archives.
pub(super) struct Shelf {
    dir: PathBuf,
    key: String,
}

impl Shelf {
    /// The place for what is made from `ingredients`, which must name all that matters.
    pub(super) fn new(cache_dir: &Path, ingredients: &str) -> Self {
        Self { dir: cache_dir.join("interpreters"), key: hex(&Sha256::digest(ingredients))[..32].to_owned() }
    }

    /// Unpacks the kept folders into their places; false when there are none to be trusted.
    pub(super) fn take(&self, folders: &[(&str, &Path)]) -> std::io::Result<bool> {
        let Some((path, wanted)) = self.find() else { return Ok(false) };
        if fs::metadata(&path)?.len() > MAX_BYTES || !keep::is_verified(&path, &wanted)? {
            keep::remove(&path)?;
            return Ok(false);
        }
        let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 18, fs::File::open(&path)?));
        archive.set_preserve_mtime(false);
        archive.set_overwrite(true);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.into_owned();
            for (folder, target) in folders {
                if let Ok(below) = name.strip_prefix(folder) {
                    unpack(&mut entry, target, below)?;
                }
            }
        }
        Ok(true)
    }

    fn find(&self) -> Option<(PathBuf, String)> {
        fs::read_dir(&self.dir).ok()?.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (key, hash) = name.strip_suffix(".tar")?.split_once('-')?;
            (key == self.key).then(|| (entry.path(), hash.to_owned()))
        })
    }

    /// Keeps the folders.
    pub(super) fn put(&self, folders: &[(&str, &Path)]) -> std::io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.dir)?;
        let mut builder = tar::Builder::new(std::io::BufWriter::with_capacity(1 << 18, temporary.as_file_mut()));
        builder.follow_symlinks(false);
        builder.mode(tar::HeaderMode::Deterministic);
        for (folder, source) in folders {
            builder.append_dir_all(folder, source)?;
        }
        std::io::Write::flush(&mut builder.into_inner()?)?;
        temporary.as_file().sync_all()?;
        let hash = keep::sha256_of(temporary.path())?;
        temporary.persist(self.dir.join(format!("{}-{hash}.tar", self.key))).map_err(|error| error.error)?;
        Ok(())
    }
}

/// One entry below `target`. The archive is our own and its hash was checked, but no path is believed all the same.
fn unpack(entry: &mut tar::Entry<'_, impl Read>, target: &Path, below: &Path) -> std::io::Result<()> {
    let inside = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        return Err(std::io::Error::other("an entry of a kept interpreter leads outside"));
    }
    let path = target.join(below);
    if entry.header().entry_type().is_dir() { fs::create_dir_all(path) } else { entry.unpack(path).map(drop) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_and_a_changed_archive_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("usr/bin")).unwrap();
        fs::write(from.join("usr/bin/python3.13"), "elf").unwrap();
        std::os::unix::fs::symlink("python3.13", from.join("usr/bin/python")).unwrap();
        let shelf = Shelf::new(dir.path(), "a");
        assert!(!shelf.take(&[("python", &to)]).unwrap());
        shelf.put(&[("python", &from)]).unwrap();
        assert!(shelf.take(&[("python", &to)]).unwrap());
        assert_eq!(fs::read_link(to.join("usr/bin/python")).unwrap(), Path::new("python3.13"));
        assert_eq!(fs::read_to_string(to.join("usr/bin/python")).unwrap(), "elf");
        assert!(!Shelf::new(dir.path(), "b").take(&[("python", &to)]).unwrap());
        let (path, _) = shelf.find().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[600] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(!shelf.take(&[("python", &to)]).unwrap());
        assert!(!path.exists());
    }
}
