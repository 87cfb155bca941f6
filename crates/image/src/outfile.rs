//! A file outside of the store that appears when it is whole, and of which a kill leaves nothing.
//!
//! It is written without a name (`O_TMPFILE`) where the file system can do that, else under a hidden name beside its place. To replace a file
//! takes the hidden name too, for the instant between two system calls.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::durable;

/// A file that has no place yet. Dropping it leaves nothing.
#[derive(Debug)]
pub struct OutFile {
    file: fs::File,
    place: PathBuf,
    /// The hidden name, where it has one.
    hidden: Option<PathBuf>,
}

impl OutFile {
    /// Begins the file that will be `place`.
    pub fn begin(place: &Path) -> io::Result<Self> {
        if place.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, format!("`{}` is a folder", place.display())));
        }
        let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, dir, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => {
                let file = fs::File::from_parts(file.into(), place.to_owned());
                Ok(Self { file, place: place.to_owned(), hidden: None })
            }
            // file systems without such files, and kernels that take the flag for O_DIRECTORY
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let hidden = beside(place);
                Ok(Self { file: fs::File::create_new(&hidden)?, place: place.to_owned(), hidden: Some(hidden) })
            }
            Err(error) => {
                let error = io::Error::from(error);
                Err(io::Error::new(error.kind(), format!("cannot make a file in `{}`: {error}", dir.display())))
            }
        }
    }

    /// What to write to.
    pub fn file(&self) -> &std::fs::File {
        self.file.file()
    }

    /// Makes what was written durable and puts it into its place, over what is there.
    pub fn publish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.hidden.is_none() {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let link = |to: &Path| rustix::fs::linkat(CWD, own.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW);
            match link(&self.place) {
                Err(Errno::EXIST) => {
                    // a link does not replace, a rename does
                    let hidden = beside(&self.place);
                    link(&hidden)?;
                    self.hidden = Some(hidden);
                }
                other => other?,
            }
        }
        if let Some(hidden) = &self.hidden {
            fs::rename(hidden, &self.place)?;
            self.hidden = None;
        }
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            let _ = fs::remove_file(hidden);
        }
    }
}

/// A place for unfinished work in the same folder.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(durable::unique(&format!(".{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_file_appears_when_it_is_whole_and_replaces_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("out");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let begun = OutFile::begin(&place).unwrap();
        begun.file().write_all(b"half").unwrap();
        assert!(fs::symlink_metadata(&place).is_err());
        drop(begun);
        assert_eq!(names(), 0);
        for text in ["first", "second"] {
            let begun = OutFile::begin(&place).unwrap();
            begun.file().write_all(text.as_bytes()).unwrap();
            begun.publish().unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), text);
            assert_eq!(names(), 1);
        }
        let error = OutFile::begin(&dir.path().join("no/such")).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no`"), "{error}");
        assert_eq!(OutFile::begin(dir.path()).err().unwrap().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(names(), 1);
    }
}
