//! Interpreters that Debian does not have: python-build-standalone, which uv chooses, fetches and verifies. They bring their own libraries
//! and run wherever there is a C library. Where they come from is uv's own default, or what the user names (`UV_PYTHON_INSTALL_MIRROR`,
//! `UV_PYTHON_DOWNLOADS_JSON_URL`, which may be `file://`).

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::install::sources;
use super::mirror;
use super::requests::{LIST_VARIABLE, MIRROR_VARIABLE};
use super::version::debian_words;
use crate::bytecode;
use crate::context::Environment;
use crate::failure::{Failure, chain};
use crate::install::uv::Uv;
use crate::keep;
use crate::offline;
use crate::process;
use crate::sbom::{Component, Kind, Licences};

/// What stands in the metadata of a layer where a suite of Debian would.
pub(super) const SUITE: &str = "standalone";

/// Parts that no app needs, below the interpreter; `*` stands for the library's folder (`lib/python3.12`).
const PRUNED: &[&str] = &[
    "share",
    "lib/pkgconfig",
    "*/test",
    "*/idlelib",
    "*/lib2to3",
    "*/ensurepip",
    "*/turtledemo",
    "*/pydoc_data",
    "*/tkinter",
    "*/EXTERNALLY-MANAGED",
    "*/LICENSE.txt",
];
/// Programs that the image has.
const PROGRAMS: &[&str] = &["python", "python3"];
/// The file of the build layer that says what lies in the other one.
const ABOUT: &str = "standalone.json";

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// `3.12.16`.
    pub(super) version: String,
    /// The interpreter, below the layer.
    pub(super) executable: PathBuf,
    /// The archive's name, and its SHA-256.
    pub(super) archive: Option<(String, String)>,
}

/// The two layers.
pub(super) struct Places<'a> {
    pub(super) layer_dir: &'a Path,
    pub(super) tools_dir: &'a Path,
}

