//! Detect: which group of buildpacks applies, and what each of them is asked for.
//!
//! buildpack.md, "Phase #1: Detection"; platform.md, "detector". Groups are tried in order; the detect programs of a group run at the
//! same time and each buildpack is asked once, in however many groups it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hoist_events::{DetectOutcome, Event, Phase, Stream};
use hoist_spec::{
    BuildPlan, Candidate, GroupBuildpack, GroupEntry, ImageTarget, OrderError, OrderGroup, Plan, flatten_order,
    resolve_plan,
};

use crate::analyze::Analyzed;
use crate::at_once::at_once;
use crate::buildpacks::{Buildpack, Buildpacks, BuildpacksError};
use crate::environment::{self, Operator, Told, Wishes};
use crate::exchange::Exchange;
use crate::layer_events::elapsed_ms;
use crate::lines::Lines;
use crate::runner::{BuildpackCall, BuildpackExit, BuildpackPhase, RunnerError, Upper};
use crate::setup::Site;
use crate::timing::timed;
use crate::together;
use crate::tree::TreeError;

/// A group of buildpacks applies.
pub struct Detected {
    pub(crate) analyzed: Analyzed,
    pub(crate) group: Vec<Buildpack>,
    pub(crate) plan: Plan,
}

impl Detected {
    /// The buildpacks that take part, in the order in which they build.
    pub fn group(&self) -> Vec<GroupBuildpack> {
        self.group.iter().map(group_buildpack).collect()
    }

    /// What they are asked for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

pub(crate) fn group_buildpack(buildpack: &Buildpack) -> GroupBuildpack {
    let info = &buildpack.descriptor.buildpack;
    GroupBuildpack {
        id: info.id.clone(),
        version: info.version.clone(),
        api: buildpack.descriptor.api,
        homepage: info.homepage.clone(),
    }
}

/// What one buildpack of a group answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `id@version`.
    pub buildpack: String,
    /// Whether the group may go on without it.
    pub optional: bool,
    /// What it answered.
    pub outcome: DetectOutcome,
    /// What it wrote, or why it was not asked.
    pub said: String,
    /// What it provides and requires, where it applies.
    pub plan: BuildPlan,
}

/// Why one group does not apply.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupFailure {
    /// Its buildpacks.
    pub answers: Vec<Answer>,
    /// The reason in one sentence.
    pub reason: String,
}

/// Detect failed.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The order cannot be used.
    #[error("reading the order of the builder")]
    Order(#[source] OrderError),
    /// A buildpack of the order cannot be used.
    #[error("reading a buildpack of the order")]
    Buildpack(#[source] Arc<BuildpacksError>),
    /// A process could not be started.
    #[error("running bin/detect of {buildpack}")]
    Runner {
        /// `id@version`.
        buildpack: String,
        /// Why.
        #[source]
        source: RunnerError,
    },
    /// A plan or an environment cannot be prepared.
    #[error("preparing bin/detect of {buildpack}")]
    Tree {
        /// `id@version`.
        buildpack: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The execution environment has a name that it must not have.
    #[error("`{exec_env}` is no execution environment: its name must not hold a `/`")]
    ExecEnv {
        /// `CNB_EXEC_ENV`.
        exec_env: String,
    },
    /// No group applies.
    #[error("no group of buildpacks applies to the app{}", explain(.groups))]
    NoGroup {
        /// Why not, for each group in order.
        groups: Vec<GroupFailure>,
        /// Whether a buildpack failed with an unexpected code.
        errored: bool,
    },
}

fn explain(groups: &[GroupFailure]) -> String {
    let mut text = String::new();
    for (number, group) in groups.iter().enumerate() {
        let _ = write!(text, "\n  group {}: {}", number + 1, group.reason);
        for answer in &group.answers {
            let outcome = match answer.outcome {
                DetectOutcome::Pass => "applies".to_owned(),
                DetectOutcome::Fail => "does not apply".to_owned(),
                DetectOutcome::Error { code: -1 } => "failed".to_owned(),
                DetectOutcome::Error { code } => format!("failed with code {code}"),
            };
            let optional = if answer.optional { " (optional)" } else { "" };
            let _ = write!(text, "\n    {}{optional}: {outcome}", answer.buildpack);
            for line in answer.said.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
                let _ = write!(text, "\n      {line}");
            }
        }
    }
    text
}

impl DetectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Order(_) => Some("correct the order in builder.toml and make the builder again".to_owned()),
            Self::Buildpack(error) => error.hint(),
            Self::Runner { source, .. } => source.hint.clone(),
            Self::Tree { .. } => None,
            Self::ExecEnv { .. } => Some("use production, test or development".to_owned()),
            Self::NoGroup { errored: true, .. } => {
                Some("look at the output of the buildpack that failed, or leave it out of the order".to_owned())
            }
            Self::NoGroup { .. } => Some(
                "add a file that one of these buildpacks looks for, for example requirements.txt, or choose others with --buildpack"
                    .to_owned(),
            ),
        }
    }

    /// The specification's exit code: 20 when no group passes, 21 when in addition a buildpack failed, 12 for one of an API that is not
    /// spoken, 22 otherwise.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NoGroup { errored: false, .. } => 20,
            Self::NoGroup { errored: true, .. } => 21,
            Self::Buildpack(error) if error.is_unsupported_api() => 12,
            _ => 22,
        }
    }
}

