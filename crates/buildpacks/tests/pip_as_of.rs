//! Packages as the index had them on a day, with the real uv and an index on this machine that knows when its files came.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use support::{Bench, TestIndex};

/// 1 March of 2021 and of 2023.
const OLD: u64 = 1_614_556_800;
const NEW: u64 = 1_677_628_800;

fn came(path: &Path, seconds: u64) {
    let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    file.file().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// An app whose index has `tool` 1 of 2021 and 2 of 2023.
fn bench(kind: &str) -> (Bench, TestIndex) {
    let mut bench = Bench::with_shared_cache();
    came(&bench.wheel("tool", "1", &[("tool.py", b"version = 1")]), OLD);
    came(&bench.wheel("tool", "2", &[("tool.py", b"version = 2")]), NEW);
    bench.built("");
    let index = TestIndex::over(&bench.path("wheels"));
    // Each test has an address of its own, so that none sees what uv remembers of another's.
    bench.set("PIP_INDEX_URL", format!("{}/{kind}/simple", index.http));
    (bench, index)
}

fn version(bench: &Bench) -> String {
    bench.prints("import tool; print(tool.version)")
}

fn refused(bench: &Bench, requirements: &str) -> String {
    let (code, said) = bench.build(requirements);
    assert_eq!(code, 1, "{said}");
    said[said.find("Error while").unwrap()..].to_owned()
}

#[test]
fn packages_are_those_of_the_day() {
    let (mut bench, _index) = bench("dated");
    bench.set("BP_AS_OF", "2022-06-01");
    let said = bench.built("tool");
    assert!(said.contains("as the index was on 2022-06-01"), "{said}");
    assert_eq!(version(&bench), "1");
    let said = bench.built("tool");
    assert!(said.contains("unchanged"), "{said}");
    // The day itself counts to its end.
    bench.set("BP_AS_OF", "2023-03-01");
    let said = bench.built("tool");
    assert!(said.contains("installing anew: the index settings changed"), "{said}");
    assert_eq!(version(&bench), "2");
    bench.set("BP_AS_OF", "2023-02-28");
    bench.built("tool");
    assert_eq!(version(&bench), "1");
    bench.set("BP_AS_OF", "");
    bench.built("tool");
    assert_eq!(version(&bench), "2");
}

#[test]
fn what_came_later_is_named_with_its_day() {
    let (mut bench, _index) = bench("dated");
    bench.set("BP_AS_OF", "2022-06-01");
    let page = refused(&bench, "tool>=2\n");
    assert!(page.contains("requirements.txt line 1: tool>=2"), "{page}");
    assert!(
        page.contains(
            "on 2022-06-01 (BP_AS_OF) the index had no version of tool that fits; tool 2 fits and came on 2023-03-01"
        ),
        "{page}"
    );
    assert!(page.contains("take a later day (--as-of 2023-03-01)"), "{page}");
}

#[test]
fn an_index_without_dates_is_named() {
    let (mut bench, _index) = bench("undated");
    bench.set("BP_AS_OF", "2022-06-01");
    let page = refused(&bench, "tool\n");
    assert!(page.contains("the index does not say when tool-"), "{page}");
    assert!(page.contains("leave BP_AS_OF out"), "{page}");
}

#[test]
fn what_is_no_day_is_refused_before_anything_is_installed() {
    let (mut bench, _index) = bench("dated");
    bench.set("BP_AS_OF", "01.06.2022");
    let page = refused(&bench, "tool\n");
    assert!(page.contains("BP_AS_OF is `01.06.2022`") && page.contains("2022-06-01T12:00:00Z"), "{page}");
}

#[test]
fn an_old_app_that_fails_today_is_told_of_its_own_day_when_that_works() {
    let (mut bench, _index) = bench("dated");
    // A release that cannot be built.
    let sdist = bench.path("wheels/tool-3.tar.gz");
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        fs_err::File::create(&sdist).unwrap(),
        flate2::Compression::fast(),
    ));
    for (name, text) in [
        (
            "tool-3/pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
        ),
        ("tool-3/backend.py", "raise SystemExit(\"it does not build\")\n"),
        ("tool-3/PKG-INFO", "Metadata-Version: 2.1\nName: tool\nVersion: 3\n"),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    bench.set("HOIST_APP_DATE", "2022-06-01");
    let page = refused(&bench, "tool\n");
    assert!(page.contains("--as-of 2022-06-01 (or BP_AS_OF=2022-06-01)"), "{page}");
    // On a day before its packages there was nothing: then the day is no way out, and nothing is proposed.
    bench.set("HOIST_APP_DATE", "2020-06-01");
    let page = refused(&bench, "tool\n");
    assert!(!page.contains("--as-of"), "{page}");
}
