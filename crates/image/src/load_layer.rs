//! One layer of an archive: its tar becomes a tree and an index, under the diffID that the configuration promised.
//!
//! Where tree and index make the same tar again, that is all that is kept; else the blob it came as stays, because its bytes cannot be made again.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::blob::{Blob, Hashed, HashingReader};
use crate::builder::LayerBuilder;
use crate::compress::{Compression, Encoder, decoder};
use crate::digest::{DiffId, Digest, Hasher};
use crate::entry::{Attributes, Kind, normalize};
use crate::error::{LayerError, StoreError};
use crate::load::{LoadError, check_digest};
use crate::source::Source;
use crate::store::Store;
use crate::tar_read::{RawEntry, Skip, TarReader, bad};

/// What the smallest file or folder takes on a disk.
const DISK_BLOCK: u64 = 4096;

/// Where a layer is in the archive.
pub(crate) struct LayerSource {
    pub(crate) name: String,
    /// Digest and length of the member, where a manifest says them.
    pub(crate) blob: Option<(Digest, u64)>,
    /// Whether the member lies where the store keeps blobs.
    pub(crate) is_kept: bool,
}

/// Loads a layer; returns what it takes on the disk, roughly.
pub(crate) fn load_layer(
    store: &Store,
    source: &Source,
    diff_id: DiffId,
    layer: &LayerSource,
    left_bytes: u64,
    limit_bytes: u64,
) -> Result<u64, LoadError> {
    let (reader, size) = source.member(&layer.name, "manifest")?;
    if layer.blob.is_some_and(|(_, expected)| expected != size) {
        return Err(LoadError::Document {
            name: layer.name.clone(),
            problem: format!("it has {size} bytes, its descriptor says otherwise"),
        });
    }
    let (builder, compression, length) = unpack(store, reader, diff_id, layer, left_bytes, limit_bytes)?;
    // a name without content takes a block of the disk all the same
    let cost = length.max(DISK_BLOCK * builder.node_count() as u64);
    if cost > left_bytes {
        return Err(too_large(diff_id, limit_bytes));
    }
    let in_layer = |source| LoadError::Layer { diff_id, source };
    let (made_again, mut meta, builder) = builder.hash().map_err(in_layer)?;
    meta.size_bytes = length;
    let recreatable = made_again == diff_id;
    let keep = !recreatable || (layer.blob.is_some() && compression != Compression::None);
    let blob = match layer.blob {
        Some((digest, size_bytes)) if keep && layer.is_kept => Some(Blob { digest, size_bytes, compression }),
        _ if keep => Some(keep_blob(store, source, diff_id, layer, compression)?),
        Some((digest, _)) if layer.is_kept => {
            let _ = fs::remove_file(store.blob_path(&digest)); // plain, and can be made again
            None
        }
        _ => None,
    };
    meta.original = blob.filter(|_| !recreatable);
    let stored = builder.publish(diff_id, &meta).map_err(in_layer)?;
    if let Some(blob) = blob {
        let _locked = store.shared()?;
        store.note_blob(&stored, &blob)?;
    }
    Ok(cost)
}

/// Reads the whole member once, checking its digest and the diffID.
fn unpack(
    store: &Store,
    reader: Box<dyn Read>,
    diff_id: DiffId,
    layer: &LayerSource,
    left_bytes: u64,
    limit_bytes: u64,
) -> Result<(LayerBuilder, Compression, u64), LoadError> {
    let tar_error = |source| LoadError::LayerTar { diff_id, source };
    let mut outer = HashingReader { inner: reader, hasher: Hasher::default() };
    let (decoded, compression) = decoder(&mut outer).map_err(tar_error)?;
    let mut inner = HashingReader { inner: decoded.take(left_bytes.saturating_add(1)), hasher: Hasher::default() };
    let mut builder = LayerBuilder::begin_foreign(store)?;
    let mut tar = TarReader::new(&mut inner);
    let read = read_entries(&mut tar, &mut builder, diff_id);
    // behind the last entry there may be more blocks, and they count for the digest
    let drained = io::copy(tar.into_inner(), &mut io::sink());
    let (seen, length) = std::mem::take(&mut inner.hasher).finish();
    drop(inner);
    if length > left_bytes {
        return Err(too_large(diff_id, limit_bytes));
    }
    read?;
    drained.map_err(tar_error)?;
    io::copy(&mut outer, &mut io::sink()).map_err(tar_error)?;
    if let Some((expected, _)) = layer.blob {
        check_digest(&layer.name, expected, outer.hasher.finish().0)?;
    }
    check_digest(&layer.name, diff_id.0, seen)?;
    Ok((builder, compression, length))
}

fn too_large(diff_id: DiffId, limit_bytes: u64) -> LoadError {
    LoadError::TooLarge { what: format!("layer {diff_id} unpacked (with the layers before it)"), limit_bytes }
}

