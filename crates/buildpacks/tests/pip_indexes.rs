//! More than one index, with the real uv: who names them in pip's words gets pip's choice among them, the best version of all.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::{Bench, TestIndex};

/// An app whose first index has `tool` 2, and an index beside it that has `tool` 1, which uv by itself would take.
fn bench() -> (Bench, TestIndex, TestIndex, String) {
    let mut bench = Bench::with_shared_cache();
    bench.wheel("tool", "1", &[("tool.py", b"version = 1")]);
    fs_err::rename(bench.path("wheels"), bench.path("beside")).unwrap();
    bench.wheel("tool", "2", &[("tool.py", b"version = 2")]);
    bench.built("");
    let (first, beside) = (TestIndex::over(&bench.path("wheels")), TestIndex::over(&bench.path("beside")));
    bench.set("PIP_INDEX_URL", format!("{}/undated/simple", first.http));
    let address = format!("{}/undated/simple", beside.http);
    (bench, first, beside, address)
}

fn version(bench: &Bench) -> String {
    bench.prints("import tool; print(tool.version)")
}

#[test]
fn an_extra_index_of_a_variable_is_compared_with_the_first() {
    let (mut bench, _first, _beside, address) = bench();
    bench.set("PIP_EXTRA_INDEX_URL", address);
    bench.built("tool");
    assert_eq!(version(&bench), "2");
    bench.set("UV_INDEX_STRATEGY", "first-index");
    let said = bench.built("tool");
    assert!(said.contains("installing anew: the index settings changed"), "{said}");
    assert_eq!(version(&bench), "1");
}

#[test]
fn an_extra_index_of_a_requirements_file_is_compared_with_the_first() {
    let (mut bench, _first, _beside, address) = bench();
    bench.built(format!("--extra-index-url {address}\ntool\n"));
    assert_eq!(version(&bench), "2");
    bench.set("UV_INDEX_STRATEGY", "first-index");
    bench.built(format!("--extra-index-url {address}\ntool\n"));
    assert_eq!(version(&bench), "1");
}

#[test]
fn an_index_in_uvs_words_is_chosen_from_as_uv_does() {
    let (mut bench, _first, _beside, address) = bench();
    bench.set("UV_INDEX", address);
    bench.built("tool");
    assert_eq!(version(&bench), "1");
}