/// What a buildpack's detect left; the same for each group that it stands in.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    outcome: DetectOutcome,
    said: String,
    plan: BuildPlan,
}

/// Asks the buildpacks and finds the first group that applies.
pub fn detect(
    site: &Site<'_>,
    analyzed: Analyzed,
    order: &[OrderGroup],
    buildpacks: &Buildpacks,
) -> Result<Detected, DetectError> {
    let (group, plan) = detect_group(site, &analyzed.target, order, buildpacks)?;
    Ok(Detected { analyzed, group, plan })
}

/// The first group that applies, and what its buildpacks are asked for.
pub(crate) fn detect_group(
    site: &Site<'_>,
    target: &ImageTarget,
    order: &[OrderGroup],
    buildpacks: &Buildpacks,
) -> Result<(Vec<Buildpack>, Plan), DetectError> {
    let Search { failures, found, .. } = search(site, target, order, buildpacks)?;
    if let Some(Match { group, plan, .. }) = found {
        return Ok((group, plan));
    }
    let errored = has_error(&failures);
    Err(DetectError::NoGroup { groups: failures, errored })
}

/// Whether a buildpack of these groups failed with an unexpected code.
pub(crate) fn has_error(failures: &[GroupFailure]) -> bool {
    let is_error = |answer: &Answer| matches!(answer.outcome, DetectOutcome::Error { .. });
    failures.iter().flat_map(|failure| &failure.answers).any(is_error)
}

/// What came of trying the groups of an order.
pub(crate) struct Search {
    /// Those that do not apply, each once.
    pub(crate) failures: Vec<GroupFailure>,
    /// The first that applies.
    pub(crate) found: Option<Match>,
    /// How many come after that.
    pub(crate) untried: usize,
}

/// A group that applies.
pub(crate) struct Match {
    pub(crate) answers: Vec<Answer>,
    /// Those of its buildpacks that take part.
    pub(crate) group: Vec<Buildpack>,
    pub(crate) plan: Plan,
}

