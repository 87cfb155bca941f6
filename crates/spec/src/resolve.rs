//! Plan resolution: which of the buildpacks that passed detection take part, and what each is asked to provide.
//!
//! Follows buildpack.md, "Phase #1: Detection": each combination of alternatives is a trial, in order; a trial fails when a buildpack
//! that is not optional requires what none before it (or itself) provides, or provides what none after it (or itself) requires.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::order::GroupEntry;
use crate::plan::{BuildPlan, Plan, PlanEntry, PlanSections, Provider, Require};

/// A buildpack that passed detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who.
    pub entry: GroupEntry,
    /// What it wrote.
    pub plan: BuildPlan,
}

/// The buildpacks that take part.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// In group order.
    pub group: Vec<GroupEntry>,
    /// `plan.toml`, its entries by name.
    pub plan: Plan,
}

/// Why no combination fits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Something is required that nobody before provides.
    #[error("{buildpack} requires `{dependency}`, which no buildpack before it provides")]
    Unprovided {
        /// `id@version`.
        buildpack: String,
        /// The dependency.
        dependency: String,
    },
    /// Something is provided that nobody requires.
    #[error("{buildpack} provides `{dependency}`, which no buildpack requires")]
    Unrequired {
        /// `id@version`.
        buildpack: String,
        /// The dependency.
        dependency: String,
    },
    /// Only optional buildpacks, and none remained.
    #[error("no buildpack of the group applies")]
    NothingLeft,
    /// More combinations of alternatives than can be tried.
    #[error("the build plans have more than {limit} combinations")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// More combinations than any real group has; each one is cheap.
const MAX_TRIALS: usize = 65_536;
/// Provisions and requirements that all trials together may look at: plans of megabytes with many alternatives end in a second, too.
const MAX_STEPS: usize = 5_000_000;

#[derive(Clone)]
struct Choice<'a> {
    entry: &'a GroupEntry,
    sections: &'a PlanSections,
    optional: bool,
}

/// Finds the first combination of alternatives that fits.
pub fn resolve_plan(candidates: &[Candidate]) -> Result<Resolution, ResolveError> {
    let alternatives: Vec<Vec<PlanSections>> = candidates.iter().map(|c| c.plan.alternatives()).collect();
    let mut at = vec![0_usize; candidates.len()];
    let mut steps = 0;
    for _ in 0..MAX_TRIALS {
        let choices: Vec<Choice<'_>> = candidates
            .iter()
            .zip(&alternatives)
            .zip(&at)
            .map(|((candidate, sections), chosen)| Choice {
                entry: &candidate.entry,
                sections: &sections[*chosen],
                // Only the last alternative of an optional buildpack may be given up: before, another one is tried.
                optional: candidate.entry.optional && chosen + 1 == sections.len(),
            })
            .collect();
        let failed = match run_trial(choices, &mut steps) {
            Ok(resolution) => return Ok(resolution),
            Err(error) => error,
        };
        if steps > MAX_STEPS {
            break;
        }
        if !advance(&mut at, &alternatives) {
            return Err(failed);
        }
    }
    Err(ResolveError::TooMany { limit: MAX_TRIALS })
}

/// The next combination; the last buildpack's alternatives change fastest.
fn advance(at: &mut [usize], alternatives: &[Vec<PlanSections>]) -> bool {
    for (position, sections) in at.iter_mut().zip(alternatives).rev() {
        *position += 1;
        if *position < sections.len() {
            return true;
        }
        *position = 0;
    }
    false
}

#[derive(Default)]
struct Dependency<'a> {
    providers: Vec<usize>,
    waiting: Vec<usize>,
    requires: Vec<&'a Require>,
    early: Vec<usize>,
}

/// `steps` counts the provisions and requirements that were looked at.
fn run_trial(mut choices: Vec<Choice<'_>>, steps: &mut usize) -> Result<Resolution, ResolveError> {
    loop {
        *steps +=
            choices.iter().map(|choice| choice.sections.provides.len() + choice.sections.requires.len()).sum::<usize>();
        let dependencies = collect(&choices);
        let mut dropped = Vec::new();
        for (name, dependency) in &dependencies {
            for index in &dependency.early {
                if !choices[*index].optional {
                    let buildpack = full_name(choices[*index].entry);
                    return Err(ResolveError::Unprovided { buildpack, dependency: (*name).to_owned() });
                }
                dropped.push(*index);
            }
        }
        if dropped.is_empty() {
            for (name, dependency) in &dependencies {
                for index in &dependency.waiting {
                    if !choices[*index].optional {
                        let buildpack = full_name(choices[*index].entry);
                        return Err(ResolveError::Unrequired { buildpack, dependency: (*name).to_owned() });
                    }
                    dropped.push(*index);
                }
            }
        }
        if dropped.is_empty() {
            return finish(&choices, dependencies);
        }
        let mut index = 0;
        choices.retain(|_| {
            index += 1;
            !dropped.contains(&(index - 1))
        });
    }
}

fn collect<'a>(choices: &[Choice<'a>]) -> BTreeMap<&'a str, Dependency<'a>> {
    let mut dependencies: BTreeMap<&str, Dependency<'_>> = BTreeMap::new();
    for (index, choice) in choices.iter().enumerate() {
        for provide in &choice.sections.provides {
            dependencies.entry(&provide.name).or_default().waiting.push(index);
        }
        for require in &choice.sections.requires {
            let dependency = dependencies.entry(&require.name).or_default();
            let waiting = std::mem::take(&mut dependency.waiting);
            dependency.providers.extend(waiting);
            if dependency.providers.is_empty() {
                dependency.early.push(index);
            } else {
                dependency.requires.push(require);
            }
        }
    }
    dependencies
}

fn finish(choices: &[Choice<'_>], dependencies: BTreeMap<&str, Dependency<'_>>) -> Result<Resolution, ResolveError> {
    if choices.is_empty() {
        return Err(ResolveError::NothingLeft);
    }
    let provider = |index: &usize| {
        let entry = choices[*index].entry;
        Provider { id: entry.id.clone(), version: entry.version.clone(), extension: false }
    };
    let entries = dependencies.into_values().map(|dependency| PlanEntry {
        providers: dependency.providers.iter().map(provider).collect(),
        requires: dependency.requires.into_iter().cloned().collect(),
    });
    Ok(Resolution {
        group: choices.iter().map(|choice| choice.entry.clone()).collect(),
        plan: Plan { entries: entries.collect() },
    })
}

fn full_name(entry: &GroupEntry) -> String {
    format!("{}@{}", entry.id, entry.version)
}
