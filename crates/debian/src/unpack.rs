//! Unpacks packages into a plain folder, as what an ordinary process makes there: no owners, no set-id bits, no devices.
//!
//! A symbolic link that is met on the way to a path is followed as if the folder were the root of the file system, so it can never
//! lead out. The folder must not be changed by others meanwhile.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::deb::{Deb, DebError, Entry, EntryKind};

/// How many links are followed on the way to one path.
const LINK_LIMIT: u32 = 40;

/// What to unpack and where to.
#[derive(Default)]
pub struct UnpackOptions<'a> {
    /// True for paths (relative, no `./`) that are wanted; everything where there is none. Asked after `rewrite`.
    pub filter: Option<&'a dyn Fn(&str) -> bool>,
    /// Where a path goes: `lib/x` to `usr/lib/x`. Asked for hard link targets too.
    pub rewrite: Option<&'a dyn Fn(&str) -> String>,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Paths of files and links, in the package's order.
    pub paths: Vec<String>,
    /// Bytes of content.
    pub bytes: u64,
}

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The package cannot be read.
    #[error("the package cannot be unpacked")]
    Deb {
        /// Why.
        #[from]
        source: DebError,
    },
    /// A path cannot be made.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path leads nowhere inside.
    #[error("`{entry}` cannot be placed: {problem}")]
    Placement {
        /// Its path.
        entry: String,
        /// Why.
        problem: &'static str,
    },
}

impl UnpackError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Deb { source } => source.hint(),
            Self::Write { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "the disk is full: free some space and run the command again".into()
            }
            Self::Write { .. } => "make the folder writable".into(),
            Self::Placement { .. } => "unpack into an empty folder".into(),
        }
    }
}

/// Unpacks a package file below `dir`, never through a link that leads out of it. Owners are not kept; set-id bits neither.
pub fn unpack_into(deb: &Path, dir: &Path, options: &UnpackOptions<'_>) -> Result<Unpacked, UnpackError> {
    let mut unpacked = Unpacked::default();
    fs_err::create_dir_all(dir).map_err(write_error(dir))?;
    let mut target = Target { root: dir, modes: BTreeMap::new() };
    Deb::open(deb)?.visit(&mut |entry: Entry<'_>| {
        let rewritten = |path: &str| options.rewrite.map_or_else(|| path.to_owned(), |rewrite| rewrite(path));
        let path = rewritten(&entry.path);
        if path.is_empty() || options.filter.is_some_and(|filter| !filter(&path)) {
            return Ok(());
        }
        match &entry.kind {
            EntryKind::Directory => target.directory(&path, entry.mode)?,
            EntryKind::File { size_bytes } => {
                target.file(&path, entry.mode, entry.content)?;
                unpacked.bytes += size_bytes;
                unpacked.paths.push(path);
            }
            EntryKind::Symlink { target: to } => {
                let (host, wrong) = target.place(&path)?;
                symlink(to, &host).map_err(wrong)?;
                unpacked.paths.push(path);
            }
            EntryKind::HardLink { target: to } => {
                let from = target.resolve(&rewritten(to))?;
                let (host, wrong) = target.place(&path)?;
                fs_err::hard_link(from, host).map_err(wrong)?;
                unpacked.paths.push(path);
            }
        }
        Ok::<(), UnpackError>(())
    })?;
    target.finish()?;
    Ok(unpacked)
}

/// The folder that is unpacked into.
struct Target<'a> {
    root: &'a Path,
    /// Modes of directories, set at the end so that a read-only one can be filled.
    modes: BTreeMap<PathBuf, u32>,
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> UnpackError + use<> {
    let path = path.to_owned();
    move |source| UnpackError::Write { path, source }
}

impl Target<'_> {
    /// Where a path lies, links on the way to its last part followed inside the root; missing directories are made.
    fn resolve(&self, path: &str) -> Result<PathBuf, UnpackError> {
        let placement = |problem| UnpackError::Placement { entry: path.to_owned(), problem };
        let mut rest: Vec<String> =
            path.rsplit('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
        let mut inside = PathBuf::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                inside.pop();
                continue;
            }
            let host = self.root.join(&inside).join(&part);
            if rest.is_empty() {
                return Ok(host);
            }
            match fs_err::symlink_metadata(&host) {
                Ok(metadata) if metadata.is_dir() => inside.push(&part),
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(placement("its links turn in a circle"));
                    }
                    let to = fs_err::read_link(&host).map_err(write_error(&host))?;
                    for component in to.components().rev() {
                        match component {
                            Component::Normal(name) => rest.push(name.to_string_lossy().into_owned()),
                            Component::ParentDir => rest.push("..".into()),
                            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                        }
                    }
                    if to.is_absolute() {
                        inside.clear();
                    }
                }
                Ok(_) => return Err(placement("a file stands where a directory should be")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs_err::create_dir_all(&host).map_err(write_error(&host))?;
                    inside.push(&part);
                }
                Err(source) => return Err(UnpackError::Write { path: host, source }),
            }
        }
        Err(placement("it is the folder itself"))
    }

    /// Where a file or link goes, free of what stood there.
    fn place(&self, path: &str) -> Result<(PathBuf, impl FnOnce(std::io::Error) -> UnpackError + use<>), UnpackError> {
        let host = self.resolve(path)?;
        match fs_err::symlink_metadata(&host) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(UnpackError::Placement {
                    entry: path.to_owned(),
                    problem: "a directory stands where a file should be",
                });
            }
            Ok(_) => fs_err::remove_file(&host).map_err(write_error(&host))?,
            Err(_) => {}
        }
        let wrong = write_error(&host);
        Ok((host, wrong))
    }

    fn directory(&mut self, path: &str, mode: u32) -> Result<(), UnpackError> {
        let host = self.resolve(path)?;
        match fs_err::symlink_metadata(&host) {
            // A directory that another package made a link of, as usr-merged systems do, stays a link.
            Ok(metadata) if metadata.is_symlink() => return Ok(()),
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(UnpackError::Placement {
                    entry: path.to_owned(),
                    problem: "a file stands where a directory should be",
                });
            }
            Err(_) => fs_err::create_dir_all(&host).map_err(write_error(&host))?,
        }
        self.modes.insert(host, mode & 0o777);
        Ok(())
    }

    fn file(&self, path: &str, mode: u32, content: &mut dyn Read) -> Result<(), UnpackError> {
        let (host, wrong) = self.place(path)?;
        let mut write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&host)?;
            std::io::copy(content, &mut file)?;
            file.flush()?;
            file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))
        };
        write().map_err(wrong)
    }

    fn finish(self) -> Result<(), UnpackError> {
        for (dir, mode) in self.modes.iter().rev() {
            fs_err::set_permissions(dir, std::fs::Permissions::from_mode(*mode)).map_err(write_error(dir))?;
        }
        Ok(())
    }
}
