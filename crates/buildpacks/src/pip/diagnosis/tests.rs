//! Each symptom as the real uv shows it, and the page that a person reads.

use std::path::Path;

use super::*;
use crate::pip::requirements::read_requirements;

fn page(requirements: &str, said: &str, probe: &dyn Fn(Probe<'_>) -> Option<String>) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("requirements.txt"), requirements).unwrap();
    let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
    let python_reason = Some("chosen by .python-version");
    diagnose(&Evidence { text: said, tree: &tree, python_version: "3.11.7", python_reason, probe }).to_string()
}

fn none(_: Probe<'_>) -> Option<String> {
    None
}
