//! Which files are sources, whether one changed, and being woken when one may have. By inotify; where that cannot be had, by looking every second.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What Python apps are made of. Databases, uploads and logs, which an app writes itself, are none of these.
const EXTENSIONS: [&str; 14] =
    ["py", "pyi", "html", "htm", "jinja", "jinja2", "j2", "toml", "yaml", "yml", "ini", "cfg", "env", "graphql"];
/// Folders that hold no source of the app.
const SKIPPED: [&str; 5] = ["__pycache__", "node_modules", "venv", "site-packages", "staticfiles"];
/// Deeper folders and more files are not looked at: no app has them.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 20_000;
const EVENTS: u32 = libc::IN_CLOSE_WRITE | libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO;
/// How often it is looked where nobody wakes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often changes are waited out.
const MAX_SETTLING: usize = 10;

/// The sources below a folder, with what changes when one is written.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<PathBuf, (u64, i64, i64, u64)>);

impl Sources {
    pub(super) fn read(dir: &Path) -> Self {
        let mut sources = Self::default();
        sources.add(dir, Path::new(""), MAX_DEPTH);
        sources
    }

    fn add(&mut self, dir: &Path, below: &Path, depth: usize) {
        // What cannot be read cannot be a module either.
        let Ok(entries) = dir.read_dir() else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(about) = path.metadata() else { continue };
            if about.is_dir() && depth > 0 && is_followed(&path) {
                self.add(&path, &below.join(&name), depth - 1);
            } else if about.is_file() && is_source(&path) && self.0.len() < MAX_FILES {
                let mark = (about.len(), about.mtime(), about.mtime_nsec(), about.ino());
                self.0.insert(below.join(&name), mark);
            }
        }
    }

    pub(super) fn counted(&self) -> String {
        if self.0.len() == 1 { "1 source".to_owned() } else { format!("{} sources", self.0.len()) }
    }

    /// `shop/views.py changed`, and how many others.
    pub(super) fn first_change_since(&self, old: &Self) -> Option<String> {
        let of_now = self.0.iter().filter_map(|(path, mark)| match old.0.get(path) {
            None => Some((path, "is new")),
            Some(was) if was != mark => Some((path, "changed")),
            Some(_) => None,
        });
        let gone = old.0.keys().filter(|path| !self.0.contains_key(*path)).map(|path| (path, "is gone"));
        let mut all = of_now.chain(gone);
        let (path, what) = all.next()?;
        Some(match all.count() {
            0 => format!("{} {what}", path.display()),
            more => format!("{} {what} (and {more} more)", path.display()),
        })
    }
}

fn is_source(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.file_name().is_some_and(|name| name == ".env")
        || extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// Whether a folder is looked into. A link may lead anywhere, and back.
fn is_followed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) && !path.is_symlink()
}

/// Wakes when a file may have changed.
pub(super) struct Watch {
    fd: Option<OwnedFd>,
    /// Why nobody wakes.
    problem: Option<String>,
}

impl Watch {
    pub(super) fn new(dir: &Path) -> Self {
        // SAFETY: a plain number.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if fd < 0 {
            return Self { fd: None, problem: Some(io::Error::last_os_error().to_string()) };
        }
        // SAFETY: the call gave it, and nobody else knows it.
        let mut watch = Self { fd: Some(unsafe { OwnedFd::from_raw_fd(fd) }), problem: None };
        watch.follow(dir);
        watch
    }

    /// Watches all folders, also those that are new; one that is watched already is no other.
    pub(super) fn follow(&mut self, dir: &Path) {
        let Some(fd) = &self.fd else { return };
        if let Err(error) = add(fd, dir, MAX_DEPTH) {
            self.problem = Some(error.to_string());
            self.fd = None;
        }
    }

    pub(super) fn fd(&self) -> Option<i32> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// For the line that says what is watched.
    pub(super) fn way(&self) -> String {
        let why = self.problem.as_ref();
        why.map_or_else(String::new, |why| format!(", by looking every second, because inotify cannot be had ({why})"))
    }

    pub(super) fn longest_wait(&self) -> Duration {
        if self.fd.is_some() { Duration::from_hours(1) } else { INTERVAL }
    }

    /// Takes what there is of events; whether there was one.
    pub(super) fn take(&self) -> bool {
        let mut buffer = [0_u8; 4096];
        let mut was_there = false;
        while let Some(fd) = &self.fd {
            // SAFETY: the buffer is as long as it is said to be.
            if unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } <= 0 {
                break;
            }
            was_there = true;
        }
        was_there
    }

    /// Waits until nothing changed for a while; not for long, because an app may write all the time.
    pub(super) fn settle(&self, quiet: Duration) {
        for _ in 0..MAX_SETTLING {
            std::thread::sleep(quiet);
            if !self.take() {
                return;
            }
        }
    }
}

fn add(fd: &OwnedFd, dir: &Path, depth: usize) -> io::Result<()> {
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: a live descriptor and a string.
    if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), EVENTS) } < 0 {
        let error = io::Error::last_os_error();
        // Gone meanwhile, or closed to this user: there is nothing to see.
        let is_harmless = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        return if is_harmless { Ok(()) } else { Err(error) };
    }
    let Ok(entries) = dir.read_dir() else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if depth > 0 && path.is_dir() && is_followed(&path) {
            add(fd, &path, depth - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // files of a test
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn sources_count_and_what_an_app_writes_does_not() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "shop/views.py", "1");
        let old = Sources::read(dir.path());
        for name in ["db.sqlite3", "shop/__pycache__/views.py", ".git/x.py", "uploads/a.bin", "app.log", "views.pyc"] {
            put(dir.path(), name, "x");
        }
        assert_eq!(Sources::read(dir.path()).first_change_since(&old), None);
        put(dir.path(), "shop/views.py", "12");
        put(dir.path(), "shop/templates/page.html", "x");
        let now = Sources::read(dir.path());
        assert_eq!(now.first_change_since(&old).as_deref(), Some("shop/templates/page.html is new (and 1 more)"));
        assert_eq!(old.first_change_since(&now).as_deref(), Some("shop/views.py changed (and 1 more)"));
        std::fs::remove_file(dir.path().join("shop/views.py")).unwrap();
        let gone = Sources::read(dir.path()).first_change_since(&now);
        assert_eq!((gone.as_deref(), old.counted()), (Some("shop/views.py is gone"), "1 source".to_owned()));
    }

    #[test]
    fn folders_that_are_new_are_watched_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(dir.path());
        assert!(!watch.take());
        std::fs::create_dir(dir.path().join("new")).unwrap();
        assert!(watch.take() && !watch.take());
        watch.follow(dir.path());
        put(dir.path(), "new/a.py", "1");
        assert!(watch.take());
    }
}
