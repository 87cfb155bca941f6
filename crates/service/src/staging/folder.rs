//! A folder as a source. It is only read.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_events::Reporter;

use super::StageError;
use super::ignore::Ignore;
use super::tree::Tree;

/// Copies the folder `source` into the tree.
pub(super) fn copy(
    source: &Path,
    ignore: &Ignore,
    tree: &mut Tree<'_>,
    reporter: &dyn Reporter,
) -> Result<(), StageError> {
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        let host_dir = source.join(&dir);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&host_dir).map_err(|source| StageError::read(&host_dir, source))? {
            entries.push(entry.map_err(|source| StageError::read(&host_dir, source))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = dir.join(entry.file_name());
            let host = entry.path();
            let kind = entry.file_type().map_err(|source| StageError::read(&host, source))?;
            let text = path.to_string_lossy();
            if ignore.excludes(&text, kind.is_dir()) {
                continue;
            }
            if kind.is_dir() {
                if host.join("pyvenv.cfg").is_file() {
                    continue;
                }
                tree.dir(&path)?;
                waiting.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&host).map_err(|source| StageError::read(&host, source))?;
                tree.link(&path, &relative_to_app(source, &path, target))?;
            } else if kind.is_file() {
                let file = fs::File::open(&host).map_err(|source| StageError::read(&host, source))?;
                let about = file.metadata().map_err(|source| StageError::read(&host, source))?;
                tree.copy(&path, about.len(), about.permissions().mode() & 0o111 != 0, file)?;
            } else {
                reporter.warn(&format!("{text} is a socket, pipe or device and is left out"), None);
            }
        }
    }
    Ok(())
}

/// An absolute link into the source becomes relative; any other stays as it is and is judged by the tree.
fn relative_to_app(source: &Path, path: &Path, target: PathBuf) -> PathBuf {
    let Ok(inner) = target.strip_prefix(source) else { return target };
    let up = path.parent().map_or(0, |parent| parent.components().count());
    std::iter::repeat_n(Path::new(".."), up).collect::<PathBuf>().join(inner)
}
