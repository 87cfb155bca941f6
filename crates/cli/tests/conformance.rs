//! `docs/conformance.md` and `docs/diagnosis.md` can be believed: every row says how a sentence is met, not met or does not apply, and every test that it
//! names exists.
#![allow(clippy::expect_used)] // tests fail loudly

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies two folders down").to_owned()
}

/// Names of the functions below `#[test]` in a folder of sources.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs_err::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            tests_below(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs_err::read_to_string(&entry).expect("a source file is UTF-8");
            for after in text.split("#[test]").skip(1) {
                let name = after.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_test_that_the_table_of_conformance_names_exists() {
    let mut tests = BTreeSet::new();
    for name in fs_err::read_dir(root_dir().join("crates")).expect("the crates") {
        for folder in ["src", "tests"] {
            let dir = name.as_ref().expect("a crate").path().join(folder);
            if dir.is_dir() {
                tests_below(&dir, &mut tests);
            }
        }
    }
    assert!(tests.len() > 300 && tests.contains("every_test_that_the_table_of_conformance_names_exists"));
    for (file, least) in [("docs/conformance.md", 100), ("docs/diagnosis.md", 20)] {
        let text = fs_err::read_to_string(root_dir().join(file)).expect("the table");
        let (wrong, met) = look_at(&text, &tests);
        assert!(met > least, "{met} sentences of {file} are met");
        assert!(wrong.is_empty(), "{file}\n{}", wrong.join("\n"));
    }
}

/// What is wrong with a table, and how many of its rows are met.
fn look_at(text: &str, tests: &BTreeSet<String>) -> (Vec<String>, usize) {
    let (mut wrong, mut met) = (Vec::new(), 0);
    let heads = ["| the specification |", "| failure |"];
    let rows = text.lines().filter(|line| line.starts_with("| ") && !heads.iter().any(|head| line.starts_with(head)));
    for row in rows {
        let answer = row.trim_end_matches('|').trim_end().rsplit(" | ").next().unwrap_or_default();
        if let Some(names) = answer.strip_prefix("met: ") {
            met += 1;
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                if !tests.contains(name) {
                    wrong.push(format!("no test is called {name}: {row}"));
                }
            }
        } else if !["not yet: ", "does not apply: "]
            .iter()
            .any(|word| answer.strip_prefix(word).is_some_and(|why| why.len() > 10))
        {
            wrong.push(format!("neither met, nor not yet, nor does not apply, with a reason: {row}"));
        }
    }
    (wrong, met)
}
