//! Which Python an app gets, decided before anything is installed: who asks for what, whether they agree, and what can be had. Pure.

use super::specifier::{Release, Specifiers};
use crate::failure::Failure;

/// A Python that can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// `3.13`.
    pub(crate) minor: &'static str,
    /// The patch release: the one in the suite (its fixes are Debian's: the number stays), or the newest standalone one that may be taken.
    pub(crate) release: Release,
}

/// Where a Python comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A suite of Debian.
    Debian(&'static str),
    /// python-build-standalone, through uv.
    Standalone,
}

/// Every Python of a Debian suite, oldest suite first. A suite's packages run on a base of the same suite or a newer one.
const DEBIAN: &[(&str, &str, Release)] = &[
    ("bullseye", "3.9", Release([3, 9, 2])),
    ("bookworm", "3.11", Release([3, 11, 2])),
    ("trixie", "3.13", Release([3, 13, 5])),
    ("forky", "3.14", Release([3, 14, 0])),
];

/// Every minor version that python-build-standalone has for Linux, oldest first, with the newest patch that the pinned uv knows.
const STANDALONE: &[(&str, Release)] = &[
    ("3.8", Release([3, 8, 20])),
    ("3.9", Release([3, 9, 25])),
    ("3.10", Release([3, 10, 22])),
    ("3.11", Release([3, 11, 18])),
    ("3.12", Release([3, 12, 16])),
    ("3.13", Release([3, 13, 18])),
    ("3.14", Release([3, 14, 10])),
    ("3.15", Release([3, 15, 2])),
];

const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "forky", "sid"];
const DEFAULT_MINOR: &str = "3.13";

/// Someone who asks for a Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// A file or variable, with its line, as a person would name it.
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

/// What there is to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supply<'a> {
    /// The base's suite.
    pub(crate) base_suite: &'a str,
    /// The only origin that may be taken.
    pub(crate) only: Option<OriginKind>,
    /// Whether a patch release that is asked for by number is worth fetching: the user named where standalone builds are.
    pub(crate) exact: bool,
}

/// The kinds of origins, for a user who wants one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginKind {
    /// Debian's packages.
    Debian,
    /// Standalone builds.
    Standalone,
}

impl<'a> Supply<'a> {
    /// Everything that runs on a base of a suite.
    pub(crate) fn on(base_suite: &'a str) -> Self {
        Self { base_suite, only: None, exact: false }
    }
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) python: Available,
    /// What uv is asked for, when it is a standalone build: `3.12`, `3.12.4`, `>=3.12.4,<=3.12.9`.
    pub(crate) wanted: String,
    /// Why, in words: `.python-version says 3.11`.
    pub(crate) reason: String,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// The Pythons that can be had: Debian's first, newest first.
fn available(supply: Supply<'_>) -> Vec<Available> {
    let rank = |suite: &str| SUITES.iter().position(|known| *known == suite);
    let base = rank(supply.base_suite).or_else(|| rank("trixie"));
    let debian = DEBIAN.iter().rev().filter(|(suite, ..)| rank(suite) <= base);
    let debian =
        debian.map(|(suite, minor, release)| Available { origin: Origin::Debian(suite), minor, release: *release });
    let standalone = STANDALONE.iter().rev();
    let standalone =
        standalone.map(|(minor, release)| Available { origin: Origin::Standalone, minor, release: *release });
    let is_wanted = |python: &Available| match supply.only {
        None => true,
        Some(OriginKind::Debian) => python.origin != Origin::Standalone,
        Some(OriginKind::Standalone) => python.origin == Origin::Standalone,
    };
    debian.chain(standalone).filter(is_wanted).collect()
}

/// The Pythons of Debian that can be had, newest first.
pub(super) fn of_debian(supply: Supply<'_>) -> impl Iterator<Item = Available> {
    available(supply).into_iter().filter(|python| python.origin != Origin::Standalone)
}

