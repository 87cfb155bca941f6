//! Unpacks an archive of conda's into a folder of the cache: `.conda` (a zip of tar.zst) and `.tar.bz2`. Archives come from strangers: whatever
//! names a place outside of the folder, is no file, or becomes larger than it should, is refused before it is written.

use std::io::{BufReader, Read, Seek};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use tar::EntryType;

/// The largest packages known (GPU libraries) unpack to some 5 GiB.
const MAX_BYTES: u64 = 16 << 30;
/// What an archive may unpack to however small it is.
const FREE_BYTES: u64 = 256 << 20;
/// What real packages do not reach: sources compress to a tenth.
const MAX_RATIO: u64 = 200;
/// The largest packages known have a tenth.
const MAX_ENTRIES: usize = 500_000;
/// Parts of a `.conda` file: three are usual.
const MAX_PARTS: usize = 16;

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// It is not what it should be; perhaps it came only in part.
    #[error("the archive cannot be read: {0}")]
    Damaged(String),
    /// It does what no package does.
    #[error("{0}")]
    Hostile(String),
    /// The cache's own file system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Unpacks `archive`, whose name in the channel was `name`, into `destination`.
pub(crate) fn unpack(archive: &Path, name: &str, destination: &Path) -> Result<(), UnpackError> {
    let file = fs::File::open(archive)?;
    let size = file.metadata()?.len();
    let allowed = (size.saturating_mul(MAX_RATIO)).clamp(FREE_BYTES, MAX_BYTES);
    unpack_within(file, name, destination, allowed)
}

fn unpack_within(file: impl Read + Seek, name: &str, destination: &Path, allowed: u64) -> Result<(), UnpackError> {
    fs::create_dir_all(destination)?;
    let mut bounds = Bounds { bytes: allowed, entries: MAX_ENTRIES, allowed };
    if name.ends_with(".tar.bz2") {
        return bounds.tar(bzip2::read::MultiBzDecoder::new(BufReader::new(file)), destination);
    }
    let damaged = |error: zip::result::ZipError| UnpackError::Damaged(error.to_string());
    let mut parts = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if parts.len() > MAX_PARTS {
        return Err(UnpackError::Hostile(format!("it has {} parts, and packages of conda have three", parts.len())));
    }
    for at in 0..parts.len() {
        let part = parts.by_index(at).map_err(damaged)?;
        if part.name().ends_with(".tar.zst") {
            let decoder =
                zstd::stream::read::Decoder::new(part).map_err(|error| UnpackError::Damaged(error.to_string()))?;
            bounds.tar(decoder, destination)?;
        }
    }
    Ok(())
}

/// What an archive may still bring.
struct Bounds {
    bytes: u64,
    entries: usize,
    allowed: u64,
}

impl Bounds {
    /// Unpacks a tar; names of any length and headers count, too.
    fn tar(&mut self, decoder: impl Read, destination: &Path) -> Result<(), UnpackError> {
        // One more than allowed, so that the end of what is allowed is not taken for the end of the archive.
        let mut archive = tar::Archive::new(decoder.take(self.bytes + 1));
        archive.set_preserve_mtime(false);
        let done = self.entries(&mut archive, destination);
        let mut rest = archive.into_inner();
        if done.is_ok() {
            // What follows the end is nobody's, but a decoder that is cut off shows it only there.
            std::io::copy(&mut rest, &mut std::io::sink()).map_err(|error| UnpackError::Damaged(error.to_string()))?;
        }
        if rest.limit() == 0 {
            return Err(UnpackError::Hostile(format!(
                "it unpacks to more than {} MiB, which its size does not explain",
                self.allowed >> 20
            )));
        }
        self.bytes = rest.limit() - 1;
        done
    }

    fn entries<R: Read>(&mut self, archive: &mut tar::Archive<R>, destination: &Path) -> Result<(), UnpackError> {
        let damaged = |error: std::io::Error| UnpackError::Damaged(error.to_string());
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            self.entries = self
                .entries
                .checked_sub(1)
                .ok_or_else(|| UnpackError::Hostile(format!("it has more than {MAX_ENTRIES} files")))?;
            let path = entry.path().map_err(damaged)?.into_owned();
            match entry.header().entry_type() {
                EntryType::XGlobalHeader => continue,
                EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name().map_err(damaged)?.unwrap_or_default().into_owned();
                    let base = if entry.header().entry_type() == EntryType::Link {
                        Path::new("")
                    } else {
                        path.parent().unwrap_or(Path::new(""))
                    };
                    if !stays(&base.join(&target)) {
                        let why = format!(
                            "its link `{}` leads to `{}`, outside of the environment",
                            path.display(),
                            target.display()
                        );
                        return Err(UnpackError::Hostile(why));
                    }
                }
                other => {
                    return Err(UnpackError::Hostile(format!(
                        "`{}` is no file, but of kind {other:?}",
                        path.display()
                    )));
                }
            }
            check_path(&path)?;
            entry.unpack_in(destination).map_err(|error| entry_failed(&path, &error))?;
        }
        Ok(())
    }
}

