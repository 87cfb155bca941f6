//! Which dependency file leads, and how it is lifted to the root where the buildpacks look.
//!
//! Works on the staged copy alone. The rules: the user code's files lead over a template's; one manager in a folder leads by itself;
//! `requirements.txt` leads over a `pyproject.toml` without a lock; `environment.yml` leads over `requirements.txt` unless it says nothing
//! that pip cannot do, when the fast way is taken with the Python that it asks for (unless conda is asked for by its name); a tool's lock leads over
//! `requirements.txt` and `pylock.toml`, which stay for the buildpacks to compare; any other two are an error that says how to choose.

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_environment::{EnvironmentFile, Located, SyntaxError, included, is_environment_file, pypi_line, split};
use serde::Serialize;

use crate::layout::Layout;
use crate::staging::StagedApp;

/// A dependency file is text that people read.
const MAX_BYTES: u64 = 16 << 20;

/// A way to declare dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// `requirements.txt`.
    Pip,
    /// `environment.yml`, or a lock or list of conda's.
    Conda,
    /// `poetry.lock` with `pyproject.toml`.
    Poetry,
    /// `uv.lock` with `pyproject.toml`.
    Uv,
    /// `pdm.lock` with `pyproject.toml`.
    Pdm,
    /// `Pipfile` with or without `Pipfile.lock`.
    Pipenv,
    /// `pylock.toml`.
    Pylock,
    /// `pyproject.toml` alone.
    Pyproject,
}

impl Manager {
    const ALL: [Self; 8] =
        [Self::Pip, Self::Conda, Self::Poetry, Self::Uv, Self::Pdm, Self::Pipenv, Self::Pylock, Self::Pyproject];

    /// The files that tell of it, the telling ones first.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Self::Pip => &["requirements.txt"],
            Self::Conda => &hoist_environment::FILES,
            Self::Poetry => &["poetry.lock"],
            Self::Uv => &["uv.lock"],
            Self::Pdm => &["pdm.lock"],
            Self::Pipenv => &["Pipfile", "Pipfile.lock"],
            Self::Pylock => &["pylock.toml"],
            Self::Pyproject => &["pyproject.toml"],
        }
    }

    /// The file that people know it by.
    fn usual_file(self) -> &'static str {
        if self == Self::Conda { "environment.yml" } else { self.files()[0] }
    }

    /// The manager by the word for it (`BP_PYTHON_PACKAGE_MANAGER`).
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "pip" => Some(Self::Pip),
            "conda" => Some(Self::Conda),
            "poetry" => Some(Self::Poetry),
            "uv" => Some(Self::Uv),
            "pdm" => Some(Self::Pdm),
            "pipenv" => Some(Self::Pipenv),
            "pylock" => Some(Self::Pylock),
            _ => None,
        }
    }

    /// The manager that `--dependencies FILE` names.
    pub fn of_file(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| manager.files().contains(&name))
    }
}

/// The Python that the source asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonRequest {
    /// A version (`3.11`) or PEP 440 specifiers (`>=3.9,<3.12`).
    pub version: String,
    /// Where it stands: `environment.yml line 5`.
    pub origin: String,
}

/// What was found of dependencies and what leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// What the buildpacks find at the root.
    pub manager: Manager,
    /// The leading file as the user has it, relative to the source's root.
    pub file: PathBuf,
    /// Why it leads, where there was a choice, and how to choose otherwise.
    pub reason: Option<String>,
    /// The Python that it asks for.
    pub python: Option<PythonRequest>,
    /// `variables:` of an `environment.yml`: they belong to the environment of the running image.
    pub variables: Vec<(String, String)>,
}

