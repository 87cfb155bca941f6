//! What is to be installed, as whoever reads an app's files hands it to the engine. What a lock or a project says comes as lines of a
//! requirements file, each with the place where it stands, so that everything after this speaks of the user's own lines.

use std::path::{Path, PathBuf};

use hoist_debian::{Sha256, hex};

use super::lock::Archives;
use super::settings::mask_credentials;
use super::wheels::Wheels;
use crate::pip::requirements::{RequirementLine, RequirementsFile, RequirementsTree, places_in, source_build_in};

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Requirements files, to be resolved.
    Requirements(RequirementsTree),
    /// What a lock chose: exact versions, whose markers held. Nothing is resolved.
    Locked(Listed),
    /// What a project without a lock asks for, to be resolved now.
    Project(Listed),
}

/// Lines made from another file than requirements.txt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The file and the lines as a person knows them.
    pub(crate) tree: RequirementsTree,
    /// The same as a requirements file says it.
    pub(crate) text: String,
    /// Indexes that the project names, beside those of the build.
    pub(crate) indexes: Vec<Index>,
    /// Requirements that are taken from one of these indexes alone.
    pub(crate) bound: Vec<Bound>,
    /// What is known of the Pythons that its wheels are for.
    pub(crate) wheels: Wheels,
    /// The archives of what is locked by name, where the lock has their names and hashes.
    pub(super) archives: Archives,
}

/// A package index of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Its name, by which variables give credentials.
    pub(crate) name: String,
    /// Its address.
    pub(crate) url: String,
    /// Whether only requirements that name it are taken from it.
    pub(crate) explicit: bool,
}

/// A requirement that names the index it is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Normalised.
    pub(crate) name: String,
    /// As a requirements file says it.
    pub(crate) requirement: String,
    /// The address of its index.
    pub(crate) url: String,
}

impl Listed {
    /// An empty list of what stands in `file` of the app.
    pub(crate) fn of(file: &str, text: &str) -> Self {
        let file = RequirementsFile { path: PathBuf::from(file), text: text.to_owned(), plain: true };
        Self { tree: RequirementsTree { files: vec![file], ..RequirementsTree::default() }, ..Self::default() }
    }

    /// Adds a line that only people see: the installer learns of it in another way.
    pub(crate) fn push_known(&mut self, name: Option<&str>, shown: &str, line: usize) {
        let name = name.map(crate::pip::requirements::normalize);
        let text = mask_credentials(shown);
        self.tree.requirements.push(RequirementLine { name, text, file: 0, line, constraint: false });
    }

    /// Adds a requirement: its name where it has one, what a person sees of it, where it stands, and the installer's line.
    pub(crate) fn push(&mut self, name: Option<&str>, shown: &str, line: usize, written: &str) {
        self.push_known(name, shown, line);
        self.text.push_str(written);
        self.text.push('\n');
    }

    /// Adds an index, once. What is no address (a folder) is none that could be asked.
    pub(crate) fn push_index(&mut self, name: &str, url: &str) {
        self.push_index_for(name, url, false);
    }

    /// Adds an index; an explicit one only has what [`Self::push_bound`] takes from it.
    pub(crate) fn push_index_for(&mut self, name: &str, url: &str, explicit: bool) {
        match self.indexes.iter_mut().find(|index| index.url == url) {
            Some(known) => known.explicit &= explicit,
            None if url.contains("://") => {
                self.indexes.push(Index { name: name.to_owned(), url: url.to_owned(), explicit });
            }
            None => {}
        }
    }

    /// Adds a requirement that is taken from the index of this name alone, which was added before. Answers whether there is one.
    pub(crate) fn push_bound(&mut self, name: &str, shown: &str, line: usize, written: &str, index: &str) -> bool {
        let Some(url) = self.indexes.iter().find(|known| known.name == index).map(|known| known.url.clone()) else {
            return false;
        };
        self.push_known(Some(name), shown, line);
        let name = crate::pip::requirements::normalize(name);
        self.bound.push(Bound { name, requirement: written.to_owned(), url });
        true
    }
}