/// Tries the groups until one applies.
pub(crate) fn search(
    site: &Site<'_>,
    target: &ImageTarget,
    order: &[OrderGroup],
    buildpacks: &Buildpacks,
) -> Result<Search, DetectError> {
    // "The value of `CNB_EXEC_ENV` MUST NOT contain the character `/` as it is reserved for future use."
    if site.exec_env.contains('/') {
        return Err(DetectError::ExecEnv { exec_env: site.exec_env.clone() });
    }
    timed(site.reporter, Phase::Detect, || {
        let lookup = |id: &str, version: &str| buildpacks.get(id, version).map(|buildpack| &buildpack.descriptor);
        let groups = flatten_order(order, &lookup).map_err(|error| unusable(buildpacks, error))?;
        let groups: Vec<_> = groups.iter().map(|group| members(site, group, buildpacks)).collect();
        let together = together(site, target, &groups);
        let (operator, mut runs) = (Operator::default(), BTreeMap::new());
        let mut failures: Vec<GroupFailure> = Vec::new();
        let mut untried = groups.len();
        for members in groups {
            untried -= 1;
            run_missing(&Asking { site, target, operator: &operator, together: &together }, &members, &mut runs)?;
            match judge(site, &members, &runs) {
                Ok(found) => return Ok(Search { failures, found: Some(found), untried }),
                Err(failure) if failures.contains(&failure) => {}
                Err(failure) => failures.push(failure),
            }
        }
        Ok(Search { failures, found: None, untried })
    })
}

/// A buildpack that the builder has but that cannot be used is told apart from one that it does not have.
fn unusable(buildpacks: &Buildpacks, error: OrderError) -> DetectError {
    let problem = match &error {
        OrderError::Unknown { id, version } => buildpacks.problem(id, version),
        _ => None,
    };
    problem.map_or(DetectError::Order(error), DetectError::Buildpack)
}

/// The buildpacks of a group that are for this execution environment.
fn members<'a>(site: &Site<'_>, group: &[GroupEntry], buildpacks: &'a Buildpacks) -> Vec<(GroupEntry, &'a Buildpack)> {
    let fits = |entry: &GroupEntry, buildpack: &Buildpack| {
        if !site.platform_api.at_least(15) {
            return true;
        }
        let listed = entry.exec_env.is_empty() || entry.exec_env.iter().any(|e| e == "*" || *e == site.exec_env);
        listed && buildpack.descriptor.supports_exec_env(&site.exec_env)
    };
    let found = group.iter().filter_map(|entry| Some((entry, buildpacks.get(&entry.id, &entry.version)?)));
    found
        .filter(|(entry, buildpack)| fits(entry, buildpack))
        .map(|(entry, buildpack)| (entry.clone(), buildpack))
        .collect()
}

/// Those of all groups that one process can ask, each once; nothing where that would be a single one.
fn together<'a>(
    site: &Site<'_>,
    target: &ImageTarget,
    groups: &[Vec<(GroupEntry, &'a Buildpack)>],
) -> Vec<&'a Buildpack> {
    let mut found: BTreeMap<String, &Buildpack> = BTreeMap::new();
    for (_, buildpack) in groups.iter().flatten() {
        let name = buildpack.descriptor.full_name();
        if site.runner.asks_together(&name) && is_for(buildpack, target) {
            found.insert(name, buildpack);
        }
    }
    if found.len() > 1 { found.into_values().collect() } else { Vec::new() }
}

/// What buildpacks answered, by their full names.
pub(crate) type Answers = Result<Vec<(String, Run)>, DetectError>;

/// What one process is started for.
enum Job<'a> {
    Together,
    Alone(&'a Buildpack),
}

/// What is the same for all buildpacks that are asked.
struct Asking<'a> {
    site: &'a Site<'a>,
    target: &'a ImageTarget,
    operator: &'a Operator,
    together: &'a [&'a Buildpack],
}

impl Asking<'_> {
    fn ask(&self, job: &Job<'_>) -> Answers {
        match job {
            Job::Together => together::ask(self.site, self.target, self.operator, self.together),
            Job::Alone(buildpack) => {
                let run = run_detect(self.site, self.target, self.operator, buildpack)?;
                Ok(vec![(buildpack.descriptor.full_name(), run)])
            }
        }
    }

    /// Does the jobs at once, and answers what came of them in their order.
    fn ask_all(&self, jobs: &[Job<'_>]) -> Answers {
        let mut all = Vec::new();
        for answers in at_once(jobs, |job| self.ask(job)) {
            all.extend(answers?);
        }
        Ok(all)
    }
}