/// Dependency files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// Two managers and no rule that says which leads.
    #[error("both {first} and {second} declare dependencies, and nothing says which leads")]
    TwoManagers {
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// The file that was asked for is not there.
    #[error("{file} was asked for, and there is none at the root or in the user code")]
    NotThere {
        /// The file's name.
        file: String,
    },
    /// An `environment.yml` that is none.
    #[error("{file} line {line}: {why}")]
    Yaml {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// A file that is included is not there.
    #[error("{file} line {line} includes {included}, which is not there")]
    MissingInclude {
        /// The including file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The included file.
        included: String,
    },
    /// A file cannot be read or written.
    #[error("lifting {} to the root of the app", path.display())]
    Lift {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DependencyError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            Self::TwoManagers { first, second } => {
                format!(
                    "remove the one that is not meant, or choose: --dependencies {first} or --dependencies {second}"
                )
            }
            Self::NotThere { .. } => "leave out --dependencies to see what there is".to_owned(),
            Self::Yaml { .. } => "correct that line; indentation is by spaces".to_owned(),
            Self::MissingInclude { included, .. } => format!("write {included} or remove the line"),
            Self::Lift { .. } => "look at the file's permissions and for a full disk".to_owned(),
        }
    }
}

/// Files that say which Python is wanted; they are lifted with whatever leads.
const PYTHON_FILES: [&str; 2] = [".python-version", "runtime.txt"];

/// Chooses what leads in the staged app and lifts it to the root. `file_of` is the manager whose file is to lead, `by` the one that is to install.
pub(crate) fn lift(
    app: &mut StagedApp<'_>,
    layout: &Layout,
    file_of: Option<Manager>,
    by: Option<Manager>,
) -> Result<Option<Dependencies>, DependencyError> {
    let forced = file_of.or(by);
    let root = app.root();
    lift_python_files(app, layout)?;
    let user_code = layout.user_code_dir();
    let dirs = match layout {
        Layout::JobTemplate { .. } => vec![user_code.to_owned(), user_code.join("src"), PathBuf::new()],
        Layout::PlanQk => vec![PathBuf::new(), PathBuf::from("src")],
        Layout::App => vec![PathBuf::new()],
    };
    let there = |dir: &Path| -> Vec<Manager> {
        let has = |name: &&str| root.join(dir).join(name).is_file();
        Manager::ALL.into_iter().filter(|manager| manager.files().iter().any(&has)).collect()
    };
    let found = dirs
        .iter()
        .map(|dir| (dir.clone(), there(dir)))
        .find(|(_, managers)| forced.map_or(!managers.is_empty(), |manager| managers.contains(&manager)));
    let Some((dir, managers)) = found else {
        return match forced {
            Some(manager) => Err(DependencyError::NotThere { file: manager.usual_file().to_owned() }),
            None => Ok(None),
        };
    };
    let mut stage = Lifting { app, dir };
    let (manager, reason) = match forced {
        Some(manager) => (manager, Some("it was asked for".to_owned())),
        None => choose(&managers, &stage.there())?,
    };
    // Whether a requirements.txt says the same as the lock is the buildpacks' to see: both stay.
    let decided = forced.is_some() || !is_lock_beside_list(manager, &managers);
    let mut chosen = match manager {
        Manager::Conda => stage.conda(managers.contains(&Manager::Pip), by == Some(Manager::Conda))?,
        manager => {
            stage.files(manager)?;
            Dependencies {
                manager,
                file: stage.dir.join(stage.name_of(manager)),
                reason,
                // Whoever leaves the yml's packages out does not mean its Python.
                python: if manager == Manager::Pip { stage.python_of_yml() } else { None },
                variables: Vec::new(),
            }
        }
    };
    if decided {
        stage.drop_losers(chosen.manager)?;
    }
    if root.join(".python-version").is_file() {
        chosen.python = None;
    }
    Ok(Some(chosen))
}

/// Whether a tool's lock leads over a list of what it may have locked.
fn is_lock_beside_list(leads: Manager, managers: &[Manager]) -> bool {
    let is_list = |manager: &Manager| matches!(manager, Manager::Pip | Manager::Pylock);
    leads != Manager::Conda
        && managers.iter().any(|manager| *manager != leads && is_list(manager))
        && !matches!(leads, Manager::Pip)
}