impl Wanted {
    /// The files and lines that a person knows.
    pub(crate) fn tree(&self) -> &RequirementsTree {
        match self {
            Self::Requirements(tree) => tree,
            Self::Locked(listed) | Self::Project(listed) => &listed.tree,
        }
    }

    /// What was not written as requirements files.
    pub(crate) fn listed(&self) -> Option<&Listed> {
        match self {
            Self::Requirements(_) => None,
            Self::Locked(listed) | Self::Project(listed) => Some(listed),
        }
    }

    /// Identifies what is wanted.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update(text);
            hasher.update([0]);
        };
        match self {
            Self::Requirements(tree) => {
                for file in &tree.files {
                    add(&file.path.to_string_lossy());
                    add(&file.text);
                }
            }
            Self::Locked(listed) | Self::Project(listed) => {
                add(&listed.text);
                for index in &listed.indexes {
                    add(&mask_credentials(&index.url));
                    if index.explicit {
                        add("explicit");
                    }
                }
                for one in &listed.bound {
                    add(&one.requirement);
                    add(&mask_credentials(&one.url));
                }
            }
        }
        hex(&hasher.finalize())
    }

    /// The file that says it.
    pub(crate) fn file(&self) -> String {
        self.tree().files.first().map(|file| file.path.display().to_string()).unwrap_or_default()
    }

    /// The first line of a file of the app that has credentials in an address, not as variables: `requirements.txt line 3`.
    pub(crate) fn line_with_login(&self) -> Option<String> {
        let has = |line: &str| mask_credentials(line) != line && !line.contains("${");
        self.tree().files.iter().find_map(|file| {
            let number = file.text.lines().position(has)?;
            Some(format!("{} line {}", file.path.display(), number + 1))
        })
    }

    /// Whether nothing is to be resolved.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// The words for a change of it.
    pub(crate) fn changed(&self) -> String {
        let file = self.file();
        match self {
            Self::Requirements(_) => "the requirements changed".to_owned(),
            Self::Locked(_) => format!("what {file} locks changed"),
            Self::Project(_) => format!("what {file} asks for changed"),
        }
    }

    /// `3 requirements`, `12 locked packages`.
    pub(crate) fn count(&self) -> String {
        let count = self.tree().requirements.iter().filter(|line| !line.constraint).count();
        let what = if matches!(self, Self::Locked(_)) { "locked package" } else { "requirement" };
        if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
    }

    /// The first line that has something built from source.
    pub(crate) fn source_build(&self) -> Option<String> {
        match self {
            Self::Requirements(tree) => tree.source_build(),
            Self::Locked(listed) | Self::Project(listed) => source_build_in(&listed.text).map(|(_, line)| line),
        }
    }

    /// The lines that say where packages are looked for and whether as wheels, as a file outside of the app says them.
    pub(crate) fn places(&self, app_dir: &Path) -> Vec<String> {
        let mut lines: Vec<String> = match self {
            Self::Requirements(tree) => {
                let of = |file: &RequirementsFile| {
                    places_in(&file.text, &app_dir.join(file.path.parent().unwrap_or(Path::new(""))))
                };
                tree.files.iter().flat_map(of).collect()
            }
            Self::Locked(listed) | Self::Project(listed) => places_in(&listed.text, app_dir),
        };
        let mut seen = std::collections::BTreeSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        lines
    }

    /// Whether an option says that packages are built though there are wheels of them.
    pub(crate) fn wants_builds(&self) -> bool {
        let has = |text: &str| text.lines().any(|line| line.trim_start().starts_with("--no-binary"));
        self.tree().files.iter().any(|file| has(&file.text)) || self.listed().is_some_and(|listed| has(&listed.text))
    }

    /// Whether every version is locked with a hash, so that it does not matter which index a file comes from.
    pub(crate) fn is_hashed(&self) -> bool {
        matches!(self, Self::Locked(listed) if !listed.text.is_empty()
            && listed.text.lines().all(|line| line.contains("--hash=") || !line.contains("==")))
    }
}
