//! Chooses packages: everything wanted, with all that it depends on, without what conflicts.
//!
//! For each name the highest version among the suites is taken that does. Of alternatives the first that works, unless another is
//! chosen or wanted already; a choice that leads to a conflict is taken back. Only `Depends` and `Pre-Depends` count.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::index::Index;
use crate::packages::Package;
use crate::relation::{Alternative, Dependency, RelationError, parse_dependencies};
use crate::version::Version;

/// How long a chain of dependencies may be, and how many choices may be tried.
const DEPTH_LIMIT: usize = 400;
const STEP_LIMIT: usize = 50_000;

/// What is there already and need not be chosen again.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    /// Name to version.
    pub packages: BTreeMap<String, Version>,
    /// Virtual names that those packages stand for.
    pub provides: Vec<(String, Option<Version>)>,
}

/// What to choose.
#[derive(Debug, Clone, Default)]
pub struct ResolveRequest {
    /// What is wanted, in the syntax of `Depends`: `python3.13`, `gcc (>= 4:14)`, `a | b`.
    pub wanted: Vec<String>,
    /// What is there already.
    pub installed: Installed,
    /// Names that count as there although they are not: `debconf`, `perl-base`.
    pub excluded: BTreeSet<String>,
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The packages, sorted by name.
    pub packages: Vec<Package>,
}

/// Why nothing could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// What is wanted is no relation.
    #[error("the wanted package `{wanted}` cannot be read")]
    Wanted {
        /// As given.
        wanted: String,
        /// Why.
        source: RelationError,
    },
    /// Nothing satisfies a dependency.
    #[error("{}", unsatisfied(dependency, chain, found))]
    Unsatisfied {
        /// The dependency.
        dependency: String,
        /// Which packages led there, from the one wanted; empty where it was wanted itself.
        chain: Vec<String>,
        /// What there is of the name, in other versions.
        found: Vec<String>,
        /// Names that are near.
        near: Vec<String>,
    },
    /// Two packages that are both needed exclude each other.
    #[error("{package} and {other} exclude each other (`{relation}`); {package} is needed by {}", chain.join(" → "))]
    Conflict {
        /// One.
        package: String,
        /// The other.
        other: String,
        /// The relation that says so.
        relation: String,
        /// Which packages led to the one.
        chain: Vec<String>,
    },
    /// It takes too long.
    #[error("no choice of packages was found within {STEP_LIMIT} steps; the last chain was {}", chain.join(" → "))]
    TooHard {
        /// Where it stopped.
        chain: Vec<String>,
    },
}

fn unsatisfied(dependency: &str, chain: &[String], found: &[String]) -> String {
    let mut text = format!("no package satisfies `{dependency}`");
    if !chain.is_empty() {
        text = format!("{text}, which is needed by {}", chain.join(" → "));
    }
    if found.is_empty() { text } else { format!("{text}; there is only {}", found.join(", ")) }
}

impl ResolveError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Unsatisfied { near, .. } if !near.is_empty() => format!("did you mean {}?", near.join(", ")),
            Self::Wanted { .. } => "write a name, or a name and a version as `name (>= 1.2)`".into(),
            Self::Unsatisfied { .. } => "look at the name, or take another suite".into(),
            Self::Conflict { .. } | Self::TooHard { .. } => {
                "leave one of the packages out, or take both from one suite".into()
            }
        }
    }
}

/// Chooses packages so that everything wanted and all its dependencies are there: for each the highest version among the suites.
pub fn resolve(index: &Index, request: &ResolveRequest) -> Result<Resolution, ResolveError> {
    let mut wanted = Vec::new();
    for text in &request.wanted {
        let parsed =
            parse_dependencies(text).map_err(|source| ResolveError::Wanted { wanted: text.clone(), source })?;
        wanted.extend(parsed);
    }
    let preferred = wanted.iter().filter(|one| one.0.len() == 1).map(|one| one.0[0].name.clone()).collect();
    let mut search = Search { index, request, preferred, known: BTreeMap::new(), chosen: BTreeMap::new(), steps: 0 };
    for dependency in &wanted {
        search.satisfy(dependency, &mut Vec::new())?;
    }
    let packages = search.chosen.into_values().map(|package| (*package).clone()).collect();
    Ok(Resolution { packages })
}

struct Search<'a> {
    index: &'a Index,
    request: &'a ResolveRequest,
    preferred: BTreeSet<String>,
    known: BTreeMap<String, Vec<Rc<Package>>>,
    chosen: BTreeMap<String, Rc<Package>>,
    steps: usize,
}

