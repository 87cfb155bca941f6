//! A base from a mirror of our own: that it is made alike each time, and what is said and left behind where it cannot be made.
#![allow(clippy::unwrap_used)] // tests

mod support;

use std::path::Path;

use hoist_base::{BaseRequest, ensure_base, find_base, resolve_lock};
use hoist_events::NullReporter;
use hoist_image::{PruneOptions, Store};
use support::fake::{self, Item, chain};
use support::{ensure, mirror, mirroring, request};

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
fn a_lock_whose_packages_are_gone_names_them_and_what_there_is_now() {
    let mut mirror = mirror();
    let dir = tempfile::tempdir().unwrap();
    let cache = |name: &str| dir.path().join(name);
    let lock = resolve_lock(&request("trixie"), &mirroring(&mirror, &mirror.file_uri(), &cache("a")), &NullReporter);
    let lock = lock.unwrap();
    for name in ["sed", "make"] {
        fs_err::remove_file(mirror.path(&format!("pool/main/{name}_1_amd64.deb"))).unwrap();
    }
    mirror.clear();
    mirror.package("sed", "2", "", &[]);
    mirror.publish("trixie", "");
    let store = Store::open(dir.path().join("store")).unwrap();
    let locked = BaseRequest { lock: Some(lock.clone()), ..request("trixie") };
    let fail = |archive: &str, name: &str| {
        let named = mirroring(&mirror, archive, &cache(name));
        let error = ensure_base(&store, &locked, &|| Ok(named.clone()), &NullReporter).unwrap_err();
        assert!(store.images().unwrap().is_empty() && store.records("base").unwrap().is_empty());
        (chain(&error), error.hint())
    };
    // Which of the two is missed first is a matter of chance.
    let (message, hint) = fail(&mirror.file_uri(), "b");
    let sed = "fetching sed 1 of the base lock: the mirror has it no more, but 2 (trixie); 36 more packages of the lock are gone from its index: the mirror has no file:";
    let make = "fetching make 1 of the base lock: the mirror has it no more, nor any other version; 36 more packages";
    assert!(message.starts_with(sed) || message.starts_with(make), "{message}");
    assert!(hint.contains("hoist base lock --update") && hint.contains("--mirror ADDRESS"), "{hint}");

    // Where there is no index either, the package is named all the same.
    fs_err::remove_file(mirror.path("dists/trixie/InRelease")).unwrap();
    let (message, _) = fail(&mirror.file_uri(), "c");
    assert!(message.contains(" 1 of the base lock: the mirror has it no more: the mirror has no file:"), "{message}");

    let mut foreign = lock;
    foreign.architecture = "arm64".into();
    let request = BaseRequest { lock: Some(foreign), ..request("trixie") };
    let error = ensure_base(&store, &request, &|| panic!("a mirror was asked"), &NullReporter).unwrap_err();
    assert_eq!(error.to_string(), "the lock names packages for arm64, and the base is to run on amd64");
}

#[test]
fn a_base_that_was_replaced_goes_with_the_next_prune_and_not_before() {
    let mut mirror = mirror();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let files = mirroring(&mirror, &mirror.file_uri(), &dir.path().join("cache"));
    let old = ensure(&store, "trixie", &files).unwrap();
    mirror.package("sed", "2", "", &[Item::File("./usr/bin/sed", b"newer")]);
    mirror.publish_dated("trixie", "Sun, 22 Nov 2026 02:10:46 UTC", "");
    assert_eq!(ensure(&store, "trixie", &files).unwrap(), old);
    let update = BaseRequest { update: true, ..request("trixie") };
    let new = ensure_base(&store, &update, &|| Ok(files.clone()), &NullReporter).unwrap();
    assert_ne!(new.run_image, old.run_image);
    let locked = BaseRequest { lock: Some(old.lock.clone()), ..request("trixie") };
    assert_eq!(find_base(&store, &locked).unwrap(), Some(old.clone()));
    drop(store);
    let store = Store::open(dir.path().join("store")).unwrap();
    let pruned = store.prune(PruneOptions::default()).unwrap();
    assert_eq!((pruned.images.len(), pruned.layers.len()), (2, 2));
    assert_eq!(find_base(&store, &locked).unwrap(), None);
    assert_eq!(find_base(&store, &request("trixie")).unwrap(), Some(new));
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
