//! Archives that mean harm are refused, and nothing appears outside the store.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests may panic
mod support;

use std::io::{Read, Write};
use std::path::Path;

use fs_err as fs;
use hoist_image::{ArchiveFormat, Attributes, Compression, Digest, Kind, LoadError, LoadLimits, Loaded, Store};
use proptest::prelude::*;
use support::{Tar, chain, fresh, raw};

fn layer(fill: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    fill(&mut tar);
    tar.into_inner().unwrap()
}

/// A docker-archive whose configuration names `diff_ids` (those of the layers where none are given).
fn archive(layers: &[Vec<u8>], diff_ids: Option<Vec<String>>) -> Vec<u8> {
    let ids = diff_ids.unwrap_or_else(|| layers.iter().map(|layer| Digest::of(layer).to_string()).collect());
    let config =
        serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}})
            .to_string();
    let files: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["x:1"], "Layers": files}]).to_string();
    layer(|tar| {
        raw(tar, "manifest.json", b'0', "", manifest.as_bytes());
        raw(tar, "config.json", b'0', "", config.as_bytes());
        for (file, layer) in files.iter().zip(layers) {
            raw(tar, file, b'0', "", layer);
        }
    })
}

fn load(store: &Store, archive: &[u8]) -> Result<Vec<Loaded>, LoadError> {
    store.load_from(&mut &archive[..], LoadLimits::default())
}

/// The error with its sources.
fn refusal(fill: impl FnOnce(&mut Tar)) -> String {
    let (dir, store) = fresh();
    let error = load(&store, &archive(&[layer(fill)], None)).unwrap_err();
    assert!(!error.hint().is_empty());
    assert_eq!(store.all_layers().unwrap().len(), 0);
    assert_eq!(fs::read_dir(store.root_dir().join("scratch")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something lies beside the store");
    chain(&error)
}

#[test]
fn a_path_does_not_leave_the_layer() {
    assert!(refusal(|tar| raw(tar, "../../escape", b'0', "", b"x")).contains("it leaves its root"));
    assert!(refusal(|tar| raw(tar, "a/../../escape", b'5', "", b"")).contains("it leaves its root"));
    let through_a_link = refusal(|tar| {
        raw(tar, "d", b'2', "/tmp", b"");
        raw(tar, "d/escape", b'0', "", b"x");
    });
    assert!(through_a_link.contains("`/d` in it is not a directory"), "{through_a_link}");
    let replaced = refusal(|tar| {
        raw(tar, "d", b'5', "", b"");
        raw(tar, "d", b'2', "../../../..", b"");
        raw(tar, "d/escape", b'0', "", b"x");
    });
    assert!(replaced.contains("is not a directory"), "{replaced}");
    assert!(
        refusal(|tar| raw(tar, "passwd", b'1', "/etc/passwd", b""))
            .contains("the linked file `/etc/passwd` is not in it")
    );
    assert!(refusal(|tar| raw(tar, "passwd", b'1', "../../etc/passwd", b"")).contains("it leaves its root"));
}

#[test]
fn a_header_that_lies_is_refused() {
    assert!(refusal(|tar| raw(tar, "s", b'S', "", b"")).contains("a sparse file"));
    assert!(refusal(|tar| raw(tar, "x", b'x', "", b"99 GNU.sparse.major=1\n")).contains("extended header"));
    assert!(
        refusal(|tar| raw(tar, "x", b'x', "", &vec![b'1'; 2 << 20])).contains("an extended header of 2097152 bytes")
    );
    assert!(refusal(|tar| raw(tar, "odd", b'Z', "", b"")).contains("unknown type"));
    let endless = refusal(|tar| (0..40).for_each(|_| raw(tar, "x", b'x', "", b"9 path=a\n")));
    assert!(endless.contains("too many extended headers"), "{endless}");
}

#[test]
fn what_does_not_have_its_digest_is_refused() {
    let (_dir, store) = fresh();
    let good = layer(|tar| raw(tar, "a", b'0', "", b"x"));
    let other = Digest::of(b"other").to_string();
    let error = load(&store, &archive(std::slice::from_ref(&good), Some(vec![other.clone()]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("loading images: `0/layer.tar` should have the digest {other} and has {}", Digest::of(&good))
    );
    let error = load(&store, &archive(std::slice::from_ref(&good), Some(vec![]))).unwrap_err();
    assert_eq!(error.to_string(), "loading images: `config.json`: it names 0 layers, the archive has 1");
    let error = load(&store, &archive(&[], Some(vec![Digest::of(&good).to_string()]))).unwrap_err();
    assert!(matches!(error, LoadError::Document { .. }));
    assert!(matches!(load(&store, b"no tar at all").unwrap_err(), LoadError::Read { .. }));
    let empty = layer(|_| {});
    assert!(matches!(load(&store, &empty).unwrap_err(), LoadError::NotAnArchive { .. }));
    assert_eq!(store.names().unwrap(), []);
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let (_dir, store) = fresh();
    let zeros = layer(|tar| raw(tar, "zeros", b'0', "", &vec![0; 30 << 20]));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&zeros).unwrap();
    let packed = packed.finish().unwrap();
    let bomb = archive(&[packed], Some(vec![Digest::of(&zeros).to_string()]));
    assert!(bomb.len() < 1 << 20);
    let limits = LoadLimits { unpacked_bytes: 1 << 20, ..LoadLimits::default() };
    let error = store.load_from(&mut bomb.as_slice(), limits).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit_bytes: 1_048_576, .. }), "{error}");
    assert_eq!(load(&store, &bomb).unwrap().len(), 1);
    let limits = LoadLimits { archive_bytes: 1000, ..LoadLimits::default() };
    assert!(matches!(store.load_from(&mut bomb.as_slice(), limits).unwrap_err(), LoadError::TooLarge { .. }));
}

