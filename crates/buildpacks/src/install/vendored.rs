//! Packages that lie in folders (`--find-links`). uv's cache knows them by the folder's path and the file's name, and the folder of every app has
//! the same path in a build: without being told otherwise, uv would install what another app had there, or what this one had before.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use fs_err as fs;

use crate::pip::requirements::normalize;

/// Names that are told to uv one by one.
const MAX_NAMES: usize = 500;

/// Has uv take the packages of these folders from the files that lie there now. A folder that cannot be read is uv's to complain of.
pub(crate) fn arguments(folders: impl Iterator<Item = PathBuf>) -> Vec<OsString> {
    let mut names = BTreeSet::new();
    for entry in folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        names.extend(entry.file_name().to_str().and_then(name_of_archive));
        if names.len() > MAX_NAMES {
            return vec!["--reinstall".into()];
        }
    }
    names.into_iter().flat_map(|name| ["--reinstall-package".into(), name.into()]).collect()
}

/// The normalised name of the distribution in a wheel or source distribution.
fn name_of_archive(file_name: &str) -> Option<String> {
    let name = if let Some(wheel) = file_name.strip_suffix(".whl") {
        wheel.split_once('-')?.0
    } else {
        let endings = [".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar.zst"];
        let stem = endings.iter().find_map(|ending| file_name.strip_suffix(ending))?;
        stem.rsplit_once('-')?.0
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (is_name && name.starts_with(|first: char| first.is_ascii_alphanumeric())).then(|| normalize(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_folders_are_taken_as_they_lie_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["Fixture_Shop-1.2-py3-none-any.whl", "two-words-0.1.tar.gz", "notes.txt", "--all-1.tar.gz", "x.whl"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let folders = [dir.path().to_owned(), dir.path().join("missing")];
        assert_eq!(
            arguments(folders.clone().into_iter()),
            ["--reinstall-package", "fixture-shop", "--reinstall-package", "two-words"]
        );
        for number in 0..=MAX_NAMES {
            fs::write(dir.path().join(format!("many{number}-1.tar.gz")), "").unwrap();
        }
        assert_eq!(arguments(folders.into_iter()), ["--reinstall"]);
    }
}
