//! Bytecode that was compiled before, kept in the cache: the same wheel for the same interpreter at the same place gives the same `.pyc`
//! files, and compiling costs more than all the rest of an installation.
//!
//! A parcel of the shelf is found by what went into it: interpreter, place, and the path and content of every source. What a distribution says
//! of itself (its name, the hashes in its RECORD) counts for nothing, since a stranger writes that.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use hoist_debian::{Sha256, hex};

use crate::bytecode::pyc_path;

/// Changes whenever the same sources would give other bytecode, or a parcel another form.
const LAYOUT: &str = "2";
/// The last entry of a parcel: one that lacks it was not written to its end.
const END: &str = "end";
/// Even one source is looked up: when everything is found, no interpreter is started.
const LEAST_SOURCES: usize = 1;
/// More than any real distribution has; a parcel beyond it is not ours.
const MAX_PARCEL_BYTES: u64 = 1 << 30;

/// The parcels of one interpreter at one place.
#[derive(Debug)]
pub(crate) struct BytecodeShelf {
    dir: PathBuf,
    /// Names the interpreter to the last digit.
    identity: String,
}

/// What the shelf had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it, and it is in its place.
    Taken,
    /// Nothing; it is to be kept under this name.
    Wanted(String),
    /// Nothing, and it is not worth a parcel.
    TooSmall,
}

impl BytecodeShelf {
    /// The shelf below a cache folder.
    pub(crate) fn new(cache_dir: &Path, identity: String) -> Self {
        Self { dir: cache_dir.join("bytecode"), identity }
    }

    /// Puts the bytecode of these sources into its place, where it was kept.
    pub(crate) fn find_and_take(&self, site_packages: &Path, sources: &[PathBuf]) -> io::Result<Kept> {
        let Some(key) = self.key(site_packages, sources)? else { return Ok(Kept::TooSmall) };
        Ok(if self.take(&key, site_packages)? { Kept::Taken } else { Kept::Wanted(key) })
    }

    /// The name of the parcel for these sources below `site_packages`; none where it is not worth one.
    fn key(&self, site_packages: &Path, sources: &[PathBuf]) -> io::Result<Option<String>> {
        if sources.len() < LEAST_SOURCES {
            return Ok(None);
        }
        let mut sorted: Vec<&PathBuf> = sources.iter().collect();
        sorted.sort();
        let mut all = Sha256::new();
        for part in [LAYOUT, &self.identity, &site_packages.to_string_lossy()] {
            all.update(part.as_bytes());
            all.update([0]);
        }
        for source in sorted {
            all.update(source.as_os_str().as_encoded_bytes());
            all.update([0]);
            all.update(Sha256::digest(fs::read(source)?));
        }
        Ok(Some(hex(&all.finalize())))
    }

    /// Puts the parcel's files below `site_packages`; false where there is none, or none that is whole.
    pub(crate) fn take(&self, key: &str, site_packages: &Path) -> io::Result<bool> {
        let Ok(file) = fs::File::open(self.path(key)) else { return Ok(false) };
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 16, file).take(MAX_PARCEL_BYTES));
        let mut made: Option<PathBuf> = None;
        let Ok(entries) = archive.entries() else { return Ok(false) };
        for entry in entries {
            let Ok(mut entry) = entry else { return Ok(false) };
            let Ok(path) = entry.path().map(std::borrow::Cow::into_owned) else { return Ok(false) };
            if path == Path::new(END) {
                return Ok(true);
            }
            let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || path.extension().is_none_or(|extension| extension != "pyc") {
                return Ok(false);
            }
            let target = site_packages.join(path);
            let folder = target.parent().unwrap_or(site_packages).to_owned();
            if made.as_ref() != Some(&folder) {
                fs::create_dir_all(&folder)?;
                made = Some(folder);
            }
            let copied = io::copy(&mut entry, &mut fs::File::create(&target)?)?;
            if copied != entry.size() {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Keeps the bytecode of these sources. A shelf that cannot be written costs time and nothing else.
    pub(crate) fn put(&self, key: &str, site_packages: &Path, sources: &[PathBuf], tag: &str) {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.dir)?;
            let mut parcel = tempfile::NamedTempFile::new_in(&self.dir)?;
            pack(parcel.as_file_mut(), site_packages, sources, tag)?;
            parcel.persist(self.path(key)).map_err(|error| error.error)?;
            Ok(())
        };
        let _ = write();
    }

    /// Where a parcel lies.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.tar"))
    }
}

