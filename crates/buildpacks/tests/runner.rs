//! The runner's own tests, with the machine's python3, and every other Python that is named in `HOIST_TEST_PYTHONS` (separated by `:`).

#[test]
#[allow(clippy::disallowed_methods)] // a test starts Python and reads which ones it shall
fn the_runner_passes_its_own_tests() {
    let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/runner");
    let more = std::env::var("HOIST_TEST_PYTHONS").unwrap_or_default();
    for python in std::iter::once("python3").chain(more.split(':').filter(|python| !python.is_empty())) {
        let output = std::process::Command::new(python)
            .args(["-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."])
            .current_dir(runner)
            .env_remove("PYTHONPATH")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("Ran 0 tests"), "{python}:\n{said}");
    }
}
