//! `hoist/django`: collects the static files of a Django project into its `STATIC_ROOT`, so that the image has what its pages ask for.
//!
//! It stands behind the buildpacks that install packages, because `manage.py` needs them and what they set, and it is a buildpack of its own because it
//! runs code of the app, which no other of hoist's does (docs/adr/0040). What was collected is kept, and put back as long as nothing changed that it
//! could depend on. Where the project lies and whether Django is there is `project`'s to say, what decides the outcome `key`'s, how a failure is told
//! `diagnosis`'.

mod collect;
mod diagnosis;
mod kept;
mod key;
mod project;

use serde::{Deserialize, Serialize};

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext, parse_switch};
use crate::failure::{EXIT_NEEDS_SOURCE_BUILD, Failure, Page};
use crate::install::denies_source_builds;
use crate::layer::{Layer, LayerTypes};

use collect::Outcome;
use key::Key;
use project::{Found, Project};

/// The layer that keeps what was collected for the next build.
const LAYER: &str = "static";
const TYPES: LayerTypes = LayerTypes { build: false, launch: false, cache: true };
/// The setting.
const VARIABLE: &str = "BP_DJANGO_COLLECTSTATIC";
/// The same in the words of Heroku.
const DISABLING_VARIABLE: &str = "DISABLE_COLLECTSTATIC";

/// The buildpack.
pub(crate) struct Django;

impl Buildpack for Django {
    fn id(&self) -> &'static str {
        "hoist/django"
    }

    fn name(&self) -> &'static str {
        "Hoist Django"
    }

    fn description(&self) -> &'static str {
        "Collects the static files of a Django project"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(match project::find(context.common) {
            Found::None => Detection::fail("there is no manage.py"),
            Found::One(_) | Found::Several(_) => Detection::pass(),
        })
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        let layer = context.layer(LAYER);
        match project_of(context)? {
            Ok((project, wish)) => collect_or_keep(context, &layer, &project, wish),
            Err(reason) => {
                context.output.step(format!("no static files are collected: {reason}"));
                layer.clear()
            }
        }
    }
}

/// Whether files are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// By the variables, not at all; the one that says so.
    No(&'static str),
    /// Where the project has a place of its own for them.
    WhereLocal,
    /// Also where its storage takes them elsewhere.
    Always,
}

impl Wish {
    fn of(context: &Context) -> Result<Self, Failure> {
        match context.switch(VARIABLE)? {
            Some(false) => Ok(Self::No(VARIABLE)),
            Some(true) => Ok(Self::Always),
            // Whatever else it says: Heroku looks whether it is set.
            None if context.variable(DISABLING_VARIABLE).is_some_and(|text| parse_switch(text) != Some(false)) => {
                Ok(Self::No(DISABLING_VARIABLE))
            }
            None => Ok(Self::WhereLocal),
        }
    }
}

/// The project whose files are to be collected, or why there is none.
fn project_of(context: &BuildContext<'_>) -> Result<Result<(Project, Wish), String>, Failure> {
    let common = context.common;
    let wish = Wish::of(common)?;
    if let Wish::No(variable) = wish {
        return Ok(Err(format!("{variable} says so")));
    }
    let manage = match project::find(common) {
        Found::None => return Ok(Err("there is no manage.py".to_owned())),
        Found::Several(paths) => {
            let list = paths.join(", ");
            let variable = project::VARIABLE;
            return Ok(Err(format!("{list} could each be the one: name it with --env {variable}={}", paths[0])));
        }
        Found::One(manage) => manage,
    };
    Ok(match Project::with(common, manage) {
        Some(project) => Ok((project, wish)),
        None => Err("Django is not among the installed packages".to_owned()),
    })
}

/// What is remembered of the layer between builds.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    #[serde(flatten)]
    key: Key,
    outcome: Outcome,
}

fn collect_or_keep(context: &BuildContext<'_>, layer: &Layer, project: &Project, wish: Wish) -> Result<(), Failure> {
    let common = context.common;
    let key = Key::of(common, project, wish == Wish::Always)
        .map_err(|error| Failure::io("reading the files of the app", &error))?;
    let old: Option<Metadata> = if layer.has_content() { layer.metadata() } else { None };
    if let Some(old) = old {
        let reasons = key.differences(&old.key);
        if reasons.is_empty() {
            kept::put_back(layer.dir(), &common.app_dir)
                .map_err(|error| Failure::io("putting the static files back", &error))?;
            old.outcome.say(context.output, true);
            return layer.write(TYPES, &Metadata { key, outcome: old.outcome });
        }
        if !denies_source_builds(common) {
            context.output.step(format!("collecting anew: {}", reasons.join("; ")));
            layer.explain(&reasons);
        }
    }
    if denies_source_builds(common) {
        return Err(run_again());
    }
    layer.clear()?;
    layer.create()?;
    let outcome = collect::run(context, project, wish, layer)?;
    outcome.say(context.output, false);
    layer.write(TYPES, &Metadata { key, outcome })
}

/// `manage.py` is code of the app: it runs where it can write to nothing that other builds use. Nobody needs to read of that.
fn run_again() -> Failure {
    let page = Page {
        doing: "collecting static files".to_owned(),
        seen: Vec::new(),
        why: Vec::new(),
        fix: Vec::new(),
        evidence: Vec::new(),
        code: "",
    };
    Failure { page: Box::new(page), exit_code: EXIT_NEEDS_SOURCE_BUILD }
}
