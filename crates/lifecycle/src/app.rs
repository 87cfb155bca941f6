//! The app's layers: its slices, and one layer with what no slice took.
//!
//! buildpack.md, "launch.toml": "The lifecycle MUST process each slice as if all files matched in preceding slices no longer exists in
//! the app directory." Entries stand in the order of their whole paths, as in the Go lifecycle, so that the diffIDs are the same.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hoist_image::{Hasher, Layer, Order};
use hoist_spec::Slice;

use crate::content::{Content, ContentError, Maker, Source};
use crate::export::ExportError;
use crate::glob;
use crate::setup::Setup;
use crate::tree::{Node, Tree, check_depth, io, is_opaque, list, read_regular};

/// The app directory as the build left it: the staged app with what the buildpacks changed.
pub(crate) fn read(tree: &Tree, app_dir: &Path) -> Result<Content, ContentError> {
    let mut content = Content::default();
    if let Some(node) = tree.find(app_dir)? {
        add(&mut content, app_dir.to_owned(), &node)?;
    }
    Ok(content)
}

fn add(content: &mut Content, inside: PathBuf, node: &Node) -> Result<(), ContentError> {
    let path = node.host_path().to_owned();
    let metadata = io("looking at", &path, path.symlink_metadata())?;
    if let Node::Directory(dirs) = node {
        check_depth(&inside)?;
        for (name, child) in list(dirs)? {
            add(content, inside.join(name), &child)?;
        }
    }
    content.entries.insert(inside, Source::Host { path, metadata });
    Ok(())
}

/// More is not read twice, once to see that it is what the last build wrote, and once to write it anew.
const MAX_WRITTEN_BYTES: u64 = 32 << 20;

/// A digest of what the build wrote into the app directory: names, kinds, modes, contents, and what of the staged app it hides. None where that is much.
pub(crate) fn written(upper_dir: &Path, app_dir: &Path) -> Result<Option<String>, ContentError> {
    let mut digest = Hasher::default();
    let mut left = MAX_WRITTEN_BYTES;
    let host = upper_dir.join(app_dir.strip_prefix("/").unwrap_or(app_dir));
    let is_whole = note(&mut digest, &host, app_dir, &mut left)?;
    Ok(is_whole.then(|| digest.finish().0.to_string()))
}

fn note(digest: &mut Hasher, host: &Path, inside: &Path, left: &mut u64) -> Result<bool, ContentError> {
    let about = io("looking at", host, host.symlink_metadata())?;
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(inside.as_os_str().as_bytes());
    // The kind is among the bits of the mode; a device 0:0 hides what the staged app has there.
    part(&about.mode().to_le_bytes());
    part(&about.rdev().to_le_bytes());
    if about.is_symlink() {
        part(io("reading", host, fs_err::read_link(host))?.as_os_str().as_bytes());
    } else if about.is_file() {
        let Some(rest) = left.checked_sub(about.len()) else { return Ok(false) };
        *left = rest;
        part(&read_regular(host, inside, about.len())?);
    } else if about.is_dir() {
        check_depth(inside)?;
        part(&[u8::from(is_opaque(host))]);
        let mut names = Vec::new();
        for entry in io("listing", host, host.read_dir())? {
            names.push(io("listing", host, entry)?.file_name());
        }
        names.sort_unstable();
        part(&(names.len() as u64).to_le_bytes());
        for name in names {
            if !note(digest, &host.join(&name), &inside.join(&name), left)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The paths of each slice, and at last those of none.
pub(crate) fn slice<'a>(
    content: &'a Content,
    app_dir: &Path,
    slices: &[Slice],
) -> Result<Vec<BTreeSet<&'a PathBuf>>, ExportError> {
    let mut left: BTreeSet<&PathBuf> = content.entries.keys().collect();
    let mut layers = Vec::with_capacity(slices.len() + 1);
    for slice in slices {
        let mut taken: BTreeSet<&PathBuf> = BTreeSet::new();
        for pattern in &slice.paths {
            let clean = clean_pattern(pattern, app_dir)?;
            let Some(clean) = clean else { continue };
            for path in &left {
                let relative = path.strip_prefix(app_dir).ok().and_then(Path::to_str).unwrap_or_default();
                let matched = glob::matches(&clean, relative)
                    .map_err(|glob::BadPattern| ExportError::Slice { pattern: pattern.clone() })?;
                if !relative.is_empty() && matched {
                    taken.extend(
                        left.range::<PathBuf, _>((*path).clone()..).take_while(|below| below.starts_with(path)),
                    );
                }
            }
        }
        for path in &taken {
            left.remove(*path);
        }
        layers.push(with_parents(content, app_dir, &mut left, taken));
    }
    layers.push(left);
    Ok(layers)
}

/// A slice also has the directories on the way to its files; such a directory stays for later layers unless nothing else is in it.
fn with_parents<'a>(
    content: &'a Content,
    app_dir: &Path,
    left: &mut BTreeSet<&'a PathBuf>,
    mut taken: BTreeSet<&'a PathBuf>,
) -> BTreeSet<&'a PathBuf> {
    let mut parents: BTreeSet<&PathBuf> = BTreeSet::new();
    for path in &taken {
        for ancestor in path.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(app_dir)) {
            parents.extend(content.entries.get_key_value(ancestor).map(|(path, _)| path));
        }
    }
    // The deepest first: they come last in the order of paths.
    for parent in parents.iter().rev() {
        let anything_left =
            left.range::<PathBuf, _>((*parent).clone()..).any(|below| below != parent && below.starts_with(parent));
        if !anything_left {
            left.remove(*parent);
        }
    }
    taken.extend(parents);
    taken
}

