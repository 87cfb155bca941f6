//! Channels that lie in the app: a folder named from its file (`./channel`), and the folder `vendor`, which buildpacks for conda take for the only
//! channel. Nothing out of the app is one, whatever links lead there.

use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use rattler_conda_types::Subdir;
use rattler_digest::{Sha256, compute_file_digest};

use crate::engine::hex;

/// The folder that holds the channel of an app that brings all its packages.
const VENDOR: &str = "./vendor";
/// The lists of packages, and what they are also written as.
const LISTS: [&str; 3] = ["repodata.json", "repodata.json.zst", "repodata.json.bz2"];

/// The folder of a channel that an app names by its path.
pub(crate) fn dir(root_dir: Option<&Path>, address: &str) -> Result<PathBuf, String> {
    let Some(root_dir) = root_dir.filter(|_| !address.starts_with('~')) else {
        return Err("a folder is named by its whole path".to_owned());
    };
    let outside =
        || "it lies outside of the app, and only the app's files are in the build: move it into the app".to_owned();
    let mut depth = 0_usize;
    for part in Path::new(address).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(outside)?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let missing = |_| format!("the app has no folder {address}");
    let root_dir = fs::canonicalize(root_dir).map_err(missing)?;
    let dir = fs::canonicalize(root_dir.join(address)).map_err(missing)?;
    if !dir.starts_with(&root_dir) {
        return Err(outside());
    }
    if !is_channel(&dir) {
        let here = Subdir::current().map_or("linux-64", |subdir| subdir.as_str());
        return Err(format!(
            "it has neither noarch/repodata.json nor {here}/repodata.json: `conda index {address}` writes them"
        ));
    }
    Ok(dir)
}

/// The folder `vendor` of an app, as a channel's address, where it is a channel.
pub fn vendored(root_dir: &Path) -> Option<&'static str> {
    dir(Some(root_dir), VENDOR).ok().map(|_| VENDOR)
}

/// What the channel in a folder says it has, as a hash of its lists.
pub(crate) fn digest(dir: &Path) -> String {
    let hashes = lists(dir).filter_map(|path| compute_file_digest::<Sha256>(path).ok());
    hashes.map(|hash| hex(&hash)).collect::<Vec<_>>().join("+")
}

fn is_channel(dir: &Path) -> bool {
    lists(dir).next().is_some()
}

fn lists(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let subdirs = Subdir::current().into_iter().chain([Subdir::NoArch]).map(|subdir| dir.join(subdir.as_str()));
    subdirs.flat_map(|subdir| LISTS.map(|name| subdir.join(name))).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_lies_in_the_app_and_has_a_list() {
        let dir_of = |root: &Path, address: &str| dir(Some(root), address);
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("app");
        for folder in ["app/mine/noarch", "app/empty", "other/noarch", "app/vendor"] {
            fs::create_dir_all(outer.path().join(folder)).unwrap();
        }
        for list in ["app/mine/noarch/repodata.json", "other/noarch/repodata.json"] {
            fs::write(outer.path().join(list), "{}").unwrap();
        }
        std::os::unix::fs::symlink("../other", root.join("link")).unwrap();
        assert_eq!(dir_of(&root, "./mine").unwrap(), fs::canonicalize(root.join("mine")).unwrap());
        assert_eq!(dir_of(&root, "./empty/../mine").unwrap(), dir_of(&root, "./mine").unwrap());
        for (address, why) in [
            ("../other", "outside of the app"),
            ("./mine/../../app/mine", "outside of the app"),
            ("./link", "outside of the app"),
            ("./gone", "the app has no folder ./gone"),
            ("./empty", "`conda index ./empty`"),
            ("~/mine", "its whole path"),
        ] {
            let said = dir_of(&root, address).unwrap_err();
            assert!(said.contains(why), "{address}: {said}");
        }
        assert_eq!(vendored(&root), None, "a folder of wheels is none");
        fs::create_dir(root.join("vendor/noarch")).unwrap();
        fs::write(root.join("vendor/noarch/repodata.json.zst"), "").unwrap();
        assert_eq!(vendored(&root), Some("./vendor"));
        assert_ne!(digest(&root.join("vendor")), digest(&root.join("mine")));
    }
}
