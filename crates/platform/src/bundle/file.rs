//! The file of a bundle: a tar of four members in a fixed order, so that what it is can be told from its first kilobytes.

use std::io::{self, Read, Write};
use std::path::Path;

use fs_err as fs;
use hoist_image::Digest;

use super::collect::append;
use super::document::{BundleContents, Document, FORMAT, MAX_BYTES};
use super::error::BundleError;

pub(super) const MARK: &str = "hoist-bundle";
const DOCUMENT: &str = "bundle.json";
pub(super) const IMAGES: &str = "images.tar";
pub(super) const CACHE: &str = "cache.tar.zst";
/// The mark is a line of words and a digest.
const MAX_MARK_BYTES: u64 = 1 << 10;
/// What a member may have.
const MAX_MEMBER_BYTES: u64 = 64 << 30;

/// What stands at the beginning of a bundle.
#[derive(Debug)]
pub(super) struct Head {
    /// Hexadecimal digits of the digest of the document.
    pub(super) digest: String,
    pub(super) document: Document,
}

/// Writes a bundle from its parts, which are files.
pub(super) fn write(out: impl Write, document: &[u8], images: &Path, cache: &Path) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    let mark = format!("hoist bundle {FORMAT}\nsha256:{}\n", Digest::of(document).hex());
    append(&mut tar, MARK, mark.len() as u64, mark.as_bytes())?;
    append(&mut tar, DOCUMENT, document.len() as u64, document)?;
    for (name, path) in [(IMAGES, images), (CACHE, cache)] {
        let file = fs::File::open(path)?;
        append(&mut tar, name, file.metadata()?.len(), file)?;
    }
    tar.into_inner()?.flush()
}

/// Takes a part of a bundle: by its name, from a reader.
type TakePart<'a> = &'a mut dyn FnMut(&Head, &str, &mut dyn Read) -> Result<(), BundleError>;

/// Reads a bundle from its beginning; `each` gets the images and then the cache.
pub(super) fn read(path: &Path, each: TakePart<'_>) -> Result<Head, BundleError> {
    let (head, mut archive) = begin(path)?;
    let damaged = |problem: String| BundleError::damaged(path, problem);
    let mut entries = archive.entries().map_err(|error| damaged(error.to_string()))?.raw(true).skip(2);
    for wanted in [IMAGES, CACHE] {
        let entry = entries.next().ok_or_else(|| damaged(format!("it ends before {wanted}")))?;
        let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
        check_member(path, &entry, wanted, MAX_MEMBER_BYTES)?;
        let size = entry.size();
        let mut counted = Counted { inner: &mut entry, bytes: 0 };
        each(&head, wanted, &mut counted)?;
        io::copy(&mut counted, &mut io::sink()).map_err(|error| damaged(error.to_string()))?;
        if counted.bytes != size {
            return Err(damaged(format!("it ends in {wanted}")));
        }
    }
    Ok(head)
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// What a bundle is, from its beginning.
pub(super) fn read_head(path: &Path) -> Result<Head, BundleError> {
    begin(path).map(|(head, _)| head)
}

/// Reads the head, and gives the archive from its beginning.
fn begin(path: &Path) -> Result<(Head, tar::Archive<io::BufReader<fs::File>>), BundleError> {
    let failed = |source| BundleError::Read { path: path.to_owned(), source };
    let open = || fs::File::open(path).map(|file| tar::Archive::new(io::BufReader::with_capacity(1 << 20, file)));
    if fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(BundleError::NotABundle { path: path.to_owned() });
    }
    let mut archive = open().map_err(failed)?;
    let head = head_of(path, &mut archive)?;
    Ok((head, open().map_err(failed)?))
}

fn head_of(path: &Path, archive: &mut tar::Archive<io::BufReader<fs::File>>) -> Result<Head, BundleError> {
    let none = || BundleError::NotABundle { path: path.to_owned() };
    let damaged = |problem: String| BundleError::damaged(path, problem);
    // Raw: what a longer name would be is not read into memory.
    let mut entries = archive.entries().map_err(|_| none())?.raw(true);
    let mut mark = entries.next().ok_or_else(none)?.map_err(|_| none())?;
    if mark.path_bytes() != MARK.as_bytes() || mark.size() > MAX_MARK_BYTES {
        return Err(none());
    }
    let mut text = String::new();
    mark.read_to_string(&mut text).map_err(|error| damaged(error.to_string()))?;
    let mut lines = text.lines();
    let format = lines.next().and_then(|line| line.strip_prefix("hoist bundle ")).ok_or_else(none)?;
    if format != FORMAT.to_string() {
        return Err(BundleError::Format { path: path.to_owned(), found: format.chars().take(20).collect() });
    }
    let wanted = lines.next().unwrap_or_default().to_owned();
    let entry = entries.next().ok_or_else(|| damaged(format!("it ends before {DOCUMENT}")))?;
    let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
    check_member(path, &entry, DOCUMENT, MAX_BYTES)?;
    let mut bytes = Vec::new();
    let size = entry.size();
    entry.read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 != size {
        return Err(damaged(format!("it ends in {DOCUMENT}")));
    }
    let digest = Digest::of(&bytes);
    if digest.to_string() != wanted {
        return Err(damaged(format!("{DOCUMENT} should have the digest {wanted} and has {digest}")));
    }
    let wrong = |error: serde_json::Error| BundleError::hostile(path, format!("{DOCUMENT}: {error}"));
    let document: Document = serde_json::from_slice(&bytes).map_err(wrong)?;
    if let Some(problem) = document.problem() {
        return Err(BundleError::hostile(path, problem));
    }
    let machine = hoist_debian::native_architecture();
    if document.architecture != machine {
        return Err(BundleError::Architecture {
            path: path.to_owned(),
            found: document.architecture.chars().take(40).collect(),
            wanted: machine.to_owned(),
        });
    }
    Ok(Head { digest: digest.hex(), document })
}

fn check_member(path: &Path, entry: &tar::Entry<'_, impl Read>, wanted: &str, most: u64) -> Result<(), BundleError> {
    let is_it = entry.path_bytes() == wanted.as_bytes() && entry.header().entry_type() == tar::EntryType::Regular;
    if !is_it {
        return Err(BundleError::damaged(path, format!("where {wanted} should be there is something else")));
    }
    if entry.size() > most {
        return Err(BundleError::hostile(path, format!("{wanted} has more bytes than it may have")));
    }
    Ok(())
}

/// What a bundle holds. Its beginning is read and checked, and what follows is not.
pub fn inspect_bundle(path: &Path) -> Result<BundleContents, BundleError> {
    let Head { digest, document } = read_head(path)?;
    let bytes = fs::metadata(path).map_err(|source| BundleError::Read { path: path.to_owned(), source })?.len();
    Ok(document.contents(&digest, bytes))
}

impl Document {
    pub(super) fn contents(self, digest: &str, bytes: u64) -> BundleContents {
        BundleContents {
            digest: format!("sha256:{digest}"),
            bytes,
            cache_bytes: self.cache_bytes(),
            cache_files: self.files.len(),
            hoist: self.hoist,
            architecture: self.architecture,
            app: self.app,
            image_id: self.image_id,
            builder: self.builder,
            images: self.images,
            packages: self.packages,
        }
    }
}