/// The system refuses (no space), or the archive leads through one of its own links.
fn entry_failed(path: &Path, error: &std::io::Error) -> UnpackError {
    UnpackError::Damaged(format!("{}: {}", path.display(), crate::error::chain(error)))
}

/// Whether a name in a package is a place in its environment.
pub(crate) fn check_path(path: &Path) -> Result<(), UnpackError> {
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside && path.components().next().is_some() {
        return Ok(());
    }
    Err(UnpackError::Hostile(format!("it names the file `{}`, which lies outside of the environment", path.display())))
}

/// Whether a link's target is in the environment, by its names alone.
fn stays(target: &Path) -> bool {
    let mut depth = PathBuf::new();
    for part in target.components() {
        match part {
            Component::Normal(name) => depth.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !depth.pop() {
                    return false;
                }
            }
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn tar_of(entries: &[(&str, EntryType, &str, u64)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, link, size) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(*size);
            if !link.is_empty() {
                header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
            }
            header.set_cksum();
            archive.append(&header, std::io::repeat(0).take(*size)).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn bz2(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    }

    fn conda(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file("pkg-x.tar.zst", options).unwrap();
        archive.write_all(&zstd::bulk::compress(bytes, 1).unwrap()).unwrap();
        archive.finish().unwrap().into_inner()
    }

    fn refused(entries: &[(&str, EntryType, &str, u64)]) -> String {
        let tar = tar_of(entries);
        let mut said = Vec::new();
        for (name, bytes) in [("x-1-0.tar.bz2", bz2(&tar)), ("x-1-0.conda", conda(&tar))] {
            let dir = tempfile::tempdir().unwrap();
            let done = unpack_within(Cursor::new(bytes), name, &dir.path().join("in/side"), 1 << 20);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing lies beside the folder");
            said.push(match done {
                Err(error @ UnpackError::Hostile(_)) => error.to_string(),
                other => panic!("{name}: {other:?}"),
            });
        }
        assert_eq!(said[0], said[1]);
        said.remove(0)
    }

    #[test]
    fn what_no_package_does_is_refused_in_both_formats() {
        use EntryType::{Char, Fifo, Link, Regular, Symlink};
        assert!(refused(&[("/etc/x", Regular, "", 1)]).contains("`/etc/x`, which lies outside"));
        assert!(refused(&[("a/../../x", Regular, "", 1)]).contains("`a/../../x`, which lies outside"));
        assert!(refused(&[("lib/a", Symlink, "../../x", 0)]).contains("`lib/a` leads to `../../x`, outside"));
        assert!(refused(&[("a", Symlink, "/etc/passwd", 0)]).contains("leads to `/etc/passwd`"));
        assert!(refused(&[("a", Link, "../x", 0)]).contains("leads to `../x`"));
        assert!(refused(&[("a", Fifo, "", 0)]).contains("Fifo"));
        assert!(refused(&[("a", Char, "", 0)]).contains("Char"));
        assert!(refused(&[("a", Regular, "", 2 << 20)]).contains("more than 1 MiB"));
        let many: Vec<_> = (0..3000).map(|_| ("a", EntryType::Directory, "", 0)).collect();
        assert!(refused(&many).contains("more than 1 MiB"), "headers count, too");
    }

    #[test]
    fn a_name_longer_than_an_archive_is_not_read_into_memory() {
        let tar = tar_of(&[("././@LongLink", EntryType::GNULongName, "", 64 << 20), ("a", EntryType::Regular, "", 0)]);
        let dir = tempfile::tempdir().unwrap();
        let done = unpack_within(Cursor::new(conda(&tar)), "x.conda", &dir.path().join("x"), 1 << 20);
        assert!(matches!(done, Err(UnpackError::Hostile(_))), "{done:?}");
    }

    #[test]
    fn files_and_links_of_the_environment_are_unpacked_and_a_cut_archive_is_none() {
        let tar = tar_of(&[
            ("lib/libx.so.1", EntryType::Regular, "", 7),
            ("lib/libx.so", EntryType::Symlink, "libx.so.1", 0),
            ("bin/x", EntryType::Link, "lib/libx.so.1", 0),
            ("share/up", EntryType::Symlink, "../lib", 0),
        ]);
        for (name, bytes) in [("x-1-0.tar.bz2", bz2(&tar)), ("x-1-0.conda", conda(&tar))] {
            let dir = tempfile::tempdir().unwrap();
            unpack_within(Cursor::new(&bytes), name, dir.path(), 1 << 20).unwrap();
            for file in ["lib/libx.so", "bin/x", "share/up/libx.so.1"] {
                assert_eq!(fs::read(dir.path().join(file)).unwrap().len(), 7, "{file}");
            }
            let cut = &bytes[..bytes.len() / 2];
            let done = unpack_within(Cursor::new(cut), name, &dir.path().join("cut"), 1 << 20);
            assert!(matches!(done, Err(UnpackError::Damaged(_))), "{name}: {done:?}");
        }
    }
}
