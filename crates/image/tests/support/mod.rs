//! What the tests of several files share: entries of tars that nobody checked, small stores, and errors in words.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some of it")]

use hoist_image::oci::{ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder};
use hoist_image::{Attributes, Image, Layer, Store};

/// A tar that is made in memory.
pub(crate) type Tar = tar::Builder<Vec<u8>>;

/// An entry whose name is not checked by anyone.
pub(crate) fn raw(tar: &mut Tar, name: &str, flag: u8, link: &str, body: &[u8]) {
    let mut header = tar::Header::new_ustar();
    let bytes = header.as_mut_bytes();
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
    bytes[156] = flag;
    header.set_mode(0o755);
    header.set_size(body.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    tar.append(&header, body).unwrap();
}

/// An error with its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// A store of its own, and the folder that it lies in.
pub(crate) fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

/// A layer of one file.
pub(crate) fn layer(store: &Store, path: &str, body: &str) -> Layer {
    let mut builder = store.layer_builder().unwrap();
    builder.file(path, Attributes::root(0o644), &mut body.as_bytes(), body.len() as u64).unwrap();
    builder.finish().unwrap()
}

/// The configuration of an image of these layers.
pub(crate) fn config(layers: &[&Layer]) -> ImageConfiguration {
    let ids: Vec<String> = layers.iter().map(|layer| layer.diff_id().to_string()).collect();
    let rootfs = RootFsBuilder::default().typ("layers".to_owned()).diff_ids(ids).build().unwrap();
    ImageConfigurationBuilder::default().architecture("amd64").os("linux").rootfs(rootfs).build().unwrap()
}

/// An image of these layers, under a name.
pub(crate) fn image(store: &Store, name: &str, layers: &[&Layer]) -> Image {
    store.put_image(&config(layers), &[name.parse().unwrap()]).unwrap()
}
