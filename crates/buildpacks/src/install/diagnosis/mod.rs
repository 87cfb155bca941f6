//! From what an installer said to what a person can do: each known symptom of uv (and pip) is recognised and explained, with the line of
//! the requirements file that it comes from. The recognisers are tried in turn; the last resort shows the installer's own words.

mod access;
mod build;
mod day;
mod hashes;
mod missing;
mod repository;
mod resolution;
mod text;

use crate::as_of::AsOf;
use crate::failure::Failure;
use crate::offline;
use crate::pip::requirements::RequirementsTree;

pub(crate) use build::LIBRARY_MISSING;
pub(crate) use text::evidence_lines;

/// What is being done, in every page of this module.
const DOING: &str = "installing the requirements";

/// A question to the package index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe<'a> {
    /// The highest version that satisfies.
    Highest(&'a str),
    /// The lowest.
    Lowest(&'a str),
}

/// What a diagnosis can look at.
pub(crate) struct Evidence<'a> {
    /// What the installer said, credentials masked.
    pub(crate) text: &'a str,
    pub(crate) tree: &'a RequirementsTree,
    /// `3.13.5`.
    pub(crate) python_version: &'a str,
    /// Which file or variable chose it.
    pub(crate) python_reason: Option<&'a str>,
    /// A Python that a lock has all wheels for, where the chosen one has not.
    pub(crate) other_python: Option<String>,
    /// The setting that forbids to build, where there is one.
    pub(crate) only_binary: Option<String>,
    /// The day that packages were taken of.
    pub(crate) as_of: Option<&'a AsOf>,
    /// Who names the index at an address.
    pub(crate) origin: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) probe: &'a dyn Fn(Probe<'_>) -> Option<String>,
}

impl Evidence<'_> {
    /// Where `name` is required, or that it is required by something else.
    fn place(&self, name: &str) -> String {
        self.tree.place_of(name).unwrap_or_else(|| format!("{name}, which another requirement needs"))
    }
}

/// Knows one symptom: answers the page where the text shows it.
type Recogniser = fn(&Evidence<'_>, &str) -> Option<Failure>;

/// Explains a failed installation.
pub(crate) fn diagnose(evidence: &Evidence<'_>) -> Failure {
    let flat = text::flatten(evidence.text);
    let recognisers: [(&str, Recogniser); 19] = [
        ("offline-missing", |evidence, _| offline::explain(DOING, evidence.text)),
        ("index-undated", day::undated),
        ("package-later", day::later),
        ("repository", repository::failed_repository),
        ("address-empty", access::nothing_there),
        ("index-unreachable", access::unreachable_index),
        ("index-credentials", access::refused_by_index),
        ("hash-mismatch", hashes::hash_mismatch),
        ("build-forbidden", build::forbidden_build),
        ("python-too-new", build::outgrown_python),
        ("build-failed", build::failed_build),
        ("requirement-invalid", resolution::unreadable_line),
        ("requirement-invalid", resolution::unknown_option),
        ("path-missing", resolution::missing_path),
        ("python-unfit", resolution::wrong_python),
        ("package-unknown", resolution::unknown_package),
        ("version-unknown", resolution::unknown_version),
        ("wheel-missing", resolution::no_wheel),
        ("conflict", resolution::conflict),
    ];
    let known = recognisers.iter().find_map(|(kind, recognise)| Some(recognise(evidence, &flat)?.of_kind(kind)));
    let failure = known.unwrap_or_else(|| {
        Failure::new(
            DOING,
            text::first_error(evidence.text),
            "the installer gave up, in its own words below",
            "change the requirement that it names, then build again",
        )
        .of_kind("installation-failed")
    });
    failure.with_evidence(evidence_lines(evidence.text))
}

/// The words for another Python, by who chose the present one (`runtime.txt says python-3.11`).
fn python_change(reason: Option<&str>) -> impl Fn(&str) -> String {
    let said = reason.and_then(|reason| reason.split_once(" says ")).map(|(who, _)| who.to_owned());
    move |minor| {
        let Some(who) = said.as_deref() else { return format!("echo {minor} > .python-version") };
        let file = who.split(' ').next().unwrap_or(who);
        match file {
            "BP_CPYTHON_VERSION" => format!("BP_CPYTHON_VERSION={minor}"),
            ".python-version" => format!("echo {minor} > .python-version"),
            "runtime.txt" => format!("echo python-{minor} > runtime.txt"),
            _ if who.contains(" line ") => format!("change {who}, or set BP_CPYTHON_VERSION={minor}"),
            _ => format!("set BP_CPYTHON_VERSION={minor}"),
        }
    }
}

/// Whether what failed is that build code of a source distribution may not run.
pub(crate) fn needs_source_build(text: &str) -> bool {
    ["building from source is disabled", "Building source distributions is disabled", "Building editables is disabled"]
        .iter()
        .any(|symptom| text.contains(symptom))
        || (text.contains("--no-build") && text.contains("hint:"))
}

/// What uv does not understand although pip does.
pub(crate) fn refused_by_uv(text: &str) -> Option<&'static str> {
    const REFUSED: &[(&str, &str)] = &[
        ("Expected `--hash`, found", "an option after a requirement"),
        ("Unexpected '-', expected", "an option in the requirements file"),
        ("Unexpected '--', expected", "an option in the requirements file"),
        ("Unsupported requirement", "a form of requirement"),
        ("Unsupported editable requirement", "an editable requirement that is no folder"),
        ("Unsupported URL prefix", "a repository that is not git's"),
        ("Unsupported option", "an option in the requirements file"),
    ];
    REFUSED.iter().find(|(symptom, _)| text.contains(symptom)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests;
