//! Brings an environment to what the requirements say: a remembered resolution, else uv resolving and installing at once, else pip for what
//! uv refuses. Then makes the result deterministic, compiles what is new, and writes down what was chosen.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::bytecode_shelf::BytecodeShelf;
use super::diagnosis::{Evidence, Probe, diagnose, needs_source_build, refused_by_uv};
use super::distributions::{Distribution, Fresh, freshen, installed};
use super::environment::VirtualEnvironment;
use super::interpreter::Interpreter;
use super::lock::{Lock, Resolutions, lock_installed};
use super::requirements::RequirementsTree;
use super::settings::{Settings, mask_credentials};
use super::uv::{Uv, UvError};
use crate::bytecode;
use crate::failure::{EXIT_NEEDS_SOURCE_BUILD, Failure, chain};
use crate::output::Output;
use crate::process;

/// All that an installation needs to know.
pub(crate) struct Installation<'a> {
    pub(crate) app_dir: &'a Path,
    pub(crate) tree: &'a RequirementsTree,
    pub(crate) interpreter: &'a Interpreter,
    pub(crate) settings: &'a Settings,
    pub(crate) environment: VirtualEnvironment,
    /// uv, or why pip must do.
    pub(crate) uv: Result<Uv, UvError>,
    /// Whether no build code of a source distribution may run here.
    pub(crate) deny_source_builds: bool,
    /// The machine's memory of resolutions, and the name of this one.
    pub(crate) resolutions: Option<(Resolutions, String)>,
    /// Bytecode that was compiled before.
    pub(crate) shelf: BytecodeShelf,
    pub(crate) temporary: &'a Path,
    pub(crate) output: &'a Output,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) distributions: Vec<Distribution>,
    pub(crate) lock: Lock,
    /// How many of them are new or changed.
    pub(crate) fresh: usize,
}

