//! What is done with an environment once its packages are unpacked, and its Python may run: `pip:`, bytecode, variables, the bill of materials.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_conda::{Package, installed};
use hoist_environment::is_variable;
use serde_json::Value;

use super::kept::{self, KeptBytecode};
use super::{Work, diagnosis, sbom};
use crate::bytecode;
use crate::context::{CACHE_VARIABLE, UV_BIN_VARIABLE};
use crate::failure::{Failure, chain};
use crate::install::distributions::{self, Distribution};
use crate::install::interpreter::{
    EXECUTABLE_VARIABLE, IDENTITY_VARIABLE, Interpreter, REASON_VARIABLE, VERSION_VARIABLE,
};
use crate::install::lock::Lock;
use crate::install::settings::denies_source_builds;
use crate::install::uv::{UV_VERSION, Uv};
use crate::install::{self, mask_credentials, settings};
use crate::layer::EnvironmentChange::{Default, Override, Prepend};
use crate::layer::EnvironmentScope::{All, Build, Launch};
use crate::offline;
use crate::process;
use crate::sbom::{Bill, Component};

/// A package's file of variables is small.
const MAX_VARIABLES_BYTES: u64 = 1 << 20;
/// Variables that would change whose code runs.
const FORBIDDEN: [&str; 6] = ["PATH", "PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "CONDA_PREFIX"];
impl Work<'_> {
    /// Keeps uv where it is found again when the shared cache is not there. Without it the environment's own pip does.
    pub(super) fn keep_uv(&self) -> Result<(), Failure> {
        let common = self.context.common;
        let shared = common.variable(CACHE_VARIABLE).map(|dir| Path::new(dir).join("pip/uv-bin"));
        let Some(shared) = shared.or_else(|| common.variable(UV_BIN_VARIABLE).map(PathBuf::from)) else {
            return Ok(());
        };
        if self.inputs.pip.is_empty() {
            return Ok(());
        }
        let Ok(found) = fs::read_dir(shared) else { return Ok(()) };
        let dir = self.uv_dir();
        let keep = || -> std::io::Result<()> {
            fs::create_dir_all(&dir)?;
            for entry in found.flatten() {
                fs::copy(entry.path(), dir.join(entry.file_name()))?;
            }
            Ok(())
        };
        keep().map_err(|error| Failure::io("keeping uv for pip's part", &error))?;
        self.context.keep_download_cache()
    }

    /// pip's part of a cache that may be written while code of others runs, because it is this build's alone.
    fn cache_of_pip(&self) -> Option<PathBuf> {
        let common = self.context.common;
        let dir = common.variable(CACHE_VARIABLE).filter(|_| !denies_source_builds(common))?;
        Some(Path::new(dir).join("pip"))
    }

    fn uv_dir(&self) -> PathBuf {
        let own = || self.context.layer("cache").dir().to_owned();
        self.cache_of_pip().unwrap_or_else(own).join("uv-bin")
    }

    /// All that is left to do; `changed` are the packages that are new, where not all are. Python is not started where nothing is left for it.
    pub(super) fn finish(&self, changed: Option<&BTreeSet<String>>, has_bytecode: bool) -> Result<(), Failure> {
        let found = installed(&self.prefix).map_err(|error| diagnosis::explain(&error, self.inputs))?;
        let new = changed.map(|changed| {
            let files =
                found.iter().filter(|(package, _)| changed.contains(&package.name)).flat_map(|(_, files)| files);
            files.map(|file| self.prefix.join(file)).collect::<BTreeSet<PathBuf>>()
        });
        let packages: Vec<Package> = found.into_iter().map(|(package, _)| package).collect();
        let Some(python) = packages.iter().find(|package| package.name == "python") else {
            return Err(Failure::new(
                format!("looking at what {} brought", self.inputs.file),
                "there is no python among the packages",
                "the app is started with the environment's Python",
                "add python to the packages",
            ));
        };
        let executable = self.prefix.join("bin/python");
        let interpreter = Interpreter::of_debian(executable, &python.version, None);
        let library = self.library(&interpreter);
        let site_packages = library.join("site-packages");
        fs::create_dir_all(&site_packages).map_err(|error| Failure::io("looking at the environment", &error))?;
        if !self.inputs.pip.is_empty() {
            self.install_pip(&interpreter)?;
        }
        if !has_bytecode {
            self.compile(&interpreter, &library, new.as_ref())?;
        }
        let of_pip =
            of_pip(&interpreter, &site_packages).map_err(|error| Failure::io("looking at what pip brought", &error))?;
        self.set_variables(&interpreter, &python.build)?;
        let mut bill = Bill::new("hoist/conda", self.context.common);
        bill.components = packages.iter().map(sbom::component).chain(of_pip).collect();
        bill.write(&self.layer)
    }

    /// `pip:` into the environment itself, so that what conda brought is seen.
    fn install_pip(&self, interpreter: &Interpreter) -> Result<(), Failure> {
        let common = self.context.common;
        let io = |error: std::io::Error| Failure::io("installing pip's part", &error);
        let temporary = tempfile::Builder::new().prefix("hoist-conda-").tempdir().map_err(io)?;
        let requirements = temporary.path().join("requirements.txt");
        let lines: Vec<String> = self.inputs.pip.iter().map(|line| from_app(line, &common.app_dir)).collect();
        fs::write(&requirements, lines.join("\n") + "\n").map_err(io)?;
        let settings = settings::settings(common);
        let cache_dir = match self.cache_of_pip() {
            Some(dir) => dir.join("uv-building"),
            None => self.context.layer("cache").dir().join("uv"),
        };
        let uv = Uv::kept(&settings, &self.uv_dir(), &cache_dir, temporary.path());
        let uv = uv.map_or_else(
            || Uv::obtain(interpreter, &settings, &self.uv_dir(), &cache_dir, temporary.path()).ok(),
            Some,
        );
        let count = self.inputs.pip.len();
        let count = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
        let text = if let Some(uv) = uv {
            self.context.output.step(format!("installing {count} of pip: with uv {UV_VERSION}"));
            let arguments =
                ["pip", "install", "--no-config", "--color", "never", "--break-system-packages", "--python"];
            let mut arguments: Vec<std::ffi::OsString> = arguments.iter().map(Into::into).collect();
            arguments.push(interpreter.executable.clone().into());
            arguments.extend(settings.no_index.then(|| "--no-index".into()));
            arguments.extend(["--requirements".into(), requirements.into()]);
            let run = uv.run_heard(&common.app_dir, arguments, &mut |line| self.context.output.detail(line));
            let run = run.map_err(|error| Failure::io("running uv", &error))?;
            if run.ok {
                return Ok(());
            }
            if let Some(failure) = offline::explain("installing what pip: asks for", &run.text) {
                return Err(failure);
            }
            run.text
        } else {
            if settings.is_offline {
                return Err(offline::lacking("installing what pip: asks for", &format!("uv {UV_VERSION}")));
            }
            self.context.output.step(format!("installing {count} of pip: with the environment's pip"));
            let mut command = interpreter.pip(&settings.pip, temporary.path());
            command.args([
                "install",
                "--no-compile",
                "--quiet",
                "--no-cache-dir",
                "--break-system-packages",
                "--requirement",
            ]);
            command.arg(&requirements).current_dir(&common.app_dir);
            let output = process::run(&mut command).map_err(io)?;
            if output.status.success() {
                return Ok(());
            }
            mask_credentials(&String::from_utf8_lossy(&output.stderr))
        };
        Err(diagnosis::pip(&self.inputs.file, &text))
    }

    fn library(&self, interpreter: &Interpreter) -> PathBuf {
        self.prefix.join(format!("lib/python{}", interpreter.minor_version()))
    }

    /// The bytecode that was kept of an environment with these packages, where there is one; else it is asked for.
    pub(super) fn take_bytecode(&self, packages: &[Package]) -> Result<bool, Failure> {
        let python = packages.iter().find(|package| package.name == "python");
        let kept = KeptBytecode::of(self.context.common, &self.prefix, packages);
        let (Some(python), Some(kept)) = (python, kept) else { return Ok(false) };
        let interpreter = Interpreter::of_debian(self.prefix.join("bin/python"), &python.version, None);
        let library = self.library(&interpreter);
        sources_without_bytecode(&library, None)?;
        let is_there = kept
            .take(&library)
            .map_err(|error| Failure::io("taking bytecode that was kept into the environment", &error))?;
        if is_there {
            self.context.output.step("their bytecode was kept from an earlier build");
        } else {
            kept.ask(&self.context.layers_dir);
        }
        Ok(is_there)
    }

    /// Bytecode for all sources, or for those among the new files.
    fn compile(
        &self,
        interpreter: &Interpreter,
        library: &Path,
        new: Option<&BTreeSet<PathBuf>>,
    ) -> Result<(), Failure> {
        let sources = sources_without_bytecode(library, new)?;
        self.context.output.step(format!("compiling {} files", sources.len()));
        bytecode::compile(&interpreter.executable, &sources).map_err(|error| {
            Failure::new(
                "compiling the environment to bytecode",
                chain(&error),
                "the Python of the environment does not work in this base",
                "choose another build of python; `hoist doctor` tells of the machine",
            )
        })?;
        kept::leave(&self.context.layers_dir, library, &sources, interpreter);
        Ok(())
    }

    fn set_variables(&self, interpreter: &Interpreter, build: &str) -> Result<(), Failure> {
        let layer = &self.layer;
        // Those of an environment that was changed may not be wanted any more.
        for scope in ["env", "env.build", "env.launch"] {
            if layer.dir().join(scope).is_dir() {
                fs::remove_dir_all(layer.dir().join(scope))
                    .map_err(|error| Failure::io("setting the environment's variables", &error))?;
            }
        }
        let place = self.prefix.display().to_string();
        layer.set_variable(All, "PATH", Prepend(":"), &self.prefix.join("bin").display().to_string())?;
        layer.set_variable(All, "CONDA_PREFIX", Override, &place)?;
        layer.set_variable(Launch, "PYTHONUNBUFFERED", Default, "1")?;
        layer.set_variable(Launch, "PYTHONDONTWRITEBYTECODE", Default, "1")?;
        layer.set_variable(Build, EXECUTABLE_VARIABLE, Override, &interpreter.executable.display().to_string())?;
        layer.set_variable(Build, VERSION_VARIABLE, Override, &interpreter.version)?;
        let identity = format!("{} ({build}, conda)", interpreter.version);
        layer.set_variable(Build, IDENTITY_VARIABLE, Override, &identity)?;
        layer.set_variable(Build, REASON_VARIABLE, Override, &format!("{} chose it", self.inputs.file))?;
        let mut variables = self.of_packages();
        variables.extend(self.inputs.variables.iter().cloned());
        for (name, value) in &variables {
            if FORBIDDEN.contains(&name.as_str()) {
                self.context.output.warning(format!("{name} is not set: it would change whose code runs"));
                continue;
            }
            layer.set_variable(All, name, Override, value)?;
        }
        self.tell_of_scripts();
        Ok(())
    }

    /// Variables that packages set when an environment is activated (`etc/conda/env_vars.d`).
    fn of_packages(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let Ok(files) = fs::read_dir(self.prefix.join("etc/conda/env_vars.d")) else { return found };
        let mut paths: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let is_small = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= MAX_VARIABLES_BYTES);
            let text = if is_small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            let Ok(Value::Object(values)) = serde_json::from_slice(&text) else { continue };
            let texts = values.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
            found.extend(texts.filter(|(name, value)| is_variable(name) && !value.contains('\0')));
        }
        found
    }

    /// Shell scripts of packages, which nobody runs in an image.
    fn tell_of_scripts(&self) {
        let Ok(files) = fs::read_dir(self.prefix.join("etc/conda/activate.d")) else { return };
        let mut names: Vec<String> = files
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".sh"))
            .collect();
        names.sort();
        if !names.is_empty() {
            let list = names.join(", ");
            self.context
                .output
                .warning(format!("packages bring scripts for `conda activate`, which an image does not run: {list}"));
            self.context
                .output
                .detail("where the app needs what they set, write it below variables: in environment.yml");
        }
    }
}

