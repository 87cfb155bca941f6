//! Detection told in full: what each group's buildpacks answered, and what would be built. Nothing is built.
//!
//! The same search as the detect phase of a build (buildpack.md, "Phase #1: Detection"), with nothing of it left out.

use hoist_spec::{GroupBuildpack, ImageTarget, OrderGroup, Plan};

use crate::buildpacks::Buildpacks;
use crate::detect::{Answer, DetectError, GroupFailure, Match, group_buildpack, has_error, search};
use crate::setup::Site;

/// What detection found.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The groups that do not apply, in the order in which they were tried; composites stand for each of their groups.
    pub failures: Vec<GroupFailure>,
    /// The group that applies.
    pub applying: Option<Applying>,
    /// How many groups come after that one; they were not tried.
    pub untried: usize,
}

/// The group that applies.
#[derive(Debug, Clone)]
pub struct Applying {
    /// What each of its buildpacks answered.
    pub answers: Vec<Answer>,
    /// Those that take part, in the order in which they would build.
    pub group: Vec<GroupBuildpack>,
    /// What they are asked for.
    pub plan: Plan,
}

impl Detection {
    /// The specification's exit code: 0 when a group applies, 20 when none does, 21 when in addition a buildpack failed.
    pub fn exit_code(&self) -> i32 {
        match &self.applying {
            Some(_) => 0,
            None if has_error(&self.failures) => 21,
            None => 20,
        }
    }
}

/// Asks the buildpacks of an order, and answers everything that they said.
pub fn detect_only(
    site: &Site<'_>,
    target: &ImageTarget,
    order: &[OrderGroup],
    buildpacks: &Buildpacks,
) -> Result<Detection, DetectError> {
    let found = search(site, target, order, buildpacks)?;
    let applying = found.found.map(|Match { answers, group, plan }| Applying {
        answers,
        group: group.iter().map(group_buildpack).collect(),
        plan,
    });
    Ok(Detection { failures: found.failures, applying, untried: found.untried })
}
