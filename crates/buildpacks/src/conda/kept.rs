//! Bytecode of whole environments, kept in the cache that builds share, so that no Python need be started where the same packages were compiled before.
//!
//! Whoever compiles is the environment's own Python, with libraries of other packages: a stranger's code, which does not see that cache. So the parcel is
//! asked for before any of it runs, by a note beside the layer (`bytecode.keep`), filled afterwards (`bytecode.kept`), and moved by hoist, which read its
//! name when nobody else could have written it. It is found by all that had a say in it: the archive of every package, the place, and the image that
//! it was built in. So a package can spoil nothing but environments that it is part of.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_conda::Package;
use hoist_debian::{Sha256, hex};

use crate::context::{BUILD_IMAGE_VARIABLE, CACHE_VARIABLE, CONDA_CACHE_VARIABLE, Context};
use crate::install::bytecode_shelf::{BytecodeShelf, pack};
use crate::install::interpreter::Interpreter;

/// Names the parcel that is wanted, below the shared cache.
const NOTE: &str = "bytecode.keep";
/// The parcel, once the environment is compiled.
const PARCEL: &str = "bytecode.kept";
/// The folder of parcels below the shared cache.
const FOLDER: &str = "conda";

/// Where the bytecode of one environment is kept.
pub(super) struct KeptBytecode {
    shelf: BytecodeShelf,
    key: String,
    /// Whether the cache is more than read.
    is_written: bool,
}

impl KeptBytecode {
    /// None where no shared cache is seen, or where it is not known of each package what it is.
    pub(super) fn of(context: &Context, prefix: &Path, packages: &[Package]) -> Option<Self> {
        let shared = context.variable(CACHE_VARIABLE).map(|dir| Path::new(dir).join(FOLDER));
        let dir = shared.clone().or_else(|| context.variable(CONDA_CACHE_VARIABLE).map(PathBuf::from))?;
        let image = context.variable(BUILD_IMAGE_VARIABLE)?;
        // hoist puts nothing under the name of another image.
        let key = format!("{}-{}", image.trim_start_matches("sha256:"), key(prefix, packages)?);
        Some(Self { shelf: BytecodeShelf::new(&dir, String::new()), key, is_written: shared.is_some() })
    }

    /// Puts it below Python's library, where it was kept.
    pub(super) fn take(&self, library: &Path) -> std::io::Result<bool> {
        self.shelf.take(&self.key, library)
    }

    /// Asks for it. Where the note cannot be written, the next build compiles again.
    pub(super) fn ask(&self, layers_dir: &Path) {
        if !self.is_written {
            return;
        }
        let parcel = self.shelf.path(&self.key);
        let Some(folder) = parcel.parent().filter(|folder| fs::create_dir_all(folder).is_ok()) else { return };
        let (Some(folder), Some(name)) = (folder.file_name(), parcel.file_name()) else { return };
        let place = Path::new(FOLDER).join(folder).join(name);
        let _ = fs::write(layers_dir.join(NOTE), place.as_os_str().as_encoded_bytes());
    }
}

fn key(prefix: &Path, packages: &[Package]) -> Option<String> {
    let mut all = Sha256::new();
    for part in [crate::shipped::VERSION, &prefix.display().to_string()] {
        all.update(part.as_bytes());
        all.update([0]);
    }
    for package in packages {
        all.update(format!("{} {} {}\n", package.name, package.subdir, package.sha256.as_ref()?));
    }
    Some(hex(&all.finalize()))
}

/// Leaves the bytecode of these sources where hoist takes it from, if it was asked for.
pub(super) fn leave(layers_dir: &Path, library: &Path, sources: &[PathBuf], interpreter: &Interpreter) {
    if fs::remove_file(layers_dir.join(NOTE)).is_ok() {
        let path = layers_dir.join(PARCEL);
        let pack = || pack(fs::File::create(&path)?.file_mut(), library, sources, &interpreter.cache_tag());
        if pack().is_err() {
            let _ = fs::remove_file(&path); // the next build compiles again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, sha256: Option<&str>) -> Package {
        Package {
            name: name.into(),
            version: "1".into(),
            build: "0".into(),
            subdir: "noarch".into(),
            url: String::new(),
            channel: String::new(),
            license: None,
            sha256: sha256.map(str::to_owned),
            md5: None,
        }
    }

    #[test]
    fn an_environment_is_known_by_all_that_it_is_made_of() {
        let of = |prefix: &str, packages: &[Package]| key(Path::new(prefix), packages);
        let (python, other) = (package("python", Some("aa")), package("python", Some("ab")));
        let found = of("/l/env", std::slice::from_ref(&python)).unwrap();
        assert_eq!(found, of("/l/env", std::slice::from_ref(&python)).unwrap());
        assert_ne!(found, of("/l/other", std::slice::from_ref(&python)).unwrap());
        assert_ne!(found, of("/l/env", &[other]).unwrap());
        assert_ne!(found, of("/l/env", &[python, package("z", Some("ac"))]).unwrap());
        assert_eq!(of("/l/env", &[package("nobody-knows", None)]), None);
    }
}