/// What decides beside which managers there are.
struct There {
    conda: &'static str,
    /// Whether an `environment.yml` includes the `requirements.txt` beside it.
    is_list_included: bool,
    has_pipfile_lock: bool,
}

/// Which of the managers of one folder leads.
fn choose(managers: &[Manager], there: &There) -> Result<(Manager, Option<String>), DependencyError> {
    // pyproject.toml alone counts only where nothing else does: locks belong to it, and with requirements.txt it configures tools.
    let mut serious: Vec<Manager> = managers.iter().copied().filter(|manager| *manager != Manager::Pyproject).collect();
    if serious.contains(&Manager::Conda) && (is_environment_file(there.conda) || there.is_list_included) {
        serious.retain(|manager| *manager != Manager::Pip);
    }
    let is_lock = |manager: &Manager| match manager {
        Manager::Uv | Manager::Poetry | Manager::Pdm => true,
        Manager::Pipenv => there.has_pipfile_lock,
        Manager::Pip | Manager::Conda | Manager::Pylock | Manager::Pyproject => false,
    };
    let locks: Vec<Manager> = serious.iter().copied().filter(is_lock).collect();
    let others_are_lists = serious.iter().all(|one| is_lock(one) || matches!(one, Manager::Pip | Manager::Pylock));
    if let ([lock], true) = (locks.as_slice(), others_are_lists && serious.len() > 1) {
        return Ok((*lock, Some(format!("a lock leads over {}", listed(&serious, *lock)))));
    }
    match serious[..] {
        [] => Ok((Manager::Pyproject, None)),
        [Manager::Pip, Manager::Pylock] => Ok((Manager::Pylock, Some("a lock leads over requirements.txt".to_owned()))),
        [manager] => {
            let beside_pyproject = manager == Manager::Pip && managers.contains(&Manager::Pyproject);
            let reason = "it leads over pyproject.toml, which has no lock beside it";
            Ok((manager, beside_pyproject.then(|| reason.to_owned())))
        }
        [first, second, ..] => Err(DependencyError::TwoManagers {
            first: there.name_of(first).to_owned(),
            second: there.name_of(second).to_owned(),
        }),
    }
}

impl There {
    fn name_of(&self, manager: Manager) -> &'static str {
        if manager == Manager::Conda { self.conda } else { manager.files()[0] }
    }
}

/// The files of all but one.
fn listed(managers: &[Manager], leads: Manager) -> String {
    let others = managers.iter().filter(|manager| **manager != leads);
    others.map(|manager| manager.usual_file()).collect::<Vec<_>>().join(" and ")
}

