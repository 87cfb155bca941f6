//! Brings an environment to what the requirements say: a remembered resolution, else uv resolving and installing at once, else pip for what
//! uv refuses. Then makes the result deterministic, compiles what is new, and writes down what was chosen.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::bytecode_shelf::{BytecodeShelf, Kept, at_once};
use super::diagnosis::{Evidence, LIBRARY_MISSING, Probe, diagnose, evidence_lines, needs_source_build, refused_by_uv};
use super::distributions::{Distribution, Fresh, Looked, installed, look};
use super::environment::{Mark, VirtualEnvironment};
use super::interpreter::Interpreter;
use super::libraries::{self, Provided};
use super::lock::{Lock, Resolutions};
use super::settings::{NEWEST, Settings, mask_credentials};
use super::uv::{UV_VERSION, Uv, UvError};
use super::vendored;
use super::wanted::{Listed, Wanted};
use crate::as_of::{self, AsOf};
use crate::bytecode;
use crate::failure::{EXIT_NEEDS_SOURCE_BUILD, Failure, chain};
use crate::offline;
use crate::output::Output;
use crate::pip::requirements::find_links_of;
use crate::process;

/// Distributions whose missing libraries are told of.
const MAX_LIBRARY_WARNINGS: usize = 6;

/// What uv says when it found no versions that fit, or could not build one that it found.
const RESOLUTION_FAILED: &[&str] =
    &["No solution found when resolving", "Failed to build ", "Failed to download and build "];

/// All that an installation needs to know.
pub(crate) struct Installation<'a> {
    pub(crate) app_dir: &'a Path,
    /// The root of the build image.
    pub(crate) root_dir: &'a Path,
    /// Where the packages of Debian that the app asked for have their libraries.
    pub(crate) library_path: &'a OsStr,
    pub(crate) wanted: &'a Wanted,
    pub(crate) interpreter: &'a Interpreter,
    pub(crate) settings: &'a Settings,
    pub(crate) environment: VirtualEnvironment,
    /// uv, or why pip must do.
    pub(crate) uv: Result<Uv, UvError>,
    /// The day that the app suggests for its packages.
    pub(crate) suggested_day: Option<AsOf>,
    /// Whether no build code of a source distribution may run here.
    pub(crate) deny_source_builds: bool,
    /// The machine's memory of resolutions, and the name of this one.
    pub(crate) resolutions: Option<(Resolutions, String)>,
    /// What was chosen when the environment was made that is updated now.
    pub(crate) previous: Lock,
    /// Bytecode that was compiled before.
    pub(crate) shelf: BytecodeShelf,
    pub(crate) temporary: &'a Path,
    pub(crate) output: &'a Output,
}