/// The sources; what packages bring of bytecode goes, because it counts by times, which are all the same in an image.
fn sources_without_bytecode(library: &Path, new: Option<&BTreeSet<PathBuf>>) -> Result<Vec<PathBuf>, Failure> {
    let mut sources = Vec::new();
    for path in python_files(library, new) {
        if path.extension().is_some_and(|extension| extension == "py") {
            sources.push(path);
        } else {
            fs::remove_file(path).map_err(|error| Failure::io("looking for sources to compile", &error))?;
        }
    }
    Ok(sources)
}

/// Sources below Python's library and the bytecode beside them, sorted: all of them, or those among the new files, without looking at the others.
fn python_files(library: &Path, new: Option<&BTreeSet<PathBuf>>) -> Vec<PathBuf> {
    let is_python = |path: &Path| match path.extension().and_then(|extension| extension.to_str()) {
        Some("py") => true,
        Some("pyc") => path.parent().is_some_and(|dir| dir.ends_with("__pycache__")),
        _ => false,
    };
    if let Some(new) = new {
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
        let found = new.iter().filter(|path| path.starts_with(library) && is_python(path) && is_file(path));
        return found.cloned().collect();
    }
    let entries = walkdir::WalkDir::new(library).sort_by_file_name().into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file() && is_python(entry.path()));
    files.map(walkdir::DirEntry::into_path).collect()
}