/// Copies the member into the blobs, compressing a plain one.
fn keep_blob(
    store: &Store,
    source: &Source,
    diff_id: DiffId,
    layer: &LayerSource,
    compression: Compression,
) -> Result<Blob, LoadError> {
    let (mut reader, _) = source.member(&layer.name, "manifest")?;
    let (temporary, file) = store.temporary_file()?;
    let written = (|| {
        let out = Hashed { file, hasher: Hasher::default() };
        // what is compressed already is copied as it is
        let encoding = if compression == Compression::None { Compression::Gzip } else { Compression::None };
        let mut encoder = Encoder::new(encoding, out)?;
        io::copy(&mut reader, &mut encoder)?;
        let out = encoder.finish()?;
        out.file.sync_all()?;
        let (digest, size_bytes) = out.hasher.finish();
        Ok(Blob {
            digest,
            size_bytes,
            compression: if compression == Compression::None { Compression::Gzip } else { compression },
        })
    })();
    let blob: Blob = written.map_err(|source| LoadError::LayerTar { diff_id, source })?;
    if let Some((expected, _)) = layer.blob.filter(|_| compression != Compression::None) {
        check_digest(&layer.name, expected, blob.digest)?;
    }
    let _locked = store.shared()?;
    fs::rename(&temporary.path, store.blob_path(&blob.digest))
        .map_err(|source| StoreError::io("keeping a layer's blob", source))?;
    Ok(blob)
}

fn read_entries(tar: &mut TarReader<impl Skip>, builder: &mut LayerBuilder, diff_id: DiffId) -> Result<(), LoadError> {
    let tar_error = |source| LoadError::LayerTar { diff_id, source };
    while let Some(raw) = tar.next_entry().map_err(tar_error)? {
        let path = normalize(&raw.name)
            .map_err(|bad| LayerError::Path { path: PathBuf::from(OsStr::from_bytes(&raw.name)), reason: bad.0 });
        let added = path.and_then(|path| add_entry(tar, builder, &raw, &path));
        added.map_err(|source| LoadError::Layer { diff_id, source })?;
    }
    Ok(())
}

fn add_entry(
    tar: &mut TarReader<impl Skip>,
    builder: &mut LayerBuilder,
    raw: &RawEntry,
    path: &Path,
) -> Result<(), LayerError> {
    let attributes = Attributes::new(raw.uid, raw.gid, raw.mode & 0o7777);
    if let Some(marker) = path.file_name().and_then(|name| name.as_bytes().strip_prefix(b".wh.")) {
        return add_marker(builder, path, marker);
    }
    let target = PathBuf::from(OsStr::from_bytes(&raw.link));
    let (major, minor) = (raw.major, raw.minor);
    let kind = match raw.flag {
        b'0' | b'7' | 0 if raw.name.ends_with(b"/") => Kind::Directory,
        b'0' | b'7' | 0 => {
            builder.file_with_mtime(path, attributes, tar, raw.size, raw.mtime_secs)?;
            return Ok(());
        }
        b'1' => {
            let target =
                normalize(&raw.link).map_err(|bad| LayerError::Path { path: path.to_owned(), reason: bad.0 })?;
            if builder.node(&target).is_none_or(|node| node.entry.kind == Kind::Directory) || target == path {
                return Err(LayerError::NoTarget { path: path.to_owned(), target });
            }
            Kind::HardLink { target }
        }
        b'2' => Kind::Symlink { target },
        b'3' => Kind::CharacterDevice { major, minor },
        b'4' => Kind::BlockDevice { major, minor },
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => {
            return Err(LayerError::Io {
                path: path.to_owned(),
                action: "reading its header",
                source: bad(format!("an entry of the unknown type {other}")),
            });
        }
    };
    let hidden = kind == Kind::Directory && builder.is_whiteout(path);
    builder.add(path, attributes, kind, raw.mtime_secs)?;
    if hidden {
        builder.opaque(path)?;
    }
    Ok(())
}

/// Whiteouts concern lower layers only: what this layer has at that path stays, a folder just hides what lies below it.
fn add_marker(builder: &mut LayerBuilder, path: &Path, marker: &[u8]) -> Result<(), LayerError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if marker == b".wh..opq" {
        builder.opaque_once(parent)?;
        return Ok(());
    }
    if marker.starts_with(b".wh.") || marker.is_empty() {
        return Ok(()); // bookkeeping of aufs
    }
    let hidden = parent.join(OsStr::from_bytes(marker));
    match builder.node(&hidden).map(|node| node.entry.kind == Kind::Directory) {
        Some(true) => builder.opaque_once(&hidden)?,
        Some(false) => {}
        None if builder.is_whiteout(&hidden) => {}
        None => _ = builder.whiteout(&hidden)?,
    }
    Ok(())
}
