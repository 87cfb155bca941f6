//! The files of a download cache, on their way into a bundle and out of it. In the bundle a file is called by its digest, and is there once however often
//! the cache has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Digest, Hasher};
use hoist_sandbox::User;

use super::document::{CacheFile, CacheLink, Document, link_stays};
use super::error::BundleError;

/// Folders that an offline build does not look into: lists of everything that there is, of which the choice is kept elsewhere.
const IDLE_FOLDERS: [&str; 3] = ["debian/indexes", "standalone/indexes", "conda/repodata"];
/// What is remembered of files of this machine, and what is under way.
const IDLE_ENDS: [&str; 1] = [".verified"];
const IDLE_STARTS: [&str; 2] = [".new-", ".tmp"];
const BUFFER: usize = 1 << 18;
/// Behind the last file of a tar are some blocks of nothing.
const MAX_REST_BYTES: u64 = 1 << 20;

/// What a cache has.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) files: Vec<CacheFile>,
    pub(super) links: Vec<CacheLink>,
}

/// Removes what only a build with a network looks at, so that it is seen whether one without can do without.
pub(super) fn remove_idle(cache_dir: &Path) -> io::Result<()> {
    for folder in IDLE_FOLDERS {
        match fs::remove_dir_all(cache_dir.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Lists the cache in the order of its paths. `go_on` is asked between files.
pub(super) fn list(cache_dir: &Path, go_on: &dyn Fn() -> io::Result<()>) -> Result<Collected, BundleError> {
    let mut collected = Collected::default();
    let mut folders = vec![PathBuf::new()];
    let failed = |path: &Path| BundleError::collect(format!("reading {}", path.display()));
    while let Some(folder) = folders.pop() {
        let dir = cache_dir.join(&folder);
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let entry = entry.map_err(failed(&dir))?;
            let path = folder.join(entry.file_name());
            let about = entry.metadata().map_err(failed(&path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if about.is_dir() {
                folders.push(path);
                continue;
            }
            if IDLE_ENDS.iter().any(|end| name.ends_with(end))
                || IDLE_STARTS.iter().any(|start| name.starts_with(start))
            {
                continue;
            }
            let Some(text) = path.to_str().map(str::to_owned) else { continue };
            if about.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(failed(&path))?;
                let target = target.to_string_lossy().into_owned();
                if link_stays(&text, &target) {
                    collected.links.push(CacheLink { path: text, target });
                }
            } else if about.is_file() {
                go_on().map_err(failed(&path))?;
                let (digest, bytes) = hash(&entry.path()).map_err(failed(&path))?;
                let executable = about.permissions().mode() & 0o111 != 0;
                collected.files.push(CacheFile { path: text, sha256: digest.hex(), bytes, executable });
            }
        }
    }
    collected.files.sort_by(|one, other| one.path.cmp(&other.path));
    collected.links.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(collected)
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

/// Writes the files as a tar of contents, compressed. `told` hears how many bytes are done, and may end it.
pub(super) fn pack(
    cache_dir: &Path,
    files: &[CacheFile],
    out: impl Write,
    told: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, 3)?;
    encoder.include_checksum(true)?;
    encoder.multithread(
        std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get().min(8)).unwrap_or(1)),
    )?;
    let mut tar = tar::Builder::new(encoder);
    let contents: BTreeMap<&str, &CacheFile> = files.iter().map(|file| (file.sha256.as_str(), file)).collect();
    for (name, file) in contents {
        append(&mut tar, name, file.bytes, fs::File::open(cache_dir.join(&file.path))?)?;
        told(file.bytes)?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// One file of a tar, the same whenever it is written.
pub(super) fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_mtime(u64::try_from(hoist_image::LAYER_MTIME).unwrap_or_default());
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, content.take(bytes))
}

/// Who gets what is unpacked.
fn give(path: &Path, user: Option<User>) -> io::Result<()> {
    user.map_or(Ok(()), |user| lchown(path, Some(user.uid), Some(user.gid)))
}

/// Unpacks the files and links of a document, which was looked at before, into `dir`, which is empty. Every byte is checked before the next file is made.
pub(super) fn unpack(
    packed: impl Read,
    document: &Document,
    dir: &Path,
    user: Option<User>,
    told: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let damaged = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut wanted: BTreeMap<&str, Vec<&CacheFile>> = BTreeMap::new();
    for file in &document.files {
        wanted.entry(&file.sha256).or_default().push(file);
    }
    let mut made = BTreeSet::new();
    let mut decoder = zstd::Decoder::new(packed)?;
    decoder.window_log_max(27)?;
    let mut archive = tar::Archive::new(decoder);
    // Raw: what a longer name would be is not read into memory.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_plain = entry.header().entry_type() == tar::EntryType::Regular;
        let Some(files) = wanted.remove(name.as_str()).filter(|_| is_plain) else {
            return Err(damaged("its cache holds something that is not in its list".to_owned()));
        };
        let first = files[0];
        folder_of(dir, &first.path, user, &mut made)?;
        let place = dir.join(&first.path);
        let seen = write_checked(&mut entry, &place, first.bytes)?;
        if seen != first.sha256 {
            return Err(damaged(format!("{} should have the digest {} and has {seen}", first.path, first.sha256)));
        }
        for file in &files {
            let path = dir.join(&file.path);
            if path != place {
                folder_of(dir, &file.path, user, &mut made)?;
                fs::copy(&place, &path)?;
            }
            fs::set_permissions(&path, PermissionsExt::from_mode(if file.executable { 0o755 } else { 0o644 }))?;
            give(&path, user)?;
        }
        told(first.bytes)?;
    }
    // The end of the stream has the checksum of all of it.
    if io::copy(&mut archive.into_inner().take(MAX_REST_BYTES), &mut io::sink())? == MAX_REST_BYTES {
        return Err(damaged("its cache goes on behind its end".to_owned()));
    }
    if let Some((_, files)) = wanted.first_key_value() {
        return Err(damaged(format!("{} is in its list and not in its cache", files[0].path)));
    }
    for link in &document.links {
        folder_of(dir, &link.path, user, &mut made)?;
        symlink(&link.target, dir.join(&link.path))?;
        give(&dir.join(&link.path), user)?;
    }
    Ok(())
}

/// Makes the folders of a path.
fn folder_of(dir: &Path, path: &str, user: Option<User>, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let mut folders: Vec<&Path> =
        Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    for folder in folders {
        if !made.contains(folder) {
            fs::create_dir(dir.join(folder))?;
            give(&dir.join(folder), user)?;
            made.insert(folder.to_owned());
        }
    }
    Ok(())
}

/// Writes exactly so many bytes; the digest of what came.
fn write_checked(content: &mut impl Read, path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = fs::File::create_new(path)?;
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; BUFFER]);
    let mut content = content.take(bytes.saturating_add(1));
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish().0.hex());
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count])?;
    }
}