#[test]
fn a_layout_with_links_out_or_missing_blobs_is_refused() {
    let (dir, store) = fresh();
    let mut builder = store.layer_builder().unwrap();
    builder.file("/a", Attributes::root(0o644), &mut b"x".as_slice(), 1).unwrap();
    let made = builder.finish().unwrap();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [made.diff_id()]}});
    let image = store.put_image_bytes(config.to_string().into_bytes(), &[]).unwrap();
    let layout = dir.path().join("layout");
    image.save_to_dir(&layout, &[], Compression::Gzip).unwrap();
    let blob = layout.join("blobs/sha256").join(made.blob(Compression::Gzip).unwrap().digest.hex());
    let other = Store::open(dir.path().join("other")).unwrap();
    let outside = dir.path().join("outside");
    fs::rename(&blob, &outside).unwrap();
    let missing = other.load(&layout, LoadLimits::default()).unwrap_err();
    assert!(matches!(missing, LoadError::Missing { .. }), "{missing}");
    std::os::unix::fs::symlink(&outside, &blob).unwrap();
    let linked = other.load(&layout, LoadLimits::default()).unwrap_err();
    assert!(matches!(linked, LoadError::Missing { .. }), "{linked}");
    fs::remove_file(&blob).unwrap();
    let mut bytes = fs::read(&outside).unwrap();
    bytes[12] ^= 1;
    fs::write(&blob, bytes).unwrap();
    assert!(other.load(&layout, LoadLimits::default()).is_err());
    fs::copy(&outside, &blob).unwrap();
    assert_eq!(other.load(&layout, LoadLimits::default()).unwrap()[0].image.id(), image.id());
}

#[test]
fn a_layout_whose_folders_are_links_is_not_followed() {
    let (dir, store) = fresh();
    let made = saved(ArchiveFormat::Oci);
    let layout = dir.path().join("layout");
    fs::create_dir(&layout).unwrap();
    tar::Archive::new(made.as_slice()).unpack(&layout).unwrap();
    assert_eq!(store.load(&layout, LoadLimits::default()).unwrap().len(), 1);
    fs::rename(layout.join("blobs"), dir.path().join("outside")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), layout.join("blobs")).unwrap();
    let other = Store::open(dir.path().join("other")).unwrap();
    let error = other.load(&layout, LoadLimits::default()).unwrap_err();
    assert!(matches!(error, LoadError::Missing { .. }), "{error}");
}

#[test]
fn many_names_in_little_space_are_stopped() {
    // folders without content: each takes a block of the disk
    let (_dir, store) = fresh();
    let folders = layer(|tar| (0..300).for_each(|number| raw(tar, &format!("d{number}"), b'5', "", b"")));
    let limits = LoadLimits { unpacked_bytes: 1 << 20, ..LoadLimits::default() };
    assert!(folders.len() < 1 << 20);
    let error = store.load_from(&mut archive(&[folders], None).as_slice(), limits).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
    // names of four kilobytes, as many as fit into memory
    let deep = format!("{}/", "n".repeat(250)).repeat(13);
    let path = |number: usize| format!("{deep}{number:0200}");
    let long = |number: usize| {
        let name = path(number);
        let record = format!("{} path={name}\n", name.len() + 11);
        layer(|tar| {
            raw(tar, "x", b'x', "", record.as_bytes());
            raw(tar, "x", b'0', "", b"");
        })
    };
    let one = long(0);
    let entry = one.len() - 1024;
    let mut many = Vec::new();
    for number in 0..(140 << 20) / (2 * path(0).len()) {
        many.extend_from_slice(&long(number)[..entry]);
    }
    many.extend_from_slice(&[0; 1024]);
    let error = load(&store, &archive(&[many], None)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("the names in it have more than 134217728 bytes together"), "{source}");
    // a size that no position can be added to
    for size in ["9223372036854775807", "18446744073709551615"] {
        let record = format!("{} size={size}\n", size.len() + 9);
        let said = refusal(|tar| {
            raw(tar, "x", b'x', "", record.as_bytes());
            raw(tar, "a", b'0', "", b"x");
        });
        assert!(said.contains("extended header"), "{said}");
    }
}

