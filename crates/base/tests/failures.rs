//! A base from a mirror of our own: that it is made alike each time, and what is said and left behind where it cannot be made.
#![allow(clippy::unwrap_used)] // tests

#[path = "../../debian/tests/fake/mod.rs"]
mod fake;

use std::path::Path;

use fake::{Item, Mirror, chain};
use hoist_base::{Base, BaseError, BaseRequest, Mirroring, ensure_base, resolve_lock};
use hoist_debian::{FetchOptions, Fetcher};
use hoist_events::NullReporter;
use hoist_image::Store;

const NAMES: [&str; 35] = [
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "findutils",
    "grep",
    "libbz2-1.0",
    "libc-bin",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libncursesw6",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "libstdc++6",
    "libuuid1",
    "mawk",
    "netbase",
    "sed",
    "tzdata",
    "zlib1g",
    "g++",
    "gcc",
    "git",
    "gzip",
    "libc6-dev",
    "make",
    "patch",
    "pkg-config",
    "tar",
];

fn mirror() -> Mirror {
    let mut mirror = Mirror::new();
    for name in NAMES {
        let path = format!("./usr/share/{name}/file");
        mirror.package(
            name,
            "1",
            "",
            &[Item::File(&path, name.as_bytes()), Item::File("./usr/share/man/man1/x", b"manual")],
        );
    }
    mirror.package(
        "xz-utils",
        "1",
        "",
        &[Item::Dir("./bin"), Item::File("./bin/xz", b"xz"), Item::Hard("./bin/unxz", "./bin/xz")],
    );
    mirror.package(
        "dash",
        "1",
        "",
        &[Item::Dir("./usr/bin"), Item::File("./usr/bin/dash", b"sh"), Item::Link("./bin", "usr/bin")],
    );
    mirror.publish("trixie", "");
    mirror
}

fn mirroring(mirror: &Mirror, archive: &str, cache: &Path) -> Mirroring {
    let named = hoist_debian::Mirror { archive: archive.to_owned(), security: None, check_valid_until: true };
    let silence = Some(std::time::Duration::from_millis(300));
    Mirroring {
        machine: Vec::new(),
        mirror: Some(named),
        keyring: mirror.keyring(),
        fetcher: Fetcher::new(FetchOptions { silence, ..FetchOptions::default() }),
        cache_dir: cache.to_owned(),
    }
}

fn request(suite: &str) -> BaseRequest {
    BaseRequest { suite: suite.to_owned(), architecture: "amd64".into(), ..BaseRequest::default() }
}

fn ensure(store: &Store, suite: &str, mirroring: &Mirroring) -> Result<Base, BaseError> {
    ensure_base(store, &request(suite), &|| Ok(mirroring.clone()), &NullReporter)
}

#[test]
fn the_same_packages_give_the_same_images_whatever_the_store_and_the_mirror() {
    let mirror = mirror();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("a")).unwrap();
    let files = mirroring(&mirror, &mirror.file_uri(), &dir.path().join("cache"));
    let base = ensure(&store, "trixie", &files).unwrap();
    let layer = &store.image(&base.run_image).unwrap().layers().unwrap()[0];
    let has = |path: &str| layer.entry(Path::new(path)).unwrap().is_some();
    assert!(has("/usr/share/bash/file") && has("/usr/bin/dash") && has("/bin") && has("/usr/bin/sh"));
    assert!(!has("/usr/share/man/man1/x") && !has("/usr/share/gcc/file"));

    let other = Store::open(dir.path().join("b")).unwrap();
    let served = mirroring(&mirror, &mirror.serve(false), &dir.path().join("other-cache"));
    assert_eq!(resolve_lock(&request("trixie"), &served, &NullReporter).unwrap(), base.lock);
    assert_eq!(ensure(&other, "trixie", &served).unwrap(), base);
    // Removed images are made again.
    other.remove_image(&base.build_image).unwrap();
    assert_eq!(ensure(&other, "trixie", &served).unwrap(), base);
}

#[test]
fn a_base_that_cannot_be_made_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = mirror();
    let store = Store::open(dir.path().join("store")).unwrap();
    let mut number = 0;
    let mut fail = |suite: &str, archive: &str, store: &Store| {
        number += 1;
        let error =
            ensure(store, suite, &mirroring(&mirror, archive, &dir.path().join(format!("cache{number}")))).unwrap_err();
        assert!(store.images().unwrap().is_empty() && store.records("base").unwrap().is_empty());
        let scratch = fs_err::read_dir(store.root_dir().join("scratch")).map_or(0, Iterator::count);
        assert_eq!(scratch, 0, "scratch is left behind");
        (chain(&error), error.hint())
    };
    let file = mirror.file_uri();

    let (message, hint) = fail("bogus", &file, &store);
    assert!(
        message.starts_with("looking up the packages of bogus: the mirror file:")
            && message.ends_with("has no suite `bogus`"),
        "{message}"
    );
    assert!(hint.contains("hoist config set mirror"), "{hint}");

    let (message, hint) = fail("trixie", "http://127.0.0.1:9", &store);
    assert!(message.contains("the index of trixie cannot be fetched: http://127.0.0.1:9/dists/trixie/InRelease could not be fetched in 4 attempts"), "{message}");
    assert!(hint.starts_with("check the network"), "{hint}");

    let pool = mirror.path("pool/main/xz-utils_1_amd64.deb");
    let good = fs_err::read(&pool).unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    fs_err::write(&pool, bad).unwrap();
    let (message, hint) = fail("trixie", &file, &store);
    assert!(
        message.starts_with("fetching the packages of a base: file:")
            && message.contains("is not what the signed index says"),
        "{message}"
    );
    assert!(hint.contains("the mirror is broken"), "{hint}");
    fs_err::remove_file(&pool).unwrap();
    let (message, _) = fail("trixie", &file, &store);
    assert!(message.contains("the mirror has no file:"), "{message}");
    fs_err::write(&pool, good).unwrap();

    mirror.sign("trixie", "Codename: trixie\n", &fake::new_key());
    let (message, hint) = fail("trixie", &file, &store);
    assert!(
        message.contains("the index of trixie from file:") && message.contains("is not believed: no trusted key"),
        "{message}"
    );
    assert!(hint.contains("do not use this mirror"), "{hint}");
}

#[test]
fn a_hostile_package_makes_no_base() {
    let mut mirror = mirror();
    mirror.package("libevil", "1", "", &[Item::File("./../x", b"x")]);
    mirror.package("sed", "2", "Depends: libevil\n", &[]);
    mirror.publish("trixie", "");
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let error =
        ensure(&store, "trixie", &mirroring(&mirror, &mirror.file_uri(), &dir.path().join("cache"))).unwrap_err();
    assert!(chain(&error).starts_with("unpacking the package libevil: the package "), "{}", chain(&error));
    assert!(error.hint().contains("do not use the mirror"));
    assert!(store.images().unwrap().is_empty());
}
