//! Every project below `fixtures/apps`, checked, built and run as its `expected.toml` says.
//!
//! `HOIST_APPS=name,name` runs some of them (a name is any part of a folder's).
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)] // a test's modules; tests start processes and fail loudly

mod bills;
mod channel;
mod expected;
#[path = "../support/house.rs"]
mod house;
mod index;
mod made;
mod malformed;
mod outcome;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Projects at once: a build waits for its sandbox and the disk as much as for a processor.
const WORKERS: usize = 2;
/// All projects together; what has not begun by then fails.
const PATIENCE: Duration = Duration::from_mins(15);

#[test]
fn every_project_has_its_expected_outcome() {
    let projects_dir = support::root_dir().join("fixtures/apps");
    let only = std::env::var("HOIST_APPS").unwrap_or_default();
    let wanted: Vec<&str> = only.split(',').filter(|part| !part.is_empty()).collect();
    let mut names: Vec<String> = fs_err::read_dir(&projects_dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| wanted.is_empty() || wanted.iter().any(|part| name.contains(part)))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no project is called {only:?}");
    let scratch_dir = support::tree(&[]);
    outcome::fetch_uv();
    let started = Instant::now();
    let count = names.len();
    let queue = Mutex::new(VecDeque::from(names));
    let failed = Mutex::new(Vec::new());
    let times = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(name) = queue.lock().unwrap().pop_front() else { break };
                    let begun = Instant::now();
                    let found = if started.elapsed() > PATIENCE {
                        vec![format!("not begun: the others took {PATIENCE:?}")]
                    } else {
                        outcome::differences(&name, &projects_dir.join(&name), scratch_dir.path())
                    };
                    times.lock().unwrap().push((begun.elapsed(), name.clone()));
                    if !found.is_empty() {
                        failed.lock().unwrap().push((name, found));
                    }
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_by(|a, b| b.cmp(a));
    let slow: Vec<String> =
        times.iter().take(5).map(|(time, name)| format!("{name} {:.1} s", time.as_secs_f64())).collect();
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let mut report = format!(
        "{count} projects in {:.1} s, {} as expected, {} not (longest: {})\n",
        started.elapsed().as_secs_f64(),
        count - failed.len(),
        failed.len(),
        slow.join(", ")
    );
    for (name, found) in &failed {
        let _ = writeln!(report, "\nfixtures/apps/{name}");
        for difference in found {
            let _ = writeln!(report, "  {difference}");
        }
    }
    // Past the capture of the test harness: how many ran is worth knowing when all is well, too.
    let _ = std::io::stderr().write_all(report.as_bytes());
    assert!(failed.is_empty(), "{report}");
}
