//! A lock is older than the newest Python as a rule. Where it has no wheels for the one that would be taken, and wheels of everything for another
//! one that is allowed as well, that one is taken: nothing needs to be built then. Whoever names a Python gets that one.

use super::lifetimes;
use super::version::{self, Choice, Origin, Request, RequestKind, Supply};
use crate::context::Context;
use crate::dependencies::locked_wheels;

/// The choice that the app's lock has wheels for, which is the one that was made as a rule.
pub(super) fn prefer(context: &Context, requests: &[Request], supply: Supply<'_>, choice: Choice) -> Choice {
    if choice.python.origin == Origin::Standalone {
        return choice;
    }
    let Some((lock, false)) = locked_wheels(context, &choice.python.release.to_string()) else { return choice };
    let today = lifetimes::today();
    let minors = version::of_debian(supply).map(|python| python.minor);
    for minor in minors.filter(|minor| lifetimes::warning(minor, today).is_none()) {
        let asked = Request { source: lock.clone(), text: minor.to_owned(), kind: RequestKind::File };
        let all: Vec<Request> = requests.iter().cloned().chain([asked]).collect();
        let other = version::choose(&all, supply).ok().filter(|other| other.python.minor == minor);
        let Some(other) =
            other.filter(|other| other.python != choice.python && other.python.origin != Origin::Standalone)
        else {
            continue;
        };
        if matches!(locked_wheels(context, &other.python.release.to_string()), Some((_, true))) {
            let reason = format!(
                "{lock} has wheels of everything for it, and not for {}; {}",
                choice.python.minor, choice.reason
            );
            return Choice { reason, ..other };
        }
    }
    choice
}
