//! `hoist plan`: detection without a build, told in full.
//!
//! The app is staged and the buildpacks' detect programs are run as for a build, in the same sandbox; nothing of it stays.

use hoist_events::{DetectOutcome, Event, Reporter};
use hoist_lifecycle::{Answer, Applying, Buildpacks, Detection, detect_only, image_target};
use hoist_spec::{GroupBuildpack, PlanEntry, PlanSections, Require, table_to_json};
use serde::Serialize;

use crate::build::Purpose;
use crate::create::shown;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::BuildRequest;

/// What a build would do. Serialised as it is for `hoist plan --json`.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// Whether a group applies.
    pub applies: bool,
    /// The specification's code of the detect phase: 0, 20 when no group applies, 21 when in addition a buildpack failed.
    pub exit_code: i32,
    /// The builder.
    pub builder: String,
    /// What the image would be made for: `linux/amd64 (debian 13)`.
    pub target: String,
    /// The buildpacks that would build, in their order.
    pub buildpacks: Vec<GroupBuildpack>,
    /// What they would be asked for.
    pub plan: Vec<Dependency>,
    /// The groups that were tried, in their order.
    pub groups: Vec<TriedGroup>,
    /// How many groups come after the one that applies; they are not tried.
    pub untried_groups: usize,
}

/// Something that buildpacks provide to each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// `id@version` of those that offer it.
    pub provided_by: Vec<String>,
    /// Who wants it.
    pub required_by: Vec<Requirement>,
}

/// What one buildpack wants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Requirement {
    /// `id@version`.
    pub buildpack: String,
    /// What it says about it.
    pub metadata: serde_json::Value,
}

/// A group that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct TriedGroup {
    /// Whether it applies.
    pub applies: bool,
    /// Why it does not.
    pub reason: Option<String>,
    /// Its buildpacks.
    pub buildpacks: Vec<TriedBuildpack>,
}

/// A buildpack that was asked.
#[derive(Debug, Clone, Serialize)]
pub struct TriedBuildpack {
    /// `id@version`.
    pub buildpack: String,
    /// Whether its group may go on without it.
    pub optional: bool,
    /// What it answered: `pass`, `fail` or `error` with its code.
    #[serde(flatten)]
    pub outcome: DetectOutcome,
    /// Whether it would build.
    pub takes_part: bool,
    /// The last of what it wrote, or why it was not asked.
    pub output: String,
    /// What it provides and requires: one set of each, or several to choose from.
    pub alternatives: Vec<Offer>,
}

/// What a buildpack provides and requires.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// Names of what it provides.
    pub provides: Vec<String>,
    /// Names of what it requires.
    pub requires: Vec<String>,
}

impl LocalEngine {
    /// Finds out what a build of this request would do, without building.
    pub fn plan(&self, request: &BuildRequest) -> Result<PlanReport, PlatformError> {
        let request = &self.with_project(request)?;
        let prepared = self.prepare(Purpose::Image, request)?;
        let builder = &prepared.builder;
        let root = self.build_root(builder, &prepared.places)?;
        let runner = self.sandbox_runner(request, &prepared, &root, false)?;
        let quiet = WithoutOutput(self.reporter());
        let mut setup = self.setup(request, &prepared, &runner, root)?;
        setup.site.reporter = &quiet;
        let target = image_target(&builder.run_image);
        let buildpacks = Buildpacks::read(&builder.lower_dirs()?, &setup.directories.buildpacks_dir)?;
        let found = detect_only(&setup, &target, &builder.order.order, &buildpacks)
            .map_err(|error| self.unless_cancelled(error))?;
        let name =
            request.builder.as_ref().map_or_else(|| crate::builder::BUILDER_NAME.to_owned(), ToString::to_string);
        Ok(report(found, name, shown(&target)))
    }
}

/// What a buildpack says is in the report.
struct WithoutOutput<'a>(&'a dyn Reporter);

impl Reporter for WithoutOutput<'_> {
    fn report(&self, event: &Event) {
        if !matches!(event, Event::Output { .. }) {
            self.0.report(event);
        }
    }
}

fn report(found: Detection, builder: String, target: String) -> PlanReport {
    let exit_code = found.exit_code();
    let refused = found.failures.iter().map(|failure| TriedGroup {
        applies: false,
        reason: Some(failure.reason.clone()),
        buildpacks: failure.answers.iter().map(|answer| tried(answer, &[])).collect(),
    });
    let applied = found.applying.iter().map(|applying| TriedGroup {
        applies: true,
        reason: None,
        buildpacks: applying.answers.iter().map(|answer| tried(answer, &applying.group)).collect(),
    });
    PlanReport {
        applies: found.applying.is_some(),
        exit_code,
        builder,
        target,
        groups: refused.chain(applied).collect(),
        plan: found.applying.as_ref().map(dependencies).unwrap_or_default(),
        buildpacks: found.applying.map(|applying| applying.group).unwrap_or_default(),
        untried_groups: found.untried,
    }
}

