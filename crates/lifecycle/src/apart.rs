//! What a process wrote into an upper directory of its own, taken into that of the build: below the places that are its own, and nothing else.
//!
//! So a stranger's code may run over all layers of a build and change none of them: whatever it did to others stays behind. The process has ended
//! when this is called, with all that it started. No link is followed.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use hoist_spec::LayerToml;
use rustix::fs::{Mode, XattrFlags};

use crate::build::MAX_DOCUMENT_BYTES;
use crate::content::upper_metadata;
use crate::tree::{TreeError, check_depth, io, is_opaque, read_regular};

/// Whether an upper directory says nothing of a path: what lower directories have there is what a process sees.
pub fn is_untouched(upper_dir: &Path, inside: &Path) -> bool {
    matches!(upper_metadata(upper_dir, inside, true), Ok((None, false)))
}

/// Moves what stands below `places` (directories, absolute and inside) in the upper directory `from` into the upper directory `into`, over which `from` lay.
pub fn take_over(from: &Path, into: &Path, places: &[&Path]) -> Result<(), TreeError> {
    for inside in places {
        if let Some((from, into)) = open_place(from, into, inside)? {
            merge(&from, &into, inside)?;
        }
    }
    Ok(())
}

/// What stands in a directory of it besides a place that is its own: `/layers/hoist_python`.
pub fn strayed(from: &Path, dir: &Path, own: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let host = from.join(dir.strip_prefix("/").unwrap_or(dir));
    if about(&host)?.is_none() {
        return Ok(Vec::new());
    }
    let mut found: Vec<PathBuf> = names(&host)?.into_iter().map(|name| dir.join(name)).collect();
    found.retain(|inside| inside != own);
    found.sort();
    Ok(found)
}

