//! Taking files into a layer that lie on the host or in another layer: renamed, copied or linked.

use std::path::Path;

use fs_err as fs;

use crate::builder::{LayerBuilder, io, normal, write_new};
use crate::entry::{Attributes, Entry, Kind, LAYER_MTIME, Ownership};
use crate::error::LayerError;
use crate::layer::{Layer, open_nofollow};
use crate::place;

/// Whether a host file may be moved into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    Move,
    Copy,
}

impl LayerBuilder {
    /// Moves the file `host` into the layer: renamed where it lies on the store's file system and has one name, else copied and removed.
    pub fn adopt_file(
        &mut self,
        path: impl AsRef<Path>,
        attributes: Attributes,
        host: &Path,
    ) -> Result<&mut Self, LayerError> {
        self.take_file(path.as_ref(), attributes, host, Take::Move)
    }

    /// Adds a copy of the file `host`, which stays as it is.
    pub fn copy_file(
        &mut self,
        path: impl AsRef<Path>,
        attributes: Attributes,
        host: &Path,
    ) -> Result<&mut Self, LayerError> {
        self.take_file(path.as_ref(), attributes, host, Take::Copy)
    }

    /// Moves everything below `host_dir` to `image_dir`, which gets `host_dir`'s mode: folders, files and links with their modes. Sockets are
    /// left out as Go does, and so are an overlay's whiteouts: what they hide is not in this layer. The emptied folders stay behind.
    pub fn adopt_tree(
        &mut self,
        host_dir: &Path,
        image_dir: impl AsRef<Path>,
        owner: Ownership,
    ) -> Result<&mut Self, LayerError> {
        self.take_tree(host_dir, image_dir.as_ref(), owner, Take::Move)
    }

    /// As [`adopt_tree`](Self::adopt_tree), but copies: `host_dir` stays as it is.
    pub fn copy_tree(
        &mut self,
        host_dir: &Path,
        image_dir: impl AsRef<Path>,
        owner: Ownership,
    ) -> Result<&mut Self, LayerError> {
        self.take_tree(host_dir, image_dir.as_ref(), owner, Take::Copy)
    }

    /// Adds an entry of another layer under the same path, sharing the stored file.
    pub fn link_from(&mut self, layer: &Layer, path: impl AsRef<Path>) -> Result<&mut Self, LayerError> {
        let path = normal(path.as_ref())?;
        let Some(entry) = layer.entry(&path)?.cloned() else {
            return Err(LayerError::NoTarget { target: path.clone(), path });
        };
        self.link_entry(layer, &entry)
    }

    /// As [`link_from`](Self::link_from), for an entry that the caller has at hand. A hard link becomes a file, as in the Go lifecycle.
    pub fn link_entry(&mut self, layer: &Layer, entry: &Entry) -> Result<&mut Self, LayerError> {
        let kind = match &entry.kind {
            Kind::HardLink { target } => match layer.entry(target)? {
                Some(file) => file.kind.clone(),
                None => {
                    return Err(LayerError::NoTarget { path: entry.path.clone(), target: target.clone() });
                }
            },
            other => other.clone(),
        };
        let Kind::File { size_bytes, .. } = kind else {
            return self.add(&entry.path, entry.attributes, kind, LAYER_MTIME);
        };
        let stored = layer.file_path(entry);
        let (path, host) = self.make_room(&entry.path, &kind)?;
        if entry.mtime_secs != LAYER_MTIME || fs::hard_link(&stored, &host).is_err() {
            let mut content = fs::File::open(&stored).map_err(io(&path, "opening the stored file"))?;
            write_new(&host, &mut content, size_bytes).map_err(io(&path, "copying the stored file"))?;
            place::dress(&host, entry.attributes, &kind, LAYER_MTIME).map_err(io(&path, "setting its attributes"))?;
        }
        self.insert(path, entry.attributes, kind, LAYER_MTIME);
        Ok(self)
    }