fn tried(answer: &Answer, group: &[GroupBuildpack]) -> TriedBuildpack {
    let offers = answer.plan.alternatives().into_iter().map(|sections| Offer {
        provides: sections.provides.into_iter().map(|provide| provide.name).collect(),
        requires: sections.requires.into_iter().map(|require| require.name).collect(),
    });
    TriedBuildpack {
        buildpack: answer.buildpack.clone(),
        optional: answer.optional,
        outcome: answer.outcome.clone(),
        takes_part: group.iter().any(|member| member.full_name() == answer.buildpack),
        output: answer.said.clone(),
        alternatives: offers.filter(|offer| !offer.provides.is_empty() || !offer.requires.is_empty()).collect(),
    }
}

fn dependencies(applying: &Applying) -> Vec<Dependency> {
    applying.plan.entries.iter().filter_map(|entry| dependency(applying, entry)).collect()
}

/// plan.toml does not say who requires what: it is who wrote the same requirement, in the group's order.
fn dependency(applying: &Applying, entry: &PlanEntry) -> Option<Dependency> {
    let name = entry.requires.first()?.name.clone();
    let answer_of = |member: &GroupBuildpack| applying.answers.iter().find(|one| one.buildpack == member.full_name());
    let mut members: Vec<(&Answer, usize)> =
        applying.group.iter().filter_map(answer_of).map(|answer| (answer, times_required(answer, &name))).collect();
    let required_by = entry.requires.iter().map(|require| {
        let who = members.iter_mut().find(|(answer, left)| *left > 0 && wants(answer, require));
        let buildpack = who.map(|(answer, left)| {
            *left -= 1;
            answer.buildpack.clone()
        });
        Requirement { buildpack: buildpack.unwrap_or_default(), metadata: table_to_json(&require.metadata) }
    });
    let required_by = required_by.collect();
    let provided_by = entry.providers.iter().map(|one| format!("{}@{}", one.id, one.version)).collect();
    Some(Dependency { name, provided_by, required_by })
}

fn wants(answer: &Answer, require: &Require) -> bool {
    answer.plan.alternatives().iter().any(|sections| sections.requires.contains(require))
}

/// How often it may stand in the plan as one who requires this.
fn times_required(answer: &Answer, name: &str) -> usize {
    let times = |sections: &PlanSections| sections.requires.iter().filter(|require| require.name == name).count();
    answer.plan.alternatives().iter().map(times).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hoist_spec::{ApiVersion, BuildPlan, Plan, Provider};

    use super::*;

    #[test]
    fn each_requirement_of_the_plan_is_told_with_the_buildpack_that_wrote_it() {
        let answer = |id: &str, text: &str| Answer {
            buildpack: format!("{id}@1"),
            optional: false,
            outcome: DetectOutcome::Pass,
            said: String::new(),
            plan: BuildPlan::parse(text).unwrap(),
        };
        let member = |id: &str| GroupBuildpack {
            id: id.to_owned(),
            version: "1".to_owned(),
            api: ApiVersion::NEWEST_BUILDPACK,
            homepage: None,
        };
        let require = "[[requires]]\nname = \"p\"\n";
        let versioned = "[[requires]]\nname = \"p\"\n[requires.metadata]\nversion = \"3\"\n";
        let answers = vec![
            answer("a", "[[provides]]\nname = \"p\"\n"),
            answer("b", require),
            answer("c", &format!("[[or]]\n{}", versioned.replace("requires", "or.requires"))),
            answer("d", require),
        ];
        let requires: Vec<Require> = [require, versioned, require]
            .iter()
            .map(|text| BuildPlan::parse(text).unwrap().requires.remove(0))
            .collect();
        let providers = vec![Provider { id: "a".into(), version: "1".into(), extension: false }];
        let applying = Applying {
            answers,
            group: ["a", "b", "c", "d"].map(member).to_vec(),
            plan: Plan { entries: vec![PlanEntry { providers, requires }] },
        };
        let found = dependencies(&applying).remove(0);
        assert_eq!(found.provided_by, ["a@1"]);
        let by: Vec<&str> = found.required_by.iter().map(|one| one.buildpack.as_str()).collect();
        assert_eq!(by, ["b@1", "c@1", "d@1"]);
        assert_eq!(found.required_by[1].metadata["version"], "3");
    }
}