/// `3.13, 3.11 or 3.9`: what Debian has for the default base.
pub(super) fn debian_words() -> String {
    let minors: Vec<&str> = of_debian(Supply::on("trixie")).map(|python| python.minor).collect();
    match minors.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        few => few.concat(),
    }
}

/// A Python of trixie's bases that satisfies a specifier.
pub(crate) fn satisfying(specifier: &str) -> Option<&'static str> {
    let specifiers = Specifiers::parse(specifier)?;
    let supply = Supply::on("trixie");
    available(supply).into_iter().find_map(|python| fit(python, &[&specifiers], supply)).map(|(python, _)| python.minor)
}

/// Whether a Python satisfies all: with the patch release that is taken then, and what uv is asked for.
fn fit(python: Available, all: &[&Specifiers], supply: Supply<'_>) -> Option<(Available, String)> {
    let Release([major, minor, newest]) = python.release;
    if python.origin != Origin::Standalone {
        let exact = supply.exact && supply.only.is_none();
        let is_pinned = |specifiers: &Specifiers| exact && specifiers.pinned_patch().is_some();
        let allows = |specifiers: &&Specifiers| {
            let release = python.release;
            if is_pinned(specifiers) { specifiers.allow_exactly(release) } else { specifiers.allow(release) }
        };
        return all.iter().all(allows).then(|| (python, String::new()));
    }
    let allowed = |patch: &u32| all.iter().all(|one| one.allow_exactly(Release([major, minor, *patch])));
    let highest = (0..=newest).rev().find(allowed)?;
    let lowest = (0..=highest).rev().take_while(allowed).last().unwrap_or(highest);
    let minor = python.minor;
    let wanted = match (lowest, highest) {
        (0, highest) if highest == newest => minor.to_owned(),
        (lowest, highest) if lowest == highest => format!("{minor}.{highest}"),
        (lowest, highest) if highest == newest => format!(">={minor}.{lowest},=={minor}.*"),
        (lowest, highest) => format!(">={minor}.{lowest},<={minor}.{highest}"),
    };
    let release = Release([python.release.0[0], python.release.0[1], highest]);
    Some((Available { release, ..python }, wanted))
}