    fn take_file(
        &mut self,
        path: &Path,
        attributes: Attributes,
        host: &Path,
        take: Take,
    ) -> Result<&mut Self, LayerError> {
        let metadata = fs::symlink_metadata(host).map_err(io(path, "looking at the file"))?;
        if !metadata.is_file() {
            return Err(LayerError::Path { path: host.to_owned(), reason: "it is not a regular file" });
        }
        self.take_regular(path, attributes, host, &metadata, take)?;
        Ok(self)
    }

    fn take_regular(
        &mut self,
        path: &Path,
        attributes: Attributes,
        host: &Path,
        metadata: &std::fs::Metadata,
        take: Take,
    ) -> Result<(), LayerError> {
        use std::os::unix::fs::MetadataExt;
        let size = metadata.len();
        let kind = Kind::File { size_bytes: size, crc32: 0 };
        let (path, place) = self.make_room(path, &kind)?;
        // a second name would let someone change the stored file later
        if take == Take::Copy || metadata.nlink() > 1 || fs::rename(host, &place).is_err() {
            let mut content = open_nofollow(host).map_err(io(&path, "opening the file"))?;
            let written = write_new(&place, &mut content, size).map_err(io(&path, "copying the file"))?;
            if written != size {
                return Err(LayerError::Size { path, expected_bytes: size, seen_bytes: written });
            }
            if take == Take::Move {
                fs::remove_file(host).map_err(io(&path, "removing the file that was moved"))?;
            }
        }
        place::dress(&place, attributes, &kind, LAYER_MTIME).map_err(io(&path, "setting its attributes"))?;
        self.insert(path, attributes, kind, LAYER_MTIME);
        Ok(())
    }

    fn take_tree(
        &mut self,
        host_dir: &Path,
        image_dir: &Path,
        owner: Ownership,
        take: Take,
    ) -> Result<&mut Self, LayerError> {
        let metadata = fs::symlink_metadata(host_dir).map_err(io(image_dir, "looking at the folder"))?;
        if !metadata.is_dir() {
            return Err(LayerError::Path { path: host_dir.to_owned(), reason: "it is not a folder" });
        }
        let mut waiting = vec![(host_dir.to_owned(), image_dir.to_owned())];
        self.take_entry(host_dir, image_dir, &metadata, owner, take)?;
        while let Some((host, image)) = waiting.pop() {
            if take == Take::Move {
                open_up(&host);
            }
            for entry in fs::read_dir(&host).map_err(io(&image, "listing the folder"))? {
                let entry = entry.map_err(io(&image, "listing the folder"))?;
                let (host, image) = (entry.path(), image.join(entry.file_name()));
                let metadata = entry.metadata().map_err(io(&image, "looking at the file"))?;
                self.take_entry(&host, &image, &metadata, owner, take)?;
                if metadata.is_dir() {
                    waiting.push((host, image));
                }
            }
        }
        Ok(self)
    }

    fn take_entry(
        &mut self,
        host: &Path,
        image: &Path,
        metadata: &std::fs::Metadata,
        owner: Ownership,
        take: Take,
    ) -> Result<(), LayerError> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let attributes = Attributes::new(owner.uid, owner.gid, metadata.mode() & 0o7777);
        let kind = metadata.file_type();
        if kind.is_file() {
            return self.take_regular(image, attributes, host, metadata, take);
        }
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(host).map_err(io(image, "reading the link"))?;
            Kind::Symlink { target }
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            return Ok(()); // an overlay's whiteout
        } else if kind.is_char_device() {
            Kind::CharacterDevice { major, minor }
        } else if kind.is_block_device() {
            Kind::BlockDevice { major, minor }
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            return Ok(()); // a socket
        };
        self.add(image, attributes, kind, LAYER_MTIME)?;
        Ok(())
    }
}

/// An ordinary user can list and empty its own folder only where the mode says so; the layer has the true mode already.
fn open_up(host: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let closed = fs::symlink_metadata(host).is_ok_and(|dir| dir.is_dir() && dir.permissions().mode() & 0o700 != 0o700);
    if closed {
        let _ = fs::set_permissions(host, PermissionsExt::from_mode(0o700)); // listing says what is wrong
    }
}
