//! Reads package files: an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*` (deb(5)).
//!
//! Streams: nothing is held in memory but what a decoder needs. A path that is absolute, goes up, or is no UTF-8 refuses the whole
//! package. What becomes of the entries is the visitor's business.

use fs_err::File;
use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Limits for one package.
const ENTRY_LIMIT: u64 = 200_000;
const CONTENT_LIMIT_BYTES: u64 = 8 << 30;
const CONTROL_LIMIT_BYTES: u64 = 32 << 20;
const PATH_LIMIT_BYTES: usize = 4096;
const DECODER_MEMORY_BYTES: u64 = 256 << 20;

/// What an entry of a package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file and its length.
    File {
        /// In bytes.
        size_bytes: u64,
    },
    /// A symbolic link and where it points, as written.
    Symlink {
        /// As written.
        target: String,
    },
    /// Another name of a file that came before.
    HardLink {
        /// Path of that file, as [`Entry::path`].
        target: String,
    },
}

/// An entry of a package's file tree.
pub struct Entry<'a> {
    /// Relative path without `./`, `..` or a slash at either end; empty for the root itself.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content, of a file.
    pub content: &'a mut dyn Read,
}

/// A package file.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    control: Member,
    data: Member,
}

/// A member of the `ar` archive.
#[derive(Debug, Clone)]
struct Member {
    offset: u64,
    size_bytes: u64,
    /// What stands behind `.tar`: `.xz`.
    packing: String,
}

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// A file cannot be read.
    #[error("the package {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no package.
    #[error("{} is no Debian package: {problem}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// An entry may not be.
    #[error("the package {} has an entry that is refused, `{entry}`: {problem}", path.display())]
    Entry {
        /// Which.
        path: PathBuf,
        /// Its path, as written.
        entry: String,
        /// Why.
        problem: &'static str,
    },
    /// It is too large.
    #[error("the package {} is larger than allowed: {problem}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// In what respect.
        problem: String,
    },
}

impl DebError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "remove the file and run the command again, which fetches it anew".into(),
            _ => "the package is damaged or hostile: do not use the mirror that it came from".into(),
        }
    }
}