/// Who installed. What pip fetched is not in uv's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installer {
    Uv,
    Pip,
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
        let mark = self.mark().map_err(|error| Failure::io("looking at the interpreter", &error))?;
        if !self.deny_source_builds {
            // Builds need an environment that knows its base; and the shared cache is not here.
            self.environment.close(self.interpreter).map_err(|error| Failure::io("closing the environment", &error))?;
        }
        let recalled = if is_new { self.install_recalled()? } else { None };
        let installer = match &self.uv {
            _ if recalled.is_some() => Installer::Uv,
            Ok(_) if self.prefers_binaries() && !self.deny_source_builds => {
                self.install_with_pip("uv does not know --prefer-binary")?
            }
            Ok(uv) => self.install_with_uv(uv)?,
            Err(error) => self.install_with_pip(&chain(error))?,
        };
        if recalled.is_none() {
            self.bring_setuptools()?;
        }
        self.check_interpreter(&mark)?;
        self.settle(recalled, installer)
    }

    fn mark(&self) -> std::io::Result<Mark> {
        Mark::of(self.interpreter, !self.deny_source_builds)
    }

    /// Where nothing may be built, uv chooses among wheels alone, which is more than is asked for. pip knows no day.
    fn prefers_binaries(&self) -> bool {
        (self.settings.binaries.prefer || self.wanted.tree().options.prefer_binary) && self.settings.as_of.is_none()
    }

    /// A program of a package may be called `python`; then it would be started in place of the interpreter from here on.
    fn check_interpreter(&self, mark: &Mark) -> Result<(), Failure> {
        let replaced = self.environment.replaced_link(self.interpreter);
        let touched = self.mark().ok().as_ref() != Some(mark);
        let Some(name) = replaced.or_else(|| touched.then(|| "bin/python".to_owned())) else { return Ok(()) };
        let who = self.owner_of(&name).map_or_else(|| "a package".to_owned(), |name| format!("the package {name}"));
        Err(Failure::new(
            "looking at what was installed",
            format!("{who} put a file of its own in the place of {name}"),
            "programs of packages lie beside the environment's Python, and this one would be started in its place",
            "remove the requirement, or the one that needs it",
        ))
    }

    /// The distribution whose RECORD has a file of the environment.
    fn owner_of(&self, name: &str) -> Option<String> {
        let line = format!("../../../{name},");
        let lists = |distribution: &Distribution| {
            fs::read_to_string(distribution.info_dir.join("RECORD"))
                .is_ok_and(|record| record.lines().any(|found| found.starts_with(&line)))
        };
        installed(&self.environment.site_packages).ok()?.into_iter().find(lists).map(|distribution| distribution.name)
    }

    /// The same requirements were resolved on this machine not long ago: only install.
    fn install_recalled(&self) -> Result<Option<Lock>, Failure> {
        let (Some((resolutions, id)), Ok(uv)) = (&self.resolutions, &self.uv) else { return Ok(None) };
        let Some(lock) = resolutions.recall(id, self.settings.is_offline) else { return Ok(None) };
        let path = self.temporary.join("recalled.txt");
        fs::write(&path, lock.text()).map_err(|error| Failure::io("writing the resolution", &error))?;
        for offline in [true, false] {
            let mut arguments = self.arguments(&["pip", "sync", "--require-hashes", "--no-build"]);
            arguments.extend(self.prefix());
            arguments.extend(offline.then(|| "--offline".into()));
            arguments.push(path.clone().into());
            if uv.run(self.temporary, arguments).map_err(|error| uv_failure(&error))?.ok {
                self.output.step(if self.settings.is_offline {
                    "resolved before: installing that, without the network"
                } else {
                    "resolved on this machine less than a day ago: installing that"
                });
                return Ok(Some(lock));
            }
        }
        resolutions.forget(id);
        Ok(None)
    }

    fn install_with_uv(&self, uv: &Uv) -> Result<Installer, Failure> {
        let requirements = self.requirements_file()?;
        let locked = matches!(self.wanted, Wanted::Locked(_));
        let start: &[&str] =
            if locked { &["pip", "sync", "--allow-empty-requirements"] } else { &["pip", "install", "--exact"] };
        let mut arguments = self.arguments(start);
        arguments.extend(self.prefix());
        arguments.extend(self.formats());
        arguments.extend(self.indexes());
        arguments.extend(self.wanted.tree().options.arguments());
        let folders = self.wanted.tree().link_folders.iter().cloned().chain(self.settings.link_folders());
        arguments.extend(vendored::arguments(folders.map(|folder| self.app_dir.join(folder))));
        if locked && self.is_there(uv, &arguments, &requirements)? {
            return Ok(Installer::Uv);
        }
        if !locked {
            arguments.extend(self.bound(None)?.into_iter().flat_map(|path| ["--requirements".into(), path.into()]));
            arguments.push("--requirements".into());
        }
        arguments.push(requirements.into());
        let mut heard = |line: &str| self.output.detail(self.settings.secrets.mask(line));
        let run = uv.run_heard(self.app_dir, arguments, &mut heard);
        let run = run.map_err(|error| uv_failure(&error))?;
        if run.ok {
            return Ok(Installer::Uv);
        }
        if let Some(what) = refused_by_uv(&run.text) {
            return self.install_with_pip(&format!("uv does not take {what}"));
        }
        if self.deny_source_builds && needs_source_build(&run.text) {
            return Err(source_build_needed(&self.settings.secrets.mask(&run.text)));
        }
        let failure = self.diagnosed(&run.text, &|probe| self.probe(uv, probe));
        // Another day has no other libraries.
        let may_be_the_day = failure.page.code != LIBRARY_MISSING && !self.settings.is_offline;
        Err(match may_be_the_day.then(|| self.resolving_day(uv, &run.text)).flatten() {
            Some(day) => failure.and_fix(format!(
                "or take the packages of {day}, when the newest file of the app was written; as they were then, the requirements resolve: \
                 --as-of {day} (or {}={day})",
                as_of::VARIABLE
            )),
            None => failure,
        })
    }

    /// What fails today may have resolved when the app was written: then its day, after that was tried.
    fn resolving_day(&self, uv: &Uv, text: &str) -> Option<String> {
        let day = self.suggested_day.as_ref().filter(|_| {
            let is_choice = !matches!(self.wanted, Wanted::Locked(_)) && self.settings.as_of.is_none();
            is_choice && RESOLUTION_FAILED.iter().any(|symptom| text.contains(symptom))
        })?;
        let mut arguments = self.arguments(&["pip", "compile", "--quiet", "--no-header", "--no-annotate"]);
        arguments.extend(self.formats());
        arguments.extend(self.indexes());
        arguments.extend(self.wanted.tree().options.arguments());
        arguments.extend(self.bound(None).ok()?.map(Into::into));
        arguments.push(self.requirements_file().ok()?.into());
        self.output
            .step(format!("trying the packages of {}, when the newest file of the app was written", day.written()));
        let run = uv.with_variable(NEWEST, day.end()).run(self.app_dir, arguments).ok()?;
        run.ok.then(|| day.written().to_owned())
    }

    /// What is locked may be in uv's cache to the last file: then no index is asked.
    fn is_there(&self, uv: &Uv, arguments: &[OsString], requirements: &Path) -> Result<bool, Failure> {
        let offline = arguments.iter().cloned().chain(["--offline".into(), requirements.into()]);
        Ok(uv.run(self.app_dir, offline).map_err(|error| uv_failure(&error))?.ok)
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

    pub(super) fn arguments(&self, start: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = start.iter().map(OsString::from).collect();
        arguments.extend(["--no-config".into(), "--color".into(), "never".into(), "--python".into()]);
        arguments.push(self.environment.python.clone().into());
        arguments.extend(self.settings.no_index.then(|| "--no-index".into()));
        arguments
    }

    /// The environment as uv is told it, always: while it is open its interpreter takes itself for the machine's own.
    pub(super) fn prefix(&self) -> [OsString; 2] {
        ["--prefix".into(), self.environment.dir.clone().into()]
    }

    /// Whether packages may be built.
    pub(super) fn formats(&self) -> Vec<OsString> {
        if self.deny_source_builds { vec!["--no-build".into()] } else { self.settings.binaries.arguments() }
    }

    /// pip's own way, from an empty environment, because pip takes nothing away. pip has the environment's interpreter see what it
    /// installs, so it never runs where the shared cache can be written.
    fn install_with_pip(&self, reason: &str) -> Result<Installer, Failure> {
        if let Some(as_of) = &self.settings.as_of {
            return Err(Failure::new(
                "installing the requirements",
                format!("{reason}, and packages are to be those of {} ({})", as_of.written(), as_of::VARIABLE),
                "pip would have to install instead, and pip takes the packages of today",
                format!("change what uv does not take, or leave {} out", as_of::VARIABLE),
            ));
        }
        if let Some(bound) = self.wanted.listed().and_then(|listed| listed.bound.first()) {
            let url = mask_credentials(&bound.url);
            let fix = match &self.uv {
                Ok(_) => "change what uv does not take, or lock the project".to_owned(),
                Err(_) => format!("let the index have uv {UV_VERSION}, too, or lock the project"),
            };
            return Err(Failure::new(
                "installing the requirements",
                format!("{reason}, and {} is to be taken from {url} alone", bound.name),
                "pip would have to install instead, and pip takes every package from any index",
                fix,
            ));
        }
        if self.deny_source_builds {
            return Err(pip_needed(reason));
        }
        if self.settings.is_offline {
            return Err(offline::lacking(
                "installing the requirements",
                &format!("{reason}, and pip, which would install instead, has no packages"),
            ));
        }
        self.output.step(format!("{reason}; pip installs instead"));
        let doing = "installing with pip";
        let io = |error: &std::io::Error| Failure::io(doing, error);
        if self.environment.dir.exists() {
            fs::remove_dir_all(&self.environment.dir).map_err(|error| io(&error))?;
        }
        self.environment.create(self.interpreter).map_err(|error| io(&error))?;
        self.environment.close(self.interpreter).map_err(|error| io(&error))?;
        let mut command = self.interpreter.pip_for(&self.environment.python, &self.settings.pip, self.temporary);
        let requirements = self.requirements_file()?;
        command.args(["install", "--no-compile", "--no-warn-script-location", "--quiet", "--no-cache-dir"]);
        command.args(matches!(self.wanted, Wanted::Locked(_)).then_some("--no-deps"));
        let indexes = self.wanted.listed().into_iter().flat_map(|listed| &listed.indexes);
        for index in indexes.filter(|index| !index.explicit || self.wanted.is_locked()) {
            command.arg("--extra-index-url").arg(self.settings.with_login(&index.url));
        }
        command.arg("--requirement").arg(requirements).current_dir(self.app_dir);
        let output = process::run(&mut command).map_err(|error| io(&error))?;
        if output.status.success() {
            return Ok(Installer::Pip);
        }
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("(from versions: none)") {
            // pip says that there is none and not why, unless it is asked with more words (one of which `--quiet` takes away).
            let asked = process::run(command.arg("-vvv")).map_err(|error| io(&error))?;
            text.push_str(&unreachable_lines(&String::from_utf8_lossy(&asked.stdout)));
        }
        Err(self.diagnosed(&text, &|_| None))
    }

    /// What an installer said, explained.
    fn diagnosed(&self, said: &str, probe: &dyn Fn(Probe<'_>) -> Option<String>) -> Failure {
        diagnose(&Evidence {
            text: &self.settings.secrets.mask(said),
            tree: self.wanted.tree(),
            python_version: &self.interpreter.version,
            python_reason: self.interpreter.reason.as_deref(),
            other_python: self.wanted.listed().and_then(|listed| listed.wheels.better()),
            only_binary: self.settings.binaries.only_binary(),
            as_of: self.settings.as_of.as_ref(),
            origin: &|address| self.settings.origins.of(address, self.wanted.tree()),
            probe,
        })
    }

    /// The requirements as installers can read them: the app's own file, or decoded copies when one of the files is not plain UTF-8.
    fn requirements_file(&self) -> Result<PathBuf, Failure> {
        let tree = match self.wanted {
            Wanted::Requirements(tree) => tree,
            Wanted::Locked(listed) | Wanted::Project(listed) => return self.listed_file(listed),
        };
        let first = &tree.files[0];
        if tree.files.iter().all(|file| file.plain) {
            return Ok(first.path.clone());
        }
        let dir = self.temporary.join("decoded");
        for file in &tree.files {
            let path = dir.join(&file.path);
            let base = self.app_dir.join(file.path.parent().unwrap_or(Path::new("")));
            let write = || -> std::io::Result<()> {
                fs::create_dir_all(path.parent().unwrap_or(&dir))?;
                fs::write(&path, absolute_links(&file.text, &base))
            };
            write().map_err(|error| Failure::io("decoding the requirements", &error))?;
        }
        Ok(dir.join(&first.path))
    }

    fn listed_file(&self, listed: &Listed) -> Result<PathBuf, Failure> {
        let path = self.temporary.join("requirements.txt");
        fs::write(&path, &listed.text).map_err(|error| Failure::io("writing the requirements", &error))?;
        Ok(path)
    }

    /// Bytecode for what is fresh: from the shelf where the same was compiled before, else compiled now and kept there.
    fn compile(&self, fresh: &[Fresh], tag: &str) -> Result<(), Failure> {
        let io = |error: std::io::Error| Failure::io("looking for bytecode that was compiled before", &error);
        let site_packages = &self.environment.site_packages;
        let mut sources: Vec<PathBuf> = Vec::new();
        let mut to_keep = Vec::new();
        let looked_for = at_once(fresh, |one| self.shelf.find_and_take(site_packages, &one.sources));
        for (one, kept) in fresh.iter().zip(looked_for) {
            let kept = kept.map_err(io)?;
            if kept != Kept::Taken {
                sources.extend(one.sources.iter().cloned());
            }
            if let Kept::Wanted(key) = kept {
                to_keep.push((key, one));
            }
        }
        bytecode::compile(&self.interpreter.executable, &sources).map_err(|error| {
            Failure::new(
                "compiling the installed packages to bytecode",
                chain(&error),
                "the interpreter of the environment does not work",
                "build again with `--clear-cache`; if that does not help, report it",
            )
        })?;
        at_once(&to_keep, |(key, one)| self.shelf.put(key, site_packages, &one.sources, tag));
        Ok(())
    }

    /// Tells what an import would fail of in the image.
    fn warn_of_missing_libraries(&self, distributions: &[Distribution], looked: &[Looked]) {
        let fresh: Vec<(&str, &[PathBuf])> = distributions
            .iter()
            .zip(looked)
            .filter(|(_, looked)| looked.fresh.is_some() && !looked.libraries.is_empty())
            .map(|(distribution, looked)| (distribution.name.as_str(), looked.libraries.as_slice()))
            .collect();
        if fresh.is_empty() {
            return;
        }
        let Some(provided) = Provided::read(self.root_dir, &self.interpreter.executable, self.library_path) else {
            return;
        };
        let all: Vec<PathBuf> = looked.iter().flat_map(|looked| looked.libraries.iter().cloned()).collect();
        let missing = libraries::missing(&fresh, &all, &self.environment.site_packages, &provided);
        for missing in missing.iter().take(MAX_LIBRARY_WARNINGS) {
            let [what, advice] = missing.lines();
            self.output.warning(what);
            self.output.detail(advice);
        }
        if missing.len() > MAX_LIBRARY_WARNINGS {
            self.output
                .warning(format!("and {} more packages want such libraries", missing.len() - MAX_LIBRARY_WARNINGS));
        }
    }

    /// What every installer leaves, made the same each time.
    fn settle(&self, recalled: Option<Lock>, installer: Installer) -> Result<Installed, Failure> {
        let io = |error: std::io::Error| Failure::io("finishing the environment", &error);
        let site_packages = &self.environment.site_packages;
        let tag = self.interpreter.cache_tag();
        self.environment.tidy().map_err(io)?;
        let distributions = installed(site_packages).map_err(io)?;
        let looked = distributions.iter().map(|distribution| look(distribution, site_packages, &tag));
        let looked = looked.collect::<std::io::Result<Vec<_>>>().map_err(io)?;
        self.warn_of_missing_libraries(&distributions, &looked);
        let fresh: Vec<Fresh> = looked.into_iter().filter_map(|looked| looked.fresh).collect();
        self.compile(&fresh, &tag)?;
        let count = fresh.len();
        let is_fresh = |one: &&Distribution| fresh.iter().any(|fresh| fresh.distribution == **one);
        let kept = self.previous.of(distributions.iter().filter(|one| !is_fresh(one)));
        for one in fresh {
            one.finish(site_packages, &tag).map_err(io)?;
        }
        self.environment.close(self.interpreter).map_err(io)?;
        let lock = match recalled {
            Some(lock) => lock,
            None => self.lock(&distributions, kept, installer)?,
        };
        Ok(Installed { distributions, lock, fresh: count })
    }
}

/// The lines of pip's many words that say what could not be fetched, and why.
fn unreachable_lines(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("Could not fetch URL "));
    lines.take(8).fold(String::new(), |text, line| text + line + "\n")
}

