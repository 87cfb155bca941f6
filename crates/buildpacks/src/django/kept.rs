//! What a run of `manage.py` changed in the app, kept in a layer and put back: files and links, wherever in the app they lie.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;

/// The folder of the layer that stands for the app.
const FILES: &str = "files";

/// How the files of an app look: length, time of the last change, inode.
pub(super) struct Snapshot(BTreeMap<PathBuf, (u64, i64, i64, u64)>);

impl Snapshot {
    pub(super) fn of(app_dir: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(app_dir) {
            let entry = entry?;
            if entry.file_type().is_dir() {
                continue;
            }
            let about = entry.path().symlink_metadata()?;
            let path = entry.path().strip_prefix(app_dir).unwrap_or(entry.path()).to_owned();
            files.insert(path, (about.len(), about.mtime(), about.mtime_nsec(), about.ino()));
        }
        Ok(Self(files))
    }

    /// What is new or other than in an older one.
    pub(super) fn changed_since(&self, old: &Self) -> Vec<&Path> {
        let is_changed = |(path, about): &(&PathBuf, &(u64, i64, i64, u64))| old.0.get(*path) != Some(about);
        self.0.iter().filter(is_changed).map(|(path, _)| path.as_path()).collect()
    }
}

/// Copies files of the app into the layer.
pub(super) fn keep(app_dir: &Path, paths: &[&Path], layer_dir: &Path) -> io::Result<()> {
    paths.iter().try_for_each(|path| copy(&app_dir.join(path), &layer_dir.join(FILES).join(path)))
}

/// Copies all that was kept back into the app.
pub(super) fn put_back(layer_dir: &Path, app_dir: &Path) -> io::Result<()> {
    let root = layer_dir.join(FILES);
    if !root.is_dir() {
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            copy(entry.path(), &app_dir.join(entry.path().strip_prefix(&root).unwrap_or(entry.path())))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if to.symlink_metadata().is_ok() {
        fs::remove_file(to)?;
    }
    let about = from.symlink_metadata()?;
    if about.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if about.is_file() {
        fs::copy(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_put_back_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (app, layer, again) = (dir.path().join("app"), dir.path().join("layer"), dir.path().join("again"));
        for app in [&app, &again] {
            fs::create_dir_all(app.join("shop")).unwrap();
            fs::write(app.join("shop/old.py"), "old").unwrap();
            fs::write(app.join("shop/changed.json"), "before").unwrap();
        }
        let before = Snapshot::of(&app).unwrap();
        fs::create_dir_all(app.join("static/css")).unwrap();
        fs::write(app.join("static/css/a.css"), "css").unwrap();
        fs::write(app.join("shop/changed.json"), "after").unwrap();
        symlink("css/a.css", app.join("static/link")).unwrap();
        let after = Snapshot::of(&app).unwrap();
        let changed = after.changed_since(&before);
        let wanted = ["shop/changed.json", "static/css/a.css", "static/link"];
        assert_eq!(changed, wanted.map(Path::new));
        keep(&app, &changed, &layer).unwrap();
        for _ in 0..2 {
            put_back(&layer, &again).unwrap();
        }
        assert_eq!(fs::read_to_string(again.join("static/css/a.css")).unwrap(), "css");
        assert_eq!(fs::read_to_string(again.join("shop/changed.json")).unwrap(), "after");
        assert_eq!(fs::read_link(again.join("static/link")).unwrap(), Path::new("css/a.css"));
        assert_eq!(Snapshot::of(&again).unwrap().0.len(), 4);
        assert!(!layer.join("files/shop/old.py").exists());
    }
}