impl Search<'_> {
    fn versions(&mut self, name: &str) -> Vec<Rc<Package>> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let found: Vec<Rc<Package>> = self.index.versions(name).into_iter().map(Rc::new).collect();
        self.known.insert(name.to_owned(), found.clone());
        found
    }

    fn is_satisfied(&self, wanted: &Alternative) -> bool {
        let installed = &self.request.installed;
        self.request.excluded.contains(&wanted.name)
            || installed.packages.get(&wanted.name).is_some_and(|version| wanted.allows(version))
            || self.chosen.get(&wanted.name).is_some_and(|package| wanted.allows(&package.version))
            || installed.provides.iter().any(|provided| stands_for(provided, wanted))
            || self.chosen.values().any(|package| package.provides.iter().any(|provided| stands_for(provided, wanted)))
    }

    /// Packages that would satisfy an alternative, best first.
    fn options(&mut self, wanted: &Alternative) -> Vec<Rc<Package>> {
        if wanted
            .architecture
            .as_deref()
            .is_some_and(|name| !matches!(name, "any" | "native" | "all") && name != self.index.architecture())
        {
            return Vec::new();
        }
        let taken = |search: &Self, name: &str| {
            search.chosen.contains_key(name) || search.request.installed.packages.contains_key(name)
        };
        let mut options = Vec::new();
        if !taken(self, &wanted.name) {
            options.extend(self.versions(&wanted.name).into_iter().find(|package| wanted.allows(&package.version)));
        }
        for name in self.index.providers(&wanted.name) {
            if name != wanted.name && !taken(self, &name) {
                let candidate = self.versions(&name).into_iter().next();
                options.extend(
                    candidate.filter(|package| package.provides.iter().any(|provided| stands_for(provided, wanted))),
                );
            }
        }
        options
    }

    fn satisfy(&mut self, dependency: &Dependency, chain: &mut Vec<String>) -> Result<(), ResolveError> {
        if dependency.0.iter().any(|alternative| self.is_satisfied(alternative)) {
            return Ok(());
        }
        self.steps += 1;
        if self.steps > STEP_LIMIT || chain.len() > DEPTH_LIMIT {
            return Err(ResolveError::TooHard { chain: chain.clone() });
        }
        let mut options: Vec<Rc<Package>> = Vec::new();
        for alternative in &dependency.0 {
            options.extend(self.options(alternative));
        }
        options.sort_by_key(|package| !self.preferred.contains(&package.name));
        let (mut first_error, depth) = (None, chain.len());
        for package in options {
            let before = self.chosen.clone();
            match self.add(&package, chain) {
                Ok(()) => return Ok(()),
                Err(error @ ResolveError::TooHard { .. }) => return Err(error),
                Err(error) => {
                    chain.truncate(depth);
                    self.chosen = before;
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or_else(|| self.unsatisfied(dependency, chain)))
    }

    fn add(&mut self, package: &Rc<Package>, chain: &mut Vec<String>) -> Result<(), ResolveError> {
        chain.push(format!("{} {}", package.name, package.version));
        self.check_conflicts(package, chain)?;
        self.chosen.insert(package.name.clone(), Rc::clone(package));
        for dependency in &package.depends {
            self.satisfy(dependency, chain)?;
        }
        chain.pop();
        Ok(())
    }

    fn check_conflicts(&self, package: &Rc<Package>, chain: &[String]) -> Result<(), ResolveError> {
        let conflict = |other: &str, relation: &Dependency| ResolveError::Conflict {
            package: package.name.clone(),
            other: other.to_owned(),
            relation: relation.to_string(),
            chain: chain.to_vec(),
        };
        for other in self.chosen.values() {
            let one = package.conflicts.iter().find(|relation| hits(relation, other));
            let two = other.conflicts.iter().find(|relation| hits(relation, package));
            if let Some(relation) = one.or(two) {
                return Err(conflict(&other.name, relation));
            }
        }
        for (name, version) in &self.request.installed.packages {
            let meets = |relation: &&Dependency| {
                relation.0.iter().any(|one| one.name == *name && *name != package.name && one.allows(version))
            };
            if let Some(relation) = package.conflicts.iter().find(meets) {
                return Err(conflict(name, relation));
            }
        }
        Ok(())
    }

    fn unsatisfied(&mut self, dependency: &Dependency, chain: &[String]) -> ResolveError {
        let (mut found, mut near) = (Vec::new(), Vec::new());
        for alternative in &dependency.0 {
            let versions = self.versions(&alternative.name);
            found.extend(versions.iter().map(|package| format!("{} {}", package.name, package.version)));
            if let Some(version) = self.request.installed.packages.get(&alternative.name) {
                found.push(format!("{} {version} (there already)", alternative.name));
            }
            if versions.is_empty() {
                near.extend(near_names(self.index, &alternative.name));
            }
        }
        near.truncate(4);
        ResolveError::Unsatisfied { dependency: dependency.to_string(), chain: chain.to_vec(), found, near }
    }
}

/// True where a provided name does for an alternative: a versioned dependency needs a versioned provision.
fn stands_for((name, version): &(String, Option<Version>), wanted: &Alternative) -> bool {
    *name == wanted.name
        && match (&wanted.constraint, version) {
            (None, _) => true,
            (Some(constraint), Some(version)) => constraint.allows(version),
            (Some(_), None) => false,
        }
}

/// True where a conflict concerns a package. A package never conflicts with itself through a name that it provides.
fn hits(relation: &Dependency, other: &Package) -> bool {
    relation.0.iter().any(|one| {
        (one.name == other.name && one.allows(&other.version))
            || other.provides.iter().any(|provided| stands_for(provided, one))
    })
}

/// Existing names that differ little, by at most a third of the letters; and the longest one that the name goes on from behind a dash, as that of a
/// package which was taken apart or went (`libgl1-mesa-glx`) does.
fn near_names(index: &Index, name: &str) -> Vec<String> {
    let limit = name.len().div_ceil(3).min(3);
    let start: String = name.chars().take(1).collect();
    let mut names: Vec<(usize, String)> = index
        .names_with_prefix(&start)
        .into_iter()
        .filter(|other| other.len().abs_diff(name.len()) <= limit)
        .map(|other| (distance(name.as_bytes(), other.as_bytes()), other))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    names.sort();
    let shorter = name.match_indices('-').rev().map(|(at, _)| &name[..at]).find(|shorter| index.contains(shorter));
    let near = names.into_iter().take(3).map(|(_, name)| name);
    let mut near: Vec<String> = near.chain(shorter.map(str::to_owned)).collect();
    near.dedup();
    near
}

/// Edit distance.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
