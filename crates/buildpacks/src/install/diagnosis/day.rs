//! Symptoms of a dated resolution: an index that knows no dates, and packages that came later.

use super::text::between;
use super::{DOING, Evidence};
use crate::as_of::VARIABLE;
use crate::failure::Failure;

/// The index does not say when its files were uploaded.
pub(super) fn undated(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let as_of = evidence.as_of?.written();
    let file = between(flat, "`", "` is missing an upload date")?.rsplit('`').next()?;
    Some(
        Failure::new(
            DOING,
            format!(
                "packages are to be those of {as_of} ({VARIABLE}), and the index does not say when {file} was uploaded"
            ),
            "without the upload times of PEP 700 nobody can tell what the index had on that day",
            format!("name an index that has them (PIP_INDEX_URL), or leave {VARIABLE} out"),
        )
        .and_fix("a lock file keeps versions without any dates: hoist check --lock pylock.toml"),
    )
}

/// What is required was uploaded after the day.
pub(super) fn later(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let as_of = evidence.as_of?.written();
    let name = between(flat, "hint: `", "` was filtered by `exclude-newer`")?;
    let rest = flat.split_once("The latest version satisfying the requirement is v")?.1;
    let (version, rest) = rest.split_once(", published at ")?;
    let day = rest.get(..10)?;
    Some(Failure::new(
        DOING,
        evidence.place(name),
        format!(
            "on {as_of} ({VARIABLE}) the index had no version of {name} that fits; {name} {version} fits and came on {day}"
        ),
        format!("take a later day (--as-of {day}), or require a version of {name} that was there by then"),
    ))
}
