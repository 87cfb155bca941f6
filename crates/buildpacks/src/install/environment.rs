//! The virtual environment: what `python -m venv --without-pip` makes, without what differs from one run to the next.
//!
//! While uv is at work where the shared cache can be written, the environment is *open*: it has no `pyvenv.cfg`, so the interpreter that uv
//! asks about itself does not see site-packages, where wheels may put code that runs at every start (`.pth`, `sitecustomize`, `_manylinux`).
//! A wheel's code never runs there. Nothing is built in an open environment: builds look for the interpreter behind it.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::interpreter::Interpreter;
use crate::keep::sha256_of;

const CONFIGURATION: &str = "pyvenv.cfg";
/// What the lifecycle reads in a layer, besides the folders of programs and libraries.
const READ_BY_LIFECYCLE: [&str; 4] = ["env", "env.build", "env.launch", "exec.d"];

/// A virtual environment of an interpreter.
#[derive(Debug, Clone)]
pub(crate) struct VirtualEnvironment {
    pub(crate) dir: PathBuf,
    pub(crate) site_packages: PathBuf,
    pub(crate) python: PathBuf,
}

/// Tells whether a program was changed: inode, length, when it was written, and its content where code of others runs, which could set any time. The
/// time of the last change of the inode says nothing: the file may lie in a layer of which other builds make links meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    written: (u64, u64, i64, i64),
    content: Option<String>,
}

impl Mark {
    /// Of the interpreter.
    pub(crate) fn of(interpreter: &Interpreter, foreign_code: bool) -> std::io::Result<Self> {
        let about = fs::metadata(&interpreter.executable)?;
        Ok(Self {
            written: (about.ino(), about.len(), about.mtime(), about.mtime_nsec()),
            content: foreign_code.then(|| sha256_of(&interpreter.executable)).transpose()?,
        })
    }
}

impl VirtualEnvironment {
    /// The paths of an environment in `dir`, made or not.
    pub(crate) fn at(dir: &Path, interpreter: &Interpreter) -> Self {
        let site_packages = dir.join(format!("lib/python{}/site-packages", interpreter.minor_version()));
        Self { dir: dir.to_owned(), site_packages, python: dir.join("bin/python") }
    }

    /// Makes it, open.
    pub(crate) fn create(&self, interpreter: &Interpreter) -> std::io::Result<()> {
        fs::create_dir_all(self.dir.join("bin"))?;
        fs::create_dir_all(&self.site_packages)?;
        for (name, target) in Self::links(interpreter) {
            symlink(target, self.dir.join(name))?;
        }
        Ok(())
    }

    /// Its links and where they lead.
    fn links(interpreter: &Interpreter) -> [(String, PathBuf); 4] {
        [
            ("bin/python".to_owned(), interpreter.executable.clone()),
            ("bin/python3".to_owned(), "python".into()),
            (format!("bin/python{}", interpreter.minor_version()), "python".into()),
            ("lib64".to_owned(), "lib".into()),
        ]
    }

    /// Opens an environment that was made before.
    pub(crate) fn open(&self) -> std::io::Result<()> {
        remove(&self.dir.join(CONFIGURATION))
    }

    /// Closes it: from now on its interpreter sees what is installed.
    pub(crate) fn close(&self, interpreter: &Interpreter) -> std::io::Result<()> {
        let home = interpreter.executable.parent().unwrap_or(Path::new("/usr/bin")).display();
        let version = &interpreter.version;
        let text = format!("home = {home}\ninclude-system-site-packages = false\nversion = {version}\n");
        fs::write(self.dir.join(CONFIGURATION), text)
    }

    /// The first of its links that is not as it was made: a program of the same name took its place.
    pub(crate) fn replaced_link(&self, interpreter: &Interpreter) -> Option<String> {
        let is_replaced = |(name, target): &(String, PathBuf)| {
            fs::read_link(self.dir.join(name)).ok().as_deref() != Some(target.as_path())
        };
        Self::links(interpreter).into_iter().find(is_replaced).map(|(name, _)| name)
    }

    /// Takes away what installers leave lying about.
    pub(crate) fn tidy(&self) -> std::io::Result<()> {
        [".lock", "CACHEDIR.TAG", ".gitignore"].iter().try_for_each(|name| remove(&self.dir.join(name)))
    }

    /// Takes away what a wheel put where the lifecycle looks for a layer's variables and programs, and names it. Variables for later
    /// buildpacks would be a way to have them start a wheel's program.
    pub(crate) fn take_lifecycle_files(&self, own: &[&str]) -> std::io::Result<Vec<String>> {
        let mut taken = Vec::new();
        for folder in READ_BY_LIFECYCLE {
            let path = self.dir.join(folder);
            let Ok(about) = path.symlink_metadata() else { continue };
            if !about.is_dir() {
                // A link is never followed: what it leads to is somebody else's.
                remove(&path)?;
                taken.push(folder.to_owned());
                continue;
            }
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if own.contains(&name.as_str()) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    remove(&entry.path())?;
                }
                taken.push(name);
            }
        }
        taken.sort();
        Ok(taken)
    }
}

/// Removes a file or a link that may be there.
fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_a_wheel_sets_for_later_buildpacks_are_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let environment = VirtualEnvironment {
            dir: dir.path().to_owned(),
            site_packages: dir.path().join("lib"),
            python: dir.path().join("bin/python"),
        };
        for name in
            ["env/VIRTUAL_ENV.override", "env/PATH.prepend", "env.build/HOIST_INTERPRETER.override", "exec.d/web/x"]
        {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), "/workspace/evil").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        symlink(elsewhere.path(), dir.path().join("env.launch")).unwrap();
        let taken = environment.take_lifecycle_files(&["env/VIRTUAL_ENV.override"]).unwrap();
        assert_eq!(taken, ["env.build/HOIST_INTERPRETER.override", "env.launch", "env/PATH.prepend", "exec.d/web"]);
        assert!(dir.path().join("env/VIRTUAL_ENV.override").exists());
        assert!(elsewhere.path().join("kept").exists());
        assert!(!dir.path().join("env.build/HOIST_INTERPRETER.override").exists());
    }

    #[test]
    fn a_link_to_the_interpreter_is_no_change_of_it_and_another_content_is() {
        let dir = tempfile::tempdir().unwrap();
        let interpreter = Interpreter {
            executable: dir.path().join("python3"),
            version: "3.13.5".into(),
            identity: String::new(),
            reason: None,
            pip_wheel: None,
        };
        fs::write(&interpreter.executable, "one").unwrap();
        let time = fs::metadata(&interpreter.executable).unwrap().modified().unwrap();
        for foreign_code in [false, true] {
            let mark = Mark::of(&interpreter, foreign_code).unwrap();
            fs::hard_link(&interpreter.executable, dir.path().join("link")).unwrap();
            assert_eq!(Mark::of(&interpreter, foreign_code).unwrap(), mark, "{foreign_code}");
            fs::remove_file(dir.path().join("link")).unwrap();
        }
        let mark = Mark::of(&interpreter, true).unwrap();
        fs::write(&interpreter.executable, "two").unwrap();
        fs::OpenOptions::new().write(true).open(&interpreter.executable).unwrap().file().set_modified(time).unwrap();
        assert_ne!(Mark::of(&interpreter, true).unwrap(), mark, "whatever time it says");
    }
}
