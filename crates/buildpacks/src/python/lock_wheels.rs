//! A lock is older than the newest Python as a rule. Where it has no wheels for the one that would be taken, and wheels of everything for another
//! one that is allowed as well, that one is taken: nothing needs to be built then. Whoever names a Python gets that one.

use super::lifetimes;
use super::version::{self, Choice, Origin, Request, RequestKind, Supply};
use crate::context::Context;
use crate::dependencies::locked_wheels;

/// The choice that the app's lock has wheels for, which is the one that was made as a rule.
pub(super) fn prefer(context: &Context, requests: &[Request], supply: Supply<'_>, choice: Choice) -> Choice {
    // A lock is large: it is read where there is anything to choose.
    if choice.python.origin == Origin::Standalone || others("a lock", requests, supply, &choice).next().is_none() {
        return choice;
    }
    let Some((lock, false)) = locked_wheels(context, &choice.python.release.to_string()) else { return choice };
    let better = others(&lock, requests, supply, &choice)
        .find(|other| matches!(locked_wheels(context, &other.python.release.to_string()), Some((_, true))));
    let Some(better) = better else { return choice };
    let reason =
        format!("{lock} has wheels of everything for it, and not for {}; {}", choice.python.minor, choice.reason);
    Choice { reason, ..better }
}

/// The other Pythons of Debian that all who ask allow and that still get security fixes, were a lock to ask for each.
fn others<'a>(
    lock: &'a str,
    requests: &'a [Request],
    supply: Supply<'a>,
    choice: &'a Choice,
) -> impl Iterator<Item = Choice> + 'a {
    let today = lifetimes::today();
    let minors = version::of_debian(supply).map(|python| python.minor);
    minors.filter(move |minor| lifetimes::warning(minor, today).is_none()).filter_map(move |minor| {
        let asked = Request { source: lock.to_owned(), text: minor.to_owned(), kind: RequestKind::File };
        let all: Vec<Request> = requests.iter().cloned().chain([asked]).collect();
        let other = version::choose(&all, supply).ok().filter(|other| other.python.minor == minor)?;
        (other.python != choice.python && other.python.origin != Origin::Standalone).then_some(other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_needs_not_be_read_where_only_one_python_is_allowed() {
        let supply = Supply::on("trixie");
        let minors = |text: &str, kind: RequestKind| {
            let requests = [Request { source: "pyproject.toml".into(), text: text.into(), kind }];
            let choice = version::choose(&requests, supply).unwrap();
            others("uv.lock", &requests, supply, &choice).map(|other| other.python.minor).collect::<Vec<_>>()
        };
        assert_eq!(minors(">=3.9", RequestKind::Bound), ["3.11"]);
        assert_eq!(minors(">=3.12,<3.14", RequestKind::Bound), [""; 0]);
        assert_eq!(minors("3.13", RequestKind::File), [""; 0]);
        assert_eq!(minors("3.11", RequestKind::Variable), [""; 0]);
    }
}