impl Installation<'_> {
    /// Installs into the environment, which may hold an older state. When `is_new` is set it is empty.
    pub(crate) fn run(&self, is_new: bool) -> Result<Installed, Failure> {
        if self.deny_source_builds
            && let Some(line) = self.tree.source_build()
        {
            return Err(source_build_needed("").and_seen(line));
        }
        let recalled = if is_new { self.install_recalled()? } else { None };
        if recalled.is_none() {
            match &self.uv {
                Ok(uv) => self.install_with_uv(uv)?,
                Err(error) => {
                    self.output.step(format!("{}; pip installs instead", chain(error)));
                    self.install_with_pip()?;
                }
            }
        }
        self.settle(recalled)
    }

    /// The same requirements were resolved on this machine not long ago: only install.
    fn install_recalled(&self) -> Result<Option<Lock>, Failure> {
        let (Some((resolutions, id)), Ok(uv)) = (&self.resolutions, &self.uv) else { return Ok(None) };
        let Some(lock) = resolutions.recall(id) else { return Ok(None) };
        let path = self.temporary.join("recalled.txt");
        fs::write(&path, lock.text()).map_err(|error| Failure::io("writing the resolution", &error))?;
        for offline in [true, false] {
            let mut arguments = self.arguments(&["pip", "sync", "--require-hashes", "--no-build"]);
            arguments.extend(offline.then(|| "--offline".into()));
            arguments.push(path.clone().into());
            if uv.run(self.temporary, arguments).map_err(|error| uv_failure(&error))?.ok {
                self.output.step("resolved on this machine less than a day ago: installing that");
                return Ok(Some(lock));
            }
        }
        resolutions.forget(id);
        Ok(None)
    }

    fn install_with_uv(&self, uv: &Uv) -> Result<(), Failure> {
        let requirements = self.requirements_file()?;
        let mut arguments = self.arguments(&["pip", "install", "--exact"]);
        arguments.extend(self.deny_source_builds.then(|| "--no-build".into()));
        arguments.extend(["--requirements".into(), requirements.clone().into()]);
        let run = uv.run(self.app_dir, arguments).map_err(|error| uv_failure(&error))?;
        if run.ok {
            return Ok(());
        }
        if let Some(what) = refused_by_uv(&run.text) {
            self.output.step(format!("uv does not take {what}; pip installs instead"));
            return self.install_with_pip();
        }
        if self.deny_source_builds && needs_source_build(&run.text) {
            return Err(source_build_needed(&run.text));
        }
        let probe = |probe: Probe<'_>| self.probe(uv, probe);
        let python_reason = self.interpreter.reason.as_deref();
        let version = &self.interpreter.version;
        Err(diagnose(&Evidence {
            text: &run.text,
            tree: self.tree,
            python_version: version,
            python_reason,
            probe: &probe,
        }))
    }

    /// Asks the index for the version of a package that is nearest to what was wanted.
    fn probe(&self, uv: &Uv, probe: Probe<'_>) -> Option<String> {
        let (requirement, lowest) = match probe {
            Probe::Highest(requirement) => (requirement, false),
            Probe::Lowest(requirement) => (requirement, true),
        };
        let path = self.temporary.join("probe.txt");
        fs::write(&path, format!("{requirement}\n")).ok()?;
        let mut arguments =
            self.arguments(&["pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--no-build"]);
        if lowest {
            arguments.extend(["--resolution".into(), "lowest".into()]);
        }
        arguments.push(path.into());
        let run = uv.run(self.temporary, arguments).ok().filter(|run| run.ok)?;
        run.text.lines().find_map(|line| line.split_once("==").map(|(_, version)| version.trim().to_owned()))
    }

    fn arguments(&self, start: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = start.iter().map(OsString::from).collect();
        arguments.extend(["--no-config".into(), "--color".into(), "never".into(), "--python".into()]);
        arguments.push(self.environment.python.clone().into());
        arguments
    }

    /// pip's own way, from an empty environment, because pip takes nothing away.
    fn install_with_pip(&self) -> Result<(), Failure> {
        let doing = "installing with pip";
        let io = |error: &std::io::Error| Failure::io(doing, error);
        if self.environment.dir.exists() {
            fs::remove_dir_all(&self.environment.dir).map_err(|error| io(&error))?;
        }
        self.environment.create(self.interpreter).map_err(|error| io(&error))?;
        let command = self.interpreter.pip_with(&self.environment.python, &self.settings.pip, self.temporary);
        let mut command = command.ok_or_else(|| {
            Failure::new(
                doing,
                "the interpreter has no pip",
                "uv is not enough here, and nothing else can install",
                "use hoist/python, which brings pip to the build",
            )
        })?;
        let requirements = self.requirements_file()?;
        command.args(["install", "--no-compile", "--no-warn-script-location", "--quiet", "--no-cache-dir"]);
        if self.deny_source_builds {
            command.args(["--only-binary", ":all:"]);
        }
        command.arg("--requirement").arg(requirements).current_dir(self.app_dir);
        let output = process::run(&mut command).map_err(|error| io(&error))?;
        if output.status.success() {
            return Ok(());
        }
        let text = mask_credentials(&String::from_utf8_lossy(&output.stderr));
        if self.deny_source_builds {
            return Err(source_build_needed(&text));
        }
        let python_reason = self.interpreter.reason.as_deref();
        let version = &self.interpreter.version;
        Err(diagnose(&Evidence {
            text: &text,
            tree: self.tree,
            python_version: version,
            python_reason,
            probe: &|_| None,
        }))
    }

    /// The requirements as installers can read them: the app's own file, or decoded copies when one of the files is not plain UTF-8.
    fn requirements_file(&self) -> Result<PathBuf, Failure> {
        let first = &self.tree.files[0];
        if self.tree.files.iter().all(|file| file.plain) {
            return Ok(first.path.clone());
        }
        let dir = self.temporary.join("decoded");
        for file in &self.tree.files {
            let path = dir.join(&file.path);
            let base = self.app_dir.join(file.path.parent().unwrap_or(Path::new("")));
            let write = || -> std::io::Result<()> {
                fs::create_dir_all(path.parent().unwrap_or(&dir))?;
                fs::write(&path, absolute_paths(&file.text, &base))
            };
            write().map_err(|error| Failure::io("decoding the requirements", &error))?;
        }
        Ok(dir.join(&first.path))
    }

    /// Bytecode for what is fresh: from the shelf where the same was compiled before, else compiled now and kept there.
    fn compile(&self, fresh: &[Fresh], tag: &str) -> Result<(), Failure> {
        let io = |error: std::io::Error| Failure::io("looking for bytecode that was compiled before", &error);
        let site_packages = &self.environment.site_packages;
        let mut sources: Vec<PathBuf> = Vec::new();
        let mut to_keep = Vec::new();
        for one in fresh {
            let key = self.shelf.key(site_packages, &one.sources).map_err(io)?;
            if let Some(key) = key {
                if self.shelf.take(&key, site_packages).map_err(io)? {
                    continue;
                }
                to_keep.push((key, one));
            }
            sources.extend(one.sources.iter().cloned());
        }
        bytecode::compile(&self.environment.python, &sources).map_err(|error| {
            Failure::new(
                "compiling the installed packages to bytecode",
                chain(&error),
                "the interpreter of the environment does not work",
                "build again with `--clear-cache`; if that does not help, report it",
            )
        })?;
        for (key, one) in to_keep {
            self.shelf.put(&key, site_packages, &one.sources, tag);
        }
        Ok(())
    }

    /// What every installer leaves, made the same each time.
    fn settle(&self, recalled: Option<Lock>) -> Result<Installed, Failure> {
        let io = |error: std::io::Error| Failure::io("finishing the environment", &error);
        let site_packages = &self.environment.site_packages;
        let tag = self.interpreter.cache_tag();
        self.environment.tidy().map_err(io)?;
        let distributions = installed(site_packages).map_err(io)?;
        let mut fresh = Vec::new();
        for distribution in &distributions {
            fresh.extend(freshen(distribution, site_packages, &tag).map_err(io)?);
        }
        self.compile(&fresh, &tag)?;
        let count = fresh.len();
        for one in fresh {
            one.finish(site_packages, &tag).map_err(io)?;
        }
        let lock = match recalled {
            Some(lock) => lock,
            None => lock_installed(self.uv.as_ref().ok(), &self.environment.python, &distributions, self.temporary)
                .map_err(|error| uv_failure(&error))?,
        };
        if let Some((resolutions, id)) = &self.resolutions {
            resolutions.remember(id, &lock);
        }
        Ok(Installed { distributions, lock, fresh: count })
    }
}

