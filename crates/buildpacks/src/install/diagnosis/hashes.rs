//! A file of a package with another hash than the lock or the requirements say.

use super::text::{between, split_requirement};
use super::{DOING, Evidence};
use crate::failure::Failure;

/// Locks, and what makes them anew for one package.
const RELOCK: &[(&str, &str)] = &[
    ("uv.lock", "uv lock --upgrade-package {name}"),
    ("poetry.lock", "poetry update --lock {name}"),
    ("pdm.lock", "pdm update --no-sync {name}"),
    ("Pipfile.lock", "pipenv upgrade {name}"),
    ("pylock.toml", "hoist check --lock pylock.toml . (without the old one), or the tool that wrote it"),
];
/// Who wrote a list with hashes says so in its first lines, and how.
const MAX_HEADER_LINES: usize = 8;

/// A file with another hash.
pub(super) fn hash_mismatch(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (what, expected, computed) = of_uv(flat).or_else(|| of_pip(flat))?;
    let name = split_requirement(what).0;
    let seen = evidence.place(name);
    let (lock, relock) = relock(evidence, name);
    let failure = Failure::new(
        DOING,
        seen,
        format!("the index gives {what} with another hash than {lock} allows"),
        format!(
            "look why: the makers never change a published file, so ask who keeps the index; then lock again: {relock}"
        ),
    );
    let failure = failure
        .and_seen(format!("wanted {expected}"))
        .and_seen(format!("got    {computed}"))
        .and_why("the file is another one of this version (a mirror or a private index that made its own), or somebody tampered with it");
    let failure = if lock == "the list" {
        failure.and_fix(format!("or write the hash of the file that you trust: --hash={computed}"))
    } else {
        failure
    };
    Some(failure.of_kind("hash-mismatch"))
}

/// What was fetched, the hash that was wanted, and the one that it has.
fn of_uv(flat: &str) -> Option<(&str, String, String)> {
    let what = between(flat, "Hash mismatch for `", "`")?;
    let expected = between(flat, "Expected: ", " Computed:").unwrap_or("?").to_owned();
    let computed = flat.split_once("Computed: ").map_or("?", |(_, rest)| rest.split(' ').next().unwrap_or("?"));
    Some((what, expected, computed.to_owned()))
}

/// pip's words for it: `flask==3.0.0 from https://…: Expected sha256 00 Got 01`.
fn of_pip(flat: &str) -> Option<(&str, String, String)> {
    let (_, rest) = flat.split_once("DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE")?;
    let (before, _) = rest.split_once(" from ").or_else(|| rest.split_once(" (from "))?;
    let what = before.rsplit(' ').next()?;
    let expected = between(rest, "Expected ", " Got").unwrap_or("?").replacen(' ', ":", 1);
    let computed = rest.split_once(" Got ").and_then(|(_, got)| got.split_whitespace().next()).unwrap_or("?");
    Some((what, expected, format!("sha256:{computed}")))
}

/// The file that has the hash, in words, and the command that makes it anew.
fn relock(evidence: &Evidence<'_>, name: &str) -> (String, String) {
    let name = crate::pip::requirements::normalize(name);
    let files = &evidence.tree.files;
    let first = files.first().map(|file| file.path.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some((file, command)) = RELOCK.iter().find(|(file, _)| first.ends_with(file)) {
        return ((*file).to_owned(), command.replace("{name}", &name));
    }
    // pip-compile and uv write their command into the head of what they write.
    let said = files.iter().find_map(|file| {
        let head = || file.text.lines().take(MAX_HEADER_LINES).map(|line| line.trim_start_matches('#').trim());
        head().find(|line| {
            ["pip-compile ", "uv pip compile ", "uv export ", "poetry export "]
                .iter()
                .any(|tool| line.starts_with(tool))
        })
    });
    let command = said.unwrap_or("uv pip compile --generate-hashes requirements.in -o requirements.txt");
    ("the list".to_owned(), command.to_owned())
}
