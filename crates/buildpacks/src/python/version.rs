//! Which Python an app gets, decided before anything is installed: who asks for what, whether they agree, and what can be had. Pure.

use super::specifier::{Release, Specifiers};
use crate::failure::Failure;

/// A Python that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    /// The suite of Debian that has it.
    pub(crate) suite: &'static str,
    /// `3.13`.
    pub(crate) minor: &'static str,
    /// The patch release in the suite (its fixes are Debian's: the number stays).
    pub(crate) release: Release,
}

/// Every Python of a Debian suite, oldest suite first. A suite's packages run on a base of the same suite or a newer one.
const AVAILABLE: &[Available] = &[
    Available { suite: "bullseye", minor: "3.9", release: Release([3, 9, 2]) },
    Available { suite: "bookworm", minor: "3.11", release: Release([3, 11, 2]) },
    Available { suite: "trixie", minor: "3.13", release: Release([3, 13, 5]) },
    Available { suite: "forky", minor: "3.14", release: Release([3, 14, 0]) },
];

const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "forky", "sid"];
const DEFAULT_MINOR: &str = "3.13";

/// Someone who asks for a Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// A file or variable, as a person would name it.
    pub(crate) source: String,
    /// What it says, as written.
    pub(crate) text: String,
    /// How it weighs.
    pub(crate) kind: RequestKind,
}

/// How a request weighs, the heaviest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestKind {
    /// A variable of the build: overrides every file.
    Variable,
    /// A file that names a Python: all such files must agree.
    File,
    /// `requires-python` of the project: must hold for what is chosen.
    Bound,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) python: Available,
    /// Why, in words: `.python-version says 3.11`.
    pub(crate) reason: String,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// The Pythons that run on a base of a suite, newest first.
pub(crate) fn available_on(base_suite: &str) -> Vec<Available> {
    let rank = |suite: &str| SUITES.iter().position(|known| *known == suite);
    let base = rank(base_suite).or_else(|| rank("trixie"));
    let mut found: Vec<Available> = AVAILABLE.iter().copied().filter(|python| rank(python.suite) <= base).collect();
    found.reverse();
    found
}

/// A Python of trixie's bases that satisfies a specifier.
pub(crate) fn satisfying(specifier: &str) -> Option<&'static str> {
    let specifiers = Specifiers::parse(specifier)?;
    available_on("trixie").into_iter().find(|python| specifiers.allow(python.release)).map(|python| python.minor)
}

/// Chooses. `requests` are in order of precedence.
pub(crate) fn choose(requests: &[Request], base_suite: &str) -> Result<Choice, Failure> {
    let available = available_on(base_suite);
    let mut parsed = Vec::new();
    for request in requests {
        let specifiers = Specifiers::parse(&request.text).ok_or_else(|| unreadable(request, &available))?;
        parsed.push((request, specifiers));
    }
    let overridden = parsed.iter().any(|(request, _)| request.kind == RequestKind::Variable);
    let leaders: Vec<_> = if overridden {
        parsed.iter().filter(|(request, _)| request.kind == RequestKind::Variable).take(1).collect()
    } else {
        parsed.iter().collect()
    };
    let fitting: Vec<Available> = available
        .iter()
        .copied()
        .filter(|python| leaders.iter().all(|(_, specifiers)| specifiers.allow(python.release)))
        .collect();
    let Some(python) = fitting.iter().find(|python| python.minor == DEFAULT_MINOR).or(fitting.first()) else {
        return Err(nothing_fits(&leaders, &available));
    };
    let mut notes = Vec::new();
    for (request, specifiers) in &leaders {
        if let Some(patch) = specifiers.pinned_patch().filter(|patch| *patch != python.release) {
            notes.push(format!(
                "{} asks for {patch}; Debian's {} is {} with later fixes",
                request.source, python.minor, python.release
            ));
        }
    }
    for (request, specifiers) in &parsed {
        if overridden && request.kind != RequestKind::Variable && !specifiers.allow(python.release) {
            notes.push(format!("{} says {}, which is overridden", request.source, request.text));
        }
    }
    let reason = leaders.first().map_or_else(
        || "the default; .python-version chooses another".to_owned(),
        |(request, _)| format!("{} says {}", request.source, request.text),
    );
    Ok(Choice { python: *python, reason, notes })
}

fn list(available: &[Available]) -> String {
    available.iter().map(|python| python.minor).collect::<Vec<_>>().join(", ")
}

fn unreadable(request: &Request, available: &[Available]) -> Failure {
    let shown: String = request.text.chars().take(80).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    Failure::new(
        "choosing the Python",
        format!("{} says `{shown}`", request.source),
        "that is no Python version",
        format!("write one of {}, for example `{DEFAULT_MINOR}`", list(available)),
    )
}