/// The first document of a layer in a buildpack's directory by which later buildpacks would see that layer.
pub fn document_for_builds(from: &Path, own_dir: &Path) -> Result<Option<PathBuf>, TreeError> {
    let host = from.join(own_dir.strip_prefix("/").unwrap_or(own_dir));
    if about(&host)?.is_none() {
        return Ok(None);
    }
    let mut found = names(&host)?;
    found.sort();
    for name in found.iter().filter(|name| name.as_encoded_bytes().ends_with(b".toml")) {
        let inside = own_dir.join(name);
        // Anything else than a text in the words of the specification is refused by whoever reads the layers next.
        let Ok(bytes) = read_regular(&host.join(name), &inside, MAX_DOCUMENT_BYTES) else { continue };
        let document = String::from_utf8(bytes).ok().and_then(|text| LayerToml::parse(&text).ok());
        if document.is_some_and(|document| document.types().build) {
            return Ok(Some(inside));
        }
    }
    Ok(None)
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>, TreeError> {
    if !io("looking at", dir, dir.symlink_metadata())?.is_dir() {
        return Ok(Vec::new());
    }
    let entries = io("listing", dir, dir.read_dir())?;
    entries.map(|entry| Ok(io("listing", dir, entry)?.file_name())).collect()
}

/// Both host paths of a place, where `from` says something of it; the folders above it are made as they are there.
fn open_place(from: &Path, into: &Path, inside: &Path) -> Result<Option<(PathBuf, PathBuf)>, TreeError> {
    let (mut from, mut into) = (from.to_owned(), into.to_owned());
    let not_a_folder = || TreeError::Kind { path: inside.to_owned(), expected: "a directory" };
    let mut parts = inside.components().filter(|part| matches!(part, Component::Normal(_))).peekable();
    while let Some(part) = parts.next() {
        from.push(part);
        into.push(part);
        let Some(about) = about(&from)? else { return Ok(None) };
        if !about.is_dir() {
            return Err(not_a_folder());
        }
        match self::about(&into)? {
            _ if parts.peek().is_none() => {}
            None => {
                io("making", &into, fs_err::create_dir(&into))?;
                make_alike(&into, &about)?;
            }
            Some(there) if there.is_dir() => {}
            Some(_) => return Err(not_a_folder()),
        }
    }
    Ok(Some((from, into)))
}

fn about(path: &Path) -> Result<Option<Metadata>, TreeError> {
    match path.symlink_metadata() {
        Ok(about) => Ok(Some(about)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => io("looking at", path, Err(error)),
    }
}

/// Moves one thing to where the overlay has it when `from` lies over `into`.
fn merge(from: &Path, into: &Path, inside: &Path) -> Result<(), TreeError> {
    check_depth(inside)?;
    let above = io("looking at", from, from.symlink_metadata())?;
    let Some(below) = about(into)? else { return rename(from, into, &above) };
    match (above.is_dir(), below.is_dir()) {
        (true, true) if !is_opaque(from) => {
            // Whoever is not root moves nothing out of a folder, or into one, that is not writable.
            let open = |path: &Path, about: &Metadata| set_mode(path, about.permissions().mode() | 0o700);
            open(from, &above)?;
            open(into, &below)?;
            for name in names(from)? {
                merge(&from.join(&name), &into.join(&name), &inside.join(&name))?;
            }
            return make_alike(into, &above);
        }
        (_, true) => io("removing", into, fs_err::remove_dir_all(into))?,
        (_, false) => io("removing", into, fs_err::remove_file(into))?,
    }
    if above.is_dir() && !is_opaque(from) {
        // The file, or the note that nothing is there, hid what lies further below.
        let hide = rustix::fs::lsetxattr(from, "user.overlay.opaque", b"y", XattrFlags::empty());
        io("hiding what is below", from, hide.map_err(Into::into))?;
    }
    rename(from, into, &above)
}

fn rename(from: &Path, into: &Path, about: &Metadata) -> Result<(), TreeError> {
    let mode = about.permissions().mode();
    let is_closed = about.is_dir() && mode & 0o300 != 0o300;
    if is_closed {
        set_mode(from, mode | 0o700)?;
    }
    io("moving", from, fs_err::rename(from, into))?;
    if is_closed { set_mode(into, mode) } else { Ok(()) }
}

/// Owner and mode of a folder.
fn make_alike(dir: &Path, about: &Metadata) -> Result<(), TreeError> {
    let own = io("looking at", dir, dir.symlink_metadata())?;
    if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
        io("changing the owner of", dir, std::os::unix::fs::lchown(dir, Some(about.uid()), Some(about.gid())))?;
    }
    set_mode(dir, about.permissions().mode())
}

fn set_mode(dir: &Path, mode: u32) -> Result<(), TreeError> {
    io("changing the mode of", dir, rustix::fs::chmod(dir, Mode::from_raw_mode(mode & 0o7777)).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn put(root: &Path, path: &str, text: &str) {
        fs_err::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs_err::write(root.join(path), text).unwrap();
    }

    fn white_out(root: &Path, path: &str) {
        fs_err::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, root.join(path), kind, Mode::empty(), 0).unwrap();
    }

    fn hide(root: &Path, path: &str) {
        rustix::fs::lsetxattr(root.join(path), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    }

    /// Every file below a path, with its text, as an overlay of these directories has it.
    fn seen(dirs: &[&Path], inside: &str) -> Vec<String> {
        let tree = Tree::new(dirs.iter().map(|dir| (*dir).to_owned()).collect());
        let mut open = vec![PathBuf::from(inside)];
        let mut found = Vec::new();
        while let Some(dir) = open.pop() {
            for (name, node) in tree.list(&dir).unwrap() {
                let path = dir.join(name);
                match node {
                    crate::tree::Node::Directory(_) => open.push(path),
                    crate::tree::Node::Other(host) => {
                        let text = fs_err::read_to_string(&host).unwrap_or_else(|_| "a link".to_owned());
                        found.push(format!("{} {text}", path.display()));
                    }
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn what_a_process_did_to_its_own_places_is_as_if_it_had_been_done_there_and_all_else_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let [from, into, lower] = ["from", "into", "lower"].map(|name| dir.path().join(name));
        for (path, text) in [
            ("app/kept.py", "1"),
            ("app/gone.py", "1"),
            ("app/made/old.css", "1"),
            ("app/hidden/deep/x", "1"),
            ("app/again/x", "1"),
            ("layers/python/bin/python", "1"),
        ] {
            put(&lower, path, text);
        }
        put(&into, "app/changed.py", "2");
        put(&into, "app/egg/info", "2");
        put(&into, "app/file", "2");
        white_out(&into, "app/again");
        put(&into, "layers/django/static.toml", "2");
        for (path, text) in [
            ("app/changed.py", "3"),
            ("app/made/new.css", "3"),
            ("app/egg", "3"),
            ("app/file/below", "3"),
            ("app/again/y", "3"),
            ("app/hidden/z", "3"),
            ("layers/django/static/files/a", "3"),
            ("layers/python/bin/python", "evil"),
            ("layers/evil.toml", "evil"),
            ("home/cnb/.pip", "evil"),
            ("tmp/x", "evil"),
        ] {
            put(&from, path, text);
        }
        white_out(&from, "app/gone.py");
        hide(&from, "app/hidden");
        std::os::unix::fs::symlink("/etc", from.join("app/link")).unwrap();
        set_mode(&from.join("app"), 0o2750).unwrap();
        let places = ["/app", "/layers/django"].map(Path::new);
        let wanted = ["/app", "/layers/django"].map(|place| seen(&[&from, &into, &lower], place));
        let strays = strayed(&from, Path::new("/layers"), places[1]).unwrap();
        assert_eq!(strays, ["/layers/evil.toml", "/layers/python"].map(PathBuf::from));
        assert!(strayed(&into, Path::new("/none"), places[1]).unwrap().is_empty());
        take_over(&from, &into, &places).unwrap();
        assert_eq!(["/app", "/layers/django"].map(|place| seen(&[&into, &lower], place)), wanted);
        assert_eq!(
            wanted[0],
            [
                "/app/again/y 3",
                "/app/changed.py 3",
                "/app/egg 3",
                "/app/file/below 3",
                "/app/hidden/z 3",
                "/app/kept.py 1",
                "/app/link a link",
                "/app/made/new.css 3",
                "/app/made/old.css 1",
            ]
        );
        assert_eq!(into.join("app").symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o2750);
        for path in ["layers/python", "layers/evil.toml", "home", "tmp"] {
            assert!(!into.join(path).exists(), "{path}");
        }
    }

    #[test]
    fn a_place_that_became_a_link_or_is_gone_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [from, into, elsewhere] = ["from", "into", "elsewhere"].map(|name| dir.path().join(name));
        put(&into, "app/x", "1");
        put(&elsewhere, "x", "evil");
        fs_err::create_dir(&from).unwrap();
        assert!(take_over(&from, &into, &[Path::new("/app")]).is_ok(), "it wrote nothing");
        std::os::unix::fs::symlink(&elsewhere, from.join("app")).unwrap();
        let error = take_over(&from, &into, &[Path::new("/app")]).unwrap_err();
        assert_eq!(error.to_string(), "/app is not a directory");
        fs_err::remove_file(from.join("app")).unwrap();
        white_out(&from, "app");
        assert!(take_over(&from, &into, &[Path::new("/app")]).is_err());
        assert_eq!(fs_err::read_to_string(into.join("app/x")).unwrap(), "1");
    }

    #[test]
    fn a_path_is_untouched_until_anything_is_said_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let app = Path::new("/srv/app");
        assert!(is_untouched(dir.path(), app));
        put(dir.path(), "srv/other", "");
        assert!(is_untouched(dir.path(), app));
        hide(dir.path(), "srv");
        assert!(!is_untouched(dir.path(), app), "all below is hidden");
        fs_err::remove_dir_all(dir.path().join("srv")).unwrap();
        put(dir.path(), "srv/app/x", "");
        assert!(!is_untouched(dir.path(), app));
        fs_err::remove_dir_all(dir.path().join("srv")).unwrap();
        white_out(dir.path(), "srv");
        assert!(!is_untouched(dir.path(), app));
    }
}
