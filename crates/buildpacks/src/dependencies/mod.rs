//! Which of an app's files says what packages it needs, by one rule for all buildpacks that install packages; and what these buildpacks do
//! alike. What a file means is known to the module of its tool alone.
//!
//! The rule: a variable decides; else the lock of a tool leads, over a `pylock.toml` or `requirements.txt` that says the same; else
//! `requirements.txt`; else what a tool's project file asks for, resolved at the build. A file that needs conda leads where no other manager's file is
//! beside it. Whatever remains is an error that names the files.

mod conda;
mod drift;
mod explain;
mod misspelt;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;

use crate::buildpack::{Detection, Provide, Require};
use crate::context::{BuildContext, Context, DetectContext};
use crate::failure::Failure;
use crate::install::{Wanted, build_environment, interpreter::Interpreter};
use crate::manifest::Manifest;
use crate::pyproject::{PYPROJECT, PyProject};

pub(crate) use drift::{Drift, specifier_key};
pub(crate) use explain::gone;

/// The variable that names another requirements file (as in Paketo's buildpacks).
pub(crate) const REQUIREMENT_VARIABLE: &str = "BP_PIP_REQUIREMENT";
/// The variables that decide between several package managers.
pub(crate) const MANAGER_VARIABLES: [&str; 2] = ["BP_PYTHON_PACKAGE_MANAGER", "HOIST_PACKAGE_MANAGER"];
const REQUIREMENTS: [&str; 3] = ["requirements.txt", "Requirements.txt", "REQUIREMENTS.txt"];

/// A way to say what packages an app needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pip,
    Uv,
    Poetry,
    Pdm,
    Pipenv,
    Pylock,
    /// A project without a lock, as pip would install it.
    Project,
    /// Whatever file of conda's it is.
    Conda,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Uv, Self::Poetry, Self::Pdm, Self::Pipenv, Self::Pylock, Self::Pip, Self::Project, Self::Conda];

    /// The word for it, which variables say.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Poetry => "poetry",
            Self::Pdm => "pdm",
            Self::Pipenv => "pipenv",
            Self::Pylock => "pylock",
            Self::Project => "project",
            Self::Conda => "conda",
        }
    }

    /// The buildpack that installs it.
    pub(crate) fn buildpack(self) -> &'static str {
        match self {
            Self::Pip | Self::Project => "hoist/pip",
            Self::Uv => "hoist/uv",
            Self::Poetry => "hoist/poetry",
            Self::Pdm => "hoist/pdm",
            Self::Pipenv => "hoist/pipenv",
            Self::Pylock => "hoist/pylock",
            Self::Conda => "hoist/conda",
        }
    }

    /// Whether this hoist was compiled with what installs it.
    fn is_there(self) -> bool {
        self != Self::Conda || cfg!(feature = "conda")
    }

    /// Its lock.
    fn lock(self) -> Option<&'static str> {
        match self {
            Self::Uv => Some("uv.lock"),
            Self::Poetry => Some("poetry.lock"),
            Self::Pdm => Some("pdm.lock"),
            Self::Pipenv => Some("Pipfile.lock"),
            Self::Pylock => Some("pylock.toml"),
            Self::Pip | Self::Project | Self::Conda => None,
        }
    }

    fn read(self, context: &Context, file: &str, python: &str) -> Result<Reading, Failure> {
        let mut reading = self.read_own(context, file, python)?;
        if let Some(Wanted::Locked(listed)) = &reading.wanted {
            reading.warnings.extend(listed.wheels.warning(file, python));
        }
        Ok(reading)
    }

    fn read_own(self, context: &Context, file: &str, python: &str) -> Result<Reading, Failure> {
        match self {
            Self::Pip => crate::pip::read(context, file),
            Self::Uv => crate::uv_lock::read(context, python),
            Self::Poetry => crate::poetry::read(context, python),
            Self::Pdm => crate::pdm::read(context, python),
            Self::Pipenv => crate::pipenv::read(context, python),
            Self::Pylock => crate::pylock::read(context, python),
            Self::Project => crate::pip::project::read(context, file, python),
            // Its buildpack reads it, with the machine's channels.
            Self::Conda => Ok(Reading::default()),
        }
    }
}

/// What was read of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) wanted: Option<Wanted>,
    /// What was selected, for people.
    pub(crate) notes: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) kind: Kind,
    /// The file.
    pub(crate) file: String,
    /// Why, for people.
    pub(crate) reason: String,
}