/// UTF-8 with or without a mark, and UTF-16 with one, as PowerShell writes it.
fn decoded(bytes: &[u8]) -> String {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The user code's own wish for a Python leads over a template's.
fn lift_python_files(app: &mut StagedApp<'_>, layout: &Layout) -> Result<(), DependencyError> {
    let dir = layout.user_code_dir();
    for name in PYTHON_FILES.iter().filter(|_| !dir.as_os_str().is_empty()) {
        if app.root().join(dir).join(name).is_file() {
            lift_file(app, dir, name)?;
        }
    }
    Ok(())
}

/// Brings a file of `dir` to the root as it is.
fn lift_file(app: &mut StagedApp<'_>, dir: &Path, name: &str) -> Result<(), DependencyError> {
    let from = dir.join(name);
    let lifted = fs::read(app.root().join(&from)).and_then(|bytes| app.write(Path::new(name), &bytes));
    lifted.map_err(|source| DependencyError::Lift { path: from, source })
}

/// The leading folder of a staged app.
struct Lifting<'a, 'b> {
    app: &'a mut StagedApp<'b>,
    dir: PathBuf,
}

impl Lifting<'_, '_> {
    fn name_of(&self, manager: Manager) -> &'static str {
        let files = manager.files();
        files.iter().find(|name| self.app.root().join(&self.dir).join(name).is_file()).unwrap_or(&files[0])
    }

    fn read(&self, relative: &Path) -> Result<String, DependencyError> {
        let lift = |source| DependencyError::Lift { path: relative.to_owned(), source };
        let path = self.app.root().join(relative);
        if fs::metadata(&path).map_err(lift)?.len() > MAX_BYTES {
            return Err(lift(std::io::Error::other(format!("it is larger than {MAX_BYTES} bytes"))));
        }
        let bytes = fs::read(&path).map_err(lift)?;
        Ok(decoded(&bytes))
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), DependencyError> {
        let path = Path::new(name);
        self.app.write(path, text.as_bytes()).map_err(|source| DependencyError::Lift { path: path.to_owned(), source })
    }

    /// Brings the files of a manager to the root.
    fn files(&mut self, manager: Manager) -> Result<(), DependencyError> {
        if self.dir.as_os_str().is_empty() {
            return Ok(());
        }
        if manager == Manager::Pip {
            return self.requirements(&[]);
        }
        for name in manager.files().iter().chain(&["pyproject.toml"]) {
            if self.app.root().join(&self.dir).join(name).is_file() {
                lift_file(self.app, &self.dir, name)?;
            }
        }
        Ok(())
    }

    /// Makes the `requirements.txt` of the root: a template's own first, then the leading folder's, then `more`.
    fn requirements(&mut self, more: &[String]) -> Result<(), DependencyError> {
        let root_has = self.app.root().join("requirements.txt").is_file();
        let at_root = self.dir.as_os_str().is_empty();
        let mut text = if root_has { self.read(Path::new("requirements.txt"))? } else { String::new() };
        let own = self.dir.join("requirements.txt");
        if !at_root && self.app.root().join(&own).is_file() {
            let lines = self.read(&own)?;
            append(&mut text, &if points_elsewhere(&lines) { format!("-r {}", own.display()) } else { lines });
        }
        for line in more {
            append(&mut text, line);
        }
        if at_root && more.is_empty() && root_has { Ok(()) } else { self.write("requirements.txt", &text) }
    }

    fn there(&self) -> There {
        let is_list_included =
            self.environment().is_some_and(|found| found.includes().any(|file| file == "requirements.txt"));
        There {
            conda: self.name_of(Manager::Conda),
            is_list_included,
            has_pipfile_lock: self.app.root().join(&self.dir).join("Pipfile.lock").is_file(),
        }
    }

    /// The `environment.yml` of the folder, also where it does not lead; none that cannot be read.
    fn environment(&self) -> Option<EnvironmentFile> {
        let mut names = hoist_environment::FILES.iter().filter(|name| is_environment_file(name));
        let name = names.find(|name| self.app.root().join(&self.dir).join(name).is_file())?;
        EnvironmentFile::parse(&self.read(&self.dir.join(name)).ok()?).ok()
    }

    /// A file of conda's leads: `environment.yml` by pip where that suffices and nobody asked for conda, everything else by the buildpack for conda.
    fn conda(&mut self, beside_requirements: bool, by_conda: bool) -> Result<Dependencies, DependencyError> {
        let file = self.dir.join(self.name_of(Manager::Conda));
        let name = file.display().to_string();
        let led = |file, reason: Option<&str>| Dependencies {
            manager: Manager::Conda,
            file,
            reason: reason.map(str::to_owned),
            python: None,
            variables: Vec::new(),
        };
        if !is_environment_file(self.name_of(Manager::Conda)) {
            self.files(Manager::Conda)?;
            return Ok(led(file, by_conda.then_some("conda was asked for")));
        }
        let environment = EnvironmentFile::parse(&self.read(&file)?)
            .map_err(|SyntaxError { line, why }| DependencyError::Yaml { file: name.clone(), line, why })?;
        if by_conda || environment.needs_conda() {
            self.files(Manager::Conda)?;
            let reason = if by_conda { "conda was asked for" } else { "it asks for packages of conda's" };
            return Ok(led(file, Some(reason)));
        }
        let mut lines: Vec<String> = environment.specs.iter().filter_map(|entry| own_line(&entry.text)).collect();
        for entry in environment.pip.iter().flatten() {
            lines.extend(self.pip_line(&name, entry)?);
        }
        self.requirements(&lines)?;
        let by_pip = "it asks for nothing that pip cannot do, so pip installs it";
        let reason = if beside_requirements {
            format!(
                "{by_pip}, with the Python that it names; --dependencies requirements.txt takes only that file's packages"
            )
        } else {
            by_pip.to_owned()
        };
        Ok(Dependencies {
            manager: Manager::Pip,
            file,
            reason: Some(reason),
            python: python_of(&name, &environment),
            variables: environment.variables.into_iter().map(|(name, value)| (name.text, value)).collect(),
        })
    }

    /// The Python of an `environment.yml` that does not lead, where one can be read.
    fn python_of_yml(&self) -> Option<PythonRequest> {
        let mut names = hoist_environment::FILES.iter().filter(|name| is_environment_file(name));
        let name = names.find(|name| self.app.root().join(&self.dir).join(name).is_file())?;
        python_of(&self.dir.join(name).display().to_string(), &self.environment()?)
    }

    /// A line below `pip:`, as the root's requirements.txt has to say it; none where it says only what is there anyway.
    fn pip_line(&self, file: &str, entry: &Located) -> Result<Option<String>, DependencyError> {
        let Some((option, path)) = included(&entry.text).filter(|(_, path)| !path.contains("://")) else {
            return Ok(Some(entry.text.clone()));
        };
        let relative = self.dir.join(path);
        let inside = relative
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
        if !inside || !self.app.root().join(&relative).is_file() {
            return Err(DependencyError::MissingInclude {
                file: file.to_owned(),
                line: entry.line,
                included: path.to_owned(),
            });
        }
        let is_own = path.trim_start_matches("./") == "requirements.txt" && option == "-r";
        Ok((!is_own).then(|| format!("{option} {}", relative.display())))
    }

    /// Removes from the staged root what does not lead, so that no buildpack takes it.
    fn drop_losers(&mut self, leads: Manager) -> Result<(), DependencyError> {
        let included = leads == Manager::Conda && self.there().is_list_included;
        for manager in Manager::ALL.into_iter().filter(|manager| *manager != leads && *manager != Manager::Pyproject) {
            for name in manager.files() {
                if self.app.root().join(name).is_file() && !(included && manager == Manager::Pip) {
                    let path = Path::new(name);
                    self.app.remove(path).map_err(|source| DependencyError::Lift { path: path.to_owned(), source })?;
                }
            }
        }
        Ok(())
    }
}

/// What pip has to install for an entry that is not below `pip:`; Python and pip are there.
fn own_line(entry: &str) -> Option<String> {
    if matches!(&*split(entry).0, "python" | "pip") { None } else { pypi_line(entry) }
}

fn python_of(name: &str, environment: &EnvironmentFile) -> Option<PythonRequest> {
    environment
        .python()
        .map(|python| PythonRequest { version: python.text, origin: format!("{name} line {}", python.line) })
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(more);
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

/// Whether a requirements file names other files, which are found from the folder in which it lies.
fn points_elsewhere(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        ["-r", "-c", "-e", "--requirement", "--constraint", "--editable", ".", "/"]
            .iter()
            .any(|start| line.starts_with(start))
            || line.contains("file:")
            || line.contains("@ .")
    })
}

#[cfg(test)]
mod tests;