impl Deb {
    /// Opens a package file and finds its parts.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        let read = |source| DebError::Read { path: path.to_owned(), source };
        let format = |problem: &str| DebError::Format { path: path.to_owned(), problem: problem.to_owned() };
        let mut file = BufReader::with_capacity(512, File::open(path).map_err(read)?);
        let length = file.get_ref().metadata().map_err(read)?.len();
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(|_| format("it is too short"))?;
        if &magic != b"!<arch>\n" {
            return Err(format("it does not begin as an ar archive"));
        }
        let (mut control, mut data, mut offset) = (None, None, 8);
        for _ in 0..16 {
            let mut header = [0; 60];
            if offset >= length || file.read_exact(&mut header).is_err() {
                break;
            }
            let text = std::str::from_utf8(&header).map_err(|_| format("a member's header is no text"))?;
            let name = text.get(..16).unwrap_or("").trim_end().trim_end_matches('/');
            let size_bytes: u64 = text
                .get(48..58)
                .unwrap_or("")
                .trim_end()
                .parse()
                .map_err(|_| format("a member's length is no number"))?;
            offset += 60;
            if size_bytes > length.saturating_sub(offset) {
                return Err(format("a member is cut off"));
            }
            let member = |packing: &str| Some(Member { offset, size_bytes, packing: packing.to_owned() });
            if let Some(packing) = name.strip_prefix("control.tar") {
                control = control.or_else(|| member(packing));
            } else if let Some(packing) = name.strip_prefix("data.tar") {
                data = data.or_else(|| member(packing));
            }
            offset += size_bytes + size_bytes % 2;
            file.seek(SeekFrom::Start(offset)).map_err(read)?;
        }
        let control = control.ok_or_else(|| format("it has no control.tar"))?;
        let data = data.ok_or_else(|| format("it has no data.tar"))?;
        Ok(Self { path: path.to_owned(), control, data })
    }

    /// The files of its control archive by name: `control`, `conffiles`, `md5sums`, `postinst`, …
    pub fn control_files(&self) -> Result<BTreeMap<String, Vec<u8>>, DebError> {
        let mut files = BTreeMap::new();
        let mut total = 0;
        self.walk(&self.control, &mut |entry: Entry<'_>| {
            if let EntryKind::File { size_bytes } = entry.kind {
                total += size_bytes;
                if total > CONTROL_LIMIT_BYTES {
                    return Err(DebError::TooLarge {
                        path: self.path.clone(),
                        problem: "its control files exceed 32 MiB".into(),
                    });
                }
                let mut content = Vec::new();
                entry
                    .content
                    .read_to_end(&mut content)
                    .map_err(|source| DebError::Read { path: self.path.clone(), source })?;
                files.insert(entry.path, content);
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Calls `visit` for each entry of the file tree, in the package's order. Stops at the first error, whoever's it is.
    pub fn visit<E: From<DebError>>(&self, visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>) -> Result<(), E> {
        self.walk(&self.data, visit)
    }

    fn walk<E: From<DebError>>(
        &self,
        member: &Member,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = |source| DebError::Read { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(read)?;
        file.seek(SeekFrom::Start(member.offset)).map_err(read)?;
        let mut archive =
            tar::Archive::new(self.unpacked(file.take(member.size_bytes), &member.packing)?.take(CONTENT_LIMIT_BYTES));
        let (mut count, mut long_name, mut long_link) = (0, None, None);
        // Raw, because the crate would read a long name into memory however long it claims to be.
        for entry in archive.entries().map_err(read)?.raw(true) {
            let mut entry = entry.map_err(read)?;
            count += 1;
            if count > ENTRY_LIMIT {
                let problem = format!("it has more than {ENTRY_LIMIT} entries");
                return Err(DebError::TooLarge { path: self.path.clone(), problem }.into());
            }
            match entry.header().entry_type() {
                tar::EntryType::GNULongName => long_name = Some(self.long_name(&mut entry)?),
                tar::EntryType::GNULongLink => long_link = Some(self.long_name(&mut entry)?),
                _ => self.visit_entry(&mut entry, long_name.take(), long_link.take(), visit)?,
            }
        }
        Ok(())
    }

    /// The name that the next entry has, which is too long for its header.
    fn long_name(&self, entry: &mut impl Read) -> Result<Vec<u8>, DebError> {
        let mut name = Vec::new();
        let read = |source| DebError::Read { path: self.path.clone(), source };
        // One more than is allowed, and the null byte at its end.
        entry.take(PATH_LIMIT_BYTES as u64 + 2).read_to_end(&mut name).map_err(read)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn visit_entry<E: From<DebError>, R: Read>(
        &self,
        entry: &mut tar::Entry<'_, R>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.contained(&long_name.unwrap_or_else(|| entry.path_bytes().into_owned()))?;
        let refused = |problem| DebError::Entry { path: self.path.clone(), entry: path.clone(), problem };
        let link = long_link.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => EntryKind::File { size_bytes: entry.size() },
            tar::EntryType::Symlink => {
                let target = link.and_then(|target| String::from_utf8(target).ok());
                let target =
                    target.filter(|text| !text.is_empty() && !text.contains('\0') && text.len() <= PATH_LIMIT_BYTES);
                EntryKind::Symlink { target: target.ok_or_else(|| refused("its target is no text, or too long"))? }
            }
            tar::EntryType::Link => {
                EntryKind::HardLink { target: self.contained(&link.ok_or_else(|| refused("its target is missing"))?)? }
            }
            // Extended headers too: deb(5) knows none.
            _ => return Err(refused("it is neither file, directory nor link").into()),
        };
        let read = |source| DebError::Read { path: self.path.clone(), source };
        let mode = header.mode().map_err(read)? & 0o7777;
        let owner = |id: std::io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        let uid = owner(header.uid()).ok_or_else(|| refused("its owner is no number"))?;
        let gid = owner(header.gid()).ok_or_else(|| refused("its group is no number"))?;
        visit(Entry { path, kind, mode, uid, gid, content: entry })
    }

    fn unpacked(&self, packed: std::io::Take<File>, packing: &str) -> Result<Box<dyn Read>, DebError> {
        let read = |source| DebError::Read { path: self.path.clone(), source };
        let packed = BufReader::with_capacity(64 << 10, packed);
        Ok(match packing {
            ".xz" => {
                // The file's own SHA-256 was checked before: no further sum is needed.
                let flags = liblzma::stream::CONCATENATED | liblzma::stream::IGNORE_CHECK;
                let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_MEMORY_BYTES, flags)
                    .map_err(|error| read(error.into()))?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            ".zst" => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(read)?;
                decoder.window_log_max(27).map_err(read)?;
                Box::new(decoder)
            }
            ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            "" => Box::new(packed),
            other => {
                let problem = format!("it is packed as `{other}`, which is not known");
                return Err(DebError::Format { path: self.path.clone(), problem });
            }
        })
    }

    /// A path without `./` and slashes at its ends; refused where it leads out.
    fn contained(&self, raw: &[u8]) -> Result<String, DebError> {
        let shown = || String::from_utf8_lossy(&raw[..raw.len().min(200)]).into_owned();
        let refused = |problem| DebError::Entry { path: self.path.clone(), entry: shown(), problem };
        let text = std::str::from_utf8(raw).map_err(|_| refused("its name is no UTF-8"))?;
        if text.len() > PATH_LIMIT_BYTES || text.contains('\0') {
            return Err(refused("its name is too long or has a null byte"));
        }
        if text.starts_with('/') {
            return Err(refused("its path is absolute"));
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(refused("its path leads out of the package")),
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }
}