impl Places<'_> {
    /// What a kept interpreter says of itself.
    pub(super) fn about(&self) -> Option<About> {
        serde_json::from_slice(&fs::read(self.tools_dir.join(ABOUT)).ok()?).ok()
    }

    /// Has uv install `wanted`, of the minor version `minor`, and makes it what hoist's interpreters are: pruned, compiled, with headers
    /// and pip apart. Archives are kept in `archives_dir`.
    pub(super) fn install(&self, uv: &Uv, wanted: &str, minor: &str, archives_dir: &Path) -> Result<About, Failure> {
        let doing = || format!("installing Python {wanted} as a standalone build");
        let io = |error: std::io::Error| Failure::io(doing(), &error);
        let before = archives(archives_dir);
        let uv = uv
            .with_variable("UV_PYTHON_DOWNLOADS", "manual")
            .with_variable("UV_PYTHON_CACHE_DIR", archives_dir)
            .with_variable("UV_PYTHON_INSTALL_BIN", "0");
        let mut arguments = vec!["python".into(), "install".into(), "--no-bin".into(), "--install-dir".into()];
        arguments.extend([self.layer_dir.as_os_str().to_owned(), wanted.into()]);
        let run = uv.run(self.layer_dir, arguments).map_err(|error| Failure::io(doing(), &error))?;
        if !run.ok {
            forget_useless(archives_dir, &before, &run.text);
            if offline::is_missing(&run.text) {
                return Err(offline::lacking(doing(), &format!("Python {wanted}")));
            }
            let (mirror, list) = (uv.variable(MIRROR_VARIABLE), uv.variable(LIST_VARIABLE));
            return Err(mirror::explain(wanted, &run.text, &mirror, &list));
        }
        let home = self.settle(minor).map_err(io)?.ok_or_else(|| unexpected(wanted, &run.text))?;
        let executable = Path::new(&home).join(format!("bin/python{minor}"));
        let python = self.layer_dir.join(&executable);
        let program = python.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(machine) = machine_of(&python).filter(|machine| machine != std::env::consts::ARCH) {
            if let [only] = added(archives_dir, &before).as_slice() {
                let _ = fs::remove_file(only);
            }
            return Err(foreign(wanted, &program, &machine));
        }
        let version = version_of(&python);
        let version =
            version.ok_or_else(|| unexpected(wanted, &format!("{program} does not run and say its version")))?;
        if version.rsplit_once('.').is_none_or(|(start, _)| start != minor) {
            return Err(unexpected(wanted, &format!("it says that it is Python {version}")));
        }
        let library = self.layer_dir.join(&home).join(format!("lib/python{minor}"));
        bytecode::compile(&python, &sources(&library)).map_err(|error| unexpected(wanted, &chain(&error)))?;
        let (after, added) = (archives(archives_dir), added(archives_dir, &before));
        let is_its = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().contains(&format!("cpython-{version}")))
        };
        let archive = added.iter().find(is_its).or_else(|| after.iter().find(is_its));
        let archive = archive.map(|path| Ok::<_, std::io::Error>((name_of(path), keep::sha256_of(path)?)));
        let about = About { version, executable, archive: archive.transpose().map_err(io)? };
        let text = serde_json::to_vec(&about).map_err(|error| Failure::io(doing(), &error))?;
        fs::write(self.tools_dir.join(ABOUT), text).map_err(io)?;
        Ok(about)
    }

    /// Prunes what uv unpacked, moves headers and pip into the build layer, and makes the links of `bin`. Answers the interpreter's folder;
    /// none when there is no interpreter of that minor version in it.
    fn settle(&self, minor: &str) -> std::io::Result<Option<String>> {
        let Some(home) = tidy(self.layer_dir)? else { return Ok(None) };
        let dir = self.layer_dir.join(&home);
        if !dir.join(format!("bin/python{minor}")).is_file() {
            return Ok(None);
        }
        let library = format!("lib/python{minor}");
        for pruned in PRUNED {
            remove(&dir.join(pruned.replace('*', &library)))?;
        }
        for entry in fs::read_dir(dir.join("lib"))?.chain(fs::read_dir(dir.join(&library))?).flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_graphical =
                ["tcl", "tk", "itcl", "thread2", "libtcl", "libtk"].iter().any(|start| name.starts_with(start));
            if name.starts_with("config-3")
                || Path::new(&name).extension().is_some_and(|end| end == "a")
                || (is_graphical && entry.path().parent() != Some(&dir.join(&library)))
            {
                remove(&entry.path())?;
            }
        }
        for entry in fs::read_dir(dir.join("bin"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !PROGRAMS.contains(&name.as_str()) && name != format!("python{minor}") {
                remove(&entry.path())?;
            }
        }
        self.split_build_tools(&dir, minor)?;
        fs::create_dir_all(self.layer_dir.join("bin"))?;
        for name in [&format!("python{minor}"), "python3", "python"] {
            let target = Path::new("..").join(&home).join(format!("bin/python{minor}"));
            symlink(target, self.layer_dir.join("bin").join(name))?;
        }
        Ok(Some(home))
    }

    fn split_build_tools(&self, dir: &Path, minor: &str) -> std::io::Result<()> {
        let headers = dir.join(format!("include/python{minor}"));
        if headers.is_dir() {
            let target = self.tools_dir.join("include");
            move_dir(&headers, &target)?;
            // Where sysconfig says the headers are: they lie in the build layer, and at launch the link leads nowhere.
            symlink(target, headers)?;
        }
        let site_packages = dir.join(format!("lib/python{minor}/site-packages"));
        let pip = site_packages.join("pip");
        if pip.is_dir() {
            // A folder that is used as the wheel which Debian has.
            move_dir(&pip, &self.tools_dir.join("wheels/pip.whl/pip"))?;
        }
        remove(&site_packages)?;
        fs::create_dir_all(site_packages)
    }
}

/// Takes away what uv leaves beside the interpreter's folder, and answers its name.
fn tidy(layer_dir: &Path) -> std::io::Result<Option<String>> {
    let mut home = None;
    for entry in fs::read_dir(layer_dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name.starts_with("cpython-") {
            home = Some(name);
        } else {
            remove(&entry.path())?;
        }
    }
    Ok(home)
}

/// Layers may lie on different file systems, and a rename does not cross them.
fn move_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            move_dir(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target).map(drop)?;
        }
    }
    fs::remove_dir_all(from)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// The archives that were not there before.
