//! The bills of materials of an environment, with the real uv: both formats, the same each time, and there again where an older hoist left only one.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use serde_json::{Value, json};
use support::Bench;

fn bench() -> Bench {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.offline();
    bench.wheel("hoist_billed", "1.2", &[("hoist_billed.py", b"")]);
    bench
}

fn bill(bench: &Bench, format: &str) -> (String, Value) {
    let text = fs_err::read_to_string(bench.path(&format!("layers/env.sbom.{format}.json"))).unwrap();
    let document = serde_json::from_str(&text).unwrap();
    (text, document)
}

#[test]
fn both_formats_say_what_is_installed_and_by_whom() {
    let bench = bench();
    bench.built("hoist_billed\n");
    let (_, cyclonedx) = bill(&bench, "cdx");
    assert_eq!(cyclonedx["metadata"]["tools"]["components"][0]["name"], "hoist/pip");
    assert_eq!(cyclonedx["components"].as_array().unwrap().len(), 1);
    assert_eq!(cyclonedx["components"][0]["purl"], "pkg:pypi/hoist-billed@1.2");
    let (_, spdx) = bill(&bench, "spdx");
    let creator = spdx["creationInfo"]["creators"][0].as_str().unwrap();
    assert!(creator.starts_with("Tool: hoist/pip-"), "{creator}");
    assert_eq!(spdx["packages"][0]["externalRefs"][0]["referenceLocator"], "pkg:pypi/hoist-billed@1.2");
    assert_eq!(spdx["packages"][0]["licenseDeclared"], "NOASSERTION");
}

#[test]
fn the_same_environment_has_the_same_bills_in_the_time_that_is_asked_for() {
    let mut bench = bench();
    bench.built("hoist_billed\n");
    let [(cyclonedx, _), (spdx, document)] = ["cdx", "spdx"].map(|format| bill(&bench, format));
    assert_eq!(document["creationInfo"]["created"], "1980-01-01T00:00:01Z");
    fs_err::remove_file(bench.path("layers/env.sbom.spdx.json")).unwrap();
    assert!(bench.built("hoist_billed\n").contains("unchanged"));
    assert_eq!(
        ["cdx", "spdx"].map(|format| bill(&bench, format).0),
        [cyclonedx.clone(), spdx],
        "a missing one is made"
    );

    fs_err::remove_dir_all(bench.path("layers/env")).unwrap();
    bench.set("SOURCE_DATE_EPOCH", "1700000000");
    bench.built("hoist_billed\n");
    assert_eq!(bill(&bench, "cdx").0, cyclonedx);
    assert_eq!(bill(&bench, "spdx").1["creationInfo"]["created"], json!("2023-11-14T22:13:20Z"));
}
