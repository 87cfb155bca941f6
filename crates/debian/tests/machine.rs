//! The machine's own Debian mirror: needs the network, and reads its address from /etc/apt.
#![allow(clippy::unwrap_used)] // tests

use std::path::{Path, PathBuf};

use hoist_debian::{
    Deb, DebCache, FetchOptions, Fetcher, Index, IndexRequest, Keyring, PackageFile, ResolveRequest, UnpackOptions,
    fetch_packages, native_architecture, read_apt_sources, resolve, sources_for, unpack_into,
};
use hoist_events::{Event, NullReporter, RecordingReporter};

/// Kept between runs below the target directory, so that an index is fetched once.
fn cache_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("debian-cache")
}

fn index(suite: &str, cache: &Path) -> Index {
    let machine = read_apt_sources(Path::new("/")).unwrap();
    let sources = sources_for(suite, &machine, None).unwrap();
    let keyring = Keyring::for_sources(Path::new("/"), &sources).unwrap();
    let request =
        IndexRequest { sources: &sources, architecture: native_architecture(), keyring: &keyring, cache_dir: cache };
    Index::load(&Fetcher::new(FetchOptions::from_environment()), &request, &NullReporter).unwrap()
}

#[test]
fn every_suite_gives_its_python() {
    for (suite, python) in
        [("bullseye", "python3.9"), ("bookworm", "python3.11"), ("trixie", "python3.13"), ("sid", "python3")]
    {
        let index = index(suite, &cache_dir());
        assert!(index.contains(python), "{suite}");
        let wanted = ResolveRequest { wanted: vec![python.into()], ..ResolveRequest::default() };
        let packages = resolve(&index, &wanted).unwrap().packages;
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        assert!(names.contains(&"libc6") && names.len() < 90, "{suite}: {names:?}");
        assert!(!index.releases()[0].date.is_empty());
    }
}

#[test]
fn a_package_is_fetched_checked_and_unpacked() {
    let index = index("trixie", &cache_dir());
    let package = index.candidate("zlib1g").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cache = DebCache::new(&dir.path().join("debs"));
    let fetcher = Fetcher::new(FetchOptions::from_environment());
    let recorder = RecordingReporter::default();
    let files = [PackageFile::from(&package)];
    let paths = fetch_packages(&fetcher, &files, &cache, &recorder).unwrap();
    assert!(
        matches!(recorder.events().last(), Some(Event::TransferFinished { done_bytes, .. }) if *done_bytes == package.size_bytes)
    );
    let control = Deb::open(&paths[0]).unwrap().control_files().unwrap();
    assert!(String::from_utf8_lossy(&control["control"]).starts_with("Package: zlib1g\n"));
    let keep = |path: &str| !path.starts_with("usr/share/doc");
    let options = UnpackOptions { filter: Some(&keep), rewrite: None };
    let unpacked = unpack_into(&paths[0], &dir.path().join("root"), &options).unwrap();
    assert!(unpacked.paths.iter().any(|path| path.ends_with("/libz.so.1")), "{unpacked:?}");
    // A damaged file in the cache is fetched again, an undamaged one is not.
    fs_err::write(&paths[0], vec![0; usize::try_from(package.size_bytes).unwrap()]).unwrap();
    fetch_packages(&fetcher, &files, &cache, &NullReporter).unwrap();
    let quiet = RecordingReporter::default();
    fetch_packages(&fetcher, &files, &cache, &quiet).unwrap();
    assert!(quiet.events().is_empty());
}
