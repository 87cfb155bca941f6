//! Apps of a few files, and what is read of them.

use std::path::Path;

use super::Reading;
use crate::context::Context;
use crate::failure::Failure;

/// How a manager's module reads an app.
pub(crate) type Read = fn(&Context, &str) -> Result<Reading, Failure>;

/// A folder with these files.
pub(crate) fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    dir
}

pub(crate) fn context(dir: &Path, variables: &[(&str, &str)]) -> Context {
    Context {
        buildpack_dir: "/".into(),
        app_dir: dir.to_owned(),
        platform_dir: "/".into(),
        root_dir: "/".into(),
        environment: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        bindings: crate::Bindings::default(),
    }
}

/// What is read for a build with Python 3.13.
pub(crate) fn read_with(read: Read, dir: &tempfile::TempDir, variables: &[(&str, &str)]) -> Result<Reading, Failure> {
    read(&context(dir.path(), variables), "3.13.5")
}

/// The installer's lines.
#[track_caller]
pub(crate) fn lines(read: Read, dir: &tempfile::TempDir, variables: &[(&str, &str)]) -> Vec<String> {
    let reading = read_with(read, dir, variables).unwrap_or_else(|failure| panic!("{failure}"));
    let wanted = reading.wanted.unwrap();
    wanted.listed().unwrap().text.lines().map(str::to_owned).collect()
}
