//! Symptoms of source distributions that do not build: the missing library and its Debian package.

use super::missing::{Missing, missing};
use super::text::{between, split_requirement};
use super::{DOING, Evidence};
use crate::failure::Failure;
use crate::pep440::Version;

/// The kind of a page about a build that misses a library or a program.
pub(crate) const LIBRARY_MISSING: &str = "library-missing";

/// What build backends say that look for a version where none is written, and the variable that says it in its place.
const VERSION_OF_GIT: &[(&str, &str)] = &[
    ("setuptools-scm was unable to detect version", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    ("`uv-dynamic-versioning`", "UV_DYNAMIC_VERSIONING_BYPASS"),
    ("uv_dynamic_versioning", "UV_DYNAMIC_VERSIONING_BYPASS"),
    ("the version from SCM", "PDM_BUILD_SCM_VERSION"),
    ("Versioning for this project requires either an sdist", "PBR_VERSION"),
];

/// What code says that is older than the Python which builds it, and the last Python that it runs on.
const OUTGROWN: &[(&str, &str, &str)] = &[
    ("No module named 'distutils'", "the module distutils", "3.11"),
    ("No module named 'imp'", "the module imp", "3.11"),
    ("No module named 'asyncore'", "the module asyncore", "3.11"),
    ("No module named 'pipes'", "the module pipes", "3.12"),
    ("has no attribute 'ImpImporter'", "pkgutil.ImpImporter", "3.11"),
    ("has no attribute 'SafeConfigParser'", "configparser.SafeConfigParser", "3.11"),
    ("has no attribute 'readfp'", "configparser's readfp", "3.11"),
    ("longintrepr.h: No such file", "the header longintrepr.h", "3.10"),
    ("cannot import name 'Mapping' from 'collections'", "collections.Mapping", "3.9"),
    ("cannot import name 'MutableMapping' from 'collections'", "collections.MutableMapping", "3.9"),
    ("use_2to3 is invalid", "setuptools' use_2to3", "3.9"),
];

/// Distributions that come as wheels where another does not.
const BINARY: &[(&str, &str)] = &[
    ("psycopg2", "psycopg2-binary (same code, with the library inside) or psycopg[binary]"),
    ("mysqlclient", "PyMySQL or mysql-connector-python (no C library)"),
    ("gdal", "rasterio or pyogrio (wheels with GDAL inside)"),
    ("pyldap", "ldap3 (no C library)"),
    ("python-ldap", "ldap3 (no C library)"),
    ("pycrypto", "pycryptodome"),
    ("sklearn", "scikit-learn"),
    ("opencv", "opencv-python-headless"),
    ("pycurl", "requests or httpx"),
    ("fbprophet", "prophet"),
];

/// A source distribution where a setting forbids to build.
pub(super) fn forbidden_build(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = between(flat, "Wheels are required for `", "`")
        .filter(|_| flat.contains("building from source is disabled"))?;
    let by = evidence.only_binary.as_deref().unwrap_or("`--only-binary` in the requirements");
    let version = evidence.python_version;
    let mut failure = Failure::new(
        DOING,
        evidence.place(what),
        format!("{what} has no wheel for Python {version} here, and {by} forbids to build it"),
        "require a version that has a wheel for this Python, or let it be built: remove the setting",
    );
    if let Some(newest) = (evidence.probe)(super::Probe::Highest(what)) {
        failure = failure.and_fix(format!("{what}=={newest} has a wheel"));
    }
    Some(failure)
}

/// A source distribution that is older than this Python: its build wants what Python or its tools no longer have.
pub(super) fn outgrown_python(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = failed(flat)?;
    let (_, wanted, last) = OUTGROWN.iter().find(|(symptom, ..)| flat.contains(symptom))?;
    let name = what.split(['=', ' ', '@']).next().unwrap_or(what);
    let version = evidence.python_version;
    let because = evidence.python_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut failure = Failure::new(
        DOING,
        evidence.place(name),
        format!(
            "{what} has no wheel for Python {version}{because}, and its build wants {wanted}, which is gone from newer Pythons"
        ),
        match (evidence.probe)(super::Probe::Highest(name)).filter(|newest| !what.ends_with(newest.as_str())) {
            Some(newest) => format!("require {name}=={newest}, which has a wheel"),
            None => "require a newer version of it".to_owned(),
        },
    );
    let older =
        crate::python::satisfying(&format!("<={last}.99")).filter(|minor| !version.starts_with(&format!("{minor}.")));
    if let Some(minor) = older {
        let change = super::python_change(evidence.python_reason);
        failure = failure.and_fix(format!("or choose a Python of its time, for example {minor}: {}", change(minor)));
    }
    Some(failure)
}

/// What could not be built.
fn failed(flat: &str) -> Option<&str> {
    between(flat, "Failed to build `", "`")
        .or_else(|| between(flat, "Failed to download and build `", "`"))
        .or_else(|| between(flat, "Failed building wheel for ", " "))
}

/// A source distribution whose build failed.
pub(super) fn failed_build(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = failed(flat)?;
    let name = what.split(['=', ' ', '@']).next().unwrap_or(what);
    let seen = evidence.place(name);
    let is_own = what.contains("@ file://");
    if let Some((_, setting)) = VERSION_OF_GIT.iter().find(|(symptom, _)| flat.contains(symptom)) {
        return Some(
            Failure::new(
                DOING,
                seen,
                format!("the version of {name} is read from the history of git, which is not in the build"),
                format!("say the version: `hoist build --env {setting}=1.2.3 …`"),
            )
            .and_fix("or write the version into pyproject.toml, in place of `dynamic = [\"version\"]`"),
        );
    }
    let missing = missing(flat);
    let version = evidence.python_version;
    let has_none = format!("{what} has no wheel for Python {version} here, and its build");
    let (why, fix) = match &missing {
        Some(Missing { what: library, fix }) => (format!("{has_none} misses {library}"), fix.clone()),
        None if flat.contains("No module named '") => {
            let module = between(flat, "No module named '", "'").unwrap_or("?");
            (
                format!("{has_none} wants the module `{module}` without asking for it"),
                "require a newer version of it, which may have a wheel or a correct pyproject.toml".to_owned(),
            )
        }
        None if is_own => (
            format!("the build backend of {name}, which lies in the app, failed (the end of its output is below)"),
            "mend what it says: `python -m build` in that folder says the same".to_owned(),
        ),
        None => (
            format!("{has_none} failed (the end of its output is below)"),
            "require a version that has a wheel for this Python, or choose a Python that it has wheels for (.python-version)"
                .to_owned(),
        ),
    };
    let binary = BINARY.iter().find(|(from, _)| *from == crate::pip::requirements::normalize(name));
    let highest = if is_own || binary.is_some() { None } else { (evidence.probe)(super::Probe::Highest(name)) };
    let asked = Version::parse(split_requirement(what).1.trim_start_matches('='));
    let is_newer = |found: &str| Version::parse(found) > asked;
    let highest = highest.filter(|found| asked.as_ref() != Version::parse(found).as_ref());
    let with_wheel = highest.as_ref().map(|found| format!("require {name}=={found}, which has a wheel"));
    // An old release fails for more than a missing library, mostly.
    let python = evidence.other_python.as_ref().filter(|_| !is_own).map(|python| {
        format!(
            "choose Python {python}, for which the lock has wheels of everything (.python-version, or BP_CPYTHON_VERSION={python})"
        )
    });
    let other = binary.map(|(_, other)| format!("require {other} instead"));
    let (before, after) =
        if highest.as_deref().is_some_and(is_newer) { (with_wheel, None) } else { (None, with_wheel) };
    let mut fixes = [python, before, Some(fix), after, other].into_iter().flatten();
    let failure = Failure::new(DOING, seen, why, fixes.next().unwrap_or_default());
    let failure = fixes.fold(failure, |failure, fix| failure.and_fix(format!("or {fix}")));
    Some(if missing.is_some() { failure.of_kind(LIBRARY_MISSING) } else { failure })
}
