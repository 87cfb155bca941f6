//! Tars of ordinary files: what is taken into a layer, and what is refused.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

mod support;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Attributes, Kind, Layer, LayerError, Store, TarFile, leads_out};
use proptest::prelude::*;
use support::{Tar, chain, raw};

struct World {
    dir: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn tar(&self, limit_bytes: u64, fill: impl FnOnce(&mut Tar)) -> TarFile {
        let mut tar = tar::Builder::new(Vec::new());
        fill(&mut tar);
        let path = self.dir.path().join("archive.tar");
        fs::write(&path, tar.into_inner().unwrap()).unwrap();
        TarFile::new(path, limit_bytes)
    }

    fn layer(&self, tar: &TarFile) -> Result<Layer, LayerError> {
        let mut builder = self.store.layer_builder()?;
        let dress = |_: &Path, kind: &Kind, mode: u32| match kind {
            Kind::Directory => Attributes::root(0o755),
            _ if mode & 0o111 != 0 => Attributes::root(0o755),
            _ => Attributes::root(0o644),
        };
        tar.add_to(&mut builder, &|path| Some(Path::new("/cnb/x").join(path)), &dress)?;
        builder.finish()
    }
}

#[test]
fn files_folders_and_links_lie_below_the_folder_with_the_attributes_that_were_chosen() {
    let world = World::new();
    let tar = world.tar(1 << 20, |tar| {
        raw(tar, "./", b'5', "", b"");
        raw(tar, "./bin/", b'5', "", b"");
        raw(tar, "./bin/build", b'0', "", b"#!/bin/sh");
        raw(tar, "./bin/detect", b'1', "./bin/build", b"");
        raw(tar, "./link", b'2', "bin/../bin/build", b"");
        raw(tar, "./buildpack.toml", b'0', "", b"api = \"0.10\"");
    });
    let layer = world.layer(&tar).unwrap();
    let paths: Vec<PathBuf> = layer.entries().unwrap().map(|entry| entry.unwrap().path).collect();
    let expected = [
        "/cnb",
        "/cnb/x",
        "/cnb/x/bin",
        "/cnb/x/bin/build",
        "/cnb/x/bin/detect",
        "/cnb/x/buildpack.toml",
        "/cnb/x/link",
    ];
    assert_eq!(paths, expected.map(PathBuf::from));
    assert_eq!(fs::read(layer.tree_dir().join("cnb/x/bin/detect")).unwrap(), b"#!/bin/sh");
    let found = tar.find(&["buildpack.toml", "extension.toml"], 100).unwrap();
    assert_eq!(found, Some(("buildpack.toml".to_owned(), b"api = \"0.10\"".to_vec())));
    assert_eq!(tar.find(&["extension.toml"], 100).unwrap(), None);
    assert!(chain(&tar.find(&["buildpack.toml"], 5).unwrap_err()).contains("it has 12 bytes, 5 are allowed"));
}

#[test]
fn what_means_harm_is_refused() {
    for (name, flag, link, why) in [
        ("../out", b'0', "", "it leaves its root through `..`"),
        ("link", b'2', "../out", "it is a symbolic link that leads out of the archive"),
        ("a/link", b'2', "../../out", "it is a symbolic link that leads out of the archive"),
        ("hard", b'1', "/etc/passwd", "the linked file `/cnb/x/etc/passwd` is not in it"),
        ("hard", b'1', "../../etc/passwd", "it leaves its root through `..`"),
        ("null", b'3', "", "it is a device"),
        ("disk", b'4', "", "it is a device"),
        ("pipe", b'6', "", "it is a named pipe"),
        (".wh.bin", b'0', "", "a name that begins with `.wh.` would delete files of the image below"),
        ("odd", b'Z', "", "an entry of the unknown type 90"),
    ] {
        let world = World::new();
        let tar = world.tar(1 << 20, |tar| raw(tar, name, flag, link, b""));
        let error = chain(&world.layer(&tar).unwrap_err());
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[test]
fn a_file_through_a_link_stays_in_the_layer() {
    let world = World::new();
    let tar = world.tar(1 << 20, |tar| {
        raw(tar, "etc", b'2', "/etc", b"");
        raw(tar, "etc/hoist-was-here", b'0', "", b"x");
    });
    let error = chain(&world.layer(&tar).unwrap_err());
    assert!(error.contains("is not a directory"), "{error}");
    assert!(!Path::new("/etc/hoist-was-here").exists());
}

#[test]
fn more_bytes_than_allowed_are_an_error() {
    let world = World::new();
    let tar = world.tar(4096, |tar| raw(tar, "big", b'0', "", &[0; 8192]));
    assert!(chain(&world.layer(&tar).unwrap_err()).contains("unpacked it is larger than"));
}

proptest! {
    /// Whoever follows a link that does not lead out stays below the folder.
    #[test]
    fn a_link_that_does_not_lead_out_stays_below(link in "[a-c](/[a-c]){0,3}", target in "([a-c]|\\.\\.|\\.)(/([a-c]|\\.\\.|\\.)){0,5}") {
        let mut place: Vec<&str> = link.split('/').collect();
        place.pop();
        let mut left = false;
        for part in target.split('/') {
            match part {
                ".." => left |= place.pop().is_none(),
                "." => {}
                name => place.push(name),
            }
        }
        prop_assert_eq!(leads_out(Path::new(&link), Path::new(&target)), left);
    }
}
