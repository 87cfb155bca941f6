//! The bounds that staging keeps to, whoever sent the source.

/// How much a source may hold. Whatever is above is refused with an error that names the bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and symbolic links in all.
    pub entries: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files, unpacked.
    pub total_bytes: u64,
    /// Directories below each other.
    pub depth: usize,
    /// How many times larger than the archive its content may be; looked at above 64 MiB only, since small text packs very well.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 50_000, file_bytes: 2 << 30, total_bytes: 4 << 30, depth: 64, ratio: 200 }
    }
}
