//! Builds that may not use the network (`HOIST_OFFLINE`): what was kept before is all there is. Knows the words of uv and the page that a person reads
//! when something is not there; what is kept, and where, each buildpack knows itself.

use crate::context::Context;
use crate::failure::Failure;

/// Says that no connection may be tried. The platform sets it.
const VARIABLE: &str = "HOIST_OFFLINE";

/// What uv says of something that is not in its cache.
const SYMPTOMS: [&str; 4] = [
    "network was disabled",
    "Network connectivity is disabled",
    "was not found in the cache",
    "were not found in the cache",
];

/// Whether no connection may be tried.
pub(crate) fn is_offline(context: &Context) -> bool {
    context.variable(VARIABLE).is_some()
}

/// The page for what is needed and was not kept.
pub(crate) fn lacking(doing: impl Into<String>, what: &str) -> Failure {
    Failure::new(
        doing,
        format!("{what}: not in the bundle (or, without one, in the caches of this machine)"),
        "this build may not use the network",
        "make the bundle anew where there is a network, from the app as it is now: hoist bundle --path DIR --output FILE",
    )
    .and_fix("without a bundle: build once with the network, then again with --offline")
    .of_kind("offline-missing")
}

/// Whether uv failed because it may not use the network.
pub(crate) fn is_missing(text: &str) -> bool {
    SYMPTOMS.iter().any(|symptom| text.contains(symptom))
}

/// What uv missed, as far as it says so: `flask`, `flask==3.1.0`, or an address.
pub(crate) fn missing(text: &str) -> Vec<String> {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found: Vec<String> = Vec::new();
    let mut push = |word: &str| {
        let word = word.trim_matches(|c: char| "`'\",:;()".contains(c)).trim_end_matches('.');
        if !word.is_empty() && !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    };
    for (at, _) in flat.match_indices(" not found in the cache") {
        let before = flat[..at].trim_end_matches(" was").trim_end_matches(" were");
        push(before.rsplit(' ').next().unwrap_or_default());
    }
    for start in ["Failed to download `", "Failed to fetch: `", "Failed to download and build `"] {
        for (at, _) in flat.match_indices(start) {
            push(flat[at + start.len()..].split('`').next().unwrap_or_default());
        }
    }
    found.retain(|word| word != "data" && word != "wasn't");
    found
}

/// The page for what uv said; none where the network was not what it lacked.
pub(crate) fn explain(doing: &str, text: &str) -> Option<Failure> {
    if !is_missing(text) {
        return None;
    }
    let names = missing(text);
    let what = if names.is_empty() { "at least one package".to_owned() } else { names.join(", ") };
    Some(lacking(doing, &what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uv_misses_is_named() {
        for (text, names) in [
            (
                "  × No solution found when resolving dependencies:\n  ╰─▶ Because six was not found in the cache and you require six, we can\n      conclude that your requirements are unsatisfiable.\n\n      hint: Packages were unavailable because the network was disabled. When\n      the network is disabled, registry packages may only be read from the\n      cache.",
                vec!["six"],
            ),
            (
                "  × Failed to download `six==1.16.0`\n  ├─▶ Failed to fetch: `https://h/six-1.16.0.whl`\n  ╰─▶ Network connectivity is disabled, but the requested data wasn't found in\n      the cache for: `https://h/six-1.16.0.whl`",
                vec!["six==1.16.0", "https://h/six-1.16.0.whl"],
            ),
        ] {
            assert!(is_missing(text));
            assert_eq!(missing(text), names);
        }
        assert!(explain("installing", "error: six has no wheel").is_none());
        let page = explain("installing", "the network was disabled").unwrap().to_string();
        assert_eq!(
            page,
            "Error while installing\n  seen  at least one package: not in the bundle (or, without one, in the caches of this machine)\n  why   this build may not use the network\n  do    make the bundle anew where there is a network, from the app as it is now: hoist bundle --path DIR --output FILE\n        without a bundle: build once with the network, then again with --offline\n"
        );
    }
}
