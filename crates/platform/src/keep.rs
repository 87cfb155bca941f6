//! What a buildpack of hoist's own wants to be kept of what a stranger's code makes for it, in the cache that it cannot write while that code runs.
//!
//! It asks before, in the attempt that sees the shared cache, by a note (`bytecode.keep`) in its layers' folder that names a place in the cache. The note is
//! read between the attempts, when nobody else could have written it; the file (`bytecode.kept`) is moved there after the second one. The name says what
//! may have had a say in the file: who asks under the same name runs the same code anyway.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use hoist_lifecycle::{BuildpackCall, Upper};

const NOTE: &str = "bytecode.keep";
const FILE: &str = "bytecode.kept";
/// A short path.
const MAX_NOTE_BYTES: u64 = 512;
/// More than the bytecode of any environment.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A wish that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// The buildpack's layers' folder, in the build's upper directory.
    layers_dir: PathBuf,
    upper_dir: PathBuf,
    /// Below the cache.
    name: PathBuf,
}

impl Keep {
    /// What a buildpack asks for whose first attempt is over: a file whose name begins with the digits of the build image's id, because an app could
    /// tell its buildpack another one.
    pub(crate) fn read(call: &BuildpackCall, build_image: &str) -> Option<Self> {
        let Upper::Keep(upper_dir) = &call.upper else { return None };
        let (_, layers_dir) = call.environment.iter().find(|(name, _)| name == "CNB_LAYERS_DIR")?;
        let layers_dir = Path::new(layers_dir).strip_prefix("/").ok()?.to_owned();
        let path = folder(upper_dir, &layers_dir)?.join(NOTE);
        let mut text = String::new();
        fs::symlink_metadata(&path).ok().filter(|about| about.is_file() && about.len() <= MAX_NOTE_BYTES)?;
        fs::File::open(path).ok()?.take(MAX_NOTE_BYTES).read_to_string(&mut text).ok()?;
        let name = PathBuf::from(text);
        let is_inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        let has_folder = name.parent().is_some_and(|parent| parent != Path::new(""));
        let image = format!("{}-", build_image.trim_start_matches("sha256:"));
        let is_of_image = name.file_name()?.to_str()?.starts_with(&image);
        (is_inside && has_folder && is_of_image).then(|| Self { layers_dir, upper_dir: upper_dir.clone(), name })
    }

    /// Moves what was made into the cache, where it is a plain file. What cannot be kept is made again by the next build.
    pub(crate) fn take(&self, cache_dir: &Path) {
        use std::os::unix::fs::MetadataExt;
        // A stranger's code ran since: what were folders could be links to anywhere.
        let (Some(dir), Some(place)) = (
            folder(&self.upper_dir, &self.layers_dir),
            self.name.parent().and_then(|parent| folder(cache_dir, parent)),
        ) else {
            return;
        };
        let (path, name) = (dir.join(FILE), self.name.file_name().unwrap_or_default());
        let is_plain = |about: &std::fs::Metadata| {
            about.is_file() && about.nlink() == 1 && about.mode() & 0o6000 == 0 && about.len() <= MAX_FILE_BYTES
        };
        if fs::symlink_metadata(&path).is_ok_and(|about| is_plain(&about)) {
            let _ = fs::rename(&path, place.join(name));
        }
    }
}

/// A folder below another one that no link leads to.
fn folder(dir: &Path, below: &Path) -> Option<PathBuf> {
    let mut path = dir.to_owned();
    for part in below.components() {
        path.push(part);
        fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_dir)?;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use hoist_lifecycle::BuildpackPhase;

    use super::*;

    struct House {
        dir: tempfile::TempDir,
        call: BuildpackCall,
    }

    impl House {
        fn new(note: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("upper/layers/own")).unwrap();
            fs::create_dir_all(dir.path().join("cache/conda/bytecode")).unwrap();
            fs::write(dir.path().join("upper/layers/own").join(NOTE), note).unwrap();
            let call = BuildpackCall {
                phase: BuildpackPhase::Build,
                buildpack_id: "hoist/conda".into(),
                buildpack_version: "1".into(),
                program: "/x".into(),
                args: Vec::new(),
                environment: vec![("CNB_LAYERS_DIR".into(), "/layers/own".into())],
                working_dir: "/".into(),
                exchange_host_dir: PathBuf::new(),
                exchange_dir: PathBuf::new(),
                restored_dirs: Vec::new(),
                upper: Upper::Keep(dir.path().join("upper")),
            };
            Self { dir, call }
        }

        fn read(&self) -> Option<Keep> {
            Keep::read(&self.call, "sha256:1")
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn kept(&self) -> Option<String> {
            fs::read_to_string(self.path("cache/conda/bytecode/1-k.tar")).ok()
        }
    }

    #[test]
    fn what_was_asked_for_before_is_kept_afterwards() {
        let house = House::new("conda/bytecode/1-k.tar");
        let keep = house.read().unwrap();
        keep.take(&house.path("cache"));
        assert_eq!(house.kept(), None, "nothing was made");
        fs::write(house.path("upper/layers/own").join(FILE), "made").unwrap();
        // Whatever the note says by now.
        fs::write(house.path("upper/layers/own").join(NOTE), "conda/bytecode/1-other.tar").unwrap();
        keep.take(&house.path("cache"));
        assert_eq!(house.kept().as_deref(), Some("made"));
        assert_eq!(fs::read_dir(house.path("cache/conda/bytecode")).unwrap().count(), 1);
    }

    #[test]
    fn neither_a_note_nor_a_file_leads_elsewhere() {
        for bad in [
            "",
            "1-k.tar",
            "conda/bytecode/2-k.tar",
            "../1-k.tar",
            "/etc/1-k.tar",
            "conda/../../1-k.tar",
            &"d/".repeat(600),
        ] {
            assert_eq!(House::new(bad).read(), None, "{bad}");
        }
        let house = House::new("conda/bytecode/1-k.tar");
        let keep = house.read().unwrap();
        let file = house.path("upper/layers/own").join(FILE);
        fs::write(house.path("secret"), "secret").unwrap();
        symlink(house.path("secret"), &file).unwrap();
        keep.take(&house.path("cache"));
        fs::remove_file(&file).unwrap();
        fs::hard_link(house.path("secret"), &file).unwrap();
        keep.take(&house.path("cache"));
        fs::remove_dir_all(house.path("upper/layers")).unwrap();
        fs::create_dir_all(house.path("elsewhere/own")).unwrap();
        fs::write(house.path("elsewhere/own").join(FILE), "of the machine").unwrap();
        symlink(house.path("elsewhere"), house.path("upper/layers")).unwrap();
        keep.take(&house.path("cache"));
        assert_eq!((house.kept(), house.read()), (None, None));
        fs::remove_dir_all(house.path("cache/conda/bytecode")).unwrap();
        symlink(house.path("elsewhere"), house.path("cache/conda/bytecode")).unwrap();
        keep.take(&house.path("cache"));
        assert_eq!(fs::read_dir(house.path("elsewhere")).unwrap().count(), 1);
    }
}