/// Folders to look into, made absolute: they lie beside the file, and a decoded copy lies elsewhere.
fn absolute_links(text: &str, base: &Path) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        match find_links_of(line.trim()) {
            Some(links) => {
                result.push_str("--find-links ");
                result.push_str(&base.join(links).to_string_lossy());
            }
            None => result.push_str(line),
        }
        result.push('\n');
    }
    result
}

/// What has something built from source, for sure: a line or a setting.
pub(crate) fn source_build(wanted: &Wanted, settings: &Settings) -> Option<String> {
    wanted.source_build().or_else(|| settings.source_build())
}

/// This step is run again, where pip may run.
fn pip_needed(reason: &str) -> Failure {
    Failure::new(
        "installing the requirements with uv",
        format!("{reason}, so pip installs instead"),
        "pip starts code of what it installs, which is not done where the shared cache can be written",
        "so this step is run again, with a cache of the image's own",
    )
    .with_exit_code(EXIT_NEEDS_SOURCE_BUILD)
}

pub(crate) fn source_build_needed(text: &str) -> Failure {
    Failure::new(
        "installing the requirements from wheels alone",
        "at least one requirement is built from source here",
        "its build code must run, which is not done where the shared cache can be written",
        "so this step is run again, with a cache of the image's own",
    )
    .with_evidence(evidence_lines(text))
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
    fn folders_of_decoded_requirements_are_still_those_of_the_app() {
        let text = "flask\n-e .\n./vendor/a.whl\n-r base.txt\n--find-links ./w\n-f https://h/w\n";
        assert_eq!(
            absolute_links(text, Path::new("/workspace/sub")),
            "flask\n-e .\n./vendor/a.whl\n-r base.txt\n--find-links /workspace/sub/./w\n-f https://h/w\n"
        );
    }
}