/// Requirements that are paths, made absolute: a decoded copy lies elsewhere than the file.
fn absolute_paths(text: &str, base: &Path) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        let (option, target) = match line.split_once(' ') {
            Some((option @ ("-e" | "--editable" | "-f" | "--find-links"), target)) => (Some(option), target.trim()),
            _ => (None, line.trim_start()),
        };
        if target == "." || target.starts_with("./") || target.starts_with("../") {
            if let Some(option) = option {
                result.push_str(option);
                result.push(' ');
            }
            result.push_str(&base.join(target.strip_prefix("./").unwrap_or(target)).to_string_lossy());
        } else {
            result.push_str(line);
        }
        result.push('\n');
    }
    result
}

fn source_build_needed(text: &str) -> Failure {
    Failure::new(
        "installing the requirements from wheels alone",
        "at least one requirement is built from source here",
        "its build code must run, which is not done where the shared cache can be written",
        "so this step is run again, with a cache of the image's own",
    )
    .with_evidence(super::diagnosis::evidence_lines(text))
    .with_exit_code(EXIT_NEEDS_SOURCE_BUILD)
}

pub(crate) fn uv_failure(error: &UvError) -> Failure {
    Failure::new(
        "running uv",
        chain(error),
        "the installer could not be started or its files not be written",
        "look for a full disk or a folder that is mounted noexec, then build again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_decoded_requirements_still_mean_the_app() {
        let text = "flask\n-e .\n./vendor/a.whl\n-r base.txt\n--find-links ./w\n";
        assert_eq!(
            absolute_paths(text, Path::new("/workspace/sub")),
            "flask\n-e /workspace/sub/.\n/workspace/sub/vendor/a.whl\n-r base.txt\n--find-links /workspace/sub/w\n"
        );
    }
}
