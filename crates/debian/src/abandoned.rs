//! Keeps the caches from growing for ever: removes what nobody used for long, and what killed processes left.

use std::path::Path;
use std::time::Duration;

/// Removes the files of a folder whose names are of that kind and that nobody changed for so long. What cannot be removed stays: it is in
/// nobody's way.
pub(crate) fn remove_unchanged(dir: &Path, is_one: impl Fn(&str) -> bool, for_long: Duration) {
    let Ok(entries) = fs_err::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_one(&entry.file_name().to_string_lossy()) && age().is_some_and(|age| age > for_long) {
            let _ = fs_err::remove_file(entry.path());
        }
    }
}