/// A pattern relative to the app directory; nothing for one that leads out of it.
fn clean_pattern(pattern: &str, app_dir: &Path) -> Result<Option<String>, ExportError> {
    let relative = match pattern.strip_prefix('/') {
        None => pattern,
        Some(_) => match Path::new(pattern).strip_prefix(app_dir).ok().and_then(Path::to_str) {
            Some(relative) => relative,
            None => return Err(ExportError::Slice { pattern: pattern.to_owned() }),
        },
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                let left = parts.pop();
                left.ok_or_else(|| ExportError::Slice { pattern: pattern.to_owned() })?;
            }
            part => parts.push(part),
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// Makes the layers.
pub(crate) fn make(
    setup: &Setup<'_>,
    content: &Content,
    slices: &[BTreeSet<&PathBuf>],
) -> Result<Vec<Layer>, ContentError> {
    let maker = Maker { user: setup.user, counters: &setup.counters, restored: &[], adopt: false };
    let mut layers = Vec::with_capacity(slices.len());
    // Slices that took nothing are all the same layer.
    let mut empty: Option<Layer> = None;
    for paths in slices {
        if let (true, Some(empty)) = (paths.is_empty(), &empty) {
            layers.push(empty.clone());
            continue;
        }
        let mut builder = setup.store.layer_builder()?;
        builder.order(Order::Path);
        let layer = maker.make(builder, content, paths)?;
        if paths.is_empty() {
            empty = Some(layer.clone());
        }
        layers.push(layer);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(paths: &[&str]) -> Content {
        let tempdir = std::env::temp_dir();
        let metadata = tempdir.symlink_metadata().unwrap();
        let file = std::env::current_exe().unwrap();
        let file = file.symlink_metadata().unwrap();
        let mut content = Content::default();
        for path in paths {
            let metadata = if path.contains('.') { file.clone() } else { metadata.clone() };
            content.entries.insert(PathBuf::from(path), Source::Host { path: PathBuf::from(path), metadata });
        }
        content
    }

    #[test]
    fn each_slice_takes_what_slices_before_left_and_the_rest_is_a_layer() {
        let app =
            content(&["/workspace", "/workspace/a", "/workspace/a/x.js", "/workspace/a/y.js", "/workspace/b.txt"]);
        let slices =
            [Slice { paths: vec!["a/*.js".into()] }, Slice { paths: vec!["a".into(), "/workspace/b.txt".into()] }];
        let layers = slice(&app, Path::new("/workspace"), &slices).unwrap();
        let names = |n: usize| layers[n].iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names(0), ["/workspace", "/workspace/a", "/workspace/a/x.js", "/workspace/a/y.js"]);
        assert_eq!(names(1), ["/workspace", "/workspace/b.txt"]);
        assert!(names(2).is_empty());
    }

    #[test]
    fn all_that_a_build_does_to_the_app_counts() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("workspace");
        fs_err::create_dir(&app).unwrap();
        let digest = || written(dir.path(), Path::new("/workspace")).unwrap();
        let mut seen = vec![digest()];
        let mut note = || {
            let now = digest();
            assert_eq!(now, digest());
            assert!(now.is_some() && !seen.contains(&now), "{now:?}");
            seen.push(now);
        };
        fs_err::write(app.join("a.css"), "1").unwrap();
        note();
        fs_err::write(app.join("a.css"), "2").unwrap();
        note();
        fs_err::set_permissions(app.join("a.css"), PermissionsExt::from_mode(0o755)).unwrap();
        note();
        fs_err::rename(app.join("a.css"), app.join("b.css")).unwrap();
        note();
        symlink("b.css", app.join("a.css")).unwrap();
        note();
        fs_err::create_dir(app.join("folder")).unwrap();
        note();
        let opaque = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(app.join("folder"), "user.overlay.opaque", b"y", opaque).unwrap();
        note();
        let device = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::empty();
        rustix::fs::mknodat(rustix::fs::CWD, app.join("gone.py"), device, mode, 0).unwrap();
        note();
        let large = fs_err::File::create(app.join("large")).unwrap();
        large.set_len(MAX_WRITTEN_BYTES).unwrap();
        assert_eq!(digest(), None);
    }

    #[test]
    fn a_glob_must_not_lead_out_of_the_app() {
        let app = content(&["/workspace", "/workspace/b.txt"]);
        for pattern in ["../etc/*", "/etc/passwd", "a/../../b"] {
            let slices = [Slice { paths: vec![pattern.to_owned()] }];
            assert!(slice(&app, Path::new("/workspace"), &slices).is_err(), "{pattern}");
        }
    }
}