/// Runs the detect programs that no group before has run: those that need a process of their own, and beside them the one process for
/// those that are asked together; then whoever was not answered by that.
fn run_missing(
    asking: &Asking<'_>,
    members: &[(GroupEntry, &Buildpack)],
    runs: &mut BTreeMap<String, Run>,
) -> Result<(), DetectError> {
    let missing = |runs: &BTreeMap<String, Run>| -> Vec<&Buildpack> {
        let all = members.iter().map(|(_, buildpack)| *buildpack);
        all.filter(|buildpack| !runs.contains_key(&buildpack.descriptor.full_name())).collect()
    };
    // They are asked with the first group that has one of them; whom that did not answer is asked alone from then on.
    let together: BTreeSet<String> = asking.together.iter().map(|buildpack| buildpack.descriptor.full_name()).collect();
    let were_asked = together.iter().any(|name| runs.contains_key(name));
    let (common, alone): (Vec<&Buildpack>, Vec<&Buildpack>) = missing(runs)
        .into_iter()
        .partition(|buildpack| !were_asked && together.contains(&buildpack.descriptor.full_name()));
    let first = if common.is_empty() { None } else { Some(Job::Together) };
    let jobs: Vec<Job<'_>> = first.into_iter().chain(alone.into_iter().map(Job::Alone)).collect();
    runs.extend(asking.ask_all(&jobs)?);
    let rest: Vec<Job<'_>> = missing(runs).into_iter().map(Job::Alone).collect();
    runs.extend(asking.ask_all(&rest)?);
    Ok(())
}

fn is_for(buildpack: &Buildpack, target: &ImageTarget) -> bool {
    buildpack.descriptor.effective_targets().iter().any(|wanted| wanted.matches(target))
}

fn run_detect(
    site: &Site<'_>,
    target: &ImageTarget,
    operator: &Operator,
    buildpack: &Buildpack,
) -> Result<Run, DetectError> {
    let descriptor = &buildpack.descriptor;
    let name = descriptor.full_name();
    if !is_for(buildpack, target) {
        let said = format!("it is not made for {}/{}", target.os, target.arch);
        return Ok(Run { outcome: DetectOutcome::Fail, said, plan: BuildPlan::default() });
    }
    let prepare = |source| DetectError::Tree { buildpack: name.clone(), source };
    let escaped = hoist_spec::escape_id(&descriptor.buildpack.id);
    let exchange_name = format!("detect-{escaped}-{}", descriptor.buildpack.version);
    let exchange = Exchange::new(site, &exchange_name, "").map_err(prepare)?;
    let call = detect_call(site, target, operator, buildpack, &exchange).map_err(prepare)?;
    let mut lines = Lines::new(None, &descriptor.buildpack.id);
    site.counters.process_started();
    let started = Instant::now();
    let exit = site
        .runner
        .run(&call, &mut |stream: Stream, bytes: &[u8]| lines.write(stream, bytes))
        .map_err(|source| DetectError::Runner { buildpack: name.clone(), source })?;
    let elapsed_ms = elapsed_ms(started);
    site.reporter.report(&Event::BuildpackFinished { buildpack: name.clone(), phase: Phase::Detect, elapsed_ms });
    Ok(answered(&name, &exit, lines.finish(), || exchange.read_plan()))
}

/// What the end of a detect program, its words and its plan mean together.
pub(crate) fn answered(
    name: &str,
    exit: &BuildpackExit,
    said: String,
    plan: impl FnOnce() -> Result<String, TreeError>,
) -> Run {
    match exit {
        BuildpackExit::Exited(0) => {
            match plan().map_err(|error| error.to_string()).and_then(|text| parse_plan(&text)) {
                Ok(plan) => Run { outcome: DetectOutcome::Pass, said, plan },
                Err(problem) => failed(-1, &said, &format!("{name}: {problem}")),
            }
        }
        BuildpackExit::Exited(100) => Run { outcome: DetectOutcome::Fail, said, plan: BuildPlan::default() },
        BuildpackExit::Exited(code) => failed(*code, &said, ""),
        BuildpackExit::Killed { reason } => failed(-1, &said, reason),
    }
}

