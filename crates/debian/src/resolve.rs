//! Chooses packages.
use std::collections::{BTreeMap, BTreeSet};

use crate::index::Index;
use crate::packages::Package;
use crate::relation::{Dependency, RelationError};
use crate::version::Version;

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
    /// Placeholder for the grammar.
    #[error("the wanted package `{wanted}` cannot be read")]
    Wanted {
        /// As given.
        wanted: String,
        /// Why.
        source: RelationError,
    },
    /// No package of the name.
    #[error("no package satisfies `{dependency}` ({})", chain.join(" → "))]
    Unsatisfied {
        /// The dependency.
        dependency: String,
        /// Which packages led there, from the one wanted.
        chain: Vec<String>,
        /// Names that are near.
        near: Vec<String>,
    },
}

/// Chooses packages so that everything wanted and all its dependencies are there: for each the highest version among the suites.
pub fn resolve(index: &Index, request: &ResolveRequest) -> Result<Resolution, ResolveError> {
    let _: Option<Dependency> = None;
    let _ = (index, request);
    unimplemented!()
}