fn nothing_fits(leaders: &[&(&Request, Specifiers)], available: &[Available]) -> Failure {
    let fits = |specifiers: &Specifiers| available.iter().any(|python| specifiers.allow(python.release));
    if let Some((request, _)) = leaders.iter().find(|(_, specifiers)| !fits(specifiers)) {
        let mut failure = Failure::new(
            "choosing the Python",
            format!("{} says {}", request.source, request.text),
            format!("that Python cannot be had on this base; these can: {}", list(available)),
            format!(
                "write one of them into {}",
                if request.kind == RequestKind::Bound { "pyproject.toml, or widen the range" } else { &request.source }
            ),
        );
        if request.text.contains("3.14") {
            failure =
                failure.and_fix("Debian's 3.14 needs a newer C library than trixie has: take a base of forky for it");
        }
        return failure;
    }
    let mut failure = Failure::new(
        "choosing the Python",
        leaders.first().map_or(String::new(), |(request, _)| format!("{} says {}", request.source, request.text)),
        format!("no Python that can be had ({}) satisfies all of them", list(available)),
        "change one of them, or remove the one that is not meant",
    );
    for (request, _) in &leaders[1..] {
        failure = failure.and_seen(format!("{} says {}", request.source, request.text));
    }
    failure.and_fix("to override all files for one build, set BP_CPYTHON_VERSION")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, text: &str, kind: RequestKind) -> Request {
        Request { source: source.into(), text: text.into(), kind }
    }

    fn minor(requests: &[Request]) -> &'static str {
        choose(requests, "trixie").unwrap().python.minor
    }

    #[test]
    fn what_is_asked_for_is_chosen() {
        use RequestKind::{Bound, File, Variable};
        assert_eq!(minor(&[]), "3.13");
        for (text, wanted) in [
            ("3.11", "3.11"),
            ("python-3.11.4", "3.11"),
            ("3.9.*", "3.9"),
            ("=3.11", "3.11"),
            ("3", "3.13"),
            ("cpython@3.13", "3.13"),
        ] {
            assert_eq!(minor(&[request(".python-version", text, File)]), wanted, "{text}");
        }
        for (text, wanted) in [
            (">=3.10", "3.13"),
            (">=3.8,<3.12", "3.11"),
            ("~=3.9", "3.13"),
            ("^3.9", "3.13"),
            ("<3.11", "3.9"),
            (">=3.9, !=3.13.*", "3.11"),
            (">=3.11.4", "3.13"),
        ] {
            assert_eq!(minor(&[request("pyproject.toml", text, Bound)]), wanted, "{text}");
        }
        let overridden = [request("BP_CPYTHON_VERSION", "3.9", Variable), request(".python-version", "3.11", File)];
        let choice = choose(&overridden, "trixie").unwrap();
        assert_eq!(
            (choice.python.suite, choice.notes.as_slice()),
            ("bullseye", &[".python-version says 3.11, which is overridden".to_owned()][..])
        );
    }

    #[test]
    fn a_python_that_cannot_be_had_is_refused_with_what_can() {
        let error = choose(&[request(".python-version", "3.12", RequestKind::File)], "trixie").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error while choosing the Python\n  seen  .python-version says 3.12\n  why   that Python cannot be had on this base; these can: 3.13, 3.11, 3.9\n  do    write one of them into .python-version\n"
        );
        assert!(choose(&[request("x", "3.14", RequestKind::File)], "forky").is_ok());
        assert!(choose(&[request("x", "3.14", RequestKind::File)], "trixie").is_err());
    }

    #[test]
    fn files_that_disagree_are_both_named() {
        let both = [
            request(".python-version", "3.11", RequestKind::File),
            request("runtime.txt", "python-3.9.2", RequestKind::File),
        ];
        assert_eq!(
            choose(&both, "trixie").unwrap_err().to_string(),
            "Error while choosing the Python\n  seen  .python-version says 3.11\n        runtime.txt says python-3.9.2\n  why   no Python that can be had (3.13, 3.11, 3.9) satisfies all of them\n  do    change one of them, or remove the one that is not meant\n        to override all files for one build, set BP_CPYTHON_VERSION\n"
        );
    }

    #[test]
    fn a_specifier_finds_its_python() {
        assert_eq!(satisfying(">=3.12"), Some("3.13"));
        assert_eq!(satisfying(">=3.9,<3.12"), Some("3.11"));
        assert_eq!(satisfying(">=3.14"), None);
    }

    #[test]
    fn nonsense_is_named_with_its_file() {
        let error = choose(&[request("runtime.txt", "ruby-3\u{1}", RequestKind::File)], "trixie").unwrap_err();
        assert!(error.to_string().contains("runtime.txt says `ruby-3\u{FFFD}`"), "{error}");
    }
}
