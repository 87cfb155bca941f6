//! `hoist plan`: which buildpacks would build an app and why the others would not, without building.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use hoist_events::DetectOutcome;
use hoist_platform::{Dependency, PlanReport, PlatformError, TriedBuildpack, TriedGroup};

use crate::commands::build::{BuildOptions, BuildpackOptions, SurroundingsOptions};
use crate::context::Context;
use crate::failure::{Code, Failure, harmless};

/// Say which buildpacks would build an app, what they ask of each other, and why other groups do not apply; nothing is built
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Folder or zip of the app
    #[arg(short, long, default_value = ".", value_name = "DIR|ZIP")]
    path: PathBuf,
    #[command(flatten)]
    buildpacks: BuildpackOptions,
    #[command(flatten)]
    surroundings: SurroundingsOptions,
    #[command(flatten)]
    how: BuildOptions,
}

/// More of a buildpack's words than this is not for a person.
const SHOWN_LINES: usize = 20;

impl PlanArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut request = self.how.request(context, self.path)?;
        self.buildpacks.apply(context, &mut request)?;
        self.surroundings.apply(context, &mut request)?;
        let report = self.how.open(context)?.plan(&request).map_err(failure)?;
        if context.json {
            let value = serde_json::to_value(&report).map_err(|error| Failure::new(&error, None, Code::Hoist))?;
            context.print_json(&value)?;
        } else {
            context.print(&text(&report))?;
        }
        match report.exit_code {
            0 => Ok(()),
            code => Err(Failure::of_process(u8::try_from(code).unwrap_or(1))),
        }
    }
}

/// What detection itself complains of ends with the specification's code; everything else as in any command.
fn failure(error: PlatformError) -> Failure {
    match &error {
        PlatformError::Detect(detect) => {
            Failure::new(&error, detect.hint(), Code::Process(u8::try_from(detect.exit_code()).unwrap_or(1)))
        }
        _ => error.into(),
    }
}

fn text(report: &PlanReport) -> String {
    let mut text = format!("builder  {}\ntarget   {}\n", report.builder, report.target);
    for (at, group) in report.groups.iter().enumerate() {
        add_group(&mut text, at + 1, group);
    }
    match report.untried_groups {
        0 => {}
        1 => text.push_str("the group after it is not tried\n"),
        count => {
            let _ = writeln!(text, "the {count} groups after it are not tried");
        }
    }
    if !report.applies {
        text.push_str("no group of buildpacks applies to the app\n");
        return text;
    }
    text.push_str("plan\n");
    if report.plan.is_empty() {
        text.push_str("  they ask nothing of each other\n");
    }
    for dependency in &report.plan {
        add_dependency(&mut text, dependency);
    }
    text
}

fn add_group(text: &mut String, number: usize, group: &TriedGroup) {
    let verdict = match &group.reason {
        None => "applies".to_owned(),
        Some(reason) => format!("does not apply: {}", harmless(reason)),
    };
    let _ = writeln!(text, "group {number}  {verdict}");
    let width = group.buildpacks.iter().map(|one| one.buildpack.len()).max().unwrap_or_default();
    for one in &group.buildpacks {
        let _ = writeln!(text, "  {:<width$}  {}", one.buildpack, answer(one, group.applies));
        // What a buildpack that takes part said is of interest only where the group was refused.
        if !one.takes_part {
            add_output(text, &one.output);
        }
    }
}

fn answer(one: &TriedBuildpack, group_applies: bool) -> String {
    let mut answer = match one.outcome {
        DetectOutcome::Pass if one.takes_part => "takes part".to_owned(),
        DetectOutcome::Pass if group_applies => {
            "applies, but is left out: nobody provides what it requires, or wants what it provides".to_owned()
        }
        DetectOutcome::Pass => "applies".to_owned(),
        DetectOutcome::Fail => "does not apply".to_owned(),
        DetectOutcome::Error { code: -1 } => "failed".to_owned(),
        DetectOutcome::Error { code } => format!("failed with code {code}"),
    };
    if one.optional {
        answer.push_str(" (optional)");
    }
    let offers: Vec<String> = one
        .alternatives
        .iter()
        .map(|offer| {
            let part = |verb: &str, names: &[String]| match names {
                [] => None,
                names => Some(format!("{verb} {}", names.join(", "))),
            };
            let parts = [part("provides", &offer.provides), part("requires", &offer.requires)];
            harmless(&parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        })
        .collect();
    if !offers.is_empty() {
        let _ = write!(answer, "; {}", offers.join(", or "));
    }
    answer
}

fn add_output(text: &mut String, output: &str) {
    let lines: Vec<&str> = output.lines().collect();
    let left_out = lines.len().saturating_sub(SHOWN_LINES);
    if left_out > 0 {
        let _ = writeln!(text, "      … {left_out} lines before");
    }
    for line in &lines[left_out..] {
        let _ = writeln!(text, "      {}", harmless(line));
    }
}

fn add_dependency(text: &mut String, dependency: &Dependency) {
    let _ = writeln!(text, "  {}: from {}", harmless(&dependency.name), dependency.provided_by.join(", "));
    for one in &dependency.required_by {
        let wishes: Vec<String> =
            one.metadata.as_object().into_iter().flatten().map(|(key, value)| format!("{key} = {value}")).collect();
        let wishes = if wishes.is_empty() { String::new() } else { format!(" ({})", harmless(&wishes.join(", "))) };
        let _ = writeln!(text, "    for {}{wishes}", one.buildpack);
    }
}
