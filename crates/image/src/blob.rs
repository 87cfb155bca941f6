//! Compressed layers, kept: what was compressed once is not compressed again.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::compress::{Compression, Encoder, decoder};
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::error::{Doing, StoreError};
use crate::layer::Layer;
use crate::store::Store;
use crate::tar_read::Skip;

/// A layer's encoded form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Digest of the encoded bytes.
    pub digest: Digest,
    /// How many there are.
    pub size_bytes: u64,
    /// How they are encoded.
    pub compression: Compression,
}

impl Layer {
    /// The layer's blob in that encoding: the one kept from before, or made now and kept. A loaded layer that has its original blob gives that one.
    pub fn blob(&self, compression: Compression) -> Result<Blob, StoreError> {
        self.blob_while(compression, &|| true)
    }

    /// The same; an error soon after `goes_on` is false.
    pub(crate) fn blob_while(&self, compression: Compression, goes_on: &dyn Fn() -> bool) -> Result<Blob, StoreError> {
        let store = self.store();
        store.session()?;
        if let Some(blob) = self.known_blob(compression)? {
            return Ok(blob);
        }
        let (temporary, file) = store.temporary_file()?;
        let blob = self.encode(compression, file, goes_on)?;
        let _locked = store.shared()?;
        fs::rename(&temporary.path, store.blob_path(&blob.digest)).doing("keeping a compressed layer")?;
        store.note_blob(self, &blob)?;
        Ok(blob)
    }

    /// The blob in that encoding (or the original one), where it is there.
    pub(crate) fn known_blob(&self, compression: Compression) -> Result<Option<Blob>, StoreError> {
        let store = self.store();
        if let Some(original) = self.meta().original
            && (original.compression == compression || compression == Compression::Gzip)
        {
            return Ok(Some(original));
        }
        let note = match fs::read(store.note_path(self, compression)) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("looking for a compressed layer", source)),
        };
        let Ok(blob) = serde_json::from_slice::<Blob>(&note) else {
            return Ok(None); // a torn note: the blob is made again
        };
        let path = store.blob_path(&blob.digest);
        let _locked = store.shared()?;
        let there = fs::symlink_metadata(&path).is_ok_and(|file| file.len() == blob.size_bytes);
        if there {
            durable::touch(&path).doing("marking a compressed layer as in use")?;
        }
        Ok(there.then_some(blob))
    }

    fn encode(&self, compression: Compression, file: fs::File, goes_on: &dyn Fn() -> bool) -> Result<Blob, StoreError> {
        let action = "compressing a layer";
        let out = Hashed { file, hasher: Hasher::default() };
        let mut encoder = Encoder::new(compression, out).doing(action)?;
        self.write_tar(&mut While { out: &mut encoder, goes_on })?;
        let out = encoder.finish().doing(action)?;
        out.file.sync_all().doing(action)?;
        let (digest, size_bytes) = out.hasher.finish();
        Ok(Blob { digest, size_bytes, compression })
    }
}

impl Store {
    /// Where a blob lies.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn note_path(&self, layer: &Layer, compression: Compression) -> PathBuf {
        let name = format!("{}.{}", layer.diff_id().hex(), compression.extension());
        self.path("made").join(name)
    }

    /// Remembers which blob a layer was compressed to. Call it with the lock shared.
    pub(crate) fn note_blob(&self, layer: &Layer, blob: &Blob) -> Result<(), StoreError> {
        let note = serde_json::to_vec(blob).map_err(|error| StoreError::corrupt("a note of a blob", error))?;
        self.write_document(&self.note_path(layer, blob.compression), &note)
    }
}

/// Copies the bytes that a blob holds, decoded; the blob's own digest is checked.
pub(crate) fn copy_decompressed(store: &Store, blob: &Blob, out: &mut dyn Write) -> Result<(), StoreError> {
    let action = "reading a compressed layer";
    let file = fs::File::open(store.blob_path(&blob.digest)).doing(action)?;
    let mut hashing = HashingReader { inner: file, hasher: Hasher::default() };
    let copied = decoder(&mut hashing).and_then(|(mut reader, _)| io::copy(&mut reader, out));
    let drained = io::copy(&mut hashing, &mut io::sink());
    let (seen, _) = hashing.hasher.finish();
    if seen != blob.digest {
        return Err(StoreError::CorruptBlob { expected: blob.digest, seen });
    }
    copied.and(drained).map(|_| ()).doing(action)
}

/// Copies a blob as it is, checking it. One that is damaged and can be made again is dropped, so that it is.
pub(crate) fn copy(store: &Store, digest: &Digest, size_bytes: u64, out: &mut dyn Write) -> Result<(), StoreError> {
    let action = "copying a compressed layer";
    let path = store.blob_path(digest);
    let file = fs::File::open(&path).doing(action)?;
    let mut hashing = HashingReader { inner: file, hasher: Hasher::default() };
    io::copy(&mut (&mut hashing).take(size_bytes), out).doing(action)?;
    let (seen, seen_bytes) = hashing.hasher.finish();
    if seen == *digest && seen_bytes == size_bytes {
        return Ok(());
    }
    let originals = store.all_layers()?.into_iter().filter_map(|layer| layer.meta().original);
    if originals.into_iter().all(|original| original.digest != *digest) {
        let _ = fs::remove_file(&path);
    }
    Err(StoreError::CorruptBlob { expected: *digest, seen })
}

/// Hashes what is read through it.
pub(crate) struct HashingReader<R> {
    pub(crate) inner: R,
    pub(crate) hasher: Hasher,
}

impl<R: io::Read> io::Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

impl<R: io::Read> Skip for HashingReader<R> {}

/// Hands on what is written as long as somebody wants it.
struct While<'a> {
    out: &'a mut dyn Write,
    goes_on: &'a dyn Fn() -> bool,
}

impl Write for While<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.goes_on)() { self.out.write(bytes) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes what is written to a file.
pub(crate) struct Hashed {
    pub(crate) file: fs::File,
    pub(crate) hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
