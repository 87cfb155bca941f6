//! Several buildpacks asked by one process.
//!
//! A sandbox and the start of a large binary cost more than looking whether the app has a certain file. Buildpacks that are one program
//! (hoist's own) are therefore asked by one process, `bin/detect --together DIR PLAN DIR PLAN …`, which answers each with a line of JSON on
//! its standard output. Whom it does not answer, because it crashed, ran out of time or does not know the option, is asked alone: nothing
//! but time depends on it.

use std::ffi::OsString;
use std::time::Duration;

use hoist_events::{Event, Phase, Stream};
use hoist_spec::ImageTarget;
use serde::Deserialize;

use crate::buildpacks::Buildpack;
use crate::detect::{Answers, DetectError, Run, answered, detect_call};
use crate::environment::{Operator, Wishes};
use crate::exchange::Exchange;
use crate::lines::Lines;
use crate::runner::BuildpackExit;
use crate::setup::Site;

/// The first argument of such a process.
const OPTION: &str = "--together";
/// More than twenty buildpacks have to say. What comes after it is not read, and who would have answered there is asked alone.
const MAX_ANSWERS_BYTES: usize = 4 << 20;

/// One line: what one buildpack answered.
#[derive(Deserialize)]
struct Line {
    /// Which of the arguments' pairs, from 0.
    asked: usize,
    code: i32,
    said: String,
    elapsed_ms: u64,
}

/// Asks them, and answers those of them by full name that were heard. All of them must be the runner's own.
pub(crate) fn ask(site: &Site<'_>, target: &ImageTarget, operator: &Operator, buildpacks: &[&Buildpack]) -> Answers {
    let Some(first) = buildpacks.first() else { return Ok(Vec::new()) };
    let prepare = |source| DetectError::Tree { buildpack: first.descriptor.full_name(), source };
    // One process has one environment; who would see another is asked alone.
    let wishes = Wishes::of(&first.descriptor);
    let asked: Vec<&Buildpack> =
        buildpacks.iter().copied().filter(|buildpack| Wishes::of(&buildpack.descriptor) == wishes).collect();
    let exchange = Exchange::new(site, "detect-together", "").map_err(prepare)?;
    let mut call = detect_call(site, target, operator, first, &exchange).map_err(prepare)?;
    let pairs = asked
        .iter()
        .enumerate()
        .flat_map(|(number, buildpack)| [buildpack.dir.clone(), exchange.path(&plan_name(number))].map(OsString::from));
    call.args = std::iter::once(OsString::from(OPTION)).chain(pairs).collect();
    let mut written = Vec::new();
    site.counters.process_started();
    let mut collect = |stream: Stream, bytes: &[u8]| {
        if stream == Stream::Stdout {
            let room = MAX_ANSWERS_BYTES - written.len();
            written.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    };
    let exit = site
        .runner
        .run(&call, &mut collect)
        .map_err(|source| DetectError::Runner { buildpack: first.descriptor.full_name(), source })?;
    Ok(match exit {
        BuildpackExit::Exited(0) => hear(site, &asked, &exchange, &written),
        _ => Vec::new(),
    })
}

fn plan_name(number: usize) -> String {
    format!("plan-{number}.toml")
}

/// What the lines say. One that cannot be meant is no answer.
fn hear(site: &Site<'_>, asked: &[&Buildpack], exchange: &Exchange, written: &[u8]) -> Vec<(String, Run)> {
    let mut heard: Vec<(String, Run)> = Vec::new();
    for line in written.split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
        let Some(buildpack) = asked.get(line.asked) else { continue };
        let name = buildpack.descriptor.full_name();
        if heard.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let mut lines = Lines::new(None, &buildpack.descriptor.buildpack.id);
        lines.write(Stream::Stdout, line.said.as_bytes());
        let elapsed_ms = line.elapsed_ms.min(Duration::from_hours(1).as_millis().try_into().unwrap_or(u64::MAX));
        site.reporter.report(&Event::BuildpackFinished { buildpack: name.clone(), phase: Phase::Detect, elapsed_ms });
        let plan = || exchange.read(&plan_name(line.asked));
        heard.push((name.clone(), answered(&name, &BuildpackExit::Exited(line.code), lines.finish(), plan)));
    }
    heard
}