/// Finds who leads in an app; none when nothing asks for packages.
pub(crate) fn leader(context: &Context) -> Result<Option<Leader>, Failure> {
    let led = |kind, file: &str, reason: String| Ok(Some(Leader { kind, file: file.to_owned(), reason }));
    let there = |name: &str| context.app_file(name).is_some();
    let requirements = REQUIREMENTS.into_iter().find(|name| there(name));
    if let Some((variable, word)) = MANAGER_VARIABLES.iter().find_map(|name| Some((*name, context.variable(name)?))) {
        return forced(context, variable, word, requirements).map(Some);
    }
    if let Some(file) = context.variable(REQUIREMENT_VARIABLE) {
        return led(Kind::Pip, file, format!("{REQUIREMENT_VARIABLE} names it"));
    }
    let mut locks: Vec<(Kind, &'static str)> =
        Kind::ALL.into_iter().filter_map(|kind| Some((kind, kind.lock()?))).filter(|(_, lock)| there(lock)).collect();
    if there("Pipfile") && !there("Pipfile.lock") {
        locks.push((Kind::Pipenv, "Pipfile"));
    }
    let conda = conda::Found::of(context);
    if let Some(file) = conda.needed {
        let rivals = locks.iter().map(|(_, file)| *file).chain(requirements);
        let rivals: Vec<&str> = rivals.filter(|file| !conda.includes.iter().any(|included| included == file)).collect();
        return match rivals.as_slice() {
            [] => conda::leads(file, "conda's file leads in this app".to_owned()).map(Some),
            rivals => Err(explain::ambiguous(context, file, rivals)),
        };
    }
    let included = conda.list();
    if let Some((file, reason)) = &included
        && locks.is_empty()
        && requirements.is_none_or(|name| file.eq_ignore_ascii_case(name))
    {
        return led(Kind::Pip, requirements.unwrap_or(file), reason.clone());
    }
    if locks.iter().filter(|(kind, _)| *kind != Kind::Pylock).count() == 1 && locks.len() == 2 {
        let (kind, file) = locks[0];
        if requirements.is_none() {
            return led(kind, file, "the tool's own lock leads over pylock.toml, which tools export".to_owned());
        }
    }
    match (locks.as_slice(), requirements) {
        ([], None) if let Some(file) = conda.file.filter(|_| cfg!(feature = "conda")) => {
            conda::leads(file, "conda's file leads in this app".to_owned()).map(Some)
        }
        ([], None) => match project(context)? {
            None => {
                misspelt::found(context).first().map_or(Ok(None), |(name, right)| Err(misspelt::explain(name, right)))
            }
            found => Ok(found),
        },
        ([], Some(file)) => match included {
            Some((other, _)) => Err(explain::ambiguous(context, file, &[conda.file.unwrap_or_default(), &other])),
            None => led(Kind::Pip, file, requirements_reason(context, conda.file.is_some())),
        },
        ([(kind, file)], None) => led(*kind, file, "the only file that asks for packages".to_owned()),
        ([(kind, file)], Some(text)) if drift::says_the_same(context, text, file) => {
            led(*kind, file, format!("it locks all that {text} asks for"))
        }
        (rivals, _) => {
            let rivals: Vec<&str> = rivals.iter().map(|(_, file)| *file).chain(requirements).collect();
            Err(explain::ambiguous(context, rivals[0], &rivals[1..]))
        }
    }
}

fn requirements_reason(context: &Context, beside_conda: bool) -> String {
    if beside_conda {
        "environment.yml asks for nothing that pip cannot do".to_owned()
    } else if matches!(project(context), Ok(Some(_))) {
        "it leads over a project that has no lock file".to_owned()
    } else {
        "the only file that asks for packages".to_owned()
    }
}

/// A variable says which.
fn forced(context: &Context, variable: &str, word: &str, requirements: Option<&str>) -> Result<Leader, Failure> {
    let known = Kind::ALL.into_iter().find(|kind| kind.word() == word && kind.is_there());
    let kind = known.ok_or_else(|| explain::unknown_manager(word))?;
    let there = |name: &str| context.app_file(name).is_some();
    let named = context.variable(REQUIREMENT_VARIABLE);
    let file = match kind {
        Kind::Pip => named.or(requirements),
        Kind::Project => ["pyproject.toml", "setup.py", "setup.cfg"].into_iter().find(|name| there(name)),
        Kind::Pipenv => ["Pipfile.lock", "Pipfile"].into_iter().find(|name| there(name)),
        Kind::Conda => conda::file(context),
        Kind::Poetry => ["poetry.lock", PYPROJECT].into_iter().find(|name| there(name)),
        other => other.lock().filter(|name| there(name)),
    };
    let file = file.ok_or_else(|| explain::not_there(variable, kind))?;
    Ok(Leader { kind, file: file.to_owned(), reason: format!("{variable}={word}") })
}

/// A project without a lock.
fn project(context: &Context) -> Result<Option<Leader>, Failure> {
    let led =
        |kind, file: &str, reason: &str| Ok(Some(Leader { kind, file: file.to_owned(), reason: reason.to_owned() }));
    // What cannot be read is said where it is read.
    let found = PyProject::read(context);
    if let Ok(Some(found)) = &found {
        let document = &found.document;
        let has_pep621 = document.project.as_ref().is_some_and(|project| project.dependencies.is_some());
        if document.tool.poetry.as_ref().is_some_and(|poetry| !poetry.dependencies.is_empty()) && !has_pep621 {
            return led(Kind::Poetry, PYPROJECT, "it is a project of Poetry without a poetry.lock");
        }
        if has_pep621 || (document.build_system.is_some() && found.name().is_some()) {
            return led(Kind::Project, PYPROJECT, "it declares the project, and there is no lock file");
        }
    }
    if context.app_file("setup.py").is_some() {
        return led(Kind::Project, "setup.py", "it declares the project, and there is no lock file");
    }
    let configured = Manifest::read(context, "setup.cfg")?;
    if configured.is_some_and(|file| file.text.contains("install_requires")) {
        return led(Kind::Project, "setup.cfg", "it declares the project, and there is no lock file");
    }
    found.map(|_| None)
}

/// The answer of detect of the buildpack for `kind`.
pub(crate) fn detect(context: &DetectContext<'_>, kind: Kind) -> Detection {
    let id = kind.buildpack();
    let takes_part = match leader(context.common) {
        Ok(Some(leader)) => leader.kind.buildpack() == id,
        Ok(None) => return Detection::fail("no file asks for packages (requirements.txt would)"),
        // What cannot be decided is said by a build, where it is read.
        Err(_) => id == Kind::Pip.buildpack(),
    };
    if !takes_part {
        return Detection::fail(format!("no {} leads in this app", kind.lock().unwrap_or("requirements.txt")));
    }
    let requires = ["python", "site-packages"].map(|name| Require::new(name).with("build", true).with("launch", true));
    Detection::Pass { provides: vec![Provide::new("site-packages")], requires: requires.into() }
}

/// The build of any of these buildpacks.
pub(crate) fn build(context: &mut BuildContext<'_>) -> Result<(), Failure> {
    let Some(Leader { kind, file, reason }) = leader(context.common)? else { return Ok(()) };
    let python = Interpreter::find(context.common)?.version;
    context.output.step(format!("packages from {file} ({reason})"));
    let mut reading = kind.read(context.common, &file, &python)?;
    reading.warnings.extend(misspelt::warnings(context.common));
    for note in &reading.notes {
        context.output.detail(note);
    }
    for warning in &reading.warnings {
        context.output.warning(warning);
    }
    match reading.wanted {
        Some(wanted) => build_environment(context, kind.buildpack(), wanted),
        None => Ok(()),
    }
}

/// The lock that leads, and whether it has wheels for this Python of all that it has wheels of; none where no lock leads. A lock that cannot be
/// installed with it has none.
pub(crate) fn locked_wheels(context: &Context, python: &str) -> Option<(String, bool)> {
    let found = leader(context).ok()??;
    let lock = found.kind.lock().filter(|lock| *lock == found.file)?;
    let reading = found.kind.read_own(context, lock, python);
    let is_whole = matches!(
        reading,
        Ok(Reading { wanted: Some(Wanted::Locked(listed)), .. }) if listed.wheels.warning(lock, python).is_none()
    );
    Some((found.file, is_whole))
}

/// What a build with this Python would read: who leads, and what it would warn of.
pub(crate) fn foresee(context: &Context, python: &str) -> Result<Option<(Leader, Reading)>, Failure> {
    let Some(found) = leader(context)? else { return Ok(None) };
    let mut reading = found.kind.read(context, &found.file, python)?;
    reading.warnings.extend(misspelt::warnings(context));
    Ok(Some((found, reading)))
}