fn failed(code: i32, said: &str, problem: &str) -> Run {
    let said = [said, problem].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    Run { outcome: DetectOutcome::Error { code }, said, plan: BuildPlan::default() }
}

fn parse_plan(text: &str) -> Result<BuildPlan, String> {
    BuildPlan::parse(text).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

pub(crate) fn detect_call(
    site: &Site<'_>,
    target: &ImageTarget,
    operator: &Operator,
    buildpack: &Buildpack,
    exchange: &Exchange,
) -> Result<BuildpackCall, TreeError> {
    let descriptor = &buildpack.descriptor;
    let plan_path = exchange.plan_path();
    let platform_dir = site.directories.platform_dir.clone();
    let mut places = vec![("CNB_BUILDPACK_DIR", buildpack.dir.as_path())];
    if Wishes::of(descriptor).told >= Told::Directories {
        places.push(("CNB_BUILD_PLAN_PATH", plan_path.as_path()));
        places.push(("CNB_PLATFORM_DIR", platform_dir.as_path()));
    }
    let initial = environment::initial(site);
    let environment = environment::for_buildpack(site, operator, &initial, descriptor, target, &places)?;
    Ok(BuildpackCall {
        phase: BuildpackPhase::Detect,
        buildpack_id: descriptor.buildpack.id.clone(),
        buildpack_version: descriptor.buildpack.version.clone(),
        program: buildpack.dir.join("bin/detect"),
        args: [&platform_dir, &plan_path].map(|path: &PathBuf| path.clone().into_os_string()).to_vec(),
        environment: environment.into_variables(),
        working_dir: site.directories.app_dir.clone(),
        exchange_host_dir: exchange.host_dir().to_owned(),
        exchange_dir: exchange.inside_dir().to_owned(),
        restored_dirs: Vec::new(),
        upper: Upper::Throwaway,
    })
}

/// Whether a group applies, by what its buildpacks answered.
fn judge(
    site: &Site<'_>,
    members: &[(GroupEntry, &Buildpack)],
    runs: &BTreeMap<String, Run>,
) -> Result<Match, GroupFailure> {
    let mut answers = Vec::new();
    let mut candidates = Vec::new();
    let mut refused = None;
    for (entry, buildpack) in members {
        let name = buildpack.descriptor.full_name();
        let Some(run) = runs.get(&name) else { continue };
        report(site, &name, entry.optional, run);
        let Run { outcome, said, plan } = run.clone();
        if outcome == DetectOutcome::Pass {
            let mut entry = entry.clone();
            entry.version.clone_from(&buildpack.descriptor.buildpack.version);
            candidates.push(Candidate { entry, plan: plan.clone() });
        } else if !entry.optional && refused.is_none() {
            refused = Some(match outcome {
                DetectOutcome::Error { .. } => format!("{name} failed, and the group needs it"),
                _ => format!("{name} does not apply, and the group needs it"),
            });
        }
        answers.push(Answer { buildpack: name, optional: entry.optional, outcome, said, plan });
    }
    let reason = match refused {
        Some(reason) => reason,
        None if candidates.is_empty() => "none of its buildpacks applies".to_owned(),
        None => match resolve_plan(&candidates) {
            Ok(resolution) => {
                let chosen = |entry: &GroupEntry| members.iter().find(|(member, _)| member.id == entry.id);
                let group = resolution.group.iter().filter_map(chosen).map(|(_, buildpack)| (*buildpack).clone());
                return Ok(Match { answers, group: group.collect(), plan: resolution.plan });
            }
            Err(error) => error.to_string(),
        },
    };
    Err(GroupFailure { answers, reason })
}

fn report(site: &Site<'_>, name: &str, optional: bool, run: &Run) {
    if let DetectOutcome::Error { .. } = run.outcome {
        for line in run.said.lines() {
            let event = Event::Output { source: name.to_owned(), stream: Stream::Stderr, line: line.to_owned() };
            site.reporter.report(&event);
        }
    }
    let event = Event::Detected { buildpack: name.to_owned(), optional, outcome: run.outcome.clone() };
    site.reporter.report(&event);
}