#[test]
fn whiteouts_concern_lower_layers_only_whatever_the_order() {
    let (_dir, store) = fresh();
    let tar = layer(|tar| {
        raw(tar, "dir/.wh.gone", b'0', "", b"");
        raw(tar, ".wh.again", b'0', "", b"");
        raw(tar, "again/new", b'0', "", b"n");
        raw(tar, "file", b'0', "", b"first");
        raw(tar, "file", b'0', "", b"second");
        raw(tar, ".wh.file", b'0', "", b"");
        raw(tar, "opaque/.wh..wh..opq", b'0', "", b"");
        raw(tar, "opaque/in", b'0', "", b"i");
        raw(tar, ".wh..wh.plnk", b'0', "", b"");
    });
    let loaded = load(&store, &archive(&[tar], None)).unwrap();
    let layer = loaded[0].image.layers().unwrap().remove(0);
    let kinds: Vec<(String, Kind)> = layer
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| matches!(entry.kind, Kind::Whiteout | Kind::Opaque))
        .map(|entry| (entry.path.display().to_string(), entry.kind))
        .collect();
    let expected = [("/again", Kind::Opaque), ("/dir/gone", Kind::Whiteout), ("/opaque", Kind::Opaque)];
    assert_eq!(kinds, expected.map(|(path, kind)| (path.to_owned(), kind)));
    assert_eq!(fs::read_to_string(layer.tree_dir().join("file")).unwrap(), "second");
    assert_eq!(store.verify(&loaded[0].image), []);
    let mut again = Vec::new();
    layer.write_tar(&mut again).unwrap();
    assert_eq!(Digest::of(&again), layer.diff_id().0);
}

/// Scanners unpack archives file by file and do not make what is not there.
#[test]
fn every_folder_of_an_archive_stands_before_what_is_in_it() {
    for format in [ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let mut made = std::collections::BTreeSet::from([Path::new("").to_owned()]);
        for entry in tar::Archive::new(saved(format).as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            assert!(made.contains(path.parent().unwrap()), "{format:?}: {}", path.display());
            if entry.header().entry_type().is_dir() {
                made.insert(path);
            }
        }
    }
}

/// An image saved as `format`, as bytes.
fn saved(format: ArchiveFormat) -> Vec<u8> {
    let (_dir, store) = fresh();
    let mut builder = store.layer_builder().unwrap();
    builder.file(format!("/{}/a", "n".repeat(120)), Attributes::root(0o644), &mut b"body".as_slice(), 4).unwrap();
    builder.symlink("/l", "a", Attributes::root(0o777)).unwrap();
    let made = builder.finish().unwrap();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [made.diff_id()]}});
    let image = store.put_image_bytes(config.to_string().into_bytes(), &[]).unwrap();
    let mut out = Vec::new();
    image.save(&mut out, &["x:1".parse().unwrap()], format, Compression::Gzip).unwrap();
    out
}

fn everything_below(dir: &Path) -> usize {
    let inside = |path: &Path| if path.is_dir() { everything_below(path) } else { 1 };
    fs::read_dir(dir).unwrap().map(|entry| inside(&entry.unwrap().path())).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_damaged_archive_is_the_same_image_or_an_error(oci: bool, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), do_cut: bool) {
        let mut bytes = saved(if oci { ArchiveFormat::Oci } else { ArchiveFormat::Docker });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if do_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (dir, store) = fresh();
        if let Ok(loaded) = load(&store, &bytes) {
            for one in loaded {
                prop_assert_eq!(store.verify(&one.image), []);
            }
        }
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        prop_assert_eq!(everything_below(&store.root_dir().join("scratch")), 0);
    }
}

/// A file that is made while it is read.
struct Pattern(u64);

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in &mut *buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.0 >> 60) as u8;
        }
        Ok(buffer.len())
    }
}

/// In a process of its own, because the peak is the process's.
#[test]
#[allow(clippy::disallowed_methods)] // starts itself
fn a_large_layer_is_made_saved_and_loaded_in_little_memory() {
    if std::env::var_os("HOIST_TEST_MEMORY").is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["a_large_layer_is_made_saved_and_loaded_in_little_memory", "--exact", "--nocapture"])
            .env("HOIST_TEST_MEMORY", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let (dir, store) = fresh();
    let size = 170 << 20; // more than may be used
    let mut builder = store.layer_builder().unwrap();
    builder.file("/big", Attributes::root(0o644), &mut Pattern(1).take(size), size).unwrap();
    let made = builder.finish().unwrap();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [made.diff_id()]}});
    let image = store.put_image_bytes(config.to_string().into_bytes(), &[]).unwrap();
    let archive = dir.path().join("a.tar");
    image.save_to_file(&archive, &[], ArchiveFormat::Oci, Compression::Gzip).unwrap();
    made.blob(Compression::Zstd).unwrap();
    let other = Store::open(dir.path().join("other")).unwrap();
    other.load(&archive, LoadLimits::default()).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let kilobytes: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    println!("peak {kilobytes} kB");
    assert!(kilobytes < 150_000, "{peak}");
}