/// Chooses. `requests` are in order of precedence.
pub(crate) fn choose(requests: &[Request], supply: Supply<'_>) -> Result<Choice, Failure> {
    let available = available(supply);
    let mut parsed = Vec::new();
    for request in requests {
        let specifiers = Specifiers::parse(&request.text).ok_or_else(|| unreadable(request))?;
        parsed.push((request, specifiers));
    }
    let overridden = parsed.iter().any(|(request, _)| request.kind == RequestKind::Variable);
    let leaders: Vec<_> = if overridden {
        parsed.iter().filter(|(request, _)| request.kind == RequestKind::Variable).take(1).collect()
    } else {
        parsed.iter().collect()
    };
    let all: Vec<&Specifiers> = leaders.iter().map(|(_, specifiers)| specifiers).collect();
    let fitting: Vec<_> = available.iter().filter_map(|python| fit(*python, &all, supply)).collect();
    let default =
        fitting.iter().find(|(python, _)| python.minor == DEFAULT_MINOR && python.origin != Origin::Standalone);
    let default = default.or_else(|| fitting.iter().find(|(python, _)| python.origin != Origin::Standalone));
    let default = default.or_else(|| fitting.iter().find(|(python, _)| python.minor == DEFAULT_MINOR));
    let Some((python, wanted)) = default.or(fitting.first()) else {
        return Err(nothing_fits(&leaders, &available, supply));
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
    if python.origin == Origin::Standalone && supply.only.is_none() {
        notes.push(format!("Debian has no Python {wanted} for this base: it comes as a standalone build"));
    }
    let reason = leaders.first().map_or_else(
        || "the default; .python-version chooses another".to_owned(),
        |(request, _)| format!("{} says {}", request.source, request.text),
    );
    Ok(Choice { python: *python, wanted: wanted.clone(), reason, notes })
}

/// `3.13, 3.11, 3.9; as standalone builds 3.15, 3.14`.
fn list(available: &[Available]) -> String {
    let of = |standalone: bool| {
        let some = available.iter().filter(|python| (python.origin == Origin::Standalone) == standalone);
        some.map(|python| python.minor).collect::<Vec<_>>()
    };
    let (debian, mut standalone) = (of(false), of(true));
    standalone.retain(|minor| !debian.contains(minor));
    match (debian.is_empty(), standalone.is_empty()) {
        (_, true) => debian.join(", "),
        (true, _) => standalone.join(", "),
        _ => format!("{}; as standalone builds {}", debian.join(", "), standalone.join(", ")),
    }
}

fn unreadable(request: &Request) -> Failure {
    let shown: String = request.text.chars().take(80).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    let text = request.text.to_lowercase();
    let why = if ["pypy", "graalpy", "jython", "stackless", "micropython", "miniconda", "anaconda", "miniforge"]
        .iter()
        .any(|other| text.starts_with(other))
    {
        "that is another Python than CPython, and images get CPython"
    } else if text.starts_with("3.") && text.trim_end_matches('t').parse::<f32>().is_ok() && text.ends_with('t') {
        "that is a build without the global lock, for which few packages have wheels"
    } else if text.starts_with("3.") && ["a", "b", "rc", "dev"].iter().any(|mark| text.contains(mark)) {
        "that is a version which is not out yet"
    } else {
        "that is no Python version"
    };
    Failure::new(
        "choosing the Python",
        format!("{} says `{shown}`", request.source),
        why,
        format!("write a version, for example `{DEFAULT_MINOR}`"),
    )
    .of_kind("python-invalid")
}

fn nothing_fits(leaders: &[&(&Request, Specifiers)], available: &[Available], supply: Supply<'_>) -> Failure {
    let fits = |specifiers: &Specifiers| available.iter().any(|python| fit(*python, &[specifiers], supply).is_some());
    if let Some((request, _)) = leaders.iter().find(|(_, specifiers)| !fits(specifiers)) {
        return Failure::new(
            "choosing the Python",
            format!("{} says {}", request.source, request.text),
            format!("that Python cannot be had on this base; these can: {}", list(available)),
            format!(
                "write one of them into {}",
                if request.kind == RequestKind::Bound { "the project, or widen the range" } else { &request.source }
            ),
        )
        .of_kind("python-unavailable");
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
    failure.and_fix("to override all files for one build, set BP_CPYTHON_VERSION").of_kind("python-conflict")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: &str, text: &str, kind: RequestKind) -> Request {
        Request { source: source.into(), text: text.into(), kind }
    }

    fn minor(requests: &[Request]) -> &'static str {
        choose(requests, Supply::on("trixie")).unwrap().python.minor
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
        let choice = choose(&overridden, Supply::on("trixie")).unwrap();
        assert_eq!(
            (choice.python.origin, choice.notes.as_slice()),
            (Origin::Debian("bullseye"), &[".python-version says 3.11, which is overridden".to_owned()][..])
        );
    }

    #[test]
    fn a_python_that_cannot_be_had_is_refused_with_what_can() {
        let error = choose(&[request(".python-version", "3.7", RequestKind::File)], Supply::on("trixie")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error while choosing the Python\n  seen  .python-version says 3.7\n  why   that Python cannot be had on this base; these can: 3.13, 3.11, 3.9; as standalone builds 3.15, 3.14, 3.12, 3.10, 3.8\n  do    write one of them into .python-version\n"
        );
        let debian = Supply { only: Some(OriginKind::Debian), ..Supply::on("trixie") };
        let error = choose(&[request("x", "3.12", RequestKind::File)], debian).unwrap_err();
        assert!(error.to_string().contains("these can: 3.13, 3.11, 3.9\n"), "{error}");
        let on_forky = choose(&[request("x", "3.14", RequestKind::File)], Supply::on("forky")).unwrap();
        assert_eq!(on_forky.python.origin, Origin::Debian("forky"));
    }

    #[test]
    fn what_debian_lacks_is_standalone_and_uv_is_asked_for_no_more_than_is_wanted() {
        let asked = |text: &str, exact: bool| {
            let supply = Supply { exact, ..Supply::on("trixie") };
            let choice = choose(&[request("x", text, RequestKind::File)], supply).unwrap();
            (choice.python.origin == Origin::Standalone, choice.wanted)
        };
        for (text, wanted) in [
            ("3.12", "3.12"),
            ("3.14", "3.14"),
            ("3.12.4", "3.12.4"),
            ("~3.10", "3.10"),
            (">=3.11.5,<3.12", ">=3.11.5,==3.11.*"),
            (">=3.12.2,<3.12.6", ">=3.12.2,<=3.12.5"),
            (">=3.12,!=3.13.*,!=3.14.*,!=3.15.*", "3.12"),
        ] {
            assert_eq!(asked(text, false), (true, wanted.to_owned()), "{text}");
        }
        for text in ["3.11", "3.11.9", ">=3.9,<3.13", "3.13.5"] {
            assert_eq!(asked(text, false), (false, String::new()), "{text}");
        }
        assert_eq!(asked("3.11.9", true), (true, "3.11.9".to_owned()), "a mirror is named: the number is kept");
        assert_eq!(asked("3.13.5", true), (false, String::new()));
        let standalone = Supply { only: Some(OriginKind::Standalone), ..Supply::on("trixie") };
        assert_eq!(choose(&[], standalone).unwrap().wanted, "3.13");
    }

    #[test]
    fn a_wish_that_another_file_narrows_is_met() {
        let requests = [
            request("pyproject.toml line 3 (requires-python)", ">=3.9", RequestKind::Bound),
            request("Pipfile line 8 (python_version)", "3.11", RequestKind::File),
        ];
        assert_eq!(minor(&requests), "3.11");
    }

    #[test]
    fn files_that_disagree_are_both_named() {
        let both = [
            request(".python-version", "3.11", RequestKind::File),
            request("runtime.txt", "python-3.9.2", RequestKind::File),
        ];
        assert_eq!(
            choose(&both, Supply::on("trixie")).unwrap_err().to_string(),
            "Error while choosing the Python\n  seen  .python-version says 3.11\n        runtime.txt says python-3.9.2\n  why   no Python that can be had (3.13, 3.11, 3.9; as standalone builds 3.15, 3.14, 3.12, 3.10, 3.8) satisfies all of them\n  do    change one of them, or remove the one that is not meant\n        to override all files for one build, set BP_CPYTHON_VERSION\n"
        );
    }

    #[test]
    fn a_specifier_finds_its_python() {
        assert_eq!(satisfying(">=3.12"), Some("3.13"));
        assert_eq!(satisfying(">=3.9,<3.12"), Some("3.11"));
        assert_eq!(satisfying(">=3.14"), Some("3.15"));
        assert_eq!(satisfying("<3.8"), None);
    }

    #[test]
    fn nonsense_is_named_with_its_file() {
        let error =
            choose(&[request("runtime.txt", "ruby-3\u{1}", RequestKind::File)], Supply::on("trixie")).unwrap_err();
        assert!(error.to_string().contains("runtime.txt says `ruby-3\u{FFFD}`"), "{error}");
        for (text, why) in [
            ("pypy3.9-7.3.11", "another Python than CPython"),
            ("3.14t", "without the global lock"),
            ("3.15.0rc1", "not out yet"),
            ("3.13-dev", "not out yet"),
        ] {
            let error =
                choose(&[request(".python-version", text, RequestKind::File)], Supply::on("trixie")).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