fn added(dir: &Path, before: &[PathBuf]) -> Vec<PathBuf> {
    archives(dir).into_iter().filter(|path| !before.contains(path)).collect()
}

/// Takes away what uv fetched and could not use. It keeps a wrong archive under the hash that a right one would have, and would take it again
/// when the mirror has long been mended.
fn forget_useless(dir: &Path, before: &[PathBuf], said: &str) {
    for path in added(dir, before) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((start, name)) = name.split_once('-') else { continue };
        let is_wrong = || keep::sha256_of(&path).is_ok_and(|hash| !hash.starts_with(start));
        if said.contains(name) || is_wrong() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The archives that uv keeps, in order.
fn archives(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().replace("%2B", "+");
    // uv puts a part of the hash before it.
    name.find("cpython-").map_or(name.clone(), |start| name[start..].to_owned())
}

fn version_of(python: &Path) -> Option<String> {
    let program = "import sys, ssl, sqlite3, ctypes, zlib, lzma; print('%d.%d.%d' % sys.version_info[:3])";
    let output = process::run(process::command(python, &Environment::new()).args(["-I", "-c", program])).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The machine that a program is for, as Rust names it; of one that is not known here, its number. None for what is no ELF file.
fn machine_of(program: &Path) -> Option<String> {
    let mut head = [0; 20];
    fs::File::open(program).ok()?.read_exact(&mut head).ok()?;
    let is_little = head.starts_with(b"\x7fELF") && head[5] == 1;
    is_little.then(|| match u16::from_le_bytes([head[18], head[19]]) {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        number => format!("number {number} of ELF's list"),
    })
}

fn foreign(wanted: &str, program: &str, machine: &str) -> Failure {
    let here = std::env::consts::ARCH;
    Failure::new(
        format!("installing Python {wanted} as a standalone build"),
        format!("{program} of the archive is a program for {machine}"),
        format!("this machine is {here}: the mirror, or its list, has another machine's archive under that name"),
        format!("put the archive for {here} there, or mend the list that {LIST_VARIABLE} names"),
    )
    .and_fix(format!("or choose a Python of Debian: {} (.python-version, BP_CPYTHON_VERSION)", debian_words()))
}

fn unexpected(wanted: &str, seen: &str) -> Failure {
    Failure::new(
        format!("installing Python {wanted} as a standalone build"),
        seen.trim(),
        "that is not the interpreter that was asked for, or it does not run on this base",
        format!(
            "look at what {MIRROR_VARIABLE} and {LIST_VARIABLE} name, or choose a Python of Debian: {}",
            debian_words()
        ),
    )
}

/// A standalone interpreter as a component of the bill.
pub(super) fn component(about: &About) -> Component {
    let (archive, sha256) = about.archive.clone().unzip();
    Component {
        kind: Kind::Application,
        name: "python".to_owned(),
        version: about.version.clone(),
        purl: format!("pkg:generic/python@{}?distribution=python-build-standalone", about.version),
        licences: Licences::of_id("Python-2.0"),
        sha256,
        archive,
        ..Component::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uv_fetched_and_could_not_use_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let before = dir.path().join("000000000-there-before.tar.gz");
        for name in [
            "000000000-there-before.tar.gz",
            "000000000-wrong.tar.gz",
            "2d711642b-right.tar.gz",
            "2d711642b-half.tar.gz",
        ] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        forget_useless(dir.path(), std::slice::from_ref(&before), "cause: Failed to extract archive: half.tar.gz");
        assert_eq!(archives(dir.path()), [before, dir.path().join("2d711642b-right.tar.gz")]);
    }

    #[test]
    fn what_is_listed_is_the_interpreter_with_its_archive() {
        let about = About {
            version: "3.12.16".into(),
            executable: "cpython-3.12.16-linux-x86_64-gnu/bin/python3.12".into(),
            archive: Some((name_of(Path::new("/c/0a1b-cpython-3.12.16%2B20261110-x.tar.gz")), "00".into())),
        };
        let component = component(&about);
        assert_eq!((component.name.as_str(), component.version.as_str()), ("python", "3.12.16"));
        assert_eq!(component.archive.as_deref(), Some("cpython-3.12.16+20261110-x.tar.gz"));
        assert_eq!(component.sha256.as_deref(), Some("00"));
    }
}
