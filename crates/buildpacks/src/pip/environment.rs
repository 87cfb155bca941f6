//! The virtual environment: what `python -m venv --without-pip` makes, without what differs from one run to the next.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::interpreter::Interpreter;

/// A virtual environment of an interpreter.
#[derive(Debug, Clone)]
pub(crate) struct VirtualEnvironment {
    pub(crate) dir: PathBuf,
    pub(crate) site_packages: PathBuf,
    pub(crate) python: PathBuf,
}

impl VirtualEnvironment {
    /// The paths of an environment in `dir`, made or not.
    pub(crate) fn at(dir: &Path, interpreter: &Interpreter) -> Self {
        let site_packages = dir.join(format!("lib/python{}/site-packages", interpreter.minor_version()));
        Self { dir: dir.to_owned(), site_packages, python: dir.join("bin/python") }
    }

    /// Makes it.
    pub(crate) fn create(&self, interpreter: &Interpreter) -> std::io::Result<()> {
        let bin_dir = self.dir.join("bin");
        fs::create_dir_all(&bin_dir)?;
        fs::create_dir_all(&self.site_packages)?;
        symlink(&interpreter.executable, &self.python)?;
        for name in ["python3".to_owned(), format!("python{}", interpreter.minor_version())] {
            symlink("python", bin_dir.join(name))?;
        }
        symlink("lib", self.dir.join("lib64"))?;
        let home = interpreter.executable.parent().unwrap_or(Path::new("/usr/bin")).display();
        let version = &interpreter.version;
        let text = format!("home = {home}\ninclude-system-site-packages = false\nversion = {version}\n");
        fs::write(self.dir.join("pyvenv.cfg"), text)
    }

    /// Takes away what installers leave lying about.
    pub(crate) fn tidy(&self) -> std::io::Result<()> {
        for name in [".lock", "CACHEDIR.TAG", ".gitignore"] {
            let path = self.dir.join(name);
            if path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