/// What pip brought, for the bill of materials; what installers note of themselves goes.
fn of_pip(interpreter: &Interpreter, site_packages: &Path) -> std::io::Result<Vec<Component>> {
    let tag = format!("cpython-{}", interpreter.minor_version().replace('.', ""));
    let is_of_pip = |distribution: &Distribution| {
        let installer = fs::read_to_string(distribution.info_dir.join("INSTALLER")).unwrap_or_default();
        matches!(installer.trim(), "uv" | "pip")
    };
    let found: Vec<Distribution> = distributions::installed(site_packages)?.into_iter().filter(is_of_pip).collect();
    for distribution in &found {
        if let Some(fresh) = distributions::look(distribution, site_packages, &tag)?.fresh {
            fresh.finish(site_packages, &tag)?;
        }
    }
    Ok(install::sbom::components(&found, &Lock::default()))
}

/// A line of `pip:` as a requirements file elsewhere has it: files are named from the app's folder.
fn from_app(line: &str, app_dir: &Path) -> String {
    if let Some((option, name)) = hoist_environment::included(line) {
        let is_address = name.contains("://");
        return format!("{option} {}", if is_address { name.into() } else { app_dir.join(name).display().to_string() });
    }
    if let Some(rest) = line.strip_prefix("-e ").map(str::trim).filter(|rest| rest.starts_with('.')) {
        return format!("-e {}", app_dir.join(rest).display());
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pip_name_files_from_the_apps_folder() {
        let of = |line: &str| from_app(line, Path::new("/workspace"));
        assert_eq!(of("-r requirements.txt"), "-r /workspace/requirements.txt");
        assert_eq!(of("-r./more.txt"), "-r /workspace/./more.txt");
        assert_eq!(of("--constraint=c.txt"), "-c /workspace/c.txt");
        assert_eq!(of("-e ."), "-e /workspace/.");
        assert_eq!(of("requests>=2"), "requests>=2");
        assert_eq!(of("-r https://x.invalid/r.txt"), "-r https://x.invalid/r.txt");
    }
}
