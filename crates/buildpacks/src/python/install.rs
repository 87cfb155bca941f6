//! Makes the interpreter's layers from package files: unpacked below `usr`, pruned, relocatable, compiled.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{ElfError, UnpackError, UnpackOptions, unpack_into, with_rpath};

use crate::bytecode::{self, BytecodeError};
use crate::sbom::debian::{PackageLicences, is_copyright, take_copyrights};

/// Why the layers cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("a package cannot be unpacked")]
    Unpack(#[source] UnpackError),
    #[error("{} cannot be made relocatable", path.display())]
    Relocate { path: PathBuf, source: ElfError },
    #[error("the standard library cannot be compiled")]
    Compile(#[source] BytecodeError),
    #[error("{action}")]
    Io { action: &'static str, source: std::io::Error },
}

/// The file of the build layer that says what the packages of the other one are under: a kept interpreter brings it.
const LICENCES: &str = "licences.json";

/// Parts of the packages that no app needs, below `usr`; `*` stands for the library's folder (`lib/python3.13`).
const PRUNED: &[&str] = &[
    "share/doc",
    "share/man",
    "share/lintian",
    "share/bug",
    "share/applications",
    "share/pixmaps",
    "share/binfmts",
    "share/doc-base",
    "share/python3",
    "share/apport",
    "share/menu",
    "share/locale",
    "share/info",
    "sbin",
    "lib/systemd",
    "lib/tmpfiles.d",
    "lib/valgrind",
    "*/test",
    "*/idlelib",
    "*/lib2to3",
    "*/ensurepip",
    "*/turtledemo",
    "*/pydoc_data",
    "*/sitecustomize.py",
    "*/EXTERNALLY-MANAGED",
    "*/LICENSE.txt",
    "lib/python3/dist-packages/README",
];

/// The licences of the packages that an interpreter was made of, as its build layer has them.
pub(crate) fn licences(build_dir: &Path) -> PackageLicences {
    let bytes = fs::read(build_dir.join(LICENCES)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The multiarch name of this machine: `x86_64-linux-gnu`.
pub(crate) fn multiarch() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// Unpacks the interpreter into `dir` and makes it work there; answers with its path.
pub(crate) fn install_interpreter(
    dir: &Path,
    build_dir: &Path,
    debs: &[PathBuf],
    minor: &str,
) -> Result<PathBuf, InstallError> {
    let library = format!("usr/lib/python{minor}");
    let wanted = |path: &str| is_wanted(path, &library, minor) || is_copyright(path);
    for deb in debs {
        let options = UnpackOptions { filter: Some(&wanted), rewrite: Some(&merged_usr) };
        unpack_into(deb, dir, &options).map_err(InstallError::Unpack)?;
    }
    let io = |action| move |source| InstallError::Io { action, source };
    let licences = take_copyrights(dir).map_err(io("reading the copyright files"))?;
    let licences = serde_json::to_vec(&licences).unwrap_or_default();
    fs::write(build_dir.join(LICENCES), licences).map_err(io("noting the licences"))?;
    let python = dir.join(format!("usr/bin/python{minor}"));
    set_rpath(&python)?;
    let bin_dir = dir.join("bin");
    fs::create_dir_all(&bin_dir).map_err(io("making bin"))?;
    for name in [format!("python{minor}"), "python3".to_owned(), "python".to_owned()] {
        symlink(format!("../usr/bin/python{minor}"), bin_dir.join(&name)).map_err(io("linking the interpreter"))?;
        let plain = dir.join("usr/bin").join(&name);
        if !plain.exists() {
            symlink(format!("python{minor}"), plain).map_err(io("linking the interpreter"))?;
        }
    }
    // Where sysconfig says the headers are: they lie in the build layer, and at launch the link leads nowhere.
    fs::create_dir_all(dir.join("usr/include")).map_err(io("linking the headers"))?;
    symlink(build_dir.join("include"), dir.join(format!("usr/include/python{minor}")))
        .map_err(io("linking the headers"))?;
    let sources = sources(&dir.join(&library));
    bytecode::compile(&python, &sources).map_err(InstallError::Compile)?;
    Ok(python)
}

/// Unpacks headers and pip for building; answers with pip's wheel.
pub(crate) fn install_build_tools(dir: &Path, debs: &[PathBuf], minor: &str) -> Result<Option<PathBuf>, InstallError> {
    let headers = format!("usr/include/python{minor}/");
    let arch_headers = format!("usr/include/{}/python{minor}/", multiarch());
    let wanted = |path: &str| path.starts_with("include/") || path.starts_with("wheels/pip-");
    // The folder `include` of a build layer is where compilers look by themselves (CPATH).
    let rewrite = |path: &str| {
        if let Some(rest) = path.strip_prefix(&headers) {
            format!("include/{rest}")
        } else if let Some(rest) = path.strip_prefix(&arch_headers) {
            format!("include/{}/python{minor}/{rest}", multiarch())
        } else if let Some(rest) = path.strip_prefix("usr/share/python-wheels/") {
            format!("wheels/{rest}")
        } else {
            path.to_owned()
        }
    };
    for deb in debs {
        unpack_into(deb, dir, &UnpackOptions { filter: Some(&wanted), rewrite: Some(&rewrite) })
            .map_err(InstallError::Unpack)?;
    }
    let wheels =
        fs::read_dir(dir.join("wheels")).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    Ok(wheels.unwrap_or_default().into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl")))
}

/// `lib/x` is `usr/lib/x`, as on every merged Debian.
pub(crate) fn merged_usr(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    if matches!(first, "bin" | "sbin" | "lib" | "lib64") { format!("usr/{path}") } else { path.to_owned() }
}

fn is_wanted(path: &str, library: &str, minor: &str) -> bool {
    let Some(below) = path.strip_prefix("usr/") else { return false };
    if let Some(program) = below.strip_prefix("bin/") {
        return program == format!("python{minor}");
    }
    // A package for all Pythons of a suite (python3-distutils) brings files of others as well.
    if below.starts_with("lib/python3.") && !path.starts_with(library) {
        return false;
    }
    let is_below =
        |folder: &str| below == folder || below.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let library = library.trim_start_matches("usr/");
    !PRUNED.iter().any(|pruned| is_below(&pruned.replace('*', library)))
        && !(below.starts_with(library) && (below.contains("/tests/") || below.contains("/config-3")))
        && !has_extension(below, "a")
}

fn has_extension(path: &str, wanted: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == wanted)
}

fn set_rpath(python: &Path) -> Result<(), InstallError> {
    let io = |source| InstallError::Io { action: "changing the interpreter", source };
    let mut bytes = Vec::new();
    fs::File::open(python).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(io)?;
    let changed = with_rpath(&bytes, &format!("$ORIGIN/../lib/{}", multiarch()))
        .map_err(|source| InstallError::Relocate { path: python.to_owned(), source })?;
    fs::remove_file(python).map_err(io)?;
    fs::write(python, changed).map_err(io)?;
    fs::set_permissions(python, std::fs::Permissions::from_mode(0o755)).map_err(io)
}

/// The Python sources below a folder, in order.
pub(crate) fn sources(library: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(library)
        .sort_by_file_name()
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry.file_type().is_file() && entry.path().extension().is_some_and(|extension| extension == "py")
        })
        .map(walkdir::DirEntry::into_path)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_is_taken() {
        let wanted = |path: &str| is_wanted(path, "usr/lib/python3.13", "3.13");
        for path in [
            "usr/lib/python3.13/json/__init__.py",
            "usr/lib/x86_64-linux-gnu/libssl.so.3",
            "usr/bin/python3.13",
            "usr/lib/python3.13/lib-dynload/_ssl.so",
        ] {
            assert!(wanted(path), "{path}");
        }
        for path in [
            "usr/share/doc/x",
            "usr/lib/python3.13/ensurepip/__init__.py",
            "usr/bin/pydoc3.13",
            "etc/python3.13/sitecustomize.py",
            "usr/lib/python3.12/x.py",
            "usr/lib/python3.13/test/x.py",
        ] {
            assert!(!wanted(path), "{path}");
        }
        assert_eq!(merged_usr("lib/x86_64-linux-gnu/libz.so"), "usr/lib/x86_64-linux-gnu/libz.so");
    }
}
