//! A mirror with all packages that a base wants, each of a few bytes, and bases made from it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // each test binary uses a part of it

#[path = "../../../debian/tests/fake/mod.rs"]
pub mod fake;

use std::path::Path;

use fake::{Item, Mirror};
use hoist_base::{Base, BaseError, BaseRequest, Mirroring, ensure_base};
use hoist_debian::{FetchOptions, Fetcher, Keyring};
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

pub fn mirror() -> Mirror {
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

pub fn mirroring(mirror: &Mirror, archive: &str, cache: &Path) -> Mirroring {
    mirroring_with(mirror.keyring(), archive, cache)
}

pub fn mirroring_with(keyring: Keyring, archive: &str, cache: &Path) -> Mirroring {
    let named = hoist_debian::Mirror { archive: archive.to_owned(), security: None, check_valid_until: true };
    let silence = Some(std::time::Duration::from_millis(300));
    Mirroring {
        machine: Vec::new(),
        mirror: Some(named),
        keyring,
        fetcher: Fetcher::new(FetchOptions { silence, ..FetchOptions::default() }),
        cache_dir: cache.to_owned(),
    }
}

pub fn request(suite: &str) -> BaseRequest {
    BaseRequest { suite: suite.to_owned(), architecture: "amd64".into(), ..BaseRequest::default() }
}

pub fn ensure(store: &Store, suite: &str, mirroring: &Mirroring) -> Result<Base, BaseError> {
    ensure_base(store, &request(suite), &|| Ok(mirroring.clone()), &NullReporter)
}