/// Writes a parcel with the bytecode of these sources.
pub(crate) fn pack(file: &mut std::fs::File, site_packages: &Path, sources: &[PathBuf], tag: &str) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 16, file));
    for source in sources {
        let Some(pyc) = pyc_path(source, tag).filter(|path| path.is_file()) else { continue };
        let Ok(relative) = pyc.strip_prefix(site_packages) else { continue };
        archive.append_path_with_name(&pyc, relative)?;
    }
    archive.append(&end_header(), io::empty())?;
    io::Write::flush(&mut archive.into_inner()?)
}

fn end_header() -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // A name of three letters always fits.
    let _ = header.set_path(END);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// Does the same for each, on two threads; the answers in the order of the items.
pub(super) fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || -> Vec<(usize, R)> {
        std::iter::from_fn(|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            Some((index, work(items.get(index)?)))
        })
        .collect()
    };
    let mut done = std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let mut done = run();
        match other.join() {
            Ok(more) => done.extend(more),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "cpython-313";

    fn sources(dir: &Path) -> Vec<PathBuf> {
        fs::create_dir_all(dir.join("lib/__pycache__")).unwrap();
        (0..8)
            .map(|number| {
                let source = dir.join(format!("lib/m{number}.py"));
                fs::write(&source, format!("x = {number}")).unwrap();
                fs::write(pyc_path(&source, TAG).unwrap(), format!("bytecode {number}")).unwrap();
                source
            })
            .collect()
    }

    #[test]
    fn answers_keep_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(at_once(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn bytecode_comes_back_for_the_same_sources_and_for_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site-packages");
        let sources = sources(&site);
        let shelf = BytecodeShelf::new(&dir.path().join("cache"), "3.13.5 amd64".into());
        let key = shelf.key(&site, &sources).unwrap().unwrap();
        assert!(!shelf.take(&key, &site).unwrap(), "nothing was kept yet");
        shelf.put(&key, &site, &sources, TAG);
        fs::remove_dir_all(site.join("lib/__pycache__")).unwrap();
        assert!(shelf.take(&key, &site).unwrap());
        assert_eq!(fs::read_to_string(site.join("lib/__pycache__/m3.cpython-313.pyc")).unwrap(), "bytecode 3");

        let other = BytecodeShelf::new(&dir.path().join("cache"), "3.13.6 amd64".into());
        assert_ne!(other.key(&site, &sources).unwrap().unwrap(), key, "another interpreter");
        assert_eq!(shelf.key(&site, &[]).unwrap(), None, "nothing to be kept");
        let whole = fs::read(shelf.path(&key)).unwrap();
        for length in [0, 512, 700, whole.len() - 1536] {
            fs::write(shelf.path(&key), &whole[..length]).unwrap();
            assert!(!shelf.take(&key, &site).unwrap(), "only {length} bytes of it");
        }
        fs::write(&sources[0], "x = 'evil'").unwrap();
        assert_ne!(shelf.key(&site, &sources).unwrap().unwrap(), key, "another content under the same name");
    }

    #[test]
    fn a_parcel_that_leads_elsewhere_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = BytecodeShelf::new(dir.path(), String::new());
        fs::create_dir_all(&shelf.dir).unwrap();
        let mut archive = tar::Builder::new(fs::File::create(shelf.path("k")).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_gnu_mut().unwrap().name[..9].copy_from_slice(b"../x/.pyc");
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        archive.finish().unwrap();
        let site = dir.path().join("site");
        assert!(!shelf.take("k", &site).unwrap());
        assert!(!dir.path().join("x").exists());
    }
}
